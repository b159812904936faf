"""Golden bytes: what every node must derive alike, one per record type (RULINGS R72)."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from node.ledger import records
from node.ledger.errors import MalformedRecord
from node.ledger.view import leaf_view
from node.log.merkle import root_of_entries
from node.treaty.derived import (
    CaseStep,
    Decision,
    Derived,
    Finding,
    MotionOpened,
    Rejected,
    RunStep,
    Uncountersigned,
    VetoCheck,
)

NONCE = bytes(range(16))
CDDL = Path(__file__).resolve().parents[3] / "proto" / "foedus" / "v1" / "records.cddl"

SAMPLES: dict[str, Derived] = {
    "rejected": Rejected(entry=b"e" * 32, index=7, code="PERIOD", why="too late", at=100),
    "uncountersigned": Uncountersigned(entry=b"e" * 32, index=7, state="US", at=100),
    "motion": MotionOpened(
        motion="BREACH:C15:US:x",
        kind="BREACH",
        about="C15:US:x",
        subjects=("US",),
        rule="SUP",
        threshold=3,
        eligible=("BR", "CN", "GB", "KE"),
        panel=(),
        default="upheld",
        closes_at=200,
        at=100,
    ),
    "decision": Decision(
        motion="ab" * 32,
        kind="TRAIN",
        about="acme/r1",
        outcome="approved",
        rule="SUP",
        threshold=3,
        yes=3,
        no=1,
        abstain=0,
        absent=0,
        eligible=("BR", "CN", "GB", "KE"),
        panel=(),
        votes=(("BR", "yes"), ("CN", "no"), ("GB", "yes"), ("KE", "yes")),
        subjects=("US",),
        filed_at=100,
        closed_at=200,
        in_force_at=200,
        until=None,
        one_state_could_change=1,
        reason="",
    ),
    "finding": Finding(
        finding="C15:US:lineage:acme/r1",
        check="C15",
        subject="US",
        about="lineage:acme/r1",
        severity=4,
        numbers=(("sum_pflop", 10**9), ("limit_pflop", 10**9)),
        inputs=(b"a" * 32, b"b" * 32),
        at=100,
    ),
    "case": CaseStep(
        case="C15:US:lineage:acme/r1",
        status="RAISED",
        subject="US",
        severity=4,
        result=None,
        entry=b"",
        reply_due=500,
        at=100,
    ),
    "run": RunStep(
        run="acme/r1", status="PLANNED", tier=2, lineage_pflop=10**9, gates=("flop",), at=100
    ),
    "veto_check": VetoCheck(
        members=5,
        k=1,
        f=1,
        trigger=2,
        quorum=4,
        veto_possible=0,
        all_maj=2,
        all_sup=1,
        all_high=1,
        all_stop=3,
        one_recused_maj=1,
        one_recused_sup=1,
        one_recused_high=1,
        one_recused_stop=2,
        at=100,
    ),
}

# SHA-256 of each record's bytes; the whole bytes of two stand below. Changing one is a new `law_version`.
GOLDEN_HASHES: dict[str, str] = {
    "rejected": "87a189a49d575fea658ec07e90e0f60612148cffec71f01e210997cd37e9dfff",
    "uncountersigned": "36c4914d4f2d1ed274a56d087bf5d7cce7103257e7ecb60210606cf6ff163764",
    "motion": "b0f001180cafc3beaaedebd3cd022e4af939807fc981dde800f4021fad04cf8c",
    "decision": "76895e8490bbd4713b0e7c1b7b177eb4b67607cd4e22935ab18f3f3b94f83705",
    "finding": "0183009d5a016464ba0845c91a618f6bbd9511487e664b9c6d09a7014016b02f",
    "case": "44844e99d2b7f89cdc2ecb52bb7fca07405cffefa756dc0ecf42226786f04a9f",
    "run": "b8303cbdc70f7e2ba7fc139dacd16dcdb6bbcd54d0d73bb2def47def66d2982b",
    "veto_check": "52f4da204bfdfc3a56f8ccc9889065b96df3c005133e3eb410193f96aae3a1dd",
}

RUN_BYTES = bytes.fromhex(
    "a862617418646372756e6761636d652f723164746965720264747970656372756e6567617465738164666c6f"
    "70656e6f6e636550000102030405060708090a0b0c0d0e0f6673746174757367504c414e4e45446d6c696e65"
    "6167655f70666c6f701a3b9aca00"
)
GENESIS_BYTES = bytes.fromhex(
    "a364747970656767656e65736973666f726967696e706c65646765722e746573742f6d61696e68636861696e"
    "5f696458206363636363636363636363636363636363636363636363636363636363636363"
)
COMMIT_BYTES = bytes.fromhex(
    "a6647479706566636f6d6d697465696e646578036764726f70706564a266534348454d4102694455504c4943"
    "415445016774696d655f6d731b0000018bcfe5687b6c6f726465725f64696765737458206f6f6f6f6f6f6f6f"
    "6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6c73746174655f64696765737458207373737373"
    "737373737373737373737373737373737373737373737373737373"
)


def leaf_of(kind: str) -> bytes:
    return records.encode_derived(SAMPLES[kind], NONCE)


def test_every_type_that_the_law_derives_has_a_sample_and_a_golden_hash() -> None:
    assert set(SAMPLES) == set(records.TYPE_OF.values()) == set(GOLDEN_HASHES)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_golden_hash(kind: str) -> None:
    assert sha256(leaf_of(kind)).hexdigest() == GOLDEN_HASHES[kind]


def test_golden_bytes_of_a_run_step() -> None:
    assert leaf_of("run") == RUN_BYTES


def test_golden_bytes_of_the_records_that_the_ledger_makes() -> None:
    assert records.encode_genesis_record(b"c" * 32, "ledger.test/main") == GENESIS_BYTES
    commit = records.encode_commit_record(
        index=3,
        time_ms=1_700_000_000_123,
        order_digest=b"o" * 32,
        dropped={"SCHEMA": 2, "DUPLICATE": 1},
        state_digest=b"s" * 32,
    )
    assert commit == COMMIT_BYTES


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_records_read_back_with_the_fields_of_the_schema(kind: str) -> None:
    leaf = leaf_of(kind)
    assert records.is_record(leaf)
    fields = records.decode_record(leaf)
    assert fields["type"] == kind
    assert fields["nonce"] == NONCE
    assert set(fields) == schema_fields(kind)
    sample = SAMPLES[kind]
    for name in set(fields) - {"type", "nonce"}:
        assert fields[name] == plain(getattr(sample, name)), name


def schema_fields(kind: str) -> set[str]:
    """Field names of one rule of records.cddl."""
    text = CDDL.read_text()
    body = text[text.index(f"\n{kind} = {{") :]
    names = {
        part.split('"')[1] for part in body[: body.index("\n}")].splitlines()[1:] if '"' in part
    }
    return names - {"inputs_count", "inputs_root"}


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def test_above_256_inputs_a_finding_gives_count_and_root() -> None:
    sample = SAMPLES["finding"]
    assert isinstance(sample, Finding)
    inputs = tuple(sha256(b"%d" % number).digest() for number in range(257))
    fields = {name: getattr(sample, name) for name in sample.__slots__}
    many = Finding(**{**fields, "inputs": inputs})
    read = records.decode_record(records.encode_derived(many, NONCE))
    assert "inputs" not in read
    assert (read["inputs_count"], read["inputs_root"]) == (257, root_of_entries(sorted(inputs)))
    just = Finding(**{**fields, "inputs": inputs[:256]})
    assert len(records.decode_record(records.encode_derived(just, NONCE))["inputs"]) == 256


def test_what_is_no_record_is_refused() -> None:
    leaf = leaf_of("run")
    for bad in (
        b"",
        b"\x00",
        leaf[:-1],
        leaf + b"\x00",
        b"\xa0",
        b"\xa1dtypeex-ray",
        b"\xa1\x01\x02",
    ):
        with pytest.raises(MalformedRecord):
            records.decode_record(bad)
    with pytest.raises(MalformedRecord):
        leaf_view(0, b"\xd2garbage")


def test_carried_counts_read_back() -> None:
    assert records.decode_dropped(records.encode_dropped({"SCHEMA": 3})) == {"SCHEMA": 3}
    for bad in (b"", b"\xa1ax\x00", b"\xa1axf-three"):
        with pytest.raises(MalformedRecord):
            records.decode_dropped(bad)


def test_a_record_for_people_shows_bytes_as_hex() -> None:
    view = leaf_view(9, leaf_of("rejected"))
    assert (view["leaf"], view["index"]) == (9, 7)
    assert (view["form"], view["type"], view["entry"]) == ("record", "rejected", "65" * 32)
