"""One history across two ends of epochs, with members that join and leave: restored from a snapshot on either side of an
end, the law gives the same records, rows and state digests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from foedus.v1 import content_pb2 as pb
from node.ledger.records import NONCE_BYTES, encode_derived
from node.ledger.state_digest import MemoryBuckets, StateDigest
from node.treaty.entries import Entry
from node.treaty.genesis import LAW_VERSIONS
from node.treaty.law import Law
from node.treaty.memory_index import MemoryIndex
from tests.unit.treaty.court import Court, genesis_of, key_of

FRONTIER = 10**9
JOINS = "FR"
# The state digest at the end, as each law was frozen (records 0187, 0246).
LAST_DIGEST = {
    2: "ff7c88bf2e83a96e8c696f433d58fa007fe6be93fa1bc396d70504518eb99e3b",
    3: "ff7c88bf2e83a96e8c696f433d58fa007fe6be93fa1bc396d70504518eb99e3b",  # rows do not say the law
}


@dataclass
class Commit:
    """What the ledger hands to the law, and what came of it."""

    time_s: int
    entries: list[Entry] = field(default_factory=list)
    ends_epoch: bool = False
    records: list[bytes] = field(default_factory=list)
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    digest: bytes = b""


class Map:
    """The state map beside its digest."""

    def __init__(self) -> None:
        self.buckets, self.digest = MemoryBuckets(), StateDigest()

    def change(self, rows: dict[bytes, bytes | None]) -> bytes:
        self.buckets.write(self.digest.change(rows, self.buckets))
        return self.digest.root

    def rows(self) -> list[tuple[bytes, bytes]]:
        return [(key, value) for (_, key), value in self.buckets.rows().items()]


def play(law: Law, index: MemoryIndex, state: Map, commit: Commit) -> Commit:
    """One commit by the book's order: clock, entries, end of the epoch. Returns it as it came out here."""
    derived = list(law.advance(commit.time_s))
    for entry in commit.entries:
        outcome = law.apply(entry)
        derived += outcome.derived
        if outcome.facts is not None:
            index.add(outcome.facts)
    if commit.ends_epoch:
        law.end_epoch()
    rows = law.drain_changes()
    root = state.change(rows)
    leaves = [encode_derived(value, bytes(NONCE_BYTES)) for value in derived]
    return Commit(commit.time_s, commit.entries, commit.ends_epoch, leaves, rows, root)


def seat_of(state: str, number: int) -> pb.Validator:
    keys = [key_of(f"{state} node {number}", purpose) for purpose in ("block", "log", "cosigner")]
    return pb.Validator(
        block_key=keys[0],
        log_key=keys[1],
        cosigner_key=keys[2],
        certificate_pem=f"certificate of {state}".encode(),
        peer_endpoint="127.0.0.1:7101",
        client_endpoint="127.0.0.1:7102",
        http_endpoint="127.0.0.1:7103",
        possession=[bytes(64)] * 3,
    )


def identity(state: str, **fields: object) -> pb.Identity:
    return pb.Identity(party=state, role=pb.PARTY_ROLE_STATE, state=state, **fields)  # type: ignore[arg-type]


def history(law: int) -> tuple[Court, list[Commit]]:
    """A run is approved while a state joins and another leaves; seats change twice."""
    court = Court(genesis_of(policy={"withdrawal_s": 30, "train_close": 25}, law_version=law))
    commits: list[Commit] = []

    def commit(after_s: int, *, ends: bool = False) -> None:
        """What was said since the last one becomes the entries of one commit."""
        said = court.entries[sum(len(one.entries) for one in commits) :]
        commits.append(Commit(court.law.book.now, list(said), ends))
        if ends:
            court.law.end_epoch()
        court.pass_time(after_s)

    keys = [
        pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=key_of(JOINS, "author")),
        pb.PublicKey(purpose=pb.KEY_PURPOSE_VOTE, ed25519=key_of(JOINS, "vote")),
    ]
    court.must("US", identity(JOINS, keys=keys), by=("CN", "GB"))
    commit(1)
    accede = pb.Instrument(type=pb.INSTRUMENT_TYPE_ACCEDE, attested_by=["CN", "GB"])
    court.must(JOINS, accede, by=("CN", "GB"))
    court.must(JOINS, identity(JOINS, validator=seat_of(JOINS, 1)))
    commit(3)
    motion = court.train(court.plan("r1", FRONTIER))
    assert court.vote(JOINS, motion, pb.CHOICE_YES) is None
    commit(10)
    assert court.law.is_closing  # epoch_min_s of a drill is over
    assert court.vote("CN", motion, pb.CHOICE_YES) is None
    commit(1, ends=True)
    assert court.law.epoch == 1
    assert JOINS in court.law.committee()
    for state in ("BR", "GB", "KE"):
        assert court.vote(state, motion, pb.CHOICE_YES) is None
    court.must("KE", pb.Instrument(type=pb.INSTRUMENT_TYPE_WITHDRAW))
    commit(8)
    court.phase("r1", pb.RUN_PHASE_START)
    commit(25)
    assert court.law.members()["KE"] == "LEFT"
    commit(2)
    assert court.law.is_closing
    commit(1, ends=True)
    assert court.law.epoch == 2
    assert "KE" not in court.law.committee()
    court.phase("r1", pb.RUN_PHASE_PROGRESS, pflop_done=FRONTIER * 2)
    commit(1)
    return court, commits


def replayed(court: Court, commits: Sequence[Commit]) -> list[Commit]:
    index, state = MemoryIndex(), Map()
    law = Law.at_genesis(court.genesis, index)
    return [play(law, index, state, one) for one in commits]


@pytest.mark.parametrize("version", LAW_VERSIONS[1:])
@pytest.mark.measure("M02")
def test_a_snapshot_on_either_side_of_an_epochs_end_gives_the_same_digests(version: int) -> None:
    court, commits = history(version)
    whole = replayed(court, commits)
    assert len({one.digest for one in whole}) == len(whole)
    assert sum(one.ends_epoch for one in whole) == 2
    assert whole[-1].digest.hex() == LAST_DIGEST[version]
    for cut in range(1, len(whole)):
        index, state = MemoryIndex(), Map()  # the index is the ledger's own, kept beside the rows
        law = Law.at_genesis(court.genesis, index)
        for one in whole[:cut]:
            play(law, index, state, one)
        law = Law.restore(court.genesis, index, reversed(state.rows()))
        assert law.resume(whole[cut - 1].time_s) == ()
        for one in whole[cut:]:
            again = play(law, index, state, one)
            assert again.records == one.records, f"restored after commit {cut}"
            assert again.rows == one.rows
            assert again.digest == one.digest
