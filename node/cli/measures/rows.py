"""The measures the treaty asks for, M01 to M57 and X01 to X18, and what on the ledger answers each.

Whether an answer *works* is not said here: that is `shown.csv`, made from the marks that tests bear (`coverage` beside this).
A row without a mark is printed as "not shown", whatever stands in its `feature`. `lacks` names what the measure asks and no
test shows yet, so that a row with tests does not claim more than they do. Checks that compare what sensors, trade and networks
say need calibration on simulated worlds, and come with a later law; their inputs are on the ledger already.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row. `not_software` and `see` are exclusive: such a row has no tests of its own."""

    name: str  # M01 to M57 (M33 in two), X01 to X18
    asks: str
    feature: str = ""  # statement kinds, motions, checks and commands that answer it
    lacks: str = ""
    outside: str = ""  # what of it is no software (MEASURES 7): the rest is answered
    not_software: str = ""  # why no program can answer it
    see: tuple[str, ...] = ()  # rows that answer it


def _row(
    name: str,
    asks: str,
    feature: str = "",
    *,
    lacks: str = "",
    outside: str = "",
    not_software: str = "",
) -> Measure:
    return Measure(
        name=name,
        asks=asks,
        feature=feature,
        lacks=lacks,
        outside=outside,
        not_software=not_software,
    )


_PURPOSE: Final = (
    _row(
        "M01",
        "pause of the most powerful training, without an end date",
        "policy horizon_open = 0; only AMEND loosen by HIGH with both criteria opens it; TRAIN of tier 3 else HORIZON",
    ),
    _row(
        "M02",
        "versioned text and policy",
        "law_version in genesis, policy by schedule, AMEND with records; kept histories replay to the same bytes",
    ),
    _row(
        "M03",
        "a state can begin alone",
        "a ledger of one member, f = 0 and `veto possible` shown; note prior_log: its entries are proved to all after joining",
    ),
    _row(
        "M04",
        "where companies are; a state's own regions",
        "places below a state; role agency, endorsed by its state and without a vote; `foedus law places`",
    ),
    _row(
        "M05",
        "public and scientific support",
        not_software="opinion is context: no rule reads it, and no number on the ledger could make it true",
    ),
    _row(
        "M06",
        "nobody pauses alone: each sees what all others keep",
        "`foedus law obligations`: every state's duties at one index, the same bytes at every node",
    ),
    _row(
        "M07",
        "a summit makes a treaty",
        "instrument; entry into force by itself; `foedus law status`",
        outside="calling a summit",
    ),
    _row(
        "M08",
        "meetings held so far",
        "note of type meeting; those of before the founding are history and fulfil no duty",
    ),
    _row(
        "M09",
        "US and China both crucial",
        "fast door of entry into force; slow door by the world's capacity in genesis; `foedus law membership`",
    ),
    _row(
        "M10",
        "no country has a veto",
        "thresholds, recusal, safe defaults; veto_check at each change of membership or rules; `foedus law veto`",
    ),
    _row(
        "M11",
        "fast",
        "a deadline and a default for every motion; HALT acts at inclusion; early close",
    ),
    _row(
        "M12",
        "consent of all countries, open to each",
        "accession without a vote, by attestation; states beyond the genesis list by HIGH",
    ),
    _row(
        "M13",
        "an agency that oversees and does not rule",
        "role secretariat: files motions and notes; has no vote, and no node depends on it",
    ),
    _row(
        "M14",
        "the agency approves deployments",
        "DEPLOY with two independent evaluations, capability list, stewards",
    ),
    _row(
        "M15",
        "approval of training above a size",
        "run plan, tier computed from figures, TRAIN; default not approved",
    ),
    _row("M16", "regular meetings", "note of type meeting; C28 when one is overdue"),
)
_TRAINING: Final = (
    _row(
        "M17",
        "trained only if safety is guaranteed",
        "tier 3 needs horizon_open, a safety case by an adopted standard, three reviews of it, and HIGH; no conditional approval",
        outside="the truth of a safety case",
    ),
    _row("M18", "10^12 parameters", "gate params, over total parameters"),
    _row(
        "M19",
        "10^25 FLOP",
        "gate flop, over the whole lineage, teachers of a distillation included",
    ),
    _row(
        "M20",
        "86 % on the benchmark",
        "gate bench, forecast before and measured after, three standard errors; a cap for each benchmark version by AMEND",
    ),
    _row("M21", "not aimed at narrow AI", "EXEMPT and CLASS: no vote for tier 1 runs; gates stay"),
    _row("M22", "if never safe, then never", "no timer, sunset or silence ends the pause"),
    _row(
        "M23",
        "verify that forbidden training does not take place",
        "checks C01 to C29; `foedus law labels`",
        lacks="statistical and sensor checks; a benchmark of evasions",
    ),
)
_METHODS: Final = (
    _row(
        "M24",
        "following chips",
        "chip_type, chip_batch, custody, inventory, snapshot; C03 to C05, C19, C29",
        lacks="C18",
    ),
    _row("M25", "whistleblowers", "tip, blinded and sealed"),
    _row(
        "M26",
        "energy monitoring",
        "energy statements of operator, utility or device; gateway for meters",
        lacks="checks that compare meters",
    ),
    _row(
        "M27",
        "inspections of data centres",
        "INSPECT, inspection by two states, access clock, quotas",
    ),
    _row("M28", "financial intelligence", "trade of kind payment", lacks="C21, C22"),
    _row(
        "M29",
        "inspections of chip fabs",
        "chip_batch; trade of kinds fab_output, hbm; inspection of type fab; C05",
    ),
    _row(
        "M30",
        "inspections of developers",
        "inspection of type developer: code in use and teachers against the plan's, C14; C25",
        lacks="C18",
    ),
    _row("M31", "chip location", "locate", lacks="C12, C13"),
    _row("M32", "reports by chips", "chipmeter; C10", lacks="C11"),
    _row("M33a", "remote sensing", "tip with thermal figures; C23"),
    _row("M33b", "customs data", "trade of kind customs; C06"),
    _row(
        "M34",
        "a centralised supply chain",
        "shares of makers per step over four quarters; C24 and a review below choke_floor; `foedus law makers`",
    ),
)
_OVERSIGHT: Final = (
    _row(
        "M35",
        "oversight during training",
        "frontier and horizon, progress each day, oversight share, halt by an assigned inspector; inspectors by lot; C14",
    ),
    _row(
        "M36",
        "democratic control",
        "votes on tier 3 and DEPLOY need a mandate note; votes are recorded by state",
    ),
    _row(
        "M37",
        "no single country or company holds it",
        "stewards of five states; SUP or HIGH for DEPLOY",
    ),
    _row(
        "M38",
        "no dangerous capability before deployment",
        "DEPLOY refused on present or unknown; judged at the close again",
    ),
    _row(
        "M39",
        "independent red teaming",
        "evaluators of two states, one more by lot; owner chains disjoint, former owners included",
    ),
    _row(
        "M40", "the list of capabilities may change", "APPOINT capability; the list has a version"
    ),
    _row(
        "M41",
        "evaluations alone are not enough",
        "DEPLOY needs the tier's TRAIN approval as well; findings and duties bear their level; `foedus law levels`",
    ),
    Measure(
        name="M42",
        asks="a pause can backfire: mitigate",
        see=tuple(f"X{number:02}" for number in range(1, 19)),
    ),
    Measure(name="M43", asks="the supply chain as a lever", see=("M29", "M34", "X12")),
    _row(
        "M44",
        "training on copyrighted material",
        "data manifests, claims, proofs of absence; C26",
    ),
    _row("M45", "developers are liable", "note of type incident; `foedus law dossier`"),
    _row("M46", "large training is costly, so chips can be followed", "trade of kind price"),
    _row("M47", "cost falls exponentially", "alarm when the cost of the horizon falls"),
    _row("M48", "be prepared for consumer hardware", "readiness report"),
    _row(
        "M49",
        "restrict publication of algorithms",
        "note of type publication; CLASSIFY, released by default",
    ),
    _row(
        "M50",
        "restrict publication of runtime improvements",
        "note of type publication of class runtime",
    ),
    _row(
        "M51",
        "a jump at any moment",
        "TIGHTEN_NOW by scale, at once, 30 days; by itself from a publication that states sign",
    ),
    _row("M52", "decentralised training", "C15 over lineage, owners, code and data", lacks="C16"),
    _row(
        "M53",
        "forbidden content is spread by nobody",
        "hashes only; entries and bodies are bounded; takedown as incident; `foedus law scan`",
    ),
    _row("M54", "restrict lithography", "chip_batch only of approved types; CHIPTYPE"),
    _row("M55", "restrict chip design", "chip_type figures; CHIPTYPE"),
    _row("M56", "photonic, quantum", "chip_type paradigm"),
    _row(
        "M57",
        "anybody can check",
        "public tiles and checkpoints; receipts and audit verify offline",
    ),
)
_MITIGATIONS: Final = (
    _row(
        "X01",
        "pausing without an end in sight",
        "criteria: two adopted standards named by the AMEND of horizon_open",
    ),
    _row("X02", "too short", "the pause has no expiry; emergency acts lapse unless kept"),
    _row(
        "X03", "too long, or a taboo on all AI", "tier 0 starts without any motion; class licences"
    ),
    _row(
        "X04", "one point of failure", "no privileged node; the secretariat is needed for nothing"
    ),
    _row("X05", "less careful actors catch up", "conditions and no dates; what M01 shows"),
    Measure(name="X06", asks="a national pause may fail", see=("M03", "M06")),
    _row(
        "X07",
        "underground development",
        "C15, INSPECT on an evidence note",
        lacks="C13, C16, C21, C22",
    ),
    _row(
        "X08", "hardware overhang", "`foedus law breakout`: declared capacity against the frontier"
    ),
    _row(
        "X09",
        "training for safety research",
        "a lane of its own in the queue of panels; tier, rule and evidence are the same for every purpose",
    ),
    _row(
        "X10",
        "small models become dangerous",
        "tier computed anew after every entry, from measured scores",
    ),
    _row(
        "X11", "narrow models may generalise", "an exemption lifts the procedure, never the gates"
    ),
    _row(
        "X12",
        "five acts of government",
        "census of every covered site; chip_type; firmware keys made before k+1 states; `foedus law firmware`",
    ),
    _row("X13", "the treaty may differ from the proposal", "`foedus law diff`"),
    _row("X14", "pausing too late", "`foedus law breakout`"),
    _row("X15", "data and fine-tuning count", "gate posttrain; lineage"),
    _row(
        "X16",
        "capabilities are added after training",
        "the list's version is checked at DEPLOY; evaluations after the end only",
    ),
    _row(
        "X17",
        "a coalition may block deployment, stewards hold weights",
        "SUP or HIGH for DEPLOY; stewards; SEALED: a model put away for good",
    ),
    _row(
        "X18",
        "attackers need one hole",
        "every entry signed and hashed, any changed byte is found; severity 3 rests on admission, two inspectors or two groups",
    ),
)

MEASURES: Final = (*_PURPOSE, *_TRAINING, *_METHODS, *_OVERSIGHT, *_MITIGATIONS)
