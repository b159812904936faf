"""A ledger with a history worth asking about: sites, runs, a motion with votes, a case and its reply, and silence."""

from dataclasses import dataclass, field
from typing import Any

from node.cli.author import Author, Signed
from node.ledger.questions.answer import QUESTIONS, as_bytes, ask
from node.ledger.questions.sight import Sight
from tests.unit.ledger.founding import GENESIS_MS, Founding, found
from tests.unit.ledger.running import Running

START = GENESIS_MS // 1000
POLICY = {
    "slot_s": 10,
    "reply": 6,
    "breach_close": 20,
    "train_close": 15,
    "census": 40,
    "meeting": 50,
    "progress": 12,
    "frontier_flop": 30_000_000,
    "offer_wait": 5,
}
ABOUTS = {
    "lineage": "op0/r1",
    "dossier": "op0/m1",
    "knew": "BR",
    "breakout": "80000",
    "diff": "all",
}


@dataclass
class Courtroom:
    """Everything that was said, and every answer as it was right after each commit."""

    running: Running
    said: dict[int, dict[str, bytes]] = field(default_factory=dict)  # log size -> question -> bytes

    @property
    def live(self) -> Sight:
        ledger = self.running.ledger
        return Sight(
            law=ledger.law, size=ledger.size, state_digest=ledger.state_digest, leaves=ledger
        )

    async def take(self, *entries: Signed, after_s: int = 1) -> None:
        applied = await self.running.commit(
            *(entry.entry for entry in entries), after_ms=after_s * 1000
        )
        if applied.appended:
            self.said[applied.size] = answers(self.live)


def answers(sight: Sight) -> dict[str, bytes]:
    """Every question once; those about one thing about that."""
    return {name: as_bytes(ask(sight, name, about=ABOUTS.get(name, ""))) for name in QUESTIONS}


def page_of(sight: Sight, question: str, about: str = "") -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in ask(sight, question, about=about)["rows"]}


def founding() -> Founding:
    return found(5, 2, law_version=2, policy=POLICY)


async def held(running: Running) -> Courtroom:
    """Two sites, a lineage of three runs that is split below the frontier, an approval, a case that is answered."""
    made = running.founding
    room = Courtroom(running)
    lab = Author(made.operators[0], ledger=made.chain_id)
    states = {keys.author_id: Author(keys, ledger=made.chain_id) for keys in made.agencies}
    home = states["BR"]
    await room.take(
        lab.say(
            "facility", {"facility": "dc1", "capacity_mh": 20_000, "mem_gb": 99}, endorsed_by=[home]
        ),
        lab.say(
            "facility", {"facility": "dc2", "capacity_mh": 500, "mem_gb": 9}, endorsed_by=[home]
        ),
    )
    plans = []
    for number, parents in ((1, []), (2, ["r1"]), (3, ["r2"])):
        body = {"run": f"r{number}", "phase": "plan", "model": f"m{number}", "params_total": 7}
        plan = lab.say(
            "run", {**body, "pflop_plan": 9_000_000, "parents": parents}, endorsed_by=[home]
        )
        plans.append(plan)
    await room.take(*plans)
    body = {"run": "r4", "phase": "plan", "model": "m4", "params_total": 2 * 10**9}
    large = lab.say("run", {**body, "pflop_plan": 9_000_000}, endorsed_by=[home])
    motion = lab.say("TRAIN", {}, refs=[large.entry_hash], endorsed_by=[home])
    await room.take(large, motion)
    votes = [states[code].vote(motion.name, "yes") for code in ("CN", "GB", "KE")]
    await room.take(*votes)
    starts = [
        lab.say("run", {"run": f"r{number}", "phase": "start"}, endorsed_by=[home])
        for number in (1, 2, 3)
    ]
    await room.take(*starts)
    counted = {"facility": "dc1", "chip_type": "H100", "count": 20, "serial_root": "ab" * 32}
    await room.take(lab.say("inventory", counted, endorsed_by=[home]))
    for number in (1, 2, 3):
        report = {"run": f"r{number}", "phase": "progress", "pflop_done": 9_000_000 + 2_000_000}
        await room.take(lab.say("run", report, endorsed_by=[home]), after_s=2)
    case = next(iter(sorted(room.live.book.state.cases)))
    subject = room.live.book.state.cases[case].subject
    await room.take(
        states[subject].say("note", {"type": "reply", "about": case, "hash": "cd" * 32})
    )
    for seconds in (5, 12, 30, 2):
        await room.take(after_s=seconds)
    await room.take(states["CN"].say("instrument", {"type": "withdraw"}))
    await room.take()  # nothing: leaves no trace in the log
    await room.take(after_s=9)
    return room
