"""Leader outcomes told from commits: skipped and committed, directly and by an anchor; the decision log; times to order."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from consensus.committee import Committee
from consensus.events import CommitDecided
from consensus.types import (
    ZERO_DIGEST,
    Block,
    Commit,
    CommitIndex,
    CommitRecord,
    Digest,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from node.engine.outcomes import DecisionLog, Outcomes, outcomes_of
from node.telemetry import Metrics

STATES = ("US", "CN", "GB", "KE")
COMMITTEE = Committee.with_order(
    leaders=tuple(ValidatorIndex(member) for member in range(4)),
    chain_id=ZERO_DIGEST,
    members=ZERO_DIGEST,
    genesis_time_ms=Millis(0),
)


def ref(round_: int, author: int) -> Ref:
    return Ref(Round(round_), ValidatorIndex(author), Digest(bytes([round_, author]) * 16))


def refs(round_: int, authors: Iterable[int] = (0, 1, 2)) -> list[Ref]:
    return [ref(round_, author) for author in authors]


def record(index: int, leader: Ref, deciders: list[Ref], blocks: list[Ref]) -> CommitRecord:
    commit = Commit(
        epoch=0,
        index=CommitIndex(index),
        prev_digest=ZERO_DIGEST,
        leader=leader,
        blocks=(*blocks, leader),
        time_ms=Millis(0),
        committee_hash=ZERO_DIGEST,
        digest=ZERO_DIGEST,
    )
    return CommitRecord(commit=commit, deciders=tuple(sorted(deciders)))


def block(name: Ref, parents: list[Ref]) -> Block:
    header = Header(
        chain_id=ZERO_DIGEST,
        epoch=0,
        round=name.round,
        author=name.author,
        time_ms=Millis(0),
        flags=0,
        parents=tuple(parents),
        payload_root=ZERO_DIGEST,
        payload_len=0,
        commit_votes=(),
        evidence=(),
    )
    return Block(header=header, payload=(), signature=bytes(64), ref=name)


def told(
    after: int, made: CommitRecord, blocks: Iterable[Block] = ()
) -> list[tuple[int, str, str]]:
    held = {one.ref: one for one in blocks}
    found = outcomes_of(COMMITTEE, Round(after), made, held.get)
    return [(slot.round, slot.decision, slot.how) for slot in found]


def test_a_direct_commit_right_after_the_one_before() -> None:
    assert told(4, record(5, ref(5, 1), refs(7), [])) == [(5, "commit", "direct")]


def test_skipped_slots_are_their_leaders() -> None:
    made = record(3, ref(7, 3), [*refs(6), *refs(7), *refs(9)], [])
    found = outcomes_of(COMMITTEE, Round(4), made, lambda _: None)
    assert [(slot.round, slot.author, slot.decision, slot.how) for slot in found] == [
        (5, 1, "skip", "direct"),
        (6, 2, "skip", "direct"),
        (7, 3, "commit", "direct"),
    ]
    assert found[0].deciders == tuple(refs(6))
    assert found[2].deciders == tuple(refs(9))


def test_by_an_anchor() -> None:
    # The anchor is the leader of round 9, certified by round 11; slot 5 was skipped by it, slot 6 committed by it.
    assert told(4, record(3, ref(6, 2), refs(11), [])) == [
        (5, "skip", "indirect"),
        (6, "commit", "indirect"),
    ]


@pytest.mark.parametrize("certified", [True, False])
def test_blames_of_the_slot_behind_are_no_certificates(certified: bool) -> None:
    """Slot 4 hangs on slot 7, which blocks of round 8 blame; the leader of round 6 needs certificates of that same round."""
    leader = ref(6, 2)
    votes = [block(one, [leader] if certified else refs(6, (0, 1))) for one in refs(7)]
    above = [block(one, refs(7)) for one in refs(8)]
    made = record(3, leader, [*refs(6), *refs(8), *refs(12)], [])
    assert told(3, made, [*votes, *above]) == [
        (4, "skip", "indirect"),
        (5, "skip", "direct"),
        (6, "commit", "direct" if certified else "indirect"),
    ]


def outcomes(log: DecisionLog | None = None) -> tuple[Outcomes, Metrics, list[float]]:
    now = [100.0]
    metrics = Metrics("US")
    made = Outcomes(
        committee=COMMITTEE,
        states=STATES,
        metrics=metrics,
        block_of=lambda _: None,
        log=log,
        clock=lambda: now[0],
    )
    return made, metrics, now


def test_metrics_by_member() -> None:
    watch, metrics, now = outcomes()
    watch.restored(record(1, ref(4, 0), [], []))
    watch.saw([ref(5, 3), ref(6, 2)])
    now[0] += 1.5
    watch.saw([ref(5, 3)])  # seen before: the first time counts
    deciders = [*refs(6), *refs(8)]
    watch.committed(CommitDecided(record=record(2, ref(6, 2), deciders, [ref(5, 3)]), blocks=()))
    text = metrics.text().decode()
    assert 'foedus_leader_slots_total{decision="skip",how="direct",state="CN"} 1.0' in text
    assert 'foedus_leader_slots_total{decision="commit",how="direct",state="GB"} 1.0' in text
    assert 'foedus_block_ordered_seconds_sum{state="KE"} 1.5' in text
    assert 'foedus_ordered_round{state="KE"} 5.0' in text
    assert 'foedus_ordered_round{state="US"} 0.0' in text


def test_the_log_is_read_back_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "decisions.jsonl"
    watch, _, _ = outcomes(DecisionLog(path, STATES, bytes_max=2500))
    for index in range(1, 9):
        leader = ref(2 * index, 2 * index % 4)
        deciders = [*refs(2 * index), *refs(2 * index + 2)]
        watch.committed(CommitDecided(record=record(index, leader, deciders, []), blocks=()))
    watch.close()
    older = (tmp_path / "logs" / "decisions.jsonl.1").read_text()
    lines = [json.loads(line) for line in (older + path.read_text()).splitlines()]
    slots = [line["slot"] for line in lines]
    assert slots == list(range(slots[0], 17))
    assert slots[0] > 1, "nothing was given up: the bound was not reached"
    assert lines[-1] == {
        "slot": 16,
        "leader": "US",
        "member": 0,
        "decision": "commit",
        "how": "direct",
        "block": ref(16, 0).digest.hex(),
        "commit": 8,
        "deciders": [[18, author, ref(18, author).digest.hex()] for author in range(3)],
    }
    assert lines[-2]["decision"] == "skip"
    assert lines[-2]["block"] is None


def test_half_a_line_at_the_end_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(b'{"slot": 1}\n{"slot": 2, "lea')
    log = DecisionLog(path, STATES)
    log.write(outcomes_of(COMMITTEE, Round(1), record(2, ref(2, 2), refs(4), []), lambda _: None))
    log.close()
    assert [json.loads(line)["slot"] for line in path.read_text().splitlines()] == [1, 2]
