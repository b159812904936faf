"""Batches in, leaves out: what is appended, what is counted, and that restart and replay change nothing."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nacl import bindings

from foedus.v1 import content_pb2 as pb
from node.ledger import records
from node.ledger.batch import CommittedBatch
from node.ledger.cosigned import Cosigned
from node.ledger.errors import NotYet, Refused
from node.ledger.ledger import Status
from node.ledger.plan import CommitMachine, MemoryFacts
from node.ledger.reader import nothing_known, read_entry
from node.ledger.state_digest import MemoryBuckets
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.signing.checkpoints import sign_cosignature
from node.signing.keys import generate_agency_keys
from node.signing.statements import entry_hash, sign_endorsement
from node.storage import keys
from node.storage.errors import StoreDamaged, WriteFailed
from node.storage.rows import PendingRow
from tests.unit.ledger.founding import Author, Founding, found
from tests.unit.ledger.running import Running, start

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4, 2)


@pytest.fixture
async def node(founding: Founding, tmp_path: Path) -> AsyncIterator[Running]:
    running = await start(founding, tmp_path)
    yield running
    running.close()


@pytest.fixture
def author(founding: Founding) -> Author:
    return founding.author(0)


def settled(founding: Founding, author: Author) -> bytes:
    """The author's facility, which its energy statements name."""
    return author.facility("dc1", founding.agencies[0])


def kinds(running: Running, first: int = 0) -> list[str]:
    """Per leaf: a record's type, or "entry"."""
    leaves = running.ledger.entries(first, 10_000)
    return [
        records.decode_record(leaf)["type"] if records.is_record(leaf) else "entry"
        for leaf in leaves
    ]


async def test_the_founding_commit(node: Running, founding: Founding) -> None:
    assert kinds(node) == ["genesis", "veto_check", "commit"]
    genesis, veto, commit = node.records()
    assert genesis == {
        "type": "genesis",
        "chain_id": founding.chain_id,
        "origin": "ledger.test/main",
    }
    assert (veto["members"], veto["veto_possible"]) == (4, 1)
    assert (commit["index"], commit["order_digest"]) == (0, founding.chain_id)
    assert commit["state_digest"] == node.ledger.state_digest
    assert node.ledger.root == merkle.root_of_entries(node.ledger.entries(0, 3))


async def test_an_accepted_entry_and_its_commit_record(
    node: Running, founding: Founding, author: Author
) -> None:
    entry = settled(founding, author)
    applied = await node.commit(entry)
    assert (applied.appended, applied.first, applied.size) == (True, 3, 5)
    assert kinds(node, 3) == ["entry", "commit"]
    assert node.ledger.entry(3).leaf == entry
    record = node.records(3)[-1]
    assert record == {
        "type": "commit",
        "index": 1,
        "time_ms": node.now_ms,
        "order_digest": (1).to_bytes(32, "big"),
        "dropped": {},
        "state_digest": node.ledger.state_digest,
    }
    assert node.ledger.find(entry_hash(entry)) == 3
    assert node.store.commit_record(1) == b"engine 1"


async def test_an_empty_commit_appends_nothing(node: Running) -> None:
    before = (node.ledger.size, node.ledger.root, node.ledger.state_digest)
    applied = await node.commit()
    assert not applied.appended
    assert (node.ledger.size, node.ledger.root, node.ledger.state_digest) == before
    assert node.ledger.last_commit == 1
    assert node.store.commit_record(1) == b"engine 1"


async def test_a_rule_breaker_is_logged_with_its_reason_and_uses_its_seq(
    node: Running, author: Author
) -> None:
    entry = author.energy(5)  # no such facility
    await node.commit(entry)
    assert kinds(node, 3) == ["entry", "rejected", "commit"]
    rejected = node.records(3)[0]
    assert (rejected["code"], rejected["index"]) == ("UNKNOWN_REF", 3)
    assert rejected["entry"] == entry_hash(entry)
    assert len(rejected["nonce"]) == 16
    assert node.ledger.author_tip("op0") == (2, entry_hash(entry))
    assert node.ledger.status_of(entry_hash(entry)).code == "UNKNOWN_REF"


async def test_nonces_follow_the_state_before_and_the_ordinal(
    node: Running, author: Author
) -> None:
    before = node.ledger.state_digest
    await node.commit(author.energy(5), author.energy(6))
    found_nonces = [record["nonce"] for record in node.records(3) if "nonce" in record]
    assert found_nonces == [
        sha256(b"nonce/1" + before + ordinal.to_bytes(4, "big")).digest()[:16] for ordinal in (0, 1)
    ]


def spoiled(entry: bytes) -> bytes:
    return entry[:-1] + bytes([entry[-1] ^ 1])


async def test_what_is_dropped_is_counted_in_the_next_commit_record(
    node: Running, founding: Founding, author: Author
) -> None:
    facility = settled(founding, author)
    stranger = Author(
        generate_agency_keys("op0", with_vote=False, seed=bytes(32)), founding.chain_id
    )
    gap = Author(founding.operators[1], founding.chain_id, seq=4)
    other_ledger = Author(founding.operators[1], bytes(32))
    uncountersigned = Author(founding.operators[1], founding.chain_id)
    applied = await node.commit(
        b"not an entry",
        stranger.energy(1),
        spoiled(facility),
        gap.energy(1),
        other_ledger.energy(1),
        uncountersigned.facility("dc2", founding.agencies[1], endorsed=False),
    )
    assert not applied.appended
    assert [judged.code for judged in applied.plan.judged] == [
        "SCHEMA",
        "UNKNOWN_AUTHOR",
        "SIGNATURE",
        "SEQ_GAP",
        "SCHEMA",
        "COUNTERSIGN",
    ]
    assert node.ledger.size == 3
    await node.commit()
    await node.commit(facility, facility)
    assert kinds(node, 3) == ["entry", "commit"]
    assert node.records(3)[-1]["dropped"] == {
        "SCHEMA": 2,
        "UNKNOWN_AUTHOR": 1,
        "SIGNATURE": 1,
        "SEQ_GAP": 1,
        "COUNTERSIGN": 1,
        "DUPLICATE": 1,
    }
    await node.commit(author.energy(1))
    assert node.records(5)[-1]["dropped"] == {}


async def test_an_equivocation_is_kept_and_the_first_holds_its_seq(
    node: Running, founding: Founding, author: Author
) -> None:
    await node.commit(settled(founding, author))
    first = author.sign(author.energy_content(1), advance=False)
    second = author.sign(author.energy_content(2))
    await node.commit(first)
    await node.commit(second)
    assert "rejected" in kinds(node, 7)
    assert node.ledger.status_of(entry_hash(second)).code == "EQUIVOCATION"
    assert node.store.hash_at_seq("op0", 2) == entry_hash(first)
    assert node.ledger.author_tip("op0") == (3, entry_hash(first))


async def test_earlier_commits_speak_first_about_a_seq(
    node: Running, founding: Founding, author: Author
) -> None:
    """Beside an equivocation of the same commit, a re-signed first content is still a duplicate (R28)."""
    content = author.energy_content(1)
    first = author.sign(content, advance=False)
    await node.commit(first)
    other = author.sign(author.energy_content(2), advance=False)
    endorsement = sign_endorsement(
        founding.agencies[0].author,
        endorser="BR",
        kind="energy",
        subject="dc1",
        content=content.SerializeToString(),
    )
    again = author.sign(content, advance=False, endorsements=(endorsement,))
    applied = await node.commit(other, again)
    codes = [judged.code for judged in applied.plan.judged]
    assert codes == ["EQUIVOCATION", "DUPLICATE"]


async def test_a_key_registered_in_a_commit_counts_from_the_next_entry_on(
    node: Running, founding: Founding, author: Author
) -> None:
    """R71: the old key stops and the new one starts inside one batch, whatever was checked ahead."""
    new_keys = generate_agency_keys("op0", with_vote=False, seed=b"n" * 32)
    identity = pb.Content(
        ver=1,
        ledger=founding.chain_id,
        author="op0",
        confidentiality=pb.CONFIDENTIALITY_PUBLIC,
        identity=pb.Identity(
            party="op0",
            role=pb.PARTY_ROLE_OPERATOR,
            state="BR",
            keys=[pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=new_keys.author.public)],
        ),
    )
    rotation = author.sign(identity, kind="identity", subject="op0")
    by_old = author.sign(author.energy_content(1), advance=False)
    by_new = Author(new_keys, founding.chain_id, author.seq, author.prev).energy(1)
    await node.pool.verify_many(node.ledger.prefetch([rotation, by_old, by_new]))
    applied = await node.commit(rotation, by_old, by_new)
    codes = [judged.code for judged in applied.plan.judged]
    assert codes == ["", "UNKNOWN_AUTHOR", "UNKNOWN_REF"]


@pytest.mark.parametrize("kind", ["neutral", "order 8", "mixed order", "not on the curve"])
async def test_a_weak_key_is_never_registered(
    node: Running, founding: Founding, author: Author, kind: str
) -> None:
    """FORMATS 11, RULINGS R16: refused by name at the door, and dropped by the commit if a member lets it through."""
    order_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    fresh = generate_agency_keys("op0", with_vote=False, seed=b"n" * 32).author.public
    key = {
        "neutral": bytes([1]) + bytes(31),
        "order 8": order_8,
        "mixed order": bindings.crypto_core_ed25519_add(fresh, order_8),
        "not on the curve": bytes([2]) + bytes(31),
    }[kind]
    content = pb.Content(
        ver=1,
        ledger=founding.chain_id,
        author="op0",
        confidentiality=pb.CONFIDENTIALITY_PUBLIC,
        identity=pb.Identity(
            party="op0",
            role=pb.PARTY_ROLE_OPERATOR,
            state="BR",
            keys=[pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=key)],
        ),
    )
    entry = author.sign(content, kind="identity", subject="op0")
    with pytest.raises(Refused) as caught:
        await node.admission.submit(entry)
    assert (caught.value.code, caught.value.field) == ("SCHEMA", "identity.keys[0].ed25519")
    size = node.ledger.size
    applied = await node.commit(entry)
    assert [judged.code for judged in applied.plan.judged] == ["SCHEMA"]
    assert node.ledger.size == size
    assert node.ledger.law.resolve_key("op0", author.keys.author.kid) is not None


async def busy_history(node: Running, founding: Founding) -> list[CommittedBatch]:
    """Some commits with accepted, rejected, dropped and derived things; the batches."""
    batches: list[CommittedBatch] = []
    one, two = founding.author(0), founding.author(1)
    contents: list[list[bytes]] = [
        [settled(founding, one), two.energy(3)],
        [one.energy(number) for number in range(20)],
        [b"junk", two.energy(4)],
        [],
        [one.energy(99), two.facility("dc9", founding.agencies[1])],
    ]
    for entries in contents:
        await node.commit(*entries)
        batches.append(
            CommittedBatch(
                index=node.ledger.last_commit,
                time_ms=node.now_ms,
                order_digest=node.ledger.last_commit.to_bytes(32, "big"),
                entries=tuple(entries),
            )
        )
    return batches


async def test_a_restart_changes_nothing(node: Running, founding: Founding, tmp_path: Path) -> None:
    await busy_history(node, founding)
    await node.commit(b"junk")  # a carried count
    before = node.ledger.status()
    node.close()
    again = await start(founding, tmp_path)
    assert again.ledger.status() == before
    assert again.ledger.tree == node.ledger.tree
    entry = founding.state_author(0).energy(1)
    applied = await again.commit(entry)
    assert again.records(applied.first)[-1]["dropped"] == {"SCHEMA": 1}
    assert again.ledger.root == merkle.root_of_entries(again.ledger.entries(0, 10_000))
    again.close()


async def test_restarting_after_every_commit_gives_the_log_of_one_run(
    node: Running, founding: Founding, tmp_path: Path
) -> None:
    batches = await busy_history(node, founding)
    home = tmp_path / "other"
    for batch in batches:
        again = await start(founding, home)
        await again.ledger.apply(batch, b"")
        root = again.ledger.root
        again.close()
    assert root == node.ledger.root


async def test_an_auditor_without_a_store_computes_the_same_leaves(
    node: Running, founding: Founding
) -> None:
    batches = await busy_history(node, founding)
    facts, buckets = MemoryFacts(), MemoryBuckets()
    machine, plan = CommitMachine.found(
        founding.genesis, founding.document, facts=facts, buckets=buckets
    )
    leaves = [appended.leaf for appended in plan.leaves]
    buckets.write(plan.state_rows)
    for batch in batches:
        plan = machine.commit(batch, lambda raw: read_entry(raw, entry_hash(raw)), nothing_known)
        facts.write(plan)
        buckets.write(plan.state_rows)
        leaves += [appended.leaf for appended in plan.leaves]
    assert leaves == node.ledger.entries(0, 10_000)
    assert plan.tree == node.ledger.tree
    assert plan.state_digest == node.ledger.state_digest


@pytest.mark.parametrize("seed", ["0", "424242"])
async def test_another_process_and_hash_seed_give_the_same_leaf_bytes(
    node: Running, founding: Founding, tmp_path: Path, seed: str
) -> None:
    await busy_history(node, founding)
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.ledger.founding import found\n"
        "from tests.unit.ledger.running import start\n"
        "from tests.unit.ledger.test_ledger import busy_history\n"
        "async def main():\n"
        "    founding = found(4, 2)\n"
        "    node = await start(founding, Path(sys.argv[1]))\n"
        "    await busy_history(node, founding)\n"
        "    print(b''.join(node.ledger.entries(0, 10_000)).hex())\n"
        "    node.close()\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    path = [str(REPOSITORY), str(REPOSITORY / "proto"), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path / "other")),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    assert bytes.fromhex(output.decode()) == b"".join(node.ledger.entries(0, 10_000))


async def test_a_crash_between_write_and_flush_leaves_whole_commits(
    node: Running, founding: Founding, tmp_path: Path
) -> None:
    """The folder copied and its write-ahead log cut anywhere: what is left continues to the same root."""
    batches = await busy_history(node, founding)
    (log,) = (tmp_path / "rocksdb").glob("*.log")
    whole = log.read_bytes()
    resumed = set()
    for number, length in enumerate(range(len(whole), len(whole) // 3, -len(whole) // 9)):
        home = tmp_path / f"crash{number}"
        shutil.copytree(tmp_path / "rocksdb", home / "rocksdb")
        (home / "rocksdb" / log.name).write_bytes(whole[:length])
        again = await start(founding, home)
        resumed.add(again.ledger.last_commit)
        for batch in batches[again.ledger.last_commit :]:
            await again.ledger.apply(batch, b"")
        assert again.ledger.root == node.ledger.root
        assert again.ledger.state_digest == node.ledger.state_digest
        again.close()
    assert len(resumed) > 1, "the cuts must hit different commits"


async def test_a_refused_write_shows_nothing(
    node: Running, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(batch: Any) -> None:
        raise WriteFailed("disk full")

    monkeypatch.setattr(node.store, "_write", refuse)
    with pytest.raises(WriteFailed):
        await node.commit(author.energy(1))
    assert node.ledger.size == 3
    with pytest.raises(NotYet):
        node.ledger.entry(3)


async def test_nothing_is_shown_before_it_is_durable(
    node: Running, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = author.energy(1)
    seen = []

    async def flush() -> None:
        seen.append(
            (node.ledger.size, node.ledger.find(entry_hash(entry)), node.finality.unfinal_size())
        )

    monkeypatch.setattr(node.store, "durable", flush)
    await node.commit(entry)
    assert seen == [(3, None, 3)]
    assert node.ledger.size == 6


async def test_several_commits_share_one_flush_and_give_the_log_of_single_ones(
    node: Running, founding: Founding, tmp_path: Path
) -> None:
    batches = await busy_history(node, founding)
    together = await start(founding, tmp_path / "together")
    flushes = together.store.flushes
    applied = await together.ledger.apply_all([(batch, b"record") for batch in batches])
    assert together.store.flushes == flushes + 1
    assert [one.index for one in applied] == [batch.index for batch in batches]
    assert [(one.size, one.root) for one in applied] == [
        (one.size, one.root) for one in node.applied
    ]
    assert together.ledger.state_digest == node.ledger.state_digest
    assert (together.ledger.size, together.ledger.root) == (node.ledger.size, node.ledger.root)
    together.close()


async def test_proofs_verify(node: Running, founding: Founding) -> None:
    await busy_history(node, founding)
    ledger = node.ledger
    leaves = ledger.entries(0, ledger.size)
    for size in range(1, ledger.size + 1):
        root = ledger.root_at(size)
        assert root == merkle.root_of_entries(leaves[:size])
        index = (size * 7) % size if size > 1 else 0
        leaf = merkle.leaf_hash(leaves[index])
        assert merkle.verify_inclusion(leaf, index, size, ledger.inclusion_proof(index, size), root)
        proof = ledger.consistency_proof(size, ledger.size)
        assert merkle.verify_consistency(size, ledger.size, root, ledger.root, proof)
    assert ledger.hashes(0, 2, 3) == merkle.leaf_hashes(leaves[2:5])
    for wrong in (
        lambda: ledger.root_at(ledger.size + 1),
        lambda: ledger.inclusion_proof(5, 5),
        lambda: ledger.consistency_proof(5, 4),
        lambda: ledger.hashes(0, 0, ledger.size + 1),
        lambda: ledger.entry(ledger.size),
    ):
        with pytest.raises(NotYet):
            wrong()


async def test_listing_by_author_kind_and_subject(node: Running, founding: Founding) -> None:
    await busy_history(node, founding)
    ledger = node.ledger
    mine = ledger.list_indexes(author="op0")
    assert len(mine) == 22
    energy = ledger.list_indexes(author="op0", kind="energy")
    assert len(energy) == 21
    assert ledger.list_indexes(author="op0", kind="energy", limit=5) == energy[:5]
    assert ledger.list_indexes(author="op0", kind="energy", first=energy[4] + 1) == energy[5:]
    assert ledger.list_indexes(author="op0", kind="energy", end=energy[2]) == energy[:2]
    assert ledger.list_indexes(subject="op0/dc1", kind="facility") == mine[:1]
    assert ledger.list_indexes(author="nobody") == []
    assert ledger.list_indexes(kind="genesis") == [0]
    assert len(ledger.list_indexes(kind="commit")) == 5
    assert ledger.list_indexes(first=2, limit=3) == [2, 3, 4]
    rejected = ledger.list_indexes(kind="rejected")
    (about,) = ledger.list_indexes(kind="rejected", subject=node.records()[3]["entry"].hex())
    assert about in rejected


async def test_a_store_of_another_ledger_is_refused(node: Running, tmp_path: Path) -> None:
    node.close()
    with pytest.raises(StoreDamaged, match="belongs to ledger"):
        await start(found(5, 0), tmp_path)


async def test_a_state_altered_on_disk_is_found_at_start(
    node: Running, founding: Founding, author: Author, tmp_path: Path
) -> None:
    await node.commit(author.energy(1))
    bucket, key, value = next(iter(node.store.state_items()))
    batch_key = keys.state(bucket, key)
    node.store._families["state"].put(batch_key, value + b"x")
    node.close()
    with pytest.raises(StoreDamaged, match="state"):
        await start(founding, tmp_path)


async def own_line(node: Running) -> Cosigned:
    """The node's cosignature over all it has appended, once it is out."""
    deadline = asyncio.get_running_loop().time() + 20
    while asyncio.get_running_loop().time() < deadline:
        line = node.finality.newest_own()
        if line is not None and line.size == node.ledger.size:
            return line
        await asyncio.sleep(0.005)
    pytest.fail("no cosignature in time")


async def test_an_empty_store_beside_a_cosign_file_is_a_rebuild(
    node: Running, founding: Founding, tmp_path: Path
) -> None:
    """R31: the store is gone, keys and sign state remain; the node replays and contradicts nothing."""
    task = asyncio.create_task(node.finality.run())
    batches = await busy_history(node, founding)
    line = await own_line(node)
    task.cancel()
    node.close()
    shutil.rmtree(tmp_path / "rocksdb")
    again = await start(founding, tmp_path)
    assert again.finality.newest_own() == line
    for batch in batches[:3]:
        await again.ledger.apply(batch, b"")
    again.close()
    again = await start(founding, tmp_path)  # stopped half-way through the rebuild
    for batch in batches[3:]:
        await again.ledger.apply(batch, b"")
    assert again.ledger.root == line.root
    assert not again.finality.stopped
    again.close()


async def test_submitted_committed_cosigned_final(
    node: Running, founding: Founding, tmp_path: Path
) -> None:
    task = asyncio.create_task(node.finality.run())
    author = founding.author(0)
    entry = settled(founding, author)
    digest = entry_hash(entry)
    status = node.ledger.status_of
    assert status(digest).status is Status.UNKNOWN
    await node.admission.submit(entry)
    assert status(digest).status is Status.ACKNOWLEDGED
    taken = node.mempool.take(10**6, 10)
    assert status(digest).status is Status.SEQUENCED
    await node.commit(*taken)
    assert (status(digest).status, status(digest).index) == (Status.INTEGRATED, 3)
    size, root = node.ledger.size, node.ledger.root
    await own_line(node)
    for member in (1, 2):
        checkpoint = Checkpoint(origin=founding.genesis.origin, size=size, root=root)
        made = sign_cosignature(founding.nodes[member].cosigner, checkpoint, 1)
        node.finality.add(
            Cosigned(member=member, size=size, root=root, timestamp=1, signature=made.signature)
        )
    assert status(digest).status is Status.FINAL
    assert len(node.mempool) == 0
    task.cancel()
    node.store.put_pending(
        [PendingRow(entry_hash=digest, arrival=1, inclusion_by_ms=1, held=False, entry=entry)]
    )
    node.close()
    again = await start(founding, tmp_path)  # as if the crash came before the row was deleted
    assert again.ledger.status_of(digest).status is Status.FINAL
    assert len(again.mempool) == 0
    again.close()
