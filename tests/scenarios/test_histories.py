"""Histories of frozen laws replay to the same bytes: outcomes, records and state rows, for ever.

Each file of `histories` holds scenarios as they were when that law was frozen, and the SHA-256 of what they made.
The forms are frozen: new scenarios go into `law`. `python -m tests.scenarios.test_histories FILE...` makes a file for the
present law out of scenario files, those of an older law left out.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from foedus.v1 import content_pb2 as pb
from node.ledger.records import NONCE_BYTES, encode_derived
from node.treaty.codes import Code
from node.treaty.derived import Derived
from node.treaty.earlier_laws import was_unknown
from node.treaty.entries import ParsedEntry
from node.treaty.genesis import LAW_VERSION, LAW_VERSIONS
from node.treaty.parsing import parse_entry
from node.treaty.policy import params_of
from node.treaty.scenario import Scenario

FOLDER = Path(__file__).parent / "histories"
HISTORIES = [
    (version, history)
    for version in LAW_VERSIONS
    for history in (
        json.loads((FOLDER / f"law{version}.json").read_text(encoding="utf-8"))
        if (FOLDER / f"law{version}.json").exists()
        else ()
    )
]


class Recorded(Scenario):
    """A scenario that hashes whatever the law says and keeps."""

    def __init__(self, form: dict[str, Any]) -> None:
        super().__init__(form)
        self.digest = hashlib.sha256()

    def _keep(self, derived: tuple[object, ...]) -> None:
        super()._keep(derived)
        for value in derived:
            assert isinstance(value, Derived)
            self._hash(encode_derived(value, bytes(NONCE_BYTES)))
        for key, row in sorted(self.law.drain_changes().items()):
            self._hash(key)
            self._hash(b"gone" if row is None else row)

    def _submit(
        self, name: str, step: dict[str, Any], sort: str, payload: dict[str, Any]
    ) -> tuple[Code | None, str]:
        code, why = super()._submit(name, step, sort, payload)
        self._hash(f"{code or 'accepted'}".encode())
        return code, why

    def _hash(self, data: bytes) -> None:
        self.digest.update(len(data).to_bytes(4, "big") + data)


def digest_of(form: dict[str, Any]) -> str:
    scenario = Recorded(form)
    assert scenario.run() == []
    return scenario.digest.hexdigest()


@pytest.mark.parametrize(
    ("version", "history"),
    HISTORIES,
    ids=[f"law{version}-{history['form']['name']}" for version, history in HISTORIES],
)
@pytest.mark.measure("M02")
def test_a_history_of_a_frozen_law_replays_to_the_same_bytes(
    version: int, history: dict[str, Any]
) -> None:
    assert digest_of(history["form"] | {"law_version": version}) == history["sha256"]


def test_every_law_has_kept_histories() -> None:
    """All are frozen (records 0187, 0246): what changes a digest above is law 4."""
    assert {version for version, _ in HISTORIES} == set(LAW_VERSIONS)


# What parties can say, and the numbers the law reads, when laws 2 and 3 were frozen. A field, a word of an enum, a parameter, a
# default or a limit that changes makes another law: it stays unknown to ledgers of law 2 (`earlier_laws`, `policy.is_known`).
SCHEMA_OF_LAW_2: Final = "a2992aca44acd9ca2b0a83e00219240a91fb248889ace102a377131dd4d76ecc"
POLICY_OF_LAW_2: Final = "743634264dd7068f320a4ce293b4b3aec42c25cbb333d00b5055a2a2b2f92432"


SCHEMA_OF_LAW_3: Final = "4f0da0f83ed09c794a441370c1862ae950fe61e3015468e40153846c68c6eab8"
POLICY_OF_LAW_3: Final = "9ea855a433f87f72b0f047d45e3bf4dd3aec52f39446e0986329667151491421"
LATER_THAN_LAW_2: Final = frozenset(
    [
        *("Run.teachers", "Inspection.teachers", "Service.run"),
        *("NOTE_TYPE_CONSENT", "NOTE_TYPE_OBJECTION"),
    ]
)


def test_the_schema_and_the_parameters_of_law_2_stand() -> None:
    assert schema_digest(without=LATER_THAN_LAW_2) == SCHEMA_OF_LAW_2
    assert policy_digest(2) == POLICY_OF_LAW_2


def test_the_schema_and_the_parameters_of_law_3_stand() -> None:
    assert LAW_VERSION == 3, (
        "say in `earlier_laws` and `policy` what law 3 knew before law 4 knows more"
    )
    assert schema_digest() == SCHEMA_OF_LAW_3
    assert policy_digest(3) == POLICY_OF_LAW_3


def content_of(**body: Any) -> ParsedEntry:
    content = pb.Content(
        ver=1,
        ledger=bytes(32),
        author="acme",
        confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
        period=pb.Period(start=1, end=2),
        **body,
    )
    envelope = pb.Envelope(content=content.SerializeToString(), seq=1, prev=bytes(32))
    return parse_entry(envelope.SerializeToString())


EXPLAINED = pb.Note(type=pb.NOTE_TYPE_EXPLAINED, about="a")
INSPECTION = pb.Inspection(
    type=pb.INSPECTION_TYPE_DEVELOPER, site="f", mandate="m", run="r", code_hash=bytes(32)
)
USAGE = pb.Usage(facility="f", chip_type="H100", chips_on=1, chip_seconds=1, pflop_total=1)


@pytest.mark.parametrize(
    ("kind", "known", "added"),
    [
        ("run", pb.Run(run="r", phase=pb.RUN_PHASE_PROGRESS, pflop_done=1), {"teachers": ["m"]}),
        ("inspection", INSPECTION, {"teachers": ["m"]}),
        ("usage", USAGE, {"served": [pb.Service(model="m", pflop=1, run="r")]}),
        ("note", EXPLAINED, {"type": pb.NOTE_TYPE_CONSENT}),
        ("note", EXPLAINED, {"type": pb.NOTE_TYPE_OBJECTION}),
    ],
)
def test_what_law_3_brought_is_unknown_to_law_2(
    kind: str, known: Any, added: dict[str, Any]
) -> None:
    """A case for each name in LATER_THAN_LAW_2."""
    grown = type(known)()
    grown.CopyFrom(known)
    grown.MergeFrom(type(known)(**added))
    assert was_unknown(content_of(**{kind: known}), 2) == ""
    assert "law 2 knows no" in was_unknown(content_of(**{kind: grown}), 2)


def schema_digest(without: frozenset[str] = frozenset()) -> str:
    """Over all messages and enums that a Content can hold: names, numbers, types."""
    told: list[str] = []
    seen: set[str] = set()
    ahead = [pb.Content.DESCRIPTOR, pb.Envelope.DESCRIPTOR]
    while ahead:
        message = ahead.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            if f"{message.name}.{field.name}" in without:
                continue
            of = field.message_type or field.enum_type
            kind = of.full_name if of is not None else field.type
            told.append(
                f"{message.full_name}.{field.name}={field.number}:{kind}:{field.is_repeated}"
            )
            if field.message_type is not None:
                ahead.append(field.message_type)
            elif field.enum_type is not None:
                values = [one for one in field.enum_type.values if one.name not in without]
                words = [f"{one.name}={one.number}" for one in values]
                told.append(f"{field.enum_type.full_name}: {' '.join(words)}")
    return hashlib.sha256("\n".join(sorted(set(told))).encode()).hexdigest()


def policy_digest(law: int) -> str:
    """Over all parameters that a law reads: name, unit, safe direction, default and limits."""
    told = [repr(param) for _, param in sorted(params_of(law).items())]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def main(files: list[str]) -> None:
    forms = [form for file in files for form in json.loads(Path(file).read_text(encoding="utf-8"))]
    forms = [form for form in forms if form.get("law_version", LAW_VERSION) == LAW_VERSION]
    histories = [{"sha256": digest_of(form), "form": form} for form in forms]
    print("[\n" + ",\n".join(json.dumps(item) for item in histories) + "\n]")


if __name__ == "__main__":
    main(sys.argv[1:])
