"""What a witness answers, and proof files (C2SP tlog-witness, tlog-proof)."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256

from node.log import note, proof, witness
from node.log.conformance.cases import Case, Failed, Json, Judge, expect, octets, refused
from node.log.conformance.cosignatures import cosign_line
from node.log.conformance.notes import open_text
from node.log.cosignature import (
    open_checkpoint,
)
from node.log.errors import (
    MalformedInput,
    Untrusted,
)
from node.signing.keys import Role, SigningKey
from node.signing.verify import verify_ed25519


def witness_cases(data: Json) -> Iterator[Case]:
    if "witness" in data:
        name, seed = data["witness"]["name"], bytes.fromhex(data["witness"]["seed_hex"])
        log_key = note.parse_vkey(data["log_vkey"])
    else:  # the upstream run, which names raw keys
        name, seed = "example.com/witness", bytes.fromhex(data["witness_seed_hex"])
        public = bytes.fromhex(data["log_public_key_hex"])
        log_key = note.verifier_key(data["origin"], note.KeyType.ED25519, public)
    held: dict[str, witness.Held] = {}
    if "origin_hash_for_monitoring_path" in data:
        wanted = data["origin_hash_for_monitoring_path"]
        yield Case(
            name="monitoring path",
            judge=lambda: expect(
                sha256(data["origin"].encode()).hexdigest(), wanted, "origin hash"
            ),
        )
    for number, step in enumerate(data["steps"]):
        yield Case(
            name=f"step {number}: {step.get('why', step.get('response_hint', ''))}",
            judge=_step_judge(step, held, {data["origin"]: [log_key]}, name, seed),
        )


def _step_judge(
    step: Json,
    held: dict[str, witness.Held],
    logs: dict[str, list[note.VerifierKey]],
    name: str,
    seed: bytes,
) -> Judge:
    def judge() -> None:
        body = octets(step["request"])
        answer = witness.decide(body, logs=logs, held=held, verify=verify_ed25519)
        if answer.cosign is not None:
            held[answer.cosign.origin] = witness.Held(
                size=answer.cosign.size, root=answer.cosign.root
            )
            text = body.partition(b"\n\n")[2].rpartition(b"\n\n")[0] + b"\n"
            line = cosign_line(name, seed, text, 1_790_000_000)
            public = SigningKey.from_seed(Role.COSIGNER, seed).public
            vkey = str(note.verifier_key(name, note.KeyType.COSIGNATURE, public))
            expect(open_text(f"{text.decode()}\n{line}", [vkey]), [vkey], "own line")
        hint = step.get("response_hint", "")
        wanted = 404 if "unknown log" in hint else step["status"]  # older code said 403
        expect(answer.status, wanted, answer.body.decode())
        if "size_after" in step:
            expect(answer.cosign and answer.cosign.size, step["size_after"], "size")
        if "content_type" in step:
            expect(answer.content_type, step["content_type"], "content type")
        stated = step.get("response_body")
        if hint.startswith("== "):
            stated = json.loads(hint.removeprefix("== "))
        if stated is not None:
            expect(answer.body.decode(), stated, "body")

    return judge


def proof_cases(data: Json) -> Iterator[Case]:
    keys = [note.parse_vkey(data["log_vkey"])]
    for number, case in enumerate(data.get("accept", [])):
        yield Case(name=f"accept {number}", judge=_proof_file_judge(case, keys))
    for case in data.get("reject_parse", []):
        yield Case(
            name=f"refuse to parse: {case.get('why', '')}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                MalformedInput, lambda: proof.parse_proof(octets(c["proof"]))
            ),
        )
    for case in data.get("reject_verify", []):
        yield Case(
            name=f"refuse to verify: {case.get('why', '')}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                (Failed, MalformedInput, Untrusted), _proof_file_judge(c, keys)
            ),
        )


def _proof_file_judge(case: Json, keys: Sequence[note.VerifierKey]) -> Judge:
    def judge() -> None:
        data = octets(case["proof"])
        file = proof.parse_proof(data)
        expect(bytes(file), data, "written again")
        opened = open_checkpoint(file.note, keys, verify_ed25519)
        expect(opened.checkpoint.origin, keys[0].name, "origin")  # the key is known for this one
        root = file.root_of(bytes.fromhex(case["entry_hex"]))
        expect(root, opened.checkpoint.root, "root")
        if "extra_hex" in case:
            expect(file.extra, bytes.fromhex(case["extra_hex"]), "extra")

    return judge
