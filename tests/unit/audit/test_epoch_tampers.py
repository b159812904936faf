"""What the tamper campaign over epochs once missed, one case of each kind, as it is found now (record 0210)."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus.codec import decode_commit_record, encode_block, peek_ref
from node.audit.archive import CHECKPOINT, POLICIES, REF_BYTES, UNDECIDED
from node.audit.audit import audit_sources
from node.audit.findings import AuditReport, Depth, Verdict
from node.ledger.cosigned import SECOND_BYTES, Cosigned, encode_cosigned
from node.ledger.policy_chain import Link, encode_links, parse_links
from node.ledger.records import decode_record
from node.log import cbor
from node.log.note import Note, parse_note
from node.log.proof import parse_proof
from node.storage import keys
from node.storage.store import Store
from tests.tamper.archives import BLOCKS, COMMITS, DECIDERS, ArchiveTampers, starts_of
from tests.tamper.colluders import Colluders
from tests.tamper.folder import Folder
from tests.tamper.world import World
from tests.unit.audit.history import change, clone, database, flip, put
from tests.unit.audit.test_altered_archives import reseal

SEED = 210


class Forged:
    """One archive, to be tampered with."""

    def __init__(self, world: World, path: Path, name: str = "CN") -> None:
        self.world = world
        self.folder = Folder(clone(world.archives[name], path))
        draw = random.Random(SEED)
        self.tampers = ArchiveTampers(world, self.folder, (), draw)
        self.colluders = Colluders(world, self.folder, self.tampers, draw)

    def audit(self, depth: Depth, *, beside: str | None = None) -> AuditReport:
        reseal(self.folder.path)
        sources = [str(self.folder.path)]
        if beside is not None:
            sources.append(str(self.world.archives[beside]))
        document = self.world.weave.founding.document
        report = audit_sources(sources, pinned=document, depth=depth, threads=0, processes=1)
        assert report.verdict is Verdict.INCONSISTENT
        return report


@pytest.fixture
def forged(epochs: World, tmp_path: Path) -> Forged:
    return Forged(epochs, tmp_path / "forged")


def accused(report: AuditReport) -> set[str]:
    return {state for f in (*report.findings, *report.misdeeds) for state in f.accused}


def files(report: AuditReport) -> set[str | None]:
    return {finding.file for finding in report.findings}


def other_text(links: list[Link]) -> list[Link]:
    return [replace(links[0], policy=links[0].policy + b"# more\n"), *links[1:]]


def other_proof(links: list[Link]) -> list[Link]:
    proof = parse_proof(links[1].proof)
    hashes = (bytes(32), *proof.hashes[1:])
    return [links[0], replace(links[1], proof=bytes(replace(proof, hashes=hashes))), links[2]]


def first_left_out(links: list[Link]) -> list[Link]:
    return links[1:]


def turned(links: list[Link]) -> list[Link]:
    return links[::-1]


@pytest.mark.parametrize("change", [other_text, other_proof, first_left_out, turned])
def test_a_link_of_policies_is_the_one_that_the_log_gives(
    forged: Forged, change: Callable[[list[Link]], list[Link]]
) -> None:
    links = parse_links(forged.folder.whole[POLICIES])
    forged.folder.write(POLICIES, encode_links(change(links)))
    report = forged.audit(Depth.CERTIFICATES)
    assert POLICIES in files(report)
    assert accused(report) == set()


def test_the_way_to_later_members_is_missed(forged: Forged) -> None:
    forged.folder.delete(POLICIES)
    assert files(forged.audit(Depth.CERTIFICATES)) == {POLICIES}


def test_the_newest_links_may_be_missing(forged: Forged) -> None:
    """A node may never have got the lines of an epoch's end: it says so, and nothing is wrong with it."""
    links = parse_links(forged.folder.whole[POLICIES])
    forged.folder.write(POLICIES, encode_links(links[:-1]))
    reseal(forged.folder.path)
    report = audit_sources([str(forged.folder.path)], depth=Depth.LAW, processes=1)
    assert report.verdict is Verdict.CONSISTENT
    assert (
        "no checkpoint of size 84 is held" in report.sources[0].checked[Depth.CERTIFICATES].how_far
    )


@pytest.mark.parametrize(
    "name",
    [f"{BLOCKS}.more", "commits/0000000257.commits", "signatures/0000000002.blocks", "notes"],
)
def test_a_listed_file_that_no_archive_has(forged: Forged, name: str) -> None:
    forged.folder.write(name, forged.folder.whole[BLOCKS])
    assert name in files(forged.audit(Depth.PARSE))


def test_a_second_block_beside_names_its_author(forged: Forged) -> None:
    first = next(block for block in forged.world.weave.blocks if block.header.epoch == 2)
    twin = forged.colluders.twin_of(first)
    author = forged.world.epochs[2].members[first.ref.author].state
    waiting = forged.tampers.frames(UNDECIDED)
    forged.tampers.put_frames(UNDECIDED, sorted([*waiting, encode_block(twin)], key=peek_ref))
    report = forged.audit(Depth.ORDER)
    assert files(report) == {UNDECIDED}
    assert accused(report) == {author}


def test_blocks_that_are_committed_do_not_stand_beside_too(forged: Forged) -> None:
    first = forged.world.weave.blocks[0]
    waiting = forged.tampers.frames(UNDECIDED)
    forged.tampers.put_frames(UNDECIDED, sorted([*waiting, encode_block(first)], key=peek_ref))
    assert files(forged.audit(Depth.ORDER)) == {UNDECIDED}


def test_commits_taken_over_are_looked_at_as_all_are(epochs: World, tmp_path: Path) -> None:
    """What was said of a block while later commits were read on trial was never said again: the audit stopped, silent."""
    forged = Forged(epochs, tmp_path / "taken", "taken")
    bare = [at for at, (_, many) in enumerate(starts_of(forged.folder.whole[DECIDERS])) if not many]
    records = [decode_commit_record(part) for part in forged.tampers.frames(COMMITS)]
    at = next(at for at in bare if at + 1 in bare and records[at].commit.epoch == 1)
    altered = sum(len(record.commit.blocks) for record in records[: at + 1])  # the next one's first
    parts = forged.tampers.frames(BLOCKS)
    parts[altered] = flip(parts[altered], len(parts[altered]) - 1)
    forged.tampers.put_frames(BLOCKS, parts)
    report = forged.audit(Depth.ORDER)
    assert [
        f"needs block {records[at + 1].commit.blocks[0].round}/" in f.what for f in report.findings
    ] == [True]


def test_a_record_of_an_earlier_commit_where_nothing_decides(epochs: World, tmp_path: Path) -> None:
    """The last commit, taken over on a certificate, with an earlier one's record: it ended the audit by an assertion."""
    home = clone(epochs.homes["taken"], tmp_path / "taken")
    with Store.open(database(home), read_only=True) as store:
        rows = sorted(store.rows("commits"))
    last = rows[-1][0]
    told = set()
    for _, earlier in rows[-9:-1]:
        put(home, "commits", last, earlier)
        document = epochs.weave.founding.document
        report = audit_sources([str(home)], pinned=document, depth=Depth.ORDER, processes=1)
        assert report.verdict is Verdict.INCONSISTENT
        told |= {"names a leader of" in finding.what for finding in report.findings}
    assert True in told


def test_a_decider_of_another_epoch_accuses_nobody(forged: Forged) -> None:
    """Its author signed it where it belongs, and has the same key in both epochs."""
    data = bytearray(forged.folder.whole[DECIDERS])
    starts = [at for at, many in starts_of(bytes(data)) if many]
    early, late = starts[2], starts[-1]
    data[early + 2 : early + 2 + REF_BYTES] = data[late + 2 : late + 2 + REF_BYTES]
    forged.folder.write(DECIDERS, bytes(data))
    assert accused(forged.audit(Depth.ORDER)) == set()


def test_who_left_is_named_for_the_end_of_its_epoch(forged: Forged) -> None:
    """KE signed another end of its last epoch, and nothing after it: whichever root is the greater one."""
    links = parse_links(forged.folder.whole[POLICIES])
    proof = parse_proof(links[2].proof)
    size = int(parse_note(proof.note).text.split(b"\n")[1])
    for root in (bytes(32), b"\xff" * 32):
        lines = forged.colluders.signed(forged.world.epochs[2], size, root, ["KE"])
        note = Note(text=forged.colluders.checkpoint(size, root), lines=tuple(lines))
        links[2] = replace(links[2], proof=bytes(replace(proof, note=bytes(note))))
        forged.folder.write(POLICIES, encode_links(links))
        assert accused(forged.audit(Depth.CERTIFICATES, beside="US")) == {"KE"}


def test_a_seat_that_was_made_up_accuses_nobody(forged: Forged) -> None:
    for _ in range(3):
        done = forged.colluders.stolen_seat()
        report = forged.audit(Depth.CERTIFICATES, beside="US")
        assert accused(report) == done.provable
        assert "US" not in done.provable


def test_a_liar_whose_own_copy_leads_to_no_members_is_named(forged: Forged) -> None:
    for _ in range(3):
        done = forged.colluders.other_members()
        assert accused(forged.audit(Depth.CERTIFICATES, beside="US")) == done.provable != set()


@pytest.mark.parametrize(
    "fields", [{}, {"index": 0}, {"time_ms": -1}, {"order_digest": b"short"}, {"index": "seven"}]
)
def test_a_commit_record_that_ends_an_epoch_and_lacks_what_it_must_say(
    forged: Forged, fields: dict[str, Any]
) -> None:
    """Who validates next is read from it before anything is verified: it ended the audit by an error that nobody caught."""
    entries = list(forged.world.leaves)
    at = forged.world.epochs[1].record_leaf
    assert at is not None
    whole = decode_record(entries[at + 1])
    entries[at + 1] = cbor.encode({**whole, **fields} if fields else {"type": "commit"})
    forged.tampers.put_entries(entries, tiles=True)
    report = forged.audit(Depth.CERTIFICATES)
    assert any("who validates after epoch 0" in finding.what for finding in report.findings)


def test_a_second_line_of_a_member_without_such_a_key(epochs: World, tmp_path: Path) -> None:
    """The row ended the audit by an error that nobody caught."""
    home = clone(epochs.homes["CN"], tmp_path / "CN")
    size = epochs.size
    member = epochs.epoch_at(size).index_of("DE")
    assert member is not None
    signature = bytes(2_420)
    line = Cosigned(
        member=member, size=size, root=bytes(32), timestamp=1_700_000_000, signature=signature
    )
    row = encode_cosigned(line)
    assert len(row) == SECOND_BYTES
    key = keys.u64(size) + (keys.SECOND_LINE | member).to_bytes(2, "big")
    put(home, "cosignatures", key, row)
    report = audit_sources([str(home)], depth=Depth.CERTIFICATES, processes=1)
    assert any("no ML-DSA key" in finding.what for finding in report.findings)


@pytest.mark.parametrize("value", [None, keys.u64(1), keys.u64(1 << 40), b"short"])
def test_the_row_of_the_newest_second_lines(
    epochs: World, tmp_path: Path, value: bytes | None
) -> None:
    home = clone(epochs.homes["CN"], tmp_path / "CN")
    change(home, [("meta", keys.META_SECOND, value)])
    report = audit_sources([str(home)], processes=1)
    assert ["the row second is" in finding.what for finding in report.findings] == [True]


def test_the_row_of_what_is_final_is_put_back(epochs: World, tmp_path: Path) -> None:
    home = clone(epochs.homes["CN"], tmp_path / "CN")
    with Store.open(database(home), read_only=True) as store:
        sizes = store.cosigned_sizes(0, epochs.size, 100)
    put(home, "meta", keys.META_FINAL, keys.u64(sizes[-1]))
    report = audit_sources([str(home)], depth=Depth.CERTIFICATES, processes=1)
    assert any(f"the row final is {sizes[-1]}" in finding.what for finding in report.findings)


def test_entries_that_do_not_lead_to_the_cosigned_root(forged: Forged) -> None:
    entries = list(forged.world.leaves)
    entries[7] = entries[7] + b"x"
    forged.tampers.put_entries(entries, tiles=True)
    report = forged.audit(Depth.CERTIFICATES)
    assert any("entries lead to root" in finding.what for finding in report.findings)


def test_a_log_line_that_stands_there_twice(forged: Forged) -> None:
    note = parse_note(forged.folder.whole[CHECKPOINT])
    twice = Note(text=note.text, lines=(note.lines[0], *note.lines))
    forged.folder.write(CHECKPOINT, bytes(twice))
    assert any("twice" in finding.what for finding in forged.audit(Depth.CERTIFICATES).findings)


def test_a_row_that_no_node_writes(epochs: World, tmp_path: Path) -> None:
    home = clone(epochs.homes["CN"], tmp_path / "CN")
    put(home, "meta", b"tiq", b"")
    report = audit_sources([str(home)], processes=1)
    assert ["b'tiq' of meta" in finding.what for finding in report.findings] == [True]


@pytest.mark.parametrize("size", [1 << 36, 102])
def test_lines_beyond_what_is_final_are_read(epochs: World, tmp_path: Path, size: int) -> None:
    """Beyond the log no node keeps any; within it, a line that is not its member's is found."""
    home = clone(epochs.homes["CN"], tmp_path / "CN")
    line = Cosigned(member=0, size=size, root=bytes(32), timestamp=7, signature=bytes(64))
    put(home, "cosignatures", keys.u64(size) + bytes(2), encode_cosigned(line))
    report = audit_sources([str(home)], depth=Depth.CERTIFICATES, processes=1)
    assert report.verdict is Verdict.INCONSISTENT
    assert any(str(size) in finding.what for finding in report.findings)
