"""Cosignatures, what makes a checkpoint final, and trust policies (C2SP tlog-cosignature, tlog-policy)."""

from collections.abc import Iterator

from node.log import merkle, note
from node.log.checkpoint import parse_checkpoint
from node.log.conformance.cases import (
    Case,
    Json,
    Judge,
    expect,
    generated_entry,
    octets,
    refused,
    tree_of,
    unbase64,
)
from node.log.conformance.notes import NOTE_ERRORS, open_text
from node.log.cosignature import (
    cosigned_message,
    cosigned_subtree_message,
    parse_cosignature,
)
from node.log.equivocation import PrefixProof, find_conflict
from node.log.errors import (
    MalformedInput,
    MalformedKey,
)
from node.log.policy import evaluate, parse_policy
from node.signing.keys import MldsaKey, Role, SigningKey
from node.signing.verify import verify_ed25519, verify_mldsa44


def cosignature_cases(data: Json) -> Iterator[Case]:
    for key, judge in (
        ("known_answer_sigsum", _sigsum_judge),
        ("spec_example_message", _spec_example_judge),
        ("timestamp_only", _timestamp_judge),
    ):
        if key in data:
            yield Case(name=key, judge=judge(data[key]))
    if "own" in data:
        yield from _own_cosignature_cases(data["own"])
    for case in data.get("reject", []):
        yield Case(
            name=f"refuse: {case.get('why', '')}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                # a key that cannot sign checkpoints is refused before its line is
                (NOTE_ERRORS[c["expect"]], MalformedKey),
                lambda: open_text(c["note"], c["vkeys"]),
            ),
        )
    for case in data.get("accept_surprises", []):
        yield Case(
            name=f"accept: {case.get('why', '')}",
            judge=lambda c=case: expect(open_text(c["note"], c["vkeys"]), c["vkeys"], "signers"),  # type: ignore[misc]
        )


def line_of(text: str) -> note.SignatureLine:
    return note.parse_signature_line(text.removesuffix("\n"))


def cosign_line(name: str, seed: bytes, text: bytes, timestamp: int) -> str:
    key = SigningKey.from_seed(Role.COSIGNER, seed)
    vkey = note.verifier_key(name, note.KeyType.COSIGNATURE, key.public)
    signature = key.sign(cosigned_message(timestamp, text))
    return str(note.signature_line(vkey, timestamp.to_bytes(8, "big") + signature))


def _sigsum_judge(case: Json) -> Judge:
    def judge() -> None:
        text, stamp = case["checkpoint_text"].encode(), case["timestamp"]
        expect(cosigned_message(stamp, text), case["signed_message"].encode(), "message")
        line = line_of(case["line"])
        made = cosign_line(line.name, bytes.fromhex(case["seed_hex"]), text, stamp)
        expect(made, case["line"], "line")
        data = unbase64(case["log_signature_base64"])
        key = SigningKey.from_seed(Role.LOG, bytes.fromhex(case["seed_hex"]))
        log_text = case["log_checkpoint_text"].encode()
        origin = parse_checkpoint(log_text).origin
        vkey = note.verifier_key(origin, note.KeyType.ED25519, key.public)
        expect(vkey.key_id + key.sign(log_text), data, "log line")

    return judge


def _spec_example_judge(case: Json) -> Judge:
    def judge() -> None:
        line = line_of(case["line"])
        cosignature = parse_cosignature(line.signature, note.KeyType.COSIGNATURE)
        expect(cosignature.timestamp, case["timestamp"], "timestamp")
        front = b"cosignature/v1\ntime %d\n" % cosignature.timestamp
        text = case["text"].encode().removeprefix(front)
        expect(cosigned_message(cosignature.timestamp, text), case["text"].encode(), "message")
        expect(parse_checkpoint(text).text(), text, "checkpoint")

    return judge


def _timestamp_judge(case: Json) -> Judge:
    def judge() -> None:
        data = unbase64(case["base64"])[note.KEY_ID_BYTES :]
        cosignature = parse_cosignature(data, note.KeyType.COSIGNATURE)
        expect(cosignature.timestamp, case["timestamp"], "timestamp")

    return judge


def _own_cosignature_cases(own: Json) -> Iterator[Case]:
    text = own["checkpoint_text"].encode()
    if "log" in own:
        yield Case(name="own log line", judge=_log_line_judge(own["log"], text))
    for number, case in enumerate(own.get("ed25519", [])):
        yield Case(name=f"own {case['name']}", judge=_ed25519_line_judge(case, text))
        if number == 0 and "ed25519_signed_message_of_first" in own:
            wanted = own["ed25519_signed_message_of_first"].encode()
            stamp = case["timestamp"]
            yield Case(
                name="own signed message",
                judge=lambda s=stamp, w=wanted: expect(cosigned_message(s, text), w, "message"),  # type: ignore[misc]
            )
    if "mldsa44" in own:
        yield Case(name=f"own {own['mldsa44']['name']}", judge=_mldsa_judge(own["mldsa44"], text))
    if "full_note" in own:
        parts = [own["log"], *own.get("ed25519", []), own["mldsa44"]]
        vkeys = [part["vkey"] for part in parts]
        yield Case(
            name="own full note",
            judge=lambda: expect(
                sorted(open_text(own["full_note"], vkeys)), sorted(vkeys), "signers"
            ),
        )


def _log_line_judge(case: Json, text: bytes) -> Judge:
    def judge() -> None:
        key = SigningKey.from_seed(Role.LOG, bytes.fromhex(case["seed_hex"]))
        vkey = note.verifier_key(case["name"], note.KeyType.ED25519, key.public)
        expect(str(vkey), case["vkey"], "vkey")
        expect(str(note.signature_line(vkey, key.sign(text))), case["line"], "line")

    return judge


def _ed25519_line_judge(case: Json, text: bytes) -> Judge:
    def judge() -> None:
        key = SigningKey.from_seed(Role.COSIGNER, bytes.fromhex(case["seed_hex"]))
        vkey = note.verifier_key(case["name"], note.KeyType.COSIGNATURE, key.public)
        expect(str(vkey), case["vkey"], "vkey")
        made = cosign_line(case["name"], key.seed, text, case["timestamp"])
        expect(made, case["line"], "line")

    return judge


def _mldsa_judge(case: Json, text: bytes) -> Judge:
    def judge() -> None:
        key = MldsaKey.from_seed(bytes.fromhex(case["seed_hex"]))
        vkey = note.verifier_key(case["name"], note.KeyType.MLDSA_COSIGNATURE, key.public)
        expect(str(vkey), case["vkey"], "vkey")
        message = cosigned_subtree_message(case["timestamp"], case["name"], parse_checkpoint(text))
        expect(message.hex(), case["signed_message_hex"], "message")
        whole = text.decode() + "\n" + case["line"]
        expect(open_text(whole, [case["vkey"]]), [case["vkey"]], "signers")
        stamped = case["timestamp"].to_bytes(8, "big") + key.sign(message)
        again = text.decode() + "\n" + str(note.signature_line(vkey, stamped))
        expect(open_text(again, [case["vkey"]]), [case["vkey"]], "signers of our own line")

    return judge


def finality_cases(data: Json) -> Iterator[Case]:
    for case in data.get("cases", []):
        yield Case(name=case.get("why", "finality"), judge=_finality_judge(data["policy"], case))
    for name, case in data.get("equivocation", {}).items():
        yield Case(name=f"equivocation {name}", judge=_equivocation_judge(data["policy"], case))


def _finality_judge(policy_text: str, case: Json) -> Judge:
    def judge() -> None:
        policy = parse_policy(policy_text.encode())
        try:
            judged = evaluate(policy, case["note"].encode(), verify_ed25519, verify_mldsa44)
        except MalformedInput as err:
            expect("not_final", case["expect"], str(err))
            return
        expect("final" if judged.satisfied else "not_final", case["expect"], judged.why)

    return judge


def _equivocation_judge(policy_text: str, case: Json) -> Judge:
    def judge() -> None:
        policy = parse_policy(policy_text.encode())
        notes = case["certificate_a"].encode(), case["certificate_b"].encode()
        checkpoints = [parse_checkpoint(note.parse_note(item).text) for item in notes]
        small, large = sorted(checkpoint.size for checkpoint in checkpoints)
        prefix = None
        if small != large:
            tree = tree_of([generated_entry(index) for index in range(large)])
            path = merkle.consistency_proof(small, large, tree.read)
            prefix = PrefixProof(root=tree.root_at(small), proof=path)
            for key, root in case.items():
                if key.startswith("root_of_first_"):
                    expect(prefix.root.hex(), root, key)
        conflict = find_conflict(policy, *notes, verify_ed25519, prefix=prefix)
        guilty = [] if conflict is None else sorted(conflict.guilty)
        expect(guilty, sorted(case["guilty"]), "guilty")

    return judge


def policy_cases(data: Json) -> Iterator[Case]:
    for case in data.get("accept", []):
        yield Case(name=f"accept {case['name']}", judge=_policy_judge(case))
    for case in data.get("reject", []):
        yield Case(
            name=f"refuse: {case.get('why', '')}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                MalformedInput, lambda: parse_policy(octets(c["policy"]))
            ),
        )


def _policy_judge(case: Json) -> Judge:
    def judge() -> None:
        policy = parse_policy(case["policy"].encode())
        for names, wanted in case["satisfied"]:
            expect(policy.satisfied_by(names), wanted, f"satisfied by {names}")

    return judge
