"""From the trust policy of the genesis to those of later epochs, offline (FORMATS 1.7, RULINGS R44).

Each link is two texts: a tlog-proof of an epoch record, under the checkpoint of the epoch's last commit, which the old members
cosigned; and the policy text whose SHA-256 stands in that record. Whoever holds the genesis needs nothing else, and whoever hands
the links out can at most leave the newest out.

As a file (`encode_links`) it is what `foedus receipt policies` writes, archives hold and nodes serve:

    {"format": "foedus/policies/1", "links": [{"policy": text, "proof": text}, ...]}       one line of JSON, names sorted

    policy of the genesis ──believes──► proof of the record of epoch 1 ──hashes──► policy of epoch 1 ──believes──► ...
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from node.ledger.errors import LedgerError, MalformedRecord
from node.ledger.finality import Finality
from node.ledger.ledger import Ledger
from node.ledger.records import parse_epoch_record
from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedInput
from node.log.note import parse_note
from node.log.policy import TrustPolicy, evaluate, parse_policy
from node.log.proof import ProofFile, parse_proof
from node.signing.verify import mldsa_check, verify_ed25519

LINKS_MAX: Final = 10_000
FORMAT: Final = "foedus/policies/1"
FILE_BYTES_MAX: Final = (
    256 * 1024 * 1024
)  # of 195 members a link has 80 KB, with ML-DSA keys 900 KB


class BrokenChain(LedgerError, ValueError):
    """A link that the policy before it does not lead to: says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """From one epoch's policy to the next one's."""

    proof: bytes  # c2sp.org/tlog-proof of the epoch record, the record inside
    policy: bytes  # c2sp.org/tlog-policy text


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Proven policies. `held[i]` is for checkpoints of more than its size, up to the next one's."""

    held: tuple[tuple[int, TrustPolicy], ...]

    @classmethod
    def founding(cls, trust_policy: bytes) -> "Policies":
        """That of a genesis alone. Raises MalformedPolicy."""
        return cls(held=((0, parse_policy(trust_policy)),))

    def at(self, size: int) -> TrustPolicy:
        """By which a checkpoint of this size is judged."""
        return next(policy for after, policy in reversed(self.held) if size > after or not after)

    def of_note(self, note: bytes) -> TrustPolicy:
        """By which this note is judged. Raises MalformedInput: it is none."""
        return self.at(parse_checkpoint(parse_note(note).text).size)


def links_of(ledger: Ledger, finality: Finality) -> list[Link]:
    """As many links as this node can prove, from the first on. Raises StoreDamaged."""
    return list(links_from(ledger, finality))


def page_of(links: Iterator[Link], room: int, *, links_min: int) -> tuple[list[Link], bool]:
    """The first of these links that take `room` bytes together, but `links_min` in any case; and whether there are more."""
    page: list[Link] = []
    for link in links:
        room -= len(link.proof) + len(link.policy)
        if room < 0 and len(page) >= links_min:
            return page, True
        page.append(link)
    return page, False


def links_from(ledger: Ledger, finality: Finality, first: int = 0) -> Iterator[Link]:
    """The link of this number (0: to epoch 1) and those after it, as far as this node can prove them. Raises StoreDamaged.

    It may have joined later: an old checkpoint needs no log line of its own, a quorum's cosignatures say more.
    """
    for epoch in ledger.epochs[1 + first :]:
        note = finality.last_note(epoch.number - 1)
        at = epoch.record_leaf
        if note is None or at is None:
            return
        proof = ProofFile(
            index=at,
            hashes=tuple(ledger.inclusion_proof(at, epoch.after_size)),
            note=bytes(note),
            extra=ledger.entry(at).leaf,
        )
        yield Link(proof=bytes(proof), policy=epoch.trust_policy(ledger.genesis.origin))


def encode_links(links: Sequence[Link]) -> bytes:
    """The file's bytes: the same for the same links."""
    shown = [{"policy": link.policy.decode(), "proof": link.proof.decode()} for link in links]
    document = {"format": FORMAT, "links": shown}
    return (json.dumps(document, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parse_links(data: bytes) -> list[Link]:
    """Form only. Raises BrokenChain."""
    if len(data) > FILE_BYTES_MAX:
        raise BrokenChain(f"policies of {len(data)} bytes: at most {FILE_BYTES_MAX}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise BrokenChain(f"policies: not JSON: {err}") from err
    match value:
        case {"format": "foedus/policies/1", "links": [*links]} if len(value) == 2:
            return [_link(link) for link in links]
    raise BrokenChain(f"policies: want format {FORMAT} and links")


def _link(value: object) -> Link:
    match value:
        case {"policy": str(policy), "proof": str(proof)}:
            try:
                return Link(proof=proof.encode(), policy=policy.encode())
            except UnicodeEncodeError as err:
                raise BrokenChain(f"policies: a link is not UTF-8: {err}") from err
    raise BrokenChain("policies: a link has the texts policy and proof")


def follow(trust_policy: bytes, links: Sequence[Link]) -> Policies:
    """All policies that these links lead to from the genesis'. Raises BrokenChain, MalformedPolicy for the first one."""
    policies = Policies.founding(trust_policy)
    if len(links) > LINKS_MAX:
        raise BrokenChain(f"{len(links)} links of policies: at most {LINKS_MAX}")
    for number, link in enumerate(links, start=1):
        try:
            size, policy = _followed(policies.held[-1][1], link, number)
        except (MalformedInput, MalformedRecord) as err:
            raise BrokenChain(f"policy of epoch {number}: {err}") from err
        if size <= policies.held[-1][0]:
            raise BrokenChain(
                f"policy of epoch {number}: begins at size {size}, not above the last"
            )
        policies = Policies(held=(*policies.held, (size, policy)))
    return policies


def _followed(believed: TrustPolicy, link: Link, number: int) -> tuple[int, TrustPolicy]:
    proof = parse_proof(link.proof)
    judged = evaluate(believed, proof.note, verify_ed25519, mldsa_check(), log_line=False)
    if not judged.satisfied:
        raise MalformedRecord(f"its checkpoint is not believed: {judged.why}")
    leaf, size = proof.extra or b"", judged.checkpoint.size
    if proof.root_of(leaf) != judged.checkpoint.root:
        raise MalformedRecord("its record is not in the log of that checkpoint")
    record = parse_epoch_record(leaf)
    # The last commit's record is the leaf after it and the last of all: else old members could speak for later sizes.
    if record.epoch != number or proof.index != size - 2:
        raise MalformedRecord(f"its record is of epoch {record.epoch} at {proof.index} of {size}")
    if sha256(link.policy).digest() != record.trust_policy:
        raise MalformedRecord("its text is not the one that the record hashes")
    return size, parse_policy(link.policy)
