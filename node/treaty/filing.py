"""Who may say what: the author's role, and the countersignature of its state."""

from typing import Final

from node.treaty.bodies import is_name
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.policy import DAY
from node.treaty.rows.motions import Walks
from node.treaty.rows.sites import Facility

PLACE_DEPTH_MAX: Final = 3  # regions within regions below a state
PERIOD_AHEAD_S: Final = 300  # a period may end this far beyond the commit's time (RULINGS R29)
FILING_STATES: Final = frozenset({"MEMBER", "SUSPENDED", "WITHDRAWING"})  # "any state" of LAW K11


def require_role(book: Book, entry: Entry, *roles: str) -> str:
    """The author's role, one of `roles`. Refuses FILER."""
    author = entry.parsed.author
    role = book.state.parties[author].role
    if role not in roles:
        raise Refused(Code.FILER, f"{author} is {role}, and {entry.parsed.kind} is for {roles}")
    if role == "state" and not is_filing_state(book, author):
        raise Refused(Code.FILER, f"{author} is no member")
    return role


def is_filing_state(book: Book, state: str) -> bool:
    """Whether `state` is a member, be it suspended or withdrawing."""
    member = book.state.members.get(state)
    return member is not None and member.status in FILING_STATES


def operator_of(book: Book, entry: Entry) -> str:
    """The state of the author, which must be an operator. Refuses FILER."""
    require_role(book, entry, "operator")
    return book.state_of(entry.parsed.author)


def require_past(book: Book, entry: Entry) -> None:
    """Refuses PERIOD if the entry's period, if any, ends more than 300 s after this commit.

    Each rule calls it as the last check before those of CLOSED, so that earlier codes come first.
    """
    period = entry.parsed.period
    if period is not None and period[1] > book.now + PERIOD_AHEAD_S:
        raise Refused(Code.PERIOD, f"ends at {period[1]}, more than {PERIOD_AHEAD_S} s ahead")


def countersigned(book: Book, entry: Entry, state: str) -> bool:
    """Whether the statement stands *without* its state's endorsement (LAW K30). Refuses COUNTERSIGN.

    Without one it is taken `offer_wait` seconds after the author's note offered this very content:
    no state can gag its operators, and none is bound by what it never saw.
    """
    if state in entry.endorsers:
        return False
    parsed = entry.parsed
    offer = book.state.offers.get(f"{parsed.author}/{parsed.content_hash.hex()}")
    if offer is None or book.now < offer.at + book.value("offer_wait"):
        raise Refused(
            Code.COUNTERSIGN, f"{state} has not endorsed this, and no offer is old enough"
        )
    return True


def require_endorsed_agency(book: Book, entry: Entry) -> None:
    """What an agency of a region says stands if its state endorses it (M04). Refuses COUNTERSIGN."""
    author = entry.parsed.author
    if book.state.parties[author].role == "agency":
        countersigned(book, entry, book.state_of(author))


def check_place(path: str, state: str) -> None:
    """A place is the state's code, or a path of names below it. Refuses STANDING."""
    first, *below = path.split("/")
    if first != state or len(below) > PLACE_DEPTH_MAX or not all(map(is_name, below)):
        raise Refused(Code.STANDING, f"{path[:80]!r} is no place in {state}: want {state}/NAME")


def known_facility(book: Book, author: str, name: str) -> tuple[str, Facility]:
    """The id and row of the facility that `author` means by `name`. Refuses UNKNOWN_REF."""
    facility = book.qualified(author, name)
    row = book.state.facilities.get(facility)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {facility}")
    return facility, row


def require_device_at(book: Book, entry: Entry, facility: str, row: Facility) -> None:
    """The author is a device of the site's state. Refuses FILER, STANDING."""
    require_role(book, entry, "device")
    state = book.state_of(entry.parsed.author)
    if state != row.state:
        raise Refused(
            Code.STANDING, f"{entry.parsed.author} is of {state}, {facility} in {row.state}"
        )


def require_allowance(book: Book, what: str, per_day: int) -> None:
    """Count one more act of `what` in this ledger day. Refuses QUOTA when it has had `per_day`.

    Call it as the last check: it changes a row. The row is per filer, so nobody uses up another's allowance.
    """
    day = book.now // DAY
    row = book.state.allowances.get(what)
    used = row.judged if row is not None and row.day == day else 0
    if used >= per_day:
        raise Refused(Code.QUOTA, f"{what}: {used} today, at most {per_day}")
    book.state.allowances.put(what, Walks(day, used + 1))
