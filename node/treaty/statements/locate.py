"""`locate`: how far a device can be from a probe, by the speed of light (MODEL 3, kind 11; M31).

The probe signs, the target endorses: neither alone makes a measurement. Of any three measurements of a target one must
be by a probe of another state, else a state could vouch for its own devices for ever. The distances themselves are C12.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import known_facility, require_past, require_role
from node.treaty.kinds import Kind
from node.treaty.rows.sites import Located


def take_locate(book: Book, entry: Entry, body: pb.Locate) -> Accepted:
    """Judge one measurement."""
    author = entry.parsed.author
    facility, row = known_facility(book, author, body.facility)
    probe_site, probe_row = known_facility(book, author, body.probe_site)
    target = book.state.parties.get(body.target)
    if target is None or target.role != "device":
        raise Refused(Code.UNKNOWN_REF, f"no device {body.target}")
    require_role(book, entry, "device")
    if body.target not in entry.endorsers or body.target == author:
        raise Refused(Code.SIGNERS, f"the target {body.target} has not endorsed this")
    probe_state = book.state_of(author)
    if target.state != row.state:
        raise Refused(
            Code.STANDING, f"{body.target} is of {target.state}, {facility} in {row.state}"
        )
    if probe_row.state != probe_state:
        raise Refused(
            Code.STANDING, f"{author} is of {probe_state}, {probe_site} in {probe_row.state}"
        )
    before = book.state.located.get(body.target)
    probes = before.probes if before else ()
    if len(probes) == 2 and {*probes, probe_state} == {target.state}:
        raise Refused(
            Code.NOT_INDEPENDENT, f"the third measurement in a row by probes of {target.state}"
        )
    require_past(book, entry)
    book.state.located.put(body.target, Located((*probes, probe_state)[-2:]))
    return Accepted(f"locate:{facility}")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("facility", "probe_site", "rtt_us_min", "n"),
        integers=("rtt_us_min", "n"),
        names=("target",),
        references=("facility", "probe_site"),
        positive=("rtt_us_min", "n"),
    ),
    take=take_locate,
    speaks_of="facility",
)
