"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint)."""

from collections.abc import Iterator, Sequence

from node.log import note
from node.log.checkpoint import parse_checkpoint
from node.log.conformance.cases import Case, Json, Judge, expect, octets, refused
from node.log.cosignature import (
    line_check,
)
from node.log.errors import (
    AmbiguousKey,
    BadSignature,
    MalformedInput,
    MalformedNote,
    NoKnownKey,
)
from node.signing.keys import Role, SigningKey
from node.signing.verify import verify_ed25519, verify_mldsa44

NOTE_ERRORS = {
    "malformed": MalformedNote,
    "bad_signature": BadSignature,
    "no_known_key": NoKnownKey,
    "ambiguous_key": AmbiguousKey,
}


def open_text(text: str, vkeys: Sequence[str]) -> list[str]:
    keys = [note.parse_vkey(vkey) for vkey in vkeys]
    check = line_check(verify_ed25519, verify_mldsa44)
    plain = note.parse_note(octets(text), lines_max=note.PLAIN_LINES_MAX)
    return [str(key) for key in note.open_note(plain, keys, check)]


def note_cases(data: Json) -> Iterator[Case]:
    if "skey_to_sign" in data:
        yield Case(name="sign", judge=_sign_judge(data["skey_to_sign"]))
    for case in data.get("vkeys_accept", []):
        yield Case(name=f"vkey {case['vkey'][:40]}", judge=_vkey_judge(case))
    for case in data.get("vkeys_reject", []):
        yield Case(
            name=f"refuse vkey: {case.get('why', '')}",
            judge=lambda c=case: refused(MalformedInput, lambda: note.parse_vkey(c["vkey"])),  # type: ignore[misc]
        )
    for case in data.get("cases", []):
        yield Case(name=case.get("name", "note"), judge=_note_judge(case))


def _sign_judge(case: Json) -> Judge:
    def judge() -> None:
        name, seed = note.parse_private_key(case["skey"])
        expect(seed.hex(), case["seed_hex"], "seed")
        key = SigningKey.from_seed(Role.LOG, seed)
        vkey = note.verifier_key(name, note.KeyType.ED25519, key.public)
        text = case["text"].encode()
        line = note.signature_line(vkey, key.sign(text))
        expect(bytes(note.Note(text=text, lines=(line,))), case["expect_note"].encode(), "note")

    return judge


def _vkey_judge(case: Json) -> Judge:
    def judge() -> None:
        key = note.parse_vkey(case["vkey"])
        expect((int(key.key_type), str(key)), (case["type"], case["vkey"]), "key")

    return judge


def _note_judge(case: Json) -> Judge:
    def judge() -> None:
        if case["expect"] != "ok":
            refused(NOTE_ERRORS[case["expect"]], lambda: open_text(case["note"], case["vkeys"]))
            return
        expect(sorted(open_text(case["note"], case["vkeys"])), sorted(case["verified"]), "signers")
        data = case["note"].encode()
        expect(bytes(note.parse_note(data)), data, "written again")

    return judge


def checkpoint_cases(data: Json) -> Iterator[Case]:
    for number, case in enumerate(data.get("accept", [])):
        yield Case(name=f"accept {number}", judge=_checkpoint_judge(case))
    for case in data.get("reject", []):
        yield Case(
            name=f"refuse: {case.get('why', '')}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                MalformedInput, lambda: parse_checkpoint(octets(c["text"]))
            ),
        )


def _checkpoint_judge(case: Json) -> Judge:
    def judge() -> None:
        seen = parse_checkpoint(case["text"].encode())
        expect(
            (seen.origin, seen.size, seen.root.hex(), list(seen.extensions)),
            (case["origin"], case["size"], case["root_hex"], case["extensions"]),
            "fields",
        )
        expect(seen.text(), case["text"].encode(), "written again")

    return judge
