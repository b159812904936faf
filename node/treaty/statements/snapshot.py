"""`snapshot`: the hash of what a group of chips holds at one moment (MODEL 3, kind 14; M24).

Each device counts its snapshots of a group; a gap or a repetition is refused, so a device cannot leave one out in silence.
Drawn snapshots are matched with the run's `transcript_root` by inspectors (C18, a later check).
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import known_facility, require_device_at, require_past
from node.treaty.kinds import Kind
from node.treaty.rows.sites import Snapshots
from node.treaty.statements.chipmeter import GROUPS_MAX


def take_snapshot(book: Book, entry: Entry, body: pb.Snapshot) -> Accepted:
    """Judge one snapshot: its number is the next of its group, from 1."""
    author = entry.parsed.author
    facility, row = known_facility(book, author, body.facility)
    require_device_at(book, entry, facility, row)
    kept = book.state.snapshots.get(author)
    groups = {(group[0], group[1]): group[2] for group in (kept.groups if kept else ())}
    last = groups.get((facility, body.group), 0)
    if not last and len(groups) >= GROUPS_MAX:
        raise Refused(Code.QUOTA, f"{author} takes snapshots of {GROUPS_MAX} groups already")
    assert isinstance(last, int), f"snapshot number {last!r}"
    if body.chain_pos <= last:
        raise Refused(
            Code.REPEATED, f"{body.group}: snapshot {body.chain_pos}, and {last} was taken"
        )
    if body.chain_pos != last + 1:
        raise Refused(
            Code.EVIDENCE, f"{body.group}: snapshot {body.chain_pos}, and {last + 1} is next"
        )
    require_past(book, entry)
    groups[facility, body.group] = body.chain_pos
    rows = tuple(sorted((site, group, at) for (site, group), at in groups.items()))
    book.state.snapshots.put(author, Snapshots(rows))
    return Accepted(f"snapshot:{facility}")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("facility", "weight_hash", "chain_pos", "step"),
        integers=("chain_pos", "step"),
        names=("group",),
        references=("facility",),
        hashes=("weight_hash",),
        positive=("chain_pos",),
    ),
    take=take_snapshot,
    speaks_of="facility",
)
