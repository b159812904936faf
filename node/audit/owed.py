"""What the treaty made somebody owe by a deadline: without that, nothing that was not filed accuses anybody.

    usage           each slot of a covered site, until one slot after its end, outages counted (LAW K20, RULINGS R34)
    other kinds     what the law itself found overdue by then: of runs C14, else C28 of the duty that such a statement meets

C02 is not asked: a gap is one finding, whichever slots are in it.

Whoever asks names a period and a deadline of his own; the treaty's may be later, or there may be none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from node.audit.source import CannotAudit
from node.treaty.book import Book
from node.treaty.reports import slot_deadline

SLOTS_MAX: Final = 1_000_000  # looked at for one statement: a century of hours
REPORT: Final = "usage"
PROGRESS: Final = "run"
_PROGRESS_NUMBER: Final = (
    "last_report_at"  # C14 is found of progress that is late by this number, else of budgets
)
# What a finding C28 is about, by its first word (`treaty.duties`) -> the kinds that do what was owed.
_DONE_BY: Final = {
    "meeting": frozenset({"note"}),
    "final": frozenset({"inventory"}),
    "removal": frozenset({"custody"}),
    "remedy": frozenset({"note"}),
    "tip": frozenset({"note", "tip"}),
}
_COUNT: Final = frozenset({"inventory"})
_MODEL: Final = frozenset({"eval", "note"})  # looked at again; a share of weights confirmed
_ACCESS: Final = frozenset({"inspection", "note"})


class Asked(Protocol):
    """What `absence.Claim` says."""

    @property
    def who(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def start_s(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One thing, or `count` slots of one site in a row of them; the earliest is told."""

    what: str  # "usage", or the check that found it
    about: str
    due_s: int  # the last second in time, by the treaty
    period: tuple[int, int] | None = None  # of the earliest slot
    count: int = 1
    finding: str = ""

    def as_json(self) -> dict[str, Any]:
        period = None if self.period is None else list(self.period)
        return {**asdict(self), "period": period}


def owed(
    book: Book,
    findings: Iterable[tuple[int, Mapping[str, Any]]],
    asked: Asked,
    state: str,
    uncovered: Sequence[tuple[int, int]],
    due_s: int,
) -> list[Owed]:
    """What was owed by `due_s` and is not in time, of `state` or of the one party asked about.

    `findings`: records and where they stand. `uncovered`: spans of the period that nothing in time speaks for.
    Raises CannotAudit.
    """
    slots = list(_slots(book, asked, uncovered, due_s)) if asked.kind in {"", REPORT} else []
    return slots + [
        Owed(
            what=record["check"],
            about=record["about"],
            due_s=record["at"] - 1,
            finding=record["finding"],
        )
        for _, record in findings
        if record["subject"] in {state, asked.who}
        and asked.start_s <= record["at"] <= due_s + 1  # found the second after it was due
        and asked.about in {"", record["about"]}
        and _is_own(asked, state, record["about"])
        and _would_meet(book, record, asked.kind)
    ]


def _is_own(asked: Asked, state: str, about: str) -> bool:
    """Duties are a state's; of one party's those about what it declared."""
    return asked.who == state or about.startswith(f"{asked.who}/")


def _slots(
    book: Book, asked: Asked, uncovered: Sequence[tuple[int, int]], due_s: int
) -> Iterator[Owed]:
    looked = 0
    for name, site in sorted(book.state.facilities.items()):
        if not site.slot or asked.about not in {"", name}:
            continue
        if asked.who not in {site.state, site.operator}:
            continue
        missing: dict[int, int] = {}  # slot -> its deadline
        for start, end in uncovered:
            number = max(0, (start - site.covered_at) // site.slot)
            while site.covered_at + number * site.slot < end:
                looked += 1
                if looked > SLOTS_MAX:
                    raise CannotAudit(f"more than {SLOTS_MAX} slots: ask about a shorter period")
                deadline = slot_deadline(book, site, number)
                if deadline > due_s:
                    break
                missing[number] = deadline
                number += 1
        if missing:
            first = min(missing)
            begin = site.covered_at + first * site.slot
            yield Owed(
                what=REPORT,
                about=name,
                due_s=missing[first],
                period=(begin, begin + site.slot),
                count=len(missing),
            )


def _would_meet(book: Book, record: Mapping[str, Any], kind: str) -> bool:
    """Whether a statement of this kind is what was owed."""
    if record["check"] == "C14":
        late = any(name == _PROGRESS_NUMBER for name, _ in record["numbers"])
        return late and kind in {"", PROGRESS}
    return record["check"] == "C28" and (not kind or kind in _kinds_for(book, record["about"]))


def _kinds_for(book: Book, about: str) -> frozenset[str]:
    known = _DONE_BY.get(about.partition(":")[0])
    if known is not None:
        return known
    if about in book.state.facilities:
        return _COUNT
    return _MODEL if about in book.state.models else _ACCESS
