"""What begins with a chain id: whom to trust about an archive, and evidence. The second file of foedus-verify.

    python foedus_verify.py archive folder --chain-id 5f..              (or foedus-verify archive ...)
    python foedus_verify.py evidence file.json --chain-id 5f..

It rests on foedus_verify.py beside it, and on nothing else. The chain id is the SHA-256 of the founding document, whose members
have signed it. An evidence file holds that document and links to the epochs that it speaks of. foedus/evidence/1: what the
accused signed themselves, two roots that no one log has, two blocks for one place, or a promise that the log, which an archive
shows, does not keep. foedus/absence/1: how far the log goes, and where the chain of each author stands there; that no entry
before is one for the period follows from a whole log alone: `foedus audit absence --check`.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from foedus_verify import (
    COSIGNER,
    COSIGNER_ML_DSA,
    LEAF,
    LOG_KEY,
    NODE,
    SMALL_MAX,
    Facts,
    Key,
    Policy,
    archive_entries,
    archive_root,
    certificate,
    digest,
    from_base64,
    included,
    need,
    parse_checkpoint,
    parse_note,
    prove,
    read,
    signed_by,
    signers,
    walk,
)
from foedus_verify import archive as archive_of

ACKNOWLEDGEMENT = "application/vnd.foedus.acknowledgement.v1+cbor"
COMMIT_RECORD = b"\x64type\x66commit"  # how the map of a commit record goes on after its head
INCLUSION_S, GAP_SHARE = 600, 10  # unless the genesis says `inclusion_s`; see `withheld`
DEPTH_MAX = 16  # of CBOR


def answer(given: argparse.Namespace) -> Facts:
    """What is proven under a chain id. Raises as `foedus_verify.answer` does."""
    pinned = bytes.fromhex(given.chain_id or "")
    is_said = len(pinned) == 32 and given.policy is None
    need(is_said, "whom to trust is said by --chain-id alone, 64 hexadecimal digits")
    if given.what == "archive":
        trust = [founding(read(given.path / "genesis.cbor", SMALL_MAX), pinned)]
        return archive_of(given.path, trust)
    need(given.what == "evidence", "a chain id is for archives and evidence; here want --policy")
    return evidence(read(given.path), pinned, given.archive)


# --- the founding document ------------------------------------------------------------------------


def founding(document: bytes, pinned: bytes | None) -> Policy:
    """The founders' policy. Raises NotProven unless it is the document pinned, signed by every member that it names.

    They sign it without their signatures: the same map with one pair fewer.
    """
    chain_id = digest(document)
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
    return policy


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


# --- evidence -------------------------------------------------------------------------------------


class Case(NamedTuple):
    """What an evidence file says, and whom one may believe about it."""

    said: dict[str, Any]
    founders: dict[str, Any]  # the founding document
    chain_id: bytes
    trust: list[Policy]  # of each epoch

    def unhex(self, name: str) -> bytes:
        """A field of hexadecimal digits."""
        return bytes.fromhex(self.said[name])

    def number(self, name: str) -> int:
        """A field that is a whole number."""
        need(type(self.said[name]) is int and self.said[name] >= 0, f"{name}: want a number")
        return int(self.said[name])


def from_json(data: bytes) -> Any:
    """A JSON value in which no name stands twice: two readers could take two different ones."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(pairs)) == len(pairs), "JSON: a name stands twice in one object")
        return dict(pairs)

    return json.loads(data, object_pairs_hook=once)


def evidence(data: bytes, pinned: bytes | None, archive: Path | None) -> Facts:
    """Whom a file proves what. Raises NotProven; for what has not its form, what `need` and Python raise."""
    said = from_json(data)
    known = said.get("format") in ("foedus/evidence/1", "foedus/absence/1")
    need(
        known,
        "want foedus/evidence/1, of an audit one of those beside its report, or foedus/absence/1",
    )
    document = from_base64(said["genesis"])
    trust = [founding(document, pinned)]
    if "policies" in said:
        trust = walk(trust, {"format": "foedus/policies/1", "links": said["policies"]})
    case = Case(said, from_cbor(document), digest(document), trust)
    if said["format"] == "foedus/absence/1":
        return absence(case)
    kind, accused = said["kind"], said["accused"]
    named = isinstance(accused, list) and accused and all(isinstance(one, str) for one in accused)
    need(named, "evidence: accuses nobody")
    beyond = {}
    if kind == "withheld":
        found = withheld(case, archive)
        beyond["not_shown"] = "that no rule dropped the entry: `foedus audit --acknowledgement`"
    else:
        kinds = {"two-roots": two_roots, "two-blocks": two_blocks}
        need(kind in kinds, f"evidence of kind {kind!r:.40}")
        found = kinds[kind](case)
    shown = f"it accuses {', '.join(accused)}, and shows it of {', '.join(found) or 'nobody'}"
    prove(set(accused) <= set(found), shown)
    return {"kind": kind, "shown_of": accused, "chain_id": case.chain_id, **beyond}


# --- two roots ------------------------------------------------------------------------------------


def extended(old: int, new: int, proof: list[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """The roots of `old` and of `new` leaves that a consistency proof leads to (RFC 9162, section 2.1.4).

    `known`: the old root, where the proof leaves it out.
    """
    need(0 < old <= new, f"a tree of {old} leaves within one of {new}")
    if old == new:
        need(len(proof) == (known is None), "consistency proof: too long or too short")
        root = proof[0] if known is None else known
        return root, root
    need(proof, "consistency proof: too short")
    left = 1 << (new - 1).bit_length() - 1
    if old <= left:
        first, second = extended(old, left, proof[:-1], known)
        return first, digest(NODE, second, proof[-1])
    first, second = extended(old - left, new - left, proof[:-1], None)
    return digest(NODE, proof[-1], first), digest(NODE, proof[-1], second)


def two_roots(case: Case) -> list[str]:
    """Who cosigned two checkpoints of which one log has at most one.

    Of two sizes, `prefix_root` is the larger log's root at the smaller size. Each is judged by the keys of its own epoch.
    """
    notes = [case.said[name].encode() for name in ("first", "second")]
    points = [parse_checkpoint(parse_note(note)[0]) for note in notes]
    (origin, small, root), (other_origin, large, other_root) = points
    same = origin == other_origin == case.founders["origin"]
    need(
        same and 0 < small <= large, "evidence: want two checkpoints of this ledger, smaller first"
    )
    if small < large:
        prefix, proof = case.unhex("prefix_root"), [*map(bytes.fromhex, case.said["prefix_proof"])]
        need(
            len(prefix) == 32 and all(len(part) == 32 for part in proof), "want hashes of 32 bytes"
        )
        leads = extended(small, large, proof, prefix) == (prefix, other_root)
        prove(leads, f"the second log is not shown to have this root at {small}")
        other_root = prefix
    prove(other_root != root, "the two checkpoints are of one log")
    signed, claimed = [], []
    for note, size in zip(notes, (small, large), strict=True):
        policy = next(each for each in case.trust[::-1] if size > each.after)
        witnesses = policy.witnesses
        keys, labels = (
            signers(note, [*witnesses.values()]),
            {label for label, _ in parse_note(note)[1]},
        )
        signed.append([name for name, key in witnesses.items() if key in keys])
        claimed.append(
            {n.removesuffix("/pq") for n, key in witnesses.items() if key.label() in labels}
        )
    found = [state for state in signed[0] if state in signed[1]]
    unread = (claimed[0] & claimed[1] & {*case.said["accused"]}).difference(found)
    need(
        not unread,
        f"the lines of {', '.join(sorted(unread))} are by ML-DSA-44, which PyNaCl has not: `foedus audit confirm` reads them",
    )
    return found


# --- two blocks -----------------------------------------------------------------------------------


def two_blocks(case: Case) -> list[str]:
    """One block key, two blocks of one round. `block_keys`: of the whole committee, whose hash the epoch's record fixes."""
    epoch, author = case.number("epoch"), case.number("author")
    place = (
        epoch.to_bytes(4, "big")
        + case.number("round").to_bytes(4, "big")
        + author.to_bytes(2, "big")
    )
    keys = [bytes.fromhex(key) for key in case.said["block_keys"]]
    need(all(len(key) == 32 for key in keys), "block_keys: want 32 bytes each")
    if epoch == 0:
        states = [member["state"] for member in case.founders["members"]]
        same = keys == [member["block_key"] for member in case.founders["members"]]
    else:
        record = from_cbor(case.trust[epoch].record)
        states = [state for state, _ in record["members"]]
        count = place[:4] + len(keys).to_bytes(2, "big")
        same = record["committee_hash"] == digest(b"\x0bcommittee/1", count, *keys)
    prove(same, f"these are not the block keys of epoch {epoch}")
    digests = case.unhex("digest1"), case.unhex("digest2")
    for block, name in zip(digests, ("signature1", "signature2"), strict=True):
        message = digest(b"\x0csign/block/1", case.chain_id, place, block)
        good = len(block) == 32 and signed_by(keys[author], message, case.unhex(name))
        prove(good, f"{name} is not by {states[author]}")
    return [states[author]] if digests[0] != digests[1] else []


# --- a promise that was not kept ------------------------------------------------------------------


def withheld(case: Case, archive: Path | None) -> list[str]:
    """A node promised to include an entry by a time, the log ran on past it, and an archive shows that it has no such entry.

    It ran for as long again as promises last, and a gap between commit records counts for a tenth of that at most: after a
    halt the first of them is past every promise that was open, before anybody could keep one.
    """
    acknowledgement = case.unhex("acknowledgement")
    need(acknowledgement[:2] == b"\xd2\x84", "acknowledgement: want COSE_Sign1")
    protected, unprotected, payload, signature = from_cbor(acknowledgement[1:])
    header, promise = from_cbor(protected), from_cbor(payload)
    need(unprotected == {} and header[3] == ACKNOWLEDGEMENT, "acknowledgement: its header")
    # RFC 9052, section 4.4: signed is ["Signature1", header, no bytes, payload].
    node, parts = promise["node"], (byte_string(protected), b"\x40", byte_string(payload))
    signed = b"\x84\x6aSignature1" + b"".join(parts)
    good = promise["ledger"] == case.chain_id and any(
        signed_by(key, signed, signature) for key in log_keys(case.trust, node)
    )
    prove(good, "the acknowledgement is not by a member of this ledger")
    point = certificate(case.said["checkpoint"].encode(), case.trust, log_line=False)
    record, end, size = case.unhex("commit_record"), case.number("index"), point["size"]
    proof = [bytes.fromhex(part) for part in case.said["proof"]]
    leads = included(digest(LEAF, record), end, size, proof) == point["root"]
    prove(leads, "the commit record is not in the log")
    fields = from_cbor(record)
    last, ran = promise["inclusion_by_ms"], 0
    is_past = fields.get("type") == "commit" and fields["time_ms"] > last
    prove(is_past, "the log has not gone past the time that was promised")
    enough = 1000 * max(1, case.founders["protocol"].get("inclusion_s", INCLUSION_S))
    if archive is None:
        raise ValueError(f"whether the entry is among the first {end + 1}, an --archive shows")

    def leaves() -> Iterator[bytes]:
        nonlocal last, ran
        for index, entry in enumerate(archive_entries(archive, size)):
            is_it = index <= end and digest(entry) == promise["entry"]
            prove(not is_it, f"the entry is number {index} of the log")
            if index <= end and entry[1:13] == COMMIT_RECORD:
                time = from_cbor(entry)["time_ms"]
                ran += max(0, min(time - last, enough // GAP_SHARE))
                last = max(last, time)
            yield digest(LEAF, entry)

    whole = archive_root(archive, leaves(), size) == point["root"]
    prove(whole, "the archive does not lead to the signed root")
    prove(
        ran >= enough, f"the log ran on for {ran} ms past it, as far as gaps count: want {enough}"
    )
    return [node]


def byte_string(data: bytes) -> bytes:
    """In CBOR, as the deterministic encoding has it."""
    size = len(data)
    need(size < 1 << 16, "a byte string too long")
    if size < 24:
        return bytes([0x40 | size]) + data
    return (b"\x58" + bytes([size]) if size < 256 else b"\x59" + size.to_bytes(2, "big")) + data


def log_keys(trust: list[Policy], state: str) -> list[bytes]:
    """Those that a state has ever had. A policy of the ledger lists logs and witnesses by state, in one order."""
    found = []
    for policy in trust:
        states = [n for n, key in policy.witnesses.items() if key.kind != COSIGNER_ML_DSA]
        pairs = zip(states, policy.logs, strict=True)
        found += [key.public for name, key in pairs if name == state]
    return found


# --- what was not filed ---------------------------------------------------------------------------


def absence(case: Case) -> Facts:
    """What a statement of absence shows by itself: till when the log goes, and each author's last entry there."""
    stand = case._replace(said=case.said["stands_on"])
    point = certificate(stand.said["checkpoint"].encode(), case.trust, log_line=False)
    origin, larger = case.founders["origin"], point["size"]
    same = stand.said["chain_id"] == case.chain_id.hex() and point["origin"] == origin
    prove(same, "the statement is of another ledger")
    size, root, record = stand.number("size"), stand.unhex("root"), stand.unhex("commit_record")
    proof, path = (
        [bytes.fromhex(part) for part in stand.said[name]] for name in ("consistency", "inclusion")
    )
    need(all(len(part) == 32 for part in [root, *proof, *path]), "want hashes of 32 bytes")
    leads = extended(size, larger, proof, root) == (root, point["root"])
    prove(leads, f"the root at {size} is not of the log that was signed at {larger}")
    leads = included(digest(LEAF, record), size - 1, larger, path) == point["root"]
    prove(leads, "the commit record is not the last of these entries")
    fields = from_cbor(record)
    time_s = fields["time_ms"] // 1000
    told = ["commit", stand.number("commit"), stand.number("time_s"), stand.unhex("state_digest")]
    found = [fields.get("type"), fields["index"], time_s, fields["state_digest"]]
    prove(found == told, "the commit record says something else")
    for author in case.said["authors"]:
        shown = case.said["chains"][author]
        prove(chain_stands(author, shown, fields["state_digest"]), f"the chain of {author}")
    past = time_s >= case.number("due_s")
    prove(past or case.said["verdict"] in ("filed", "undecided"), "the deadline has not passed")
    return {
        "kind": "absence",
        "chain_id": case.chain_id,
        "log_until_s": time_s,
        "size": size,
        "root": root,
        "last_entries": [f"{a} #{case.said['chains'][a]['seq']}" for a in case.said["authors"]],
        "signed_by": point["signed_by"],
        "claimed": case.said["what"],
        "not_shown": "that no entry up to there is for the period: `foedus audit absence --check`",
    }


def chain_stands(author: str, shown: dict[str, Any], state_digest: bytes) -> bool:
    """Whether the state has this author's row as shown: so many entries, the last of this hash; or no row at all.

    The state is 65,536 buckets by the first two bytes of a key's hash, and a tree over their hashes.
    """
    pairs = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in shown["pairs"]]
    path, key = [bytes.fromhex(part) for part in shown["path"]], f"chain/{author}".encode()
    keys = [each for each, _ in pairs]
    need(keys == sorted(set(keys)), "a bucket of the state: keys out of order, or twice")
    sized = [len(part).to_bytes(4, "big") + part for pair in pairs for part in pair]
    bucket, number = digest(*sized) if pairs else bytes(32), int.from_bytes(digest(key)[:2], "big")
    is_there = included(digest(LEAF, bucket), number, 1 << 16, path) == state_digest
    seq, row = shown["seq"], None
    if seq:
        spelt = seq.to_bytes(seq.bit_length() // 8 + 1, "big", signed=True)
        row = b"\x04\0\0\0\2\x01" + bytes([len(spelt)]) + spelt
        row += b"\x02\0\0\0\x20" + bytes.fromhex(shown["entry"])
    return is_there and dict(pairs).get(key) == row
