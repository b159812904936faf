"""Going on in the middle of a copy: what a kept point is believed for, and what it is checked against.

Parse, structure and certificates are run wholly each time: they are cheap, and all that follows rests on them. What is taken
up is order, law and the signatures that they ask for. A point says "so far an earlier run found nothing wrong", and what has
to be known to go on is tied to what this run has just proven:

    state rows        their digest is in the commit record that ends the log at the point, under a root that a quorum cosigned
    tree, time        from the tiles, and from that record
    commits           its `order_digest` covers every commit before: the records read here have no other digests
    blocks            by their digests, signatures and validity, read from the copy again
    misdeeds          by the two signatures of each
    index over all entries, counts, blocks beside the committed ones that were needed
                      by nothing but the point's own digest: no quorum signs them, and deriving them is the replay itself

Whoever can write the point can write the report as well (decision 0202), so it is guarded against damage and mixing up, not
against its owner. And nobody is accused by its help: a run that took up a point and finds anything wrong is thrown away, and the
copy is run from its start (decision 0213).
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from node.audit.law import FactsSink, LawStand, Replay
from node.audit.ordered import NotTakenUp
from node.audit.points import Point
from node.audit.source import Lost, Source
from node.audit.structure import reader_of
from node.ledger.epochs import Epoch
from node.ledger.errors import LedgerError, MalformedRecord
from node.ledger.genesis import Genesis
from node.ledger.plan import Standing
from node.ledger.records import decode_record
from node.ledger.state_digest import StateDigest, bucket_of
from node.log import merkle
from node.signing.verify import VerifyPool
from node.treaty.codec import DamagedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """Where a run goes on: the point, and what of it is proven against the copy."""

    point: Point
    law: LawStand
    order_digest: bytes  # of the point's commit


def prove(source: Source, epochs: Sequence[Epoch], certified: int, point: Point) -> TakenUp:
    """Hold a point against the log of `source`, of which `certified` entries lead to a root that a quorum cosigned.

    Raises NotTakenUp.
    """
    if not 0 < point.entries <= certified:
        raise NotTakenUp(f"it stands at entry {point.entries}, and {certified} are cosigned")
    try:
        record = decode_record(source.entries(point.entries - 1, 1)[0])
        tree = merkle.load(point.entries, reader_of(source))
    except (Lost, MalformedRecord) as err:
        raise NotTakenUp(f"entry {point.entries - 1}: {err}") from err
    match record:
        case {
            "type": "commit",
            "index": int(index),
            "time_ms": int(time_ms),
            "order_digest": bytes(order_digest),
            "state_digest": bytes(state_digest),
        } if index == point.order.index:
            pass
        case _:
            raise NotTakenUp(f"entry {point.entries - 1} is not the record of its commit")
    rows = sorted((bucket_of(key), key, value) for key, value in point.rows)
    digest = StateDigest()
    digest.load(rows)
    if digest.root != state_digest:
        raise NotTakenUp(f"its state is not the one that was cosigned with commit {index}")
    epoch = next((e for e in reversed(epochs) if e.after_commit <= index), epochs[0])
    return TakenUp(
        point=point,
        law=LawStand(
            standing=Standing(index=index, time_ms=time_ms, tree=tree, dropped={}),
            rows=rows,
            epoch=epoch,
            signatures=point.signatures,
        ),
        order_digest=order_digest,
    )


def replay_from(
    taken: TakenUp,
    genesis: Genesis,
    document: bytes,
    pool: VerifyPool,
    executor: Executor | None,
    facts: FactsSink,
) -> Replay:
    """The law as it stood there. `facts`: with the index of before. Raises NotTakenUp."""
    try:
        made = Replay(genesis, document, pool, executor, facts, taken.law)
    except (DamagedRow, LedgerError) as err:
        raise NotTakenUp(f"its state cannot be taken over: {err}") from err
    if made.machine.law.epoch != taken.law.epoch.number:
        raise NotTakenUp(
            f"its state is of epoch {made.machine.law.epoch}, the log of epoch {taken.law.epoch.number}"
        )
    return made
