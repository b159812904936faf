"""`net`: the traffic of a site, from whoever carries it (MODEL 3, kind 12).

Only of sites that are covered or on the watch list, so that nobody's network is watched without a reason on the ledger:
a case about the site that is open or was upheld. What the traffic shows is C16, a later check.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import CHECKS
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import known_facility, require_past, require_role
from node.treaty.kinds import Kind
from node.treaty.rows.sites import Facility


def take_net(book: Book, entry: Entry, body: pb.Net) -> Accepted:
    """Judge one report of a carrier."""
    facility, row = known_facility(book, entry.parsed.author, body.facility)
    require_role(book, entry, "source")
    if not row.slot and not _is_watched(book, facility, row):
        raise Refused(Code.STANDING, f"{facility} is neither covered nor on the watch list")
    require_past(book, entry)
    return Accepted(f"net:{facility}")


def _is_watched(book: Book, facility: str, row: Facility) -> bool:
    for check in CHECKS:
        latest = book.state.latest.get(f"{check}:{row.state}:{facility}")
        if latest is not None and book.state.cases[latest.finding].result in {"", "UPHELD"}:
            return True
    return False


KIND: Final[Kind] = Kind(
    form=Form(
        required=("facility", "up_mb", "down_mb"),
        integers=("up_mb", "down_mb"),
        basis_points=("flat_bp", "sym_bp"),
        references=("facility",),
        hashes=("peer_set",),
    ),
    take=take_net,
    speaks_of="facility",
    needs_period=True,
)
