"""Tampers with what was signed for elsewhere: parts of older archives, of another ledger, blocks that nobody committed; and with
signatures of another spelling. None of them needs a key, but `spelt_otherwise` one of its own.

`other` ledgers here have the same members with the same keys: what they signed there is good, there (RULINGS R7, R41, R46).
"""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import nacl.bindings as sodium

from consensus.codec import block_signing_bytes, encode_block, peek_ref
from consensus.types import SIGNATURE_BYTES, Block
from node.audit.archive import (
    CHECKPOINT,
    MANIFEST,
    SIGNATURES,
    UNDECIDED,
    encode_manifest,
    framed,
)
from node.log.note import Note, parse_note
from tests.tamper.archives import ArchiveTampers, Range, Tamper
from tests.tamper.folder import Folder
from tests.tamper.world import World

ORDER_L: Final = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group
EXTRA: Final = (
    *(
        "checkpoint.full",
        "policy.txt",
        ".well-known/policies.json",
        "tile/0/x001/000",
        "tile/2/000",
    ),
    *("commits/0000000000.commits", "blocks/0000000001.blocks.gz", "signatures/checkpoint"),
    *("tile/entries/000.gz", "index.html", "genesis.cbor.old", "signatures/policy"),
)
PARTS: Final = (
    ("tile/",),
    ("tile/", MANIFEST),
    (CHECKPOINT,),
    (CHECKPOINT, MANIFEST),
    ("tile/", CHECKPOINT, f"{SIGNATURES}/policies"),
    ("commits/", "blocks/"),
    ("commits/", "blocks/", f"{SIGNATURES}/0"),
    ("commits/", "blocks/", f"{SIGNATURES}/0", f"{SIGNATURES}/undecided"),
    (f"{SIGNATURES}/",),
    ("tile/", CHECKPOINT),
    ("genesis.cbor", "policy"),
)


class ForeignTampers:
    """On the same folder as `tampers`; `older` archives of the same ledger, `others` of other ones."""

    def __init__(
        self,
        world: World,
        folder: Folder,
        tampers: ArchiveTampers,
        others: Sequence[Path],
        older: Sequence[Path],
        draw: random.Random,
    ) -> None:
        self._world = world
        self._folder = folder
        self._tampers = tampers
        self._others = others
        self._older = older
        self._draw = draw
        committed = {ref for record in world.weave.records for ref in record.commit.blocks}
        self._loose = [b for b in world.weave.blocks if b.ref not in committed]
        self.all: tuple[Tamper, ...] = (
            *(self.stitch, self.stitch, self.another_ledger, self.another_checkpoint),
            *(self.never_committed, self.swap_ranges, self.over_the_edge, self.extra),
            *(self.malleable, self.spelt_otherwise),
        )

    def stitch(self) -> str:
        """Some parts as an older archive, or one of another ledger, has them: files of both, each whole."""
        source = self._draw.choice([*self._older, *self._others])
        prefixes = self._draw.choice(PARTS)
        theirs = {
            path.relative_to(source).as_posix(): path
            for path in sorted(source.rglob("*"))
            if path.is_file()
        }
        for name in self._folder.names:
            if name.startswith(prefixes):
                self._folder.delete(name)
        for name, path in theirs.items():
            if name.startswith(prefixes):
                self._folder.write(name, path.read_bytes())
        if MANIFEST not in prefixes and self._draw.random() < 0.5:
            self._say_as(theirs[MANIFEST].read_bytes())
            return f"{', '.join(prefixes)} of {source.name}, and what its manifest says"
        return f"{', '.join(prefixes)} of {source.name}"

    def _say_as(self, manifest: bytes) -> None:
        """The manifest says what that one says, of the files that this one lists."""
        fields = json.loads(manifest)
        fields["files"] = json.loads(self._folder.whole[MANIFEST])["files"]
        self._folder.write(MANIFEST, encode_manifest(fields))

    def another_ledger(self) -> str:
        """Its genesis, by another name or by this one's; the manifest may say its chain id."""
        data = self._draw.choice([*self._world.namesakes, *map(_genesis, self._others)])
        self._folder.write("genesis.cbor", data)
        return "the genesis of another ledger"

    def another_checkpoint(self) -> str | None:
        """The other ledger's lines: under this one's text; by this one's names; or its whole note."""
        if not self._others:
            return None
        theirs = parse_note((self._draw.choice(self._others) / CHECKPOINT).read_bytes())
        ours = parse_note(self._folder.whole[CHECKPOINT])
        way = self._draw.choice(("as it is", "lines", "renamed", "a line more"))
        by_name = [
            replace(mine, signature=line.signature)
            for mine, line in zip(ours.lines, theirs.lines, strict=False)
        ]
        match way:
            case "as it is":
                note = theirs
            case "lines":
                note = Note(text=ours.text, lines=theirs.lines)
            case "renamed":
                note = Note(text=ours.text, lines=tuple(by_name))
            case _:
                note = Note(text=ours.text, lines=(*ours.lines, self._draw.choice(theirs.lines)))
        self._folder.write(CHECKPOINT, bytes(note))
        return f"another ledger's checkpoint: {way}"

    # Blocks

    def never_committed(self) -> str | None:
        """A good block that no commit holds, of this ledger or of another one: among the committed ones, or beside them."""
        strange = [block for other in self._world.strange for block in other]
        blocks = self._loose if self._draw.random() < 0.6 or not strange else strange
        block = self._draw.choice(blocks)
        whole = encode_block(block)
        if self._draw.random() < 0.5:
            waiting = self._tampers.frames(UNDECIDED)
            if whole in waiting:
                return None
            self._tampers.put_frames(UNDECIDED, sorted([*waiting, whole], key=peek_ref))
            return f"{_named(block)} beside the committed ones"
        files = self._tampers.some_range()
        parts = self._tampers.frames(files.blocks)
        at = self._draw.randrange(len(parts) + 1)
        signed = self._folder.whole[files.signatures]
        cut = SIGNATURE_BYTES * at
        if at < len(parts) and self._draw.random() < 0.5:
            parts[at] = whole[:-SIGNATURE_BYTES]
            after = signed[cut + SIGNATURE_BYTES :]
        else:
            parts.insert(at, whole[:-SIGNATURE_BYTES])
            after = signed[cut:]
        self._tampers.put_frames(files.blocks, parts)
        self._folder.write(files.signatures, signed[:cut] + whole[-SIGNATURE_BYTES:] + after)
        return f"{_named(block)} at {at} of {files.blocks}"

    def swap_ranges(self) -> str | None:
        """Files of one range under the names of another one: one kind of them, or all."""
        if len(self._tampers.ranges) < 2:
            return None
        one, two = self._draw.sample(self._tampers.ranges, 2)
        chosen = self._draw.choice((*zip(_files(one), _files(two), strict=True), None))
        pairs = list(zip(_files(one), _files(two), strict=True)) if chosen is None else [chosen]
        for mine, other in pairs:
            self._folder.write(mine, self._folder.whole[other])
            self._folder.write(other, self._folder.whole[mine])
        return f"{'all files' if chosen is None else chosen[0]} of {one.first} and {two.first}"

    def over_the_edge(self) -> str | None:
        """The last commit of a range goes into the next one, or the first one back, with or without its blocks."""
        if len(self._tampers.ranges) < 2:
            return None
        one, two = self._tampers.ranges[:2]
        forward = self._draw.random() < 0.5
        kinds = ["commits"] if self._draw.random() < 0.5 else ["commits", "blocks"]
        for kind in kinds:
            names = (getattr(one, kind), getattr(two, kind))
            early, late = (self._tampers.frames(name) for name in names)
            if forward:
                late.insert(0, early.pop())
            else:
                early.append(late.pop(0))
            for name, parts in zip(names, (early, late), strict=True):
                self._tampers.put_frames(name, parts)
        return f"{' and '.join(kinds)} {'forward' if forward else 'back'} over commit {two.first}"

    def extra(self) -> str:
        """A file that no manifest lists, beside files that all are right."""
        name = self._draw.choice(EXTRA)
        data = self._folder.whole[self._draw.choice(self._folder.names)]
        self._folder.write(name, self._draw.choice((data, b"", framed(data))))
        return name

    # Signatures of another spelling

    def malleable(self) -> str:
        """S + L in place of S, or a point of small order as R: Ed25519 as some libraries take it (FORMATS 11)."""
        files = self._tampers.some_range()
        data = self._folder.whole[files.signatures]
        at = SIGNATURE_BYTES * self._draw.randrange(len(data) // SIGNATURE_BYTES)
        forged = self._other_spelling(data[at : at + SIGNATURE_BYTES])
        if self._draw.random() < 0.5:
            after = data[at + SIGNATURE_BYTES :]
            self._folder.write(files.signatures, data[:at] + forged + after)
            return f"signature {at // SIGNATURE_BYTES} of {files.signatures}"
        note = parse_note(self._folder.whole[CHECKPOINT])
        lines = list(note.lines)
        chosen = [i for i, line in enumerate(lines) if len(line.signature) in (64, 72)]
        number = self._draw.choice(chosen)
        line = lines[number]
        whole = line.signature[:-64] + self._other_spelling(line.signature[-64:])
        lines[number] = replace(line, signature=whole)
        self._folder.write(CHECKPOINT, bytes(Note(text=note.text, lines=tuple(lines))))
        return f"the line of {line.name}"

    def _other_spelling(self, signature: bytes) -> bytes:
        scalar = int.from_bytes(signature[32:], "little") + ORDER_L
        if self._draw.random() < 0.6:
            return signature[:32] + scalar.to_bytes(32, "little")
        return bytes((1, *bytes(31))) + signature[32:]  # the neutral point

    def spelt_otherwise(self) -> str:
        """A second good signature of the same block, as its author could make: honest nodes may hold either (RULINGS R56)."""
        files = self._tampers.some_range()
        parts = self._tampers.frames(files.blocks)
        at = self._draw.randrange(len(parts))
        data = self._folder.whole[files.signatures]
        cut = SIGNATURE_BYTES * at
        ref = peek_ref(parts[at] + data[cut : cut + SIGNATURE_BYTES])
        block = self._world.weave.by_ref[ref]
        key = self._world.block_seed(block)
        message = block_signing_bytes(block.header.chain_id, block.header.epoch, ref)
        other = signed_again(key, message, self._draw.randbytes(64))
        assert other != data[cut : cut + SIGNATURE_BYTES], "another nonce"
        after = data[cut + SIGNATURE_BYTES :]
        self._folder.write(files.signatures, data[:cut] + other + after)
        return f"{_named(block)} by another good signature"


def signed_again(seed: bytes, message: bytes, nonce: bytes) -> bytes:
    """A good Ed25519 signature by another nonce than the standard's (RFC 8032, section 5.1.6). `seed`: 32 bytes, `nonce`: 64."""
    public, _ = sodium.crypto_sign_seed_keypair(seed)
    hashed = bytearray(sodium.crypto_hash_sha512(seed)[:32])
    hashed[0] &= 248
    hashed[31] = hashed[31] & 127 | 64
    scalar = sodium.crypto_core_ed25519_scalar_reduce(bytes(hashed) + bytes(32))
    secret = sodium.crypto_core_ed25519_scalar_reduce(nonce)
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(secret)
    challenge = sodium.crypto_core_ed25519_scalar_reduce(
        sodium.crypto_hash_sha512(point + public + message)
    )
    product = sodium.crypto_core_ed25519_scalar_mul(challenge, scalar)
    return bytes(point + sodium.crypto_core_ed25519_scalar_add(secret, product))


def _files(files: Range) -> tuple[str, str, str, str]:
    return (files.commits, files.blocks, files.signatures, files.deciders)


def _genesis(archive: Path) -> bytes:
    return (archive / "genesis.cbor").read_bytes()


def _named(block: Block) -> str:
    return f"block {block.ref.round}/{block.ref.author} of epoch {block.header.epoch}"
