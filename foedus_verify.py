#!/usr/bin/env python3
r"""Check what a Foedus ledger has signed: one file, Python 3.11 and PyNaCl, no network.

    python foedus_verify.py receipt entry7.tlog-proof --policy policy    an entry is in the log
    python foedus_verify.py certificate checkpoint --policy policy      states signed this log
    python foedus_verify.py archive folder --policy policy              its entries are that log

Exit status: 0 proven, 1 not proven, 2 could not be checked. Whom to trust must come to you by
another way than what you check: the founders' policy file, of keys and how many of them must sign.
From it `walk` leads to members and keys of later epochs. With foedus_evidence.py beside this file,
the chain id (--chain-id 5f.., the SHA-256 of the founding document) says as much, and evidence
against states is judged: evidence file.json --chain-id 5f..  What is proven comes first below, then
how it is spelt: RFC 9162 (the tree) and C2SP's signed-note, tlog-checkpoint, -cosignature, -policy,
-proof and -tiles. The ledger's own rules are not run again here: `foedus audit` does that.
"""

import argparse
import json
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Iterator
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

FILE_MAX, SMALL_MAX, ENTRY_MAX = 1 << 30, 1 << 24, 65_535  # bytes
LINES_MAX, WIDTH, RANGE = 4096, 256, 256  # of a note, policy; hashes in a tile; commits in a file
LEAF, NODE = b"\x00", b"\x01"  # before what is hashed in the tree
LOG_KEY, COSIGNER, COSIGNER_ML_DSA = 1, 4, 6  # PyNaCl has no ML-DSA: its lines say nothing here
KEY_BYTES = {LOG_KEY: 32, COSIGNER: 32, COSIGNER_ML_DSA: 1312}
MANIFESTS, POLICIES = ("manifest.json", "signatures/manifest.json"), "signatures/policies.json"
Facts = dict[str, Any]  # what is shown, by name
# Records of the ledger, told by their bytes: CBOR (RFC 8949), of which each has one encoding.
UINT, HASH = rb"([\x00-\x17]|\x18.|\x19..|\x1a.{4}|\x1b.{8})", rb"\x58\x20(.{32})"
GENESIS = rb"(?s)\xa3\x64type\x67genesis\x66origin.+\x68chain_id" + HASH
COMMIT = rb"(?s)[\xa2-\xb7]\x64type\x66commit\x65index" + UINT + rb".*"
EPOCH = rb"(?s)\xa5\x64type\x65epoch\x65epoch" + UINT + rb"\x67members.*"
EPOCH += rb"\x6ctrust_policy" + HASH + rb"\x6ecommittee_hash" + HASH
# What Python says of values that are not of the form that they should have.
NO_FORM = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class NotProven(Exception):
    """Well formed, and it does not show what it should. Exit status 1."""


def prove(good: object, why: str) -> None:
    """Raise NotProven unless good."""
    if not good:
        raise NotProven(why)


def need(good: object, why: str) -> None:
    """Raise ValueError unless good: not of its form, so nothing is known. Exit status 2."""
    if not good:
        raise ValueError(why)


class Key(NamedTuple):
    """Whose line it is."""

    name: str
    kind: int
    public: bytes

    def label(self) -> tuple[str, bytes]:
        """What the line carries: the name, and 4 bytes of a hash."""
        name = self.name.encode("utf-8", "surrogateescape")
        return self.name, digest(name, b"\n", bytes([self.kind]), self.public)[:4]


class Policy(NamedTuple):
    """Whom to believe about logs of more than `after` entries, until another policy begins."""

    logs: list[Key]
    witnesses: dict[str, Key]
    groups: dict[str, tuple[int, list[str]]]  # holds when so many of these hold, which stand before
    quorum: str
    after: int = 0
    record: bytes = b""  # the entry that it began with

    def holds(self, names: Collection[str]) -> bool:
        """Whether the quorum is there when exactly these witnesses signed."""
        held = {"none", *names}
        for group, (threshold, members) in self.groups.items():
            if len(held.intersection(members)) >= threshold:
                held.add(group)
        return self.quorum in held


def certificate(note: bytes, trust: list[Policy], *, log_line: bool = True) -> Facts:
    """What this note shows, once the policy for its size believes it: by a log and a quorum."""
    origin, size, root = parse_checkpoint(parse_note(note)[0])
    policy = next((each for each in trust[::-1] if size > each.after), trust[0])
    found = signers(note, [*policy.logs, *policy.witnesses.values()])
    names = [name for name, key in policy.witnesses.items() if key in found]
    by_log = any(key in policy.logs and key.name == origin for key in found)
    prove(by_log or not log_line, f"no log of origin {origin!r} signed it")
    prove(policy.holds(names), f"signed by {', '.join(names) or 'nobody known'}: no quorum")
    return {"origin": origin, "size": size, "root": root, "signed_by": names}


def signers(note: bytes, keys: Iterable[Key]) -> set[Key]:
    """Which of these signed. A bad line by one of them condemns the note; others say nothing."""
    text, lines = parse_note(note)
    known, found = {key.label(): key for key in keys if key.kind != COSIGNER_ML_DSA}, set()
    for label, signature in lines:
        if key := known.get(label):
            message = text
            if key.kind == COSIGNER:  # signs its own time as well: 8 bytes before the signature
                time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                prove(time < 1 << 63, f"the line of {key.name} has no time")
                message = b"cosignature/v1\ntime %d\n" % time + text
            prove(signed_by(key.public, message, signature), f"a line is not by {key.name}")
            found.add(key)
    return found


def receipt(
    data: bytes, trust: list[Policy], entry: bytes | None, *, log_line: bool = True
) -> Facts:
    """What a tlog-proof shows; the entry stands in its `extra`, or beside it."""
    form = r"c2sp\.org/tlog-proof@v1\n(?:extra (.+)\n)?index (.+)\n((?:.+\n){0,63})\n((?s:.+))"
    extra, number, hashes, note = parts(form, data.decode())
    need(extra or entry is not None, "receipt: holds no entry: name it by --entry")
    held = from_base64(extra) if extra else b""
    entry = held if entry is None else entry
    index, proof = from_decimal(number), [from_base64(line, 32) for line in hashes.split("\n")[:-1]]
    shown = certificate(note.encode(), trust, log_line=log_line)
    leads = included(digest(LEAF, entry), index, shown["size"], proof) == shown["root"]
    prove(leads, f"the proof does not lead from this entry to the root of {shown['size']} entries")
    return {"index": index, "entry": entry, **shown}


def archive(folder: Path, trust: list[Policy]) -> Facts:
    """Files against manifests, entries through tiles to the root, the root against signatures."""
    inside, beside = archive_files(folder)
    same = parse_policy(read(folder / "policy", SMALL_MAX)) == trust[0]
    prove(same, "policy: is not that of the founders whom you trust")
    if POLICIES in beside:
        trust = walk(trust, json.loads(read(folder / POLICIES)))
    shown = certificate(read(folder / "checkpoint", SMALL_MAX), trust, log_line=False)
    origin, size, root = shown["origin"], shown["size"], shown["root"]
    ours = size and origin in [key.name for key in trust[0].logs]
    prove(ours, "the checkpoint is of another log, or of no entries")
    leaves = (digest(LEAF, entry) for entry in archive_entries(folder, size))
    prove(archive_root(folder, leaves, size) == root, "the entries do not lead to the signed root")
    (chain_id,) = parse_record(GENESIS, next(archive_entries(folder, size)))
    same = digest(read(folder / "genesis.cbor", SMALL_MAX)) == chain_id
    prove(same, "genesis.cbor: is not the document that the log begins with")
    *_, last = archive_entries(folder, size, (size - 1) // WIDTH * WIDTH)
    (commits,) = parse_record(COMMIT, last)
    facts = {"chain_id": chain_id.hex(), "origin": origin, "size": size, "root": root.hex()}
    facts["commits"] = commits
    inner = {"format": "foedus/archive/1", "commits_per_file": RANGE, **facts}
    outer = {"format": "foedus/archive-signatures/1"}
    wanted = zip(MANIFESTS, (inner, outer), archive_names(size, commits), strict=True)
    for (manifest, head, names), files in zip(wanted, (inside, beside), strict=True):
        odd = names ^ (files.keys() - {POLICIES})
        prove(not odd, f"{min(odd, default='')!r}: is missing, or no file of an archive")
        text = json.dumps({**head, "files": files}, sort_keys=True, separators=(",", ":")) + "\n"
        prove(read(folder / manifest) == text.encode(), f"{manifest}: says what is not signed")
    count = len(inside) + len(beside)
    return {**facts, "epochs": len(trust), "files": count, "signed_by": shown["signed_by"]}


def archive_files(folder: Path) -> tuple[Facts, Facts]:
    """Size and SHA-256 of the files of each manifest, once they are the very ones that it lists."""
    found: tuple[Facts, Facts] = {}, {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        plain = not path.is_symlink() and (path.is_file() or path.is_dir())
        need(plain, f"{name}: neither file nor folder")
        if path.is_file() and name not in MANIFESTS:
            # Signatures are beside: honest nodes may hold others.
            part = name == "checkpoint" or name.startswith("signatures/")
            with path.open("rb") as file:
                found[part][name] = [path.stat().st_size, file_digest(file, "sha256").hexdigest()]
    for manifest, there in zip(MANIFESTS, found, strict=True):
        listed = json.loads(read(folder / manifest))["files"]
        odd = [name for name in {**listed, **there} if listed.get(name) != there.get(name)]
        prove(not odd, f"{min(odd, default='')!r}: is not what {manifest} says")
    return found


def archive_names(size: int, commits: int) -> tuple[set[str], set[str]]:
    """The files of both parts, of an archive of so many entries and commits."""
    inside, beside = {"genesis.cbor", "policy"}, {"checkpoint", "signatures/undecided"}
    for level, count in ("entries", size), *((str(high), size >> 8 * high) for high in range(8)):
        rows = range(0, count, WIDTH)
        inside |= {tile_path(level, at // WIDTH, min(WIDTH, count - at)) for at in rows}
    for first in range(1, commits + 1, RANGE):
        inside |= {f"{kind}/{first:010}.{kind}" for kind in ("blocks", "commits")}
        beside |= {f"signatures/{first:010}.{kind}" for kind in ("blocks", "deciders")}
    return inside, beside


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


def archive_root(folder: Path, hashes: Iterable[bytes], size: int, level: int = 0) -> bytes:
    """The root over `size` hashes; each tile must hold just its own, and so on above."""
    rows, roots = iter(hashes), list[bytes]()
    while row := list(islice(rows, WIDTH)):
        name = tile_path(str(level), len(roots), len(row))
        same = read(folder / name) == b"".join(row)
        prove(same, f"{name}: is not that of the entries")
        roots.append(root_of(row))
    if full := size // WIDTH:  # tiles are one hash each of the level above
        archive_root(folder, roots[:full], full, level + 1)
    return root_of(roots)


def tile_path(level: str, index: int, width: int) -> str:
    """C2SP tlog-tiles: groups of three digits, x before all but the last."""
    number = f"{index % 1000:03}"
    while index := index // 1000:
        number = f"x{index % 1000:03}/{number}"
    return f"tile/{level}/{number}" + ("" if width == WIDTH else f".p/{width}")


def walk(trust: list[Policy], policies: Any) -> list[Policy]:
    """From whom one trusts to the members and keys of later epochs: a foedus/policies/1 file.

    Each link is a receipt for the record that begins an epoch, as the last entry but one of a log
    signed by the members before it, who sign no further; and the policy whose hash it holds.
    """
    need(policies["format"] == "foedus/policies/1", "policies: want foedus/policies/1")
    for link in policies["links"]:
        shown = receipt(link["proof"].encode(), trust, None, log_line=False)
        text, place = link["policy"].encode(), f"the link to epoch {len(trust)}"
        said = parse_record(EPOCH, shown["entry"])
        prove(said[:2] == [len(trust), digest(text)], f"{place}: no record of it")
        is_last = shown["index"] == shown["size"] - 2 and shown["size"] > trust[-1].after
        prove(is_last, f"{place}: its checkpoint does not end the epoch before")
        trust = [*trust, parse_policy(text)._replace(after=shown["size"], record=shown["entry"])]
    return trust


def parse_policy(data: bytes) -> Policy:
    """C2SP tlog-policy: each name once, before its use; each key once; each member in one group."""
    text = data.decode("utf-8", "surrogateescape")
    need(text.endswith("\n") and text.count("\n") <= LINES_MAX, "policy: no end, or too long")
    need(not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), "policy: holds control characters")
    made, free = Policy([], {}, {}, ""), set[str]()  # free: to join a group
    for line in text.split("\n"):
        names = {*made.witnesses, *made.groups, "none"}
        match re.split("[ \t]+", line.strip(" \t")):
            case ["log", key] | ["log", key, _]:
                made.logs.append(parse_key(key, (LOG_KEY, COSIGNER_ML_DSA)))
            case ["witness", name, key] | ["witness", name, key, _] if name not in names:
                made.witnesses[name] = parse_key(key, (COSIGNER, COSIGNER_ML_DSA))
                free.add(name)
            case ["group", name, least, *members] if name not in names and free >= {*members}:
                threshold = {"any": 1, "all": len(members)}.get(least) or from_decimal(least)
                need(1 <= threshold <= len({*members}) == len(members), f"policy: {line[:60]!r}")
                made.groups[name] = threshold, members
                free = free - {*members} | {name}
            case ["quorum", name] if name in names and not made.quorum:
                made = made._replace(quorum=name)
            case [word, *_]:
                need(word == "" or word.startswith("#"), f"policy: {line[:60]!r}")
    keys = [key.public for key in [*made.logs, *made.witnesses.values()]]
    need(made.quorum and len(keys) == len(set(keys)), "policy: no quorum, or one key twice")
    return made


def parse_key(text: str, kinds: Collection[int] = tuple(KEY_BYTES)) -> Key:
    """A vkey: name+4 bytes in hex+base64(kind || key)."""
    name, stated, encoded = parts(r"([^\s+]+)\+(.{8})\+(.+)", text)
    data = from_base64(encoded)
    key = Key(name, data[0], data[1:])
    good = key.kind in kinds and len(key.public) == KEY_BYTES[key.kind]
    need(good and key.label()[1].hex() == stated, f"{text[:60]!r}: no key of a kind for this")
    return key


def parse_note(data: bytes) -> tuple[bytes, list[tuple[tuple[str, bytes], bytes]]]:
    """C2SP signed-note: the signed text, and of each line (label, signature)."""
    text, ending = parts(r"((?s:.*)\n)\n((?:.+\n)++)", data.decode())
    need(ending.count("\n") <= LINES_MAX, f"note: more than {LINES_MAX} lines")
    lines = []
    for line in ending[:-1].split("\n"):
        name, encoded = parts(r"— ([^\s+]+) (.+)", line)
        signature = from_base64(encoded)
        need(len(signature) > 4, "note: a line without a signature")
        lines.append(((name, signature[:4]), signature[4:]))
    return text.encode(), lines


def parse_checkpoint(text: bytes) -> tuple[str, int, bytes]:
    """C2SP tlog-checkpoint: origin, size and root; further lines say nothing here."""
    origin, size, root = parts(r"(.+)\n(.+)\n(.+)\n(?:.+\n)*+", text.decode())
    return origin, from_decimal(size), from_base64(root, 32)


def parts(form: str, text: str) -> tuple[str, ...]:
    """What the groups of this form hold, if the whole text is of it; "" for one left out."""
    found = re.fullmatch(form, text)
    if found is None or re.search(r"[\x00-\x09\x0b-\x1f]", text):
        raise ValueError(f"{text[:60]!r}: want {form!r}, without control characters")
    return found.groups("")


def parse_record(form: bytes, entry: bytes) -> list[Any]:
    """The hashes (32 bytes) and numbers (itself, or one byte of how wide it is and it) there."""
    found = re.fullmatch(form, entry)
    if found is None:
        raise ValueError(f"{entry[:60]!r}: want {form!r}")
    return [p if len(p) == 32 else int.from_bytes(p[1:] or p, "big") for p in found.groups()]


def from_base64(text: str, length: int | None = None) -> bytes:
    """RFC 4648, section 4, padded, spare bits zero: one text for each value."""
    data = b64decode(text, validate=True)
    good = b64encode(data).decode() == text and len(data) == (length or len(data) or 1)
    need(good, f"{text[:60]!r}: not base64 of {length or 'any'} bytes")
    return data


def from_decimal(text: str) -> int:
    """A number below 2^64, without leading zeros."""
    good = re.fullmatch("0|[1-9][0-9]{0,19}", text) and int(text) < 1 << 64
    need(good, f"{text[:60]!r}: no number below 2^64")
    return int(text)


def read(path: Path, limit: int = FILE_MAX) -> bytes:
    """All of a plain file."""
    good = path.is_file() and path.stat().st_size <= limit
    need(good, f"{path}: no file, or of more than {limit} bytes")
    return path.read_bytes()


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


def root_of(hashes: list[bytes]) -> bytes:
    """Of leaves, or of full subtrees of one size and a rest: pairs join, an odd one goes up."""
    while len(hashes) > 1:
        pairs = [hashes[at : at + 2] for at in range(0, len(hashes), 2)]
        hashes = [digest(NODE, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return hashes[0] if hashes else digest()


def included(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.3: the root that a proof leads to. Its last hash is nearest to it."""
    need(0 <= index < size, f"index {index} in a tree of {size}")
    need(bool(proof) == (size > 1), "inclusion proof: too long or too short")
    if size == 1:
        return leaf
    left = 1 << (size - 1).bit_length() - 1  # leaves left of the top: a power of two below size
    if index < left:
        return digest(NODE, included(leaf, index, left, proof[:-1]), proof[-1])
    return digest(NODE, proof[-1], included(leaf, index - left, size - left, proof[:-1]))


def answer(given: argparse.Namespace) -> Facts:
    """What is proven. Raises NotProven; for what has not its form, one of NO_FORM."""
    if given.what == "evidence" or given.chain_id:
        sys.modules["foedus_verify"] = sys.modules[__name__]  # run as a program, it is __main__
        from foedus_evidence import answer as by_chain_id

        return by_chain_id(given)
    need(given.policy, "whom to trust is said by --policy")
    trust = [parse_policy(read(given.policy, SMALL_MAX))]
    if given.what == "archive":
        return archive(given.path, trust)
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
        why = str(err) if isinstance(err, ValueError | OSError | ImportError) else repr(err)
        status, verdict, facts = 2, "could not check", {"why": why[:200]}
    if given.json:
        print(json.dumps({"verdict": verdict, **facts}, default=bytes.hex))
        return status
    for name, fact in facts.items():  # in JSON, for strangers chose names that a terminal may obey
        told = ", ".join(fact) if isinstance(fact, list) else fact
        verdict += f"\n  {name}: " + json.dumps(told, default=bytes.hex).strip('"')
    print(verdict, file=sys.stderr if status == 2 else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
