"""What a campaign tampers with: homes and archives of one history across ends of epochs (`tests.unit.audit.epoch_history`).

homes      CN and US lived through it; `taken` is CN's, had it taken commits over on certificates (SPEC 11)
archives   of those three; `first` and `third`: older ones, of the first epoch and of the third
older      CN's home as it was in the third epoch
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from consensus.codec import decode_commit_record, encode_commit_record
from node.audit.export import export_home
from node.ledger.epochs import Epoch, epoch_of_size
from node.ledger.genesis import Genesis
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.epoch_history import (
    EpochWeave,
    live_epochs,
    weave_epochs,
    without_deciders,
)
from tests.unit.audit.history import clone, database


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

    @property
    def genesis(self) -> Genesis:
        return self.weave.founding.genesis

    def epoch_at(self, size: int) -> Epoch:
        """Whose members cosign a log of this size."""
        return epoch_of_size(self.epochs, size)


def make_world(folder: Path) -> World:
    made = weave_epochs()
    homes = {state: asyncio.run(live_epochs(made, folder / state, state)) for state in ("CN", "US")}
    homes["taken"] = _taken_over(made, clone(homes["CN"], folder / "taken"))
    archives = {name: folder / f"archive-{name}" for name in ("first", "third", *homes)}
    exported = {name: export_home(homes[name], archives[name]) for name in homes}
    size = exported["CN"].size
    assert exported["CN"].manifest_digest == exported["taken"].manifest_digest
    with Store.open(database(homes["CN"]), read_only=True) as store:
        leaves = tuple(store.entries(0, size))
        sizes = store.cosigned_sizes(0, size, 1_000)
    epochs = tuple(made.epochs)
    for name, number in (("first", 0), ("third", 2)):
        within = [s for s in sizes if epoch_of_size(epochs, s).number == number]
        export_home(homes["CN"], archives[name], size=within[len(within) // 2])
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


def _taken_over(made: EpochWeave, home: Path) -> Path:
    """Commits in the middle of each epoch, and one epoch's last ones, came with certificates."""
    with Store.open(database(home)) as store:
        for record in made.records:
            index = record.commit.index
            if record.commit.epoch != 1 and index % 3:
                continue
            data = store.commit_record(index)
            assert data is not None
            bare = without_deciders(decode_commit_record(data))
            store.put_row("commits", keys.u64(index), encode_commit_record(bare))
    return home
