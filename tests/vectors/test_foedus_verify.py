"""The outsider's verifier against the published cases: it shares no code with the rooms that write these formats."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import foedus_verify as fv
from node.log import merkle
from tests.shared import shared_path

FOLDER = "vectors/transparency"


def cases(name: str) -> Any:
    return json.loads((shared_path(FOLDER) / name).read_bytes())


def holds(check: Any, *arguments: Any) -> bool:
    """True if it returns; False for its two refusals. Anything else is a fault."""
    try:
        check(*arguments)
    except (fv.Malformed, fv.NotProven, ValueError):
        return False
    return True


def unhex(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def test_inclusion_and_consistency_proofs() -> None:
    data = cases("merkle.json")["generated"]
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(b"entry-%d" % index for index in range(70_000)))
    for case in data["inclusion"]:
        leaf = fv.leaf_hash(b"entry-%d" % case["index"])
        assert _inclusion(leaf, case["index"], case["size"], case["proof"]) == tree.root_at(
            case["size"]
        )
    for case in data["inclusion_reject"]:
        found = _inclusion(bytes.fromhex(case["leaf"]), case["index"], case["size"], case["proof"])
        assert found != bytes.fromhex(case["root"]), case["why"]
    for case in data["consistency"]:
        sizes = case["size1"], case["size2"]
        pair = tree.root_at(sizes[0]), tree.root_at(sizes[1])
        assert fv.consistent(*sizes, *pair, unhex(case["proof"]))
    for case in data["consistency_reject"]:
        pair = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])
        sizes = case["size1"], case["size2"]
        assert not fv.consistent(*sizes, *pair, unhex(case["proof"])), case["why"]


def _inclusion(leaf: bytes, index: int, size: int, proof: list[str]) -> bytes:
    try:
        return fv.fold_inclusion(leaf, index, size, unhex(proof))
    except fv.Malformed:
        return b""


def test_other_projects_proofs() -> None:
    data = cases("upstream/merkle_inclusion.json"), cases("upstream/merkle_consistency.json")
    for case in data[0]["cases"]:
        assert _upstream_inclusion(case) is not case["wantErr"], case
    for case in data[1]["cases"]:
        assert _upstream_consistency(case) is not case["wantErr"], case
    assert len(data[0]["cases"]) + len(data[1]["cases"]) > 100


def _b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _upstream_inclusion(case: dict[str, Any]) -> bool:
    proof = [_b64(part) for part in case["proof"] or []]
    if any(len(part) != 32 for part in [*proof, _b64(case["leafHash"]), _b64(case["root"])]):
        return False
    try:
        found = fv.fold_inclusion(_b64(case["leafHash"]), case["leafIdx"], case["treeSize"], proof)
    except fv.Malformed:
        return False
    return found == _b64(case["root"])


def _upstream_consistency(case: dict[str, Any]) -> bool:
    proof = [_b64(part) for part in case["proof"] or []]
    roots = [_b64(case["root1"]), _b64(case["root2"])]
    return fv.consistent(case["size1"], case["size2"], roots[0], roots[1], proof)


def test_roots() -> None:
    for size, root in cases("merkle.json")["generated"]["roots"].items():
        peaks: list[tuple[int, bytes]] = []
        for index in range(int(size)):
            fv.grow(peaks, fv.leaf_hash(b"entry-%d" % index))
        assert fv.root_of([peak for _, peak in peaks]).hex() == root, size


def test_tile_paths() -> None:
    for case in cases("tiles.json")["paths"]:
        level = "entries" if case["level"] in (None, "entries", -1) else str(case["level"])
        assert fv.tile_path(level, case["index"], case["width"]) == case["path"]


def test_notes() -> None:
    data = cases("notes.json")
    for case in data["vkeys_reject"]:
        assert not holds(fv.parse_key, case["vkey"]), case["why"]
    wanted = {"ok": True, "malformed": False, "bad_signature": False, "no_known_key": False}
    for case in data["cases"]:
        keys = [fv.parse_key(vkey) for vkey in case["vkeys"]]

        def opened(case: Any = case, keys: Any = keys) -> None:
            if not fv.signers(fv.parse_note(case["note"].encode()), keys):
                raise fv.NotProven("no known key")

        assert holds(opened) is wanted[case["expect"]], case["name"]


def test_checkpoints() -> None:
    data = cases("checkpoints.json")
    for case in data["accept"]:
        made = fv.parse_checkpoint(case["text"].encode())
        assert (made.origin, made.size, made.root.hex()) == (
            case["origin"],
            case["size"],
            case["root_hex"],
        )
    for case in data["reject"]:
        assert not holds(fv.parse_checkpoint, case["text"].encode()), case["why"]


def test_cosignatures() -> None:
    """The Ed25519 ones: ML-DSA lines are unknown lines here."""
    judged = 0
    for case in cases("cosignatures.json")["reject"]:
        keys = [fv.parse_key(vkey) for vkey in case["vkeys"]]
        if any(key.kind == fv.COSIGNER for key in keys):
            judged += 1
            with pytest.raises(fv.NotProven):
                fv.signers(fv.parse_note(case["note"].encode()), keys)
    assert judged >= 3


def test_policies() -> None:
    data = cases("policies.json")
    for case in data["accept"]:
        policy = fv.parse_policy(case["policy"].encode())
        for names, wanted in case["satisfied"]:
            assert policy.holds(set(names)) is wanted, (case["name"], names)
    for case in data["reject"]:
        assert not holds(fv.parse_policy, case["policy"].encode()), case["why"]


def test_certificates_and_who_signed_two_roots() -> None:
    data = cases("finality.json")
    policy = fv.parse_policy(data["policy"].encode())
    for case in data["cases"]:
        final = holds(fv.check_certificate, case["note"].encode(), policy)
        assert final is (case["expect"] == "final"), case["why"]
    pair = data["equivocation"]
    origin = "ledger.treaty.example/main/1"
    same = {
        "first": pair["same_size"]["certificate_a"],
        "second": pair["same_size"]["certificate_b"],
    }
    assert fv.two_roots(origin, policy.witnesses, same) == pair["same_size"]["guilty"]
    hashes = merkle.MemoryHashes()
    hashes.append(merkle.leaf_hashes(b"entry-%d" % index for index in range(256)))
    case = pair["different_size"]
    other = {
        "first": case["certificate_b"],
        "second": case["certificate_a"],
        "prefix_root": case["root_of_first_250_entries_of_a"],
        "prefix_proof": [p.hex() for p in merkle.consistency_proof(250, 256, hashes.read)],
    }
    assert fv.two_roots(origin, policy.witnesses, other) == case["guilty"]
    other["prefix_root"] = fv.parse_checkpoint(
        fv.parse_note(other["first"].encode()).text
    ).root.hex()
    with pytest.raises(fv.NotProven):  # no proof leads there: else anybody could be accused
        fv.two_roots(origin, policy.witnesses, other)


def test_receipts() -> None:
    data = cases("tlog_proofs.json")
    policy = fv.parse_policy(f"log {data['log_vkey']}\nquorum none\n".encode())
    for case in data["accept"]:
        entry = bytes.fromhex(case["entry_hex"])
        assert fv.check_receipt(case["proof"].encode(), policy, entry)
    for case in data["reject_parse"]:
        assert not holds(fv.check_receipt, case["proof"].encode(), policy, b"entry-0"), case["why"]
    for case in data["reject_verify"]:
        entry = bytes.fromhex(case["entry_hex"])
        assert not holds(fv.check_receipt, case["proof"].encode(), policy, entry), case["why"]


def test_edge_signatures() -> None:
    for case in cases("ed25519_edges.json")["cases"]:
        key, message, signature = unhex([case["public_key"], case["message"], case["signature"]])
        assert fv.signed_by(key, message, signature) is case["predicates"]["strict"], case["why"]


def test_it_stands_in_a_file_of_its_own() -> None:
    assert Path(fv.__file__).parent == Path(__file__).resolve().parents[2]
