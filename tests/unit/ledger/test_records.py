"""Golden bytes: what every node must derive alike, one per record type (RULINGS R72)."""

from dataclasses import fields as fields_of
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from node.ledger import records
from node.ledger.errors import MalformedRecord
from node.ledger.view import leaf_view
from node.log.merkle import root_of_entries
from node.treaty.derived import (
    Beacon,
    CaseStep,
    Decision,
    Derived,
    Drawn,
    EntryIntoForce,
    Equivocation,
    Finding,
    FindingEnded,
    MotionOpened,
    NamingStep,
    Outage,
    PolicyStep,
    Rejected,
    RoundOpened,
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
    "equivocation": Equivocation(
        state="GB",
        epoch=0,
        round=17,
        proof=bytes(range(202)),
        finding="C29:GB:epoch0",
        at=100,
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
    "finding_ended": FindingEnded(finding="C04w:US:" + "ab" * 32, entry=b"e" * 32, at=100),
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
    "policy": PolicyStep(
        motion="ab" * 32,
        param="frontier_flop",
        event="IN_FORCE",
        value=5 * 10**8,
        per=1,
        reason="",
        at=100,
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
    "round": RoundOpened(round=7, expected=("BR", "CN", "GB"), due=3_700, at=100),
    "beacon": Beacon(
        round=7,
        beacon=b"n" * 32,
        needed=2,
        revealed=(("BR", b"b" * 32), ("GB", b"g" * 32)),
        silent=("CN",),
        at=200,
    ),
    "drawn": Drawn(
        draw="ab" * 32,
        what="panel",
        round=7,
        population=("BR", "CN", "GB"),
        drawn=("GB", "BR", "CN"),
        at=200,
    ),
    "outage": Outage(since=1_000, until=5_000, moved=3_400, at=5_000),
    "naming": NamingStep(
        party="acme",
        owner="fund",
        state="FR",
        event="OBJECTED",
        named_by=b"n" * 32,
        entry=b"e" * 32,
        due=900,
        at=500,
    ),
    "entry_into_force": EntryIntoForce(
        door="slow",
        members=("BR", "CN", "GB", "KE", "NL"),
        five_since=50,
        capacity_bp=5_000,
        fab_bp=6_667,
        at=100,
    ),
}

# What law 2 says beside that.
LATER: dict[str, dict[str, Any]] = {
    "uncountersigned": {"offered_at": 50},
    "motion": {"share": (2, 3), "k": 1},
    "decision": {
        "share": (2, 3),
        "k": 1,
        "policy_filed": 2,
        "ballots": (b"1" * 32, b"2" * 32, b"3" * 32, b"4" * 32),
    },
    "finding": {
        "formula": "C15/1",
        "asks": "runs stay below the frontier together",
        "limits": (("frontier_flop", 10**9),),
        "level": 3,
        "clears": "evidence",
    },
    "case": {"motion": "BREACH:C15:US:lineage:acme/r1"},
    "run": {
        "plan": b"p" * 32,
        "own_pflop": 10**9,
        "limits": (("frontier_flop", 10**9),),
        "motion": "",
    },
    "veto_check": {"shares": (("MAJ", 1, 2),)},
    "drawn": {"beacon": b"n" * 32},
}
LAW_2: dict[str, Derived] = {
    kind: replace(sample, law=3 if kind == "naming" else 2, policy=3, **LATER.get(kind, {}))
    for kind, sample in SAMPLES.items()
}

# The bytes themselves, in hex. Changing one is a new `law_version`.
GOLDEN: dict[str, bytes] = {
    "entry_into_force": bytes.fromhex(
        "a8626174186464646f6f7264736c6f77647479706570656e7472795f696e746f5f666f726365656e6f6e6365"
        "50000102030405060708090a0b0c0d0e0f666661625f6270191a0b676d656d626572738562425262434e6247"
        "42624b45624e4c6a666976655f73696e636518326b63617061636974795f6270191388"
    ),
    "policy": bytes.fromhex(
        "a962617418646370657201647479706566706f6c696379656576656e7468494e5f464f524345656e6f6e6365"
        "50000102030405060708090a0b0c0d0e0f65706172616d6d66726f6e746965725f666c6f706576616c75651a"
        "1dcd6500666d6f74696f6e784061626162616261626162616261626162616261626162616261626162616261"
        "62616261626162616261626162616261626162616261626162616261626162616266726561736f6e60"
    ),
    "rejected": bytes.fromhex(
        "a762617418646377687968746f6f206c61746564636f646566504552494f4464747970656872656a65637465"
        "6465656e7472795820656565656565656565656565656565656565656565656565656565656565656565696e"
        "64657807656e6f6e636550000102030405060708090a0b0c0d0e0f"
    ),
    "uncountersigned": bytes.fromhex(
        "a6626174186464747970656f756e636f756e7465727369676e656465656e7472795820656565656565656565"
        "656565656565656565656565656565656565656565656565696e64657807656e6f6e63655000010203040506"
        "0708090a0b0c0d0e0f657374617465625553"
    ),
    "motion": bytes.fromhex(
        "ad6261741864646b696e64664252454143486472756c65635355506474797065666d6f74696f6e6561626f75"
        "74684331353a55533a78656e6f6e636550000102030405060708090a0b0c0d0e0f6570616e656c80666d6f74"
        "696f6e6f4252454143483a4331353a55533a786764656661756c7466757068656c6468656c696769626c6584"
        "62425262434e624742624b45687375626a656374738162555369636c6f7365735f617418c869746872657368"
        "6f6c6403"
    ),
    "decision": bytes.fromhex(
        "b6626e6f016379657303646b696e6465545241494e6472756c65635355506474797065686465636973696f6e"
        "6561626f75746761636d652f7231656e6f6e636550000102030405060708090a0b0c0d0e0f6570616e656c80"
        "65756e74696cf665766f7465738482624252637965738262434e626e6f826247426379657382624b45637965"
        "7366616273656e7400666d6f74696f6e78406162616261626162616261626162616261626162616261626162"
        "616261626162616261626162616261626162616261626162616261626162616261626162616266726561736f"
        "6e60676162737461696e00676f7574636f6d6568617070726f76656468656c696769626c658462425262434e"
        "624742624b456866696c65645f61741864687375626a656374738162555369636c6f7365645f617418c86974"
        "68726573686f6c64036b696e5f666f7263655f617418c8766f6e655f73746174655f636f756c645f6368616e"
        "676501"
    ),
    "equivocation": bytes.fromhex(
        "a8626174186464747970656c65717569766f636174696f6e6565706f636800656e6f6e636550000102030405"
        "060708090a0b0c0d0e0f6570726f6f6658ca000102030405060708090a0b0c0d0e0f10111213141516171819"
        "1a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445"
        "464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f7071"
        "72737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d"
        "9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9"
        "65726f756e64116573746174656247426766696e64696e676d4332393a47423a65706f636830"
    ),
    "finding": bytes.fromhex(
        "aa626174186464747970656766696e64696e676561626f75746f6c696e656167653a61636d652f7231656368"
        "65636b63433135656e6f6e636550000102030405060708090a0b0c0d0e0f66696e7075747382582061616161"
        "6161616161616161616161616161616161616161616161616161616158206262626262626262626262626262"
        "6262626262626262626262626262626262626766696e64696e67764331353a55533a6c696e656167653a6163"
        "6d652f7231676e756d6265727382826973756d5f70666c6f701a3b9aca00826b6c696d69745f70666c6f701a"
        "3b9aca00677375626a65637462555368736576657269747904"
    ),
    "finding_ended": bytes.fromhex(
        "a5626174186464747970656d66696e64696e675f656e64656465656e74727958206565656565656565656565"
        "656565656565656565656565656565656565656565656e6f6e636550000102030405060708090a0b0c0d0e0f"
        "6766696e64696e677848433034773a55533a6162616261626162616261626162616261626162616261626162"
        "6162616261626162616261626162616261626162616261626162616261626162616261626162"
    ),
    "case": bytes.fromhex(
        "aa62617418646463617365764331353a55533a6c696e656167653a61636d652f723164747970656463617365"
        "65656e74727940656e6f6e636550000102030405060708090a0b0c0d0e0f66726573756c74f6667374617475"
        "7366524149534544677375626a65637462555368736576657269747904697265706c795f6475651901f4"
    ),
    "run": bytes.fromhex(
        "a862617418646372756e6761636d652f723164746965720264747970656372756e6567617465738164666c6f"
        "70656e6f6e636550000102030405060708090a0b0c0d0e0f6673746174757367504c414e4e45446d6c696e65"
        "6167655f70666c6f701a3b9aca00"
    ),
    "veto_check": bytes.fromhex(
        "b1616601616b01626174186464747970656a7665746f5f636865636b656e6f6e636550000102030405060708"
        "090a0b0c0d0e0f6671756f72756d0467616c6c5f6d616a0267616c6c5f73757001676d656d62657273056774"
        "7269676765720268616c6c5f686967680168616c6c5f73746f70036d7665746f5f706f737369626c65006f6f"
        "6e655f726563757365645f6d616a016f6f6e655f726563757365645f73757001706f6e655f72656375736564"
        "5f6869676801706f6e655f726563757365645f73746f7002"
    ),
    "round": bytes.fromhex(
        "a6626174186463647565190e74647479706565726f756e64656e6f6e636550000102030405060708090a0b0c"
        "0d0e0f65726f756e64076865787065637465648362425262434e624742"
    ),
    "beacon": bytes.fromhex(
        "a862617418c8647479706566626561636f6e656e6f6e636550000102030405060708090a0b0c0d0e0f65726f"
        "756e640766626561636f6e58206e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e"
        "6e666e6565646564026673696c656e748162434e6872657665616c6564828262425258206262626262626262"
        "6262626262626262626262626262626262626262626262628262474258206767676767676767676767676767"
        "676767676767676767676767676767676767"
    ),
    "drawn": bytes.fromhex(
        "a862617418c86464726177784061626162616261626162616261626162616261626162616261626162616261"
        "626162616261626162616261626162616261626162616261626162616261626162647479706565647261776e"
        "64776861746570616e656c65647261776e8362474262425262434e656e6f6e63655000010203040506070809"
        "0a0b0c0d0e0f65726f756e64076a706f70756c6174696f6e8362425262434e624742"
    ),
    "outage": bytes.fromhex(
        "a66261741913886474797065666f7574616765656d6f766564190d48656e6f6e636550000102030405060708"
        "090a0b0c0d0e0f6573696e63651903e865756e74696c191388"
    ),
    "naming": bytes.fromhex(
        "aa6261741901f4636475651903846474797065666e616d696e6765656e747279582065656565656565656565"
        "65656565656565656565656565656565656565656565656576656e74684f424a4543544544656e6f6e636550"
        "000102030405060708090a0b0c0d0e0f656f776e65726466756e646570617274796461636d65657374617465"
        "624652686e616d65645f627958206e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e"
        "6e6e"
    ),
}
# SHA-256 of each, in hex.
GOLDEN_LAW_2: dict[str, str] = {
    "beacon": "9893aba4e4947c6dd325b081375a2fa7b8230aec240ace54f91c2daef8cfe5b3",
    "case": "61ffd20ceb2fcb46e509c8b12ecb779abd5c1fabe6dd058f8b284bae6eeaa9a5",
    "decision": "281e9344eb4c1cb318e38d549f4c752e648c29857bf06395ecb381ad7d778d25",
    "drawn": "5059cfccb922955ede9538df8bd2d2fc453e2ab4b105f13a41ed3cd4e5983d69",
    "entry_into_force": "55cd50648dbfc74568265f5a9966140e071c561cb72f31f81afc0d38e402c735",
    "equivocation": "752099f8b5bb7f13c9eff9f7d876a5f999ae635a89434c55c7a9e4abcc83a883",
    "finding": "4e550f6cd8d58e638e2ca0896cba14245f023ef01470adaf7a68aa492e3d2a41",
    "finding_ended": "5b748128190cb4075c6895bd021548f704700a54a9fd3a3c4603e8ebf9f29891",
    "motion": "8d256f5247a9e3418d7cedd0f3d98939abe385c1480e988e74162aacbba562fc",
    "naming": "833bc7213624d0c55c70c8c0f628202eb7eeb243653db646ce0e73df4de8becb",
    "outage": "09a3a0b6a47bb6ec6d9756cdb1d6c8fee6d3c98352e016cc5e5edc2202577445",
    "policy": "bca08f906da47a8c94a8cd940383e1b89ee0cd0f453ffc29c9597d558ab4e82e",
    "rejected": "7f3a9d75ec98997a7bbb7e9d584b3b871ccd937decc275f4604d74c31eb483fb",
    "round": "62bad8bcbb4c46f584c59458d4988131120904cc7ef16dc88392c811c019e053",
    "run": "3b0ced355a723cc76d1707b1ee5873e365027321e9f7b416a860110abe49a961",
    "uncountersigned": "e8d005134049b558d0a3505641033a01ca0f31aae1aa67be9b78d215b508b4ba",
    "veto_check": "573a61673da5c0fe18bbc330e101fec9a50a692e7d42fe735e5dacc93af82cd0",
}
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


def test_every_type_that_the_law_derives_has_golden_bytes() -> None:
    assert set(SAMPLES) == set(records.TYPE_OF.values()) == set(GOLDEN)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_golden_bytes(kind: str) -> None:
    assert leaf_of(kind) == GOLDEN[kind]


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_golden_bytes_of_law_2(kind: str) -> None:
    leaf = records.encode_derived(LAW_2[kind], NONCE)
    assert sha256(leaf).hexdigest() == GOLDEN_LAW_2[kind]


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
    assert set(fields) == schema_fields(kind, later=False)
    said = {"type", "nonce"}
    assert all(fields[name] == plain(getattr(SAMPLES[kind], name)) for name in set(fields) - said)
    fields = records.decode_record(records.encode_derived(LAW_2[kind], NONCE))
    assert set(fields) == schema_fields(kind, later=True)
    assert all(fields[name] == plain(getattr(LAW_2[kind], name)) for name in set(fields) - said)


def schema_fields(kind: str, *, later: bool) -> set[str]:
    """Field names of one rule of records.cddl, with or without those that came later."""
    text = CDDL.read_text()
    body = text[text.index(f"\n{kind} = {{") :]
    names = {
        part.split('"')[1]
        for part in body[: body.index("\n}")].splitlines()[1:]
        if '"' in part and (later or not part.strip().startswith("?"))
    }
    return names - {"inputs_count", "inputs_root", "population_count", "population_root"}


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def test_above_256_inputs_a_finding_gives_count_and_root() -> None:
    sample = SAMPLES["finding"]
    assert isinstance(sample, Finding)
    inputs = tuple(sha256(b"%d" % number).digest() for number in range(257))
    parts = {item.name: getattr(sample, item.name) for item in fields_of(sample)}
    many = Finding(**{**parts, "inputs": inputs})
    read = records.decode_record(records.encode_derived(many, NONCE))
    assert "inputs" not in read
    assert (read["inputs_count"], read["inputs_root"]) == (257, root_of_entries(sorted(inputs)))
    just = Finding(**{**parts, "inputs": inputs[:256]})
    assert len(records.decode_record(records.encode_derived(just, NONCE))["inputs"]) == 256


def test_above_256_names_a_draw_gives_count_and_root() -> None:
    names = tuple(f"inspector-{number}" for number in range(257))
    sample = SAMPLES["drawn"]
    parts = {item.name: getattr(sample, item.name) for item in fields_of(sample)}
    read = records.decode_record(
        records.encode_derived(Drawn(**{**parts, "population": names}), NONCE)
    )
    assert "population" not in read
    root = root_of_entries([name.encode() for name in names])
    assert (read["population_count"], read["population_root"]) == (257, root)


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
