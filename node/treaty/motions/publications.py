"""What a publication note sets in motion (M49 to M51): nothing by itself, more while `publication_module` is on.

The text never stands on the ledger, only its hash. A note without further words is a mere paper that CLASSIFY may restrict.
One that says what it improves (`code`) and by how much (`multiplier_bp`, 20000 = twice as far with as much compute) is
taken while the module is on. It has effect where as many states sign as may file a TIGHTEN_NOW: a run-time improvement has
every deployed model evaluated again, and the work thresholds fall by the multiplier at once, for 30 days, each as a
TIGHTEN_NOW of its own that a majority may keep.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import releases
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past
from node.treaty.motions import tighten_now
from node.treaty.motions.kind import signing_states
from node.treaty.rules import trigger_of

FIELDS: Final = frozenset({"training", "runtime", "decentralised", "chip"})
ONE_BP: Final = 10_000
THRESHOLDS: Final = ("frontier_flop", "horizon_flop", "posttrain_flop", "t1_flop")


def take(book: Book, entry: Entry, body: pb.Note) -> None:
    """A publication note. Refuses FILER while the module is off and the note says more than a hash."""
    if not (body.code or body.multiplier_bp):
        require_past(book, entry)
        return
    if not book.value("publication_module"):
        raise Refused(Code.FILER, "the publication module is off: a publication is its hash alone")
    if body.code not in FIELDS or not body.hash:
        raise Refused(Code.EVIDENCE, f"a hash, and what it improves: one of {sorted(FIELDS)}")
    require_past(book, entry)
    if len(signing_states(book, entry)) < trigger_of(book.membership()):
        return  # anybody may claim anything
    if body.code == "runtime":
        releases.all_to_be_evaluated(book)
    _tighten(book, entry, body.multiplier_bp)


def _tighten(book: Book, entry: Entry, multiplier_bp: int) -> None:
    for name in THRESHOLDS:
        present = book.value(name)
        value = present * ONE_BP // max(multiplier_bp, ONE_BP)
        if value < present and tighten_now.has_rested(book, name):
            tighten_now.begin(book, f"TIGHTEN_NOW:{entry.name}:{name}", name, value)
