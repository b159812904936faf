"""Committees and blocks for tests: real encodings and real digests, made-up signatures.

Nothing of the order checks a signature (only node/signing does), so 64 bytes of any kind will do. What is built here may be
invalid on purpose: `block` takes what it is given.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from consensus.codec import assemble_block, encode_header, header_digest, payload_root
from consensus.committee import Committee
from consensus.types import (
    Block,
    CommitIndex,
    CommitVote,
    Digest,
    EquivocationProof,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)

CHAIN = Digest(sha256(b"a ledger for tests").digest())
MEMBERS = Digest(sha256(b"its members").digest())
GENESIS_MS = Millis(1_700_000_000_000)
SIGNATURE = bytes(range(64))


def committee_of(size: int, *, epoch: int = 0) -> Committee:
    """`size` validators; the leader of round r is r mod size."""
    return Committee.with_order(
        leaders=tuple(map(ValidatorIndex, range(size))),
        chain_id=CHAIN,
        members=MEMBERS,
        genesis_time_ms=GENESIS_MS,
        epoch=epoch,
    )


def ref(round_: int, author: int, name: str = "") -> Ref:
    """A name that no block need have."""
    return Ref(Round(round_), ValidatorIndex(author), Digest(sha256(name.encode()).digest()))


def commit_vote(index: int, digest: Digest | None = None) -> CommitVote:
    made_up = Digest(sha256(b"commit %d" % index).digest())
    return CommitVote(index=CommitIndex(index), digest=made_up if digest is None else digest)


def proof(author: int = 1, round_: int = 3, *, epoch: int = 0) -> EquivocationProof:
    first, second = sorted((sha256(b"one").digest(), sha256(b"other").digest()))
    return EquivocationProof(
        epoch=epoch,
        round=Round(round_),
        author=ValidatorIndex(author),
        digest1=Digest(first),
        signature1=b"\x01" * 64,
        digest2=Digest(second),
        signature2=b"\x02" * 64,
    )


def block(
    committee: Committee,
    author: int,
    round_: int,
    parents: Iterable[Ref],
    *,
    payload: tuple[bytes, ...] = (),
    time_ms: int | None = None,
    commit_votes: tuple[CommitVote, ...] = (),
    evidence: tuple[EquivocationProof, ...] = (),
    flags: int = 0,
) -> Block:
    """The block with these parents, in this order. Time: one second a round unless given."""
    header = Header(
        chain_id=committee.chain_id,
        epoch=committee.epoch,
        round=Round(round_),
        author=ValidatorIndex(author),
        time_ms=Millis(GENESIS_MS + 1_000 * round_ if time_ms is None else time_ms),
        flags=flags,
        parents=tuple(parents),
        payload_root=payload_root(payload),
        payload_len=sum(map(len, payload)),
        commit_votes=commit_votes,
        evidence=evidence,
    )
    return assemble_block(header, payload, SIGNATURE)


def with_header(old: Block, **changes: Any) -> Block:
    """`old` with fields of its header replaced and named anew, whether or not that is valid."""
    header = replace(old.header, **changes)
    return replace(
        old,
        header=header,
        ref=Ref(header.round, header.author, header_digest(encode_header(header))),
    )


@dataclass(kw_only=True)
class History:
    """Blocks of several rounds, drawn one after the other, every parent before its child."""

    committee: Committee
    blocks: list[Block] = field(default_factory=list)
    by_name: dict[str, Block] = field(default_factory=dict)

    def latest(self, author: int, below: int) -> Ref:
        """The author's newest first-drawn block of a round below this one; its genesis at least."""
        own = [
            drawn.ref
            for drawn in self.blocks
            if drawn.ref.author == author and drawn.ref.round < below
        ]
        top = max((own_ref.round for own_ref in own), default=0)
        return next(
            (own_ref for own_ref in own if own_ref.round == top), self.committee.genesis[author]
        )

    def draw(
        self,
        author: int,
        round_: int,
        links: Iterable[Ref] | None = None,
        *,
        own: Ref | None = None,
        name: str = "",
        **rest: Any,
    ) -> Block:
        """One block: the author's newest block first, then `links` of others (default: first of each author at round - 1)."""
        if links is None:
            links = self.round_before(round_)
        others = {link.author: link for link in links if link.author != author}
        first = self.latest(author, round_) if own is None else own
        drawn = block(
            self.committee,
            author,
            round_,
            (first, *(others[other] for other in sorted(others))),
            **rest,
        )
        self.blocks.append(drawn)
        if name:
            self.by_name[name] = drawn
        return drawn

    def round_before(self, round_: int) -> list[Ref]:
        if round_ == 1:
            return list(self.committee.genesis)
        first: dict[int, Ref] = {}
        for drawn in self.blocks:
            if drawn.ref.round == round_ - 1:
                first.setdefault(drawn.ref.author, drawn.ref)
        return [first[author] for author in sorted(first)]

    def round(
        self,
        round_: int,
        authors: Collection[int] | None = None,
        *,
        without: Collection[Ref] = (),
    ) -> list[Ref]:
        """A block of each author (default: all), linking all of the round before but `without`."""
        links = [link for link in self.round_before(round_) if link not in without]
        everybody = range(self.committee.size) if authors is None else authors
        return [self.draw(author, round_, links).ref for author in everybody]

    def rounds(self, first: int, last: int, authors: Collection[int] | None = None) -> None:
        for round_ in range(first, last + 1):
            self.round(round_, authors)
