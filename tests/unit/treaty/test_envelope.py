"""Refusals: form, author, chain, roles. Each code that this law version can give is reached once."""

from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty.book import derived_ref
from node.treaty.codes import DROPPED, Code
from node.treaty.derived import Finding, Rejected, Uncountersigned
from node.treaty.errors import MalformedContent
from node.treaty.parsing import header_subject, parse_content, parse_entry
from node.treaty.register import kid_of
from node.treaty.statements import run
from tests.compiled import plain_law_only
from tests.unit.treaty.court import CHAIN_ID, START, Court, genesis_of, key_of

EVIDENCE = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=bytes(32))
DC1 = pb.Facility(facility="dc1", capacity_mh=8_000, mem_gb=640)


def content(**changes: Any) -> pb.Content:
    fields: dict[str, Any] = {
        "ver": 1,
        "ledger": CHAIN_ID,
        "author": "CN",
        "confidentiality": pb.CONFIDENTIALITY_RESTRICTED,
        "note": EVIDENCE,
    }
    fields.update(changes)
    return pb.Content(**{name: value for name, value in fields.items() if value is not None})


def refused_form(message: pb.Content) -> str:
    with pytest.raises(MalformedContent) as refusal:
        parse_content(message.SerializeToString())
    return refusal.value.field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ver": 2}, "content.ver"),
        ({"ledger": bytes(31)}, "content.ledger"),
        ({"author": "a:b"}, "content.author"),
        ({"author": "a" * 65}, "content.author"),
        ({"confidentiality": None}, "content.confidentiality"),
        ({"note": None}, "content.body"),
        ({"refs": [bytes(31)]}, "content.refs"),
        ({"refs": [bytes(32), bytes(32)]}, "content.refs"),
        ({"refs": [bytes([n]) * 32 for n in range(65)]}, "content.refs"),
        ({"period": pb.Period(start=5, end=5)}, "content.period"),
        ({"period": pb.Period(start=5, end=1 << 53)}, "content.period"),
        ({"note": pb.Note()}, "note.type"),
        ({"note": pb.Note(type=pb.NOTE_TYPE_REPLY)}, "note.about"),
        ({"note": pb.Note(type=pb.NOTE_TYPE_OFFER, hash=b"x")}, "note.hash"),
        ({"facility": pb.Facility(facility="dc1", mem_gb=1)}, "facility.capacity_mh"),
        ({"facility": pb.Facility(facility="d/c", capacity_mh=1, mem_gb=1)}, "facility.facility"),
        ({"facility": pb.Facility(facility="d", capacity_mh=1 << 53, mem_gb=1)}, "facility.capacity_mh"),
        ({"energy": pb.Energy(facility="d", meter="m", wh=1)}, "content.period"),
        ({"run": pb.Run(run="r", phase=pb.RUN_PHASE_PLAN, model="m", params_total=1)}, "run.pflop_plan"),
        ({"run": pb.Run(run="r", phase=pb.RUN_PHASE_START, pflop_done=1)}, "run.pflop_done"),
        ({"run": pb.Run(run="r", phase=pb.RUN_PHASE_END)}, "run.pflop_done"),
        ({"run": pb.Run(run="r", phase=pb.RUN_PHASE_PLAN, model="m", params_total=1, pflop_plan=1,
                        forecast_bp=10_001)}, "run.forecast_bp"),
        ({"run": pb.Run(run="r", phase=pb.RUN_PHASE_PLAN, model="m", params_total=1, pflop_plan=1,
                        parents=["a", "a"])}, "run.parents"),
        ({"identity": pb.Identity(party="p", role=pb.PARTY_ROLE_DEVICE, state="CN",
                                  keys=[pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=b"k")])},
         "identity.keys"),
        ({"vote": pb.Vote(motion="m")}, "vote.choice"),
        ({"appoint": pb.Appoint(name="x")}, "APPOINT.what"),
        ({"amend": pb.Amend(param="x")}, "AMEND"),
        ({"facility": DC1, "confidentiality": pb.CONFIDENTIALITY_SECRET}, "content.confidentiality"),
    ],
)  # fmt: skip
def test_form_is_refused_by_the_field_at_fault(changes: dict[str, Any], field: str) -> None:
    assert refused_form(content(**changes)) == field


def usage(**changes: Any) -> pb.Usage:
    fields: dict[str, Any] = {
        "facility": "dc1",
        "chip_type": "H100",
        "chips_on": 10,
        "chip_seconds": 10,
        "pflop_total": 2,
        "by_class": [pb.NamedAmount(name="infer", amount=2)],
    }
    return pb.Usage(**fields | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"by_class": [pb.NamedAmount(name="infer", amount=1)] * 2},
        {"by_class": [pb.NamedAmount(name="mining", amount=1)]},
        {"by_class": [pb.NamedAmount(name="infer", amount=1 << 53)]},
        {"runs": [pb.RunShare(run="a", pflop=1), pb.RunShare(run="a", pflop=1)]},
        {"runs": [pb.RunShare(run="a")]},
    ],
)
def test_usage_amounts_are_refused(changes: dict[str, Any]) -> None:
    field = refused_form(content(usage=usage(**changes), period=pb.Period(start=1, end=2)))
    assert field in {"usage.by_class", "usage.runs"}


def test_unknown_fields_and_enum_values_are_refused_at_every_depth() -> None:
    good = content(usage=usage(), period=pb.Period(start=1, end=2)).SerializeToString()
    parse_content(good)
    unknown = b"\x98\x06\x07"  # field 99, varint
    with pytest.raises(MalformedContent, match="unknown field"):
        parse_content(good + unknown)
    deep = usage()
    deep.by_class[0].MergeFromString(unknown)
    with pytest.raises(MalformedContent, match="unknown field"):
        parse_content(content(usage=deep, period=pb.Period(start=1, end=2)).SerializeToString())
    with pytest.raises(MalformedContent, match="unknown field"):
        parse_content(good + b"\x30\x63")  # confidentiality = 99
    with pytest.raises(MalformedContent, match="unknown field"):
        parse_entry(pb.Envelope(content=good, seq=1, prev=bytes(32)).SerializeToString() + unknown)


@pytest.mark.parametrize(
    "envelope",
    [
        pb.Envelope(content=content().SerializeToString(), seq=0, prev=bytes(32)),
        pb.Envelope(content=content().SerializeToString(), seq=1 << 53, prev=bytes(32)),
        pb.Envelope(content=content().SerializeToString(), seq=1, prev=bytes(31)),
        pb.Envelope(content=b"x" * (16 * 1024 + 1), seq=1, prev=bytes(32)),
        pb.Envelope(content=b"\xff", seq=1, prev=bytes(32)),
        pb.Envelope(
            content=content().SerializeToString(), seq=1, prev=bytes(32), endorsements=[b""] * 65
        ),
    ],
)
def test_envelope_bounds(envelope: pb.Envelope) -> None:
    with pytest.raises(MalformedContent):
        parse_entry(envelope.SerializeToString())


def test_header_subject_names_what_is_spoken_of() -> None:
    def subject(**body: Any) -> str:
        return header_subject(content(note=None, **body).SerializeToString())

    assert subject(facility=DC1) == "facility/dc1"
    assert subject(vote=pb.Vote(motion="m", choice=pb.CHOICE_NO)) == "vote/m"
    assert subject(train=pb.Train()) == "TRAIN/CN"
    assert header_subject(content().SerializeToString()) == "note/CN"


# --- verdicts of the law ---------------------------------------------------------------------------


@pytest.fixture
def court() -> Court:
    return Court()


def code_of(court: Court, author: str, body: Any, **parts: Any) -> Code | None:
    """The verdict; checks that what is dropped leaves no trace, and what is rejected leaves one."""
    before = court.law.author_tip(author)
    court.save()
    entry = court.entry(author, body, **parts)
    outcome = court.apply(entry)
    if outcome.code in DROPPED:
        assert outcome.facts is None
        assert outcome.derived == ()
        assert court.law.drain_changes() == {}
    elif outcome.code is not None:
        assert outcome.facts is not None
        assert outcome.facts.code == outcome.code
        first = outcome.derived[0]
        assert isinstance(first, Rejected)
        assert (first.entry, first.code, first.index) == (
            entry.entry_hash,
            outcome.code,
            entry.leaf,
        )
        if outcome.code is not Code.EQUIVOCATION:
            assert court.law.author_tip(author) == (before[0] + 1, entry.entry_hash)
    return outcome.code


def test_signed_for_another_ledger(court: Court) -> None:
    assert code_of(court, "CN", EVIDENCE, ledger=bytes(32)) is Code.SCHEMA


def test_unknown_author_and_wrong_key(court: Court) -> None:
    assert code_of(court, "nobody", EVIDENCE) is Code.UNKNOWN_AUTHOR
    assert code_of(court, "CN", EVIDENCE, kid=kid_of(key_of("US", "author"))) is Code.UNKNOWN_AUTHOR
    vote_kid = kid_of(key_of("CN", "vote"))
    assert code_of(court, "CN", EVIDENCE, kid=vote_kid) is Code.UNKNOWN_AUTHOR  # role of the key
    vote = pb.Vote(motion="m", choice=pb.CHOICE_YES)
    author_kid = kid_of(key_of("CN", "author"))
    assert code_of(court, "CN", vote, kid=author_kid) is Code.UNKNOWN_AUTHOR


def test_author_chain(court: Court) -> None:
    assert code_of(court, "CN", EVIDENCE, seq=2) is Code.SEQ_GAP
    assert code_of(court, "CN", EVIDENCE, prev=b"\1" * 32) is Code.SEQ_GAP
    assert code_of(court, "CN", EVIDENCE) is None
    assert code_of(court, "CN", EVIDENCE, seq=1, prev=bytes(32)) is Code.DUPLICATE
    other = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=b"\1" * 32)
    assert code_of(court, "CN", other, seq=1, prev=bytes(32)) is Code.EQUIVOCATION
    assert code_of(court, "CN", other, seq=1, prev=bytes(32)) is Code.DUPLICATE
    finding = court.found(Finding)[0]
    assert (finding.finding, finding.severity) == ("C29:CN:seq1", 4)
    assert court.law.author_tip("CN")[0] == 2  # an equivocation takes no new seq


def test_equivocation_of_a_party_is_severity_2_and_of_another_a_new_finding(court: Court) -> None:
    for author in ("meter", "acme"):
        other = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=b"\1" * 32)
        assert code_of(court, author, EVIDENCE) is None
        assert code_of(court, author, other, seq=1, prev=bytes(32)) is Code.EQUIVOCATION
    names = [(finding.finding, finding.severity) for finding in court.found(Finding)]
    assert names == [("C29:US:seq1", 2), ("C29:US:seq1#2", 2)]


def test_endorsed_content_is_accepted_once(court: Court) -> None:
    assert code_of(court, "acme", DC1, by=("US",)) is None
    assert code_of(court, "acme", DC1, by=("US",)) is Code.DUPLICATE


def test_refs_must_lead_to_something_accepted(court: Court) -> None:
    assert code_of(court, "CN", EVIDENCE, refs=(b"\1" * 32,)) is Code.UNKNOWN_REF
    assert code_of(court, "CN", DC1) is Code.FILER
    rejected = court.entries[-1].entry_hash
    assert code_of(court, "CN", pb.Breach(), refs=(rejected,)) is Code.UNKNOWN_REF
    assert code_of(court, "CN", pb.Breach(), refs=(derived_ref("C02:US:dc1"),)) is Code.UNKNOWN_REF


@pytest.mark.parametrize(
    ("author", "body"),
    [
        ("CN", DC1),
        ("acme", pb.Breach()),
        ("acme", pb.Appoint(what=pb.APPOINTMENT_TYPE_STANDARD, name="s")),
        ("acme", pb.Note(type=pb.NOTE_TYPE_MANDATE)),
        ("CN", pb.Note(type=pb.NOTE_TYPE_MEETING)),
        ("acme", pb.Note(type=pb.NOTE_TYPE_EVIDENCE, about="CN")),
        ("acme", pb.Instrument(type=pb.INSTRUMENT_TYPE_SIGN)),
        ("acme", pb.Identity(party="x", role=pb.PARTY_ROLE_DEVICE, state="US")),
        ("acme", pb.Halt()),
        ("SEC", pb.Suspend()),
        ("meter", pb.Amend(param="t1_flop", value=1)),
        ("acme", pb.TightenNow(param="t1_flop", scale_bp=5_000)),
        ("acme", pb.Inspect()),
        ("SEC", pb.Appeal()),
        ("CN", pb.Exempt(domain="narrow", general_output=False)),
        ("SEC", pb.Classify()),
    ],
)
def test_who_may_not_write_a_kind(court: Court, author: str, body: Any) -> None:
    assert code_of(court, author, body) is Code.FILER


def test_countersignature_and_offer(court: Court) -> None:
    assert code_of(court, "acme", DC1) is Code.COUNTERSIGN
    assert code_of(court, "acme", DC1, by=("CN",)) is Code.COUNTERSIGN  # another state's is none
    entry = court.entry("acme", DC1)
    offer = pb.Note(type=pb.NOTE_TYPE_OFFER, hash=entry.parsed.content_hash)
    assert code_of(court, "acme", offer) is None
    assert code_of(court, "acme", offer) is Code.REPEATED
    court.pass_time(4)
    assert code_of(court, "acme", DC1) is Code.COUNTERSIGN
    court.pass_time(1)
    outcome = court.say("acme", DC1)
    assert outcome.uncountersigned
    assert court.found(Uncountersigned)[0].state == "US"


def test_standing_and_repeats(court: Court) -> None:
    assert code_of(court, "acme", DC1, by=("US",)) is None
    again = pb.Facility(facility="dc1", capacity_mh=1, mem_gb=1)
    assert code_of(court, "acme", again, by=("US",)) is Code.REPEATED
    report = usage(facility="acme/dc1")
    period = (START - 10, START)
    assert code_of(court, "beta", report, period=period) is Code.STANDING
    assert code_of(court, "acme", usage(chip_type="X1"), period=period) is Code.CHIPTYPE
    assert code_of(court, "acme", usage(facility="dc2"), period=period) is Code.UNKNOWN_REF
    late = (START, START + 301)
    assert code_of(court, "acme", usage(), period=late) is Code.PERIOD
    assert code_of(court, "acme", usage(), period=(START, START + 300)) is None
    reading = pb.Energy(facility="acme/dc1", meter="m", wh=5)
    assert code_of(court, "meter", reading, period=period) is None
    assert code_of(court, "beta", reading, period=period) is Code.STANDING
    correction = pb.Note(type=pb.NOTE_TYPE_CORRECTION, corrects=court.entries[0].entry_hash)
    assert code_of(court, "beta", correction) is Code.STANDING


AHEAD = (START, START + 301)


@pytest.mark.parametrize(
    ("author", "body", "by"),
    [
        ("acme", DC1, ("US",)),
        ("CN", EVIDENCE, ()),
        ("CN", pb.Note(type=pb.NOTE_TYPE_MANDATE), ()),
        ("CN", pb.Note(type=pb.NOTE_TYPE_PUBLICATION), ()),
        ("SEC", pb.Note(type=pb.NOTE_TYPE_MEETING), ()),
        ("CN", pb.Note(type=pb.NOTE_TYPE_OFFER, hash=bytes(32)), ()),
        ("CN", pb.Instrument(type=pb.INSTRUMENT_TYPE_SIGN), ()),
        ("CN", pb.Instrument(type=pb.INSTRUMENT_TYPE_WITHDRAW), ()),
        ("CN", pb.Appoint(what=pb.APPOINTMENT_TYPE_STANDARD, name="s"), ()),
        ("acme", pb.Run(run="r", phase=pb.RUN_PHASE_PLAN, model="m", params_total=1, pflop_plan=1),
         ("US",)),
        ("acme", pb.Run(run="known", phase=pb.RUN_PHASE_START), ("US",)),
    ],
)  # fmt: skip
def test_no_period_lies_ahead(court: Court, author: str, body: Any, by: tuple[str, ...]) -> None:
    """MODEL 2 asks it of every kind; at 300 s ahead the same entry is taken."""
    court.plan("known", 1)
    assert code_of(court, author, body, by=by, period=AHEAD) is Code.PERIOD
    assert code_of(court, author, body, by=by, period=(START, START + 300)) is None


def test_the_first_code_in_the_order_counts(court: Court) -> None:
    assert code_of(court, "CN", DC1, period=AHEAD) is Code.FILER
    vote = pb.Vote(motion="m", choice=pb.CHOICE_YES)
    assert code_of(court, "CN", vote, period=AHEAD) is Code.UNKNOWN_REF
    motion = court.train(court.plan("r1", 10**9))
    vote = pb.Vote(motion=motion, choice=pb.CHOICE_YES)
    assert code_of(court, "US", vote, period=AHEAD) is Code.PERIOD  # before NOT_ELIGIBLE
    assert code_of(court, "acme", vote, kid=kid_of(key_of("acme", "author"))) is Code.UNKNOWN_AUTHOR


@plain_law_only
def test_a_plan_with_too_many_ancestors(monkeypatch: pytest.MonkeyPatch, court: Court) -> None:
    monkeypatch.setattr(run, "ANCESTORS_MAX", 2)
    court.plan("a", 1)
    court.plan("b", 1, parents=["a"])
    court.plan("c", 1, parents=["b"])
    plan = pb.Run(
        run="d", phase=pb.RUN_PHASE_PLAN, model="d", params_total=1, pflop_plan=1, parents=["c"]
    )
    assert code_of(court, "acme", plan, by=("US",)) is Code.HARD_LIMIT


def test_foreign_runs_in_a_usage_need_the_site_in_their_plan(court: Court) -> None:
    court.must("acme", DC1, by=("US",))
    court.plan("mine", 100, author="beta")
    court.plan("yours", 100, author="beta", sites=["acme/dc1"])
    period = (START - 10, START)
    share = [pb.RunShare(run="beta/mine", pflop=1)]
    assert code_of(court, "acme", usage(runs=share), period=period) is Code.STANDING
    share = [pb.RunShare(run="beta/yours", pflop=1)]
    assert code_of(court, "acme", usage(runs=share), period=period) is None


def test_covered_sites_report_whole_slots() -> None:
    court = Court(genesis_of(policy={"slot_s": 100}))
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1), by=("US",))
    court.pass_time(100)
    assert code_of(court, "acme", usage(), period=(START, START + 99)) is Code.PERIOD
    assert code_of(court, "acme", usage(), period=(START + 1, START + 101)) is Code.PERIOD
    assert code_of(court, "acme", usage(), period=(START, START + 100)) is None
