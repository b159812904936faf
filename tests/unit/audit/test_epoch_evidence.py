"""The outsider's verifier, and ours, on receipts and evidence of epochs after the founders' (RULINGS R44; records 0161, 0196)."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import foedus_evidence as fe
import foedus_verify as fv
from node.audit.blame import evidence_documents
from node.audit.epochs import Trust, trust_of
from node.audit.findings import AuditReport, Depth, Finding, Findings
from node.audit.source import CannotAudit
from node.audit.two_roots import two_roots
from node.audit.withheld import open_promises
from node.ledger.cosigned import Cosigned, note_lines
from node.ledger.genesis import chain_id
from node.ledger.policy_chain import BrokenChain, Link, encode_links, follow, page_of, parse_links
from node.ledger.trust import trust_policy
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.equivocation import PrefixProof
from node.log.note import Note
from node.log.proof import ProofFile
from node.signing.acknowledgement import Acknowledgement, sign_acknowledgement
from node.signing.checkpoints import sign_cosignature, sign_log_line
from node.signing.keys import NodeKeys
from tests.unit.audit.test_epoch_chain import NODE, Log, history
from tests.unit.ledger.founding import Founding
from tests.unit.ledger.joining import rotated

__all__ = ["history"]  # a fixture of the chain's tests
KEPT = ("CN", "DE", "GB", "KE", "US")  # five of six: a quorum


@dataclass
class World:
    """A log of three epochs, and all keys: DE joins, then changes its keys."""

    founding: Founding
    leaves: list[bytes]
    trust: Trust
    tree: merkle.MemoryHashes

    def keys(self, state: str, epoch: int) -> NodeKeys:
        if state == "DE":
            return NODE if epoch == 1 else rotated("DE")
        return self.founding.nodes[self.founding.genesis.member_index(state)]

    def note(self, size: int, *states: str, root: bytes | None = None, log: bool = True) -> bytes:
        """A checkpoint of this size by these members of its epoch."""
        epoch = next(e for e in reversed(self.trust.epochs) if size > e.after_size)
        root = self.tree.root_at(size) if root is None else root
        checkpoint = Checkpoint(origin=self.founding.genesis.origin, size=size, root=root)
        lines = []
        for state in states:
            made = sign_cosignature(
                self.keys(state, epoch.number).cosigner, checkpoint, 1_700_000_000
            )
            member = epoch.index_of(state)
            assert member is not None
            lines.append(
                Cosigned(
                    member=member,
                    size=size,
                    root=root,
                    timestamp=made.timestamp,
                    signature=made.signature,
                )
            )
        shown = note_lines(checkpoint.origin, epoch.members, lines)
        if log:
            shown.append(sign_log_line(self.keys("US", epoch.number).log, checkpoint))
        return bytes(Note(text=checkpoint.text(), lines=tuple(shown)))

    def receipt(self, index: int, size: int, note: bytes) -> bytes:
        hashes = tuple(merkle.inclusion_proof(index, size, self.tree.read))
        return bytes(ProofFile(index=index, hashes=hashes, note=note, extra=self.leaves[index]))

    @property
    def links(self) -> list[Link]:
        """Handed over by the members before each epoch; a newcomer's copy has no log line of its own there."""
        found = []
        for before, epoch in zip(self.trust.epochs, self.trust.epochs[1:], strict=False):
            assert epoch.record_leaf is not None
            states = [m.state for m in before.members if m.state != "BR"]
            note = self.note(epoch.after_size, *states, log=False)
            proof = self.receipt(epoch.record_leaf, epoch.after_size, note)
            found.append(Link(proof=proof, policy=epoch.trust_policy(self.founding.genesis.origin)))
        return found

    def evidence(self, folder: Path, fields: dict[str, Any], *accused: str) -> Path:
        document = {
            "format": "foedus/evidence/1",
            "genesis": base64.b64encode(self.founding.document).decode(),
            "accused": list(accused),
            "policies": json.loads(encode_links(self.links))["links"],
            **fields,
        }
        path = folder / "evidence.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def verify(self, *words: str | Path) -> int:
        pinned = chain_id(self.founding.document).hex()
        return fv.main([*map(str, words), "--chain-id", pinned])


@pytest.fixture
async def world(history: tuple[Founding, list[bytes], list[int]]) -> World:
    founding, leaves, _ = history
    leaves = [*leaves, b"one more", b"and another"]  # of the last epoch
    trust = trust_of(
        Log(founding.document, leaves), founding.genesis, founding.document, Findings("log")
    )
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(leaves))
    assert len(trust.epochs) == 3
    return World(founding, leaves, trust, tree)


async def test_links_lead_from_the_genesis_to_today(world: World, tmp_path: Path) -> None:
    links = world.links
    assert parse_links(encode_links(links)) == links
    policies = follow(trust_policy(world.founding.genesis), links)
    assert [after for after, _ in policies.held] == [e.after_size for e in world.trust.epochs]
    size = len(world.leaves)
    receipt = tmp_path / "receipt"
    receipt.write_bytes(world.receipt(3, size, world.note(size, *KEPT)))
    founders, chain = tmp_path / "policy", tmp_path / "policies.json"
    founders.write_bytes(trust_policy(world.founding.genesis))
    chain.write_bytes(encode_links(links))
    by_founders = ("receipt", receipt, "--policy", founders)
    assert fv.main([*map(str, by_founders), "--policies", str(chain)]) == 0
    ended = world.trust.epochs[2].after_size
    receipt.write_bytes(world.receipt(3, ended, world.note(ended, *KEPT)))
    assert fv.main([*map(str, by_founders), "--policies", str(chain)]) == 0, "DE's key till then"
    receipt.write_bytes(world.receipt(3, size, world.note(size, *KEPT)))
    chain.write_bytes(encode_links(links[:1]))
    assert fv.main([*map(str, by_founders), "--policies", str(chain)]) == 1, "DE's key has changed"


async def test_links_are_handed_out_in_pages(world: World) -> None:
    links = world.links
    sizes = [len(link.proof) + len(link.policy) for link in links]
    assert page_of(iter(links), sum(sizes), links_min=0) == (links, False)
    assert page_of(iter(links), sum(sizes) - 1, links_min=0) == (links[:1], True)
    assert page_of(iter(links), -1, links_min=0) == ([], True), "a document took all the room"
    assert page_of(iter(links), -1, links_min=1) == (links[:1], True), "and then it goes on"
    assert page_of(iter([]), -1, links_min=1) == ([], False)


def foreign_policy(world: World, links: list[Link]) -> list[Link]:
    altered = links[1].policy.replace(b"quorum states", b"quorum none")
    return [links[0], replace(links[1], policy=altered)]


def left_out(world: World, links: list[Link]) -> list[Link]:
    return links[1:]


def twice(world: World, links: list[Link]) -> list[Link]:
    return [links[0], links[0]]


def beyond_its_time(world: World, links: list[Link]) -> list[Link]:
    """The founders' quorum over the whole log: they end with the first epoch's last size."""
    size = len(world.leaves)
    at = world.trust.epochs[1].record_leaf
    assert at is not None
    founders = [member.state for member in world.founding.genesis.members]
    proof = world.receipt(at, size, world.note(size, *founders))
    return [replace(links[0], proof=proof)]


def too_few(world: World, links: list[Link]) -> list[Link]:
    epoch = world.trust.epochs[1]
    assert epoch.record_leaf is not None
    note = world.note(epoch.after_size, "US", "GB", "KE")
    proof = world.receipt(epoch.record_leaf, epoch.after_size, note)
    return [replace(links[0], proof=proof)]


def from_the_past(world: World, links: list[Link]) -> list[Link]:
    """All founders, long after they handed over, under a short log that they made up: the record of epoch 2 in it is true."""
    at = world.trust.epochs[2].record_leaf
    assert at is not None
    leaves = [b"made up", world.leaves[at], b"its last"]
    assert len(leaves) <= world.trust.epochs[1].after_size
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(leaves))
    founders = [member.state for member in world.founding.genesis.members]
    note = world.note(len(leaves), *founders, root=tree.root_at(len(leaves)))
    hashes = tuple(merkle.inclusion_proof(1, len(leaves), tree.read))
    proof = bytes(ProofFile(index=1, hashes=hashes, note=note, extra=leaves[1]))
    return [links[0], replace(links[1], proof=proof)]


@pytest.mark.parametrize(
    "change", [foreign_policy, left_out, twice, beyond_its_time, too_few, from_the_past]
)
async def test_no_link_leads_further_than_it_proves(
    world: World, change: Callable[[World, list[Link]], list[Link]]
) -> None:
    links = change(world, world.links)
    with pytest.raises(BrokenChain):
        follow(trust_policy(world.founding.genesis), links)
    founding = fe.founding(world.founding.document, None)
    with pytest.raises((fv.NotProven, ValueError)):
        fv.walk([founding], json.loads(encode_links(links)))


async def test_two_roots_by_keys_of_two_epochs(world: World, tmp_path: Path) -> None:
    """The founders' last size with another root; DE was no member then, so it is not accused though it signed the later one."""
    early, late = world.trust.epochs[1].after_size - 1, len(world.leaves)
    first = world.note(early, "BR", "CN", "GB", root=b"x" * 32)
    second = world.note(late, *KEPT)
    prefix = PrefixProof(
        root=world.tree.root_at(early),
        proof=merkle.consistency_proof(early, late, world.tree.read),
    )
    policies = follow(trust_policy(world.founding.genesis), world.links)
    found = two_roots(policies, world.founding.document, first, second, prefix, world.links)
    assert found is not None
    assert found.accused == ("CN", "GB")
    path = tmp_path / "two.json"
    path.write_text(json.dumps(found.evidence), encoding="utf-8")
    assert world.verify("evidence", path) == 0
    for accused in (["DE"], ["BR"]):
        path.write_text(json.dumps({**found.evidence, "accused": accused}), encoding="utf-8")
        assert world.verify("evidence", path) == 1


async def test_two_blocks_by_a_key_that_came_later(world: World, tmp_path: Path) -> None:
    epoch = world.trust.epochs[2]
    author = epoch.index_of("DE")
    assert author is not None
    place = epoch.number.to_bytes(4, "big") + (7).to_bytes(4, "big") + author.to_bytes(2, "big")
    digests = [bytes([number]) * 32 for number in (1, 2)]

    def signed(key: NodeKeys, digest: bytes) -> str:
        message = fv.digest(b"\x0csign/block/1", world.founding.chain_id, place, digest)
        return key.block.sign(message).hex()

    proof = {"kind": "two-blocks", "epoch": "2", "round": "7", "author": str(author)}
    for number, digest in enumerate(digests, start=1):
        proof[f"digest{number}"] = digest.hex()
        proof[f"signature{number}"] = signed(rotated("DE"), digest)
    finding = Finding(
        depth=Depth.ORDER, source="US", what="two blocks", accused=("DE",), proof=proof
    )
    report = AuditReport(
        chain_id="",
        origin="",
        drill=True,
        members=(),
        quorum=0,
        sources=(),
        findings=(),
        misdeeds=(finding,),
        links=tuple(world.links),
        block_keys=tuple(
            tuple(member.block_key for member in each.members) for each in world.trust.epochs
        ),
    )
    (document,) = evidence_documents(report, world.founding.document)
    path = tmp_path / "two.json"

    def status(**fields: Any) -> int:
        path.write_text(json.dumps({**document, **fields}), encoding="utf-8")
        return world.verify("evidence", path)

    assert status() == 0
    assert status(signature2=signed(NODE, digests[1])) == 1, "a key that DE has given up"
    assert status(epoch=1) == 1
    keys = list(document["block_keys"])
    keys[author] = NODE.block.public.hex()
    assert status(block_keys=keys) == 1, "not the keys that the record hashes"
    assert status(policies=document["policies"][:1]) == 2, "nobody shows that epoch"
    assert status(accused=["US"]) == 1


async def test_a_promise_by_an_old_or_a_new_key_binds(world: World) -> None:
    ledger = world.founding.chain_id
    said = Acknowledgement(
        chain_id=ledger, entry_hash=bytes(32), node="DE", inclusion_by_ms=1_700_000_000_000
    )
    members = [member for epoch in world.trust.epochs for member in epoch.members]
    for keys in (NODE, rotated("DE")):
        promise = sign_acknowledgement(keys.log, said)
        assert len(open_promises([("one", promise)], members, ledger)) == 1
        with pytest.raises(CannotAudit):
            open_promises([("one", promise)], world.founding.genesis.members, ledger)
    stranger = sign_acknowledgement(rotated("DE", 5).log, said)
    with pytest.raises(CannotAudit):
        open_promises([("one", stranger)], members, ledger)
