"""The verdict on one entry, under the rule that was in force when it came: which members, which policy, whose key, and why.

    before the commit that holds it     members, policy and law version, epoch; is the key in the register?
    that commit, by the law             accepted, or the code and why it was refused; the records that came of it
    the checkpoint                      a quorum cosigned the tree that the entry is in: inclusion and commit record

Nothing of the copy is believed but what `travel` certifies. A founding record was made of the genesis, which all founders signed.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from node.audit.source import CannotAudit, Lost
from node.audit.travel import Journey, Note, journey
from node.ledger.plan import Appended, AppendPlan
from node.ledger.questions.sight import Sight
from node.ledger.records import decode_record, is_record
from node.log import merkle
from node.treaty.book import Book
from node.treaty.derived import Rejected
from node.treaty.register import AUTHOR, VOTE, key_in_force
from node.treaty.rules import f_of, k_of, trigger_of

ACCEPTED: Final = "accepted"
FOUNDING: Final = "founding"
RECORD: Final = "record"
READ_AT_ONCE: Final = 256


def judge_entry(
    path: Path, pinned: bytes | None, wanted: int | bytes, note: Note
) -> dict[str, Any]:
    """The verdict on an entry, by its index or SHA-256. Raises CannotAudit: the copy does not certify it."""
    seen: list[AppendPlan] = []

    def watch(plan: AppendPlan, book: Book) -> None:
        del book
        seen[:] = [plan]

    with journey(path, pinned, note, watch) as going:
        index = wanted if isinstance(wanted, int) else _find(going, wanted)
        rule, known = _rule(going.before(index)), _keys(going.before(index))
        place = going.through(index)
        raw = going.source.entries(index, 1)[0]
        size = place.stand.checkpoint_size
        inclusion = going.prove_entry(index, size)
        root = bytes.fromhex(place.stand.checkpoint_root)
        if not merkle.verify_inclusion(merkle.leaf_hash(raw), index, size, inclusion, root):
            raise CannotAudit(f"{path}: entry {index} does not lead to the root cosigned at {size}")
        found = seen[0] if seen and index >= seen[0].first else None
        return {
            "index": index,
            "sha256": sha256(raw).hexdigest(),
            **_judged(found, index, raw, known, place.sight.book),
            "rule": rule,
            "inclusion": [part.hex() for part in inclusion],
            "stands_on": place.stands_on,
        }


def _find(going: Journey, digest: bytes) -> int:
    """Raises CannotAudit: none of the certified entries has it."""
    size = going.final.size
    for first in range(0, size, READ_AT_ONCE):
        try:
            leaves = going.source.entries(first, min(READ_AT_ONCE, size - first))
        except Lost as lost:
            raise CannotAudit(f"{going.source.where}: {lost.why}") from lost
        for index, leaf in enumerate(leaves, start=first):
            if sha256(leaf).digest() == digest:
                return index
    raise CannotAudit(
        f"{going.source.where}: none of its {size} certified entries is {digest.hex()}"
    )


def _rule(sight: Sight) -> dict[str, Any]:
    """What was in force, of the law as it stood before the commit."""
    book = sight.book
    count = book.membership()
    return {
        "law_version": book.law,
        "policy_version": book.policy_version,
        "epoch": sight.law.epoch,
        "members": sight.law.members(),
        "k": k_of(count),
        "f": f_of(count),
        "trigger": trigger_of(count),
    }


def _keys(sight: Sight) -> dict[str, bytes]:
    """Public keys in force by party/kid: of a copy, since the law goes on."""
    return {
        name: row.public_key
        for name, row in sight.book.state.keys.items()
        if row.purpose in {AUTHOR, VOTE}
    }


def _judged(
    plan: AppendPlan | None,
    index: int,
    raw: bytes,
    known: Mapping[str, bytes],
    book: Book,
) -> dict[str, Any]:
    if plan is None:
        return {"form": FOUNDING, "verdict": FOUNDING, "says": _plain(decode_record(raw))}
    at = index - plan.first
    appended = plan.leaves[at]
    if appended.facts is None or appended.read is None:
        assert is_record(raw), f"entry {index}: neither entry nor record"
        return {"form": RECORD, "verdict": RECORD, "says": _plain(decode_record(raw))}
    facts, read = appended.facts, appended.read
    party = book.state.parties.get(facts.author)
    kid = read.statement.header.kid
    name = f"{facts.author}/{kid.hex()}"
    after = key_in_force(book, facts.author, kid)
    public = known.get(name, b"" if after is None else after.public_key)
    return {
        "form": "entry",
        "verdict": facts.code or ACCEPTED,
        "why": _why(plan, index),
        "author": facts.author,
        "role": "" if party is None else party.role,
        "state": "" if party is None else party.state,
        "kind": facts.kind,
        "subject": read.parsed.subject,
        "seq": facts.seq,
        "period": None if read.parsed.period is None else list(read.parsed.period),
        "at_s": facts.time_s,
        "kid": kid.hex(),
        "public_key": public.hex(),
        "key_in_force_before": name in known,  # else it came into the register in this very commit
        "endorsed_with": [one.header.kid.hex() for one in read.endorsements],
        "gave": [
            {"index": index + offset, "type": decode_record(leaf.leaf)["type"]}
            for offset, leaf in enumerate(_came_of(plan, at), start=1)
        ],
    }


def _came_of(plan: AppendPlan, at: int) -> list[Appended]:
    """The records between an entry and the next one: the law appends what comes of an entry behind it (RULINGS R24)."""
    found = []
    for leaf in plan.leaves[at + 1 :]:
        if leaf.derived is None:
            break
        found.append(leaf)
    return found


def _why(plan: AppendPlan, index: int) -> str:
    """What the law says of a refusal, in its own record; empty if there is none."""
    for leaf in plan.leaves:
        if isinstance(leaf.derived, Rejected) and leaf.derived.index == index:
            return leaf.derived.why
    return ""


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in record.items()}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(name): _value(item) for name, item in value.items()}
    return [_value(item) for item in value] if isinstance(value, list | tuple) else value
