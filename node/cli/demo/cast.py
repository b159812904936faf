"""Who takes part in the rehearsal and what they say: signed entries from plain values. No network here.

    labs       ke-lab, br-lab and us-lab plan training runs; their states countersign
    operators  one in each state runs a facility; its meters report
    inspectors of three states, listed in the genesis (RULINGS R66)

The thresholds are the treaty's own. Only deadlines and reporting slots are shortened, to seconds (`drill_policy`, R69).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.cli.author import Author, Signed
from node.cli.figures import FacilityFigures, ModelFigures, load_facilities, load_models
from node.cli.founding import Home, Terms
from node.ledger.genesis import GenesisParty
from node.signing.keys import AgencyKeys
from node.treaty.tiers import FLOP_PER_PFLOP

STATES: Final = ("US", "CN", "GB", "KE", "BR")
ACCUSED: Final = "US"
ORIGIN: Final = "ledger.drill.example/main"
DEADLINE_S: Final = 8  # of motions: votes need two or three seconds to be on the ledger
SLOT_S: Final = 6  # of reports: a facility reports once in so many seconds
INCLUSION_S: Final = 60

# Which facility of the figures each state declares: any one of its own.
FACILITIES: Final = {
    "US": "El Capitan Phase 2",
    "CN": "Zhangbei",
    "GB": "Isambard-AI",
    "KE": "Illustrative Data Centre Naivasha",
    "BR": "Pegasus",
}
# H100 equivalents have 80 GB: what a facility's memory would be if it were of H100s.
MEMORY_GB_PER_H100: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A run that a lab declares: numbers in the law's units."""

    name: str
    params_total: int
    pflop: int
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One request for approval and how the states take it. Whoever is in none of `yes`, `no` stays silent."""

    state: str
    lab: str
    run: PlannedRun
    sized_like: str  # the model of the figures whose size it has
    inspectors: tuple[str, ...]
    yes: tuple[str, ...]
    no: tuple[str, ...]


# Three parts of one training, each below the 10^9 PFLOP (10^24 FLOP) that need a plenary, together above. The first alone is
# a Tier 1 run; the others train it further, each below the 10^8 PFLOP that post-training may have.
PARTS: Final = (
    PlannedRun(name="part-1", params_total=70 * 10**9, pflop=850_000_000),
    PlannedRun(name="part-2", params_total=70 * 10**9, pflop=95_000_000, parents=("part-1",)),
    PlannedRun(name="part-3", params_total=70 * 10**9, pflop=95_000_000, parents=("part-1",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A party of the rehearsal that is no state: its keys are made for it and listed in the genesis."""

    id: str
    role: str
    state: str
    keys: AgencyKeys

    def in_genesis(self) -> GenesisParty:
        return GenesisParty(
            id=self.id, role=self.role, state=self.state, author_key=self.keys.author.public
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody who signs, each with its chain."""

    states: Mapping[str, Author]
    parties: Mapping[str, Author]

    def plan(self, state: str, lab: str, run: PlannedRun) -> Signed:
        """The lab declares a run; its state countersigns."""
        body = {
            "run": run.name,
            "phase": "plan",
            "model": f"{run.name}-model",
            "params_total": run.params_total,
            "pflop_plan": run.pflop,
            "parents": list(run.parents),
        }
        return self.parties[lab].say("run", body, endorsed_by=[self.states[state]])

    def apply(self, state: str, lab: str, plan: Signed, inspectors: Sequence[str]) -> Signed:
        """The motion to approve a declared run; always countersigned."""
        return self.parties[lab].say(
            "TRAIN",
            {"inspectors": list(inspectors)},
            refs=[plan.entry_hash],
            endorsed_by=[self.states[state]],
        )

    def start(self, state: str, lab: str, run: PlannedRun) -> Signed:
        return self.parties[lab].say(
            "run", {"run": run.name, "phase": "start"}, endorsed_by=[self.states[state]]
        )

    def progress(self, state: str, lab: str, run: PlannedRun) -> Signed:
        """All of the planned work is done, says the lab, and its state countersigns."""
        body = {"run": run.name, "phase": "progress", "pflop_done": run.pflop}
        return self.parties[lab].say("run", body, endorsed_by=[self.states[state]])

    def declare(self, state: str, facility: FacilityFigures) -> Signed:
        """The state's operator declares a facility."""
        body = {
            "facility": facility_id(facility),
            "capacity_mh": facility.capacity_mh,
            "mem_gb": facility.capacity_mh * MEMORY_GB_PER_H100 // 1000,
            "max_w": facility.power_w,
        }
        operator = self.parties[operator_of(state)]
        return operator.say("facility", body, endorsed_by=[self.states[state]])

    def vote(self, state: str, motion: str, choice: str) -> Signed:
        return self.states[state].vote(motion, choice)

    def reply(self, state: str, case: str) -> Signed:
        """The accused answers."""
        return self.states[state].say("note", {"type": "reply", "about": case})


def operator_of(state: str) -> str:
    return f"{state.lower()}-operator"


def lab_of(state: str) -> str:
    return f"{state.lower()}-lab"


def inspector_of(state: str) -> str:
    return f"{state.lower()}-inspector"


def party_roles() -> dict[str, tuple[str, str]]:
    """Party id -> (role, state), in the order in which the genesis lists them."""
    found = {operator_of(state): ("operator", state) for state in STATES}
    found |= {lab_of(state): ("operator", state) for state in ("KE", "BR", ACCUSED)}
    found |= {inspector_of(state): ("inspector", state) for state in ("CN", "GB", "BR")}
    return found


def applications() -> tuple[Application, Application]:
    """Step 3: one run approved against a no, one approved although a state says nothing (RULINGS R65)."""
    first, second = figure_of("Falcon-180B"), figure_of("Mixtral 8x22B")
    return (
        Application(
            state="KE",
            lab=lab_of("KE"),
            run=_sized_like(first, "savanna"),
            sized_like=first.name,
            inspectors=(inspector_of("GB"), inspector_of("BR")),
            yes=("US", "GB", "BR"),
            no=("CN",),
        ),
        Application(
            state="BR",
            lab=lab_of("BR"),
            run=_sized_like(second, "cerrado"),
            sized_like=second.name,
            inspectors=(inspector_of("GB"), inspector_of("CN")),
            yes=("CN", "GB", "KE"),
            no=(),
        ),
    )


def figure_of(name: str) -> ModelFigures:
    """One model of the figures. Raises KeyError."""
    for model in load_models():
        if model.name == name:
            return model
    raise KeyError(name)


def _sized_like(model: ModelFigures, name: str) -> PlannedRun:
    assert model.parameters is not None, f"{model.name} has its parameters in the figures"
    assert model.pflop is not None, f"{model.name} has its work in the figures"
    return PlannedRun(name=name, params_total=model.parameters, pflop=model.pflop)


def flop_text(pflop: int) -> str:
    """PFLOP as people write it: 3.76e24 FLOP."""
    return f"{pflop * FLOP_PER_PFLOP:.3g} FLOP".replace("e+", "e")


def facilities() -> dict[str, FacilityFigures]:
    """The facility that each state declares, from the figures."""
    named = {facility.name: facility for facility in load_facilities()}
    return {state: named[name] for state, name in FACILITIES.items()}


def facility_id(facility: FacilityFigures) -> str:
    """A name that the ledger takes: `el-capitan-phase-2`."""
    return facility.name.lower().replace(" ", "-")


def drill_policy(deadline_s: int) -> dict[str, int]:
    """The treaty's policy with its deadlines in seconds; no other number is touched (RULINGS R69)."""
    return {
        "train_close": deadline_s,
        "reply": deadline_s,
        "breach_close": 4 * deadline_s,
        "slot_l": SLOT_S,
        "slot_m": SLOT_S,
        "slot_s": SLOT_S,
    }


def terms(parties: Sequence[Party], deadline_s: int) -> Terms:
    """What the genesis of the rehearsal says beside its members."""
    return Terms(
        origin=ORIGIN,
        drill=True,
        publication="open",
        policy=drill_policy(deadline_s),
        protocol={"inclusion_s": INCLUSION_S},
        parties=tuple(party.in_genesis() for party in parties),
    )


def cast_of(homes: Sequence[Home], parties: Sequence[Party], ledger: bytes) -> Cast:
    """Chains kept in memory: they end with the rehearsal."""
    return Cast(
        states={home.state: Author(home.agency_keys, ledger=ledger) for home in homes},
        parties={party.id: Author(party.keys, ledger=ledger) for party in parties},
    )
