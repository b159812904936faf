r"""Trust policies: c2sp.org/tlog-policy, a text file that says which checkpoints to believe.

    log <vkey> [url]                            a log key; its name is the origin that it speaks for
    witness <name> <vkey> [url]                 a cosigner
    group <name> <k|any|all> <member>...        k of these witnesses and groups
    quorum <name|none>                          exactly once

Words are separated by spaces and tabs, comments are whole lines starting with #, every line ends in \n, names are
octets. Defined before used; each name in at most one group; no key twice, compared as raw keys. A checkpoint is believed if
any listed log signed it and the quorum holds. Our ledger has N logs, N witnesses and one group of `quorum` = floor(2N/3)+1
of them (R2): a checkpoint that satisfies it is *final*.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.cosignature import Verify, line_check, parse_cosignature
from node.log.errors import MalformedKey, MalformedPolicy, Untrusted, shown
from node.log.note import KeyType, VerifierKey, open_note, parse_note, parse_vkey
from node.log.strict import decimal

POLICY_BYTES_MAX = 4_000_000  # 200 members with two ML-DSA keys each need 1,000,000
POLICY_LINES_MAX = 4_096
JUDGED_MAX = 8  # notes that a judge remembers, of NOTE_BYTES_MAX at most

_LOG_TYPES = (KeyType.ED25519, KeyType.MLDSA_COSIGNATURE)
_WITNESS_TYPES = (KeyType.COSIGNATURE, KeyType.MLDSA_COSIGNATURE)
_NONE = "none"
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLog:
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyWitness:
    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGroup:
    """Witnesses a checkpoint when at least `threshold` of its members do."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """A policy that has been checked: every member is defined before its group, `quorum` is defined or None."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]  # in the order of their lines
    quorum: str | None

    def counted(self) -> frozenset[str]:
        """Names of the witnesses that the quorum rests on; all, if it rests on none."""
        names = {witness.name for witness in self.witnesses}
        if self.quorum is None:
            return frozenset(names)
        wanted = {self.quorum}
        for group in reversed(self.groups):  # members come before their group
            if group.name in wanted:
                wanted.update(group.members)
        return frozenset(wanted & names)

    def satisfied_by(self, witnesses: Collection[str]) -> bool:
        """True if the quorum holds when exactly the witnesses of these names cosigned."""
        if self.quorum is None:
            return True
        known = {witness.name for witness in self.witnesses}
        witnessing = known.intersection(witnesses)
        for group in self.groups:  # members come before their group, so one pass will do
            if sum(member in witnessing for member in group.members) >= group.threshold:
                witnessing.add(group.name)
        return self.quorum in witnessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a policy says of a note. `why` names what is missing when it is not satisfied."""

    satisfied: bool
    why: str
    checkpoint: Checkpoint
    logs: tuple[VerifierKey, ...]
    witnesses: tuple[
        str, ...
    ]  # names, in the order of the note's lines, of those that the quorum rests on
    timestamps: tuple[int, ...]  # theirs, POSIX seconds
    beside: tuple[
        str, ...
    ] = ()  # names of the other witnesses that signed: second lines of a policy of ours


def evaluate(
    policy: TrustPolicy,
    note_bytes: bytes,
    verify: Verify,
    verify_mldsa: Verify | None = None,
    *,
    log_line: bool = True,
) -> Evaluation:
    """Judges a checkpoint note. Raises MalformedNote, MalformedCheckpoint; a bad line by a known key is an answer.

    `log_line` False: by the witnesses alone.
    """
    note = parse_note(note_bytes)
    checkpoint = parse_checkpoint(note.text)
    log_keys = tuple(log.key for log in policy.logs)
    names = {witness.key: witness.name for witness in policy.witnesses}
    why = ""
    signers: tuple[VerifierKey, ...] = ()
    try:
        signers = open_note(note, (*log_keys, *names), line_check(verify, verify_mldsa))
    except Untrusted as err:
        why = str(err)
    logs = tuple(key for key in signers if key in log_keys and key.name == checkpoint.origin)
    signed = tuple(names[key] for key in signers if key in names)
    counted = policy.counted()
    witnesses = tuple(name for name in signed if name in counted)
    if not why and log_line and not logs:
        why = f"no line by a listed log of origin {shown(checkpoint.origin)}"
    if not why and not policy.satisfied_by(signed):
        why = f"cosigned by {len(witnesses)} listed witnesses ({', '.join(witnesses)}): no quorum"
    by_label = {(key.name, key.key_id): key for key, name in names.items() if name in counted}
    timestamps: dict[VerifierKey, int] = {}
    for line in note.lines:
        key = by_label.get((line.name, line.key_id))
        if key in signers and key is not None:
            stamp = parse_cosignature(line.signature, key.key_type).timestamp
            timestamps.setdefault(key, stamp)
    return Evaluation(
        satisfied=not why,
        why=why,
        checkpoint=checkpoint,
        logs=logs,
        witnesses=witnesses,
        timestamps=tuple(timestamps.values()),
        beside=tuple(name for name in signed if name not in counted),
    )


class Judge:
    """`evaluate` under one policy, with the last few answers remembered.

    Receipts come many to a checkpoint: its signatures are checked once, the entries' paths each time.
    """

    def __init__(
        self, policy: TrustPolicy, verify: Verify, verify_mldsa: Verify | None = None
    ) -> None:
        self._policy = policy
        self._verify = verify
        self._verify_mldsa = verify_mldsa
        self._known: dict[bytes, Evaluation] = {}  # at most JUDGED_MAX notes, oldest first

    def of(self, note: bytes) -> Evaluation:
        """Raises as `evaluate`; what is malformed is not remembered."""
        found = self._known.get(note)
        if found is None:
            found = evaluate(self._policy, note, self._verify, self._verify_mldsa)
            self._known[note] = found
            if len(self._known) > JUDGED_MAX:
                del self._known[next(iter(self._known))]
        return found


def parse_policy(data: bytes) -> TrustPolicy:
    """The policy that this file spells. Raises MalformedPolicy naming line and word."""
    if len(data) > POLICY_BYTES_MAX:
        raise MalformedPolicy(f"policy of {len(data)} bytes: at most {POLICY_BYTES_MAX}")
    for position, octet in enumerate(data):
        if (octet < 0x20 and octet not in (0x09, 0x0A)) or octet == 0x7F:
            raise MalformedPolicy(f"policy: control octet 0x{octet:02x} at {position}")
    # Octets above 0x7f are opaque; surrogateescape carries them through names and URLs unchanged.
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if lines.pop() != "":
        raise MalformedPolicy("policy: the last line does not end in a newline")
    if len(lines) > POLICY_LINES_MAX:
        raise MalformedPolicy(f"policy of {len(lines)} lines: at most {POLICY_LINES_MAX}")
    builder = _Builder()
    for number, line in enumerate(lines, start=1):
        words = line.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            builder.add(words[0], words[1:])
        except (MalformedPolicy, MalformedKey) as err:
            raise MalformedPolicy(f"policy line {number}: {err}") from None
    return builder.build()


class _Builder:
    """Reads a policy line by line, so that what a line names must stand above it."""

    def __init__(self) -> None:
        self._logs: list[PolicyLog] = []
        self._witnesses: list[PolicyWitness] = []
        self._groups: list[PolicyGroup] = []
        self._quorum: list[str | None] = []
        self._keys: set[bytes] = set()
        self._names: set[str] = set()
        self._members: set[str] = set()

    def add(self, keyword: str, words: list[str]) -> None:
        match keyword, words:
            case "log", [vkey, *url] if len(url) <= 1:
                key = self._new_key(vkey, _LOG_TYPES)
                self._logs.append(PolicyLog(key=key, url=url[0] if url else None))
            case "witness", [name, vkey, *url] if len(url) <= 1:
                self._new_name(name)
                key = self._new_key(vkey, _WITNESS_TYPES)
                self._witnesses.append(
                    PolicyWitness(name=name, key=key, url=url[0] if url else None)
                )
            case "group", [name, count, *members] if members:
                self._new_group(name, count, members)
            case "quorum", [name]:
                if self._quorum:
                    raise MalformedPolicy("a second quorum")
                if name != _NONE and name not in self._names:
                    raise MalformedPolicy(f"quorum {shown(name)} is not defined above")
                self._quorum.append(None if name == _NONE else name)
            case _:
                raise MalformedPolicy(f"{shown(' '.join([keyword, *words]))}: no line of a policy")

    def build(self) -> TrustPolicy:
        if not self._quorum:
            raise MalformedPolicy("policy: no quorum line")
        return TrustPolicy(
            logs=tuple(self._logs),
            witnesses=tuple(self._witnesses),
            groups=tuple(self._groups),
            quorum=self._quorum[0],
        )

    def _new_key(self, vkey: str, allowed: tuple[KeyType, ...]) -> VerifierKey:
        key = parse_vkey(vkey)
        if key.key_type not in allowed:
            raise MalformedPolicy(f"key {shown(vkey)}: type {key.key_type.name} has no place here")
        if key.public_key in self._keys:
            raise MalformedPolicy(f"key {shown(vkey)} stands above already")
        self._keys.add(key.public_key)
        return key

    def _new_name(self, name: str) -> None:
        if name == _NONE or name in self._names:
            raise MalformedPolicy(f"name {shown(name)} is taken")
        self._names.add(name)

    def _new_group(self, name: str, count: str, members: list[str]) -> None:
        threshold = {"any": 1, "all": len(members)}.get(count, decimal(count) or 0)
        if not 1 <= threshold <= len(members):
            raise MalformedPolicy(f"threshold {shown(count)}: want 1..{len(members)}, any or all")
        for member in members:
            if member not in self._names:
                raise MalformedPolicy(f"member {shown(member)} is not defined above")
            if member in self._members:
                raise MalformedPolicy(f"member {shown(member)} is in a group already")
            self._members.add(member)
        self._new_name(name)
        self._groups.append(PolicyGroup(name=name, threshold=threshold, members=tuple(members)))


OUTSIDE, ALL_OF, STATES = "outside", "all-of", "states"  # groups


def with_outside(policy: bytes, witnesses: Sequence[PolicyWitness], threshold: int) -> bytes:
    """A policy of ours that wants `threshold` outside witnesses as well (FORMATS 1.6): `group all-of all states outside`.

    Raises MalformedPolicy: no policy of ours, no such threshold, or a name or key that stands in it already.
    """
    last = f"quorum {STATES}\n".encode()
    if not policy.endswith(b"\n" + last):
        raise MalformedPolicy(f"policy: want one that ends in quorum {STATES}")
    lines = [f"witness {w.name} {w.key} {w.url or ''}".rstrip(" ") for w in witnesses]
    names = " ".join(witness.name for witness in witnesses)
    lines.append(f"group {OUTSIDE} {threshold} {names}")
    lines.append(f"group {ALL_OF} all {STATES} {OUTSIDE}")
    lines.append(f"quorum {ALL_OF}")
    text = policy.removesuffix(last) + ("\n".join(lines) + "\n").encode()
    parse_policy(text)
    return text


SECOND_SUFFIX = "/pq"


def state_of_witness(name: str) -> str:
    """Whose witness it is, in a policy of ours: a state has one under its id, and perhaps a second one by ML-DSA-44."""
    return name.removesuffix(SECOND_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMember:
    """What the member register says of one state, as far as the policy needs it. `url`: where its HTTP face answers."""

    state: str
    log_key: VerifierKey
    cosigner_key: VerifierKey
    url: str
    second_key: VerifierKey | None = None  # ML-DSA-44


def policy_text(members: Sequence[PolicyMember], quorum: int) -> bytes:
    """The one policy text of an epoch, by the one rule that every node follows (RULINGS R44): its SHA-256 is on the ledger.

    Members ascending by state id; first the logs, then the witnesses under their state ids, then the second cosigners of those
    who have one as STATE/pq, then the groups and the quorum. Finality rests on the Ed25519 lines (R38); second lines are a group
    of their own once a quorum of members has such a key, and whoever trusts Ed25519 no more changes the last line to
    `quorum states/pq`.
    """
    assert 1 <= quorum <= len(members), f"quorum {quorum} of {len(members)} members"
    ordered = sorted(members, key=lambda member: member.state)
    lines = [f"log {member.log_key} {member.url}".rstrip(" ") for member in ordered]
    for member in ordered:
        lines.append(f"witness {member.state} {member.cosigner_key} {member.url}".rstrip(" "))
    second = [member for member in ordered if member.second_key is not None]
    for member in second:
        name = f"{member.state}{SECOND_SUFFIX}"
        lines.append(f"witness {name} {member.second_key} {member.url}".rstrip(" "))
    states = " ".join(member.state for member in ordered)
    lines.append(f"group states {quorum} {states}")
    if len(second) >= quorum:
        names = " ".join(f"{member.state}{SECOND_SUFFIX}" for member in second)
        lines.append(f"group states/pq {quorum} {names}")
    lines.append("quorum states")
    text = ("\n".join(lines) + "\n").encode()
    parse_policy(text)  # a register that cannot be written down is a mistake of ours, found here
    return text
