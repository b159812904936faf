"""An auditor follows the log from the genesis to later epochs, and no further than what holds (RULINGS R44)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.types import Ref
from node.audit.epochs import trust_of
from node.audit.findings import Findings
from node.audit.source import Certificate, Lost
from node.ledger.records import EpochRecord, encode_epoch_record, parse_epoch_record
from tests.unit.ledger.founding import Author, Founding, found
from tests.unit.ledger.joining import accedes, declares, new_state, registers, rotated
from tests.unit.ledger.running import start

NODE, AGENCY = new_state("DE")


class Log:
    """A FAKE source: entries alone."""

    name, kind, where = "log", "list", "memory"
    certificates: tuple[Certificate, ...] = ()
    every_level, shows_entries = False, True
    last_commit: int | None = None
    state: str | None = None

    def __init__(self, document: bytes, leaves: list[bytes]) -> None:
        self.document, self.leaves, self.size = document, leaves, len(leaves)

    def entries(self, first: int, count: int) -> list[bytes]:
        if first + count > self.size:
            raise Lost("beyond the end")
        return self.leaves[first : first + count]

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        raise Lost(f"{level} {first} {count}")

    def commit_record(self, index: int) -> bytes:
        raise Lost(str(index))

    def block(self, ref: Ref, epoch: int = 0) -> bytes:
        raise Lost(f"{epoch}/{ref}")

    def close(self) -> None: ...


@pytest.fixture
async def history(tmp_path: Path) -> tuple[Founding, list[bytes], list[int]]:
    """Genesis, leaves, and where the two epoch records stand: a state joins, then changes its keys."""
    founding = found(5, 1, law_version=2, policy={"epoch_min_s": 1})
    node = await start(founding, tmp_path)
    joining = Author(AGENCY, founding.chain_id)
    await node.commit(registers(founding.state_author(0), AGENCY, founding.agencies[:2]))
    await node.commit(accedes(joining, founding.agencies[1:3]), declares(joining, NODE))
    for change in (b"", declares(joining, rotated("DE"))):
        if change:
            await node.commit(change)
        await node.commit(after_ms=2_000)
        await node.commit(ends_epoch=True)
    leaves = node.ledger.entries(0, 1_000)
    at = [epoch.record_leaf for epoch in node.ledger.epochs if epoch.record_leaf is not None]
    node.close()
    return founding, leaves, at


def reached(founding: Founding, leaves: list[bytes]) -> tuple[int, list[str]]:
    """How many epochs are believed, and what was found wrong."""
    findings = Findings("log")
    trust = trust_of(Log(founding.document, leaves), founding.genesis, founding.document, findings)
    return len(trust.epochs), [finding.what for finding in findings.all()]


async def test_the_genesis_leads_to_every_epoch(
    history: tuple[Founding, list[bytes], list[int]],
) -> None:
    founding, leaves, at = history
    assert reached(founding, leaves) == (3, [])
    trust = trust_of(
        Log(founding.document, leaves), founding.genesis, founding.document, Findings("log")
    )
    assert len(trust.at(at[0] + 2).members) == 5, (
        "the first record's own checkpoint is the founders'"
    )
    assert len(trust.at(at[0] + 3).members) == 6
    keys = {len(leaves): NODE.block.public, len(leaves) + 1: rotated("DE").block.public}
    for size, key in keys.items():
        member = next(m for m in trust.at(size).members if m.state == "DE")
        assert member.block_key == key
    assert trust.handed_over({at[0] + 2}) == [at[1] + 2]


def other_seat(record: EpochRecord) -> EpochRecord:
    return EpochRecord(
        epoch=record.epoch,
        members=tuple((state, 0 if state == "DE" else leaf) for state, leaf in record.members),
        committee_hash=record.committee_hash,
        trust_policy=record.trust_policy,
    )


def other_hash(record: EpochRecord) -> EpochRecord:
    return EpochRecord(
        epoch=record.epoch,
        members=record.members,
        committee_hash=bytes(32),
        trust_policy=record.trust_policy,
    )


def left_out(record: EpochRecord) -> EpochRecord:
    return EpochRecord(
        epoch=record.epoch,
        members=record.members[1:],
        committee_hash=record.committee_hash,
        trust_policy=record.trust_policy,
    )


def other_number(record: EpochRecord) -> EpochRecord:
    return EpochRecord(
        epoch=record.epoch + 1,
        members=record.members,
        committee_hash=record.committee_hash,
        trust_policy=record.trust_policy,
    )


@pytest.mark.parametrize("change", [other_seat, other_hash, left_out, other_number])
async def test_an_altered_record_leads_nowhere(
    history: tuple[Founding, list[bytes], list[int]],
    change: Callable[[EpochRecord], EpochRecord],
) -> None:
    founding, leaves, at = history
    for number, place in enumerate(at):
        altered = list(leaves)
        altered[place] = encode_epoch_record(change(parse_epoch_record(leaves[place])))
        epochs, wrong = reached(founding, altered)
        assert epochs == number + 1, "what stands before it is believed, nothing after"
        assert wrong


async def test_an_altered_seat_leads_nowhere(
    history: tuple[Founding, list[bytes], list[int]],
) -> None:
    founding, leaves, at = history
    place = dict(parse_epoch_record(leaves[at[0]]).members)["DE"]
    altered = list(leaves)
    key = NODE.cosigner.public
    altered[place] = leaves[place].replace(key, bytes(31) + b"\x07")
    assert altered[place] != leaves[place]
    assert reached(founding, altered)[0] == 1
