"""Signed statements and receipts (RFC 9052, RFC 9942 drafts as in FORMATS)."""

from collections.abc import Iterator

from node.log import cbor, cose, merkle
from node.log.conformance.cases import Case, Json, Judge, expect, tree_of, unhex
from node.log.errors import (
    MalformedInput,
)
from node.signing.keys import Role, SigningKey
from node.signing.verify import verify_ed25519


def cose_cases(data: Json) -> Iterator[Case]:
    for name, variant in data.get("variants", {}).items():
        yield Case(name=f"{name} statement", judge=_statement_judge(variant))
        yield Case(name=f"{name} receipt", judge=_receipt_judge(variant))
        if "consistency" in variant:
            yield Case(
                name=f"{name} consistency receipt", judge=_consistency_receipt_judge(variant)
            )
        if "transparent_statement_hex" in variant:
            yield Case(name=f"{name} transparent statement", judge=_transparent_judge(variant))
        for case in data.get(f"reject_for_{name}_statement", []):
            yield Case(
                name=f"{name} refuse: {case.get('why', '')}",
                judge=_receipt_refusal_judge(variant, case["receipt_hex"]),
            )
    if "accept_surprise" in data:
        case, variant = data["accept_surprise"], data["variants"]["EdDSA"]
        yield Case(
            name=f"accept: {case.get('why', '')}",
            judge=lambda: expect(
                receipt_holds(variant, case["receipt_hex"]), wanted=True, what="verified"
            ),
        )
    if "ietf_sample_inclusion_receipt_hex" in data:
        yield Case(
            name="IETF sample",
            judge=_ietf_judge(bytes.fromhex(data["ietf_sample_inclusion_receipt_hex"])),
        )


def _statement_judge(variant: Json) -> Judge:
    def judge() -> None:
        entry = bytes.fromhex(variant["signed_statement_hex"])
        statement = cose.parse_statement(entry)
        expect(statement.header.alg, variant["alg"], "alg")
        expect(statement.protected.hex(), variant["protected_hex"], "protected")
        expect(cose.encode_header(statement.header), statement.protected, "header written again")
        message = statement.to_be_signed()
        expect(message.hex(), variant["sig_structure_hex"], "Sig_structure")
        key = SigningKey.from_seed(Role.AUTHOR, bytes.fromhex(variant["issuer_seed_hex"]))
        expect(key.public.hex(), variant["issuer_public_key_hex"], "issuer key")
        expect(statement.header.kid, key.kid, "kid")
        good = verify_ed25519(key.public, message, statement.signature)
        expect(good, wanted=True, what="verified")
        again = cose.encode_statement(statement.protected, statement.payload, key.sign(message))
        expect(again, entry, "signed again")
        expect(merkle.leaf_hash(entry).hex(), variant["leaf_hash_of_statement"], "leaf hash")

    return judge


def receipt_holds(variant: Json, receipt_hex: str) -> bool:
    receipt = cose.parse_inclusion_receipt(bytes.fromhex(receipt_hex))
    public = bytes.fromhex(variant["log_public_key_hex"])
    return receipt.holds(bytes.fromhex(variant["signed_statement_hex"]), public, verify_ed25519)


def _receipt_judge(variant: Json) -> Judge:
    def judge() -> None:
        tree = tree_of(unhex(variant["entries_hex"]))
        size, index = variant["tree_size"], variant["leaf_index"]
        expect(tree.root_at(size).hex(), variant["root_hex"], "root")
        path = merkle.inclusion_proof(index, size, tree.read)
        made = cbor.encode([size, index, path])
        expect(made.hex(), variant["inclusion_proof_hex"], "inclusion proof")
        expect(receipt_holds(variant, variant["receipt_hex"]), wanted=True, what="verified")
        receipt = cose.parse_inclusion_receipt(bytes.fromhex(variant["receipt_hex"]))
        key = SigningKey.from_seed(Role.LOG, bytes.fromhex(variant["log_seed_hex"]))
        signature = key.sign(cose.sig_structure(receipt.protected, tree.root_at(size)))
        again = cose.encode_inclusion_receipt(receipt.protected, size, index, path, signature)
        expect(again.hex(), variant["receipt_hex"], "made again")

    return judge


def _consistency_receipt_judge(variant: Json) -> Judge:
    def judge() -> None:
        case = variant["consistency"]
        old, new = case["size1"], case["size2"]
        tree = tree_of(unhex(variant["entries_hex"]))
        expect(tree.root_at(old).hex(), case["root1_hex"], "older root")
        path = merkle.consistency_proof(old, new, tree.read)
        expect(cbor.encode([old, new, path]).hex(), case["proof_hex"], "consistency proof")
        receipt = cose.parse_consistency_receipt(bytes.fromhex(case["receipt_hex"]))
        public = bytes.fromhex(variant["log_public_key_hex"])
        good = receipt.holds(tree.root_at(old), public, verify_ed25519)
        expect(good, wanted=True, what="verified")
        again = cose.encode_consistency_receipt(
            receipt.protected, old, new, path, tree.root_at(new), receipt.signature
        )
        if receipt.new_root is not None:
            expect(again.hex(), case["receipt_hex"], "made again")

    return judge


def _transparent_judge(variant: Json) -> Judge:
    def judge() -> None:
        data = bytes.fromhex(variant["transparent_statement_hex"])
        entry, receipts = cose.parse_transparent(data)
        expect(entry.hex(), variant["signed_statement_hex"], "statement inside")
        for receipt in receipts:
            expect(receipt_holds(variant, receipt.hex()), wanted=True, what="receipt inside")
        expect(cose.encode_transparent(entry, receipts), data, "made again")

    return judge


def _receipt_refusal_judge(variant: Json, receipt_hex: str) -> Judge:
    def judge() -> None:
        try:
            good = receipt_holds(variant, receipt_hex)
        except MalformedInput:
            return
        expect(good, wanted=False, what="verified")

    return judge


def _ietf_judge(data: bytes) -> Judge:
    def judge() -> None:
        receipt = cose.parse_inclusion_receipt(data)
        seen = receipt.size, receipt.index, len(receipt.path), receipt.alg, receipt.kid
        expect(seen, (5, 3, 3, -7, b"test-key-1"), "fields")

    return judge
