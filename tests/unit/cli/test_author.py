"""Drafts, authors and outboxes: what is signed, and that nothing leaves before it is on disk."""

import contextlib
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foedus.v1 import content_pb2 as pb
from node.cli.author import Author, Signed
from node.cli.errors import (
    CouldNot,
    MalformedDraft,
    OutboxBehind,
    OutboxBusy,
    OutboxDamaged,
    OutboxError,
)
from node.cli.outbox import FileOutbox, MemoryOutbox, Tip
from node.cli.statements import KINDS, Draft, content_bytes, parse_draft
from node.log.cose import parse_endorsement, parse_statement
from node.signing.keys import generate_agency_keys
from node.signing.statements import FIRST_PREV, entry_hash
from node.signing.verify import verify_ed25519
from node.treaty.parsing import parse_content, parse_entry
from tests.unit.cli.fake_network import OPERATOR
from tests.unit.cli.fake_nodes import parsed_of

LEDGER = sha256(b"a ledger").digest()
AGENCY = generate_agency_keys("US", seed=sha256(b"cli tests/US").digest())
NOTE = {"type": "evidence", "about": "KE", "hash": "ab" * 32}
FACILITY = {"facility": "dc1", "capacity_mh": 5, "mem_gb": 80}


def operator(outbox: Any = None) -> Author:
    return Author(OPERATOR, ledger=LEDGER, outbox=outbox)


# --- drafts ------------------------------------------------------------------------------------------------------


def test_a_draft_says_what_its_json_says() -> None:
    data = b"""{"kind": "usage", "class": "R", "period": [1700000000, 1700003600], "refs": ["%s"],
      "body": {"facility": "dc1", "chip_type": "H100", "chips_on": 8, "chip_seconds": 28800, "pflop_total": 57,
               "by_class": {"pretrain": 50, "idle": 7}, "runs": [{"run": "acme/r1", "pflop": 50}]}}"""
    draft = parse_draft(data % (b"ab" * 32))
    content = parse_content(content_bytes(draft, ledger=LEDGER, author="acme"))
    assert (content.ver, content.ledger, content.author) == (1, LEDGER, "acme")
    assert list(content.refs) == [b"\xab" * 32]
    assert (content.period.start, content.period.end) == (1700000000, 1700003600)
    assert content.usage.pflop_total == 57
    assert {item.name: item.amount for item in content.usage.by_class} == {
        "pretrain": 50,
        "idle": 7,
    }
    assert content.usage.runs[0].run == "acme/r1"


@pytest.mark.parametrize("word", ["plan", "PLAN", "RUN_PHASE_PLAN"])
def test_enums_by_their_words(word: str) -> None:
    body = {"run": "r1", "phase": word, "model": "m1", "params_total": 1, "pflop_plan": 2}
    content = parse_content(
        content_bytes(Draft(kind="run", body=body), ledger=LEDGER, author="acme")
    )
    assert content.run.phase == pb.RUN_PHASE_PLAN


def test_a_motion_without_fields_has_a_body() -> None:
    data = content_bytes(Draft(kind="BREACH", refs=(b"\x01" * 32,)), ledger=LEDGER, author="US")
    assert parse_content(data).WhichOneof("body") == "breach"


@pytest.mark.parametrize(
    ("draft", "why"),
    [
        (b"[]", "want an object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"body": {}}', "draft.kind is missing"),
        (b'{"kind": "tax"}', "draft.kind='tax'"),
        (b'{"kind": 7}', "draft.kind=7"),
        (b'{"kind": "note", "colour": 1}', "draft.colour: no such field"),
        (b'{"kind": "note", "kind": "note"}', "a field twice"),
        (b'{"kind": "note", "body": []}', "draft.body"),
        (b'{"kind": "note", "class": "X"}', "draft.class='X'"),
        (b'{"kind": "note", "refs": ["zz"]}', r"draft.refs\[0\]='zz'"),
        (b'{"kind": "note", "refs": "ab"}', "draft.refs="),
        (b'{"kind": "note", "period": [2, 1]}', "draft.period"),
        (b'{"kind": "note", "period": [1, 2, 3]}', "draft.period"),
        (b'{"kind": "energy", "body": {"wh": 1.5}}', "integers only"),
        (b"x" * (1 << 21), "at most"),
    ],
)
def test_bad_drafts_name_the_field(draft: bytes, why: str) -> None:
    with pytest.raises(MalformedDraft, match=why):
        parse_draft(draft)


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("energy", {"watts": 1}, "energy.watts: no such field: there are facility, meter, wh"),
        ("energy", {"wh": -1}, "energy.wh=-1: want an integer from 0"),
        ("energy", {"wh": 1 << 53}, "energy.wh=.*want an integer"),
        ("energy", {"wh": True}, "energy.wh=True"),
        ("energy", {"wh": "7"}, "energy.wh='7'"),
        ("energy", {"point": "roof"}, "want one of site, hall, substation"),
        ("energy", {"point": 1}, "energy.point=1"),
        ("energy", {"facility": 7}, "energy.facility=7: want a text"),
        ("energy", {"facility": "dc1", "wh": 1, "meter": "m1"}, "content.period"),
        ("note", {"type": "reply"}, "note.about: missing"),
        ("note", {"type": "evidence", "hash": "abc"}, "note.hash='abc': want bytes in hex"),
        ("note", {"type": "evidence", "hash": "ab"}, "note.hash: 1 bytes, not 32"),
        ("usage", {"by_class": 7}, "usage.by_class=7: want a list"),
        ("usage", {"runs": [7]}, r"usage.runs\[0\]=7: want an object"),
        ("usage", {"runs": [{"run": 7}]}, r"usage.runs\[0\].run=7"),
        ("run", {"run": "r1", "phase": "end"}, "run.pflop_done: missing"),
        ("vote", {"motion": "m", "choice": "maybe"}, "want one of yes, no, abstain"),
        ("EXEMPT", {"domain": "x", "general_output": 0}, "want true or false"),
        ("AMEND", {"generator": 7}, "AMEND.generator=7: want an object"),
        ("facility", {"facility": "\ud800", "capacity_mh": 1, "mem_gb": 1}, "facility.facility"),
    ],
)
def test_bad_bodies_name_the_field(kind: str, body: dict[str, Any], why: str) -> None:
    with pytest.raises(MalformedDraft, match=why):
        content_bytes(Draft(kind=kind, body=body), ledger=LEDGER, author="acme")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.sampled_from(KINDS),
)
def test_any_values_give_a_content_or_the_one_error(value: Any, kind: str) -> None:
    names = [field.name for field in pb.Usage.DESCRIPTOR.fields]
    body = value if isinstance(value, dict) else dict.fromkeys(names, value)
    try:
        data = content_bytes(Draft(kind=kind, body=body), ledger=LEDGER, author="acme")
    except MalformedDraft:
        return
    parse_content(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_draft_or_the_one_error(data: bytes) -> None:
    try:
        parse_draft(data)
    except MalformedDraft:
        return


# --- authors -----------------------------------------------------------------------------------------------------


def good(signed: Signed, key: bytes) -> bool:
    statement = parse_statement(signed.entry)
    return verify_ed25519(key, statement.to_be_signed(), statement.signature)


def test_a_chain_goes_on_from_entry_to_entry() -> None:
    acme = operator()
    first, second = acme.say("note", NOTE), acme.say("note", NOTE)
    one, two = parsed_of(first.entry), parsed_of(second.entry)
    assert (one.seq, one.prev) == (1, FIRST_PREV)
    assert (two.seq, two.prev) == (2, first.entry_hash)
    assert second.entry_hash == entry_hash(second.entry) == bytes.fromhex(second.name)
    assert (second.kind, second.subject, second.seq) == ("note", "KE", 2)
    header = parse_statement(first.entry).header
    assert (header.issuer, header.subject, header.kid) == ("acme", "note/KE", OPERATOR.author.kid)
    assert good(first, OPERATOR.author.public)
    assert good(second, OPERATOR.author.public)


def test_votes_stand_in_the_same_chain_by_another_key() -> None:
    agency = Author(AGENCY, ledger=LEDGER)
    motion = agency.say("INSPECT", {}, refs=[b"\x01" * 32])
    vote = agency.vote(motion.entry_hash, "no")
    assert AGENCY.vote is not None
    assert good(vote, AGENCY.vote.public)
    assert not good(vote, AGENCY.author.public)
    parsed = parsed_of(vote.entry)
    assert (parsed.seq, parsed.body.motion) == (2, motion.name)
    with pytest.raises(CouldNot, match="acme has no vote key"):
        operator().vote("BREACH:x", "yes")


def test_endorsements_cover_the_content_and_no_chain() -> None:
    agency, acme = Author(AGENCY, ledger=LEDGER), operator()
    signed = acme.say("facility", FACILITY, endorsed_by=[agency])
    (endorsement,) = parsed_of(signed.entry).endorsements
    statement = parse_endorsement(endorsement)
    assert statement.header.issuer == "US"
    digest = parsed_of(signed.entry).content_hash
    assert verify_ed25519(AGENCY.author.public, statement.to_be_signed(digest), statement.signature)
    assert agency.outbox.tip == Tip()
    elsewhere = Author(AGENCY, ledger=bytes(32))
    with pytest.raises(MalformedDraft, match="another ledger"):
        elsewhere.endorse(acme.content(Draft(kind="note", body=NOTE)))


def test_endorsed_content_is_said_once(tmp_path: Path) -> None:
    agency = Author(AGENCY, ledger=LEDGER)
    boxes = (MemoryOutbox(), FileOutbox(tmp_path, ledger=LEDGER, author="acme"))
    for box in boxes:
        acme = operator(box)
        acme.say("facility", FACILITY, endorsed_by=[agency])
        with pytest.raises(OutboxError, match="said this endorsed content in its entry 1"):
            acme.say("facility", FACILITY, endorsed_by=[agency])
        acme.say("note", NOTE)
        acme.say("note", NOTE)  # nobody endorsed it: the ledger takes it again
        assert acme.outbox.tip.seq == 3
    boxes[1].close()
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as reopened, pytest.raises(OutboxError):
        operator(reopened).say("facility", FACILITY, endorsed_by=[agency])


def test_nothing_of_another_author_or_ledger_is_signed() -> None:
    content = Author(AGENCY, ledger=LEDGER).content(Draft(kind="note", body=NOTE))
    with pytest.raises(MalformedDraft, match=r"content\.author=US"):
        operator().wrap(content)
    with pytest.raises(MalformedDraft, match="another ledger"):
        Author(AGENCY, ledger=bytes(32)).wrap(content)


# --- outboxes ----------------------------------------------------------------------------------------------------


def test_an_outbox_survives_its_process(tmp_path: Path) -> None:
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        signed = [operator(box).say("note", NOTE) for _ in range(3)]
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        assert box.tip == Tip(seq=3, entry_hash=signed[2].entry_hash)
        assert box.waiting(1) == [item.entry for item in signed]
        assert box.waiting(3) == [signed[2].entry]
        box.forget_final(2)
        assert box.waiting(1) == [signed[2].entry]
        assert operator(box).say("note", NOTE).seq == 4


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        FileOutbox(tmp_path, ledger=LEDGER, author="acme"),
        pytest.raises(OutboxBusy, match="another process signs for acme"),
    ):
        FileOutbox(tmp_path, ledger=LEDGER, author="acme")
    FileOutbox(tmp_path, ledger=LEDGER, author="acme").close()
    with FileOutbox(tmp_path, ledger=LEDGER, author="US"):
        FileOutbox(tmp_path, ledger=bytes(32), author="US").close()  # another ledger, another chain


class PowerLoss(BaseException):
    pass


@pytest.mark.parametrize("write", range(1, 7))
def test_a_crash_at_any_write_signs_no_seq_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """Cut before each rename and flush of a `record`: either nothing left and nothing stands, or all of it stands."""
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        first = operator(box).say("note", NOTE)
    calls = 0
    real_fsync, real_replace = os.fsync, Path.replace

    def cut(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == write:
            raise PowerLoss

    def fsync(descriptor: int) -> None:
        cut()
        real_fsync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        cut()
        return real_replace(path, target)

    left: Signed | None = None
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(Path, "replace", replace)
        with contextlib.suppress(PowerLoss):
            left = operator(box).say("note", {**NOTE, "about": "CN"})
    assert left is None, "the cut came too late to test anything"
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        assert box.tip.seq in (1, 2)
        if box.tip.seq == 1:
            assert box.tip.entry_hash == first.entry_hash
            assert box.waiting(2) == []
        else:
            (waiting,) = box.waiting(2)
            assert entry_hash(waiting) == box.tip.entry_hash
        following = operator(box).say("note", NOTE)
        assert following.seq == box.tip.seq
        assert parsed_of(following.entry).prev == (
            first.entry_hash if following.seq == 2 else entry_hash(box.waiting(2)[0])
        )


def test_the_entry_is_on_disk_when_it_is_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file is flushed before its rename, every rename before the next step; the tip comes last."""
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append("flush folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "flush")
        real_fsync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        steps.append(target.name)
        return real_replace(path, target)

    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replace)
        operator(box).say("note", NOTE)
    assert steps == ["flush", "00000001.entry", "flush folder", "flush", "tip", "flush folder"]


def test_the_last_entry_may_be_said_again_with_more_endorsements(tmp_path: Path) -> None:
    agency = Author(AGENCY, ledger=LEDGER)
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        acme = operator(box)
        bare = acme.say("facility", FACILITY)
        content = acme.content(Draft(kind="facility", body=FACILITY))
        again = acme.seal(content, [agency.endorse(content)], Tip())
        box.replace_last(again.entry)
        assert box.tip == Tip(seq=1, entry_hash=again.entry_hash)
        assert again.entry_hash != bare.entry_hash
        other = acme.seal(acme.content(Draft(kind="note", body=NOTE)), [], Tip())
        with pytest.raises(OutboxError, match="cannot be taken back"):
            box.replace_last(other.entry)
        assert box.waiting(1) == [again.entry]


def test_a_crash_inside_a_replacement_leaves_the_new_bytes(tmp_path: Path) -> None:
    agency = Author(AGENCY, ledger=LEDGER)
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        acme = operator(box)
        acme.say("facility", FACILITY)
        content = acme.content(Draft(kind="facility", body=FACILITY))
        again = acme.seal(content, [agency.endorse(content)], Tip())
        (box.folder / "00000001.entry").write_bytes(again.entry)  # and the power goes
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        assert box.tip == Tip(seq=1, entry_hash=again.entry_hash)


def test_a_damaged_outbox_signs_nothing(tmp_path: Path) -> None:
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        operator(box).say("note", NOTE)
        folder = box.folder
    tip = (folder / "tip").read_bytes()
    for damaged in (b"", tip[:-1], tip + b"x", tip.replace(b"seq 1", b"seq 01"), b"\xff" * 80):
        (folder / "tip").write_bytes(damaged)
        with pytest.raises(OutboxDamaged, match="tip"):
            FileOutbox(tmp_path, ledger=LEDGER, author="acme")
    (folder / "tip").write_bytes(tip.replace(b"author acme", b"author beta"))
    with pytest.raises(OutboxDamaged, match="beta"):
        FileOutbox(tmp_path, ledger=LEDGER, author="acme")
    (folder / "tip").write_bytes(tip)
    (folder / "00000001.entry").write_bytes(b"rubbish")
    with pytest.raises(OutboxDamaged, match="restore"):
        FileOutbox(tmp_path, ledger=LEDGER, author="acme")
    with pytest.raises(OutboxError, match="no party id"):
        FileOutbox(tmp_path, ledger=LEDGER, author="../acme")


def test_a_chain_is_adopted_forward_only(tmp_path: Path) -> None:
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        box.adopt(Tip(seq=7, entry_hash=b"\x07" * 32))
        assert parsed_of(operator(box).say("note", NOTE).entry).prev == b"\x07" * 32
        with pytest.raises(OutboxBehind, match="going back"):
            box.adopt(Tip(seq=7, entry_hash=b"\x07" * 32))
    memory = MemoryOutbox(Tip(seq=3, entry_hash=b"\x03" * 32))
    with pytest.raises(OutboxBehind):
        memory.adopt(Tip(seq=2, entry_hash=b"\x02" * 32))
    memory.adopt(Tip(seq=4, entry_hash=b"\x04" * 32))
    assert operator(memory).say("note", NOTE).seq == 5


def test_entries_are_private_to_their_author(tmp_path: Path) -> None:
    with FileOutbox(tmp_path, ledger=LEDGER, author="acme") as box:
        operator(box).say("note", NOTE)
        path = box.keep_acknowledgement(1, "KE", b"promise")
        assert path.read_bytes() == b"promise"
        for found in box.folder.iterdir():
            assert found.stat().st_mode & 0o077 == 0, found


def test_parse_entry_is_what_the_ledger_reads() -> None:
    payload = parse_statement(operator().say("note", NOTE).entry).payload
    assert payload is not None
    assert parse_entry(payload).kind == "note"
