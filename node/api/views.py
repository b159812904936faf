"""Motions, cases, runs and facilities as the log tells them, in pages.

The law keeps only what it needs for judging; the log keeps all. So each view is put together from leaves found through
the index: a motion from its record, its accepted votes and its decision; a case from its steps; a run from its newest step; a
facility from its newest accepted declaration. A page looks at no more than `SCAN_MAX` leaves, and says where the next begins.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from foedus.v1 import client_pb2 as pb
from foedus.v1 import content_pb2
from node.api.node import ServedNode
from node.api.refusals import not_found
from node.api.wire import view_of
from node.ledger.ledger import LIST_LIMIT_MAX
from node.ledger.reader import Malformed
from node.ledger.records import is_record
from node.signing.statements import entry_hash
from node.storage.errors import StoreDamaged
from node.treaty.entries import ParsedEntry

SCAN_MAX: Final = LIST_LIMIT_MAX
_CHOICES: Final = {
    content_pb2.CHOICE_YES: "yes",
    content_pb2.CHOICE_NO: "no",
    content_pb2.CHOICE_ABSTAIN: "abstain",
}

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Items of one page; `next_first` None: there are no more."""

    items: tuple[Item, ...]
    next_first: int | None


class LogViews:
    """Reads of one node's log. Raises StoreDamaged where a leaf that the index names cannot be read."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        self._ledger = node.ledger

    def motion(self, name: str) -> pb.Motion:
        """Raises Unanswerable NOT_FOUND."""
        for index, record in self._records("motion", subject=name):
            if record["motion"] == name:
                return self._motion(index, record)
        raise not_found("motion", name)

    async def motions(self, *, first: int, limit: int, open_only: bool) -> Page[pb.Motion]:
        """In the order in which they opened."""
        found: list[pb.Motion] = []
        indexes = self._ledger.list_indexes(kind="motion", first=first, limit=SCAN_MAX)
        for index in indexes:
            await asyncio.sleep(
                0
            )  # putting one together takes a few dozen reads: others come first
            if len(found) == limit:
                return Page(items=tuple(found), next_first=index)
            motion = self._motion(index, self._fields(index))
            if not (open_only and motion.HasField("decision")):
                found.append(motion)
        return Page(items=tuple(found), next_first=_behind(indexes))

    def case(self, name: str) -> pb.Case:
        """Raises Unanswerable NOT_FOUND."""
        steps = [
            (index, record)
            for index, record in self._records("case", case=name)
            if record["case"] == name
        ]
        if not steps:
            raise not_found("case", name)
        return self._case(name, steps)

    async def cases(self, *, first: int, limit: int, open_only: bool) -> Page[pb.Case]:
        """In the order in which they were raised."""
        found: list[pb.Case] = []
        indexes = self._ledger.list_indexes(kind="case", first=first, limit=SCAN_MAX)
        for index in indexes:
            await asyncio.sleep(
                0
            )  # putting one together takes a few dozen reads: others come first
            if len(found) == limit:
                return Page(items=tuple(found), next_first=index)
            record = self._fields(index)
            if record["status"] != "RAISED":
                continue
            case = self.case(record["case"])
            if not (open_only and case.result):
                found.append(case)
        return Page(items=tuple(found), next_first=_behind(indexes))

    async def runs(self, *, first: int, limit: int) -> Page[pb.RunSummary]:
        """In the order of their first steps. The kind "run" names both the statements and the law's steps."""
        found: list[pb.RunSummary] = []
        indexes = self._ledger.list_indexes(kind="run", first=first, limit=SCAN_MAX)
        for index in indexes:
            await asyncio.sleep(
                0
            )  # putting one together takes a few dozen reads: others come first
            if len(found) == limit:
                return Page(items=tuple(found), next_first=index)
            leaf = self._ledger.entry(index).leaf
            if not is_record(leaf):
                continue
            steps = list(self._records("run", subject=view_of(index, leaf)["run"]))
            if steps[0][0] == index:
                found.append(_run(*steps[-1]))
        return Page(items=tuple(found), next_first=_behind(indexes))

    async def facilities(self, *, first: int, limit: int) -> Page[pb.FacilitySummary]:
        """Each at the place of its newest accepted declaration."""
        found: list[pb.FacilitySummary] = []
        indexes = self._ledger.list_indexes(kind="facility", first=first, limit=SCAN_MAX)
        for index in indexes:
            await asyncio.sleep(
                0
            )  # putting one together takes a few dozen reads: others come first
            if len(found) == limit:
                return Page(items=tuple(found), next_first=index)
            entry = self._accepted(index)
            if entry is not None and not self._declared_again(index, entry):
                found.append(_facility(index, entry))
        return Page(items=tuple(found), next_first=_behind(indexes))

    def _declared_again(self, index: int, entry: ParsedEntry) -> bool:
        later = self._ledger.list_indexes(
            kind="facility", author=entry.author, subject=entry.body.facility, first=index + 1
        )
        return any(self._accepted(other) is not None for other in later)

    def _motion(self, index: int, record: dict[str, Any]) -> pb.Motion:
        name = record["motion"]
        motion = pb.Motion(
            motion=name,
            kind=record["kind"],
            about=record["about"],
            subjects=record["subjects"],
            rule=record["rule"],
            threshold=record["threshold"],
            eligible=record["eligible"],
            panel=record["panel"],
            default_outcome=record["default"],
            opened_at=record["at"],
            closes_at=record["closes_at"],
            index=index,
        )
        decided = next(
            (
                (place, decision)
                for place, decision in self._records("decision", subject=name)
                if decision["motion"] == name
            ),
            None,
        )
        if decided is None:
            votes = sorted(self._votes(name).items())
        else:
            motion.decision.CopyFrom(_decision(*decided))
            votes = [(state, choice) for state, choice in decided[1]["votes"]]
        motion.votes.extend(pb.VoteCast(state=state, choice=choice) for state, choice in votes)
        return motion

    def _votes(self, motion: str) -> dict[str, str]:
        """What each state's accepted vote says, the newest standing."""
        found: dict[str, str] = {}
        for index in self._indexes("vote", subject=motion):
            entry = self._accepted(index)
            if entry is not None and entry.body.motion == motion:
                found[entry.author] = _CHOICES.get(entry.body.choice, "")
        return found

    def _case(self, name: str, steps: list[tuple[int, dict[str, Any]]]) -> pb.Case:
        newest = steps[-1][1]
        motion = next((record["motion"] for _, record in self._records("motion", case=name)), "")
        check = next((record["check"] for _, record in self._records("finding", case=name)), "")
        return pb.Case(
            case=name,
            check=check,
            subject=newest["subject"],
            severity=newest["severity"],
            status=newest["status"],
            result=newest["result"] or "",
            reply_due=newest["reply_due"],
            motion=motion,
            steps=[
                pb.CaseStep(
                    status=record["status"],
                    time_s=record["at"],
                    entry=bytes.fromhex(record["entry"]),
                    index=index,
                )
                for index, record in steps
            ],
        )

    # Leaves

    def _indexes(
        self, kind: str, *, subject: str | None = None, case: str | None = None
    ) -> Iterator[int]:
        """All indexes of a kind about something, over all pages."""
        first = 0
        while True:
            page = self._ledger.list_indexes(
                kind=kind, subject=subject, case=case, first=first, limit=LIST_LIMIT_MAX
            )
            yield from page
            if len(page) < LIST_LIMIT_MAX:
                return
            first = page[-1] + 1

    def _records(
        self, kind: str, *, subject: str | None = None, case: str | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """The derived records among them, with their indexes."""
        for index in self._indexes(kind, subject=subject, case=case):
            leaf = self._ledger.entry(index).leaf
            if is_record(leaf):
                yield index, view_of(index, leaf)

    def _fields(self, index: int) -> dict[str, Any]:
        return view_of(index, self._ledger.entry(index).leaf)

    def _accepted(self, index: int) -> ParsedEntry | None:
        """The statement at this index, if it is one and the law accepted it."""
        leaf = self._ledger.entry(index).leaf
        if is_record(leaf):
            return None
        facts = self._node.facts.get(entry_hash(leaf))
        read = self._ledger.reader.read(leaf)
        if facts is None or isinstance(read, Malformed):
            raise StoreDamaged(f"entry {index}: logged, but not to be found or read as an entry")
        self._ledger.reader.forget(leaf)
        return None if facts.code else read.parsed


def _behind(indexes: list[int]) -> int | None:
    """Where to go on after a scan: it was cut short only if it is full."""
    return indexes[-1] + 1 if len(indexes) == SCAN_MAX else None


def _decision(index: int, record: dict[str, Any]) -> pb.Decision:
    decision = pb.Decision(
        outcome=record["outcome"],
        yes=record["yes"],
        no=record["no"],
        abstain=record["abstain"],
        absent=record["absent"],
        closed_at=record["closed_at"],
        one_state_could_change=bool(record["one_state_could_change"]),
        reason=record["reason"],
        index=index,
    )
    if record["in_force_at"] is not None:
        decision.in_force_at = record["in_force_at"]
    if record["until"] is not None:
        decision.until = record["until"]
    return decision


def _run(index: int, record: dict[str, Any]) -> pb.RunSummary:
    return pb.RunSummary(
        run=record["run"],
        status=record["status"],
        tier=record["tier"],
        lineage_pflop=record["lineage_pflop"],
        gates=record["gates"],
        time_s=record["at"],
        index=index,
    )


def _facility(index: int, entry: ParsedEntry) -> pb.FacilitySummary:
    body = entry.body
    qualified = body.facility if "/" in body.facility else f"{entry.author}/{body.facility}"
    return pb.FacilitySummary(
        facility=qualified,
        operator=entry.author,
        capacity_mh=body.capacity_mh,
        mem_gb=body.mem_gb,
        cell=body.cell,
        max_w=body.max_w,
        index=index,
    )
