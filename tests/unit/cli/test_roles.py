"""Who may file which motion, and who may vote: every role against every kind, by the law's own verdict on a template."""

import pytest

from node.cli.filing.examples import classes_of, example, variants_of
from node.cli.statements import Draft, content_bytes
from node.treaty import motions
from node.treaty.codes import Code
from node.treaty.dry_run import check_content
from tests.unit.treaty.court import CHAIN_ID, Court

AUTHORS = {
    "secretariat": "SEC",
    "state": "CN",
    "operator": "acme",
    "source": "carrier",
    "device": "meter",
    "inspector": "insp-gb",
    "evaluator": "eval-gb",
}
# MODEL 4: the column "who may file".
FILERS = {
    "TRAIN": {"operator"},
    "DEPLOY": {"operator"},
    "EXEMPT": {"operator", "secretariat"},
    "CLASS": {"operator", "secretariat"},
    "BREACH": {"state", "secretariat"},
    "HALT": {"state", "inspector"},
    "INSPECT": {"state", "secretariat"},
    "AMEND": {"state", "secretariat"},
    "TIGHTEN_NOW": {"state", "secretariat"},
    "APPEAL": {"state"},
    "APPOINT": {"state", "secretariat"},
    "CHIPTYPE": {"operator", "source"},
    "CLASSIFY": {"state"},
    "SUSPEND": {"state"},
}
NOT_YOURS = {Code.FILER, Code.UNKNOWN_AUTHOR}


def verdict(court: Court, kind: str, variant: str, author: str) -> Code | None:
    draft = Draft(kind=kind, body=example(kind, variant), confidentiality=classes_of(kind)[0])
    content = content_bytes(draft, ledger=CHAIN_ID, author=author)
    return check_content(court.law, content, ["CN", "US"]).code


def test_every_motion_is_in_the_table() -> None:
    assert set(FILERS) == set(motions.KINDS)


@pytest.mark.measure("M13")
@pytest.mark.parametrize("kind", FILERS)
def test_who_may_file_a_motion(kind: str) -> None:
    """A loosening, or a change of the rule table, is never the secretariat's: tightening alone."""
    court = Court()
    variants = [one for one in variants_of(kind) if (kind, one) != ("AMEND", "rule")] or [""]
    if kind == "APPOINT":
        variants = ["officer", "standard", "capability"]  # the others name somebody
    for variant in variants:
        may = {
            role
            for role, author in AUTHORS.items()
            if verdict(court, kind, variant, author) not in NOT_YOURS
        }
        assert may == FILERS[kind], variant
    if kind == "AMEND":
        assert verdict(court, kind, "rule", "SEC") is Code.FILER
        assert verdict(court, kind, "rule", "CN") is Code.SIGNERS


@pytest.mark.measure("M13")
@pytest.mark.parametrize("role", AUTHORS)
def test_only_states_vote(role: str) -> None:
    code = verdict(Court(), "vote", "", AUTHORS[role])
    assert code is (Code.UNKNOWN_REF if role == "state" else Code.UNKNOWN_AUTHOR)
