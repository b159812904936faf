"""The villain leaves out what it says it leaves out, and nothing else."""

from pathlib import Path

import pytest

from node.cli.author import Author
from node.cli.demo.cast import ACCUSED
from node.cli.demo.censoring_node import CensoringMempool, is_unwelcome
from node.ledger.mempool import Mempool
from node.signing.keys import generate_agency_keys
from node.storage.store import Store

CASE = "BREACH:C15:US:lineage:us-lab/part-1"


def author(name: str) -> Author:
    return Author(generate_agency_keys(name), ledger=bytes(32))


@pytest.mark.parametrize(
    ("who", "motion", "unwelcome"),
    [
        ("GB", CASE, True),
        ("US", CASE, False),  # its own vote
        ("GB", "BREACH:C15:CN:lineage:cn-lab/us", False),  # another's case
        ("GB", "ab" * 32, False),  # a motion that somebody filed
        ("GB", "BREACH", False),
    ],
)
def test_votes_of_others_in_its_own_case(who: str, motion: str, unwelcome: bool) -> None:
    assert is_unwelcome(author(who).vote(motion, "no").entry, ACCUSED) is unwelcome


def test_other_statements_and_nonsense_pass() -> None:
    note = author("GB").say("note", {"type": "evidence", "hash": bytes(32)})
    assert not is_unwelcome(note.entry, ACCUSED)
    assert not is_unwelcome(b"\xd2nonsense", ACCUSED)


def test_what_it_leaves_out_looks_proposed_and_never_comes_again(tmp_path: Path) -> None:
    with Store.open(tmp_path / "db") as store:
        mempool = Mempool(store, lambda _: (1, bytes(32)))
        censor = CensoringMempool(mempool, ACCUSED)
        vote = author("GB").vote(CASE, "no")
        note = author("CN").say("note", {"type": "evidence", "hash": bytes(32)})
        for signed in (vote, note):
            mempool.add(
                signed.entry_hash, signed.entry, signed.author, signed.seq, bytes(32), 1_000
            )
        assert (len(censor), censor.pending()) == (2, 2)
        assert censor.take(1 << 20, 10) == (note.entry,)
        assert censor.take(1 << 20, 10) == ()
        assert censor.pending() == 0
        assert mempool.find(vote.entry_hash) is not None
