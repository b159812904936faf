#!/usr/bin/env python3
r"""Check what a Foedus ledger has signed: one file, Python 3.11 and PyNaCl, no network, none of the ledger's own software.

    python foedus_verify.py receipt entry7.tlog-proof --policy policy   an entry stands in the log that a quorum of states signed
    python foedus_verify.py certificate checkpoint --policy policy      a quorum of states signed this state of the log
    python foedus_verify.py archive folder --chain-id 5f..              every file is whole, its entries lead to the signed root
    python foedus_verify.py evidence file.json --chain-id 5f..          these states signed what no honest state signs

Exit status: 0 proven, 1 not proven, 2 could not be checked. Whom you trust is up to you: the founders' policy file, or the chain
id (SHA-256 of the founding document), must come to you by another way than what you check. Later members and keys follow from
those, link by link (`walk`). This file is meant to be read in its order: bytes, tree, notes, whom to trust, the four questions.
The formats are public: RFC 9162 (tree), C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-proof, tlog-tiles,
RFC 8949 (CBOR), RFC 9052 (COSE). It does not run the commit rule and the law again: `foedus audit` does.
"""

import argparse
import base64
import json
import re
import sys
from collections.abc import Callable
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, NamedTuple

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

FILE_MAX, ENTRY_MAX, WIDTH = 1 << 30, 65_535, 256


class Malformed(Exception):
    """These bytes are not of their form: nothing is known about the question. Exit status 2."""


class NotProven(Exception):
    """Well formed, and it does not show what it should. Exit status 1."""


def need(good: object, why: str) -> None:
    if not good:
        raise Malformed(why)


def prove(good: object, why: str) -> None:
    if not good:
        raise NotProven(why)


# --- bytes ---------------------------------------------------------------------------------------


def read(path: Path, limit: int = FILE_MAX) -> bytes:
    need(path.is_file(), f"{path}: no such file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    need(len(data) <= limit, f"{path}: more than {limit} bytes")
    return data


def from_base64(text: str, length: int | None = None) -> bytes:
    """RFC 4648 section 4, padded, spare bits zero: one text for each value."""
    data = base64.b64decode(text, validate=True)
    need(data and base64.b64encode(data).decode() == text, f"{text[:60]!r}: no base64")
    need(length is None or len(data) == length, f"{text[:60]!r}: {len(data)} bytes, want {length}")
    return data


def decimal(text: str) -> int:
    need(re.fullmatch(r"0|[1-9][0-9]{0,19}", text) and int(text) < 1 << 64, f"{text[:60]!r}: no number below 2^64")
    return int(text)


def signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519 as libsodium checks it: no S above the order, no small or misspelt points."""
    if len(key) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def labelled(label: bytes, message: bytes) -> bytes:
    """What blocks, committees and founding documents are hashed with: one label for each purpose."""
    return sha256(bytes([len(label)]) + label + message).digest()


def to_cbor(value: Any) -> bytes:
    """The one deterministic encoding of None, booleans, integers, bytes, text, lists, maps (RFC 8949 section 4.2.1)."""

    def head(kind: int, number: int) -> bytes:
        power = (max(0, number.bit_length() - 1) >> 3).bit_length()  # 1, 2, 4 or 8 bytes hold it
        return bytes([kind << 5 | (number if number < 24 else 24 + power)]) + (
            number.to_bytes(1 << power, "big") if number >= 24 else b""
        )

    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes | str):
        data = value if isinstance(value, bytes) else value.encode()
        return head(2 if isinstance(value, bytes) else 3, len(data)) + data
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(to_cbor, value))
    pairs = sorted((to_cbor(key), to_cbor(item)) for key, item in value.items())
    return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def from_cbor(data: bytes) -> Any:
    """The value of these bytes, if they are its deterministic encoding: written again it must give the same."""

    def item(at: int, depth: int) -> tuple[Any, int]:
        need(depth < 16 and at < len(data), "CBOR: too deep, or ends early")
        kind, low = data[at] >> 5, data[at] & 31
        if data[at] in (0xF4, 0xF5, 0xF6):
            return {0xF4: False, 0xF5: True, 0xF6: None}[data[at]], at + 1
        need(low < 28 and kind < 6, f"CBOR: byte {data[at]:#x} has no place here")
        wide = 0 if low < 24 else 1 << low - 24
        number, at = int.from_bytes(data[at + 1 : at + 1 + wide], "big") if wide else low, at + 1 + wide
        if kind < 2:
            return (number if kind == 0 else -1 - number), at
        need(number <= len(data) - at, "CBOR: ends early")
        if kind < 4:
            part = data[at : at + number]
            return (part if kind == 2 else part.decode()), at + number
        parts: list[Any] = []
        for _ in range(number * (kind - 3)):
            part, at = item(at, depth + 1)
            parts.append(part)
        need(kind == 4 or all(type(key) in (int, str) for key in parts[::2]), "CBOR: want keys of text or integers")
        return (parts if kind == 4 else dict(zip(parts[::2], parts[1::2], strict=True))), at

    value, end = item(0, 0)
    need(end == len(data) and to_cbor(value) == data, "CBOR: not the deterministic encoding of its value")
    return value


# --- the tree: RFC 9162 section 2.1 ---------------------------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """Of leaves, or of complete subtrees of one size with what is left at the end: pairs are joined, an odd one goes up."""
    while len(hashes) > 1:
        pairs = [hashes[at : at + 2] for at in range(0, len(hashes), 2)]
        hashes = [node_hash(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return hashes[0] if hashes else sha256(b"").digest()


def included(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that this inclusion proof leads to; the last hash is the one nearest to the root."""
    need(0 <= index < size, f"index {index} in a tree of {size}")
    if size == 1:
        need(not proof, "inclusion proof: too long")
        return leaf
    need(proof, "inclusion proof: too short")
    left = 1 << (size - 1).bit_length() - 1  # the largest power of two below: so many leaves are left of the top
    if index < left:
        return node_hash(included(leaf, index, left, proof[:-1]), proof[-1])
    return node_hash(proof[-1], included(leaf, index - left, size - left, proof[:-1]))


def extended(old: int, new: int, proof: list[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """The roots of `old` and `new` leaves that this consistency proof leads to. `known`: the old root, if that is left out."""
    need(0 < old <= new, f"a tree of {old} leaves within one of {new}")
    if old == new:
        need(len(proof) == (known is None), "consistency proof: too long or too short")
        root = proof[0] if known is None else known
        return root, root
    need(proof, "consistency proof: too short")
    left = 1 << (new - 1).bit_length() - 1
    if old <= left:
        first, second = extended(old, left, proof[:-1], known)
        return first, node_hash(second, proof[-1])
    first, second = extended(old - left, new - left, proof[:-1], None)
    return node_hash(proof[-1], first), node_hash(proof[-1], second)


# --- signed notes and checkpoints -----------------------------------------------------------------

LOG_KEY, COSIGNER, COSIGNER_ML_DSA = 1, 4, 6  # this program has no ML-DSA: such lines count as unknown
CONTROL, NAME = re.compile(r"[\x00-\x09\x0b-\x1f]"), re.compile(r"[^\s+\x00-\x1f]+")


class Key(NamedTuple):
    name: str
    kind: int
    public: bytes

    @property
    def label(self) -> tuple[str, bytes]:
        """What a line must carry to be this key's: its name, and 4 bytes of a hash."""
        named = self.name.encode("utf-8", "surrogateescape") + b"\n" + bytes([self.kind]) + self.public
        return self.name, sha256(named).digest()[:4]


def parse_key(text: str) -> Key:
    """A vkey: name+4 bytes in hex+base64(type || key)."""
    name, stated, encoded = [*text.split("+", 2), "", ""][:3]
    data = from_base64(encoded)
    key = Key(name, data[0], data[1:])
    want = {LOG_KEY: 32, COSIGNER: 32, COSIGNER_ML_DSA: 1312}.get(key.kind)
    need(NAME.fullmatch(name) and want == len(key.public) and key.label[1].hex() == stated, f"{text[:60]!r}: no key")
    return key


def parse_note(data: bytes) -> tuple[bytes, list[tuple[tuple[str, bytes], bytes]]]:
    """The signed text, and for each line ((name, key id), signature)."""
    whole = data.decode()
    need(not CONTROL.search(whole), "note: holds control characters")
    text, empty_line, rest = whole.rpartition("\n\n")
    need(empty_line and rest.endswith("\n") and rest.count("\n") <= 4096, "note: want text, empty line, signature lines")
    lines = []
    for line in rest[:-1].split("\n"):
        dash, name, encoded = [*line.split(" "), "", ""][:3]
        need(line.count(" ") == 2 and dash == "—" and NAME.fullmatch(name), f"note: {line[:60]!r} is no signature line")
        signature = from_base64(encoded)
        need(len(signature) > 4, f"note: {line[:60]!r} is no signature line")
        lines.append(((name, signature[:4]), signature[4:]))
    return (text + "\n").encode(), lines


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


def parse_checkpoint(text: bytes) -> Checkpoint:
    lines = text.decode().split("\n")
    need(not CONTROL.search(text.decode()), "checkpoint: holds control characters")
    need(len(lines) > 3 and lines.pop() == "" and all(lines), "checkpoint: want origin, size, root, a line each")
    return Checkpoint(lines[0], decimal(lines[1]), from_base64(lines[2], 32))


def signers(note: bytes, keys: list[Key]) -> set[Key]:
    """The keys that signed. A known key's line that does not verify condemns the whole note; unknown lines say nothing."""
    found = set()
    text, lines = parse_note(note)
    for label, signature in lines:
        known = [key for key in keys if key.label == label and key.kind != COSIGNER_ML_DSA]
        need(len(known) < 2, f"two known keys have the label {label[0]}")
        for key in known:
            message = text
            if key.kind == COSIGNER:  # it signs its own time before the text: 8 bytes of it stand before the signature
                time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                message = b"cosignature/v1\ntime %d\n" % time + text
                prove(time < 1 << 63, f"the line of {key.name} has no time")
            prove(signed_by(key.public, message, signature), f"the line of {key.name} is not by its key")
            found.add(key)
    return found


# --- whom to trust --------------------------------------------------------------------------------


class Policy(NamedTuple):
    logs: list[Key]
    witnesses: dict[str, Key]
    groups: dict[str, tuple[int, list[str]]]  # threshold, members; defined before used
    quorum: str

    def holds(self, names: set[str]) -> bool:
        """True if the quorum is there when exactly these witnesses signed."""
        held = names & set(self.witnesses)
        for group, (threshold, members) in self.groups.items():
            if len(held & set(members)) >= threshold:
                held.add(group)
        return self.quorum in {"none", *held}


def parse_policy(data: bytes) -> Policy:
    """C2SP tlog-policy: log, witness, group and quorum lines; each name once, each key once, each member in one group."""
    made = Policy([], {}, {}, "")
    keys: set[bytes] = set()
    grouped: set[str] = {"none"}
    text = data.decode("utf-8", "surrogateescape")
    need(text.endswith("\n") and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), "policy: control characters, or no end")
    for line in text.split("\n"):
        words = [word for word in re.split(r"[ \t]", line) if word]
        names = {*made.witnesses, *made.groups, "none"}
        match words:
            case ["log" | "witness" as what, *rest] if len(rest) in ((1, 2) if what == "log" else (2, 3)):
                key = parse_key(rest[0 if what == "log" else 1])
                need(key.kind != (COSIGNER if what == "log" else LOG_KEY), f"policy: {line[:60]!r}: type of key")
                need(key.public not in keys and (what == "log" or rest[0] not in names), f"policy: {line[:60]!r}: twice")
                keys.add(key.public)
                made.logs.append(key) if what == "log" else made.witnesses.update({rest[0]: key})
            case ["group", name, count, *members] if members and name not in names:
                threshold = {"any": 1, "all": len(members)}.get(count) or decimal(count)
                need(1 <= threshold <= len(members) == len(set(members)), f"policy: {line[:60]!r}: threshold, or one twice")
                need(set(members) <= names - grouped, f"policy: {line[:60]!r}: members")
                grouped |= set(members)
                made.groups[name] = (threshold, members)
            case ["quorum", name] if name in names and not made.quorum:
                made = made._replace(quorum=name)
            case _:
                need(not words or words[0].startswith("#"), f"policy: {line[:60]!r}")
    need(made.quorum, "policy: no quorum")
    return made


class Epoch(NamedTuple):
    """Who is believed about logs of more than `after` entries, until the next one begins."""

    after: int
    policy: Policy
    states: list[str]  # who validates, as blocks number them
    committee: bytes  # hash of their block keys

    def log_keys(self) -> dict[str, bytes]:
        """The ledger's own policies list logs and witnesses by state, in one order."""
        return {state: key.public for state, key in zip(self.policy.witnesses, self.policy.logs, strict=False)}


def judge(trust: list[Epoch], data: bytes, *, log_line: bool = True) -> tuple[Checkpoint, list[str]]:
    """The checkpoint and the witnesses that signed it. Raises NotProven unless the policy for its size believes it."""
    checkpoint = parse_checkpoint(parse_note(data)[0])
    policy = of_size(trust, checkpoint.size).policy
    found = signers(data, [*policy.logs, *policy.witnesses.values()])
    names = [name for name, key in policy.witnesses.items() if key in found]
    logged = any(key in policy.logs and key.name == checkpoint.origin for key in found)
    prove(logged or not log_line, f"no log of origin {checkpoint.origin!r} signed it")
    prove(policy.holds(set(names)), f"signed by {', '.join(names) or 'nobody known'}: no quorum")
    return checkpoint, names


def of_size(trust: list[Epoch], size: int) -> Epoch:
    return next((epoch for epoch in reversed(trust) if size > epoch.after), trust[0])


def walk(trust: list[Epoch], links: list[dict[str, str]]) -> list[Epoch]:
    """From whom one trusts to the members and keys of later epochs, by the links of a foedus/policies/1 file.

    Each link is a receipt for the record that begins an epoch, under the checkpoint that the members before it ended theirs with,
    and the policy text whose hash stands in that record. What was believed before is believed no further than that checkpoint.
    """
    for link in links:
        index, proof, record, note = parse_receipt(link["proof"].encode())
        checkpoint, _ = judge(trust, note, log_line=False)
        fields, text = from_cbor(record or b""), link["policy"].encode()
        prove(included(leaf_hash(record or b""), index, checkpoint.size, proof) == checkpoint.root, "link: record not in the log")
        is_next = fields.get("type") == "epoch" and fields["epoch"] == len(trust) and checkpoint.size > trust[-1].after
        prove(is_next and index == checkpoint.size - 2, f"link: the record is not that of epoch {len(trust)}")
        prove(fields["trust_policy"] == sha256(text).digest(), "link: the policy is not the one that the record hashes")
        states = [state for state, _ in fields["members"]]
        trust = [*trust, Epoch(checkpoint.size, parse_policy(text), states, fields["committee_hash"])]
    return trust


class Ledger(NamedTuple):
    """What a founding document says, once all its members have signed it."""

    chain_id: bytes
    origin: str
    founding: Epoch


def committee_of(epoch: int, block_keys: list[bytes]) -> bytes:
    need(all(len(key) == 32 for key in block_keys), "block keys: want 32 bytes each")
    return labelled(b"committee/1", epoch.to_bytes(4, "big") + len(block_keys).to_bytes(2, "big") + b"".join(block_keys))


def parse_genesis(document: bytes, pinned: bytes | None) -> Ledger:
    """Raises NotProven unless it is the pinned one and every member named in it has signed it with its block key."""
    chain_id = sha256(document).digest()
    prove(pinned in (None, chain_id), f"this is of ledger {chain_id.hex()}, not of {(pinned or b'').hex()}")
    value = from_cbor(document)
    signatures = value.pop("signatures")
    message = labelled(b"sign/genesis/1", to_cbor(value))
    members, origin = value["members"], value["origin"]
    for member in members:
        good = signed_by(member["block_key"], message, signatures[member["state"]])
        prove(good, f"the founding document is not signed by {member['state']}")
    states = sorted(member["state"] for member in members)
    need(members and len(set(states)) == len(states) and isinstance(origin, str), "genesis: origin and members")
    policy = Policy([], {}, {"states": (2 * len(states) // 3 + 1, states)}, "states")
    for member in sorted(members, key=lambda member: member["state"]):
        name = f"{origin}/cosigner/{member['state']}"
        policy.logs.append(Key(origin, LOG_KEY, member["log_key"]))
        policy.witnesses[member["state"]] = Key(name, COSIGNER, member["cosigner_key"])
    numbered = [member["state"] for member in members]
    committee = committee_of(0, [member["block_key"] for member in members])
    return Ledger(chain_id, origin, Epoch(0, policy, numbered, committee))


# --- receipts and certificates --------------------------------------------------------------------


def parse_receipt(data: bytes) -> tuple[int, list[bytes], bytes | None, bytes]:
    """A c2sp.org/tlog-proof@v1 file: index, proof, `extra` (ours: the entry), checkpoint note."""
    front, empty_line, note = data.partition(b"\n\n")
    lines = front.decode("ascii", "replace").split("\n")
    need(empty_line and lines.pop(0) == "c2sp.org/tlog-proof@v1", "receipt: want c2sp.org/tlog-proof@v1")
    extra = from_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
    need(lines and lines[0].startswith("index ") and len(lines) <= 64, "receipt: want an index and at most 63 hashes")
    return decimal(lines[0][6:]), [from_base64(line, 32) for line in lines[1:]], extra, note


def check_receipt(data: bytes, trust: list[Epoch], entry: bytes | None = None) -> str:
    index, proof, extra, note = parse_receipt(data)
    leaf = extra if entry is None else entry
    checkpoint, names = judge(trust, note)
    if leaf is None:
        raise Malformed("receipt: holds no entry: name it by --entry")
    leads = included(leaf_hash(leaf), index, checkpoint.size, proof) == checkpoint.root
    prove(leads, f"the proof does not lead from this entry to the root of {checkpoint.size} entries")
    digest, by = sha256(leaf).hexdigest(), ", ".join(names)
    return f"entry {index} of {checkpoint.size} in {checkpoint.origin}, SHA-256 {digest}, signed by {by}"


def check_certificate(data: bytes, trust: list[Epoch]) -> str:
    checkpoint, names = judge(trust, data)
    return f"{checkpoint.origin}: {checkpoint.size} entries, root {checkpoint.root.hex()}, signed by {', '.join(names)}"


# --- archives -------------------------------------------------------------------------------------


def tile_path(level: str, index: int, width: int) -> str:
    """C2SP tlog-tiles: groups of three digits, x before all but the last."""
    digits = str(index).zfill(-(-len(str(index)) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    number = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{number}" + ("" if width == WIDTH else f".p/{width}")


def archive_entries(folder: Path, size: int) -> Any:
    """Every entry, bundle by bundle: each a length of two bytes, then the bytes."""
    for first in range(0, size, WIDTH):
        width = min(WIDTH, size - first)
        name = tile_path("entries", first // WIDTH, width)
        data, at = read(folder / name, WIDTH * (ENTRY_MAX + 2)), 0
        for _ in range(width):
            start, at = at + 2, at + 2 + int.from_bytes(data[at : at + 2], "big")
            need(start <= at <= len(data), f"{name}: ends early")
            yield data[start:at]
        need(at == len(data), f"{name}: bytes after its last entry")


def archive_root(folder: Path, size: int, look: Callable[[int, bytes], None] | None = None) -> tuple[bytes, bytes]:
    """The root of the entries, and the last of them; on the way each hash of each tile must be the one that they give."""
    rows: list[list[bytes]] = [[]]  # of each tile level, the hashes that fill no tile yet
    done, entry = [0], b""  # of each, the tiles that were compared

    def compare(level: int) -> None:
        name = tile_path(str(level), done[level], len(rows[level]))
        prove(read(folder / name, 32 * WIDTH) == b"".join(rows[level]), f"{name}: is not that of the entries")

    for index, entry in enumerate(archive_entries(folder, size)):
        if look is not None:
            look(index, entry)
        rows[0].append(leaf_hash(entry))
        level = 0
        while len(rows[level]) == WIDTH:
            compare(level)
            if level + 1 == len(rows):
                rows.append([])
                done.append(0)
            rows[level + 1].append(root_of(rows[level]))
            rows[level], done[level], level = [], done[level] + 1, level + 1
    rest: list[bytes] = []
    for level, row in enumerate(rows):
        if row:
            compare(level)
        rest = [root_of(row + rest)] if row + rest else []
    return root_of(rest), entry


def check_archive(folder: Path, pinned: bytes | None) -> str:
    """Manifests, entries through tiles to the root, root against cosignatures."""
    ledger = parse_genesis(read(folder / "genesis.cbor", 1 << 22), pinned)
    manifests = []
    for name, kind in (("manifest.json", "foedus/archive/1"), ("signatures/manifest.json", "foedus/archive-signatures/1")):
        manifests.append(json.loads(data := read(folder / name)))
        spelt = json.dumps(manifests[-1], sort_keys=True, separators=(",", ":")) + "\n"
        need(manifests[-1]["format"] == kind and spelt.encode() == data, f"{name}: want {kind}, names sorted, no spaces")
    manifest, beside = manifests
    need(manifest["chain_id"] == ledger.chain_id.hex(), "manifest: another ledger")
    need(type(manifest["size"]) is int and manifest["size"] > 0, "manifest: size")
    listed = {**beside["files"], **manifest["files"]}
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(held ^ {*listed, "manifest.json", "signatures/manifest.json"}):
        raise NotProven(f"{name}: {'no manifest lists it' if name in held else 'is not there'}")
    for name in sorted(listed):
        need((folder / name).is_file(), f"{name}: no file")
        with (folder / name).open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            prove([file.tell(), digest] == listed[name], f"{name}: is not what the manifest says")
    chain, trust = folder / "signatures/policies.json", [ledger.founding]
    if chain.exists():
        trust = walk(trust, json.loads(read(chain))["links"])
    checkpoint, names = judge(trust, read(folder / "checkpoint", 1 << 22), log_line=False)
    same = (*checkpoint[:2], checkpoint.root.hex()) == (ledger.origin, manifest["size"], manifest["root"])
    prove(same, f"signed are {checkpoint.size} entries of {checkpoint.origin!r}: the manifest says something else")
    policy, own = parse_policy(read(folder / "policy", 1 << 22)), ledger.founding.policy
    known = {name: key for name, key in policy.witnesses.items() if key.kind != COSIGNER_ML_DSA}
    same = known == own.witnesses and policy.logs == own.logs and policy.quorum == "states"
    prove(same and policy.groups["states"] == own.groups["states"], "policy: is not that of the founding document")
    root, last = archive_root(folder, checkpoint.size)
    prove(root == checkpoint.root, "the entries do not lead to the signed root")
    said, rest = [manifest[name] for name in ("origin", "commits", "commits_per_file")], len(manifest) == 8
    prove(said == [ledger.origin, from_cbor(last)["index"], 256] and rest, "manifest: another origin, or last commit")
    by = f"signed by {', '.join(names)}; ledger {ledger.chain_id.hex()}"
    return f"{checkpoint.size} entries of {ledger.origin}, root {root.hex()}, {len(listed)} files, {len(trust)} epochs, {by}"


# --- evidence -------------------------------------------------------------------------------------


def two_roots(ledger: Ledger, trust: list[Epoch], evidence: dict[str, Any]) -> list[str]:
    """Who cosigned two notes that no one log has both; `prefix_root` is the larger log's root at the smaller size."""
    notes = [evidence[name].encode() for name in ("first", "second")]
    small, large = (parse_checkpoint(parse_note(note)[0]) for note in notes)
    need(small.origin == large.origin == ledger.origin, "evidence: want two checkpoints of this ledger")
    need(0 < small.size <= large.size, "evidence: want the smaller checkpoint first")
    other = large.root
    if small.size < large.size:
        other, proof = bytes.fromhex(evidence["prefix_root"]), [bytes.fromhex(part) for part in evidence["prefix_proof"]]
        found = extended(small.size, large.size, proof, other)
        prove(found == (other, large.root), f"the second log is not shown to have this root at {small.size}")
    prove(other != small.root, "the two checkpoints are of one log")
    signed = []
    for note, point in zip(notes, (small, large), strict=True):
        witnesses = of_size(trust, point.size).policy.witnesses
        keys = signers(note, list(witnesses.values()))
        signed.append([state for state, key in witnesses.items() if key in keys])
    return [state for state in signed[0] if state in signed[1]]


def two_blocks(ledger: Ledger, trust: list[Epoch], evidence: dict[str, Any]) -> list[str]:
    """One block key, two blocks of one round. `block_keys`: all of the committee, which its hash in the epoch's record fixes."""
    epoch, round_, author = (evidence[name] for name in ("epoch", "round", "author"))
    place = epoch.to_bytes(4, "big") + round_.to_bytes(4, "big") + author.to_bytes(2, "big")
    need(epoch < len(trust) and author < len(trust[epoch].states), "evidence: of no member of an epoch that is shown")
    keys = [bytes.fromhex(key) for key in evidence["block_keys"]]
    prove(committee_of(epoch, keys) == trust[epoch].committee, f"these are not the block keys of epoch {epoch}")
    digests = [bytes.fromhex(evidence[name]) for name in ("digest1", "digest2")]
    for digest, name in zip(digests, ("signature1", "signature2"), strict=True):
        message = labelled(b"sign/block/1", ledger.chain_id + place + digest)
        good = len(digest) == 32 and signed_by(keys[author], message, bytes.fromhex(evidence[name]))
        prove(good, f"{name} is not by {trust[epoch].states[author]}")
    return [trust[epoch].states[author]] if digests[0] != digests[1] else []


def withheld(ledger: Ledger, trust: list[Epoch], evidence: dict[str, Any], archive: Path | None) -> list[str]:
    """A node promised to include an entry by a time, the log went past it, and an archive shows that it holds no such entry."""
    acknowledgement = bytes.fromhex(evidence["acknowledgement"])
    need(acknowledgement[:1] == b"\xd2", "acknowledgement: want COSE_Sign1")
    protected, unprotected, payload, signature = from_cbor(acknowledgement[1:])
    header, promise = from_cbor(protected), from_cbor(payload)
    need(unprotected == {} and header[3] == "application/vnd.foedus.acknowledgement.v1+cbor", "acknowledgement: header")
    message, node = to_cbor(["Signature1", protected, b"", payload]), promise["node"]
    keys = [epoch.log_keys()[node] for epoch in trust if node in epoch.log_keys()]
    good = promise["ledger"] == ledger.chain_id and any(signed_by(key, message, signature) for key in keys)
    prove(good, "the acknowledgement is not by a member of this ledger")
    checkpoint, _ = judge(trust, evidence["checkpoint"].encode(), log_line=False)
    record, end = bytes.fromhex(evidence["commit_record"]), evidence["index"]
    reached = included(leaf_hash(record), end, checkpoint.size, [bytes.fromhex(part) for part in evidence["proof"]])
    prove(reached == checkpoint.root, "the commit record is not in the log")
    fields = from_cbor(record)
    is_past = fields.get("type") == "commit" and fields["time_ms"] > promise["inclusion_by_ms"]
    prove(is_past, "the log has not gone past the time that was promised")
    if archive is None:
        raise Malformed(f"whether the entry is among the first {end + 1} is shown by an archive: name one by --archive")

    def look(index: int, entry: bytes) -> None:
        is_it = index <= end and sha256(entry).digest() == promise["entry"]
        prove(not is_it, f"the entry is number {index} of the log")

    prove(archive_root(archive, checkpoint.size, look)[0] == checkpoint.root, "the archive does not lead to the signed root")
    return [node]


def check_evidence(data: bytes, pinned: bytes | None, archive: Path | None) -> str:
    evidence = json.loads(data)
    need(evidence["format"] == "foedus/evidence/1", "evidence: want foedus/evidence/1")
    kind, short = evidence["kind"], {"two-roots": two_roots, "two-blocks": two_blocks}
    need(kind in (*short, "withheld"), f"evidence of kind {kind!r:.40}")
    ledger = parse_genesis(from_base64(evidence["genesis"]), pinned)
    trust = walk([ledger.founding], evidence.get("policies", []))
    found = short[kind](ledger, trust, evidence) if kind in short else withheld(ledger, trust, evidence, archive)
    accused = evidence["accused"]
    need(isinstance(accused, list) and accused and all(isinstance(state, str) for state in accused), "evidence: accuses nobody")
    shown = f"it accuses {', '.join(accused)}, and shows it of {', '.join(found) or 'nobody'}"
    prove(set(accused) <= set(found), shown)
    return f"{kind}: shown by the own signatures of {', '.join(accused)}; ledger {ledger.chain_id.hex()}"


# --- the command ----------------------------------------------------------------------------------


def answer(given: argparse.Namespace) -> str:
    pinned = None if given.chain_id is None else bytes.fromhex(given.chain_id)
    need(pinned is None or len(pinned) == 32, "--chain-id: want 64 hexadecimal digits")
    if given.what == "archive":
        return check_archive(given.path, pinned)
    if given.what == "evidence":
        return check_evidence(read(given.path), pinned, given.archive)
    need(given.policy is not None, "whom to trust is said by --policy")
    trust = [Epoch(0, parse_policy(read(given.policy, 1 << 22)), [], b"")]
    if given.policies is not None:
        trust = walk(trust, json.loads(read(given.policies))["links"])
    data = read(given.path, 1 << 24)
    entry = None if given.entry is None else read(given.entry, ENTRY_MAX)
    return check_receipt(data, trust, entry) if given.what == "receipt" else check_certificate(data, trust)


def main(words: list[str] | None = None) -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="foedus-verify", description=__doc__, formatter_class=as_written)
    parser.add_argument("what", choices=("receipt", "certificate", "evidence", "archive"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--policy", type=Path, help="the founders' trust policy, for receipts and certificates")
    parser.add_argument("--policies", type=Path, help="links to later policies, as `foedus receipt policies` writes them")
    parser.add_argument("--chain-id", help="SHA-256 of the founding document in hexadecimal, for evidence and archives")
    parser.add_argument("--entry", type=Path, help="the entry, if the receipt does not carry it")
    parser.add_argument("--archive", type=Path, help="an archive that shows what a log does not hold")
    given = parser.parse_args(words)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # strangers chose the names
    try:
        said = answer(given)
    except NotProven as err:
        print(f"NOT PROVEN: {err}")
        return 1
    except (Malformed, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as err:
        form = "" if isinstance(err, Malformed | OSError) else f"not of its form: {type(err).__name__}: "
        print(f"could not check: {form}{err!s:.200}", file=sys.stderr)
        return 2
    print(f"proven: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
