"""Merkle trees: roots, inclusion and consistency proofs (RFC 6962 and RFC 9162), of our own and from upstream."""

from collections.abc import Callable, Iterator, Sequence

from node.log import merkle
from node.log.conformance.cases import (
    Case,
    Json,
    Judge,
    expect,
    generated_entry,
    tree_of,
    unbase64,
    unhex,
)


def merkle_cases(data: Json) -> Iterator[Case]:
    for part in ("ct_reference", "generated"):
        if part in data:
            yield from _tree_cases(part, data[part])


def _tree_cases(part: str, data: Json) -> Iterator[Case]:
    roots = {int(size): root for size, root in data.get("roots", {}).items()}
    roots |= dict(enumerate(data.get("roots_by_size", [])))
    if "entries_hex" in data:
        entries = unhex(data["entries_hex"])
    else:
        sizes = [case["size"] for case in data.get("inclusion", [])]
        sizes += [case["size2"] for case in data.get("consistency", [])]
        entries = [generated_entry(index) for index in range(max([*roots, *sizes, 1]))]
    tree = tree_of(entries)
    for index, digest in enumerate(data.get("leaf_hashes", [])):
        yield Case(
            name=f"{part} leaf {index}",
            judge=lambda i=index, d=digest: expect(tree.read(0, i).hex(), d, "leaf hash"),  # type: ignore[misc]
        )
    if "leaf_hash_of_entry_0" in data:
        wanted = data["leaf_hash_of_entry_0"]
        yield Case(
            name=f"{part} leaf 0", judge=lambda: expect(tree.read(0, 0).hex(), wanted, "leaf hash")
        )
    for size, root in roots.items():
        yield Case(name=f"{part} root {size}", judge=_root_judge(tree, entries, size, root))
    for case in data.get("inclusion", []):
        name = f"{part} inclusion {case['index']} of {case['size']}"
        yield Case(name=name, judge=_inclusion_judge(tree, case))
    for case in data.get("consistency", []):
        name = f"{part} consistency {case['size1']} to {case['size2']}"
        yield Case(name=name, judge=_consistency_judge(tree, case))
    for number, case in enumerate(data.get("inclusion_reject", [])):
        yield Case(
            name=f"{part} refuse inclusion {number}: {case.get('why', '')}",
            judge=_proof_judge(inclusion_holds, case, wanted=False),
        )
    for number, case in enumerate(data.get("consistency_reject", [])):
        yield Case(
            name=f"{part} refuse consistency {number}: {case.get('why', '')}",
            judge=_proof_judge(consistency_holds, case, wanted=False),
        )
    if "consistency_from_zero" in data:
        yield Case(name=f"{part} consistency from zero", judge=_from_zero_judge(tree))


def _root_judge(tree: merkle.MemoryHashes, entries: Sequence[bytes], size: int, root: str) -> Judge:
    def judge() -> None:
        expect(tree.root_at(size).hex(), root, "root from stored hashes")
        expect(merkle.root_of_entries(entries[:size]).hex(), root, "root from entries")

    return judge


def _inclusion_judge(tree: merkle.MemoryHashes, case: Json) -> Judge:
    def judge() -> None:
        index, size, path = case["index"], case["size"], unhex(case["proof"])
        expect(merkle.inclusion_proof(index, size, tree.read), path, "proof")
        good = merkle.verify_inclusion(tree.read(0, index), index, size, path, tree.root_at(size))
        expect(good, wanted=True, what="verified")

    return judge


def _consistency_judge(tree: merkle.MemoryHashes, case: Json) -> Judge:
    def judge() -> None:
        old, new, path = case["size1"], case["size2"], unhex(case["proof"])
        expect(merkle.consistency_proof(old, new, tree.read), path, "proof")
        good = merkle.verify_consistency(old, new, tree.root_at(old), tree.root_at(new), path)
        expect(good, wanted=True, what="verified")

    return judge


def inclusion_holds(case: Json) -> bool:
    leaf, root = bytes.fromhex(case["leaf"]), bytes.fromhex(case["root"])
    return merkle.verify_inclusion(leaf, case["index"], case["size"], unhex(case["proof"]), root)


def consistency_holds(case: Json) -> bool:
    roots = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])
    return merkle.verify_consistency(case["size1"], case["size2"], *roots, unhex(case["proof"]))


def _proof_judge(holds: Callable[[Json], bool], case: Json, *, wanted: bool) -> Judge:
    """Looks at the case when it is judged: one that lacks a field fails, and hides no other."""
    return lambda: expect(holds(case), wanted, "verified")


def _from_zero_judge(tree: merkle.MemoryHashes) -> Judge:
    def judge() -> None:
        root = tree.root_at(3)
        for old_root, path, wanted in (
            (merkle.EMPTY_ROOT, [], True),
            (merkle.EMPTY_ROOT, [root], False),
            (root, [], False),
        ):
            good = merkle.verify_consistency(0, 3, old_root, root, path)
            expect(good, wanted, f"from zero with {len(path)} hashes")

    return judge


def upstream_proof_cases(data: Json) -> Iterator[Case]:
    for case in data["cases"]:
        name = f"{case.get('file', '')} {case.get('desc', '')}".strip()
        yield Case(name=name, judge=_proof_judge(_upstream_holds, case, wanted=not case["wantErr"]))


def _upstream_holds(case: Json) -> bool:
    path = [unbase64(item) for item in case["proof"] or []]
    if "leafIdx" in case:
        leaf, root = unbase64(case["leafHash"]), unbase64(case["root"])
        return merkle.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], path, root)
    roots = unbase64(case["root1"]), unbase64(case["root2"])
    return merkle.verify_consistency(case["size1"], case["size2"], *roots, path)
