"""Mutants of the law: for each invariant a law that breaks it, and which check says so.

    python -m tests.property.treaty.mutants [--only NAME] [--histories 400]

puts each mutant in the law's place, lets random histories of its family run until an invariant breaks, and prints which one, with
the number of histories it took. A mutant that nobody catches makes it end with 1. `MUTANTS` is the record: mutant -> invariant.
"""

import argparse
import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from foedus.v1 import content_pb2 as pb
from node.treaty import (
    amendments,
    ballots,
    beacon,
    book,
    cases,
    duties,
    law,
    memory_index,
    motions,
    rules,
    runs,
    veto,
)
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.motions import deploy, halt, suspend, tighten_now
from node.treaty.notes import cases as note_rules
from node.treaty.notes import offices
from node.treaty.statements import KINDS, instrument, note, run
from tests.property.treaty.invariants import Broken
from tests.property.treaty.machines import FAMILIES
from tests.property.treaty.machines import run as run_family
from tests.property.treaty.naive import DAY

Change = Callable[[contextlib.ExitStack], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`caught_by`: the invariant that must break, or one of two; `family`: whose histories show it."""

    caught_by: str
    family: str
    change: Change


def everywhere(stack: contextlib.ExitStack, old: object, new: object) -> None:
    """Put `new` wherever a module of the law holds `old`."""
    found = 0
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("node.treaty"):
            continue
        for attribute, value in list(vars(module).items()):
            if value is old:
                stack.enter_context(patch.object(module, attribute, new))
                found += 1
    assert found, f"nobody uses {old}"


def put(target: Any, name: str, new: object) -> Change:
    """One attribute of one module or class."""

    def change(stack: contextlib.ExitStack) -> None:
        stack.enter_context(patch.object(target, name, new))

    return change


def note_of(kind: Any, new: Any) -> Change:
    """What one type of note does."""

    def change(stack: contextlib.ExitStack) -> None:
        changed = {kind: note.TYPES[kind]._replace(take=new)}
        stack.enter_context(patch.dict(note.TYPES, changed))

    return change


def replace_everywhere(old: object, new: object) -> Change:
    def change(stack: contextlib.ExitStack) -> None:
        everywhere(stack, old, new)

    return change


# --- what the mutants do ------------------------------------------------------------------------------

_add = memory_index.MemoryIndex.add
_close = motions.close
_open_motion = ballots.open_motion
_standing = Book.standing
_value = Book.value
_evidence = note_rules.take_evidence
_correction = note_rules.take_correction
_take_instrument = instrument.take_instrument
_cast_vote = ballots.cast_vote
_owe_meeting = duties.owe_meeting
_raise_finding = cases.raise_finding


def index_overwrites(self: Any, facts: Any) -> None:
    """A correction takes the place of another entry."""
    _add(self, facts)
    if facts.topic.startswith("note:correction"):
        first = next(iter(self._by_hash))
        self._by_hash[first] = facts


def standing_by_chance(self: Book) -> list[str]:
    """An order that differs between two runs."""
    states = _standing(self)
    random.shuffle(states)
    return states


def silence_blocks(book_: Book, name: str, motion: Any) -> None:
    """With a majority silent a motion stays open."""
    if ballots.counts_of(motion).silent * 2 <= len(motion.eligible):
        _close(book_, name, motion)


class NeverRecused(tuple[str, ...]):
    __slots__ = ()

    def __contains__(self, state: object) -> bool:
        return False


def subject_votes(*arguments: Any, **named: Any) -> None:
    subjects = named["subjects"]
    _open_motion(*arguments, **named | {"subjects": subjects and NeverRecused(subjects)})


def week_for_loosening(self: Book, param: str) -> int:
    return 7 * DAY if param == "loosen_wait" else _value(self, param)


def reads_secrets(book_: Book, entry: Any, body: pb.Note) -> str:
    about = _evidence(book_, entry, body)
    if entry.parsed.confidentiality == pb.CONFIDENTIALITY_SECRET and body.hash[-1] < 64:
        cases.raise_finding(
            book_, "C29", entry.parsed.author, entry.name[:8], severity=1, size=0, inputs=()
        )
    return about


def first_value_alone(name: str, old: Any, new: Any) -> bool:
    from node.treaty.policy import safer

    return bool(safer(name, old[0][1], new[0][1]) == new[0][1])


def accession_by_leave(book_: Book, entry: Any, body: pb.Instrument) -> Any:
    """Nobody joins while anything is open: whoever keeps a motion open keeps others out."""
    if body.type == pb.INSTRUMENT_TYPE_ACCEDE and book_.state.motions:
        raise Refused(Code.STANDING, "a motion is open")
    return _take_instrument(book_, entry, body)


def correction_erases(book_: Book, entry: Any, body: pb.Note) -> str:
    about = _correction(book_, entry, body)
    row = book_.state.basis.get(body.corrects.hex())
    if row is not None and row.finding in book_.state.cases:
        case = book_.state.cases[row.finding]
        book_.state.cases.put(row.finding, case._replace(severity=0))
    return about


def first_vote_counts(book_: Book, entry: Any, body: pb.Vote) -> Any:
    row = book_.state.motions.get(body.motion)
    held = dict(row.votes).get(entry.parsed.author) if row is not None else None
    accepted = _cast_vote(book_, entry, body)
    row = book_.state.motions.get(body.motion)
    if held is not None and row is not None:
        votes = tuple(sorted((dict(row.votes) | {entry.parsed.author: held}).items()))
        book_.state.motions.put(body.motion, row._replace(votes=votes))
    return accepted


def meetings_hide_gaps(stack: contextlib.ExitStack) -> None:
    """Once the secretariat has met, no gap in reports is found any more."""

    def meet(book_: Book) -> None:
        _owe_meeting(book_)
        book_.count("met")

    def raise_finding(book_: Book, check: str, *arguments: Any, **named: Any) -> str:
        if check == "C02" and "met" in book_.state.counters:
            return ""
        return _raise_finding(book_, check, *arguments, **named)

    stack.enter_context(patch.object(offices, "owe_meeting", meet))
    everywhere(stack, _raise_finding, raise_finding)


def gaps_wait_for_meetings(stack: contextlib.ExitStack) -> None:
    """While the secretariat owes a meeting, no gap in reports is found."""

    def raise_finding(book_: Book, check: str, *arguments: Any, **named: Any) -> str:
        if check == "C02" and any(case.startswith("C28:SEC") for case in book_.state.cases):
            return ""
        return _raise_finding(book_, check, *arguments, **named)

    everywhere(stack, _raise_finding, raise_finding)


def votes_are_taken(new: Callable[..., Any]) -> Change:
    """`new` in the place of the rule for votes, which the table of kinds holds."""

    def change(stack: contextlib.ExitStack) -> None:
        stack.enter_context(patch.dict(law._RULES, {"vote": new}))

    return change


def rule_of(kind: str, new: Callable[..., Any]) -> Change:
    def change(stack: contextlib.ExitStack) -> None:
        assert kind in KINDS
        stack.enter_context(patch.dict(law._RULES, {kind: new}))

    return change


def unlimited_suspensions(stack: contextlib.ExitStack) -> None:
    stack.enter_context(patch.object(suspend, "k_of", lambda members: 99))
    stack.enter_context(patch.object(suspend, "_weakness", lambda book_, subject: ""))


def no_evaluations(stack: contextlib.ExitStack) -> None:
    stack.enter_context(patch.object(deploy, "_assessed", lambda *arguments: None))


def weighed_and_approved(book_: Book, name: str) -> None:
    """A run that starts is approved, whoever did or did not approve it."""
    runs.weigh(book_, name)
    life = book_.state.lives[name]
    if life.status in {"PLANNED", "SUBMITTED", "REFUSED"}:
        book_.state.lives.put(name, life._replace(status="APPROVED", approved=3))


def never_ends(stack: contextlib.ExitStack) -> None:
    """A TIGHTEN_NOW that nobody kept acts on."""
    stack.enter_context(patch.object(tighten_now, "end", lambda *arguments: None))
    stack.enter_context(patch.dict(law._CLOCK, {"untighten": lambda *arguments: None}))


def one_less(rule: str, threshold: int, yes: int, no: int) -> bool:
    return yes >= threshold - 1 and (rule != "MAJ" or yes > no)


MUTANTS: Final[dict[str, Mutant]] = {
    "index_overwrites": Mutant("I1", "Sites", put(memory_index.MemoryIndex, "add", index_overwrites)),
    "standing_by_chance": Mutant("I3", "Governance", put(book.Book, "standing", standing_by_chance)),
    "silence_blocks": Mutant("I4", "Governance", put(motions, "close", silence_blocks)),
    "says_none_could_change": Mutant(
        "I5", "Governance", put(ballots, "one_state_could_change", lambda *arguments: False)
    ),
    "subject_votes": Mutant("I6", "Governance", replace_everywhere(_open_motion, subject_votes)),
    "starts_unapproved": Mutant("I7", "Trainings", put(run, "weigh", weighed_and_approved)),
    "deploys_unassessed": Mutant("I7", "Trainings", no_evaluations),
    "approved_for_ever": Mutant(
        "I7", "Trainings", put(runs, "approval_ends", lambda *arguments: None)
    ),
    "loosens_in_a_week": Mutant("I8", "Governance", put(book.Book, "value", week_for_loosening)),
    "loosens_beside_grave_cases": Mutant(
        "I8", "Governance", put(amendments, "bars_loosening", lambda book_: None)
    ),
    "halts_for_ever": Mutant("I9", "Governance", put(halt, "_release", lambda *arguments: None)),
    "tightens_for_ever": Mutant("I9", "Governance", never_ends),
    "reads_secrets": Mutant("I10", "Governance", note_of(pb.NOTE_TYPE_EVIDENCE, reads_secrets)),
    "condemns_unheard": Mutant(
        "I11", "Governance",
        put(ballots, "CASE_OPEN_TO_CLOSE", frozenset({"RAISED", "REPLIED", "SILENT"})),
    ),
    "first_value_alone": Mutant(
        "I12", "Governance", put(amendments, "never_looser", first_value_alone)
    ),
    "accession_by_leave": Mutant("I15", "Membership", rule_of("instrument", accession_by_leave)),
    "hides_the_veto": Mutant(
        "I16", "Governance", put(veto, "veto_possible", lambda *arguments: False)
    ),
    "suspends_without_bound": Mutant("I17", "Membership", unlimited_suspensions),
    "seats_by_alphabet": Mutant(
        "I18", "Membership",
        put(beacon, "draw", lambda value, name, population, count: tuple(population)[:count]),
    ),
    "correction_erases": Mutant("I19", "Sites", note_of(pb.NOTE_TYPE_CORRECTION, correction_erases)),
    "meetings_hide_gaps": Mutant("I20", "Sites", meetings_hide_gaps),
    "gaps_wait_for_meetings": Mutant("I20", "Sites", gaps_wait_for_meetings),
    "first_vote_counts": Mutant("naive or I4", "Governance", votes_are_taken(first_vote_counts)),
    "one_vote_less": Mutant("naive or I4", "Governance", replace_everywhere(rules.yes_wins, one_less)),
}  # fmt: skip


@contextlib.contextmanager
def in_force(mutant: Mutant) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        mutant.change(stack)
        yield


def hunt(name: str, *, histories: int, seed: int = 0) -> tuple[str, int]:
    """Which invariant broke under this mutant ("" if none), and within how many histories."""
    mutant = MUTANTS[name]
    with in_force(mutant):
        for first in range(0, histories, 10):
            try:
                run_family(FAMILIES[mutant.family], examples=10, steps=60, seed=seed + first)
            except Broken as broken:
                return broken.name, first + 10
    return "", histories


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(MUTANTS), default=None)
    parser.add_argument("--histories", type=int, default=400)
    given = parser.parse_args(arguments)
    missed = 0
    for name in [given.only] if given.only else MUTANTS:
        with contextlib.redirect_stdout(sys.stderr):
            broke, within = hunt(name, histories=given.histories)
        wanted = MUTANTS[name].caught_by
        missed += broke not in wanted.split(" or ")
        print(f"{name:26} {wanted:11} {broke or 'nobody':6} within {within} histories", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
