"""The only writer of the log: one plan, one atomic batch (DESIGN 3.5)."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from foedus.v1.content_pb2 import NOTE_TYPE_REPLY
from node.ledger.errors import MalformedRecord
from node.ledger.plan import (
    Appended,
    AppendPlan,
    Standing,
    facts_from_row,
    facts_row,
    is_first_at_seq,
)
from node.ledger.records import (
    COMMIT_TYPE,
    EPOCH_TYPE,
    GENESIS_TYPE,
    TYPE_OF,
    decode_dropped,
    encode_dropped,
)
from node.ledger.state_digest import BUCKETS
from node.log import merkle
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.keys import FACET_VALUE_BYTES_MAX, Facet
from node.storage.rows import CommitWrite, IndexRow, Tip
from node.storage.store import Store
from node.treaty.derived import (
    Beacon,
    CaseStep,
    Decision,
    Derived,
    Drawn,
    Equivocation,
    Finding,
    MotionOpened,
    NamingStep,
    Outage,
    PolicyStep,
    Rejected,
    RoundOpened,
    RunStep,
    Uncountersigned,
    VetoCheck,
)
from node.treaty.entries import EntryFacts

BREACH_PREFIX: Final = "BREACH:"  # motion ids of breaches that opened by themselves (LAW 1)


class StoreFacts:
    """The index over appended entries, read from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        """Raises StoreDamaged."""
        row = self._store.facts(entry_hash)
        if row is None:
            return None
        try:
            return facts_from_row(entry_hash, row[1])
        except MalformedRecord as err:
            raise StoreDamaged(f"{self._store.path}: index of {entry_hash.hex()}: {err}") from err

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        return self._known(self._store.hash_at_seq(author, seq))

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        return self._known(self._store.hash_by_content(content_hash))

    def _known(self, entry_hash: bytes | None) -> EntryFacts | None:
        if entry_hash is None:
            return None
        facts = self.get(entry_hash)
        if facts is None:
            raise StoreDamaged(f"{self._store.path}: no index row for {entry_hash.hex()}")
        return facts


class StoreBuckets:
    """The state map, read from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def is_memory(self) -> bool:
        return False

    def bucket(self, number: int) -> list[tuple[bytes, bytes]]:
        assert 0 <= number < BUCKETS, f"bucket {number}"
        return self._store.state_bucket(number)


def write_plan(store: Store, plan: AppendPlan, engine_record: bytes) -> None:
    """Write one commit, all or nothing. Not durable before `store.durable()`. Raises WriteFailed."""
    store.write_commit(commit_write(plan, engine_record))


def commit_write(plan: AppendPlan, engine_record: bytes) -> CommitWrite:
    """Every row that this plan puts on disk: for the writer, and for the auditor who compares a store with a replay."""
    tip = Tip(
        commit=plan.index,
        log_size=plan.tree.size,
        time_ms=plan.time_ms,
        state_keys=plan.state_keys,
        state_digest=plan.state_digest,
    )
    rows = [
        _index_row(index, appended) for index, appended in enumerate(plan.leaves, start=plan.first)
    ]
    return CommitWrite(
        tip=tip,
        engine_record=engine_record,
        entries=[appended.leaf for appended in plan.leaves],
        hashes=plan.hash_runs,
        state=plan.state_rows,
        index_rows=rows,
        dropped=encode_dropped(plan.dropped),
    )


def facts_rows(entries: Iterable[EntryFacts]) -> list[IndexRow]:
    """What the law may ask for later of appended entries, without the facets that only readers ask for."""
    return [
        IndexRow(
            index=facts.leaf,
            entry_hash=facts.entry_hash,
            facts=facts_row(facts),
            sequence=(facts.author, facts.seq) if is_first_at_seq(facts) else None,
            content_hash=None if facts.code else facts.content_hash,
        )
        for facts in entries
    ]


def standing_of(store: Store, tip: Tip) -> Standing:
    """Where the store stopped. Raises StoreDamaged."""
    try:
        dropped = decode_dropped(store.meta(keys.META_DROPPED) or b"")
    except MalformedRecord as err:
        raise StoreDamaged(f"{store.path}: carried counts: {err}") from err
    tree = merkle.load(tip.log_size, store.hash)
    return Standing(index=tip.commit, time_ms=tip.time_ms, tree=tree, dropped=dropped)


def _index_row(index: int, appended: Appended) -> IndexRow:
    facts = appended.facts
    if facts is not None and appended.read is not None:
        return IndexRow(
            index=index,
            entry_hash=facts.entry_hash,
            facts=facts_row(facts),
            sequence=(facts.author, facts.seq) if is_first_at_seq(facts) else None,
            content_hash=None if facts.code else facts.content_hash,
            facets=_entry_facets(facts, appended),
        )
    if appended.derived is not None:
        return IndexRow(index=index, facets=tuple(_derived_facets(appended.derived)))
    if appended.epoch is not None:
        states = [(Facet.SUBJECT, facet_value(state)) for state, _ in appended.epoch.members]
        return IndexRow(index=index, facets=((Facet.KIND, EPOCH_TYPE.encode()), *states))
    # Genesis and commit records are found by kind: nobody lists the log's backbone by anything else.
    kind = GENESIS_TYPE if index == 0 else COMMIT_TYPE
    return IndexRow(index=index, facets=((Facet.KIND, kind.encode()),))


def facet_value(text: str) -> bytes:
    """How a text is looked up: its UTF-8, or its SHA-256 where that is too long for a key."""
    data = text.encode()
    return data if len(data) <= FACET_VALUE_BYTES_MAX else sha256(data).digest()


def _entry_facets(facts: EntryFacts, appended: Appended) -> tuple[tuple[Facet, bytes], ...]:
    assert appended.read is not None, "an entry comes with its parsed form"
    parsed = appended.read.parsed
    subject = parsed.subject.partition("/")[2]
    found = [
        (Facet.AUTHOR, facet_value(facts.author)),
        (Facet.KIND, facet_value(facts.kind)),
        (Facet.SUBJECT, facet_value(subject)),
    ]
    # The law's topic ("run:acme/r1") names the same thing across authors; the content has the bare name.
    topic = facts.topic.partition(":")[2]
    if topic and topic != subject:
        found.append((Facet.SUBJECT, facet_value(topic)))
    if facts.kind == "note" and parsed.body.type == NOTE_TYPE_REPLY:
        found.append((Facet.CASE, facet_value(parsed.body.about)))
    elif facts.kind == "vote" and subject.startswith(BREACH_PREFIX):
        found.append((Facet.CASE, facet_value(subject.removeprefix(BREACH_PREFIX))))
    return tuple(found)


def _derived_facets(derived: Derived) -> list[tuple[Facet, bytes]]:
    subjects: list[str] = []
    case = ""
    match derived:
        case Rejected() | Uncountersigned():
            subjects = [derived.entry.hex()]
        case MotionOpened() | Decision():
            subjects = [derived.motion, derived.about, *derived.subjects]
            case = derived.about if derived.kind == "BREACH" else ""
        case Equivocation():
            subjects = [derived.finding, derived.state, sha256(derived.proof).hexdigest()]
            case = derived.finding
        case Finding():
            subjects = [derived.finding, derived.about, derived.subject]
            case = derived.finding
        case CaseStep():
            subjects = [derived.case, derived.subject]
            case = derived.case
        case RunStep():
            subjects = [derived.run]
        case PolicyStep():
            subjects = [derived.motion, derived.param]
        case RoundOpened() | Beacon():
            subjects = [f"beacon/{derived.round}"]
        case Drawn():
            subjects = [derived.draw]
        case NamingStep():
            subjects = [derived.party, derived.owner, derived.state]
        case VetoCheck() | Outage():
            pass
    found = [(Facet.KIND, TYPE_OF[type(derived)].encode())]
    found += [(Facet.SUBJECT, facet_value(text)) for text in dict.fromkeys(subjects) if text]
    if case:
        found.append((Facet.CASE, facet_value(case)))
    return found
