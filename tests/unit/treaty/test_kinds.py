"""Kinds of statement as a whole: the twenty of MODEL 3, what law 1 knew of them, what one filer may make others hold."""

import importlib
import inspect
from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty import motions, statements
from node.treaty.checks import CHECKS
from node.treaty.codes import Code
from node.treaty.derived import EntryIntoForce
from node.treaty.errors import MalformedContent
from node.treaty.genesis import FoundingParty
from node.treaty.parsing import KIND_NAMES, parse_content
from node.treaty.statements.chipmeter import GROUPS_MAX
from node.treaty.statements.data import CLAIMS_A_DAY_MAX
from tests.compiled import plain_law_only
from tests.unit.treaty.court import CHAIN_ID, Court, genesis_of, key_of

TWENTY = frozenset(
    [
        *("identity", "instrument", "facility", "chip_type", "chip_batch", "custody", "inventory"),
        *("usage", "chipmeter", "energy", "locate", "net", "run", "snapshot", "eval", "data"),
        *("trade", "inspection", "tip", "note"),
    ]
)


def message_of(alternative: str) -> Any:
    return pb.Content.DESCRIPTOR.fields_by_name[alternative].message_type


def test_the_twenty_kinds_and_the_vote_are_all_there() -> None:
    assert set(statements.KINDS) == TWENTY | {"vote"}
    assert set(KIND_NAMES.values()) == set(statements.KINDS) | set(motions.KINDS)


def test_every_form_names_fields_that_the_schema_has() -> None:
    """A misspelt field in a form would check nothing, or raise on the way of an entry."""
    by_name = {kind: alternative for alternative, kind in KIND_NAMES.items()}
    forms = {name: kind.form for name, kind in statements.KINDS.items()}
    forms |= {name: kind.form for name, kind in motions.KINDS.items()}
    for name, form in forms.items():
        message = message_of(by_name[name])
        numbers = (*form.required, *form.enums, *form.integers, *form.positive, *form.basis_points)
        for field in (
            *numbers,
            *form.names,
            *form.references,
            *form.texts,
            *form.hashes,
            *form.lists,
            *form.counted,
        ):
            assert field in message.fields_by_name, f"{name}.{field}"


def test_every_integer_and_list_of_the_schema_is_bounded() -> None:
    """MODEL 2: below 2^53; every list at most 64 items. What a form's own check reads is listed here by hand."""
    by_name = {kind: alternative for alternative, kind in KIND_NAMES.items()}
    for name, form in [(n, k.form) for n, k in (statements.KINDS | motions.KINDS).items()]:
        message = message_of(by_name[name])
        bounded = {*form.integers, *form.basis_points, *form.lists, *form.counted}
        if form.extra:
            bounded |= {"shares", "validator"}  # tip and identity read these whole
        for field in message.fields:
            if field.is_repeated or field.type in {field.TYPE_UINT64, field.TYPE_SINT64}:
                assert field.name in bounded, f"{name}.{field.name}"


@pytest.mark.parametrize(
    ("body", "author"),
    [
        (pb.Net(facility="dc1", up_mb=1, down_mb=1), "carrier"),
        (pb.Facility(facility="dc1", capacity_mh=1, mem_gb=1, purpose="HPC"), "acme"),
        (pb.Note(type=pb.NOTE_TYPE_PRIOR_LOG, about="solo", hash=bytes(32), size=3), "US"),
        (pb.Identity(party="carrier", role=pb.PARTY_ROLE_SOURCE, state="US", sealing_key=bytes(32)), "carrier"),
    ],
)  # fmt: skip
def test_law_one_knows_no_younger_kind_field_or_note(body: Any, author: str) -> None:
    """A ledger of law 1 drops them as its own software did: SCHEMA; under law 2 they are judged."""
    period = (1, 2) if isinstance(body, pb.Net) else None
    first = Court(genesis_of(law_version=1)).say(author, body, by=("US",), period=period)
    assert (first.code, first.facts) == (Code.SCHEMA, None)
    second = Court().say(author, body, by=("US",), period=period)
    assert second.code != Code.SCHEMA


@pytest.mark.parametrize("secret", sorted(TWENTY | {"vote"}))
def test_class_s_is_for_notes_and_tips_alone(secret: str) -> None:
    """M53: the ledger holds no secret in the clear; what may be class S is a hash or ciphertext."""
    assert ("S" in statements.KINDS[secret].classes) == (secret in {"note", "tip"})
    content = pb.Content(
        ver=1, ledger=CHAIN_ID, author="US", confidentiality=pb.CONFIDENTIALITY_SECRET
    )
    getattr(content, secret).SetInParent()
    content.period.start, content.period.end = 1, 2
    if secret not in {"note", "tip"}:
        with pytest.raises(MalformedContent, match="S is not for"):
            parse_content(content.SerializeToString())


# --- the catalogue of checks -----------------------------------------------------------------------


@plain_law_only
def test_the_catalogue_tells_where_each_check_stands() -> None:
    """Every check that is in force is raised where its row says, and by no module that has no row for it."""
    assert {name for name in CHECKS if name != "C04w"} == {f"C{n:02}" for n in range(1, 31)}
    wanted = {
        *["C01", "C02", "C03", "C04", "C07", "C10", "C14", "C15", "C19", "C26", "C27", "C28", "C29"]
    }
    assert {name for name, check in CHECKS.items() if check.since} >= wanted
    for name, check in CHECKS.items():
        assert bool(check.module) == bool(check.since), name
        if check.module and name != "C01":  # C01 refuses: it raises nothing
            source = inspect.getsource(importlib.import_module(f"node.treaty.{check.module}"))
            assert f'"{name}"' in source or f"{name}:" in source, f"{name} in {check.module}"
        assert set(check.labels) <= set("ABCD"), name


# --- entry into force --------------------------------------------------------------------------------


@pytest.mark.measure("M09")
def test_entry_into_force_is_a_record_and_what_came_before_is_marked() -> None:
    """Four members: provisional. The fifth, with US and CN bound, opens the fast door; cases before it stay marked."""
    fr = FoundingParty(
        party="FR",
        role="state",
        state="FR",
        author_key=key_of("FR", "author"),
        vote_key=key_of("FR", "vote"),
    )
    founding = genesis_of(("CN", "GB", "KE", "US"))
    court = Court(genesis_of(("CN", "GB", "KE", "US"), parties=(*founding.parties, fr)))
    assert court.law.in_force_since() is None
    court.plan("over", 100)
    court.phase("over", pb.RUN_PHASE_START)
    court.phase("over", pb.RUN_PHASE_PROGRESS, pflop_done=1_000)
    assert set(court.law.book.state.provisional) == {"C14:US:acme/over"}
    accede = pb.Instrument(type=pb.INSTRUMENT_TYPE_ACCEDE, attested_by=["CN", "GB"])
    court.must("FR", accede, by=("CN", "GB"))
    (record,) = court.found(EntryIntoForce)
    assert (record.door, record.members) == ("fast", ("CN", "FR", "GB", "KE", "US"))
    assert court.law.in_force_since() == record.at
    court.plan("more", 100)
    court.phase("more", pb.RUN_PHASE_START)
    court.phase("more", pb.RUN_PHASE_PROGRESS, pflop_done=1_000)
    assert "C14:US:acme/more" in court.law.book.state.cases
    assert set(court.law.book.state.provisional) == {"C14:US:acme/over"}


# --- bounds -------------------------------------------------------------------------------------------


def test_a_device_reads_so_many_groups_and_no_more() -> None:
    court = Court()
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=1, mem_gb=1), by=("US",))
    codes = []
    for number in range(GROUPS_MAX + 1):
        reading = pb.Chipmeter(
            facility="acme/dc1",
            group=f"g{number}",
            chip_type="H100",
            chips=1,
            chip_seconds=1,
            pflop=1,
            counter_start=0,
            counter_end=1,
        )
        codes.append(court.say("meter", reading, period=(1, 2)).code)
    assert codes == [None] * GROUPS_MAX + [Code.QUOTA]


@pytest.mark.measure("M44")
def test_claims_of_one_claimant_are_counted_for_it_alone() -> None:
    court = Court()
    court.plan("r1", 100)
    manifest = pb.Data(type=pb.DATA_TYPE_MANIFEST, run="r1", doc_root=bytes(32), documents=9)
    court.must("acme", manifest, by=("US",))

    def claim(author: str, number: int) -> Code | None:
        body = pb.Data(
            type=pb.DATA_TYPE_RIGHTS_CLAIM, run="acme/r1", document=number.to_bytes(32, "big")
        )
        return court.say(author, body).code

    codes = [claim("carrier", number) for number in range(CLAIMS_A_DAY_MAX + 1)]
    assert codes == [None] * CLAIMS_A_DAY_MAX + [Code.QUOTA]
    assert claim("beta", 99) is None
    court.pass_time(86_400)
    assert claim("carrier", 98) is None


def test_a_dropped_tip_uses_no_allowance() -> None:
    """The count is the last thing judged: what is refused for another reason costs its relay nothing."""
    court = Court(genesis_of(policy={"tip_quota": 1}))
    shares = [pb.SealedShare(recipient=state, box=bytes(80)) for state in ("BR", "GB", "KE")]
    sealed: dict[str, Any] = {"commitment": bytes(32), "sealed": bytes(1_064), "shares": shares}
    bad = pb.Tip(type=pb.TIP_TYPE_REPORT, threshold=3, **sealed)
    good = pb.Tip(type=pb.TIP_TYPE_REPORT, threshold=2, **sealed)
    assert court.say("carrier", bad).code is Code.HARD_LIMIT
    assert court.say("carrier", good).code is None
    assert court.say("carrier", good).code is Code.QUOTA
