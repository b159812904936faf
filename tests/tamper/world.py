"""What a campaign tampers with: homes and archives of one history across ends of epochs (`tests.unit.audit.epoch_history`).

homes      CN and US lived through it; `taken` is CN's, had it taken commits over on certificates (SPEC 11)
archives   of those three; `first`, `third` and `late`: older ones, of the first epoch, of the third and of the last
older      CN's home as it was in the third epoch
others     archives of another ledger of the same states and keys, and `strange`: its blocks; `namesakes`: genesis documents of
           other ledgers that bear this one's origin
"""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from consensus.codec import decode_commit_record, encode_commit_record
from consensus.types import Block
from node.audit.export import export_home
from node.ledger.epochs import Epoch, epoch_of_size
from node.ledger.genesis import Genesis
from node.ledger.records import decode_record
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.epoch_history import (
    FOUNDERS,
    POLICY,
    EpochWeave,
    live_epochs,
    weave_epochs,
    without_deciders,
)
from tests.unit.audit.history import MEMBERS, clone, database, live, weave
from tests.unit.ledger.founding import found

OLDER: Final = {"first": 0, "third": 2, "late": 3}  # older archives, and the epoch that each is of


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Never written to: a campaign clones what it tampers with."""

    weave: EpochWeave
    epochs: tuple[Epoch, ...]
    homes: dict[str, Path]
    archives: dict[str, Path]
    older: Path
    size: int  # of the archives
    leaves: tuple[bytes, ...]
    others: tuple[Path, ...] = ()
    strange: tuple[tuple[Block, ...], ...] = ()
    namesakes: tuple[bytes, ...] = ()

    @property
    def genesis(self) -> Genesis:
        return self.weave.founding.genesis

    def epoch_at(self, size: int) -> Epoch:
        """Whose members cosign a log of this size."""
        return epoch_of_size(self.epochs, size)

    def block_seed(self, block: Block) -> bytes:
        """Of the key that signed it."""
        member = self.epochs[block.header.epoch].members[block.ref.author]
        return self.weave.keys[member.block_key].block.seed


def with_others(world: World, folder: Path) -> World:
    """And another ledger: the same states, the same keys, another origin."""
    founding = found(MEMBERS, 2, origin="ledger.test/drill")
    made = weave(founding=founding)
    home = asyncio.run(live(made, folder / "other", "CN"))
    archive = folder / "archive-other"
    export_home(home, archive)
    alike = found(FOUNDERS, 2, law_version=2, policy={**POLICY, "withdrawal_s": 3}, second=2)
    return replace(
        world,
        others=(archive,),
        strange=(tuple(made.blocks),),
        namesakes=(alike.document, found(MEMBERS, 2).document),
    )


def make_world(folder: Path, *, long: bool = False) -> World:
    """`long`: of a history of full tiles, on two levels, and of two ranges of commits; else all fits into one of each."""
    made = weave_epochs(long=long)
    homes = {state: asyncio.run(live_epochs(made, folder / state, state)) for state in ("CN", "US")}
    certified = _certified(homes["CN"])
    homes["taken"] = _taken_over(made, clone(homes["CN"], folder / "taken"), certified)
    archives = {name: folder / f"archive-{name}" for name in (*OLDER, *homes)}
    exported = {name: export_home(homes[name], archives[name]) for name in homes}
    size = exported["CN"].size
    assert exported["CN"].manifest_digest == exported["taken"].manifest_digest
    with Store.open(database(homes["CN"]), read_only=True) as store:
        leaves = tuple(store.entries(0, size))
        sizes = store.cosigned_sizes(0, size, 1_000)
    epochs = tuple(made.epochs)
    for name, number in OLDER.items():
        within = [s for s in sizes[:-1] if epoch_of_size(epochs, s).number == number]
        if within:  # the short history has no certificate of its last epoch but the final one
            export_home(homes["CN"], archives[name], size=within[len(within) // 2])
        else:
            del archives[name]
    third = next(r.commit.index for r in made.records if r.commit.epoch == 2) + 1
    return World(
        weave=made,
        epochs=epochs,
        homes=homes,
        archives=archives,
        older=asyncio.run(live_epochs(made, folder / "older", "CN", commits=third)),
        size=size,
        leaves=leaves,
    )


def _certified(home: Path) -> int:
    """The last commit that the log has a record of: no certificate speaks of later ones (RULINGS R45)."""
    with Store.open(database(home), read_only=True) as store:
        tip = store.tip()
        assert tip is not None
        return int(decode_record(store.entries(tip.log_size - 1, 1)[0])["index"])


def _taken_over(made: EpochWeave, home: Path, certified: int) -> Path:
    """Commits in the middle of each epoch, and one epoch's last ones, came with certificates."""
    with Store.open(database(home)) as store:
        for record in made.records:
            index = record.commit.index
            if index > certified or (record.commit.epoch != 1 and index % 3):
                continue
            data = store.commit_record(index)
            assert data is not None
            bare = without_deciders(decode_commit_record(data))
            store.put_row("commits", keys.u64(index), encode_commit_record(bare))
    return home
