"""Running members' nodes as copies to take lost rows from, over the peers' own protocol (mutual TLS, RULINGS R47).

A peer shows blocks by name and commits by index, and no log: what it gives is proven by signatures and by the order, as all that
a repair takes. One that is not reachable, or gives nothing, has lost nothing by it: the next is asked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from consensus.codec import encode_commit_record
from consensus.types import Ref
from node.audit.epochs import trust_of
from node.audit.findings import Findings
from node.audit.source import CannotAudit, Certificate, Lost
from node.audit.store_source import StoreSource, find_folders
from node.ledger.genesis import Genesis, GenesisMember, chain_id
from node.network.asking import NoAnswer, PeerCaller
from node.network.certificates import PeerCertificate
from node.network.link import Peer
from node.settings import Settings
from node.signing.transport import TransportIdentity

ALL = "peers"  # the word for every member's node

Answer = TypeVar("Answer")


class PeerSource:
    """One member's running node. `size` and `last_commit` are 0: how far it goes is no goal of a repair."""

    kind = "peer"
    every_level = False
    shows_entries = False

    def __init__(self, caller: PeerCaller, document: bytes) -> None:
        self.name = caller.state
        self.where = f"{caller.state} at {caller.endpoint}"
        self.state: str | None = caller.state
        self.document = document
        self.size = 0
        self.last_commit: int | None = 0
        self.certificates: tuple[Certificate, ...] = ()
        self._caller = caller
        self._epoch = 0
        self._gone: str | None = None  # why it is not asked any more

    def entries(self, first: int, count: int) -> list[bytes]:
        raise Lost(f"entries {first} to {first + count}: a peer shows no log")

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        raise Lost(f"hashes {first} to {first + count} of level {level}: a peer shows no log")

    def commit_record(self, index: int) -> bytes:
        for epoch in (self._epoch, self._epoch + 1):
            record = self._ask(partial(self._caller.commit, index, epoch))
            if record is not None:
                self._epoch = epoch
                return encode_commit_record(record)
        raise Lost(f"commit record {index}: {self.where} has none")

    def block(self, ref: Ref, epoch: int = 0) -> bytes:
        self._epoch = epoch
        found = self._ask(lambda: self._caller.blocks([ref], epoch))
        if ref not in found:
            raise Lost(f"block {ref.round}/{ref.author}: {self.where} has none")
        return found[ref]

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        if self._gone is not None:
            raise Lost(self._gone)
        try:
            return question()
        except NoAnswer as err:
            self._gone = str(err)
            raise Lost(str(err)) from err

    def close(self) -> None:
        self._caller.close()


def peers_of(
    which: str,
    settings: Settings,
    genesis: Genesis,
    document: bytes,
    identity: TransportIdentity,
) -> list[PeerSource]:
    """The nodes of all other members, for `peers`, or the one with this address. Raises CannotAudit."""
    members = [
        member
        for member in _members(settings, genesis, document)
        if member.state != settings.node.state and which in (ALL, member.peer_endpoint)
    ]
    if not members:
        raise CannotAudit(
            f"{which}: no member's peer address: want `{ALL}`, host:port as the register has it, an archive or a home"
        )
    return [
        PeerSource(_caller(index, member, identity, chain_id(document)), document)
        for index, member in enumerate(members)
    ]


def _caller(
    index: int, member: GenesisMember, identity: TransportIdentity, chain: bytes
) -> PeerCaller:
    certificate = PeerCertificate(
        member=index, state=member.state, certificate_pem=member.certificate_pem
    )
    return PeerCaller(Peer(certificate=certificate, endpoint=member.peer_endpoint), identity, chain)


def _members(settings: Settings, genesis: Genesis, document: bytes) -> Sequence[GenesisMember]:
    """Who validates as far as the damaged log can tell; else the founders."""
    folders = find_folders(settings.home)
    if folders is None or not settings.store_path.is_dir():
        return genesis.members
    try:
        source = StoreSource.open(folders)
    except CannotAudit:
        return genesis.members
    try:
        return trust_of(source, genesis, document, Findings(source.name)).epochs[-1].members
    finally:
        source.close()
