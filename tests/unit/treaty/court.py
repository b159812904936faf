"""Five states and a few parties before the law, with short ways to say what they do."""

import hashlib
from typing import Any

from foedus.v1 import content_pb2 as pb
from node.treaty.codes import Code
from node.treaty.derived import Derived
from node.treaty.entries import Entry
from node.treaty.genesis import LAW_VERSION, FoundingMember, FoundingParty, GenesisFacts
from node.treaty.law import Law, Outcome
from node.treaty.memory_index import MemoryIndex
from node.treaty.parsing import parse_entry
from node.treaty.register import kid_of

CHAIN_ID = hashlib.sha256(b"a drill").digest()
STATES = ("BR", "CN", "GB", "KE", "US")
START = 1_800_000_000
# acme and its state US, beta and CN; inspectors of two states; a secretariat.
PARTIES = (
    ("acme", "operator", "US"),
    ("beta", "operator", "CN"),
    ("insp-gb", "inspector", "GB"),
    ("insp-ke", "inspector", "KE"),
    ("insp-us", "inspector", "US"),
    ("eval-gb", "evaluator", "GB"),
    ("eval-ke", "evaluator", "KE"),
    ("meter", "device", "US"),
    ("probe", "device", "US"),
    ("probe-cn", "device", "CN"),
    ("carrier", "source", "US"),
    ("carrier-cn", "source", "CN"),
    ("SEC", "secretariat", "SEC"),
)
DRILL = {"train_close": 20, "breach_close": 30, "reply": 10, "offer_wait": 5}


def key_of(party: str, purpose: str) -> bytes:
    return hashlib.sha256(f"{party} {purpose}".encode()).digest()


def genesis_of(
    states: tuple[str, ...] = STATES,
    policy: dict[str, object] | None = None,
    more: tuple[tuple[str, str, str], ...] = (),
    **changes: Any,
) -> GenesisFacts:
    """`more`: parties beside those of every court, as (name, role, state)."""
    facts: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "time_s": START,
        "drill": True,
        "law_version": LAW_VERSION,
        "states": (*states, "FR"),
        "members": tuple(
            FoundingMember(
                state=state, author_key=key_of(state, "author"), vote_key=key_of(state, "vote")
            )
            for state in states
        ),
        "parties": tuple(
            FoundingParty(party=name, role=role, state=state, author_key=key_of(name, "author"))
            for name, role, state in (*PARTIES, *more)
        ),
        "policy": DRILL | (policy or {}),
    }
    return GenesisFacts(**facts | changes)


class Court:
    """A law and the index a ledger would keep for it."""

    def __init__(self, genesis: GenesisFacts | None = None) -> None:
        self.genesis = genesis or genesis_of()
        self.index = MemoryIndex()
        self.law = Law.at_genesis(self.genesis, self.index)
        self.stored: dict[bytes, bytes] = {}
        self.record: list[Derived] = []
        self.entries: list[Entry] = []
        self.pass_time(0)

    def pass_time(self, seconds: int) -> tuple[Derived, ...]:
        derived = self.law.advance(self.law.book.now + seconds)
        self.record.extend(derived)
        return derived

    def entry(
        self,
        author: str,
        body: Any,
        *,
        kind: str | None = None,
        by: tuple[str, ...] = (),
        seq: int | None = None,
        prev: bytes | None = None,
        kid: bytes | None = None,
        ledger: bytes = CHAIN_ID,
        refs: tuple[bytes, ...] = (),
        period: tuple[int, int] | None = None,
        confidentiality: pb.Confidentiality.ValueType = pb.CONFIDENTIALITY_RESTRICTED,
    ) -> Entry:
        """What the author would sign next; any part may be wrong on purpose."""
        alternative = kind or next(
            field.name
            for field in pb.Content.DESCRIPTOR.oneofs_by_name["body"].fields
            if field.message_type is body.DESCRIPTOR
        )
        content = pb.Content(
            ver=1,
            ledger=ledger,
            author=author,
            confidentiality=confidentiality,
            refs=refs,
            **{alternative: body},
        )
        if period is not None:
            content.period.start, content.period.end = period
        next_seq, next_prev = self.law.author_tip(author)
        payload = pb.Envelope(
            content=content.SerializeToString(),
            seq=next_seq if seq is None else seq,
            prev=next_prev if prev is None else prev,
            endorsements=[state.encode() for state in by],
        ).SerializeToString()
        purpose = "vote" if alternative == "vote" else "author"
        digest = hashlib.sha256(payload).digest()
        return Entry(
            entry_hash=digest,
            name=digest.hex(),
            leaf=len(self.entries),
            kid=kid if kid is not None else kid_of(key_of(author, purpose)),
            parsed=parse_entry(payload),
            endorsers=tuple(sorted(by)),
        )

    def apply(self, entry: Entry) -> Outcome:
        outcome = self.law.apply(entry)
        if outcome.facts is not None:
            self.index.add(outcome.facts)
            self.entries.append(entry)
        self.record.extend(outcome.derived)
        return outcome

    def say(self, author: str, body: Any, **parts: Any) -> Outcome:
        return self.apply(self.entry(author, body, **parts))

    def must(self, author: str, body: Any, **parts: Any) -> Outcome:
        outcome = self.say(author, body, **parts)
        assert outcome.code is None, f"{outcome.code}: {outcome.why}"
        return outcome

    def vote(self, state: str, motion: str, choice: pb.Choice.ValueType) -> Code | None:
        return self.say(state, pb.Vote(motion=motion, choice=choice)).code

    def plan(self, run: str, pflop: int, author: str = "acme", **fields: Any) -> bytes:
        """Declares a run; returns the entry's hash."""
        body = pb.Run(
            run=run,
            phase=pb.RUN_PHASE_PLAN,
            model=f"{run}-model",
            params_total=fields.pop("params_total", 1),
            pflop_plan=pflop,
            **fields,
        )
        self.must(author, body, by=("US" if author == "acme" else "CN",))
        return self.entries[-1].entry_hash

    def phase(
        self, run: str, phase: pb.RunPhase.ValueType, author: str = "acme", **fields: Any
    ) -> Outcome:
        body = pb.Run(run=run, phase=phase, **fields)
        return self.say(author, body, by=("US" if author == "acme" else "CN",))

    def train(self, plan: bytes) -> str:
        """Files a Tier 2 motion for a planned run; returns its id."""
        self.must("acme", pb.Train(inspectors=["insp-gb", "insp-ke"]), by=("US",), refs=(plan,))
        return self.entries[-1].name

    def save(self) -> dict[bytes, bytes]:
        """The state map after this commit."""
        for key, value in self.law.drain_changes().items():
            if value is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = value
        return dict(self.stored)

    def found(self, kind: type) -> list[Any]:
        return [value for value in self.record if isinstance(value, kind)]
