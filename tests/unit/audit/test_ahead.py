"""Entries that other processes read: the same values, the same plans, whatever those processes were told and how work was cut."""

import marshal
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.audit import ahead
from node.audit.ahead import ReadAhead
from node.audit.law import Replay
from node.ledger.batch import CommittedBatch
from node.ledger.handover import packed, unpacked
from node.ledger.plan import AppendPlan
from node.ledger.reader import Malformed, ReadEntry, read_entry
from node.log.cose import ENTRY_TYPE, Header, encode_header, encode_statement, parse_statement
from node.signing.verify import VerifyPool
from node.treaty.entries import ParsedEntry
from node.treaty.law import RegisteredKey
from node.treaty.parsing import KIND_NAMES
from tests.compiled import plain_law_only
from tests.unit.audit.conftest import World

ALTERNATIVES = list(pb.Content.DESCRIPTOR.oneofs_by_name["body"].fields)


class Elsewhere(Executor):
    """Does each task at once, and counts what was asked of it; bytes alone cross."""

    def __init__(self) -> None:
        self.tasks: list[list[bytes]] = []

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
        (task,) = args
        assert type(task) is bytes
        self.tasks.append(marshal.loads(task)[0])
        done: Future[Any] = Future()
        done.set_result(fn(task))
        return done


def filled(message: Any, depth: int = 0) -> Any:
    """Every field of it set to something."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            if depth > 3:
                continue
            child = getattr(message, field.name)
            filled(child.add() if field.is_repeated else child, depth + 1)
            if not field.is_repeated:
                child.SetInParent()
            continue
        value: Any = {
            field.CPPTYPE_STRING: b"b" if field.type == field.TYPE_BYTES else "s",
            field.CPPTYPE_BOOL: True,
            field.CPPTYPE_ENUM: 1,
        }.get(field.cpp_type, 7)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


@pytest.mark.parametrize("field", ALTERNATIVES, ids=lambda field: field.name)
def test_an_entry_of_each_kind_is_handed_over_whole(field: Any) -> None:
    body = filled(getattr(pb.Content(), field.name))
    kind = KIND_NAMES[field.name]
    header = encode_header(
        Header(alg=-19, content_type=ENTRY_TYPE, kid=b"k" * 8, issuer="me", subject=f"{kind}/x")
    )
    raw = encode_statement(header, b"payload" * 50, b"s" * 64)
    statement = parse_statement(raw)
    parsed = ParsedEntry(
        seq=3,
        prev=b"p" * 32,
        endorsements=(),
        content_hash=b"c" * 32,
        ledger=b"l" * 32,
        author="me",
        kind=kind,
        refs=(b"r" * 32,),
        period=(5, 9),
        confidentiality=2,
        body=body,
        subject=f"{kind}/x",
    )
    entry = ReadEntry(raw, sha256(raw).digest(), statement, parsed, ())
    parts = marshal.loads(marshal.dumps(packed(entry)))
    assert unpacked(raw, parts) == entry


def batches(world: World) -> list[CommittedBatch]:
    return [world.weave.batch(record) for record in world.weave.records]


def test_entries_of_every_fate_are_handed_over(world: World) -> None:
    kinds = set()
    for batch in batches(world):
        for raw in batch.entries:
            entry = read_entry(raw, sha256(raw).digest())
            kinds.add(type(entry))
            assert unpacked(raw, packed(entry)) == entry
    assert kinds == {ReadEntry, Malformed}


def replayed(world: World, executor: Executor | None) -> tuple[list[AppendPlan], int]:
    founding = world.weave.founding
    with VerifyPool(threads=0) as pool:
        replay = Replay(founding.genesis, founding.document, pool, executor)
        plans = [replay.commit(batch) for batch in replay.ahead(iter(batches(world)))]
    return plans, replay.signatures


@plain_law_only
@pytest.mark.parametrize(
    ("task", "entries", "many"), [(1, 1, 1), (3, 4, 2), (5, 2, 64), (256, 4096, 64)]
)
def test_plans_do_not_depend_on_how_work_is_cut(
    world: World, monkeypatch: pytest.MonkeyPatch, task: int, entries: int, many: int
) -> None:
    monkeypatch.setattr(ahead, "TASK_ENTRIES", task)
    monkeypatch.setattr(ahead, "ENTRIES_AHEAD", entries)
    monkeypatch.setattr(ahead, "BATCHES_AHEAD", many)
    elsewhere = Elsewhere()
    assert replayed(world, elsewhere) == replayed(world, None)
    given = [raw for batch in batches(world) for raw in batch.entries]
    assert [raw for sent in elsewhere.tasks for raw in sent] == given, "each once, in order"
    assert max(map(len, elsewhere.tasks)) <= task


@pytest.mark.parametrize(
    "guess",
    [
        None,
        RegisteredKey(b"\x01" * 32, "author"),
        RegisteredKey(b"\x02" * 32, "vote"),
    ],
    ids=["no key", "another key", "another purpose"],
)
def test_a_key_that_is_no_longer_in_force_changes_no_plan(
    world: World, monkeypatch: pytest.MonkeyPatch, guess: RegisteredKey | None
) -> None:
    """Under it others may have said anything: the law's process asks under its own keys."""
    right = replayed(world, None)
    begin = ReadAhead.__init__
    monkeypatch.setattr(
        ReadAhead,
        "__init__",
        lambda self, executor, resolve_key: begin(self, executor, lambda *_: guess),
    )
    assert replayed(world, Elsewhere()) == right


@plain_law_only
def test_a_good_signature_under_another_key_is_not_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that says yes to everything: not under the key that the law asks with."""
    monkeypatch.setattr(ahead, "verify_ed25519", lambda *_: True)
    wrong, _ = replayed(world, Elsewhere())
    right, _ = replayed(world, None)
    assert wrong != right, "said under the right key it is believed: the test sees the difference"
    begin = ReadAhead.__init__
    other = RegisteredKey(b"\x03" * 32, "author")
    monkeypatch.setattr(
        ReadAhead,
        "__init__",
        lambda self, executor, resolve_key: begin(self, executor, lambda *_: other),
    )
    assert replayed(world, Elsewhere())[0] == right


class Dying(Elsewhere):
    """Its processes are killed while they work on the third task; who comes later is told at once."""

    def submit(self, fn: Any, /, *args: Any, **more: Any) -> Future[Any]:
        if len(self.tasks) > 2:
            raise BrokenProcessPool("dead")
        done = super().submit(fn, *args, **more)
        if len(self.tasks) > 2:
            done = Future()
            done.set_exception(BrokenProcessPool("killed"))
        return done


@plain_law_only
def test_processes_that_die_change_no_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "TASK_ENTRIES", 4)
    dying = Dying()
    assert replayed(world, dying) == replayed(world, None)
    assert len(dying.tasks) == 3, "nothing more was taken"


@plain_law_only
def test_a_mistake_of_ours_in_another_process_is_not_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(_task: bytes) -> bytes:
        raise AssertionError("our own")

    class Failing(Elsewhere):
        def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
            done: Future[Any] = Future()
            try:
                done.set_result(fn(*args))
            except AssertionError as err:
                done.set_exception(err)
            return done

    monkeypatch.setattr(ahead, "look", mistaken)
    with pytest.raises(AssertionError, match="our own"):
        replayed(world, Failing())


def test_nothing_is_asked_for_beyond_the_end_of_an_epoch(world: World) -> None:
    """Who validates in the next one the law may have to say first (an import's epochs grow as it goes)."""
    given = batches(world)[:4]
    given[1] = replace(given[1], ends_epoch=True)
    pulled: list[int] = []

    def source() -> Iterator[CommittedBatch]:
        for batch in given:
            pulled.append(batch.index)
            yield batch

    seen = []
    for batch, _ in ReadAhead(Elsewhere(), lambda *_: None).over(source()):
        seen.append((batch.index, max(pulled)))
    first = given[0].index
    assert seen[:2] == [(first, first + 1), (first + 1, first + 1)]
    assert [index for index, _ in seen] == [batch.index for batch in given]


@plain_law_only
def test_so_many_are_under_way_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "ENTRIES_AHEAD", 6)
    pulled = 0
    given = batches(world)

    def source() -> Iterator[CommittedBatch]:
        nonlocal pulled
        for batch in given:
            pulled += len(batch.entries)
            yield batch

    done, most = 0, 0
    longest = max(len(batch.entries) for batch in given)
    for batch, _ in ReadAhead(Elsewhere(), lambda *_: None).over(source()):
        most = max(most, pulled - done)
        done += len(batch.entries)
    assert longest < most < 6 + 2 * longest
