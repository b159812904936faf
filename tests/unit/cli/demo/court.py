"""A ledger to judge what the cast says: real entries, the law itself, ledger time set by hand. No process, no network."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.cli.author import Signed
from node.cli.demo import cast as story
from node.cli.demo.cast import ACCUSED, PARTS, STATES, Cast
from node.cli.founding import Endpoints, Home, make_home
from node.ledger.batch import CommittedBatch
from node.ledger.ledger import Ledger
from node.ledger.records import decode_record, is_record
from node.signing.keystore import KdfCost
from node.storage.store import Store

CHEAP_KDF = KdfCost(ops=1, memory_bytes=8 * 1024 * 1024)
LAB = story.lab_of(ACCUSED)
CASE = f"C15:{ACCUSED}:lineage:{LAB}/part-1"


@dataclass(kw_only=True)
class Court:
    """One ledger and its clock, in seconds since the genesis."""

    ledger: Ledger
    cast: Cast
    store: Store
    second: int = 0

    async def take(self, *signed: Signed, after_s: int = 0) -> None:
        """One commit with these entries, so many seconds after the last."""
        self.second += after_s
        entries = tuple(one.entry for one in signed)
        await self.ledger.apply(
            CommittedBatch(
                index=self.ledger.last_commit + 1,
                time_ms=self.ledger.genesis.time_ms + 1000 * self.second,
                order_digest=hashlib.sha256(b"".join(entries)).digest(),
                entries=entries,
            ),
            b"",
        )

    def close(self) -> Path:
        """End the ledger; where its store is."""
        self.store.close()
        return self.store.path

    def code_of(self, signed: Signed) -> str:
        return self.ledger.status_of(signed.entry_hash).code

    def records(self, kind: str) -> list[dict[str, Any]]:
        leaves = self.ledger.entries(0, self.ledger.size)
        records = [decode_record(leaf) for leaf in leaves if is_record(leaf)]
        return [record for record in records if record["type"] == kind]

    def decision(self, motion: str) -> dict[str, Any]:
        (found,) = [one for one in self.records("decision") if one["motion"] == motion]
        return found

    def is_open(self, motion: str) -> bool:
        return motion in self.ledger.law.book.state.motions

    def case(self, name: str) -> Any:
        return self.ledger.law.book.state.cases[name]

    async def run_the_parts(self) -> None:
        """The accused state's lab has every part approved, as the Tier 1 runs that they are by themselves."""
        others = [state for state in STATES if state != ACCUSED]
        for part in PARTS:
            plan = self.cast.plan(ACCUSED, LAB, part)
            motion = self.cast.apply(ACCUSED, LAB, plan, ())
            await self.take(plan, motion)
            assert self.ledger.law.book.state.lives[f"{LAB}/{part.name}"].tier == 1
            await self.take(*(self.cast.vote(state, motion.name, "yes") for state in others))
            assert self.decision(motion.name)["outcome"] == "approved"
            start = self.cast.start(ACCUSED, LAB, part)
            await self.take(start, after_s=1)
            assert self.code_of(start) == ""


def cheap_home(folder: Path, state: str, port: int) -> Home:
    endpoints = Endpoints(
        peer=f"127.0.0.1:{port}", client=f"127.0.0.1:{port + 1}", http=f"127.0.0.1:{port + 2}"
    )
    return make_home(
        folder, state=state, endpoints=endpoints, passphrase=b"rehearsal", cost=CHEAP_KDF
    )
