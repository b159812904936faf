"""Entry script: judge conformance files for the public formats, one JSON line a case.

    python -m node.log.conformance FILE...

A line is {"file", "case", "pass", "note"}. Exit status 1 if any case fails, 2 if a file cannot be read or is of no known
shape. Files are told apart by their fields, not by name, so that further files of the same shape are judged as well. A section
that nothing here reads is a failing case: silence would look like a pass. Imported by nobody (RULINGS R70): it is the one
place where this room meets node/signing, so it is one file, long as it is; the table of shapes is at its end.
"""

import base64
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from node.log import cbor, cose, merkle, note, proof, tiles, witness
from node.log.checkpoint import parse_checkpoint
from node.log.cosignature import (
    cosigned_message,
    cosigned_subtree_message,
    line_check,
    open_checkpoint,
    parse_cosignature,
)
from node.log.equivocation import PrefixProof, find_conflict
from node.log.errors import (
    AmbiguousKey,
    BadSignature,
    MalformedInput,
    MalformedNote,
    NoKnownKey,
    Untrusted,
)
from node.log.policy import evaluate, parse_policy
from node.signing.keys import MldsaKey, Role, SigningKey
from node.signing.verify import verify_ed25519, verify_mldsa44

Json = Any
Judge = Callable[[], None]


class Failed(Exception):
    """The case does not hold; the message says what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    judge: Judge  # raises if the case fails


def expect(seen: object, wanted: object, what: str) -> None:
    if seen != wanted:
        raise Failed(f"{what}: saw {seen!r}, wanted {wanted!r}"[:400])


def refused(
    errors: type[Exception] | tuple[type[Exception], ...], act: Callable[[], object]
) -> None:
    try:
        value = act()
    except errors:
        return
    raise Failed(f"accepted: {value!r}"[:400])


def unhex(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def unbase64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def generated_entry(index: int) -> bytes:
    return b"entry-%d" % index


def tree_of(entries: Sequence[bytes]) -> merkle.MemoryHashes:
    hashes = merkle.MemoryHashes()
    hashes.append(merkle.leaf_hashes(entries))
    return hashes


# --- tree ----------------------------------------------------------------------------------------------------------


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
            judge=_proof_judge(inclusion_holds(case), wanted=False),
        )
    for number, case in enumerate(data.get("consistency_reject", [])):
        yield Case(
            name=f"{part} refuse consistency {number}: {case.get('why', '')}",
            judge=_proof_judge(consistency_holds(case), wanted=False),
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


def _proof_judge(holds: bool, *, wanted: bool) -> Judge:  # noqa: FBT001 - what was seen
    return lambda: expect(holds, wanted, "verified")


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
        path = [unbase64(item) for item in case["proof"] or []]
        if "leafIdx" in case:
            leaf, root = unbase64(case["leafHash"]), unbase64(case["root"])
            holds = merkle.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], path, root)
        else:
            roots = unbase64(case["root1"]), unbase64(case["root2"])
            holds = merkle.verify_consistency(case["size1"], case["size2"], *roots, path)
        name = f"{case.get('file', '')} {case.get('desc', '')}".strip()
        yield Case(name=name, judge=_proof_judge(holds, wanted=not case["wantErr"]))


# --- tiles ---------------------------------------------------------------------------------------------------------


def tile_cases(data: Json) -> Iterator[Case]:
    for case in data.get("paths", []):
        yield Case(name=f"path {case['path']}", judge=_path_judge(case))
    for path in data.get("paths_reject", []):
        yield Case(
            name=f"refuse path {path!r}",
            judge=lambda p=path: refused(MalformedInput, lambda: tiles.parse_path(p)),  # type: ignore[misc]
        )
    for case in data.get("geometry", []):
        yield Case(name=f"geometry {case['size']}", judge=_geometry_judge(case))
    for key, part in data.items():
        if key.startswith("size_"):
            yield from _tree_files_cases(int(key.removeprefix("size_")), part)
    for case in data.get("bundle_accept", []):
        yield Case(name=f"bundle {case['hex'][:24]!r}", judge=_bundle_judge(case))
    for text in data.get("bundle_reject", []):
        yield Case(
            name=f"refuse bundle {text}",
            judge=lambda t=text: refused(  # type: ignore[misc]
                MalformedInput, lambda: tiles.decode_bundle(bytes.fromhex(t))
            ),
        )
    if "max_entry" in data:
        yield Case(name="largest entry", judge=_largest_judge(data["max_entry"]))


def _path_judge(case: Json) -> Judge:
    def judge() -> None:
        level = None if case["level"] == "entries" else case["level"]
        tile = tiles.TilePath(level=level, index=case["index"], width=case["width"])
        expect(str(tile), case["path"], "path")
        expect(tiles.parse_path(case["path"]), tile, "parsed")

    return judge


def _geometry_judge(case: Json) -> Judge:
    def judge() -> None:
        seen = {
            str(level): {"full": shape.full, "partial_width": shape.partial_width}
            for level, shape in tiles.geometry(case["size"]).items()
        }
        expect(seen, case["levels"], "levels")

    return judge


def _tree_files_cases(size: int, data: Json) -> Iterator[Case]:
    entries = [generated_entry(index) for index in range(size)]
    tree = tree_of(entries)
    yield Case(
        name=f"size {size} root",
        judge=lambda: expect(tree.root_at(size).hex(), data["root"], "root"),
    )
    for case in data.get("resources", []):
        yield Case(
            name=f"size {size} {case['path']}",
            judge=_resource_judge(case, tile_file(tree, entries, case["path"])),
        )
    for path, text in data.items():
        if path.startswith("tile/"):
            made = tile_file(tree, entries, path)
            yield Case(
                name=f"size {size} {path}",
                judge=lambda m=made, t=text: expect(m.hex(), t, "bytes"),  # type: ignore[misc]
            )


def tile_file(tree: merkle.MemoryHashes, entries: Sequence[bytes], path: str) -> bytes:
    tile = tiles.parse_path(path)
    if not tile.exists(len(entries)):
        raise Failed(f"{path} does not exist at size {len(entries)}")
    if tile.level is not None:
        return tiles.cut_tile(tile, tree.read)
    first = tiles.TILE_WIDTH * tile.index
    return tiles.encode_bundle(entries[first : first + tile.width])


def _resource_judge(case: Json, made: bytes) -> Judge:
    def judge() -> None:
        expect(len(made), case["bytes"], "length")
        expect(sha256(made).hexdigest(), case["sha256"], "SHA-256")
        first, last = case.get("first_hash", ""), case.get("last_hash", "")
        start = case.get("first_bytes_hex", first)
        expect(made.hex().startswith(start) and made.hex().endswith(last), wanted=True, what="ends")

    return judge


def _bundle_judge(case: Json) -> Judge:
    def judge() -> None:
        data, entries = bytes.fromhex(case["hex"]), unhex(case["entries_hex"])
        expect(tiles.decode_bundle(data), entries, "entries")
        expect(tiles.encode_bundle(entries), data, "bundle")

    return judge


def _largest_judge(case: Json) -> Judge:
    def judge() -> None:
        entry = bytes(case["bytes"])
        bundle = tiles.encode_bundle([entry])
        expect(bundle[:2].hex(), case["encoded_prefix_hex"], "prefix")
        expect(tiles.decode_bundle(bundle), [entry], "round trip")
        too_large = cose.encode_statement(b"", entry, bytes(cose.SIGNATURE_BYTES))
        refused(MalformedInput, lambda: cose.parse_statement(too_large))

    return judge


def tessera_cases(data: Json) -> Iterator[Case]:
    entries = [text.encode() for text in data["entries_utf8"]]
    tree = tree_of(entries)
    key = note.parse_vkey(data["vkey"])
    for size, text in data["checkpoints_by_size"].items():
        yield Case(name=f"checkpoint {size}", judge=_tessera_judge(tree, key, int(size), text))
    for path, text in data["resources_base64"].items():
        made = tile_file(tree, entries, path)
        yield Case(
            name=path,
            judge=lambda m=made, t=text: expect(m, unbase64(t), "bytes"),  # type: ignore[misc]
        )
    name, seed = note.parse_private_key(data["skey"])
    public = SigningKey.from_seed(Role.LOG, seed).public
    yield Case(
        name="key pair",
        judge=lambda: expect(
            str(note.verifier_key(name, note.KeyType.ED25519, public)), data["vkey"], "vkey"
        ),
    )


def _tessera_judge(tree: merkle.MemoryHashes, key: note.VerifierKey, size: int, text: str) -> Judge:
    def judge() -> None:
        opened = open_checkpoint(text.encode(), [key], verify_ed25519)
        expect((opened.checkpoint.size, opened.checkpoint.root), (size, tree.root_at(size)), "tree")

    return judge


# --- notes and checkpoints ----------------------------------------------------------------------------------------

NOTE_ERRORS = {
    "malformed": MalformedNote,
    "bad_signature": BadSignature,
    "no_known_key": NoKnownKey,
    "ambiguous_key": AmbiguousKey,
}


def open_text(text: str, vkeys: Sequence[str]) -> list[str]:
    keys = [note.parse_vkey(vkey) for vkey in vkeys]
    check = line_check(verify_ed25519, verify_mldsa44)
    return [str(key) for key in note.open_note(note.parse_note(text.encode()), keys, check)]


def note_cases(data: Json) -> Iterator[Case]:
    if "skey_to_sign" in data:
        yield Case(name="sign", judge=_sign_judge(data["skey_to_sign"]))
    for case in data.get("vkeys_accept", []):
        yield Case(name=f"vkey {case['vkey'][:40]}", judge=_vkey_judge(case))
    for case in data.get("vkeys_reject", []):
        yield Case(
            name=f"refuse vkey: {case['why']}",
            judge=lambda c=case: refused(MalformedInput, lambda: note.parse_vkey(c["vkey"])),  # type: ignore[misc]
        )
    for case in data.get("cases", []):
        yield Case(name=case["name"], judge=_note_judge(case))


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
            name=f"refuse: {case['why']}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                MalformedInput, lambda: parse_checkpoint(c["text"].encode())
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


# --- cosignatures, finality, policies ----------------------------------------------------------------------------


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
            name=f"refuse: {case['why']}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                NOTE_ERRORS[c["expect"]], lambda: open_text(c["note"], c["vkeys"])
            ),
        )
    for case in data.get("accept_surprises", []):
        yield Case(
            name=f"accept: {case['why']}",
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
        yield Case(name=case["why"], judge=_finality_judge(data["policy"], case))
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
            name=f"refuse: {case['why']}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                MalformedInput, lambda: parse_policy(c["policy"].encode())
            ),
        )


def _policy_judge(case: Json) -> Judge:
    def judge() -> None:
        policy = parse_policy(case["policy"].encode())
        for names, wanted in case["satisfied"]:
            expect(policy.satisfied_by(names), wanted, f"satisfied by {names}")

    return judge


# --- witness, proof files -----------------------------------------------------------------------------------------


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
        body = step["request"].encode()
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
            name=f"refuse to parse: {case['why']}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                MalformedInput, lambda: proof.parse_proof(c["proof"].encode())
            ),
        )
    for case in data.get("reject_verify", []):
        yield Case(
            name=f"refuse to verify: {case['why']}",
            judge=lambda c=case: refused(  # type: ignore[misc]
                (Failed, MalformedInput, Untrusted), _proof_file_judge(c, keys)
            ),
        )


def _proof_file_judge(case: Json, keys: Sequence[note.VerifierKey]) -> Judge:
    def judge() -> None:
        data = case["proof"].encode()
        file = proof.parse_proof(data)
        expect(bytes(file), data, "written again")
        opened = open_checkpoint(file.note, keys, verify_ed25519)
        root = file.root_of(bytes.fromhex(case["entry_hex"]))
        expect(root, opened.checkpoint.root, "root")
        if "extra_hex" in case:
            expect(file.extra, bytes.fromhex(case["extra_hex"]), "extra")

    return judge


# --- statements, receipts -----------------------------------------------------------------------------------------


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
                name=f"{name} refuse: {case['why']}",
                judge=_receipt_refusal_judge(variant, case["receipt_hex"]),
            )
    if "accept_surprise" in data:
        case, variant = data["accept_surprise"], data["variants"]["EdDSA"]
        yield Case(
            name=f"accept: {case['why']}",
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
    message = receipt.to_be_signed(bytes.fromhex(variant["signed_statement_hex"]))
    return receipt.kid == cose.kid_of(public) and verify_ed25519(public, message, receipt.signature)


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
        message = receipt.to_be_signed(tree.root_at(old))
        public = bytes.fromhex(variant["log_public_key_hex"])
        good = verify_ed25519(public, message, receipt.signature)
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


# --- Ed25519 -------------------------------------------------------------------------------------------------------


def edge_cases(data: Json) -> Iterator[Case]:
    for number, case in enumerate(data["cases"]):
        yield from _signature_case(
            f"{number}: {case['why']}",
            (case["public_key"], case["message"], case["signature"]),
            wanted=case["predicates"]["strict"],
        )


def speccheck_cases(data: Json) -> Iterator[Case]:
    for case in data["cases"]:
        yield from _signature_case(
            f"{case['i']}: {case['note']}",
            (case["pub_key"], case["message"], case["signature"]),
            wanted=case["libsodium"],
        )


def wycheproof_cases(data: Json) -> Iterator[Case]:
    for group in data["groups"]:
        for case in group["tests"]:
            yield from _signature_case(
                f"{case['tcId']}: {case['comment'] or ', '.join(case['flags'])}",
                (group["pk"], case["msg"], case["sig"]),
                wanted=case["result"] == "valid",
            )


def _signature_case(name: str, parts: tuple[str, str, str], *, wanted: bool) -> Iterator[Case]:
    seen = verify_ed25519(*unhex(parts))
    yield Case(name=name, judge=lambda: expect(seen, wanted, "verified"))


# --- files ---------------------------------------------------------------------------------------------------------


def cases_of(data: Json) -> Iterator[Case]:
    """The cases of a file, told by its fields. Raises Failed for a file of no known shape."""
    if not isinstance(data, dict):
        raise Failed("not a JSON object")
    first = next(iter(data.get("cases") or [{}]))
    first = first if isinstance(first, dict) else {}
    shapes: list[tuple[bool, Callable[[Json], Iterator[Case]], str]] = [
        (
            "ct_reference" in data or "generated" in data,
            merkle_cases,
            "ct_reference generated",
        ),
        ("leafIdx" in first or "wantErr" in first, upstream_proof_cases, "cases"),
        (
            "paths" in data or "geometry" in data or "bundle_accept" in data,
            tile_cases,
            "paths paths_reject geometry size_ bundle_accept bundle_reject max_entry",
        ),
        (
            "checkpoints_by_size" in data,
            tessera_cases,
            "entries_utf8 checkpoints_by_size resources_base64",
        ),
        ("steps" in data, witness_cases, "witness steps"),
        ("variants" in data, cose_cases, "variants reject_for_ accept_surprise"),
        ("predicates" in first, edge_cases, "cases versions libraries_ pynacl_"),
        ("pub_key" in first, speccheck_cases, "cases"),
        ("groups" in data, wycheproof_cases, "groups notes"),
        ("policy" in data and "cases" in data, finality_cases, "cases equivocation"),
        (
            "log_vkey" in data and ("accept" in data or "reject_parse" in data),
            proof_cases,
            "accept reject_parse reject_verify",
        ),
        (
            "vkeys_accept" in data or "expect" in first,
            note_cases,
            "skey_to_sign vkeys_accept vkeys_reject cases",
        ),
        (
            "own" in data or "accept_surprises" in data,
            cosignature_cases,
            "known_answer_sigsum spec_example_message timestamp_only own reject accept_surprises",
        ),
        (_lists_field(data, "policy"), policy_cases, "accept reject"),
        (_lists_field(data, "text"), checkpoint_cases, "accept reject"),
    ]
    for fits, cases, sections in shapes:
        if fits:
            yield from cases(data)
            yield from _unread(data, tuple(sections.split()))
            return
    raise Failed(f"no known shape: fields {sorted(data)}")


def _unread(data: Json, sections: tuple[str, ...]) -> Iterator[Case]:
    """A failing case for each section that nothing here judges: silence would look like a pass."""
    families = tuple(section for section in sections if section.endswith("_"))
    for name, value in data.items():
        read = name in sections or (families and name.startswith(families))
        if isinstance(value, list | dict) and not read:
            yield Case(name=name, judge=lambda n=name: _not_understood(n))  # type: ignore[misc]


def _not_understood(name: str) -> None:
    raise Failed(f"section {name!r} is of no known shape")


def _lists_field(data: Json, field: str) -> bool:
    listed = [*data.get("accept", []), *data.get("reject", [])]
    return bool(listed) and all(isinstance(case, dict) and field in case for case in listed)


def judge_file(path: str) -> bool:
    """Prints a line for each case; True if all hold. Raises OSError, ValueError, Failed if the file cannot be read."""
    held = True
    for case in cases_of(json.loads(Path(path).read_text(encoding="utf-8"))):
        why = ""
        try:
            case.judge()
        except Exception as err:  # noqa: BLE001 - one broken case must not hide the others
            why = f"{type(err).__name__}: {err}"
        held = held and not why
        line = {"file": path, "case": case.name, "pass": not why, "note": why}
        print(json.dumps(line, ensure_ascii=False))
    return held


def main(paths: Sequence[str]) -> int:
    if not paths:
        print("usage: python -m node.log.conformance FILE...", file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        try:
            if not judge_file(path):
                status = max(status, 1)
        except (OSError, ValueError, LookupError, TypeError, Failed) as err:
            print(f"{path}: cannot be judged: {type(err).__name__}: {err}", file=sys.stderr)
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
