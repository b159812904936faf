"""Time travel in a copy: questions as of a moment, and the cosigned checkpoint that their answers stand on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.audit.law import Replay
from node.audit.source import CannotAudit
from node.audit.travel import journey, travel
from node.ledger.questions.answer import QUESTIONS, as_bytes, ask
from node.ledger.questions.moment import Moment, time_text, told_time
from node.ledger.records import is_record
from node.log import merkle
from node.log.checkpoint import parse_checkpoint
from node.log.note import parse_note
from node.log.tiles import TilePath, encode_bundle
from node.signing.statements import entry_hash
from node.signing.verify import VerifyPool
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database, flip, payloads
from tests.unit.audit.test_archives import run
from tests.unit.cli.conftest import document_of


def silent(_: str) -> None:
    pass


def stops(path: Path, document: bytes | None = None) -> list[tuple[int, int]]:
    """(size, ledger second) of every commit of a copy that appended."""
    with journey(path, document, silent) as going:
        past = going._past
        found = [(past.size, past.time_ms // 1000)]
        while past.step(Moment()):
            found.append((past.size, past.time_ms // 1000))
        return found


def test_an_archive_answers_as_its_node_did(world: World) -> None:
    """Every question at several moments: the bytes that the home's own store gives, and a proof that holds by itself."""
    archive, home = world.exports["US"], world.homes["US"]
    for size, _ in stops(archive)[::5]:
        with (
            travel(archive, None, Moment(index=size - 1), silent) as there,
            travel(home, world.weave.founding.document, Moment(index=size), silent) as store,
        ):
            for name in QUESTIONS:
                assert as_bytes(ask(there.sight, name)) == as_bytes(ask(store.sight, name))
            assert there.stand.size == size
            _holds(there.stands_on)
            assert (
                store.stand.checkpoint_size <= there.stand.checkpoint_size
            )  # it keeps more of them


def _holds(stand: dict[str, Any]) -> None:
    """By the log's own arithmetic alone."""
    checkpoint = parse_checkpoint(parse_note(stand["checkpoint"].encode()).text)
    assert (checkpoint.size, checkpoint.root.hex()) == (
        stand["checkpoint_size"],
        stand["checkpoint_root"],
    )
    root = bytes.fromhex(stand["root"])
    consistency = [bytes.fromhex(part) for part in stand["consistency"]]
    assert merkle.verify_consistency(
        stand["size"], checkpoint.size, root, checkpoint.root, consistency
    )
    leaf = merkle.leaf_hash(bytes.fromhex(stand["commit_record"]))
    inclusion = [bytes.fromhex(part) for part in stand["inclusion"]]
    at = stand["size"] - 1
    assert merkle.verify_inclusion(leaf, at, checkpoint.size, inclusion, checkpoint.root)
    assert len(stand["cosigned_by"]) >= stand["quorum"]


def test_the_command(world: World, tmp_path: Path) -> None:
    archive, home = world.exports["US"], world.homes["US"]
    genesis = home / "genesis.cbor"
    by_place = {
        second: size for size, second in stops(archive)
    }  # of several in one second the last
    for second, size in list(by_place.items())[::2]:
        at = Moment(time_s=second)
        words = ("law", "facilities", "--archive", archive, "--genesis", genesis)
        shown = document_of(run(*words, "--at", str(size - 1), "--json"))
        offline = run(
            "law", "facilities", "--home", home, "--offline", "--at", str(size - 1), "--json"
        )
        stand = shown.pop("stands_on")
        assert shown == document_of(offline)
        assert stand["size"] == shown["size"] == size
        with travel(archive, None, at, silent) as there:
            assert there.stand.size == size
    text = run("law", "members", "--archive", archive).stdout
    assert "under the checkpoint of size" in text
    assert "that this copy holds itself" in text
    assert run("law", "members", "--archive", archive, "--at", "100000").exit_code == 2
    late = run("law", "members", "--archive", archive, "--at", "2200-01-01")
    assert "it does not hold" in late.stderr
    assert run("law", "members", "--archive", archive, "--at", "1990-01-01").exit_code == 2
    assert run("law", "members", "--archive", tmp_path).exit_code == 2
    assert "want an index" in run("law", "members", "--archive", archive, "--at", "soon").stderr


def test_the_way_goes_forward_only(world: World) -> None:
    first, second = (size for size, _ in stops(world.exports["US"])[3:9:4])
    with journey(world.exports["US"], None, silent) as going:
        assert going.to(Moment(index=first - 1)).stand.size == first
        assert going.to(Moment(index=second - 1)).stand.size == second
        with pytest.raises(CannotAudit, match="lies before"):
            going.to(Moment(index=first - 1))
    founding, _ = stops(world.exports["US"])[0]
    with travel(world.exports["US"], None, Moment(index=founding - 1), silent) as there:
        assert there.stand.size == founding
    said = run("law", "members", "--archive", world.exports["US"], "--at", str(founding - 2))
    assert said.exit_code == 2
    assert f"entries 0 to {founding - 1} are the founding" in said.stderr


def test_people_read_dates_and_programs_read_seconds(world: World) -> None:
    archive = world.exports["US"]
    began = world.weave.founding.genesis.time_ms // 1000
    shown = run("law", "members", "--archive", archive)
    assert time_text(began) in shown.stdout
    assert str(began) not in shown.stdout
    asked = run("law", "members", "--archive", archive, "--json")
    assert document_of(asked)["rows"][0]["since"] == began
    assert told_time("due", 3) == 3  # a count
    assert told_time("slot_s", 2_000_000_000) == 2_000_000_000
    assert told_time("closes_at", None) is None
    assert told_time("until", (1 << 53) - 1) == (1 << 53) - 1  # a law's "never"


@pytest.mark.parametrize("depth", range(3))
def test_an_altered_entry_gives_no_answer(world: World, tmp_path: Path, depth: int) -> None:
    """Statements and records alike: whatever stands before the moment must lead to the cosigned root."""
    archive = clone(world.exports["US"], tmp_path / "altered")
    (bundle,) = (archive / "tile" / "entries").glob("000*")
    bundle = next(
        path for path in ([bundle] if bundle.is_file() else bundle.rglob("*")) if path.is_file()
    )
    data = bundle.read_bytes()
    bundle.write_bytes(flip(data, len(data) * (depth + 1) // 5))
    with pytest.raises(CannotAudit), travel(archive, None, Moment(), silent):
        pass


def other_history(world: World, mine: list[bytes]) -> list[bytes]:
    """As the world's, but for the last statement of one author: the law's own leaves throughout, and nobody cosigned them."""
    made = world.weave
    batches = [made.batch(record) for record in made.records]
    said = payloads(made.founding)
    own = [said[0][0], *(payload[0] for payload in said[1:13]), said[13][0], *said[-1]]
    at = max(at for at, entry in enumerate(own) if entry in mine)
    author = made.founding.author(0)
    author.seq, author.prev = at, entry_hash(own[at - 1])
    other = author.sign(author.energy_content(999, meter="m9"))
    leaves: list[bytes] = []
    with VerifyPool(threads=0) as pool:
        replay = Replay(made.founding.genesis, made.founding.document, pool)
        assert replay.founding is not None, "from the start"
        leaves += [appended.leaf for appended in replay.founding.leaves]
        for batch in batches:
            entries = tuple(other if entry == own[at] else entry for entry in batch.entries)
            plan = replay.commit(replace(batch, entries=entries))
            leaves += [appended.leaf for appended in plan.leaves]
    return leaves


def test_a_history_that_the_law_gives_and_nobody_cosigned(world: World, tmp_path: Path) -> None:
    """The law runs through it and finds nothing; the tree and the checkpoint beside it are the true ones, and say so."""
    archive = clone(world.exports["US"], tmp_path / "other")
    size = world.exported["US"].size
    with Store.open(database(world.homes["US"]), read_only=True) as store:
        mine = store.entries(0, size)
    other = other_history(world, mine)[:size]
    assert len(other) == size
    assert other != mine
    assert is_record(other[-1])
    with travel(archive, None, Moment(), silent) as there:
        assert there.stand.size == size
    bundle = archive / str(TilePath(level=None, index=0, width=size))
    bundle.write_bytes(encode_bundle(other))
    with (
        pytest.raises(CannotAudit, match="do not lead to the root that"),
        travel(archive, None, Moment(), silent),
    ):
        pass


def test_without_a_quorum_nothing_is_certified(world: World, tmp_path: Path) -> None:
    archive = clone(world.exports["US"], tmp_path / "bare")
    note = (archive / "checkpoint").read_text(encoding="utf-8")
    text, _, lines = note.rpartition("\n\n")
    few = "".join(f"{line}\n" for line in lines.splitlines()[:3])
    (archive / "checkpoint").write_text(f"{text}\n\n{few}", encoding="utf-8")
    with (
        pytest.raises(CannotAudit, match="no checkpoint with a quorum"),
        travel(archive, None, Moment(), silent),
    ):
        pass


def test_another_genesis_is_another_ledger(world: World, tmp_path: Path) -> None:
    other = bytearray(world.weave.founding.document)
    other[-1] ^= 1
    with (
        pytest.raises(CannotAudit, match="is of ledger"),
        travel(world.exports["US"], bytes(other), Moment(), silent),
    ):
        pass
