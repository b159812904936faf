"""The law under random histories: determinism, restarts, and what hostile states cannot do."""

import hashlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foedus.v1 import content_pb2 as pb
from node.treaty.codec import DamagedRow, decode, encode
from node.treaty.codes import DROPPED
from node.treaty.derived import Decision, Finding
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.law import Law
from node.treaty.parsing import KIND_NAMES, parse_content, parse_entry
from node.treaty.sealed import commitment_of
from tests.unit.treaty.court import CHAIN_ID, STATES, Court, genesis_of

CHOICES = (pb.CHOICE_YES, pb.CHOICE_NO, pb.CHOICE_ABSTAIN)
POLICY: dict[str, object] = {
    "frontier_flop": 15_000_000,
    "slot_s": 7,
    "progress": 9,
    "census": 23,
    "inventory": 17,
    "meeting": 29,
    "notice": 4,
    "access": 6,
    "inspect_close": 5,
    "transit": 8,
    "transit_missing": 16,
    "routine_draw": 13,
    "routine": 40,
    "routine_due": 9,
    "rights": 11,
    "tip_response": 13,
    "tip_quota": 2,
    "cost_floor": 10**9,
}


def random_body(rng: random.Random, court: Court) -> tuple[str, Any, dict[str, Any]]:
    """Something that somebody might say: sensible often enough to get far."""
    now = court.law.book.now
    match rng.randrange(8):
        case 0 | 1 | 2:
            return random_paper(rng, court)
        case 3 | 4:
            return random_reading(rng, court)
    run, site = f"r{rng.randrange(6)}", f"dc{rng.randrange(3)}"
    author = rng.choice(["acme", "beta"])
    own = {"by": ("US" if author == "acme" else "CN",)}
    motions = sorted(court.law.book.state.motions) or ["none"]
    cases = sorted(court.law.book.state.cases) or ["none"]
    known = [entry.entry_hash for entry in court.entries]
    refs = tuple(rng.sample(known, min(len(known), rng.randrange(3))))
    match rng.randrange(13):
        case 0:
            capacity = rng.choice([1, 20_000, 2_000_000])
            return author, pb.Facility(facility=site, capacity_mh=capacity, mem_gb=1), own
        case 1:
            plan = pb.Run(
                run=run,
                phase=pb.RUN_PHASE_PLAN,
                model=run,
                params_total=rng.choice([1, 10**9]),
                pflop_plan=rng.choice([1_000, 9_000_000, 20_000_000]),
                parents=rng.sample([f"{author}/r{n}" for n in range(6)], rng.randrange(2)),
                code_hash=bytes([rng.randrange(2)]) * 32,
            )
            return author, plan, own
        case 2:
            return author, pb.Run(run=run, phase=pb.RUN_PHASE_START), own
        case 3 | 4:
            phase = rng.choice([pb.RUN_PHASE_PROGRESS, pb.RUN_PHASE_END])
            done = rng.choice([500, 9_000_000 + rng.randrange(9), 30_000_000])
            return author, pb.Run(run=run, phase=phase, pflop_done=done), own
        case 5:
            body = pb.Usage(
                facility=site,
                chip_type=rng.choice(["H100", "A100"]),
                chips_on=rng.randrange(100),
                chip_seconds=rng.randrange(200),
                pflop_total=5,
                by_class=[pb.NamedAmount(name="infer", amount=rng.choice([5, 6]))],
                runs=[pb.RunShare(run=run, pflop=rng.randrange(9_000_000))],
            )
            facility = court.law.book.state.facilities.get(f"{author}/{site}")
            start = now - 7
            if facility is not None and facility.slot:
                start = facility.covered_at + facility.due_slot * facility.slot
            return author, body, {"period": (start, start + 7)}
        case 6 | 7 | 8:
            return (
                rng.choice(STATES),
                pb.Vote(motion=rng.choice(motions), choice=rng.choice(CHOICES)),
                {},
            )
        case 9:
            note = pb.Note(type=pb.NOTE_TYPE_REPLY, about=rng.choice(cases))
            return rng.choice(STATES), note, {}
        case 10:
            return rng.choice(["CN", "SEC"]), pb.Breach(), {"refs": refs}
        case 11:
            train = pb.Train(inspectors=["insp-gb", "insp-ke"], until=now + rng.randrange(60))
            return author, train, own | {"refs": refs}
        case _:
            note = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=bytes([rng.randrange(3)]) * 32)
            seq = rng.choice([None, 1])
            parts = {} if seq is None else {"seq": 1, "prev": bytes(32)}
            return rng.choice(STATES), note, parts


def random_paper(rng: random.Random, court: Court) -> tuple[str, Any, dict[str, Any]]:
    """Counts, custody, evaluations and inspections: more of what somebody might say."""
    author = rng.choice(["acme", "beta"])
    own = {"by": ("US" if author == "acme" else "CN",)}
    site, other = f"dc{rng.randrange(3)}", f"{rng.choice(['acme', 'beta'])}/dc{rng.randrange(3)}"
    root = bytes([rng.randrange(3)]) * 32
    chip = rng.choice(["H100", "H100", "A100", "acme/NX1"])
    known = {entry.parsed.kind: entry.entry_hash for entry in court.entries}
    match rng.randrange(9):
        case 0 | 1:
            count = rng.choice([0, 5, 30, 200])
            return (
                author,
                pb.Inventory(facility=site, chip_type=chip, count=count, serial_root=root),
                own,
            )
        case 2 | 3 | 4:
            custody = pb.Custody(
                type=rng.choice(list(pb.CustodyType.values())[1:]),
                chip_type=chip,
                count=rng.choice([1, 5, 100]),
                serial_root=root,
                origin=rng.choice([site, other]),
                destination=rng.choice([site, other]),
                emergency=rng.randrange(3) == 0,
            )
            notices = sorted(court.law.book.state.notices)
            if notices and rng.randrange(4):
                custody.notice_of = bytes.fromhex(rng.choice(notices))
            lots = sorted(court.law.book.state.lots.items())
            if custody.type == pb.CUSTODY_TYPE_IN and lots:
                lot = rng.choice(lots)[1]
                custody.serial_root = lot.serial_root
                custody.origin, custody.destination = lot.origin, lot.destination
                return lot.destination.partition("/")[0], custody, {}
            if custody.type == pb.CUSTODY_TYPE_DESTROY:
                return "insp-gb", custody, {"by": ("insp-ke",)}
            return author, custody, {}
        case 5:
            score = pb.Eval(
                model=f"{author}/r{rng.randrange(6)}",
                bench_ver=1,
                items=100,
                score_bp=rng.choice([7_000, 8_000, 8_700]),
            )
            return rng.choice(["eval-gb", "eval-ke"]), score, {}
        case 6:
            mandate = rng.choice(["drawn", *sorted(court.law.book.state.access)])
            denied = rng.choice([0, 3])
            visit = pb.Inspection(
                type=pb.INSPECTION_TYPE_CHALLENGE, site=other, mandate=mandate, denied_s=denied
            )
            return "insp-gb", visit, {"by": ("insp-ke",)}
        case 7:
            refs = tuple(known[kind] for kind in ("facility", "note") if kind in known)
            return rng.choice(STATES), pb.Inspect(), {"refs": refs}
        case _:
            chip_type = pb.ChipType(chip_type="NX1", mh=3_000, peak_any=6_000_000)
            meeting = pb.Note(type=pb.NOTE_TYPE_MEETING)
            return ("acme", chip_type, {}) if rng.randrange(2) else ("SEC", meeting, {})


def random_reading(rng: random.Random, court: Court) -> tuple[str, Any, dict[str, Any]]:
    """Counters, traffic, data, trade, tips, deployments: what verification reads."""
    state, now = court.law.book.state, court.law.book.now
    author = rng.choice(["acme", "beta"])
    own = {"by": ("US" if author == "acme" else "CN",)}
    site = f"acme/dc{rng.randrange(3)}"
    run, model = f"r{rng.randrange(6)}", f"{author}/r{rng.randrange(6)}"
    facility = state.facilities.get(site)
    start = now - 7
    if facility is not None and facility.slot:
        start = facility.covered_at + facility.due_slot * facility.slot
    slot = {"period": (start, start + 7)}
    match rng.randrange(18):
        case 0 | 1:
            before = rng.choice([0, 5, 1_000, 10**9])
            body = pb.Chipmeter(
                facility=site,
                group=f"g{rng.randrange(3)}",
                chip_type="H100",
                chips=rng.randrange(80),
                chip_seconds=1,
                pflop=before,
                counter_start=now * 1_000,
                counter_end=now * 1_000 + before,
            )
            return "meter", body, slot
        case 2:
            located = pb.Locate(
                target=rng.choice(["meter", "probe"]),
                facility=site,
                probe_site=rng.choice([site, "beta/dc0"]),
                rtt_us_min=400,
                n=3,
            )
            return rng.choice(["probe", "probe-cn"]), located, {"by": (located.target,)}
        case 3:
            net = pb.Net(facility=site, up_mb=9, down_mb=9, flat_bp=9_000, sym_bp=9_500)
            return "carrier", net, slot
        case 4:
            taken = state.snapshots.get("meter")
            chain = len(taken.groups) + rng.randrange(2) if taken else 1
            snapshot = pb.Snapshot(
                facility=site, group="g0", weight_hash=bytes(32), chain_pos=chain, step=1
            )
            return "meter", snapshot, {}
        case 5:
            manifest = pb.Data(
                type=pb.DATA_TYPE_MANIFEST,
                run=run,
                tokens=[pb.NamedAmount(name="licensed", amount=100)],
                danger_tokens=rng.choice([0, 200]),
                doc_root=hashlib.sha256(b"").digest(),
                documents=0,
            )
            return author, manifest, own
        case 6:
            claim = pb.Data(type=pb.DATA_TYPE_RIGHTS_CLAIM, run=model, document=bytes(32))
            return rng.choice(["carrier", "beta"]), claim, {}
        case 7:
            claims = sorted(state.claims) or ["00" * 32]
            answer = pb.Data(
                type=pb.DATA_TYPE_RIGHTS_ANSWER,
                claim=bytes.fromhex(rng.choice(claims)),
                answer=rng.choice(list(pb.RightsAnswer.values())[1:]),
                licence=bytes(32),
            )
            return author, answer, {}
        case 8 | 14 | 15:
            price = pb.Trade(
                type=rng.choice([*[pb.TRADE_TYPE_PRICE] * 4, pb.TRADE_TYPE_CUSTOMS]),
                item="H100",
                count=rng.choice([0, 1_000, 1_000]),
                usd=rng.choice([1, 20, 10**6]),
            )
            return rng.choice(["carrier", "carrier-cn"]), price, {}
        case 9:
            sealed = pb.Tip(
                type=pb.TIP_TYPE_REPORT,
                commitment=commitment_of(bytes(32), b"they hide chips"),
                sealed=bytes(rng.choice([1_064, 4_136])),
                shares=[pb.SealedShare(recipient=one, box=bytes(80)) for one in ("BR", "GB", "KE")],
                threshold=rng.choice([1, 2, 3]),
            )
            return rng.choice([*STATES, "SEC", "acme"]), sealed, {}
        case 10 | 11:
            tips = sorted(state.tips) or ["00" * 32]
            tip = pb.Tip(
                type=rng.choice([pb.TIP_TYPE_ASSESS, pb.TIP_TYPE_OPEN, pb.TIP_TYPE_RETALIATION]),
                report=bytes.fromhex(rng.choice(tips)),
            )
            if tip.type == pb.TIP_TYPE_ASSESS:
                tip.credible = rng.randrange(4) > 0
            else:
                tip.subject = rng.choice(["CN", "US"])
            if tip.type == pb.TIP_TYPE_OPEN:
                tip.salt, tip.text = bytes(32), rng.choice([b"they hide chips", b"nothing"])
            return rng.choice(STATES), tip, {"by": tuple(rng.sample(STATES, 2))}
        case 12 | 13:
            note = pb.Note(
                type=rng.choice([pb.NOTE_TYPE_INCIDENT, pb.NOTE_TYPE_SHARE]),
                about=model,
                hash=bytes(32),
            )
            if note.type == pb.NOTE_TYPE_INCIDENT:
                note.code, note.jurisdiction, note.severity = "263", "DE", rng.choice([1, 3])
            return rng.choice(STATES), note, {}
        case _:
            list_of_trades = pb.Identity(
                party=rng.choice(["carrier", "carrier-cn"]),
                role=pb.PARTY_ROLE_SOURCE,
                trades=[pb.TRADE_TYPE_PRICE],
            )
            list_of_trades.state = "CN" if list_of_trades.party.endswith("cn") else "US"
            return list_of_trades.state, list_of_trades, {}


def history(seed: int, commits: int, seen: list[Any] | None = None) -> Court:
    """A random history; `seen` collects everything observable."""
    rng = random.Random(seed)
    court = Court(genesis_of(policy=POLICY))
    for _ in range(commits):
        derived = court.pass_time(rng.randrange(12))
        outcomes = []
        for _ in range(rng.randrange(8)):
            author, body, parts = random_body(rng, court)
            outcomes.append(court.say(author, body, **parts))
        if seen is not None:
            seen.append((derived, outcomes, court.save()))
    return court


@pytest.mark.parametrize("seed", range(12))
def test_equal_calls_give_equal_outcomes_and_state(seed: int) -> None:
    one: list[Any] = []
    other: list[Any] = []
    court = history(seed, 60, one)
    history(seed, 60, other)
    assert one == other
    assert len(court.entries) > 30  # a history in which nothing happens proves nothing


def test_the_hash_seed_of_the_interpreter_changes_nothing() -> None:
    """No set's order reaches an outcome: two interpreters with different seeds agree to the byte."""
    program = (
        "import hashlib; from tests.property.treaty.test_law import history; seen = [];"
        "history(3, 80, seen); print(hashlib.sha256(repr(seen).encode()).hexdigest())"
    )
    root = Path(__file__).resolve().parents[3]
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}:{root / 'proto'}"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_the_histories_reach_the_interesting_places() -> None:
    kinds = set()
    codes = set()
    checks = set()
    for seed in range(12):
        seen: list[Any] = []
        court = history(seed, 80, seen)
        checks |= {finding.check for finding in court.found(Finding)}
        kinds |= {type(value).__name__ for value in court.record}
        codes |= {outcome.code for _, outcomes, _ in seen for outcome in outcomes}
    assert kinds >= {"Decision", "Finding", "CaseStep", "MotionOpened", "RunStep", "Rejected"}
    assert "FindingEnded" in kinds
    assert checks >= {"C02", "C03", "C04", "C04w", "C10", "C19", "C24", "C26", "C28", "C29"}
    assert len(codes) >= 18
    assert codes & DROPPED


@pytest.mark.parametrize("seed", range(12))
def test_a_restored_law_is_the_same_law(seed: int) -> None:
    """Restart after every third commit; nothing that follows may tell."""
    steady: list[Any] = []
    history(seed, 45, steady)
    rng = random.Random(seed)
    court = Court(genesis_of(policy=POLICY))
    for number in range(45):
        derived = court.pass_time(rng.randrange(12))
        outcomes = []
        for _ in range(rng.randrange(8)):
            author, body, parts = random_body(rng, court)
            outcomes.append(court.say(author, body, **parts))
        assert (derived, outcomes, court.save()) == steady[number], f"commit {number}"
        if number % 3 == 0:
            now = court.law.book.now
            rows = list(court.stored.items())
            rng_rows = random.Random(number)
            rng_rows.shuffle(rows)
            court.law = Law.restore(court.genesis, court.index, rows)
            assert court.law.advance(now) == ()
            assert court.law.drain_changes() == {}


@pytest.mark.parametrize("seed", range(6))
def test_clock_effects_do_not_depend_on_how_often_commits_come(seed: int) -> None:
    """RULINGS R24: one long step of the clock equals many short ones."""
    one, other = history(seed, 40), history(seed, 40)
    one.save()
    other.save()
    long = one.pass_time(200)
    short = tuple(value for _ in range(200) for value in other.pass_time(1))
    assert long == short
    assert one.save() == other.save()


@pytest.mark.parametrize("seed", range(6))
def test_with_nothing_due_nothing_changes(seed: int) -> None:
    court = history(seed, 40)
    court.save()
    for _ in range(300):
        due = court.law.next_due_s
        if due is None:
            break
        idle = due - court.law.book.now - 1
        if idle > 0:
            assert court.pass_time(idle) == ()
            assert court.law.drain_changes() == {}
        court.pass_time(1)
        court.law.drain_changes()


@pytest.mark.measure("M10")
def test_the_subjects_vote_is_never_counted() -> None:
    for seed in range(12):
        court = history(seed, 60)
        for decision in court.found(Decision):
            assert not set(decision.subjects) & set(decision.eligible)
            assert {state for state, _ in decision.votes} <= set(decision.eligible)
            assert decision.yes + decision.no + decision.abstain + decision.absent == len(
                decision.eligible
            )


@settings(max_examples=150, deadline=None)
@given(st.data())
@pytest.mark.measure("M10")
def test_one_hostile_state_stops_no_safe_outcome(data: st.DataObject) -> None:
    """I4, I5 with k = 1: it may vote anything, contradict itself or be silent; a Finding stands and

    an approval wanted by all others comes. Times and order of the others' votes are drawn as well.
    """
    court = Court(genesis_of())
    court.plan("over", 100)
    court.phase("over", pb.RUN_PHASE_START)
    court.phase("over", pb.RUN_PHASE_PROGRESS, pflop_done=1_000)
    breach = "BREACH:C14:US:acme/over"
    approval = court.train(court.plan("r1", 10**9))
    others = ["BR", "CN", "GB", "KE"]
    hostile = data.draw(st.sampled_from(others))
    honest = [state for state in others if state != hostile]
    acts = [("honest", state) for state in honest]
    acts += [("hostile", hostile)] * data.draw(st.integers(0, 6))
    for who, state in data.draw(st.permutations(acts)):
        court.pass_time(data.draw(st.integers(0, 2)))
        if who == "honest":
            court.vote(state, approval, pb.CHOICE_YES)
            continue
        motion = data.draw(st.sampled_from([breach, approval]))
        vote = pb.Vote(motion=motion, choice=data.draw(st.sampled_from(CHOICES)))
        seq = court.law.author_tip(state)[0]
        if seq > 1 and data.draw(st.booleans()):
            court.say(state, vote, seq=seq - 1, prev=bytes(32))
        else:
            court.say(state, vote)
    court.pass_time(31)
    outcomes = {decision.motion: decision.outcome for decision in court.found(Decision)}
    assert outcomes[approval] == "approved"
    assert outcomes[breach] == "upheld"


# --- parsers: a value, or their one error ----------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.integers(-(1 << 200), 1 << 200) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5).map(tuple),
    max_leaves=20,
)


@given(VALUES)
def test_rows_round_trip(value: Any) -> None:
    assert decode(encode(value)) == value


@settings(max_examples=300)
@given(VALUES, st.data())
def test_rows_have_one_spelling(value: Any, data: st.DataObject) -> None:
    spelling = bytearray(encode(value))
    place = data.draw(st.integers(0, len(spelling) - 1))
    spelling[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(spelling))
    except DamagedRow:
        return
    assert encode(other) == bytes(spelling)


def valid_payloads() -> list[bytes]:
    court = history(1, 40)
    payloads = []
    for entry in court.entries[:40]:
        parsed = entry.parsed
        content = pb.Content(
            ver=1,
            ledger=CHAIN_ID,
            author=parsed.author,
            refs=parsed.refs,
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
        )
        alternative = next(name for name, kind in KIND_NAMES.items() if kind == parsed.kind)
        getattr(content, alternative).CopyFrom(parsed.body)
        if parsed.period:
            content.period.start, content.period.end = parsed.period
        payloads.append(
            pb.Envelope(
                content=content.SerializeToString(), seq=parsed.seq, prev=parsed.prev
            ).SerializeToString()
        )
    return payloads


PAYLOADS = valid_payloads()


@settings(max_examples=400)
@given(st.sampled_from(PAYLOADS), st.data())
def test_mutated_payloads_give_a_value_or_the_one_error(
    payload: bytes, data: st.DataObject
) -> None:
    mutated = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                mutated[place] = data.draw(st.integers(0, 255))
            case 1:
                del mutated[place:]
                mutated.extend(data.draw(st.binary(max_size=8)))
            case _:
                mutated[place:place] = data.draw(st.binary(max_size=4))
        if not mutated:
            break
    try:
        parsed = parse_entry(bytes(mutated))
    except MalformedContent:
        return
    # What is well-formed the law can judge, whoever signed it.
    court = Court()
    entry = Entry(
        entry_hash=bytes(32),
        name="00" * 32,
        leaf=0,
        kid=court.entry(parsed.author, pb.Note(type=pb.NOTE_TYPE_EVIDENCE)).kid
        if parsed.author in court.law.book.state.parties
        else bytes(8),
        parsed=parsed,
        endorsers=("US",),
    )
    court.apply(entry)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_noise_is_refused_with_the_one_error(noise: bytes) -> None:
    for parse in (parse_entry, parse_content):
        try:
            parse(noise)
        except MalformedContent:
            continue
        raise AssertionError(f"noise {noise.hex()} parsed")
