"""The form of a scenario file (LAW section 1): what is wrong with it, and where.

A key that nobody knows would be passed over, and with it the expectation that somebody meant to write; so it is an
error. What a step says to the law is not judged here: there a wrong field is SCHEMA, which a scenario may expect.
"""

import re
from typing import Any, Final

from node.treaty.codes import DROPPED, Code
from node.treaty.policy import PARAMS

PAYLOADS: Final = ("statement", "motion", "vote")
_SCENARIO: Final = frozenset(
    {"name", "shows", "members", "states", "parties", "policy", "world", "beacon", "steps"}
    | {
        "measures",
        "law_version",
    }  # the project's own: the rows it shows, and the law it is judged by
)
_STEP: Final = frozenset(
    {
        "at",
        "expect",
        "still_since",
    }  # the last is the project's own: no commit came between it and `at`
)
_ENTRY: Final = _STEP | {"id", "by", "with", "seq", "offered", "rejected", *PAYLOADS}
_PARTY: Final = frozenset({"role", "state", "owners"})
_WORLD: Final = frozenset({"capacity_mh", "fab"})
_CODES: Final = frozenset(code.value for code in Code)
_BEACON: Final = re.compile("[0-9a-fA-F]{64}")
_MOTION: Final = "state outcome rule threshold yes no abstain absent eligible panel closed_at in_force_at effective"
# What may be expected of each kind of thing. The first key that is one of these says which it is.
EXPECTATIONS: Final = {
    "motion": frozenset([*_MOTION.split(), "one_state_could_change", "direction"]),
    "entry": frozenset({"rejected", "uncountersigned"}),
    "finding": frozenset({"severity", "subject", "check", "open"}),
    "findings": frozenset[str](),
    "case": frozenset({"status", "result", "severity"}),
    "run": frozenset({"status", "tier", "lineage_pflop"}),
    "naming": frozenset({"owners", "claimed", "heard"}),
    "policy": frozenset({"at", "value"}),
    "member": frozenset({"status"}),
    "eif": frozenset({"since"}),
    "veto_check": frozenset({"k", "f", "q", "veto_possible", "all", "one_recused"}),
}


class MalformedScenario(Exception):
    """`where` is the path inside the scenario, as `steps[3].expect[0].outcom`; `problem` says what would be right."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


def check_scenario(form: object) -> None:
    """Raise MalformedScenario for the first thing that is no scenario as LAW section 1 has it."""
    fields = _object("", form, _SCENARIO, ("name", "members", "steps"))
    _text("name", fields["name"])
    _texts("members", fields["members"])
    _texts("states", fields.get("states", []))
    for name, party in _any_object("parties", fields.get("parties", {})).items():
        row = _object(f"parties.{name}", party, _PARTY, ("role", "state"))
        _text(f"parties.{name}.role", row["role"])
        _text(f"parties.{name}.state", row["state"])
        _texts(f"parties.{name}.owners", row.get("owners", []))
    _any_object("policy", fields.get("policy", {}))
    world = _object("world", fields.get("world", {}), _WORLD, ())
    for measure, shares in world.items():
        for state, share in _any_object(f"world.{measure}", shares).items():
            _integer(f"world.{measure}.{state}", share)
    beacon = fields.get("beacon", "00" * 32)
    if not isinstance(beacon, str) or not _BEACON.fullmatch(beacon):
        raise MalformedScenario("beacon", f"{beacon!r}, not 64 hex digits")
    _check_steps(_list("steps", fields["steps"]))


def subject_of(expected: dict[str, Any]) -> str:
    """What kind of thing an expectation speaks of. The keys may stand in any order."""
    return next(key for key in EXPECTATIONS if key in expected)


def _check_steps(steps: list[object]) -> None:
    entries: set[str] = set()  # labels of what the scenario says is on the ledger
    now = 0
    for number, step in enumerate(steps):
        where = f"steps[{number}]"
        fields = _check_step(where, step)
        at = fields["at"]
        if at < now:
            raise MalformedScenario(f"{where}.at", f"{at} is before {now}, the step above it")
        if "still_since" in fields and not now <= fields["still_since"] <= at:
            raise MalformedScenario(
                f"{where}.still_since",
                f"{fields['still_since']} is not between {now}, the step above it, and {at}",
            )
        now = at
        label = fields.get("id")
        # What is tried again, or sent twice, is the same thing under the same label: one of the tries leaves no trace.
        if label is not None and fields.get("rejected") not in DROPPED:
            if label in entries:
                raise MalformedScenario(f"{where}.id", f"{label!r} already names an entry above")
            entries.add(label)
        for place, expected in enumerate(_list(f"{where}.expect", fields.get("expect", []))):
            _check_expectation(f"{where}.expect[{place}]", expected)


def _check_step(where: str, step: object) -> dict[str, Any]:
    fields = _object(where, step, _ENTRY, ("at",))
    _integer(f"{where}.at", fields["at"])
    if "still_since" in fields:
        _integer(f"{where}.still_since", fields["still_since"])
    payloads = [name for name in PAYLOADS if name in fields]
    if not payloads:
        idle = sorted(fields.keys() - _STEP)
        if idle:
            raise MalformedScenario(
                f"{where}.{idle[0]}", f"says nothing without one of {', '.join(PAYLOADS)}"
            )
        return fields
    if len(payloads) > 1:
        raise MalformedScenario(f"{where}.{payloads[1]}", f"beside a {payloads[0]}: one a step")
    _any_object(f"{where}.{payloads[0]}", fields[payloads[0]])
    if "by" not in fields:
        raise MalformedScenario(f"{where}.by", "missing: who writes this")
    _text(f"{where}.by", fields["by"])
    _texts(f"{where}.with", fields.get("with", []))
    if "id" in fields:
        _text(f"{where}.id", fields["id"])
    if "seq" in fields:
        _integer(f"{where}.seq", fields["seq"])
    if "offered" in fields:
        _integer(f"{where}.offered", fields["offered"])
        if fields["offered"] > fields["at"]:
            raise MalformedScenario(f"{where}.offered", f"after the step itself, {fields['at']}")
    if fields.get("rejected") is not None and fields["rejected"] not in _CODES:
        raise MalformedScenario(f"{where}.rejected", f"{fields['rejected']!r} is no reason code")
    return fields


def _check_expectation(where: str, expected: object) -> None:
    fields = _any_object(where, expected)
    kinds = [key for key in EXPECTATIONS if key in fields]
    if len(kinds) != 1:
        raise MalformedScenario(
            where, f"speaks of {kinds}, not of one of {', '.join(EXPECTATIONS)}"
        )
    kind = kinds[0]
    unknown = sorted(fields.keys() - EXPECTATIONS[kind] - {kind})
    if unknown:
        known = ", ".join(sorted(EXPECTATIONS[kind])) or "nothing more"
        raise MalformedScenario(f"{where}.{unknown[0]}", f"of a {kind} may be expected: {known}")
    if kind == "policy":
        _integer(f"{where}.at", fields.get("at"))
        if fields[kind] not in PARAMS:
            raise MalformedScenario(f"{where}.policy", f"{fields[kind]!r} is no parameter")
    if kind == "findings":
        _texts(f"{where}.findings", fields[kind])
    elif kind == "veto_check" and isinstance(fields[kind], int):
        _integer(f"{where}.veto_check", fields[kind])
    elif kind == "veto_check" and fields[kind] != "members":
        raise MalformedScenario(f"{where}.veto_check", f"{fields[kind]!r}, not a number or members")
    else:
        _text(f"{where}.{kind}", fields[kind])


def _any_object(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedScenario(where, f"{_kind(value)}, not an object")
    return value


def _object(
    where: str, value: object, known: frozenset[str], required: tuple[str, ...]
) -> dict[str, Any]:
    fields = _any_object(where, value)
    within = f"{where}." if where else ""
    for name in required:
        if name not in fields:
            raise MalformedScenario(f"{within}{name}", "missing")
    for name in fields:
        if name not in known:
            raise MalformedScenario(
                f"{within}{name}", f"unknown; known are {', '.join(sorted(known))}"
            )
    return fields


def _list(where: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise MalformedScenario(where, f"{_kind(value)}, not a list")
    return value


def _texts(where: str, value: object) -> None:
    for place, item in enumerate(_list(where, value)):
        _text(f"{where}[{place}]", item)


def _text(where: str, value: object) -> None:
    if not isinstance(value, str):
        raise MalformedScenario(where, f"{_kind(value)}, not a string")


def _integer(where: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise MalformedScenario(where, f"{value!r}, not an integer from 0")


def _kind(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
