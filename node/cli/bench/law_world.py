"""The world of `foedus bench law`: states, operators, sites and runs of the size the treaty is designed for, and their reports.

Everything follows from the numbers in `Size`: two worlds of one size say the same bytes. Payloads are those of real entries, made
by protobuf; what is left out is what the law never sees: COSE shells and signatures (`foedus bench localnet` measures those).

One operator's sites lie in its state and report each hour (sites of more than 10,000 H100-equivalents do). Of ten runs seven are
of tier 0 and running, two of tier 1 and one of tier 2 wait for approval; every fifth descends from the run before it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from foedus.v1 import content_pb2 as pb
from node.treaty.entries import NO_PREVIOUS, Entry, EntryFacts
from node.treaty.genesis import LAW_VERSION, FoundingMember, FoundingParty, GenesisFacts
from node.treaty.parsing import parse_entry
from node.treaty.register import kid_of

GENESIS_S: Final = 1_800_000_000
SLOT_S: Final = 3_600  # of a large site, by the treaty's own policy
CHAIN_ID: Final = hashlib.sha256(b"foedus bench law").digest()
CHIPS: Final = 12_000  # at each site: above 10,000 H100-equivalents, so a report an hour is owed
RUNS_A_REPORT: Final = 2
_PLANS: Final = (0, 0, 0, 0, 0, 0, 0, 1, 1, 2)  # tiers of ten runs that follow one another
_PFLOP: Final = {0: 9_000_000, 1: 20_000_000, 2: 1_000_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many of each. Operators are two a state; sites and runs go round them in turn."""

    states: int = 195
    facilities: int = 2_000
    runs: int = 10_000

    @property
    def operators(self) -> int:
        return 2 * self.states


class Said(NamedTuple):
    """One entry's payload and who countersigns it."""

    payload: bytes
    endorsers: tuple[str, ...]


def code_of(number: int) -> str:
    """AA, AB, ...: one code a state."""
    return chr(65 + number // 26) + chr(65 + number % 26)


def key_of(party: str, purpose: str) -> bytes:
    return hashlib.sha256(f"{purpose} key of {party}".encode()).digest()


def genesis_of(size: Size) -> GenesisFacts:
    """All states as members, and two operators in each, under the treaty's own policy."""
    codes = tuple(code_of(number) for number in range(size.states))
    return GenesisFacts(
        chain_id=CHAIN_ID,
        time_s=GENESIS_S,
        drill=False,
        law_version=LAW_VERSION,
        states=codes,
        members=tuple(
            FoundingMember(
                state=code, author_key=key_of(code, "author"), vote_key=key_of(code, "vote")
            )
            for code in codes
        ),
        parties=tuple(
            FoundingParty(
                party=operator_of(size, number),
                role="operator",
                state=codes[number // 2],
                author_key=key_of(operator_of(size, number), "author"),
            )
            for number in range(size.operators)
        ),
    )


def operator_of(size: Size, number: int) -> str:
    """The operator of the site or run with this number."""
    number %= size.operators
    return f"op-{code_of(number // 2)}-{number % 2}"


class World:
    """Who has said how much. Yields payloads; keeps each author's chain, as its outbox would."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._tips: dict[str, tuple[int, bytes]] = {}
        self._running: dict[str, list[str]] = {}  # operator -> its runs that report

    def founding(self) -> Iterator[Said]:
        """Every site and run is registered; runs of tier 0 start."""
        for number in range(self.size.facilities):
            site = pb.Facility(facility=f"dc{number}", capacity_mh=CHIPS * 1_000, mem_gb=CHIPS * 80)
            yield self._say(operator_of(self.size, number), "facility", site)
        for number in range(self.size.runs):
            yield from self._run(number)

    def _run(self, number: int) -> Iterator[Said]:
        operator = operator_of(self.size, number)
        tier = _PLANS[(number // self.size.operators) % len(_PLANS)]
        plan = pb.Run(
            run=f"r{number}",
            phase=pb.RUN_PHASE_PLAN,
            model=f"m{number}",
            params_total=500_000_000 if tier == 0 else 2_000_000_000,
            pflop_plan=_PFLOP[tier],
        )
        before = number - self.size.operators
        if before >= 0 and (number // self.size.operators) % 5 == 4:
            plan.parents.append(f"r{before}")
        yield self._say(operator, "run", plan)
        if tier == 0:
            self._running.setdefault(operator, []).append(f"r{number}")
            start = pb.Run(run=f"r{number}", phase=pb.RUN_PHASE_START)
            yield self._say(operator, "run", start)

    def reports(self, slot: int) -> Iterator[Said]:
        """What every site says of one hour, counted from genesis."""
        for number in range(self.size.facilities):
            operator = operator_of(self.size, number)
            runs = self._running.get(operator, [])
            turn = number // self.size.operators + slot
            named = {runs[(turn + step) % len(runs)] for step in range(RUNS_A_REPORT) if runs}
            body = pb.Usage(
                facility=f"dc{number}",
                chip_type="H100",
                chips_on=CHIPS,
                chip_seconds=CHIPS * SLOT_S,
                pflop_total=1_000,
                by_class=[
                    pb.NamedAmount(name="pretrain", amount=700),
                    pb.NamedAmount(name="infer", amount=300),
                ],
                runs=[pb.RunShare(run=run, pflop=5) for run in sorted(named)],
            )
            yield self._say(operator, "usage", body, slot)

    def _say(
        self, author: str, kind: str, body: pb.Facility | pb.Run | pb.Usage, slot: int = -1
    ) -> Said:
        content = pb.Content(
            ver=1,
            ledger=CHAIN_ID,
            author=author,
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
            **{kind: body},  # type: ignore[arg-type] # the alternative's own message
        )
        if slot >= 0:
            content.period.start = GENESIS_S + slot * SLOT_S
            content.period.end = GENESIS_S + (slot + 1) * SLOT_S
        seq, prev = self._tips.get(author, (1, NO_PREVIOUS))
        payload = pb.Envelope(
            content=content.SerializeToString(), seq=seq, prev=prev
        ).SerializeToString()
        self._tips[author] = (seq + 1, hashlib.sha256(payload).digest())
        return Said(payload, () if kind == "usage" else (author.split("-")[1],))


def entry_of(said: Said, index: int) -> Entry:
    """As the ledger hands it to the law, once the signatures hold. Raises MalformedContent."""
    parsed = parse_entry(said.payload)
    digest = hashlib.sha256(said.payload).digest()
    return Entry(
        entry_hash=digest,
        name=digest.hex(),
        leaf=index,
        kid=kid_of(key_of(parsed.author, "author")),
        parsed=parsed,
        endorsers=said.endorsers,
    )


class NoIndex:
    """An EntryIndex without entries: reports refer to nothing, and a node's index is in its store, not in the state."""

    def get(self, _entry_hash: bytes) -> EntryFacts | None:
        return None

    def at_seq(self, _author: str, _seq: int) -> EntryFacts | None:
        return None

    def by_content(self, _content_hash: bytes) -> EntryFacts | None:
        return None
