"""Questions as of a moment before an epoch whose members cosigned the proof: they are believed once the law has seated them."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import foedus_evidence
from consensus.committee import quorum_of
from node.audit.absence import Claim, check_absence, state_absence
from node.audit.audit import audit_sources
from node.audit.findings import Depth
from node.audit.source import CannotAudit
from node.audit.travel import travel
from node.ledger.cosigned import Cosigned, encode_cosigned
from node.ledger.questions.moment import THE_END, Moment
from node.ledger.records import decode_record, is_record
from node.ledger.terms import term_of
from node.log import merkle
from node.log.merkle import EMPTY_TREE
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.history import change, database, line_by
from tests.unit.audit.test_forgeries import changed
from tests.unit.ledger.founding import Author, Founding, found
from tests.unit.ledger.joining import accedes, declares, new_state, registers
from tests.unit.ledger.running import Running, start

NODE, AGENCY = new_state("DE")
DEADLINE_S = 30


def silent(_: str) -> None:
    pass


def lines_of(running: Running, size: int, root: bytes) -> list[Cosigned]:
    """Of all but our own member, in the epoch of this size."""
    founding = running.founding
    by_state = {node.state: node for node in (*founding.nodes, NODE)}
    members = term_of(running.ledger.epochs, size).members
    return [
        line_by(by_state[member.state].cosigner, index, founding.genesis.origin, size, root)
        for index, member in enumerate(members)
    ]


async def cosign(running: Running, size: int) -> None:
    """Till the certificate is durable."""
    for line in lines_of(running, size, running.ledger.root_at(size)):
        epoch = term_of(running.ledger.epochs, size).number
        running.finality.add(line, epoch)
    deadline = time.monotonic() + DEADLINE_S
    while not running.finality.is_certified(size):
        assert time.monotonic() < deadline, f"size {size} has no certificate"
        await asyncio.sleep(0.001)


@dataclass
class Copy:
    """A node's home: DE joins with the second epoch. `before`: entries of the first; `moment`: one of its early indexes."""

    founding: Founding
    home: Path
    moment: int
    before: int
    size: int
    forged: list[Cosigned]  # lines of the last size's members over another log, see `forge`
    other: dict[int, bytes]

    @property
    def data(self) -> Path:
        return self.home / "data"


async def lived(home: Path, *, ends: bool) -> Copy:
    """`ends`: the old members' checkpoint of their last size is held."""
    founding = found(5, 1, law_version=2, policy={"epoch_min_s": 1})
    running = await start(founding, home / "data")
    cosigning = asyncio.create_task(running.finality.run())
    joining = Author(AGENCY, founding.chain_id)
    try:
        await running.commit(registers(founding.state_author(0), AGENCY, founding.agencies[:2]))
        moment = running.ledger.size - 1
        await running.commit(accedes(joining, founding.agencies[1:3]), declares(joining, NODE))
        await running.commit(after_ms=2_000)
        await running.commit(ends_epoch=True)
        before = running.ledger.size
        if ends:
            await cosign(running, before)
        author = founding.author(0)
        for number in range(3):
            await running.commit(author.energy(number), after_ms=70_000)
        size = running.ledger.size
        await cosign(running, size)
        held = running.ledger.entries(0, size)
        # The record of the last commit but one.
        record = max(
            index
            for index, leaf in enumerate(held[:-1])
            if is_record(leaf) and decode_record(leaf)["type"] == "commit"
        )
        other = {record: changed(held[record], state_digest=bytes(32))}
        held[record] = other[record]
        grown = merkle.append(EMPTY_TREE, merkle.leaf_hashes(held))
        forged = lines_of(running, size, grown.tree.root())
    finally:
        cosigning.cancel()
        await asyncio.gather(cosigning, return_exceptions=True)
        running.close()
    return Copy(founding, home, moment, before, size, forged, other)


@pytest.fixture(params=[True, False], ids=["handed over", "not handed over"])
async def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    return await lived(tmp_path / "home", ends=request.param)


def handed_over(made: Copy) -> bool:
    """Our own line alone, kept or not as the epoch's end was known when it was signed, hands nothing over."""
    quorum = quorum_of(len(made.founding.genesis.members))
    with Store.open(database(made.home), read_only=True) as store:
        return len(store.cosignatures(made.before)) >= quorum


async def test_a_moment_before_its_cosigners_were_seated(copy: Copy) -> None:
    with travel(copy.data, copy.founding.document, Moment(index=copy.moment), silent) as there:
        stand = there.stand
        assert stand.size == copy.moment + 1 < copy.before
        if handed_over(copy):
            assert (stand.checkpoint_size, stand.epoch) == (copy.before, 0)
            assert "DE" not in stand.cosigned_by
        else:
            assert (stand.checkpoint_size, stand.epoch) == (copy.size, 1)
            assert "DE" in stand.cosigned_by
        assert any("run on" in what for what in stand.checked) is (stand.epoch == 1)
    with travel(copy.data, copy.founding.document, THE_END, silent) as there:
        assert there.stand.epoch == 1
        assert not any("run on" in what for what in there.stand.checked)


async def test_whom_the_law_did_not_seat_is_not_believed(tmp_path: Path) -> None:
    """The later members cosign a log whose later commits the law does not give: the moment before proves nothing by them."""
    made = await lived(tmp_path / "home", ends=False)
    with Store.open(database(made.home), read_only=True) as store:
        held = store.entries(0, made.size)
        old = [key for key, _ in store.rows("cosignatures")]
    rows: list[tuple[str, bytes, bytes | None]] = [("cosignatures", key, None) for key in old]
    for index, leaf in made.other.items():
        assert index > made.before
        held[index] = leaf
        rows.append(("log", keys.u64(index), leaf))
    for run in merkle.append(EMPTY_TREE, merkle.leaf_hashes(held)).runs:
        for index, digest in enumerate(run.hashes, start=run.first):
            rows.append(("hashes", keys.node_hash(run.level, index), digest))
    rows += [
        ("cosignatures", keys.cosignature(line.size, line.member), encode_cosigned(line))
        for line in made.forged
    ]
    change(made.home, rows)
    (made.home / "data" / "cosign").unlink()
    with (
        pytest.raises(CannotAudit, match=r": after entry \d+: "),
        travel(made.data, made.founding.document, Moment(index=made.moment), silent),
    ):
        pass


async def test_the_report_says_what_a_missing_handover_rests_on(copy: Copy) -> None:
    """Without the old members' last checkpoint their signed blocks alone show it; only an audit of the order looks at them."""
    for depth in (Depth.CERTIFICATES, Depth.ORDER):
        report = audit_sources([str(copy.data)], depth=depth)
        checked = report.sources[0].checked[Depth.CERTIFICATES]
        assert ("handed over to the next ones" in checked.how_far) is not handed_over(copy)
        if depth is Depth.CERTIFICATES:
            assert checked.done is handed_over(copy), checked.how_far


async def test_a_statement_of_absence_by_later_members(copy: Copy) -> None:
    """It carries the links that the copy can prove, and is judged by them."""
    began = copy.founding.genesis.time_ms // 1000
    claim = Claim(who="US", kind="", about="", start_s=began, end_s=began + 5, by_s=began + 5)
    made = state_absence(copy.data, copy.founding.document, claim, THE_END, silent)
    assert check_absence(copy.data, copy.founding.document, made, silent) == []
    assert len(made["policies"]) == handed_over(copy)
    data = json.dumps(made).encode()
    shown = foedus_evidence.evidence(data, copy.founding.chain_id, None)
    # Without a link DE is nobody that is known; the founders are a quorum among the signers all the same.
    assert ("DE" in shown["signed_by"]) is handed_over(copy)
