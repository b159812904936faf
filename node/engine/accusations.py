"""Members whose block key signed two blocks for one round: kept, counted and shown (SPEC 12).

The core says so once for each author and epoch. The proof goes into the store, lazily: the flush before our next own block makes
it durable, and one that a crash loses comes again with the next block that carries it, or with the two blocks themselves.
"""

import logging
from collections.abc import Sequence

from consensus.codec import MalformedBlock, decode_proof, encode_proof
from consensus.types import EquivocationProof
from node.ledger.genesis import GenesisMember
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.store import Store
from node.telemetry import Metrics, event

_log = logging.getLogger("foedus.engine")


class Accusations:
    """At most one proof for each member of this epoch."""

    def __init__(
        self, store: Store, members: Sequence[GenesisMember], epoch: int, metrics: Metrics
    ) -> None:
        self._store = store
        self._members = members
        self._epoch = epoch
        self._rounds: dict[int, int] = {}  # author -> the round it signed twice
        self._counter = metrics.counter(
            "foedus_equivocations", "Authors seen to sign two blocks for one round.", ("state",)
        )

    def restore(self) -> tuple[EquivocationProof, ...]:
        """What was kept. Raises StoreDamaged."""
        found: list[EquivocationProof] = []
        for author in range(len(self._members)):
            data = self._store.meta(keys.equivocation(self._epoch, author))
            if data is None:
                continue
            try:
                proof = decode_proof(data)
            except MalformedBlock as err:
                raise StoreDamaged(f"{self._store.path}: evidence against {author}: {err}") from err
            found.append(proof)
            self._count(proof)
        return tuple(found)

    def add(self, proof: EquivocationProof) -> None:
        """One more, from the core. Raises WriteFailed."""
        self._store.put_meta(keys.equivocation(self._epoch, proof.author), encode_proof(proof))
        self._count(proof)
        event(
            _log,
            "two blocks signed for one round",
            level=logging.ERROR,
            peer=self._members[proof.author].state,
            epoch=proof.epoch,
            round=proof.round,
            digest1=proof.digest1,
            signature1=proof.signature1,
            digest2=proof.digest2,
            signature2=proof.signature2,
        )

    def _count(self, proof: EquivocationProof) -> None:
        self._rounds[proof.author] = proof.round
        self._counter.labels(self._members[proof.author].state).inc()

    def round_of(self, author: int) -> int | None:
        """The round that this member signed twice."""
        return self._rounds.get(author)

    def sentences(self) -> list[str]:
        """For an operator, ascending by member."""
        return [
            f"{self._members[author].state} signed two different blocks for round {self._rounds[author]}:"
            " proof kept and passed on"
            for author in sorted(self._rounds)
        ]
