"""What members do who sign more than they may: at most f of any epoch, of today's or one that is over, by all keys they had.

Each returns what was done, and who did what by a key that was in force there: whom the audit must name beside an honest copy. A
key that is no longer in force proves nothing against anybody: whoever was told it, or stole it, could have used it. What it signs
is nobody's line, and is found as that.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from consensus.codec import decode_block, encode_block
from consensus.committee import committee_hash
from consensus.types import Block, Millis
from node.audit.archive import CHECKPOINT, MANIFEST, POLICIES, UNDECIDED, encode_manifest
from node.audit.findings import Depth
from node.ledger.cosigned import Cosigned, note_lines
from node.ledger.epochs import Epoch
from node.ledger.policy_chain import encode_links, parse_links
from node.ledger.records import EpochRecord, encode_epoch_record, parse_epoch_record
from node.ledger.seats import member_in
from node.log import merkle
from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.note import Note, SignatureLine, parse_note
from node.log.proof import parse_proof
from node.log.tiles import paths
from node.signing.checkpoints import sign_cosignature
from node.signing.keys import generate_agency_keys
from tests.tamper.archives import ArchiveTampers
from tests.tamper.folder import Folder
from tests.tamper.world import World
from tests.unit.audit.epoch_history import SIGNED_S, signed
from tests.unit.ledger.founding import Author
from tests.unit.ledger.joining import declares, rotated

SIGNATURE: Final = 64  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Collusion:
    """What they did. `liars`: all of them; `provable`: those whose signatures show it; `depth`: where it must be found, if
    that is not to be read off the files (`depths`)."""

    what: str
    liars: frozenset[str]
    provable: frozenset[str]
    depth: Depth | None = None


class Colluders:
    """On the same folder as `tampers`."""

    def __init__(
        self, world: World, folder: Folder, tampers: ArchiveTampers, draw: random.Random
    ) -> None:
        self._world = world
        self._folder = folder
        self._tampers = tampers
        self._draw = draw
        self.all: tuple[Callable[[], Collusion], ...] = (
            self.second_history,
            self.longer,
            self.other_members,
            self.stolen_seat,
            self.weak_seat,
            self.handed_over_otherwise,
            self.old_keys,
            self.two_blocks,
        )

    def _some(self, epoch: Epoch) -> list[str]:
        """At most f of its members."""
        states = [member.state for member in epoch.members]
        return self._draw.sample(states, self._draw.randint(1, epoch.committee.faults))

    def signed(
        self, epoch: Epoch, size: int, root: bytes, states: Sequence[str]
    ) -> list[SignatureLine]:
        made: list[Cosigned] = self._world.weave.sign(epoch, size, root, sorted(states))
        return note_lines(self._world.genesis.origin, epoch.members, made)

    def checkpoint(self, size: int, root: bytes) -> bytes:
        return Checkpoint(origin=self._world.genesis.origin, size=size, root=root).text()

    def second_history(self) -> Collusion:
        """f of today's members sign other entries, made to fit throughout; the others' lines over the true ones stand beside."""
        what, entries = self._tampers.altered_entries()
        return self._sign_end(what, entries)

    def longer(self) -> Collusion:
        """f of today's members sign a log that goes on after the true one. Nothing contradicts that; nobody else signed it."""
        more = [b"\xd2" + self._draw.randbytes(40) for _ in range(self._draw.randint(1, 300))]
        entries = [*self._world.leaves, *more]
        wanted = set(map(str, paths(len(entries))))
        for name in self._folder.names:
            if name.startswith("tile/") and name not in wanted:
                self._folder.delete(name)
        done = self._sign_end(f"{len(more)} entries more", entries)
        return replace(done, provable=frozenset(), depth=Depth.CERTIFICATES)

    def weak_seat(self) -> Collusion:
        """The entry by which US declares its later node names keys of small order, under which anybody signs anything."""
        entries = list(self._world.leaves)
        at = self._world.epochs[2].record_leaf
        assert at is not None
        place = dict(parse_epoch_record(entries[at]).members)["US"]
        whole, weak = entries[place], bytes((1, *bytes(31)))
        for key in ("block", "log", "cosigner"):
            if self._draw.random() < 0.7 or entries[place] == whole:
                public = getattr(self._world.weave.keys_of(self._world.epochs[2], "US"), key).public
                entries[place] = entries[place].replace(public, weak)
        assert entries[place] != whole, "its keys stand in its entry as they are"
        return self._sign_end("a seat of US by weak keys", entries, but="US")

    def other_members(self) -> Collusion:
        """An epoch record by which nothing has changed: who left stays, old keys stay in force. It fits, but for the law."""
        entries = list(self._world.leaves)
        number = self._draw.choice((2, 3))
        before = self._world.epochs[number - 1]
        at, held = self._world.epochs[number].record_leaf, before.record_leaf
        assert at is not None
        assert held is not None
        keys = [member.block_key for member in before.members]
        policy = before.trust_policy(self._world.genesis.origin)
        forged = EpochRecord(
            epoch=number,
            members=parse_epoch_record(entries[held]).members,
            committee_hash=committee_hash(number, keys),
            trust_policy=sha256(policy).digest(),
        )
        entries[at] = encode_epoch_record(forged)
        return self._sign_end(f"the record of epoch {number}", entries)

    def stolen_seat(self) -> Collusion:
        """The entry by which US declares its later node says other keys, the record of that epoch fits, and they sign."""
        entries = list(self._world.leaves)
        ledger = self._world.weave.founding.chain_id
        number = 2
        epoch = self._world.epochs[number]
        at = epoch.record_leaf
        assert at is not None
        record = parse_epoch_record(entries[at])
        place = dict(record.members)["US"]
        thief = generate_agency_keys("US", seed=self._draw.randbytes(32))
        keys = rotated("US", 7)
        entries[place] = declares(Author(thief, ledger), keys)
        seat = member_in(self._world.genesis, "US", entries[place], place)
        forged = epoch
        for later in (2, 3):  # as far as the archive goes
            at = self._world.epochs[later].record_leaf
            assert at is not None
            told = self._world.epochs[later]
            forged = replace(
                told, members=tuple(seat if m.state == "US" else m for m in told.members)
            )
            record = parse_epoch_record(entries[at])
            record = EpochRecord(
                epoch=later,
                members=record.members,
                committee_hash=committee_hash(later, [m.block_key for m in forged.members]),
                trust_policy=sha256(forged.trust_policy(self._world.genesis.origin)).digest(),
            )
            entries[at] = encode_epoch_record(record)
        root = merkle.root_of_leaf_hashes(merkle.leaf_hashes(entries))
        checkpoint = Checkpoint(origin=self._world.genesis.origin, size=len(entries), root=root)
        made = sign_cosignature(keys.cosigner, checkpoint, SIGNED_S)
        index = forged.index_of("US")
        assert index is not None
        line = Cosigned(
            member=index,
            size=len(entries),
            root=root,
            timestamp=made.timestamp,
            signature=made.signature,
        )
        theirs = note_lines(self._world.genesis.origin, forged.members, [line])
        return self._sign_end("a stolen seat of US", entries, theirs, but="US")

    def _sign_end(
        self,
        what: str,
        entries: list[bytes],
        theirs: Sequence[SignatureLine] = (),
        but: str | None = None,
    ) -> Collusion:
        """`theirs`: lines by keys of their own; `but`: who is no liar."""
        size = len(entries)
        self._tampers.put_entries(entries, tiles=True)
        root = merkle.root_of_leaf_hashes(merkle.leaf_hashes(entries))
        epoch = self._world.epoch_at(size)
        liars = [state for state in self._some(epoch) if state != but]
        lines = [*self.signed(epoch, size, root, liars), *theirs]
        if self._draw.random() < 0.5:
            old = parse_note(self._folder.whole[CHECKPOINT]).lines
            lines += [line for line in old if line not in lines][len(liars) :]
        note = Note(text=self.checkpoint(size, root), lines=tuple(lines))
        self._folder.write(CHECKPOINT, bytes(note))
        self._say(size, root)
        found = frozenset(liars)
        return Collusion(what=f"{what} by {', '.join(liars)}", liars=found, provable=found)

    def _say(self, size: int, root: bytes) -> None:
        """In the manifest."""
        fields = json.loads(self._folder.whole[MANIFEST])
        self._folder.write(MANIFEST, encode_manifest({**fields, "size": size, "root": root.hex()}))

    def handed_over_otherwise(self) -> Collusion:
        """f of an epoch that is over, some of whom have left or changed keys since, sign another end of it."""
        links = parse_links(self._folder.whole[POLICIES])
        at = self._draw.randrange(len(links))
        before = self._world.epochs[at]
        proof = parse_proof(links[at].proof)
        note = parse_note(proof.note)
        size = parse_checkpoint(note.text).size
        leaves = list(self._world.leaves[:size])
        leaves[self._draw.randrange(size - 2)] = b"\xd2another"
        tree = merkle.MemoryHashes()
        tree.append(merkle.leaf_hashes(leaves))
        root = tree.root_at(size)
        liars = self._some(before)
        lines = self.signed(before, size, root, liars)
        if self._draw.random() < 0.5:
            lines += note.lines[len(liars) :]
        forged = replace(
            proof,
            hashes=tuple(merkle.inclusion_proof(proof.index, size, tree.read)),
            note=bytes(Note(text=self.checkpoint(size, root), lines=tuple(lines))),
        )
        links[at] = replace(links[at], proof=bytes(forged))
        self._folder.write(POLICIES, encode_links(links))
        found = frozenset(liars)
        what = f"the end of epoch {at} by {', '.join(liars)}"
        return Collusion(what=what, liars=found, provable=found)

    def old_keys(self) -> Collusion:
        """Members of an epoch that is over, all of them if they like, sign what belongs to a later one: by keys not in force."""
        number = self._draw.randrange(len(self._world.epochs) - 1)
        old = self._world.epochs[number]
        size = self._world.size
        today = self._world.epoch_at(size)
        force = {member.cosigner_key for member in today.members}
        past = [m.state for m in old.members if m.cosigner_key not in force] or ["KE"]
        if past == ["KE"] and old.index_of("KE") is None:
            old = self._world.epochs[0]
        note = parse_note(self._folder.whole[CHECKPOINT])
        root = parse_checkpoint(note.text).root
        text, kept = note.text, list(note.lines)
        if self._draw.random() < 0.5:
            what, entries = self._tampers.altered_entries()
            self._tampers.put_entries(entries, tiles=True)
            root = merkle.root_of_leaf_hashes(merkle.leaf_hashes(entries))
            text, kept = self.checkpoint(size, root), []
            self._say(size, root)
        else:
            what = "the same root"
        lines = [*self.signed(old, size, root, past), *kept]
        self._folder.write(CHECKPOINT, bytes(Note(text=text, lines=tuple(lines))))
        return Collusion(
            what=f"{what} by old keys of {', '.join(past)}",
            liars=frozenset(past),
            provable=frozenset(),
        )

    def two_blocks(self) -> Collusion:
        """One signs a second block for a round: it stands in the place of the first, or beside it."""
        files = self._tampers.some_range()
        parts = self._tampers.frames(files.blocks)
        data = self._folder.whole[files.signatures]
        at = self._draw.randrange(len(parts))
        block = decode_block(parts[at] + data[SIGNATURE * at : SIGNATURE * (at + 1)])
        twin = self.twin_of(block)
        author = self._world.epochs[block.header.epoch].members[block.ref.author].state
        whole = encode_block(twin)
        if self._draw.random() < 0.5:
            parts[at] = whole[:-SIGNATURE]
            self._tampers.put_frames(files.blocks, parts)
            signatures = data[: SIGNATURE * at] + whole[-SIGNATURE:] + data[SIGNATURE * (at + 1) :]
            self._folder.write(files.signatures, signatures)
            what, provable = "for", frozenset[str]()
        else:
            self._tampers.put_frames(UNDECIDED, [whole, *self._tampers.frames(UNDECIDED)])
            what, provable = "beside", frozenset((author,))
        where = f"{block.ref.round}/{author} of epoch {block.header.epoch}"
        return Collusion(
            what=f"another block {what} {where}",
            liars=frozenset((author,)),
            provable=provable,
        )

    def twin_of(self, block: Block) -> Block:
        header = replace(block.header, time_ms=Millis(block.header.time_ms + 7))
        epoch = self._world.epochs[header.epoch]
        keys = self._world.weave.keys[epoch.members[header.author].block_key]
        return signed(header, block.payload, keys, epoch.committee)
