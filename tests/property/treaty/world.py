"""A treaty at work for the state machines: members, hostile ones among them, and everything that anybody may say.

A `World` is a court with a tape: whatever reaches the law is recorded, the naive reader and the watch over the invariants are
told of it, and at the end the same tape can be played to another law. The methods are acts; state machines choose among them.
"""

import contextlib
import hashlib
import random
from typing import Any, NamedTuple

from foedus.v1 import content_pb2 as pb
from node.ledger.state_digest import StateDigest, bucket_of
from node.treaty.beacon import link
from node.treaty.derived import Derived, Outage
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.law import Law, Outcome
from node.treaty.memory_index import MemoryIndex
from tests.property.treaty.naive import DAY, Naive, bound
from tests.unit.treaty.court import PARTIES, Court, genesis_of

BASE = ("BR", "CN", "GB", "KE", "US")  # at the least; with four members BR is none
REAL: dict[str, object] = {  # MODEL 4's times in place of the court's short ones
    "train_close": 30 * DAY, "breach_close": 21 * DAY, "reply": 5 * DAY, "offer_wait": 3 * DAY,
    "frontier_flop": 10**8,
}  # fmt: skip
MORE = (
    *(("eval-cn", "evaluator", "CN"), ("insp-cn", "inspector", "CN")),
    *(("gamma", "operator", "KE"), ("grid", "source", "US"), ("fab", "source", "CN")),
)
OPERATORS = {"acme": "US", "beta": "CN", "gamma": "KE"}
CHAIN = 400
# Who says what, mostly; states say the rest.
SPEAKERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("facility", "usage", "run", "energy", "inventory", "custody", "data", "train", "deploy"),
        ("acme", "beta", "gamma"),
    ),
    **dict.fromkeys(("exempt", "class_motion", "chip_type_motion", "chip_type"), ("acme", "beta")),
    **dict.fromkeys(("chipmeter", "snapshot", "locate"), ("meter",)),
    **dict.fromkeys(("net", "trade", "chip_batch"), ("grid", "fab")),
    "eval": ("eval-gb", "eval-ke", "eval-cn"),
    "inspection": ("insp-gb", "insp-ke"),
}
ALTERNATIVES = tuple(pb.Content.DESCRIPTOR.oneofs_by_name["body"].fields)
CAPABILITIES = ("bio_chem", "cyber", "deception", "self_improvement", "self_replication")


class Step(NamedTuple):
    """One thing that reached the law, and what it said."""

    what: str  # still, advance, entry
    entry: Entry | None
    since: int
    until: int
    outcome: Outcome | None
    derived: tuple[Derived, ...]


class World(Court):
    """`members` from 4 on, the first `hostile` of a rotation of them hostile."""

    def __init__(self, members: int, hostile: int, turn: int, *, anchored: bool = False) -> None:
        extra = [f"M{number:02}" for number in range(members - len(BASE))]
        states = tuple(sorted([*BASE[5 - min(5, members) :], *extra]))
        self.states = states
        rotated = states[turn % members :] + states[: turn % members]
        self.hostile = frozenset(rotated[: min(hostile, bound(members))])
        self.honest = tuple(state for state in states if state not in self.hostile)
        self.tape: list[Step] = []
        genesis = genesis_of(states, REAL, more=MORE, drill=False)
        self.naive = Naive(genesis.time_s, states)
        self.disagreements: list[str] = []
        self.restarts = 0
        super().__init__(genesis)
        if anchored:
            for state in states:
                self.say(state, pb.Note(type=pb.NOTE_TYPE_ANCHOR, hash=link(secret(state), CHAIN)))

    # --- what reaches the law ----------------------------------------------------------------------

    def pass_time(self, seconds: int) -> tuple[Derived, ...]:
        now = self.law.book.now
        derived = super().pass_time(seconds)
        self.tape.append(Step("advance", None, now, now + seconds, None, derived))
        self.naive.advance(now + seconds, derived)
        return derived

    def stop(self, seconds: int) -> None:
        """No commit for so long."""
        now = self.law.book.now
        derived = self.law.stood_still(now, now + seconds)
        self.record.extend(derived)
        self.tape.append(Step("still", None, now, now + seconds, None, derived))
        for outage in derived:
            assert isinstance(outage, Outage)
            self.naive.stood_still(outage)
        self.pass_time(seconds)

    def apply(self, entry: Entry) -> Outcome:
        outcome = super().apply(entry)
        now = self.law.book.now
        self.tape.append(Step("entry", entry, now, now, outcome, outcome.derived))
        code = outcome.code.value if outcome.code else None
        verdict = self.naive.take(entry, code, outcome.derived)
        if verdict != code:
            self.disagreements.append(f"vote {entry.parsed.body}: {code}, naively {verdict}")
        return outcome

    def restart(self) -> None:
        """The law forgets all but its rows."""
        self.save()
        now = self.law.book.now
        rows = sorted(self.stored.items(), key=lambda row: hashlib.sha256(row[0]).digest())
        self.law = Law.restore(self.genesis, self.index, rows)
        assert self.law.resume(now) == ()
        self.restarts += 1

    # --- acts --------------------------------------------------------------------------------------

    def by_many(self, first: str, count: int) -> tuple[str, ...]:
        """So many states that sign with `first`."""
        return tuple(state for state in self.states if state != first)[:count]

    def poll(self, motion: str, choice: pb.Choice.ValueType, who: tuple[str, ...]) -> None:
        """These states vote alike, with their mandates where one is asked for."""
        row = self.law.book.state.motions.get(motion)
        for state in who:
            body = pb.Vote(motion=motion, choice=choice)
            if row is not None and row.mandate:
                self.say(state, pb.Note(type=pb.NOTE_TYPE_MANDATE))
                body.mandate_ref = self.entries[-1].entry_hash
            self.say(state, body)

    def contradict(
        self, state: str, motions: list[str], choices: list[pb.Choice.ValueType]
    ) -> None:
        """Two votes under one seq."""
        seq, prev = self.law.author_tip(state)
        for motion, choice in zip(motions, choices, strict=True):
            self.say(state, pb.Vote(motion=motion, choice=choice), seq=seq, prev=prev)

    def own(self, operator: str, body: Any, **parts: Any) -> Outcome:
        """An operator speaks, endorsed by its state."""
        return self.say(operator, body, by=(OPERATORS[operator],), **parts)

    def evaluate(
        self, run: str, evaluator: str, score: int, presence: pb.Presence.ValueType
    ) -> None:
        """An evaluation of a run's model, with one answer for every listed capability."""
        plan = self.law.book.state.plans[run]
        results = [pb.CapabilityResult(capability=name, presence=presence) for name in CAPABILITIES]
        model = f"{plan.operator}/{plan.model}" if "/" not in plan.model else plan.model
        self.say(
            evaluator,
            pb.Eval(model=model, bench_ver=1, items=1_000, score_bp=score, capabilities=results),
        )

    def babble(self, seed: int) -> None:
        """Anything that the schema lets anybody say, made of what the treaty knows: every kind, also those to come."""
        rng = random.Random(seed)
        state = self.law.book.state
        texts = [
            *("H100", "A100", "drawn", "dc0", "r0", "x", *CAPABILITIES[:2], *state.parties),
            *state.facilities, *state.plans, *state.models, *state.cases, *state.motions, *state.closed,
        ]  # fmt: skip
        hashes = [bytes([rng.randrange(3)]) * 32, *(one.entry_hash for one in self.entries[-30:])]
        alternative = rng.choice(ALTERNATIVES)
        body = random_message(alternative.message_type, rng, texts, hashes)
        anybody = [*OPERATORS, *self.states, *(name for name, _, _ in (*PARTIES, *MORE))]
        author = rng.choice(
            anybody if rng.randrange(4) == 0 else SPEAKERS.get(alternative.name, self.states)
        )
        signers = {
            *rng.sample(self.states, rng.randrange(4)),
            state.parties[author].state,
            "insp-ke",
        }
        now = self.law.book.now
        known = self.known("")[-40:]
        refs = tuple(rng.sample(known, min(len(known), rng.randrange(3))))
        with contextlib.suppress(MalformedContent):
            self.say(
                author,
                body,
                kind=alternative.name,
                by=tuple(sorted(signers - {author, "SEC"})),
                refs=refs,
                period=rng.choice([(now - 60, now), (0, 1 + len(self.entries))]),
                confidentiality=rng.choice((1, 2, 2, 3)),
            )

    def reveal(self, state: str) -> None:
        """A link for the open round, if there is one."""
        row = self.law.book.state.rounds.get("open")
        if row is not None and row.number <= CHAIN:
            value = link(secret(state), CHAIN - row.number)
            note = pb.Note(type=pb.NOTE_TYPE_REVEAL, about=str(row.number), hash=value)
            self.say(state, note)

    def known(self, *topics: str) -> list[bytes]:
        """Hashes of accepted entries of these kinds, as their topics begin."""
        found = []
        for entry in self.entries:
            facts = self.index.get(entry.entry_hash)
            if facts is not None and not facts.code and facts.topic.startswith(topics):
                found.append(entry.entry_hash)
        return found

    def open_motions(self) -> list[str]:
        """The newest first."""
        rows = sorted(self.law.book.state.motions.items(), key=lambda item: -item[1].order)
        return [name for name, _ in rows]

    # --- the tape ----------------------------------------------------------------------------------

    def replayed(
        self,
        *,
        tape: list[Step] | None = None,
        restart_every: int = 0,
        stops: tuple[int, ...] = (),
    ) -> tuple[Court, list[tuple[Derived, ...]], dict[int, bytes]]:
        """The same tape, or another, before another law, which restarts now and then.

        Also what it derived at each step, and the state digests after so many steps.
        """
        other = Court.__new__(Court)
        other.genesis, other.index = self.genesis, MemoryIndex()
        other.law = Law.at_genesis(self.genesis, other.index)
        other.stored, other.record, other.entries = {}, [], []
        said: list[tuple[Derived, ...]] = []
        digests = {}
        for number, step in enumerate(self.tape if tape is None else tape):
            if step.what == "still":
                said.append(other.law.stood_still(step.since, step.until))
            elif step.what == "advance":
                said.append(other.pass_time(step.until - step.since))
            else:
                assert step.entry is not None
                said.append(other.apply(step.entry).derived)
            if restart_every and number % restart_every == 0:
                now = other.law.book.now
                other.save()
                other.law = Law.restore(self.genesis, other.index, list(other.stored.items()))
                assert other.law.resume(now) == ()
            if number + 1 in stops:
                digests[number + 1] = digest_of(other.save())
        other.save()
        return other, said, digests


def random_message(
    descriptor: Any, rng: random.Random, texts: list[str], hashes: list[bytes]
) -> Any:
    """A message of this type with most of its fields set."""
    message = getattr(pb, descriptor.name)()
    for item in descriptor.fields:
        if rng.randrange(5) == 0:
            continue
        values: list[Any] = []
        for _ in range(rng.randrange(1, 3) if item.is_repeated else 1):
            if item.message_type is not None:
                values.append(random_message(item.message_type, rng, texts, hashes))
            elif item.enum_type is not None:
                values.append(rng.choice(item.enum_type.values[1:] or item.enum_type.values).number)
            elif item.type == item.TYPE_STRING:
                values.append(rng.choice(texts))
            elif item.type == item.TYPE_BYTES:
                values.append(rng.choice(hashes))
            elif item.type == item.TYPE_BOOL:
                values.append(rng.random() < 0.5)
            else:
                values.append(rng.choice((0, 1, 5, 100, 8_000, 10**7, 10**9, (1 << 53) - 1)))
        if item.is_repeated:
            getattr(message, item.name).extend(values)
        elif item.message_type is not None:
            getattr(message, item.name).CopyFrom(values[0])
        else:
            with contextlib.suppress(ValueError):  # 32 bits
                setattr(message, item.name, values[0])
    return message


def digest_of(rows: dict[bytes, bytes]) -> bytes:
    """The state digest that the ledger would certify (RULINGS R20)."""
    digest = StateDigest()
    digest.load(sorted((bucket_of(key), key, value) for key, value in rows.items()))
    return digest.root


def secret(state: str) -> bytes:
    return hashlib.sha256(f"chain of {state}".encode()).digest()
