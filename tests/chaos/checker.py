"""What the disks hold, read byte by byte. Nothing here is shared with the product: only hashlib, and RocksDB's own reader.

    log     u64 index                    -> leaf                  one sequence of bytes in all stores; the same root
    blocks  u32 round u16 author digest  -> block                 one digest for each (round, author), and one content

and of what was told: every root that any node showed for a size is the root of the first `size` leaves, every acknowledged
entry is a leaf (its name is the SHA-256 of the leaf), and no statement is a leaf twice. The nodes' decision logs name one outcome
for each leader slot, with a quorum of blocks behind each direct one, and the blocks named are on the disks.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import rocksdict

STATEMENT = 0xD2  # first byte of a signed statement; records begin otherwise
Shown = tuple[str, int, bytes]  # node, size, root
Named = tuple[int, int, str]  # round, member, digest in hex


class Wrong(Exception):
    """What no honest set of nodes may show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    leaves: list[bytes]
    blocks: dict[
        tuple[int, int], tuple[bytes, bytes]
    ]  # (round, author): digest, SHA-256 of the bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    leaves: int
    root: bytes
    blocks: int
    roots_checked: int
    acknowledged: int
    slots: int


def check(
    stores: Mapping[str, Path],
    acknowledged: Mapping[bytes, str],
    shown: Iterable[Shown],
    decisions: Mapping[str, Path],
) -> Verdict:
    """Raises Wrong. `stores`: by state, of nodes that are stopped; `acknowledged`: entry hash -> node that promised."""
    disks = {state: read_disk(state, path) for state, path in stores.items()}
    first = next(iter(disks))
    leaves = disks[first].leaves
    for state, disk in disks.items():
        same_leaves(first, leaves, state, disk.leaves)
    blocks = one_block_each(disks)
    named = {
        (*slot, block[0].hex()) for disk in disks.values() for slot, block in disk.blocks.items()
    }
    lines = {
        state: [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
        for state, path in decisions.items()
    }
    slots = one_outcome_each(lines, named, quorum=len(stores) - (len(stores) - 1) // 3)
    roots = prefix_roots(leaves)
    seen = set(shown)
    for state, size, root in sorted(seen):
        if size >= len(roots) or roots[size] != root:
            raise Wrong(f"{state} showed root {root.hex()} for size {size}: its log says otherwise")
    no_statement_twice(leaves)
    nothing_lost(leaves, acknowledged)
    return Verdict(
        leaves=len(leaves),
        root=roots[len(leaves)],
        blocks=blocks,
        roots_checked=len(seen),
        acknowledged=len(acknowledged),
        slots=slots,
    )


def read_disk(state: str, path: Path) -> Disk:
    options = rocksdict.Options(raw_mode=True)
    names = rocksdict.Rdict.list_cf(str(path))
    database = rocksdict.Rdict(
        str(path),
        options,
        column_families={name: rocksdict.Options(raw_mode=True) for name in names},
        access_type=rocksdict.AccessType.read_only(),
    )
    try:
        leaves: list[bytes] = []
        for key, leaf in _rows(database, "log"):
            if int.from_bytes(key, "big") != len(leaves):
                raise Wrong(f"{state}: leaf {len(leaves)} is missing, {key.hex()} comes next")
            leaves.append(leaf)
        blocks: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        for key, block in _rows(database, "blocks"):
            slot = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:6], "big")
            found = key[6:], sha256(block).digest()
            if blocks.setdefault(slot, found) != found:
                raise Wrong(f"{state} holds two blocks of round {slot[0]} by member {slot[1]}")
        return Disk(leaves=leaves, blocks=blocks)
    finally:
        database.close()


def _rows(database: Any, name: str) -> Iterator[tuple[bytes, bytes]]:
    yield from database.get_column_family(name).items()


def same_leaves(first: str, leaves: Sequence[bytes], second: str, others: Sequence[bytes]) -> None:
    for index, (one, other) in enumerate(zip(leaves, others, strict=False)):
        if one != other:
            raise Wrong(
                f"leaf {index} differs: {first} has {one.hex()[:80]}, {second} {other.hex()[:80]}"
            )
    if len(leaves) != len(others):
        raise Wrong(f"{first} has {len(leaves)} leaves, {second} {len(others)}")


def one_block_each(disks: Mapping[str, Disk]) -> int:
    """Over all stores. Returns how many slots hold a block."""
    found: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    for state, disk in disks.items():
        for slot, block in disk.blocks.items():
            if found.setdefault(slot, block) != block:
                raise Wrong(
                    f"member {slot[1]} has two blocks of round {slot[0]}, one of them at {state}"
                )
    return len(found)


def one_outcome_each(
    lines: Mapping[str, Sequence[Mapping[str, Any]]], blocks: Collection[Named], *, quorum: int
) -> int:
    """`lines`: the decision logs. How a slot was decided may differ between nodes, what was decided may not. Returns how many."""
    outcomes: dict[int, tuple[Any, ...]] = {}
    for state, log in lines.items():
        for line in log:
            slot = line["slot"]
            found = (line["leader"], line["decision"], line["block"], line["commit"])
            if outcomes.setdefault(slot, found) != found:
                raise Wrong(f"slot {slot}: {state} decided {found}, another {outcomes[slot]}")
            if line["decision"] == "commit" and (slot, line["member"], line["block"]) not in blocks:
                raise Wrong(f"slot {slot}: {state} committed a block that no disk holds")
            for round_, member, digest in line["deciders"]:
                if (round_, member, digest) not in blocks:
                    raise Wrong(f"slot {slot}: {state} names a decider that no disk holds")
            if line["how"] == "direct":
                above = slot + (2 if line["decision"] == "commit" else 1)
                authors = {member for round_, member, _ in line["deciders"] if round_ == above}
                if len(authors) < quorum:
                    raise Wrong(f"slot {slot}: {len(authors)} members of round {above} decided it")
    if sorted(outcomes) != list(range(1, len(outcomes) + 1)):
        raise Wrong("the decision logs leave out a slot")
    return len(outcomes)


def no_statement_twice(leaves: Iterable[bytes]) -> None:
    seen: set[bytes] = set()
    for index, leaf in enumerate(leaves):
        if leaf[0] == STATEMENT:
            name = sha256(leaf).digest()
            if name in seen:
                raise Wrong(f"leaf {index}: statement {name.hex()} is in the log a second time")
            seen.add(name)


def nothing_lost(leaves: Iterable[bytes], acknowledged: Mapping[bytes, str]) -> None:
    held = {sha256(leaf).digest() for leaf in leaves}
    lost = sorted(digest.hex() for digest in acknowledged if digest not in held)
    if lost:
        by = sorted({acknowledged[bytes.fromhex(name)] for name in lost})
        raise Wrong(f"{len(lost)} acknowledged entries are in no log, promised by {by}: {lost[:3]}")


def prefix_roots(leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962's tree hash of the first 0, 1, ... all leaves, by the stack of complete subtrees."""
    roots = [sha256(b"").digest()]
    complete: list[tuple[int, bytes]] = []  # (leaves below, hash), falling
    for leaf in leaves:
        below, node = 1, sha256(b"\0" + leaf).digest()
        while complete and complete[-1][0] == below:
            node = sha256(b"\1" + complete.pop()[1] + node).digest()
            below *= 2
        complete.append((below, node))
        root = complete[-1][1]
        for _, left in reversed(complete[:-1]):
            root = sha256(b"\1" + left + root).digest()
        roots.append(root)
    return roots
