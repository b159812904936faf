"""Tampers with the files of an archive, by nobody in particular: none of them needs a key.

Each returns what it did, or None if it found nothing to do. The campaign brings the manifests into line, or not. What one does
with whole tiles stands in `tiles`, what with parts of other archives and ledgers in `foreign`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from consensus.codec import decode_commit_record, encode_commit_record
from consensus.types import SIGNATURE_BYTES, CommitRecord, Millis
from node.audit.archive import (
    CHECKPOINT,
    POLICIES,
    REF_BYTES,
    SIGNATURES,
    UNDECIDED,
    framed,
    frames,
    range_name,
)
from node.ledger.policy_chain import Link, encode_links, parse_links
from node.ledger.records import is_record
from node.log import merkle
from node.log.note import Note, SignatureLine, parse_note
from node.log.proof import parse_proof
from node.log.tiles import TILE_WIDTH, TilePath, encode_bundle, paths
from tests.tamper.depths import above
from tests.tamper.folder import Folder
from tests.tamper.world import World
from tests.unit.audit.history import flip

Tamper = Callable[[], str | None]
FRAME_MAX: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class Range:
    """The files of one range of commits, by its first one."""

    first: int

    @property
    def commits(self) -> str:
        return f"commits/{range_name(self.first)}.commits"

    @property
    def blocks(self) -> str:
        return f"blocks/{range_name(self.first)}.blocks"

    @property
    def signatures(self) -> str:
        return f"{SIGNATURES}/{range_name(self.first)}.blocks"

    @property
    def deciders(self) -> str:
        return f"{SIGNATURES}/{range_name(self.first)}.deciders"


FIRST: Final = Range(1)
COMMITS: Final = FIRST.commits
BLOCKS: Final = FIRST.blocks
BLOCK_SIGNATURES: Final = FIRST.signatures
DECIDERS: Final = FIRST.deciders


class ArchiveTampers:
    """By chance drawn from `draw`, on `folder`, which holds an archive of `world`; `older` ones to replay from."""

    def __init__(
        self, world: World, folder: Folder, older: Sequence[Path], draw: random.Random
    ) -> None:
        self._world = world
        self._folder = folder
        self._older = older
        self._draw = draw
        self.ranges = [
            Range(int(Path(name).stem)) for name in folder.names if name.endswith(".commits")
        ]
        self.all: tuple[Tamper, ...] = (
            *(self.flip, self.flip, self.truncate, self.insert, self.delete, self.swap, self.move),
            *(self.replay, self.entries, self.lines, self.policies, self.commits, self.blocks),
            self.deciders,
        )

    def some_range(self) -> Range:
        """One of them."""
        return self._draw.choice(self.ranges)

    # Bytes

    def _file(self) -> str:
        return self._draw.choice([name for name in self._folder.names if self._folder.whole[name]])

    def flip(self) -> str:
        name = self._file()
        data = self._folder.whole[name]
        at = self._draw.randrange(len(data))
        self._folder.write(name, flip(data, at, self._draw.randrange(8)))
        return f"byte {at} of {name}"

    def truncate(self) -> str:
        name = self._file()
        keep = self._draw.randrange(len(self._folder.whole[name]))
        self._folder.write(name, self._folder.whole[name][:keep])
        return f"to {keep} bytes {name}"

    def insert(self) -> str:
        """Bytes of the file's own, or zeros, where there were none; or a file where there was none."""
        name, data = self._file(), b""
        data = self._folder.whole[name]
        at = self._draw.randrange(len(data) + 1)
        many = self._draw.randint(1, 64)
        start = self._draw.randrange(len(data))
        more = self._draw.choice((bytes(many), data[start : start + many]))
        if self._draw.random() < 0.1:
            self._folder.write(f"{name}.more", data)
            return f"the file {name}.more"
        self._folder.write(name, data[:at] + more + data[at:])
        return f"{len(more)} bytes at {at} of {name}"

    def delete(self) -> str:
        name = self._draw.choice(self._folder.names)
        self._folder.delete(name)
        return name

    def swap(self) -> str:
        one, two = self._draw.sample(self._folder.names, 2)
        self._folder.write(one, self._folder.whole[two])
        self._folder.write(two, self._folder.whole[one])
        return f"{one} with {two}"

    def move(self) -> str | None:
        """Two parts of one file change places."""
        name = self._file()
        data = self._folder.whole[name]
        if len(data) < 8:
            return None
        a, b, c = sorted(self._draw.sample(range(len(data)), 3))
        self._folder.write(name, data[:a] + data[b:c] + data[a:b] + data[c:])
        return f"bytes {a}-{c} of {name}"

    def replay(self) -> str:
        """A file, or several, as an older archive of the same ledger has it."""
        older = self._draw.choice(self._older)
        candidates = [name for name in self._folder.names if (older / name).is_file()]
        many = min(len(candidates), self._draw.choice((1, 1, 1, 2, 3)))
        chosen = self._draw.sample(candidates, many)
        for name in chosen:
            self._folder.write(name, (older / name).read_bytes())
        return f"as in {older.name}: {', '.join(chosen)}"

    # Entries

    def _weighty(self) -> int:
        """An entry; often one on which epochs hang: an epoch record, a seat, a commit record."""
        leaves = self._world.leaves
        kind = self._draw.randrange(4)
        if kind == 0:
            ends = [e.record_leaf for e in self._world.epochs if e.record_leaf is not None]
            return self._draw.choice(ends) + self._draw.randrange(2)
        if kind == 1:
            return self._draw.choice([i for i, leaf in enumerate(leaves) if is_record(leaf)])
        return self._draw.randrange(len(leaves))

    def altered_entries(self) -> tuple[str, list[bytes]]:
        """Entries inserted, dropped, doubled, reordered or altered: as many as before, and never the same ones."""
        leaves = self._world.leaves
        while True:
            at, other = self._weighty(), self._draw.randrange(len(leaves))
            entries = list(leaves)
            kind = self._draw.choice(("insert", "drop", "reorder", "double", "alter"))
            match kind:
                case "insert":
                    entries = [*entries[:at], b"\xd2inserted", *entries[at:-1]]
                case "drop":
                    entries = [*entries[:at], *entries[at + 1 :], entries[at]]
                case "reorder":
                    entries[at], entries[other] = entries[other], entries[at]
                case "double":
                    entries[at] = entries[other]
                case _:
                    position = self._draw.randrange(len(entries[at]))
                    entries[at] = flip(entries[at], position, self._draw.randrange(8))
            if entries != list(leaves):
                return f"{kind} {at}", entries

    def put_entries(self, entries: Sequence[bytes], *, tiles: bool) -> None:
        """In their bundles; and their hashes, and those above, in the tiles too."""
        size = len(entries)
        hashes = merkle.leaf_hashes(list(entries))
        level = 0
        for tile in [path for path in paths(size) if path.level is None]:
            first = TILE_WIDTH * tile.index
            self._put(tile, encode_bundle(list(entries[first : first + tile.width])))
        while tiles and hashes:
            for tile in [path for path in paths(size) if path.level == level]:
                first = TILE_WIDTH * tile.index
                self._put(tile, b"".join(hashes[first : first + tile.width]))
            hashes, level = above(hashes), level + 1

    def _put(self, tile: TilePath, data: bytes) -> None:
        if self._folder.whole.get(str(tile)) != data:
            self._folder.write(str(tile), data)

    def entries(self) -> str:
        what, entries = self.altered_entries()
        self.put_entries(entries, tiles=self._draw.random() < 0.7)
        return what

    # Checkpoints and the way from epoch to epoch

    def lines(self) -> str:
        """The checkpoint with another size or root, without a quorum of lines, or with lines that do not belong to it."""
        note = parse_note(self._folder.whole[CHECKPOINT])
        text, lines = note.text.split(b"\n"), list(note.lines)
        match self._draw.randrange(6):
            case 0:
                kept = self._draw.sample(lines, self._draw.randrange(len(lines)))
                what, lines = "lines left out", [line for line in lines if line in kept]
            case 1:
                text[1] = b"%d" % (int(text[1]) + self._draw.choice((-3, -1, 1, 300)))
                what = "size"
            case 2:
                text[2] = b"A" * 43 + b"="
                what = "root"
            case 3:
                position = self._draw.randrange(len(lines))
                lines[position] = _broken(lines[position], self._draw)
                what = f"the line of {lines[position].name}"
            case 4:
                stranger = self._draw.choice(self._older_lines())
                lines.insert(self._draw.randrange(len(lines)), stranger)
                what = f"a line of {stranger.name} over an older checkpoint"
            case _:
                self._draw.shuffle(lines)
                lines.append(self._draw.choice(lines))
                what = "a line twice"
        self._folder.write(CHECKPOINT, _note(b"\n".join(text), lines))
        return what

    def _older_lines(self) -> list[SignatureLine]:
        """Of the checkpoints that epochs ended with."""
        links = parse_links(self._folder.whole[POLICIES])
        return [line for link in links for line in parse_note(parse_proof(link.proof).note).lines]

    def policies(self) -> str:
        """Links of the policy chain left out, reordered, doubled, altered."""
        links = parse_links(self._folder.whole[POLICIES])
        at = self._draw.randrange(len(links))
        kind = self._draw.randrange(8)
        match kind:
            case 0:
                del links[at]
            case 1:
                links.insert(self._draw.randrange(len(links) + 1), links[at])
            case 2:
                links.reverse()
            case 3:
                policy = bytearray(links[at].policy)
                policy[self._draw.randrange(len(policy))] ^= 1
                links[at] = replace(links[at], policy=bytes(policy))
            case 4:
                links[at] = replace(links[at], policy=links[at - 1].policy)
            case 5:
                links[at] = self._link(links[at], keep=self._draw.randrange(8))
            case 6:
                links[at] = self._link(links[at], strange=self._draw.choice(self._older_lines()))
            case _:
                proof = parse_proof(links[at].proof)
                hashes = list(proof.hashes)
                hashes[self._draw.randrange(len(hashes))] = self._draw.randbytes(32)
                links[at] = replace(links[at], proof=bytes(replace(proof, hashes=tuple(hashes))))
        self._folder.write(POLICIES, encode_links(links))
        return f"way {kind} on link {at}"

    def _link(
        self, link: Link, *, keep: int | None = None, strange: SignatureLine | None = None
    ) -> Link:
        """With so many of its lines, or one of another checkpoint among them."""
        proof = parse_proof(link.proof)
        note = parse_note(proof.note)
        lines = list(note.lines)
        if keep is not None:
            kept = self._draw.sample(lines, min(keep, len(lines)))
            lines = [line for line in lines if line in kept]
        if strange is not None:
            lines[self._draw.randrange(len(lines))] = strange
        return replace(link, proof=bytes(replace(proof, note=_note(note.text, lines))))

    # Commits and blocks

    def frames(self, name: str) -> list[bytes]:
        """The parts of a file, as it was."""
        found = list(frames(self._folder.path / name, FRAME_MAX))
        assert b"".join(map(framed, found)) == self._folder.whole[name], name
        return found

    def put_frames(self, name: str, parts: Sequence[bytes]) -> None:
        self._folder.write(name, b"".join(map(framed, parts)))

    def commits(self) -> str:
        """Records left out, reordered, doubled, or saying something else: also of an epoch's last commit."""
        files = self.some_range()
        parts = self.frames(files.commits)
        records = [decode_commit_record(part) for part in parts]
        closing = [i for i, record in enumerate(records) if record.closed_by]
        at = self._draw.choice(closing) if closing and self._draw.random() < 0.4 else 0
        at = at or self._draw.randrange(len(parts))
        kind = self._draw.randrange(6)
        match kind:
            case 0:
                del parts[at]
            case 1:
                parts[at], parts[at - 1] = parts[at - 1], parts[at]
            case 2:
                parts.insert(at, parts[at])
            case 3:
                parts[at] = encode_commit_record(self._other(records[at]))
            case 4:
                authors = records[at].closed_by
                other = authors[1:] if authors else (records[at].commit.leader.author,)
                parts[at] = encode_commit_record(replace(records[at], closed_by=other))
            case _:
                parts[at] = parts[self._draw.randrange(len(parts))] + b"\0"
        self.put_frames(files.commits, parts)
        return f"way {kind} on record {at + files.first}"

    def _other(self, record: CommitRecord) -> CommitRecord:
        commit = record.commit
        match self._draw.randrange(3):
            case 0:
                changed = replace(commit, time_ms=Millis(commit.time_ms + 1))
            case 1:
                changed = replace(commit, blocks=commit.blocks[1:])
            case _:
                changed = replace(commit, leader=commit.blocks[0], blocks=commit.blocks[::-1])
        return replace(record, commit=changed)

    def blocks(self) -> str:
        """Bodies or signatures exchanged, also with those of another epoch; blocks left out or doubled."""
        files = self.some_range()
        parts = self.frames(files.blocks)
        data = self._folder.whole[files.signatures]
        signed = [data[a : a + SIGNATURE_BYTES] for a in range(0, len(data), SIGNATURE_BYTES)]
        one, two = self._draw.sample(range(len(parts)), 2)
        kind = self._draw.randrange(5)
        match kind:
            case 0:
                parts[one], parts[two] = parts[two], parts[one]
            case 1:
                signed[one], signed[two] = signed[two], signed[one]
            case 2:
                parts[one], parts[two] = parts[two], parts[one]
                signed[one], signed[two] = signed[two], signed[one]
            case 3:
                del parts[one], signed[one]
            case _:
                waiting = self.frames(UNDECIDED)
                waiting.insert(0, parts[one] + signed[one])
                self.put_frames(UNDECIDED, waiting)
        self.put_frames(files.blocks, parts)
        self._folder.write(files.signatures, b"".join(signed))
        return f"way {kind} on blocks {one} and {two} of the range from {files.first}"

    def deciders(self) -> str:
        """Deciders exchanged for others; undecided blocks left out."""
        name = self.some_range().deciders
        data = bytearray(self._folder.whole[name])
        waiting = self.frames(UNDECIDED)
        if waiting and self._draw.random() < 0.3:
            at = self._draw.randrange(len(waiting))
            del waiting[at]
            self.put_frames(UNDECIDED, waiting)
            return f"undecided block {at} left out"
        starts = starts_of(bytes(data))
        at, many = self._draw.choice([(at, many) for at, many in starts if many])
        if self._draw.random() < 0.5:
            data[at : at + 2] = (many - 1).to_bytes(2, "big")
            del data[at + 2 : at + 2 + REF_BYTES]
            what = "one left out"
        else:
            other, _ = self._draw.choice([(other, many) for other, many in starts if many])
            data[at + 2 : at + 2 + REF_BYTES] = data[other + 2 : other + 2 + REF_BYTES]
            what = "another one"
        self._folder.write(name, bytes(data))
        return f"{what} at {at} of {name}"


def starts_of(data: bytes) -> list[tuple[int, int]]:
    """Where each commit's deciders begin, and how many they are."""
    found, at = [], 0
    while at < len(data):
        many = int.from_bytes(data[at : at + 2], "big")
        found.append((at, many))
        at += 2 + many * REF_BYTES
    return found


def _broken(line: SignatureLine, draw: random.Random) -> SignatureLine:
    at = draw.randrange(len(line.signature))
    return replace(line, signature=flip(line.signature, at, draw.randrange(8)))


def _note(text: bytes, lines: Sequence[SignatureLine]) -> bytes:
    if not lines:
        return text + b"\n"  # no note: nobody signed it
    return bytes(Note(text=text, lines=tuple(lines)))
