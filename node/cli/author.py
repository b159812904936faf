"""An author's chain: statements, motions, votes and endorsements from plain values.

    agency = Author(keys, ledger=chain_id)                              # in memory; or outbox=FileOutbox(...)
    plan = operator.say("run", {"run": "r1", "phase": "plan", "model": "m1", "params_total": 7, "pflop_plan": 9},
                        endorsed_by=[agency])
    motion = operator.say("TRAIN", {"inspectors": ["insp1", "insp2"], "until": 1_800_000_000},
                          refs=[plan.entry_hash], endorsed_by=[agency])
    vote = other_agency.vote(motion.entry_hash, "yes")
    await client.submit(vote.entry)

Each call signs the chain's next entry: (seq, hash) is in the outbox before the entry is returned. Votes are signed by the vote
key, everything else by the author key (RULINGS R46); all stand in one chain (R28).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from node.cli.errors import CouldNot, MalformedDraft, OutboxError
from node.cli.outbox import MemoryOutbox, Outbox, Tip
from node.cli.statements import VOTE, Draft, content_bytes
from node.signing.keys import AgencyKeys, SigningKey
from node.signing.statements import entry_hash, sign_endorsement, sign_entry
from node.treaty.parsing import header_subject, parse_content


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signed entry, ready for any node. `entry_hash` names it; in hex it is the id of a motion."""

    entry: bytes
    entry_hash: bytes
    author: str
    seq: int
    kind: str
    subject: str

    @property
    def name(self) -> str:
        """The entry's hash in hex: how motions and replies speak of it."""
        return self.entry_hash.hex()


class Author:
    """One party and where its chain stands. Not for several threads at once."""

    def __init__(self, keys: AgencyKeys, *, ledger: bytes, outbox: Outbox | None = None) -> None:
        """`ledger` is the chain id. Without an outbox the chain is kept in memory and starts empty."""
        self._keys = keys
        self._ledger = ledger
        self._outbox = MemoryOutbox() if outbox is None else outbox

    @property
    def id(self) -> str:
        return self._keys.author_id

    @property
    def ledger(self) -> bytes:
        return self._ledger

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    def say(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        refs: Sequence[bytes] = (),
        period: tuple[int, int] | None = None,
        confidentiality: str = "R",
        endorsed_by: "Sequence[Author]" = (),
    ) -> Signed:
        """Sign a statement or motion of this kind; fields as in content.proto (see `statements`). Raises MalformedDraft."""
        draft = Draft(
            kind=kind,
            body=body,
            refs=tuple(refs),
            period=period,
            confidentiality=confidentiality,
        )
        content = self.content(draft)
        return self.wrap(content, [other.endorse(content) for other in endorsed_by])

    def vote(self, motion: str | bytes, choice: str, *, mandate_ref: bytes | None = None) -> Signed:
        """Sign a vote (yes, no, abstain) by the vote key.

        `motion` is a filed motion's entry hash, or the id of a motion that opened by itself.
        """
        name = motion.hex() if isinstance(motion, bytes) else motion
        body: dict[str, Any] = {"motion": name, "choice": choice}
        if mandate_ref is not None:
            body["mandate_ref"] = mandate_ref
        return self.say(VOTE, body)

    def content(self, draft: Draft) -> bytes:
        """The bytes that endorsers sign, before any chain is touched. Raises MalformedDraft."""
        return content_bytes(draft, ledger=self._ledger, author=self.id)

    def endorse(self, content: bytes) -> bytes:
        """A countersignature by this party of another's content. It touches no chain (RULINGS R14). Raises MalformedContent."""
        if parse_content(content).ledger != self._ledger:
            raise MalformedDraft("content.ledger: of another ledger than this author's")
        kind, _, subject = header_subject(content).partition("/")
        return sign_endorsement(
            self._keys.author, endorser=self.id, kind=kind, subject=subject, content=content
        )

    def wrap(self, content: bytes, endorsements: Sequence[bytes] = ()) -> Signed:
        """Sign this content as the chain's next entry.

        Raises MalformedContent, MalformedDraft, OutboxError if it is endorsed and was said before.
        """
        content_hash = sha256(content).digest()
        said = self._outbox.said(content_hash) if endorsements else None
        if said is not None:
            raise OutboxError(
                f"{self.id} said this endorsed content in its entry {said}: the ledger takes it once. If it waits, send it"
                " again; if it was rejected, change something, such as the refs"
            )
        signed = self.seal(content, endorsements, self._outbox.tip)
        self._outbox.record(signed.entry, endorsed_content=content_hash if endorsements else None)
        return signed

    def seal(self, content: bytes, endorsements: Sequence[bytes], tip: Tip) -> Signed:
        """Sign this content to follow `tip`, and record nothing: for those who keep the record themselves."""
        parsed = parse_content(content)
        if (parsed.ledger, parsed.author) != (self._ledger, self.id):
            raise MalformedDraft(
                f"content.author={parsed.author}: this is the outbox of {self.id}, or another ledger's"
            )
        kind, _, subject = header_subject(content).partition("/")
        entry = sign_entry(
            self._key_for(kind),
            author=self.id,
            kind=kind,
            subject=subject,
            content=content,
            seq=tip.seq + 1,
            prev=tip.entry_hash,
            endorsements=endorsements,
        )
        return Signed(
            entry=entry,
            entry_hash=entry_hash(entry),
            author=self.id,
            seq=tip.seq + 1,
            kind=kind,
            subject=subject,
        )

    def _key_for(self, kind: str) -> SigningKey:
        if kind != VOTE:
            return self._keys.author
        if self._keys.vote is None:
            raise CouldNot(
                f"{self.id} has no vote key: only a member state votes, with its agency's key file"
            )
        return self._keys.vote
