#!/usr/bin/env python3
r"""Check what a Foedus ledger has signed: one file, Python 3.11 and PyNaCl, no network, none of the ledger's own software.

    python foedus_verify.py receipt entry7.tlog-proof --policy policy   an entry stands in the log that a quorum of states signed
    python foedus_verify.py certificate checkpoint --policy policy      a quorum of states signed this state of the log
    python foedus_verify.py evidence file.json --chain-id 5f..          these states signed what no honest state signs
    python foedus_verify.py archive folder --chain-id 5f..              every file is whole, its entries lead to the signed root

Exit status: 0 proven, 1 not proven, 2 could not be checked. Whom you trust is up to you: the policy file, or the chain id
(SHA-256 of the founding document), must come to you by another way than what you check. This file is meant to be read, in its
order: bytes, tree, notes, policies, founding document, then the four questions. The formats are public: RFC 9162 (tree), C2SP
signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-proof and tlog-tiles, RFC 8949 (CBOR), RFC 9052 (COSE). It
does not run the commit rule and the law again: `foedus audit` does.
"""

import argparse
import base64
import json
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

FILE_MAX, ENTRY_MAX, WIDTH = 1 << 30, 65_535, 256


class Malformed(Exception):
    """These bytes are not of their form: nothing is known about the question. Exit status 2."""


class NotProven(Exception):
    """Well formed, and it does not show what it should. Exit status 1."""


# --- bytes ---------------------------------------------------------------------------------------


def need(good: object, why: str) -> None:
    if not good:
        raise Malformed(why)


def read(path: Path, limit: int = FILE_MAX) -> bytes:
    need(path.is_file(), f"{path}: no such file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    need(len(data) <= limit, f"{path}: more than {limit} bytes")
    return data


def from_base64(text: str, length: int | None = None) -> bytes:
    """RFC 4648 section 4, padded, spare bits zero: one text for each value."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    need(data and base64.b64encode(data).decode() == text, f"{text[:60]!r}: no base64")
    need(length is None or len(data) == length, f"{text[:60]!r}: {len(data)} bytes, want {length}")
    return data


def from_hex(value: Any, length: int | None = None) -> bytes:
    need(isinstance(value, str) and re.fullmatch(r"([0-9a-f]{2})*", value), f"{value!r:.60}: no hexadecimal")
    need(length is None or len(value) == 2 * length, f"{value[:60]!r}: want {length} bytes")
    return bytes.fromhex(value)


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


def cbor_head(kind: int, number: int) -> bytes:
    """The shortest head, RFC 8949 section 4.2.1."""
    for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if number < (24 if size == 1 else 0):
            return bytes([kind << 5 | number])
        if number < 1 << 8 * size:
            return bytes([kind << 5 | code]) + number.to_bytes(size, "big")
    raise Malformed("CBOR: a number above 2^64")


def to_cbor(value: Any) -> bytes:
    """The one deterministic encoding of None, booleans, integers, bytes, text, lists, maps."""
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return cbor_head(0, value) if value >= 0 else cbor_head(1, -1 - value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return cbor_head(4, len(value)) + b"".join(map(to_cbor, value))
    pairs = sorted((to_cbor(key), to_cbor(item)) for key, item in value.items())
    return cbor_head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


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


def root_of(peaks: list[bytes]) -> bytes:
    """`peaks`: roots of the full subtrees, largest first, one for each bit set in the size."""
    if not peaks:
        return sha256(b"").digest()
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def fold_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that this proof leads to: section 2.1.3.2."""
    need(0 <= index < size, f"index {index} in a tree of {size}")
    low, last, root = index, size - 1, leaf
    for sibling in proof:
        need(last, "inclusion proof: too long")
        if low & 1 or low == last:
            root = node_hash(sibling, root)
            while low and not low & 1:
                low, last = low >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        low, last = low >> 1, last >> 1
    need(last == 0, "inclusion proof: too short")
    return root


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """True if the tree of `new` leaves continues that of `old`: section 2.1.4.2."""
    if old in (0, new):
        started = old > 0 or (old_root == root_of([]) and len(new_root) == 32)
        return not proof and 0 <= old <= new and started and (old_root == new_root or old < new)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    low, last = old - 1, new - 1
    if not path or old > new:
        return False
    while low & 1:
        low, last = low >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if low & 1 or low == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while low and not low & 1:
                low, last = low >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        low, last = low >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


# --- signed notes and checkpoints -----------------------------------------------------------------

LOG_KEY, COSIGNER, COSIGNER_ML_DSA = 1, 4, 6  # this program has no ML-DSA: such lines count as unknown


class Key(NamedTuple):
    name: str
    kind: int
    public: bytes

    @property
    def label(self) -> tuple[str, bytes]:
        """What a line must carry to be this key's: its name, and 4 bytes of a hash."""
        named = self.name.encode("utf-8", "surrogateescape") + b"\n" + bytes([self.kind]) + self.public
        return self.name, sha256(named).digest()[:4]


def is_name(name: str) -> bool:
    return bool(name) and not re.search(r"[\s+\x00-\x1f]", name)


def parse_key(text: str) -> Key:
    """A vkey: name+4 bytes in hex+base64(type || key)."""
    name, _, rest = text.partition("+")
    stated, _, encoded = rest.partition("+")
    data = from_base64(encoded)
    key = Key(name, data[0], data[1:])
    want = {LOG_KEY: 32, COSIGNER: 32, COSIGNER_ML_DSA: 1312}.get(key.kind)
    need(is_name(name) and want == len(key.public) and key.label[1].hex() == stated, f"{text[:60]!r}: no key")
    return key


class Note(NamedTuple):
    text: bytes
    lines: list[tuple[tuple[str, bytes], bytes]]  # (name, key id), signature


def parse_note(data: bytes) -> Note:
    whole = data.decode()
    need(not re.search(r"[\x00-\x09\x0b-\x1f]", whole), "note: holds control characters")
    text, empty_line, rest = whole.rpartition("\n\n")
    need(empty_line and rest.endswith("\n") and rest.count("\n") <= 4096, "note: want text, empty line, signature lines")
    lines = []
    for line in rest[:-1].split("\n"):
        parts = line.split(" ")
        need(len(parts) == 3 and parts[0] == "—" and is_name(parts[1]), f"note: {line[:60]!r} is no signature line")
        name, signature = parts[1], from_base64(parts[2])
        need(len(signature) > 4, f"note: {line[:60]!r} is no signature line")
        lines.append(((name, signature[:4]), signature[4:]))
    return Note((text + "\n").encode(), lines)


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


def parse_checkpoint(text: bytes) -> Checkpoint:
    lines = text.decode().split("\n")
    need(not re.search(rb"[\x00-\x09\x0b-\x1f]", text), "checkpoint: holds control characters")
    need(len(lines) > 3 and lines.pop() == "" and all(lines), "checkpoint: want origin, size, root, a line each")
    return Checkpoint(lines[0], decimal(lines[1]), from_base64(lines[2], 32))


def line_is_good(key: Key, text: bytes, signature: bytes) -> bool:
    """A cosigner signs its own time before the text, and 8 bytes of it stand before the signature."""
    if key.kind == LOG_KEY:
        return signed_by(key.public, text, signature)
    time = int.from_bytes(signature[:8], "big")
    message = b"cosignature/v1\ntime %d\n" % time + text
    return len(signature) == 72 and time < 1 << 63 and signed_by(key.public, message, signature[8:])


def signers(note: Note, keys: list[Key]) -> list[Key]:
    """The keys that signed. A known key's line that does not verify condemns the whole note; unknown lines say nothing."""
    found: dict[Key, None] = {}
    for label, signature in note.lines:
        known = [key for key in keys if key.label == label and key.kind != COSIGNER_ML_DSA]
        need(len(known) < 2, f"two known keys have the label {label[0]}")
        for key in known:
            if not line_is_good(key, note.text, signature):
                raise NotProven(f"the line of {key.name} is not by its key")
            found[key] = None
    return list(found)


# --- whom to trust: a policy file, or a founding document ------------------------------------------


class Policy(NamedTuple):
    logs: list[Key]
    witnesses: dict[str, Key]
    groups: dict[str, tuple[int, list[str]]]  # threshold, members; defined before used
    quorum: str | None

    def holds(self, names: set[str]) -> bool:
        """True if the quorum is there when exactly these witnesses signed."""
        held = names & set(self.witnesses)
        for group, (threshold, members) in self.groups.items():
            if len(held & set(members)) >= threshold:
                held.add(group)
        return self.quorum is None or self.quorum in held


def parse_policy(data: bytes) -> Policy:
    """C2SP tlog-policy: log, witness, group and quorum lines."""
    made = Policy([], {}, {}, None)
    keys: set[bytes] = set()
    grouped: set[str] = set()
    quorum: list[str] = []
    text = data.decode("utf-8", "surrogateescape")
    need(text.endswith("\n") and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), "policy: control characters, or no end")
    for line in text.split("\n"):
        words = [word for word in re.split(r"[ \t]", line) if word]
        names = {*made.witnesses, *made.groups, "none"}
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("log", "witness"):
            at = 1 if words[0] == "log" else 2
            need(at < len(words) <= at + 2, f"policy: {line[:60]!r}")
            key = parse_key(words[at])
            need((key.kind == LOG_KEY or at == 2) or key.kind == COSIGNER_ML_DSA, f"policy: {line[:60]!r}: type of key")
            need(key.kind != LOG_KEY or at == 1, f"policy: {line[:60]!r}: type of key")
            need(key.public not in keys and (at == 1 or words[1] not in names), f"policy: {line[:60]!r}: stands there twice")
            keys.add(key.public)
            made.logs.append(key) if at == 1 else made.witnesses.update({words[1]: key})
        elif words[0] == "group" and len(words) > 3:
            members = words[3:]
            threshold = {"any": 1, "all": len(members)}.get(words[2]) or decimal(words[2])
            need(words[1] not in names and 1 <= threshold <= len(members), f"policy: {line[:60]!r}")
            need(set(members) <= names - {"none"} and not set(members) & grouped, f"policy: {line[:60]!r}: members")
            need(len(set(members)) == len(members), f"policy: {line[:60]!r}: members")
            grouped |= set(members)
            made.groups[words[1]] = (threshold, members)
        else:
            need(words[0] == "quorum" and len(words) == 2 and not quorum and words[1] in names, f"policy: {line[:60]!r}")
            quorum.append(words[1])
    need(quorum, "policy: no quorum")
    return made._replace(quorum=None if quorum[0] == "none" else quorum[0])


def judge(policy: Policy, data: bytes, *, log_line: bool = True) -> tuple[Checkpoint, list[str]]:
    """The checkpoint and the witnesses that signed it. Raises NotProven if the policy does not believe it."""
    note = parse_note(data)
    checkpoint = parse_checkpoint(note.text)
    found = signers(note, [*policy.logs, *policy.witnesses.values()])
    names = [name for name, key in policy.witnesses.items() if key in found]
    if log_line and not any(key in policy.logs and key.name == checkpoint.origin for key in found):
        raise NotProven(f"no log of origin {checkpoint.origin!r} signed it")
    if not policy.holds(set(names)):
        raise NotProven(f"signed by {', '.join(names) or 'nobody known'}: no quorum")
    return checkpoint, names


class Ledger(NamedTuple):
    """What a founding document says, once all its members have signed it."""

    chain_id: bytes
    origin: str
    members: list[dict[str, Any]]  # in the order that blocks number them

    def policy(self) -> Policy:
        """Every member a witness under its state's name; more than two thirds make a quorum."""
        keys = {m["state"]: Key(f"{self.origin}/cosigner/{m['state']}", COSIGNER, m["cosigner_key"]) for m in self.members}
        logs = [Key(self.origin, LOG_KEY, member["log_key"]) for member in self.members]
        return Policy(logs, keys, {"states": (2 * len(keys) // 3 + 1, list(keys))}, "states")


def labelled(label: bytes, message: bytes) -> bytes:
    return sha256(bytes([len(label)]) + label + message).digest()


def parse_genesis(document: bytes, pinned: bytes | None) -> Ledger:
    """Raises NotProven unless it is the pinned one and every member named in it has signed it with its block key."""
    chain_id = sha256(document).digest()
    if pinned is not None and pinned != chain_id:
        raise NotProven(f"this is of ledger {chain_id.hex()}, not of {pinned.hex()}")
    value = from_cbor(document)
    signatures = value.pop("signatures")
    message = labelled(b"sign/genesis/1", to_cbor(value))
    members, origin = value["members"], value["origin"]
    for member in members:
        keys = [member[name] for name in ("block_key", "log_key", "cosigner_key")]
        need(all(isinstance(key, bytes) and len(key) == 32 for key in keys), "genesis: keys of 32 bytes")
        if not signed_by(member["block_key"], message, signatures[member["state"]]):
            raise NotProven(f"the founding document is not signed by {member['state']}")
    states = [member["state"] for member in members]
    need(members and len(set(states)) == len(states) and isinstance(origin, str), "genesis: origin and members")
    return Ledger(chain_id, origin, members)


# --- the four questions ---------------------------------------------------------------------------


def check_receipt(data: bytes, policy: Policy, entry: bytes | None) -> str:
    """A c2sp.org/tlog-proof@v1 file. Ours carry the entry as `extra`; another tool's need it beside."""
    front, empty_line, note = data.partition(b"\n\n")
    lines = front.decode("ascii", "replace").split("\n")
    need(empty_line and lines.pop(0) == "c2sp.org/tlog-proof@v1", "receipt: want c2sp.org/tlog-proof@v1")
    extra = from_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
    need(lines and lines[0].startswith("index ") and len(lines) <= 64, "receipt: want an index and at most 63 hashes")
    index, proof = decimal(lines[0][6:]), [from_base64(line, 32) for line in lines[1:]]
    leaf = extra if entry is None else entry
    checkpoint, names = judge(policy, note)
    need(leaf is not None, "receipt: holds no entry: name it by --entry")
    if fold_inclusion(leaf_hash(leaf or b""), index, checkpoint.size, proof) != checkpoint.root:
        raise NotProven(f"the proof does not lead from this entry to the root of {checkpoint.size} entries")
    digest = sha256(leaf or b"").hexdigest()
    return f"entry {index} of {checkpoint.size} in {checkpoint.origin}, SHA-256 {digest}, signed by {', '.join(names)}"


def check_certificate(data: bytes, policy: Policy) -> str:
    checkpoint, names = judge(policy, data)
    return f"{checkpoint.origin}: {checkpoint.size} entries, root {checkpoint.root.hex()}, signed by {', '.join(names)}"


def two_roots(origin: str, witnesses: dict[str, Key], evidence: dict[str, Any]) -> list[str]:
    """Who cosigned two checkpoints that no one log has both: `first`, the smaller, and `second`, two notes.

    With two sizes, `prefix_root` is the second log's at the first size, and `prefix_proof` shows that it is.
    """
    notes = [parse_note(evidence[name].encode()) for name in ("first", "second")]
    small, large = (parse_checkpoint(note.text) for note in notes)
    need(small.origin == large.origin == origin, "evidence: want two checkpoints of this ledger")
    need(0 < small.size <= large.size, "evidence: want the smaller checkpoint first")
    other = large.root
    if small.size < large.size:
        other, proof = from_hex(evidence["prefix_root"], 32), [from_hex(part, 32) for part in evidence["prefix_proof"]]
        if not consistent(small.size, large.size, other, large.root, proof):
            raise NotProven(f"the second log is not shown to have this root at {small.size}")
    if other == small.root:
        raise NotProven("the two checkpoints are of one log")
    both = [signers(note, list(witnesses.values())) for note in notes]
    return [state for state, key in witnesses.items() if all(key in found for found in both)]


def two_blocks(ledger: Ledger, evidence: dict[str, Any]) -> list[str]:
    """One block key, two blocks of one round."""
    numbers = [evidence[name] for name in ("epoch", "round", "author")]
    need(all(type(number) is int and 0 <= number < 1 << 32 for number in numbers), "evidence: epoch, round, author")
    need(numbers[0] == 0 and numbers[2] < len(ledger.members), "evidence: of no founding member")
    place = numbers[0].to_bytes(4, "big") + numbers[1].to_bytes(4, "big") + numbers[2].to_bytes(2, "big")
    digests = [from_hex(evidence[name], 32) for name in ("digest1", "digest2")]
    member = ledger.members[numbers[2]]
    for digest, name in zip(digests, ("signature1", "signature2"), strict=True):
        message = labelled(b"sign/block/1", ledger.chain_id + place + digest)
        if not signed_by(member["block_key"], message, from_hex(evidence[name], 64)):
            raise NotProven(f"{name} is not by {member['state']}")
    return [member["state"]] if digests[0] != digests[1] else []


def withheld(ledger: Ledger, evidence: dict[str, Any], archive: Path | None) -> list[str]:
    """A node promised to include an entry by a time, the log went past it, and an archive shows that it holds no such entry."""
    acknowledgement = from_hex(evidence["acknowledgement"])
    need(acknowledgement[:1] == b"\xd2", "acknowledgement: want COSE_Sign1")
    protected, unprotected, payload, signature = from_cbor(acknowledgement[1:])
    header, promise = from_cbor(protected), from_cbor(payload)
    need(unprotected == {} and header[3] == "application/vnd.foedus.acknowledgement.v1+cbor", "acknowledgement: header")
    message = to_cbor(["Signature1", protected, b"", payload])
    node = next((member for member in ledger.members if member["state"] == promise["node"]), None)
    if node is None or promise["ledger"] != ledger.chain_id or not signed_by(node["log_key"], message, signature):
        raise NotProven("the acknowledgement is not by a member of this ledger")
    checkpoint, _ = judge(ledger.policy(), evidence["checkpoint"].encode(), log_line=False)
    record, proof = from_hex(evidence["commit_record"]), [from_hex(part, 32) for part in evidence["proof"]]
    fields, end = from_cbor(record), evidence["index"]
    if fold_inclusion(leaf_hash(record), end, checkpoint.size, proof) != checkpoint.root:
        raise NotProven("the commit record is not in the log")
    if fields.get("type") != "commit" or not fields["time_ms"] > promise["inclusion_by_ms"]:
        raise NotProven("the log has not gone past the time that was promised")
    need(archive is not None, f"whether the entry is among the first {end + 1} is shown by an archive: name one by --archive")
    held, entries = archive_entries(archive or Path(), checkpoint.size), 0
    peaks: list[tuple[int, bytes]] = []
    for entries, entry in enumerate(held, start=1):
        grow(peaks, leaf_hash(entry))
        if entries <= end + 1 and sha256(entry).digest() == promise["entry"]:
            raise NotProven(f"the entry is number {entries - 1} of the log")
    if entries != checkpoint.size or root_of([peak for _, peak in peaks]) != checkpoint.root:
        raise NotProven("the archive does not lead to the signed root")
    return [promise["node"]]


def check_evidence(data: bytes, pinned: bytes | None, archive: Path | None) -> str:
    evidence = json.loads(data)
    need(evidence["format"] == "foedus/evidence/1", "evidence: want foedus/evidence/1")
    ledger = parse_genesis(from_base64(evidence["genesis"]), pinned)
    if evidence["kind"] == "withheld":
        found = withheld(ledger, evidence, archive)
    else:
        need(evidence["kind"] in ("two-roots", "two-blocks"), f"evidence of kind {evidence['kind']!r:.40}")
        is_roots = evidence["kind"] == "two-roots"
        found = two_roots(ledger.origin, ledger.policy().witnesses, evidence) if is_roots else two_blocks(ledger, evidence)
    accused = evidence["accused"]
    need(isinstance(accused, list) and accused and all(isinstance(state, str) for state in accused), "evidence: accuses nobody")
    if not set(accused) <= set(found):
        raise NotProven(f"it accuses {', '.join(accused)}, and shows it of {', '.join(found) or 'nobody'}")
    return f"{evidence['kind']}: shown by the own signatures of {', '.join(accused)}; ledger {ledger.chain_id.hex()}"


def grow(peaks: list[tuple[int, bytes]], leaf: bytes) -> None:
    """One leaf more: neighbours of one height are joined."""
    height = 0
    while peaks and peaks[-1][0] == height:
        leaf, height = node_hash(peaks.pop()[1], leaf), height + 1
    peaks.append((height, leaf))


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
            need(at <= len(data) and start <= len(data), f"{name}: ends early")
            yield data[start:at]
        need(at == len(data), f"{name}: bytes after its last entry")


def read_manifest(path: Path, wanted: str) -> dict[str, Any]:
    data = read(path)
    value = json.loads(data)
    need(value["format"] == wanted, f"{path}: want format {wanted}")
    spelt = json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"
    need(spelt.encode() == data, f"{path}: want sorted names and no spaces")
    return dict(value)


def check_archive(folder: Path, pinned: bytes | None) -> str:
    """Manifests, entries through tiles to the root, root against cosignatures."""
    ledger = parse_genesis(read(folder / "genesis.cbor", 1 << 22), pinned)
    manifest = read_manifest(folder / "manifest.json", "foedus/archive/1")
    beside = read_manifest(folder / "signatures/manifest.json", "foedus/archive-signatures/1")
    need(manifest["chain_id"] == ledger.chain_id.hex(), "manifest: another ledger")
    listed = {**beside["files"], **manifest["files"]}
    size, root = manifest["size"], from_hex(manifest["root"], 32)
    need(type(size) is int and size > 0, "manifest: size")
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    odd = held ^ {*listed, "manifest.json", "signatures/manifest.json"}
    if odd:
        raise NotProven(f"{min(odd)}: {'no manifest lists it' if min(odd) in held else 'is not there'}")
    for name in sorted(listed):
        need((folder / name).is_file(), f"{name}: no file")
        with (folder / name).open("rb") as file:
            digest, length = sha256(), 0
            while part := file.read(1 << 20):
                digest.update(part)
                length += len(part)
        if [length, digest.hexdigest()] != listed[name]:
            raise NotProven(f"{name}: is not what the manifest says")
    checkpoint, names = judge(ledger.policy(), read(folder / "checkpoint", 1 << 22), log_line=False)
    if checkpoint != Checkpoint(ledger.origin, size, root):
        raise NotProven(f"signed are {checkpoint.size} entries of {checkpoint.origin!r}: the manifest says something else")
    policy, own = parse_policy(read(folder / "policy", 1 << 22)), ledger.policy()
    same_keys = policy.witnesses == own.witnesses and set(policy.logs) == set(own.logs)
    if not same_keys or policy.groups["states"][0] != own.groups["states"][0] or policy.quorum != "states":
        raise NotProven("policy: is not that of the founding document")
    check_tree(folder, checkpoint)
    by = f"signed by {', '.join(names)}; ledger {ledger.chain_id.hex()}"
    return f"{size} entries of {ledger.origin}, root {root.hex()}, {len(listed)} files, {by}"


def check_tree(folder: Path, checkpoint: Checkpoint) -> None:
    """The root by the entries; and every hash of every tile is the one that the entries give."""
    peaks: list[tuple[int, bytes]] = []
    row: list[list[bytes]] = [[]]  # of each tile level, the hashes that fill no tile yet
    done = [0]  # of each, the tiles that were compared
    for entry in archive_entries(folder, checkpoint.size):
        leaf, level = leaf_hash(entry), 0
        grow(peaks, leaf)
        row[0].append(leaf)
        while len(row[level]) == WIDTH:
            compare_tile(folder, level, done[level], row[level])
            above: list[tuple[int, bytes]] = []
            for digest in row[level]:
                grow(above, digest)
            row[level], done[level], level = [], done[level] + 1, level + 1
            if level == len(row):
                row.append([])
                done.append(0)
            row[level].append(above[0][1])
    for level, rest in enumerate(row):
        if rest:
            compare_tile(folder, level, done[level], rest)
    if root_of([peak for _, peak in peaks]) != checkpoint.root:
        raise NotProven("the entries do not lead to the signed root")


def compare_tile(folder: Path, level: int, index: int, hashes: list[bytes]) -> None:
    name = tile_path(str(level), index, len(hashes))
    if read(folder / name, 32 * WIDTH) != b"".join(hashes):
        raise NotProven(f"{name}: is not that of the entries")


def main(words: list[str] | None = None) -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="foedus-verify", description=__doc__, formatter_class=as_written)
    parser.add_argument("what", choices=("receipt", "certificate", "evidence", "archive"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--policy", type=Path, help="trust policy file, for receipts and certificates")
    parser.add_argument("--chain-id", help="SHA-256 of the founding document in hexadecimal, for evidence and archives")
    parser.add_argument("--entry", type=Path, help="the entry, if the receipt does not carry it")
    parser.add_argument("--archive", type=Path, help="an archive that shows what a log does not hold")
    given = parser.parse_args(words)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # strangers chose the names
    try:
        pinned = None if given.chain_id is None else from_hex(given.chain_id, 32)
        if given.what == "archive":
            said = check_archive(given.path, pinned)
        elif given.what == "evidence":
            said = check_evidence(read(given.path), pinned, given.archive)
        else:
            need(given.policy is not None, "whom to trust is said by --policy")
            policy = parse_policy(read(given.policy, 1 << 22))
            entry = None if given.entry is None else read(given.entry, ENTRY_MAX)
            data = read(given.path, 1 << 24)
            said = check_receipt(data, policy, entry) if given.what == "receipt" else check_certificate(data, policy)
    except NotProven as err:
        print(f"NOT PROVEN: {err}")
        return 1
    except (Malformed, OSError) as err:
        print(f"could not check: {err}", file=sys.stderr)
        return 2
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as err:
        print(f"could not check: not of its form: {type(err).__name__}: {err!s:.100}", file=sys.stderr)
        return 2
    print(f"proven: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
