"""The outsider's verifier against the published cases: it shares no code with the rooms that write these formats."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import foedus_evidence as fe
import foedus_verify as fv
from node.log import merkle
from tests.shared import shared_path

FOLDER = "vectors/transparency"
ORIGIN = "ledger.treaty.example/main/1"


def cases(name: str) -> Any:
    return json.loads((shared_path(FOLDER) / name).read_bytes())


def holds(check: Any, *arguments: Any) -> bool:
    """True if it returns; False for its two refusals. Anything else is a fault."""
    try:
        check(*arguments)
    except (fv.NotProven, *fv.NO_FORM):
        return False
    return True


def believed(policy: str) -> list[fv.Policy]:
    return [fv.parse_policy(policy.encode())]


def case_of(said: dict[str, Any], trust: list[fv.Policy]) -> fe.Case:
    return fe.Case(said, {"origin": ORIGIN}, bytes(32), trust)


def unhex(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def test_inclusion_and_consistency_proofs() -> None:
    data = cases("merkle.json")["generated"]
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(b"entry-%d" % index for index in range(70_000)))
    for case in data["inclusion"]:
        leaf = fv.digest(fv.LEAF, b"entry-%d" % case["index"])
        assert _inclusion(leaf, case["index"], case["size"], case["proof"]) == tree.root_at(
            case["size"]
        )
    for case in data["inclusion_reject"]:
        found = _inclusion(bytes.fromhex(case["leaf"]), case["index"], case["size"], case["proof"])
        assert found != bytes.fromhex(case["root"]), case["why"]
    for case in data["consistency"]:
        sizes = case["size1"], case["size2"]
        pair = tree.root_at(sizes[0]), tree.root_at(sizes[1])
        assert _consistent(*sizes, *pair, unhex(case["proof"]))
    for case in data["consistency_reject"]:
        pair = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])
        sizes = case["size1"], case["size2"]
        assert not _consistent(*sizes, *pair, unhex(case["proof"])), case["why"]


def _consistent(old: int, new: int, first: bytes, second: bytes, proof: list[bytes]) -> bool:
    """Of no entries the verifier is never asked: that is the caller's own case."""
    if old == 0:
        return not proof and first == fv.root_of([]) and len(second) == 32
    try:
        return fe.extended(old, new, proof, first) == (first, second)
    except ValueError:
        return False


def _inclusion(leaf: bytes, index: int, size: int, proof: list[str]) -> bytes:
    try:
        return fv.included(leaf, index, size, unhex(proof))
    except ValueError:
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
        found = fv.included(_b64(case["leafHash"]), case["leafIdx"], case["treeSize"], proof)
    except ValueError:
        return False
    return found == _b64(case["root"])


def _upstream_consistency(case: dict[str, Any]) -> bool:
    proof = [_b64(part) for part in case["proof"] or []]
    roots = [_b64(case["root1"]), _b64(case["root2"])]
    return _consistent(case["size1"], case["size2"], roots[0], roots[1], proof)


def test_roots() -> None:
    for size, root in cases("merkle.json")["generated"]["roots"].items():
        leaves = [fv.digest(fv.LEAF, b"entry-%d" % index) for index in range(int(size))]
        assert fv.root_of(leaves).hex() == root, size


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
            if not fv.signers(case["note"].encode(), keys):
                raise fv.NotProven("no known key")

        assert holds(opened) is wanted[case["expect"]], case["name"]


def test_checkpoints() -> None:
    data = cases("checkpoints.json")
    for case in data["accept"]:
        made = fv.parse_checkpoint(case["text"].encode())
        assert made == (case["origin"], case["size"], bytes.fromhex(case["root_hex"]))
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
                fv.signers(case["note"].encode(), keys)
    assert judged >= 3


def test_policies() -> None:
    data = cases("policies.json")
    for case in data["accept"]:
        policy = fv.parse_policy(case["policy"].encode())
        for names, wanted in case["satisfied"]:
            assert policy.holds(names) is wanted, (case["name"], names)
    for case in data["reject"]:
        assert not holds(fv.parse_policy, case["policy"].encode()), case["why"]


def test_certificates_and_who_signed_two_roots() -> None:
    data = cases("finality.json")
    trust = believed(data["policy"])
    for case in data["cases"]:
        final = holds(fv.certificate, case["note"].encode(), trust)
        assert final is (case["expect"] == "final"), case["why"]
    pair = data["equivocation"]
    same = {
        "accused": [],
        "first": pair["same_size"]["certificate_a"],
        "second": pair["same_size"]["certificate_b"],
    }
    assert fe.two_roots(case_of(same, trust)) == pair["same_size"]["guilty"]
    hashes = merkle.MemoryHashes()
    hashes.append(merkle.leaf_hashes(b"entry-%d" % index for index in range(256)))
    case = pair["different_size"]
    other = {
        "accused": [],
        "first": case["certificate_b"],
        "second": case["certificate_a"],
        "prefix_root": case["root_of_first_250_entries_of_a"],
        "prefix_proof": [p.hex() for p in merkle.consistency_proof(250, 256, hashes.read)],
    }
    assert fe.two_roots(case_of(other, trust)) == case["guilty"]
    text, _ = fv.parse_note(other["first"].encode())
    other["prefix_root"] = fv.parse_checkpoint(text)[2].hex()
    with pytest.raises(fv.NotProven):  # no proof leads there: else anybody could be accused
        fe.two_roots(case_of(other, trust))


def test_receipts() -> None:
    data = cases("tlog_proofs.json")
    trust = believed(f"log {data['log_vkey']}\nquorum none\n")
    for case in data["accept"]:
        entry = bytes.fromhex(case["entry_hex"])
        assert fv.receipt(case["proof"].encode(), trust, entry)
    for case in data["reject_parse"]:
        assert not holds(fv.receipt, case["proof"].encode(), trust, b"entry-0"), case["why"]
    for case in data["reject_verify"]:
        entry = bytes.fromhex(case["entry_hex"])
        assert not holds(fv.receipt, case["proof"].encode(), trust, entry), case["why"]


def test_edge_signatures() -> None:
    for case in cases("ed25519_edges.json")["cases"]:
        key, message, signature = unhex([case["public_key"], case["message"], case["signature"]])
        assert fv.signed_by(key, message, signature) is case["predicates"]["strict"], case["why"]


def test_it_stands_in_a_file_of_its_own() -> None:
    assert Path(fv.__file__).parent == Path(__file__).resolve().parents[2]
