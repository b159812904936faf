"""A node that finds its store damaged as it starts: mended by its own rows and its peers, before it joins them again.

What no peer gives at once is cut, and the engine fetches it as any node that was away does (RULINGS R31).
"""

from contextlib import ExitStack

from node.audit.peers import ALL, peers_of
from node.audit.repair import Repaired, repair_home
from node.audit.source import CannotAudit
from node.ledger.genesis import Genesis
from node.settings import Settings
from node.signing.transport import TransportIdentity
from node.storage.sign_state import SignState


def mend_at_start(
    settings: Settings,
    genesis: Genesis,
    document: bytes,
    identity: TransportIdentity,
    sign_state: SignState,
) -> Repaired:
    """Blocking, for as long as the history takes. Raises what `repair_home` raises."""
    with ExitStack() as stack:
        try:
            peers = peers_of(ALL, settings, genesis, document, identity)
        except CannotAudit:
            peers = []  # the only member
        for peer in peers:
            stack.callback(peer.close)
        return repair_home(settings.home, peers, sign_state=sign_state, from_nothing=True)
