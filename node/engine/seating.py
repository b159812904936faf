"""Who sits where in an epoch: this node and its keys, its peers and the certificates that are good for them (SPEC 14, R48)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.ledger.epochs import Epoch
from node.ledger.genesis import GenesisMember
from node.ledger.ledger import Ledger
from node.network.certificates import PeerCertificate
from node.network.link import Peer
from node.signing.keys import NodeKeys

MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys of one state's node: those it starts with, and of seats that it declared later. A seat may take some of each."""

    keys: tuple[NodeKeys, ...]

    @property
    def state(self) -> str:
        return self.keys[0].state

    def of(self, member: GenesisMember) -> NodeKeys | None:
        """The keys of this seat; None: not all of them are here."""
        block = next((k.block for k in self.keys if k.block.public == member.block_key), None)
        log = next((k.log for k in self.keys if k.log.public == member.log_key), None)
        cosigner = next(
            (k.cosigner for k in self.keys if k.cosigner.public == member.cosigner_key), None
        )
        transport = next(
            (
                k.transport
                for k in self.keys
                if k.transport.certificate_pem == member.certificate_pem
            ),
            None,
        )
        if block is None or log is None or cosigner is None or transport is None:
            return None
        return replace(self.keys[0], block=block, log=log, cosigner=cosigner, transport=transport)

    def identity_of(self, ledger: Ledger) -> NodeKeys:
        """What this node shows its peers: its seat's keys now, else those of the seat it waits for, else the first it has."""
        for members in (ledger.epoch.members, ledger.declared_members()):
            for member in members:
                if member.state == self.state and (found := self.of(member)) is not None:
                    return found
        return self.keys[0]


def good_certificates(ledger: Ledger, overlap_s: int) -> dict[str, tuple[bytes, ...]]:
    """State -> certificates by which its node is known now, the newest first: of the seat that is declared, of the present one,
    and of those given up less than `overlap_s` of ledger time ago.
    """
    good: dict[str, list[bytes]] = {}
    since_ms = ledger.time_ms - overlap_s * MS_PER_S
    epochs = list(ledger.epochs)
    recent = [ledger.declared_members(), epochs[-1].members]
    for position in range(len(epochs) - 2, -1, -1):
        if epochs[position + 1].committee.genesis_time_ms < since_ms:
            break
        recent.append(epochs[position].members)
    for members in recent:
        for member in members:
            held = good.setdefault(member.state, [])
            if member.certificate_pem not in held:
                held.append(member.certificate_pem)
    return {state: tuple(held) for state, held in good.items()}


def peers_of(epoch: Epoch, good: dict[str, tuple[bytes, ...]], guests: Sequence[str]) -> list[Peer]:
    """The members of an epoch, in validator order, then `guests`: who validate in another epoch, and read from us meanwhile."""
    peers = [
        Peer(
            certificate=PeerCertificate(
                member=index,
                state=member.state,
                certificate_pem=member.certificate_pem,
                also=tuple(
                    pem for pem in good.get(member.state, ()) if pem != member.certificate_pem
                ),
            ),
            endpoint=member.peer_endpoint,
        )
        for index, member in enumerate(epoch.members)
    ]
    for state in guests:
        first, *others = good[state]
        certificate = PeerCertificate(
            member=len(peers), state=state, certificate_pem=first, also=tuple(others)
        )
        peers.append(Peer(certificate=certificate, endpoint=""))
    return peers
