"""From raw transaction to what the law can judge: parsed once, signatures named, verdicts looked up.

    read(raw)            form: COSE shell, payload, header equal to content            else SCHEMA
    resolve(read, keys)  keys in force now, for author and endorsers                   else UNKNOWN_AUTHOR
    open_checks(..)      what to hand to the verify pool, ahead of time if one likes
    verified_endorsers   who endorsed, or None: a bad signature                        else SIGNATURE

An entry is looked at when it is admitted, when a block with it arrives and when it is committed; the parsed form is
remembered in between. Keys are resolved anew each time (RULINGS R71): a rotated key must not pass by cache.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from foedus.v1 import content_pb2
from node.ledger.seats import bad_seat
from node.log.cose import ENDORSEMENT_TYPE, ENTRY_TYPE, Statement, parse_detached, parse_statement
from node.log.errors import MalformedStatement
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.errors import WeakKey
from node.signing.keys import check_public_key
from node.signing.verify import SignatureCheck, verify_ed25519
from node.treaty.entries import ParsedEntry
from node.treaty.errors import MalformedContent
from node.treaty.law import RegisteredKey
from node.treaty.parsing import parse_entry

SIGNATURE_CODE: Final = (
    "SIGNATURE"  # a bad signature: not in the law's list, counted beside its codes (R26)
)
SCHEMA_CODE: Final = "SCHEMA"
UNKNOWN_AUTHOR_CODE: Final = "UNKNOWN_AUTHOR"
REMEMBERED_BYTES_MAX: Final = (
    16 * 1024 * 1024
)  # of raw entries whose parsed form is kept; about three times that in memory

ResolveKey = Callable[[str, bytes], RegisteredKey | None]
"""(party, kid) -> the key in force now, or None: `Law.resolve_key`."""

Known = Callable[[bytes, bytes], bool | None]
"""(entry hash, public key) -> the remembered verdict, or None: `VerifyPool.known`."""


class ReadEntry(NamedTuple):
    """A well-formed entry; nobody has said yet that its signatures hold."""

    raw: bytes
    entry_hash: bytes  # SHA-256 of `raw`
    statement: Statement
    parsed: ParsedEntry
    endorsements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A transaction that is no entry: code SCHEMA."""

    entry_hash: bytes
    field: str
    why: str


class Resolved(NamedTuple):
    """The keys that an entry names, as they stand in the register now."""

    entry: ReadEntry
    public_key: bytes  # the author's
    endorsers: tuple[tuple[str, SignatureCheck], ...]  # endorsements by unknown keys are left out

    def check(self) -> SignatureCheck:
        """The author's signature."""
        statement = self.entry.statement
        return SignatureCheck(
            self.public_key,
            statement.to_be_signed(),
            statement.signature,
            self.entry.entry_hash,
        )


class EntryReader:
    """`read` with a memory, bounded by raw bytes; the least recently read goes first.

    Found by the bytes themselves: they are the same object on their way from block to commit, and Python keeps its hash.
    """

    def __init__(self, *, bytes_max: int = REMEMBERED_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._known: OrderedDict[bytes, ReadEntry] = OrderedDict()

    def read(self, raw: bytes) -> ReadEntry | Malformed:
        known = self._known.get(raw)
        if known is not None:
            self._known.move_to_end(raw)
            return known
        result = read_entry(raw, sha256(raw).digest())
        if isinstance(result, ReadEntry):
            self._known[raw] = result
            self._bytes += len(raw)
            while self._bytes > self._bytes_max:
                old, _ = self._known.popitem(last=False)
                self._bytes -= len(old)
        return result

    def forget(self, raw: bytes) -> None:
        """A committed entry is not read again."""
        if self._known.pop(raw, None) is not None:
            self._bytes -= len(raw)


def read_entry(raw: bytes, entry_hash: bytes) -> ReadEntry | Malformed:
    """The form of an entry (RULINGS R13, R14, R18, R19); says which field is wrong."""
    if len(raw) > ENTRY_BYTES_MAX:
        why = f"{len(raw)} bytes, at most {ENTRY_BYTES_MAX}"
        return Malformed(entry_hash=entry_hash, field="entry", why=why)
    try:
        statement = parse_statement(raw)
        assert statement.payload is not None, "parse_statement gives no detached one"
        parsed = parse_entry(statement.payload)
        endorsements = (
            tuple(map(parse_detached, parsed.endorsements)) if parsed.endorsements else ()
        )
    except MalformedStatement as err:
        return Malformed(entry_hash=entry_hash, field="cose", why=str(err))
    except MalformedContent as wrong_content:  # a name of its own: compiled, a name has one type
        return Malformed(entry_hash=entry_hash, field=wrong_content.field, why=wrong_content.why)
    header = statement.header
    wrong = None
    if header.content_type != ENTRY_TYPE:
        wrong = ("cose.content_type", f"{header.content_type!r:.80}, not {ENTRY_TYPE!r}")
    elif header.issuer != parsed.author:
        wrong = ("cose.iss", f"{header.issuer!r:.80}, but the author is {parsed.author!r}")
    elif header.subject != parsed.subject:
        wrong = ("cose.sub", f"{header.subject!r:.80}, but the content is about {parsed.subject!r}")
    for position, endorsement in enumerate(endorsements):
        if endorsement.header.content_type != ENDORSEMENT_TYPE:
            wrong = (f"endorsements[{position}].content_type", f"want {ENDORSEMENT_TYPE!r}")
        elif endorsement.header.subject != parsed.subject:
            wrong = (f"endorsements[{position}].sub", f"the content is about {parsed.subject!r}")
    if wrong is None and parsed.kind == "identity":
        wrong = _weak_key(parsed.body) or bad_seat(parsed)
    if wrong is not None:
        return Malformed(entry_hash=entry_hash, field=wrong[0], why=wrong[1])
    return ReadEntry(raw, entry_hash, statement, parsed, endorsements)


def _weak_key(body: content_pb2.Identity) -> tuple[str, str] | None:
    """The first key under which signatures would mean different things to different libraries (FORMATS 11), with the reason.

    The law is pure and cannot tell; a genesis is checked in the same way. Weak = out of range for the field: SCHEMA.
    """
    for position, key in enumerate(body.keys):
        try:
            check_public_key(key.ed25519)
        except WeakKey as err:
            return f"identity.keys[{position}].ed25519", str(err)
    return None


def purpose_of(kind: str) -> str:
    """Of the key that signs an entry of this kind; endorsements are signed as everything else."""
    return "vote" if kind == "vote" else "author"


def endorsement_name(endorsement: bytes, content_hash: bytes) -> bytes:
    """What a verdict on an endorsement is remembered by: it signs a content, wherever that stands."""
    return sha256(endorsement + content_hash).digest()


def resolve(entry: ReadEntry, resolve_key: ResolveKey) -> Resolved | None:
    """The checks that this entry needs under the keys in force now; None if its author's key is unknown.

    A vote is signed by a vote key and everything else by an author key: a key in the wrong role is no key.
    """
    parsed = entry.parsed
    registered = resolve_key(parsed.author, entry.statement.header.kid)
    if registered is None or registered.purpose != purpose_of(parsed.kind):
        return None
    if not entry.endorsements:
        return Resolved(entry, registered.public_key, ())
    endorsers = []
    for raw, endorsement in zip(parsed.endorsements, entry.endorsements, strict=True):
        endorser, kid = endorsement.header.issuer, endorsement.header.kid
        key = resolve_key(endorser, kid)
        if key is None or key.purpose != "author":
            continue  # not a countersignature of anybody known: the law then misses it, if it needs it
        check_of = SignatureCheck(
            key.public_key,
            endorsement.to_be_signed(parsed.content_hash),
            endorsement.signature,
            endorsement_name(raw, parsed.content_hash),
        )
        endorsers.append((endorser, check_of))
    return Resolved(entry, registered.public_key, tuple(endorsers))


def open_checks(resolved: Resolved, known: Known) -> list[SignatureCheck]:
    """The signatures of an entry that nobody has checked yet, for the verify pool."""
    checks = []
    if known(resolved.entry.entry_hash, resolved.public_key) is None:
        checks.append(resolved.check())
    for _, check in resolved.endorsers:
        if check.entry_hash is None or known(check.entry_hash, check.public_key) is None:
            checks.append(check)
    return checks


def verified_endorsers(resolved: Resolved, known: Known) -> tuple[str, ...] | None:
    """Parties whose endorsement holds, sorted and distinct; None if any signature of the entry is bad.

    What is not known is checked on the spot: the key was registered by an entry of this very commit, or the memory is full.
    """
    verdict = known(resolved.entry.entry_hash, resolved.public_key)
    if not (_on_the_spot(resolved.check()) if verdict is None else verdict):
        return None
    if not resolved.endorsers:
        return ()
    for _, check in resolved.endorsers:
        assert check.entry_hash is not None, "endorsement checks are named"
        verdict = known(check.entry_hash, check.public_key)
        if not (_on_the_spot(check) if verdict is None else verdict):
            return None
    return tuple(sorted({endorser for endorser, _ in resolved.endorsers}))


def nothing_known(_entry_hash: bytes, _public_key: bytes) -> bool | None:
    """A memory that holds nothing: every signature is checked on the spot."""
    return None


def _on_the_spot(check: SignatureCheck) -> bool:
    return verify_ed25519(check.public_key, check.message, check.signature)


def checks_of(
    entries: Iterable[bytes], reader: EntryReader, resolve_key: ResolveKey, known: Known
) -> list[SignatureCheck]:
    """The signature checks that these transactions still need. Malformed ones, and those under no key in force, need none."""
    checks: list[SignatureCheck] = []
    for raw in entries:
        entry = reader.read(raw)
        if isinstance(entry, Malformed):
            continue
        resolved = resolve(entry, resolve_key)
        if resolved is not None:
            checks += open_checks(resolved, known)
    return checks
