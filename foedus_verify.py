#!/usr/bin/env python3
r"""Check what a Foedus ledger has signed: one file, Python 3.11 and PyNaCl, no network.

    python foedus_verify.py receipt entry7.tlog-proof --policy policy    an entry is in the log
    python foedus_verify.py certificate checkpoint --policy policy      states signed this log
    python foedus_verify.py archive folder --chain-id 5f..              its entries are that log
    python foedus_verify.py evidence file.json --chain-id 5f..          by foedus_evidence.py

Exit status: 0 proven, 1 not proven, 2 could not be checked. Whom to trust must come to you by
another way than what you check: the founders' policy file, or the chain id, which is the SHA-256
of the founding document. Later members and keys follow from those, link by link (`walk`).
To be read in its order. Formats: RFC 9162 (tree), RFC 8949 (CBOR), C2SP signed-note and tlog-*.
The ledger's own rules are not run again here: `foedus audit` does that.
"""

import argparse
import base64
import json
import re
import sys
from collections.abc import Iterator
from hashlib import file_digest, sha256
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

FILE_MAX, SMALL_MAX, ENTRY_MAX = 1 << 30, 1 << 24, 65_535  # bytes
LINES_MAX, DEPTH_MAX = 4096, 16  # of a note or a policy; of CBOR
LOG_KEY, COSIGNER, COSIGNER_ML_DSA = 1, 4, 6  # PyNaCl has no ML-DSA: its lines say nothing here
KEY_BYTES = {LOG_KEY: 32, COSIGNER: 32, COSIGNER_ML_DSA: 1312}
WIDTH, LEVELS = 256, 8  # hashes of a tile; 256^8 = 2^64 entries
CONTROL, NAME = r"[\x00-\x09\x0b-\x1f]", r"[^\s+\x00-\x1f]+"
LEAF, NODE = b"\x00", b"\x01"  # before what is hashed in the tree
MANIFESTS = ("manifest.json", "signatures/manifest.json")
# What Python says of values that are not of the form that they should have.
NO_FORM = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class NotProven(Exception):
    """Well formed, and it does not show what it should. Exit status 1."""


def need(good: object, why: str) -> None:
    """Raise ValueError unless good: not of its form, so nothing is known. Exit status 2."""
    if not good:
        raise ValueError(why)


def prove(good: object, why: str) -> None:
    """Raise NotProven unless good."""
    if not good:
        raise NotProven(why)


# --- bytes and signatures -------------------------------------------------------------------------


def read(path: Path, limit: int = FILE_MAX) -> bytes:
    """All of a plain file."""
    need(path.is_file(), f"{path}: no such file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    need(len(data) <= limit, f"{path}: more than {limit} bytes")
    return data


def from_base64(text: str, length: int | None = None) -> bytes:
    """RFC 4648 section 4, padded, spare bits zero: one text for each value."""
    data = base64.b64decode(text, validate=True)
    good = data and base64.b64encode(data).decode() == text and length in (None, len(data))
    need(good, f"{text[:60]!r}: not base64 of {length or 'any'} bytes")
    return data


def from_decimal(text: str) -> int:
    """A number below 2^64, without leading zeros."""
    good = re.fullmatch("0|[1-9][0-9]{0,19}", text) and int(text) < 1 << 64
    need(good, f"{text[:60]!r}: no number below 2^64")
    return int(text)


def from_cbor(data: bytes) -> Any:
    """The value whose one deterministic encoding this is (RFC 8949, section 4.2.1)."""
    value, end = cbor_item(data, 0)
    need(end == len(data), "CBOR: bytes after its end")
    return value


def cbor_item(data: bytes, at: int, depth: int = DEPTH_MAX) -> tuple[Any, int]:
    """One item and where it ends: null, booleans, integers, bytes, texts, lists and maps alone."""
    need(depth and at < len(data), "CBOR: too deep, or ends early")
    kind, low, at = data[at] >> 5, data[at] & 31, at + 1
    if kind == 7 and 20 <= low <= 22:
        return (False, True, None)[low - 20], at
    need(kind < 6 and low < 28, "CBOR: a float, a tag, or of no known length")
    wide = 1 << low - 24 if low >= 24 else 0  # bytes that hold the number, if low itself does not
    number, at = int.from_bytes(data[at : at + wide], "big") if wide else low, at + wide
    is_least = at <= len(data) and number >= {0: 0, 1: 24}.get(wide, 1 << 4 * wide)
    need(is_least, "CBOR: ends early, or a longer head than needed")
    if kind < 2:
        return (number, -1 - number)[kind], at
    need(number <= len(data) - at, "CBOR: ends early")
    if kind < 4:
        part, at = data[at : at + number], at + number
        return (part if kind == 2 else part.decode()), at
    items, raw = [], []
    for _ in range(number * (kind - 3)):  # a map holds keys and values in turn
        item, end = cbor_item(data, at, depth - 1)
        items.append(item)
        raw.append(data[at:end])
        at = end
    keys, values = items[::2], items[1::2]
    if kind == 4:
        return items, at
    need(all(type(key) in (int, str) for key in keys), "CBOR: want keys of integers or text")
    need(raw[::2] == sorted(set(raw[::2])), "CBOR: keys out of order, or twice")
    return dict(zip(keys, values, strict=True)), at


def signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519 as libsodium checks it: no S above the order, no small or misspelt points."""
    try:
        VerifyKey(key).verify(message, signature)
    except CryptoError:
        return False
    return True


def digest(*parts: bytes) -> bytes:
    """SHA-256 of these one after another. The first says what for: LEAF, NODE, or a label."""
    return sha256(b"".join(parts)).digest()


# --- the tree: RFC 9162, section 2.1 --------------------------------------------------------------


def root_of(hashes: list[bytes]) -> bytes:
    """Of leaves, or of full subtrees of one size and a rest: pairs join, an odd one goes up."""
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) % 2 else []
        pairs = zip(hashes[:-1:2], hashes[1::2], strict=True)
        hashes = [*(digest(NODE, *pair) for pair in pairs), *odd]
    return hashes[0] if hashes else digest()


def included(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that this inclusion proof leads to; its last hash is the one nearest to the root."""
    need(0 <= index < size, f"index {index} in a tree of {size}")
    need(bool(proof) == (size > 1), "inclusion proof: too long or too short")
    if size == 1:
        return leaf
    left = 1 << (size - 1).bit_length() - 1  # leaves left of the top: a power of two below size
    if index < left:
        return digest(NODE, included(leaf, index, left, proof[:-1]), proof[-1])
    return digest(NODE, proof[-1], included(leaf, index - left, size - left, proof[:-1]))


# --- signed notes, and whom to trust --------------------------------------------------------------


class Key(NamedTuple):
    """Whose line it is."""

    name: str
    kind: int
    public: bytes

    @property
    def label(self) -> tuple[str, bytes]:
        """What the line carries: the name, and 4 bytes of a hash."""
        name = self.name.encode("utf-8", "surrogateescape")
        return self.name, digest(name, b"\n", bytes([self.kind]), self.public)[:4]


def parse_key(text: str) -> Key:
    """A vkey: name+4 bytes in hex+base64(kind || key)."""
    name, stated, encoded = [*text.split("+", 2), "", ""][:3]
    data = from_base64(encoded)
    key = Key(name, data[0], data[1:])
    good = re.fullmatch(NAME, name) and KEY_BYTES.get(key.kind) == len(key.public)
    need(good and key.label[1].hex() == stated, f"{text[:60]!r}: no key")
    return key


def parse_note(data: bytes) -> tuple[bytes, list[tuple[tuple[str, bytes], bytes]]]:
    """The signed text, and of each line (label, signature)."""
    whole = data.decode()
    text, empty_line, rest = whole.rpartition("\n\n")
    need(empty_line and rest.endswith("\n"), "note: want text, empty line, signature lines")
    need(not re.search(CONTROL, whole), "note: holds control characters")
    need(rest.count("\n") <= LINES_MAX, f"note: more than {LINES_MAX} lines")
    lines = []
    for line in rest[:-1].split("\n"):
        dash, name, encoded = [*line.split(" ", 2), "", ""][:3]
        signature = from_base64(encoded)
        good = dash == "—" and re.fullmatch(NAME, name) and len(signature) > 4
        need(good, f"note: {line[:60]!r} is no signature line")
        lines.append(((name, signature[:4]), signature[4:]))
    return (text + "\n").encode(), lines


def parse_checkpoint(text: bytes) -> tuple[str, int, bytes]:
    """Origin, size and root."""
    need(not re.search(CONTROL, text.decode()), "checkpoint: holds control characters")
    lines = text.decode().split("\n")
    need(len(lines) > 3 and lines.pop() == "" and all(lines), "checkpoint: want origin, size, root")
    return lines[0], from_decimal(lines[1]), from_base64(lines[2], 32)


def signers(note: bytes, keys: list[Key]) -> set[Key]:
    """Which of these signed. A bad line by one of them condemns the note; others say nothing."""
    text, lines = parse_note(note)
    known = {key.label: key for key in keys}
    need(len(known) == len(keys), "two keys have one label")
    found = set()
    for label, signature in lines:
        key = known.get(label)
        if key is None or key.kind == COSIGNER_ML_DSA:
            continue
        message = text
        if key.kind == COSIGNER:  # signs its own time as well: 8 bytes before the signature
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            prove(time < 1 << 63, f"the line of {label[0]} has no time")
            message = b"cosignature/v1\ntime %d\n" % time + text
        prove(signed_by(key.public, message, signature), f"a line of {label[0]} is not by its key")
        found.add(key)
    return found


class Policy(NamedTuple):
    """C2SP tlog-policy. A group holds when `threshold` of its members do; defined before used."""

    logs: list[Key]
    witnesses: dict[str, Key]
    groups: dict[str, tuple[int, list[str]]]
    quorum: str

    def holds(self, names: list[str]) -> bool:
        """Whether the quorum is there when exactly these witnesses signed."""
        held = {"none", *names}
        for group, (threshold, members) in self.groups.items():
            if len(held.intersection(members)) >= threshold:
                held.add(group)
        return self.quorum in held


def parse_policy(data: bytes) -> Policy:
    """Each name once, each key once, each member in one group."""
    text = data.decode("utf-8", "surrogateescape")
    need(text.endswith("\n") and text.count("\n") <= LINES_MAX, "policy: no end, or too long")
    need(not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), "policy: holds control characters")
    made, grouped = Policy([], {}, {}, ""), ["none"]
    for line in text.split("\n"):
        names = {*made.witnesses, *made.groups, "none"}
        match re.split("[ \t]+", line.strip(" \t")):
            case ["log", key, *url] if len(url) < 2:
                made.logs.append(parse_key(key))
            case ["witness", name, key, *url] if len(url) < 2 and name not in names:
                made.witnesses[name] = parse_key(key)
            case ["group", name, least, *members] if name not in names and names >= {*members}:
                threshold = {"any": 1, "all": len(members)}.get(least) or from_decimal(least)
                need(1 <= threshold <= len(members), f"policy: {line[:60]!r}: threshold")
                made.groups[name] = threshold, members
                grouped += members
            case ["quorum", name] if name in names and not made.quorum:
                made = made._replace(quorum=name)
            case [word, *_]:
                need(word == "" or word.startswith("#"), f"policy: {line[:60]!r}")
    keys = [key.public for key in [*made.logs, *made.witnesses.values()]]
    need(made.quorum and len(grouped) == len(set(grouped)), "policy: no quorum; or grouped twice")
    need(len(keys) == len(set(keys)), "policy: one key twice")
    kinds = {key.kind for key in made.logs}, {key.kind for key in made.witnesses.values()}
    need(COSIGNER not in kinds[0] and LOG_KEY not in kinds[1], "policy: a key of the wrong kind")
    return made


class Epoch(NamedTuple):
    """Who is believed about logs of more than `after` entries, until the next epoch begins."""

    after: int
    policy: Policy
    record: dict[str, Any]  # what it began with: the founding document, or an entry of the log


def of_size(trust: list[Epoch], size: int) -> Epoch:
    """The epoch that speaks for a log of this size."""
    return next((epoch for epoch in reversed(trust) if size > epoch.after), trust[0])


# --- certificates, receipts, and the way from one epoch to the next -------------------------------


def certificate(note: bytes, trust: list[Epoch], *, log_line: bool = True) -> dict[str, Any]:
    """What this note shows, once the policy for its size believes it: by a log and a quorum."""
    origin, size, root = parse_checkpoint(parse_note(note)[0])
    policy = of_size(trust, size).policy
    found = signers(note, [*policy.logs, *policy.witnesses.values()])
    names = [name for name, key in policy.witnesses.items() if key in found]
    by_log = any(key in policy.logs and key.label[0] == origin for key in found)
    prove(by_log or not log_line, f"no log of origin {origin!r} signed it")
    prove(policy.holds(names), f"signed by {', '.join(names) or 'nobody known'}: no quorum")
    return {"origin": origin, "size": size, "root": root, "signed_by": names}


def receipt(
    data: bytes, trust: list[Epoch], entry: bytes | None = None, *, log_line: bool = True
) -> dict[str, Any]:
    """What a c2sp.org/tlog-proof@v1 file shows; the entry stands in its `extra`, or beside it."""
    front, empty_line, note = data.partition(b"\n\n")
    lines = front.decode().split("\n")
    need(empty_line and lines.pop(0) == "c2sp.org/tlog-proof@v1", "receipt: want tlog-proof@v1")
    if lines and lines[0].startswith("extra "):
        extra = from_base64(lines.pop(0)[6:])
        entry = extra if entry is None else entry
    need(lines and lines[0].startswith("index ") and len(lines) <= 64, "receipt: want an index")
    index, proof = from_decimal(lines[0][6:]), [from_base64(line, 32) for line in lines[1:]]
    shown = certificate(note, trust, log_line=log_line)
    need(entry is not None, "receipt: holds no entry: name it by --entry")
    leads = included(digest(LEAF, entry or b""), index, shown["size"], proof) == shown["root"]
    prove(leads, f"the proof does not lead from this entry to the root of {shown['size']} entries")
    return {"index": index, "entry": entry, **shown}


def walk(trust: list[Epoch], policies: Any) -> list[Epoch]:
    """From whom one trusts to the members and keys of later epochs: a foedus/policies/1 file.

    Each link is a receipt for the record that begins an epoch, under the last checkpoint of the
    members before it, and the policy text whose hash stands in that record. Who was believed before
    is believed no further: the record is the last entry but one.
    """
    need(policies["format"] == "foedus/policies/1", "policies: want foedus/policies/1")
    for link in policies["links"]:
        shown = receipt(link["proof"].encode(), trust, log_line=False)
        record, text = from_cbor(shown["entry"]), link["policy"].encode()
        said = [record.get(name) for name in ("type", "epoch", "trust_policy")]
        place = f"the link to epoch {len(trust)}"
        prove(said == ["epoch", len(trust), sha256(text).digest()], f"{place}: no record of it")
        is_last = shown["index"] == shown["size"] - 2 and shown["size"] > trust[-1].after
        prove(is_last, f"{place}: its checkpoint does not end the epoch before")
        trust = [*trust, Epoch(shown["size"], parse_policy(text), record)]
    return trust


def founding(document: bytes, pinned: bytes | None) -> Epoch:
    """Raises NotProven unless it is the pinned one, signed by every member that it names.

    They sign it without their signatures: the same map with one pair fewer.
    """
    chain_id = sha256(document).digest()
    prove(pinned in (None, chain_id), f"this is of ledger {chain_id.hex()}, not of the one pinned")
    start = document.index(b"\x6asignatures")
    signatures, end = cbor_item(document, start + 11)
    unsigned = bytes([document[0] - 1]) + document[1:start] + document[end:]
    record = from_cbor(unsigned)
    need({**record, "signatures": signatures} == from_cbor(document), "genesis: signed twice")
    members = sorted(record["members"], key=lambda member: str(member["state"]))
    states, quorum = [member["state"] for member in members], 2 * len(members) // 3 + 1
    need(states and len(set(states)) == len(states), "genesis: want members, each once")
    policy = Policy([], {}, {"states": (quorum, states)}, "states")
    seconds, name = {}, f"{record['origin']}/cosigner/"
    for member in members:
        state, message = member["state"], digest(b"\x0esign/genesis/1", unsigned)
        signed = signed_by(member["block_key"], message, signatures[state])
        prove(signed, f"the founding document is not signed by {state}")
        policy.logs.append(Key(record["origin"], LOG_KEY, member["log_key"]))
        policy.witnesses[state] = Key(name + state, COSIGNER, member["cosigner_key"])
        if second := member.get("cosigner_pq_key"):
            seconds[f"{state}/pq"] = Key(f"{name}{state}/pq", COSIGNER_ML_DSA, second)
    policy.witnesses.update(seconds)
    if len(seconds) >= quorum:
        policy.groups["states/pq"] = quorum, list(seconds)
    return Epoch(0, policy, record)


# --- archives -------------------------------------------------------------------------------------


def tile_path(level: str, index: int, width: int) -> str:
    """C2SP tlog-tiles: groups of three digits, x before all but the last."""
    number = f"{index % 1000:03}"
    while index := index // 1000:
        number = f"x{index % 1000:03}/{number}"
    return f"tile/{level}/{number}" + ("" if width == WIDTH else f".p/{width}")


def archive_entries(folder: Path, size: int, start: int = 0) -> Iterator[bytes]:
    """Entries from a bundle's first one on: each has its length in two bytes before it."""
    for first in range(start, size, WIDTH):
        width = min(WIDTH, size - first)
        name = tile_path("entries", first // WIDTH, width)
        data, at = read(folder / name, WIDTH * (ENTRY_MAX + 2)), 0
        for _ in range(width):
            begin, at = at + 2, at + 2 + int.from_bytes(data[at : at + 2], "big")
            need(at <= len(data), f"{name}: ends early")
            yield data[begin:at]
        need(at == len(data), f"{name}: bytes after its last entry")


def archive_root(folder: Path, hashes: Iterator[bytes]) -> bytes:
    """The root over these leaf hashes; every tile must hold just the hashes that they give."""
    rests: list[list[bytes]] = []  # of each level, lowest first, the hashes that fill no tile

    def tiles(level: int, hashes: Iterator[bytes]) -> Iterator[bytes]:
        """The hashes of the next level: the root of each full tile."""
        for index in count():
            row = list(islice(hashes, WIDTH))
            name = tile_path(str(level), index, len(row))
            same = not row or read(folder / name, 32 * WIDTH) == b"".join(row)
            prove(same, f"{name}: is not that of the entries")
            if len(row) < WIDTH:
                rests.append(row)
                return
            yield root_of(row)

    for level in range(LEVELS):
        hashes = tiles(level, hashes)
    need(not list(hashes), "more entries than a log can have")
    root: list[bytes] = []
    for row in rests:
        root = [root_of(row + root)] if row + root else []
    return root_of(root)


def archive_files(folder: Path) -> list[dict[str, Any]]:
    """What the two manifests list, once every file is as listed and no other is there."""
    listed = [json.loads(read(folder / name))["files"] for name in MANIFESTS]
    seen: tuple[set[str], set[str]] = set(), set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        plain = not path.is_symlink() and (path.is_file() or path.is_dir())
        need(plain, f"{name}: neither file nor folder")
        if path.is_dir() or name in MANIFESTS:
            continue
        # Signatures are beside: honest nodes may hold others.
        part = name == "checkpoint" or name.startswith("signatures/")
        prove(name in listed[part], f"{name}: {MANIFESTS[part]} does not list it")
        with path.open("rb") as file:
            whole = [file_digest(file, "sha256").hexdigest(), file.tell()]
        prove(whole == listed[part][name][::-1], f"{name}: is not what {MANIFESTS[part]} says")
        seen[part].add(name)
    for files, names in zip(listed, seen, strict=True):
        prove(names == set(files), f"{min({*files} - names, default='')!r}: is not there")
    return listed


def archive(folder: Path, pinned: bytes | None) -> dict[str, Any]:
    """Files against manifests, entries through tiles to the root, the root against signatures."""
    genesis = read(folder / "genesis.cbor", SMALL_MAX)
    inside, beside = archive_files(folder)
    trust = [founding(genesis, pinned)]
    same = parse_policy(read(folder / "policy", SMALL_MAX)) == trust[0].policy
    prove(same, "policy: is not that of the founding document")
    if "signatures/policies.json" in beside:
        trust = walk(trust, json.loads(read(folder / "signatures/policies.json")))
    shown = certificate(read(folder / "checkpoint", SMALL_MAX), trust, log_line=False)
    size = shown["size"]
    root = archive_root(folder, (digest(LEAF, entry) for entry in archive_entries(folder, size)))
    prove(root == shown["root"], "the entries do not lead to the signed root")
    *_, last = archive_entries(folder, size, (size - 1) // WIDTH * WIDTH)
    facts = {"chain_id": sha256(genesis).hexdigest(), "origin": trust[0].record["origin"]}
    facts |= {"size": size, "root": root.hex(), "commits": from_cbor(last)["index"]}
    prove(shown["origin"] == facts["origin"], "the checkpoint is of another log")
    inner = {"format": "foedus/archive/1", "files": inside, "commits_per_file": 256, **facts}
    outer = {"format": "foedus/archive-signatures/1", "files": beside}
    for name, want in zip(MANIFESTS, (inner, outer), strict=True):
        text = json.dumps(want, sort_keys=True, separators=(",", ":")) + "\n"
        prove(read(folder / name) == text.encode(), f"{name}: says other things than are signed")
    files = len(inside) + len(beside)
    return {**facts, "epochs": len(trust), "files": files, "signed_by": shown["signed_by"]}


# --- the command ----------------------------------------------------------------------------------


def answer(given: argparse.Namespace) -> dict[str, Any]:
    """What is proven. Raises NotProven; for what has not its form, one of NO_FORM."""
    pinned = None if given.chain_id is None else bytes.fromhex(given.chain_id)
    need(pinned is None or len(pinned) == 32, "--chain-id: want 64 hexadecimal digits")
    if given.what == "archive":
        return archive(given.path, pinned)
    if given.what == "evidence":
        sys.modules["foedus_verify"] = sys.modules[__name__]  # run as a program, it is __main__
        from foedus_evidence import evidence

        return evidence(read(given.path), pinned, given.archive)
    need(given.policy, "whom to trust is said by --policy")
    trust = [Epoch(0, parse_policy(read(given.policy, SMALL_MAX)), {})]
    if given.policies:
        trust = walk(trust, json.loads(read(given.policies)))
    data = read(given.path, SMALL_MAX)
    if given.what == "certificate":
        return certificate(data, trust)
    shown = receipt(data, trust, given.entry and read(given.entry, ENTRY_MAX))
    return {"entry_sha256": digest(shown.pop("entry")), **shown}


def main(words: list[str] | None = None) -> int:
    """The command line: print what is shown, return the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("foedus-verify", description=__doc__, formatter_class=raw)
    parser.add_argument("what", choices=("receipt", "certificate", "archive", "evidence"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--chain-id", help="SHA-256 of the founding document, in hexadecimal")
    parser.add_argument("--policy", type=Path, help="the founders' trust policy")
    parser.add_argument("--policies", type=Path, help="links to later ones, a foedus/policies/1")
    parser.add_argument("--entry", type=Path, help="the entry, if the receipt has none")
    parser.add_argument("--archive", type=Path, help="shows what a log lacks, to evidence of that")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args(words)
    try:
        status, verdict, facts = 0, "proven", answer(given)
    except NotProven as err:
        status, verdict, facts = 1, "NOT PROVEN", {"why": str(err)}
    except (OSError, ImportError, *NO_FORM) as err:
        told = f"{type(err).__name__}: {err!s:.200}"
        status, verdict, facts = 2, "could not check", {"why": told}
    shown = {name: fact.hex() if isinstance(fact, bytes) else fact for name, fact in facts.items()}
    if given.json:
        print(json.dumps({"verdict": verdict, **shown}))
    else:
        for name, fact in shown.items():
            text = ", ".join(fact) if isinstance(fact, list) else str(fact)
            verdict += f"\n  {name}: {text}"
        told = verdict.encode("ascii", "backslashreplace").decode()  # strangers chose the names
        print(told, file=sys.stderr if status == 2 else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
