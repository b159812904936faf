"""Tampers with receipts of entries in full and in partial bundles: tlog-proofs, judged by both programs that read them, and COSE.

None proves what is not so: whatever is accepted says of an entry of the log that it is under a root of this log; a tlog-proof, at
which index. Of a COSE receipt no signature covers index and size (RFC 9942): there they are claims.
"""

import json
import random
from dataclasses import dataclass, replace

import foedus_verify as fv
from node.audit.archive import CHECKPOINT, POLICIES
from node.cli.cose_receipts import holds
from node.cli.errors import CouldNot
from node.cli.receipts import verify_receipt
from node.ledger.policy_chain import Policies, follow, parse_links
from node.ledger.trust import trust_policy
from node.log import merkle
from node.log.cose import encode_inclusion_receipt, encode_receipt_header, sig_structure
from node.log.errors import MalformedInput
from node.log.note import Note, parse_note
from node.log.proof import ProofFile, parse_proof
from node.log.tiles import TILE_WIDTH
from tests.tamper.folder import Folder
from tests.tamper.world import World
from tests.unit.audit.history import flip


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A receipt, and by whom it was believed what is not so."""

    what: str
    believed_by: tuple[str, ...]
    true: bool  # it says nothing but the truth, after all


class ReceiptTampers:
    """Receipts of an archive's last checkpoint, and of those that epochs ended with."""

    def __init__(self, world: World, folder: Folder, draw: random.Random) -> None:
        self._world = world
        self._draw = draw
        links = parse_links(folder.whole[POLICIES])
        self._policies: Policies = follow(trust_policy(world.genesis), links)
        founders = fv.parse_policy(trust_policy(world.genesis))
        self._trust = fv.walk([founders], json.loads(folder.whole[POLICIES]))
        ended = [parse_proof(link.proof).note for link in links]
        self._notes = {fv.parse_checkpoint(fv.parse_note(note)[0])[1]: note for note in ended}
        self._notes[world.size] = folder.whole[CHECKPOINT]
        self._strange = [(other / CHECKPOINT).read_bytes() for other in world.others]
        self._tree = merkle.MemoryHashes()
        self._tree.append(merkle.leaf_hashes(world.leaves))
        self._roots = {size: self._tree.root_at(size) for size in self._notes}

    def _receipt(self) -> ProofFile:
        """Of any entry under any checkpoint; often of one in the partial bundle at the end."""
        size = self._draw.choice(sorted(self._notes))
        begun = size // TILE_WIDTH * TILE_WIDTH
        index = self._draw.choice((self._draw.randrange(size), self._draw.randrange(begun, size)))
        hashes = tuple(merkle.inclusion_proof(index, size, self._tree.read))
        entry = self._world.leaves[index]
        return ProofFile(index=index, hashes=hashes, note=self._notes[size], extra=entry)

    def tlog(self) -> Judged:
        """One, tampered with in one of many ways."""
        made = self._receipt()
        data, draw = bytes(made), self._draw
        way = draw.choice(("flip", "flip", "cut", "index", "entry", "hashes", "note", "lines"))
        match way:
            case "flip":
                data = flip(data, draw.randrange(len(data)), draw.randrange(8))
            case "cut":
                data = data[: draw.randrange(len(data))]
            case "index":
                other = draw.choice((made.index ^ 1, made.index + TILE_WIDTH, made.index + 1, 0))
                data = bytes(replace(made, index=other))
            case "entry":
                leaves = self._world.leaves
                data = bytes(replace(made, extra=draw.choice((*leaves, self._inner(made)))))
            case "hashes":
                data = bytes(replace(made, hashes=self._other_hashes(made)))
            case "note":
                notes = [*self._notes.values(), *self._strange]
                data = bytes(replace(made, note=draw.choice(notes)))
            case _:
                data = bytes(replace(made, note=self._other_lines(made.note)))
        return self._judge(f"{way} in the receipt of entry {made.index}", data)

    def cose(self) -> Judged:
        """One node's word on a root, with the path of an entry to it; tampered with likewise."""
        made, draw = self._receipt(), self._draw
        size = next(size for size, note in self._notes.items() if note == made.note)
        epoch = self._world.epoch_at(size)
        key = self._world.weave.keys_of(epoch, draw.choice(epoch.members).state).log
        origin = self._world.genesis.origin
        protected = encode_receipt_header(key.kid, origin, "node")
        signature = key.sign(sig_structure(protected, self._roots[size]))
        hashes, index, entry = made.hashes, made.index, made.extra or b""
        way = draw.choice(("flip", "flip", "entry", "hashes", "index", "size", "root"))
        match way:
            case "entry":
                entry = draw.choice((*self._world.leaves, self._inner(made)))
            case "hashes":
                hashes = self._other_hashes(made)
            case "index":
                index = draw.choice((made.index ^ 1, made.index + TILE_WIDTH, made.index + 1))
            case "size":
                size = draw.choice((size - 1, size + 1, 2 * size))
            case "root":
                entry = draw.randbytes(40)  # a log of this one entry, signed by nobody
                hashes = ()
            case _:
                pass
        data = encode_inclusion_receipt(protected, size, index, list(hashes), signature)
        if way == "flip":
            data = flip(data, draw.randrange(len(data)), draw.randrange(8))
        believed = holds(data, entry, key.public)
        lies = believed and entry not in self._world.leaves
        return Judged(
            what=f"{way} in the COSE receipt of entry {made.index}",
            believed_by=("foedus receipt",) if lies else (),
            true=believed and not lies,
        )

    def _inner(self, made: ProofFile) -> bytes:
        """The two children of a node as if they were an entry: prefixes keep them apart (RFC 9162, section 2.1)."""
        leaf = merkle.leaf_hash(made.extra or b"")
        return leaf + made.hashes[0] if made.hashes else leaf

    def _other_hashes(self, made: ProofFile) -> tuple[bytes, ...]:
        hashes = list(made.hashes)
        at = self._draw.randrange(len(hashes))
        match self._draw.randrange(4):
            case 0:
                del hashes[at]
            case 1:
                hashes.insert(at, hashes[at])
            case 2:
                hashes.reverse()
            case _:
                hashes[at] = self._draw.randbytes(32)
        return tuple(hashes)

    def _other_lines(self, note: bytes) -> bytes:
        """Fewer lines, or under another root."""
        parsed = parse_note(note)
        lines = list(parsed.lines)
        if self._draw.random() < 0.5:
            lines = self._draw.sample(lines, self._draw.randint(1, len(lines)))
            return bytes(Note(text=parsed.text, lines=tuple(lines)))
        text = parsed.text.split(b"\n")
        text[self._draw.choice((1, 2))] = self._draw.choice((b"7", b"A" * 43 + b"="))
        return bytes(Note(text=b"\n".join(text), lines=tuple(lines)))

    def _judge(self, what: str, data: bytes) -> Judged:
        """By the node's program and by the outsider's."""
        shown: dict[str, tuple[int, bytes, int, bytes]] = {}
        try:
            verdict = verify_receipt(data, self._policies)
            if verdict.proven:
                found = (verdict.index, verdict.leaf, verdict.size, verdict.root)
                shown["foedus receipt"] = found
        except (CouldNot, MalformedInput):
            pass
        try:
            told = fv.receipt(data, self._trust, None)
            shown["foedus-verify"] = (told["index"], told["entry"], told["size"], told["root"])
        except (fv.NotProven, *fv.NO_FORM):
            pass
        lies = tuple(name for name, said in shown.items() if not self._is_so(*said))
        return Judged(what=what, believed_by=lies, true=bool(shown) and not lies)

    def _is_so(self, index: int, entry: bytes, size: int, root: bytes) -> bool:
        leaves = self._world.leaves
        return self._roots.get(size) == root and index < size and leaves[index] == entry
