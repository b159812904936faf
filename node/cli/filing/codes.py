"""What each refusal means and where the treaty's model says so: for those who file, before and after."""

from typing import Final, NamedTuple

from node.treaty.codes import Code


class Meaning(NamedTuple):
    """In words, and the section of the model (LAW: its rules K1 to K54)."""

    text: str
    source: str


MEANINGS: Final[dict[Code, Meaning]] = {
    Code.SCHEMA: Meaning("a field is missing, unknown or out of its range", "MODEL 2, 3"),
    Code.UNKNOWN_AUTHOR: Meaning("no such party, or no key of it for this", "MODEL 2; LAW K28"),
    Code.SEQ_GAP: Meaning("not the next entry of its author's chain", "MODEL 2"),
    Code.DUPLICATE: Meaning("said already", "MODEL 2; LAW K16"),
    Code.EQUIVOCATION: Meaning("two contents under one place of the chain", "MODEL 2; LAW K16"),
    Code.UNKNOWN_REF: Meaning(
        "names something that is not on the ledger, or was rejected", "MODEL 2"
    ),
    Code.FILER: Meaning("not for this author's role", "MODEL 3, 4; LAW K11, K43"),
    Code.SIGNERS: Meaning("too few states sign", "MODEL 4; LAW K11"),
    Code.COUNTERSIGN: Meaning(
        "its state has not countersigned, and no offer is 72 h old", "MODEL 3; LAW K30"
    ),
    Code.ATTESTATION: Meaning("too few members attest", "MODEL 7; LAW K28"),
    Code.INSTRUMENT: Meaning("one live instrument for each state", "MODEL 3; LAW K28"),
    Code.STANDING: Meaning("about another's site, run or entry", "MODEL 3; LAW K32"),
    Code.SUBJECTS: Meaning(
        "refs lead to the wrong number of subject states", "MODEL 4; LAW K4, K31"
    ),
    Code.ENTRENCHED: Meaning("no motion changes this", "MODEL 7; LAW K10"),
    Code.HARD_LIMIT: Meaning("beyond the parameter's hard limits", "MODEL 8; LAW K45"),
    Code.VETO: Meaning(
        "would give so few states a block on a safe outcome", "MODEL 7; LAW K10, K51"
    ),
    Code.NOT_TIGHTENING: Meaning("does not tighten", "MODEL 4; LAW K9"),
    Code.CRITERIA: Meaning("an adopted standard is wanted and not there", "MODEL 8; LAW K42"),
    Code.SEV4_OPEN: Meaning("barred while a case of severity 4 is open", "MODEL 4; LAW K50"),
    Code.STEP_LIMIT: Meaning("more than a tenth in 30 days", "MODEL 4; LAW K10"),
    Code.HORIZON: Meaning("tier 3 while horizon_open is 0", "MODEL 4, 8"),
    Code.EXEMPT_LIMIT: Meaning("only narrow runs of tier 1 at most", "MODEL 4; LAW K11"),
    Code.RUN_STATE: Meaning("not in this state of the run", "MODEL 9; LAW K12, K18, K39"),
    Code.NOT_APPROVED: Meaning("no valid approval for its tier", "MODEL 9; LAW K18"),
    Code.NOT_INDEPENDENT: Meaning(
        "shares a state or an owner with the developer", "MODEL 3; LAW K29"
    ),
    Code.INSPECTORS: Meaning(
        "inspectors of two states, none the inspected one", "MODEL 4; LAW K11, K29"
    ),
    Code.EVIDENCE: Meaning("what must be shown is not among the refs", "MODEL 4; LAW K11, K14"),
    Code.EVALS: Meaning("two last evaluations of two states, all shown", "MODEL 4; LAW K12, K40"),
    Code.CAPABILITY: Meaning(
        "a listed capability is not absent, or the list is old", "MODEL 4; LAW K12, K40"
    ),
    Code.STEWARDS: Meaning("stewards of five states", "MODEL 4; LAW K12"),
    Code.CASES: Meaning("one upheld case of severity 4, or three of 3", "MODEL 4; LAW K15"),
    Code.SUSPEND_LIMIT: Meaning("k states are suspended already", "MODEL 4; LAW K15"),
    Code.QUOTA: Meaning("too many in this time", "MODEL 8; LAW K13, K52"),
    Code.LATE: Meaning("after its time", "MODEL 4; LAW K14"),
    Code.REPEATED: Meaning(
        "declared or asked already, or too soon again", "MODEL 3, 4; LAW K14, K49, K52"
    ),
    Code.NOTICE: Meaning("no notice 14 days old", "MODEL 3; LAW K22"),
    Code.CHIPTYPE: Meaning("no approved chip type", "MODEL 3, 4"),
    Code.PERIOD: Meaning("no slot of the site, or more than 300 s ahead", "MODEL 2; LAW K20"),
    Code.CLOSED: Meaning("the motion is closed", "MODEL 5"),
    Code.NOT_ELIGIBLE: Meaning("no vote in this motion", "MODEL 4, 5; LAW K4, K16"),
    Code.MANDATE: Meaning("needs the state's own mandate note", "MODEL 5; LAW K12"),
}


def meaning_of(code: str) -> Meaning:
    """Of a code that a node gave; one of a later version means nothing to us."""
    try:
        return MEANINGS[Code(code)]
    except (ValueError, KeyError):
        return Meaning("a code of another version of the law", "")
