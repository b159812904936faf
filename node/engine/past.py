"""An epoch that is over, as peers see it who are still in it: answers from the store, and nothing live (SPEC 14.5).

Who comes back after a long absence finds his epoch as it was left: our newest blocks of it, whatever else he asks for, and the
cosignatures of its last checkpoint. With these he reaches its last commit by himself, and takes nobody's word for anything.
"""

from consensus.types import ValidatorIndex
from node.engine.catching_up import CommitServer
from node.engine.gossip import Gossip
from node.engine.hosting import Host
from node.engine.parts import EngineParts
from node.engine.seating import peers_of
from node.ledger.epochs import Epoch
from node.network import wire
from node.network.listener import Listener
from node.network.network import Network
from node.network.service import PeerService
from node.storage.epoch_blocks import EpochBlocks


class PastEpoch:
    """`service` answers; nothing else happens here."""

    def __init__(
        self,
        parts: EngineParts,
        epoch: Epoch,
        certificates: dict[str, tuple[bytes, ...]],
        listener: Listener,
    ) -> None:
        own = epoch.index_of(parts.keys.state)
        seated = {member.state for member in epoch.members}
        guests = sorted(set(certificates) - seated - {parts.keys.state})
        blocks = EpochBlocks(
            parts.store,
            epoch.number,
            after_commit=epoch.after_commit,
            last_commit=epoch.last_commit,
        )
        network = Network(
            own=own,
            peers=peers_of(epoch, certificates, guests),
            identity=parts.keys.transport,
            address=parts.listen_peer,
            chain=wire.Chain(parts.chain_id, epoch.number),
            hosted=Host(
                blocks,
                epoch.committee,
                None if own is None else ValidatorIndex(own),
                CommitServer(blocks, parts.store, parts.finality, epoch),
                lambda: self._gossip,
                on_reader=_nobody,
                on_reader_left=_nobody,
            ),
            heard=None,
            metrics=parts.metrics,
            transport=parts.transport,
            monotonic=parts.monotonic,
            listener=listener,
        )
        self._gossip = Gossip(parts.finality, network, epoch.number)
        self.service: PeerService = network.service


def _nobody(member: int) -> None:
    """Nothing is pushed to those who read of an epoch that is over."""
    del member
