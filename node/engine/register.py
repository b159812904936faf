"""By which certificates the peers of an epoch are known, as the ledger's register changes (SPEC 14, RULINGS R48).

Members keep the certificate they were seated with, and are known by newer ones too; who is to validate next may look on as a
guest, and stays one as long as the epoch has an engine.
"""

from node.engine.seating import Keyring, good_certificates, peers_of
from node.ledger.epochs import Epoch
from node.ledger.ledger import Ledger
from node.network.link import Peer
from node.network.network import Network

MS_PER_S = 1000


class Register:
    """Of one epoch's engine. `renew` after each commit applied."""

    def __init__(self, epoch: Epoch, keyring: Keyring, ledger: Ledger) -> None:
        self.guests: list[str] = []  # states; behind the members in the order of peers
        self._epoch = epoch
        self._keyring = keyring
        self._ledger = ledger
        self._good: dict[str, tuple[bytes, ...]] = {}
        self._gone: dict[str, bytes] = {}  # the last certificate of each, should it be good no more

    def good(self) -> dict[str, tuple[bytes, ...]]:
        """By which every state's node is known now (R48)."""
        ledger = self._ledger
        overlap_s = ledger.law.policy_value("key_overlap_s", ledger.time_ms // MS_PER_S)
        return good_certificates(ledger, overlap_s)

    def peers(self) -> list[Peer]:
        """Members, and behind them guests, of whom none goes as long as the epoch has this engine."""
        good = self.good()
        seated = {member.state for member in self._epoch.members}
        self.guests += sorted(set(good) - seated - {self._keyring.state} - set(self.guests))
        gone = {state: (pem,) for state, pem in self._gone.items() if state not in good}
        peers = peers_of(self._epoch, {**gone, **good}, self.guests)
        self._gone = {peer.certificate.state: peer.certificate.certificate_pem for peer in peers}
        return peers

    def renew(self, network: Network) -> None:
        """Certificates came or went, or somebody joined who may look on."""
        good = self.good()
        if good == self._good:
            return
        self._good = good
        identity = self._keyring.identity_of(self._ledger).transport
        network.renew([peer.certificate for peer in self.peers()], identity)
        network.listener.show(identity, [pem for pems in good.values() for pem in pems])
