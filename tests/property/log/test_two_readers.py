"""The outsider's verifier and the node's own readers, of which neither knows the other, read the same and refuse the same.

Texts that are nearly right: a line, a character or a bit away from a good one. What one of the two reads and the other does
not is a text that two people believe different things about.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest

import foedus_verify as fv
from node.cli.errors import CouldNot
from node.cli.receipts import verify_receipt
from node.ledger.policy_chain import follow
from node.ledger.trust import trust_policy
from node.log import merkle
from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.errors import MalformedInput
from node.log.note import Note, parse_note
from node.log.policy import parse_policy
from node.log.proof import ProofFile
from node.signing.checkpoints import sign_log_line
from tests.unit.ledger.founding import Founding, found

SEED = 26_1127
TEXTS = 700
SIZE, INDEX = 300, 259
PIECES = [
    "\n",
    "\n\n",
    " ",
    "\t",
    "\r",
    "\0",
    "\x7f",
    "\u00a0",
    "\u2028",
    "=",
    "A",
    "0",
    "+",
    "#",
    "— ",
]

Reader = Callable[[bytes], Any]


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4, 0, second=3)


def note_of(founding: Founding, root: bytes) -> bytes:
    checkpoint = Checkpoint(
        origin=founding.genesis.origin, size=SIZE, root=root, extensions=("more",)
    )
    lines = tuple(sign_log_line(node.log, checkpoint) for node in founding.nodes)
    return bytes(Note(text=checkpoint.text(), lines=lines))


def altered(draw: random.Random, text: str) -> bytes:
    """One or two things about it changed."""
    for _ in range(draw.choice((1, 1, 2))):
        lines, at = text.split("\n"), draw.randrange(len(text))
        line, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        match draw.randrange(7):
            case 0:
                text = text[:at] + draw.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + draw.randrange(1, 4) :]
            case 2:
                text = text[:at] + chr(ord(text[at]) ^ 1 << draw.randrange(7)) + text[at + 1 :]
            case 3:
                lines[line], lines[other] = lines[other], lines[line]
                text = "\n".join(lines)
            case 4:
                text = "\n".join([*lines[:line], lines[other], *lines[line:]])
            case 5:
                text = "\n".join([*lines[:line], *lines[line + 1 :]])
            case _:
                lines[line] = draw.choice([f" {lines[line]}", f"{lines[line]} ", "#", "index 1"])
                text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass")


def read_by(reader: Reader, data: bytes) -> Any:
    """What it says, or None where it refuses by one of its own errors."""
    try:
        return reader(data)
    except (fv.NotProven, *fv.NO_FORM, MalformedInput, CouldNot):
        return None


def agree(good: bytes, one: Reader, other: Reader) -> None:
    draw = random.Random(SEED)
    assert one(good) == other(good)
    read = 0
    for _ in range(TEXTS):
        data = altered(draw, good.decode())
        said = read_by(one, data)
        assert said == read_by(other, data), data
        read += said is not None
    assert TEXTS // 20 < read < TEXTS - TEXTS // 20, "some are still good, and some are not"


def test_notes(founding: Founding) -> None:
    def ours(data: bytes) -> Any:
        note = parse_note(data)
        return note.text, [((line.name, line.key_id), line.signature) for line in note.lines]

    agree(note_of(founding, bytes(32)), fv.parse_note, ours)


def test_checkpoints(founding: Founding) -> None:
    def ours(data: bytes) -> Any:
        made = parse_checkpoint(data)
        return made.origin, made.size, made.root

    agree(parse_note(note_of(founding, bytes(32))).text, fv.parse_checkpoint, ours)


def test_policies(founding: Founding) -> None:
    """By what they believe: every single witness less, and every two."""
    names = [m.state for m in founding.genesis.members] + ["BR/pq", "CN/pq", "GB/pq"]
    sets = [{*names} - {one, two} for one in names for two in names]

    def theirs(data: bytes) -> Any:
        policy = fv.parse_policy(data)
        return len(policy.logs), [policy.holds(some & {*policy.witnesses}) for some in sets]

    def ours(data: bytes) -> Any:
        policy = parse_policy(data)
        known = {witness.name for witness in policy.witnesses}
        return len(policy.logs), [policy.satisfied_by(some & known) for some in sets]

    agree(trust_policy(founding.genesis), theirs, ours)


def test_receipts(founding: Founding) -> None:
    """Form, signatures and proof: what the verifier finds proven, under a policy that wants one log line."""
    leaves = [b"entry-%d" % index for index in range(SIZE)]
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(leaves))
    hashes = tuple(merkle.inclusion_proof(INDEX, SIZE, tree.read))
    note = note_of(founding, tree.root_at(SIZE))
    made = bytes(ProofFile(index=INDEX, hashes=hashes, note=note, extra=leaves[INDEX]))
    policy = trust_policy(founding.genesis).replace(b"quorum states", b"quorum none")

    def theirs(data: bytes) -> Any:
        shown = fv.receipt(data, [fv.parse_policy(policy)], None)
        return shown["index"], shown["entry"], shown["size"], shown["root"]

    def ours(data: bytes) -> Any:
        shown = verify_receipt(data, follow(policy, []))
        return (shown.index, shown.leaf, shown.size, shown.root) if shown.proven else None

    agree(made, theirs, ours)
