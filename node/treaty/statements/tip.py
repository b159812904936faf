"""`tip`: whistleblowers, from the sealed report to the inspection; and what is seen from outside (MODEL 3, kind 19; M25, M33a).

    report       ciphertext, its commitment, and shares of its key sealed to states; signed by whoever passes it on
    assess       a state that has read it: credible or not
    open         text and salt, which must give the commitment; and the state that it accuses
    retaliation  the one who reported suffers for it: a claim about an earlier report
    remote       heat seen at a place, with its error

The author on the ledger is the relay: any member, inspector, evaluator, source or the secretariat. Who wrote the text stands
nowhere, sizes are padded to few steps, and whom it accuses is not said before it is opened: so no node can hold back what
concerns its own state, and relaying tells it nothing. The limit counts per relay and day, so the accused can use up its own
allowance and nobody else's. Opening takes `threshold` states, more than k and no more than n - k: no k states can read
a report alone, and none can keep it shut.
"""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.cases import open_case_without_finding
from node.treaty.checks import heat
from node.treaty.codes import Code
from node.treaty.duties import is_owed, owe
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import known_facility, require_allowance, require_past, require_role
from node.treaty.kinds import Kind
from node.treaty.rows.verdicts import TipReport
from node.treaty.rules import k_of, trigger_of
from node.treaty.sealed import BOX_BYTES, SALT_BYTES, SEALED_SIZES, SHARES_MAX, commitment_of

_NAMES: Final = {
    pb.TIP_TYPE_REPORT: "report",
    pb.TIP_TYPE_ASSESS: "assess",
    pb.TIP_TYPE_OPEN: "open",
    pb.TIP_TYPE_RETALIATION: "retaliation",
    pb.TIP_TYPE_REMOTE: "remote",
}
_NEEDS: Final = {
    pb.TIP_TYPE_REPORT: ("commitment", "sealed", "threshold"),
    pb.TIP_TYPE_ASSESS: ("report", "credible"),
    pb.TIP_TYPE_OPEN: ("report", "salt", "text", "subject"),
    pb.TIP_TYPE_RETALIATION: ("report", "subject"),
    pb.TIP_TYPE_REMOTE: ("cell", "thermal_kw", "error_kw"),
}
_ALSO: Final = {pb.TIP_TYPE_REPORT: {"shares"}, pb.TIP_TYPE_REMOTE: {"facility"}}


def _shape(body: Any) -> None:
    for name in _NEEDS[body.type]:
        if not body.HasField(name):
            raise MalformedContent(f"tip.{name}", "missing in this type")
    allowed = {"type", *_NEEDS[body.type], *_ALSO.get(body.type, ())}
    for descriptor, _ in body.ListFields():
        if descriptor.name not in allowed:
            raise MalformedContent(f"tip.{descriptor.name}", "not allowed in this type")
    if body.type == pb.TIP_TYPE_REPORT:
        _sealed_shape(body)
    if body.type == pb.TIP_TYPE_OPEN and len(body.salt) != SALT_BYTES:
        raise MalformedContent("tip.salt", f"{len(body.salt)} bytes, not {SALT_BYTES}")


def _sealed_shape(body: Any) -> None:
    if len(body.sealed) not in SEALED_SIZES:
        raise MalformedContent("tip.sealed", f"{len(body.sealed)} bytes, not one of {SEALED_SIZES}")
    recipients = [share.recipient for share in body.shares]
    if len(set(recipients)) != len(recipients) or len(recipients) > SHARES_MAX:
        raise MalformedContent("tip.shares", f"one recipient twice, or more than {SHARES_MAX}")
    if any(len(share.box) != BOX_BYTES for share in body.shares):
        raise MalformedContent("tip.shares", f"a box is of {BOX_BYTES} bytes")


def take_tip(book: Book, entry: Entry, body: pb.Tip) -> Accepted:
    """Judge a tip of any type."""
    match body.type:
        case pb.TIP_TYPE_REPORT:
            return _report(book, entry, body)
        case pb.TIP_TYPE_REMOTE:
            return _remote(book, entry, body)
    name = body.report.hex()
    row = book.state.tips.get(name)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no sealed report {name}")
    match body.type:
        case pb.TIP_TYPE_ASSESS:
            return _assess(book, entry, body, name, row)
        case pb.TIP_TYPE_OPEN:
            return _open(book, entry, body, name, row)
        case _:
            return _retaliation(book, entry, body)


def _report(book: Book, entry: Entry, body: pb.Tip) -> Accepted:
    for share in body.shares:
        if share.recipient not in book.state.members:
            raise Refused(Code.UNKNOWN_REF, f"{share.recipient} is no member")
    _require_relay(book, entry)
    k = k_of(book.membership())
    if not k < body.threshold <= len(body.shares) - k:
        raise Refused(
            Code.HARD_LIMIT,
            f"{body.threshold} of {len(body.shares)} shares: want more than k = {k}, and k to spare",
        )
    require_past(book, entry)
    require_allowance(book, f"tip/{entry.parsed.author}", book.value("tip_quota"))
    row = TipReport(
        author=entry.parsed.author,
        commitment=body.commitment,
        threshold=body.threshold,
        at=book.now,
        assessed=(),
        credible=0,
        subject="",
    )
    book.state.tips.put(entry.entry_hash.hex(), row)
    return Accepted("tip:report")


def _require_relay(book: Book, entry: Entry) -> None:
    """Parties that stand under no accused operator pass tips on. Refuses FILER."""
    require_role(book, entry, "state", "inspector", "evaluator", "source", "secretariat")


def _remote(book: Book, entry: Entry, body: pb.Tip) -> Accepted:
    facility = ""
    if body.facility:
        facility, _ = known_facility(book, entry.parsed.author, body.facility)
    require_role(book, entry, "state", "inspector", "source")
    require_past(book, entry)
    require_allowance(book, f"remote/{entry.parsed.author}", book.value("tip_quota"))
    least_kw = max(body.thermal_kw - body.error_kw, 0)
    state = book.state_of(entry.parsed.author)
    heat.seen(book, state, facility, body.cell, least_kw, entry.entry_hash)
    return Accepted(f"tip:remote:{facility}")


def _assess(book: Book, entry: Entry, body: pb.Tip, name: str, row: TipReport) -> Accepted:
    """One word per state, the last counts; with `trigger` states for it and more than against, it is credible.

    The state that an opened report accuses has no word in it, also if it gave one before.
    """
    author = entry.parsed.author
    require_role(book, entry, "state")
    if author == row.subject:
        raise Refused(Code.STANDING, f"the report accuses {author}")
    require_past(book, entry)
    words = dict(row.assessed) | {author: int(body.credible)}
    row = row._replace(assessed=tuple(sorted(words.items())))
    _weigh(book, name, row)
    return Accepted(f"tip:assess:{name}")


def _open(book: Book, entry: Entry, body: pb.Tip, name: str, row: TipReport) -> Accepted:
    if body.subject not in book.state.members:
        raise Refused(Code.UNKNOWN_REF, f"{body.subject} is no member")
    require_role(book, entry, "state", "secretariat")
    if entry.parsed.author == body.subject:
        raise Refused(Code.STANDING, f"{body.subject} does not say whom the report accuses")
    if commitment_of(body.salt, body.text) != row.commitment:
        raise Refused(Code.EVIDENCE, "text and salt do not give the report's commitment")
    others = {entry.parsed.author, *entry.endorsers} - {body.subject}
    others = {state for state in others if state in book.state.members}
    needed = k_of(book.membership()) + 1  # else one reader could name whom it likes as accused
    if len(others) < needed:
        raise Refused(Code.SIGNERS, f"{len(others)} of {needed} states say whom it accuses")
    if row.subject:
        raise Refused(Code.REPEATED, f"the report {name} is open already")
    require_past(book, entry)
    words = tuple(word for word in row.assessed if word[0] != body.subject)
    _weigh(book, name, row._replace(subject=body.subject, assessed=words))
    return Accepted(f"tip:open:{body.subject}:{name}")


def _weigh(book: Book, name: str, row: TipReport) -> None:
    credible = sum(word for _, word in row.assessed)
    enough = credible >= trigger_of(book.membership()) and 2 * credible > len(row.assessed)
    was = row.credible and bool(row.subject)
    row = row._replace(credible=int(enough or row.credible))
    book.state.tips.put(name, row)
    if row.credible and row.subject and not was:
        _owe_response(book, name)


def _owe_response(book: Book, name: str) -> None:
    """A credible report of a known accused: an inspection within 72 hours (M25)."""
    if not is_owed(book, f"tip:{name}"):
        owe(book, f"tip:{name}", book.value("tip_response"))


def _retaliation(book: Book, entry: Entry, body: pb.Tip) -> Accepted:
    """A case against the state under which somebody suffers for a report: severity 3, decided by a majority."""
    if body.subject not in book.state.members:
        raise Refused(Code.UNKNOWN_REF, f"{body.subject} is no member")
    require_role(book, entry, "state", "secretariat")
    if entry.parsed.author == body.subject:
        raise Refused(Code.STANDING, f"{body.subject} is the accused")
    require_past(book, entry)
    open_case_without_finding(book, f"BREACH:{entry.name}", body.subject)
    return Accepted(f"tip:retaliation:{body.subject}")


KIND: Final[Kind] = Kind(
    form=Form(
        enums=("type",),
        integers=("threshold", "thermal_kw", "error_kw"),
        references=("facility",),
        texts=("cell", "subject"),
        hashes=("commitment", "report"),
        extra=(_shape,),
    ),
    take=take_tip,
    classes="RS",
)
