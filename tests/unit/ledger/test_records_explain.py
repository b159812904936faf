"""A derived record is small and says why by itself: what it is about, by which rule, from which entries, with which numbers."""

import types
from dataclasses import fields
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import pytest

from node.ledger import records
from node.treaty.derived import (
    Beacon,
    CaseStep,
    Decision,
    Derived,
    Drawn,
    EntryIntoForce,
    Equivocation,
    Finding,
    FindingEnded,
    MotionOpened,
    NamingStep,
    Outage,
    PolicyStep,
    Rejected,
    RoundOpened,
    RunStep,
    Uncountersigned,
    VetoCheck,
)
from tests.compiled import plain_law_only

STATES: Final = 195
TEXT: Final = "x" * 200  # ids are two names of 64 characters and what stands before them
NUMBER: Final = (1 << 53) - 1

# For each type the fields that say: what it is about; by which rule or why; from what; with which numbers and when.
EXPLAINED: dict[type[Any], tuple[str, ...]] = {
    Rejected: ("entry", "code", "why", "at"),
    Uncountersigned: ("entry", "state", "offered_at", "at"),
    MotionOpened: (
        "motion",
        "kind",
        "about",
        "subjects",
        "rule",
        "threshold",
        "eligible",
        "default",
        "closes_at",
        "share",
        "k",
    ),
    Decision: (
        *("motion", "about", "rule", "threshold", "yes", "no", "abstain", "absent", "votes"),
        *("eligible", "subjects", "outcome", "closed_at", "one_state_could_change", "reason"),
        *("share", "k", "policy_filed", "ballots"),
    ),
    Equivocation: ("state", "proof", "at"),
    Finding: (
        *("finding", "check", "subject", "about", "severity", "numbers", "inputs", "at"),
        *("formula", "asks", "limits", "level", "clears"),
    ),
    FindingEnded: ("finding", "entry", "at"),
    CaseStep: ("case", "status", "subject", "severity", "result", "entry", "reply_due", "at"),
    RunStep: (
        *("run", "status", "tier", "gates", "lineage_pflop", "at"),
        *("plan", "own_pflop", "limits", "motion"),
    ),
    PolicyStep: ("motion", "param", "event", "value", "per", "reason", "at"),
    VetoCheck: (
        "members",
        "k",
        "f",
        "trigger",
        "quorum",
        "veto_possible",
        "one_recused_high",
        "at",
    ),
    RoundOpened: ("round", "expected", "due", "at"),
    Beacon: ("round", "beacon", "needed", "revealed", "silent", "at"),
    Drawn: ("draw", "what", "round", "population", "drawn", "beacon", "at"),
    Outage: ("since", "until", "moved", "at"),
    NamingStep: ("party", "owner", "state", "event", "named_by", "entry", "due", "at"),
    EntryIntoForce: ("door", "members", "five_since", "capacity_bp", "fab_bp", "at"),
}


def largest(kind: type[Any]) -> Derived:
    """As large as the treaty can make it: every list with 195 states, inputs and populations far beyond what is listed."""
    hints = get_type_hints(kind)
    return kind(**{item.name: _most(hints[item.name], item.name) for item in fields(kind)})  # type: ignore[no-any-return]


def _most(hint: Any, name: str) -> Any:
    if hint is int:
        return NUMBER
    if hint is str:
        return TEXT
    if hint is bytes:
        return bytes(2_048) if name == "proof" else bytes(32)
    if get_origin(hint) in (Union, types.UnionType):
        return _most(get_args(hint)[0], name)
    inner, *rest = get_args(hint)
    if rest and rest[0] is not Ellipsis:  # one row of a fixed shape
        return tuple(_most(part, name) for part in (inner, *rest))
    if name == "numbers":
        return tuple((f"number_{place}", NUMBER) for place in range(16))
    if name == "ballots":
        return tuple(place.to_bytes(32, "big") for place in range(STATES))
    if name == "limits":
        return tuple((f"parameter_{place}", NUMBER) for place in range(16))
    if inner is bytes:
        return tuple(place.to_bytes(32, "big") for place in range(5_000))
    if inner is str:
        count = 10_000 if name == "population" else STATES
        return tuple(
            f"{place:05}" if name == "population" else f"S{place:03}" for place in range(count)
        )
    return tuple((f"S{place:03}", "abstain") for place in range(STATES))


def test_every_type_is_looked_at() -> None:
    assert set(EXPLAINED) == set(records.TYPE_OF)


@plain_law_only
@pytest.mark.parametrize("kind", EXPLAINED, ids=lambda kind: records.TYPE_OF[kind])
def test_a_record_says_why_by_itself(kind: type[Any]) -> None:
    names = {item.name for item in fields(kind)}
    assert set(EXPLAINED[kind]) | {"law", "policy"} <= names
    leaf = records.encode_derived(largest(kind), bytes(16))
    fewer = {"inputs": "inputs_count", "population": "population_count"}
    decoded = records.decode_record(leaf)
    for name in (*EXPLAINED[kind], "law", "policy"):
        assert name in decoded or fewer.get(name) in decoded, name


@plain_law_only
@pytest.mark.parametrize("kind", EXPLAINED, ids=lambda kind: records.TYPE_OF[kind])
def test_the_largest_record_still_fits_a_letter(kind: type[Any]) -> None:
    """Far below an entry's 65,535 bytes, with 195 states in every list."""
    assert len(records.encode_derived(largest(kind), bytes(16))) < 16 * 1024
