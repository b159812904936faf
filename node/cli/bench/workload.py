"""The workload: energy statements of 300 bytes, each author's in one chain, all signed before any clock starts.

A lane is one author who gives all its statements to one node. Statements differ in `wh`, `seq` and `prev`; the meter's name
is as long as it takes to make every entry exactly `size` bytes.
"""

import time
from dataclasses import dataclass, field
from typing import Final

from foedus.v1 import content_pb2 as pb
from node.signing.keys import AgencyKeys, Role, SigningKey
from node.signing.statements import FIRST_PREV, entry_hash, sign_endorsement, sign_entry

STATEMENT_BYTES: Final = 300
STATEMENT_BYTES_MIN: Final = 280
STATEMENT_BYTES_MAX: Final = 320  # as far as the meter's name, at most 64 characters, reaches
FACILITY: Final = "dc1"
SLOT_S: Final = 600
_METER_START: Final = 30  # characters; adjusted with the first statement


@dataclass(slots=True, kw_only=True)
class Lane:
    """One author's chain, and the node that it is given to."""

    author: str
    key: SigningKey
    node: str
    chain_id: bytes
    seq: int = 0
    prev: bytes = FIRST_PREV
    ready: list[bytes] = field(default_factory=list)  # signed and not yet given away, in order
    meter_chars: int = _METER_START

    @classmethod
    def of_seed(cls, author: str, seed: bytes, node: str, chain_id: bytes) -> "Lane":
        key = SigningKey.from_seed(Role.AUTHOR, seed)
        return cls(author=author, key=key, node=node, chain_id=chain_id)

    def declare(self, agency: AgencyKeys) -> bytes:
        """The facility that the statements speak of, countersigned by its state: small, so that no duty to report begins."""
        content = pb.Content(
            ver=1,
            ledger=self.chain_id,
            author=self.author,
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
            facility=pb.Facility(facility=FACILITY, capacity_mh=500, mem_gb=40),
        ).SerializeToString()
        endorsement = sign_endorsement(
            agency.author,
            endorser=agency.author_id,
            kind="facility",
            subject=FACILITY,
            content=content,
        )
        return self._chain(
            sign_entry(
                self.key,
                author=self.author,
                kind="facility",
                subject=FACILITY,
                content=content,
                seq=self.seq + 1,
                prev=self.prev,
                endorsements=(endorsement,),
            )
        )

    def sign_more(self, count: int, size: int) -> None:
        """Sign `count` further statements of `size` bytes each into `ready`."""
        end = int(time.time()) - SLOT_S
        self.ready += [self._statement(end, size) for _ in range(count)]

    def take(self, count: int) -> list[bytes]:
        """The next of `ready`, at most `count`."""
        taken = self.ready[:count]
        del self.ready[:count]
        return taken

    def _statement(self, end: int, size: int) -> bytes:
        while True:
            entry = self._signed(end)
            if len(entry) == size:
                return self._chain(entry)
            # The first one, or one whose seq or wh has become a byte longer. Its signature is thrown away.
            self.meter_chars += size - len(entry)
            assert 0 < self.meter_chars <= 64, f"no meter name makes {len(entry)} bytes {size}"

    def _signed(self, end: int) -> bytes:
        content = pb.Content(
            ver=1,
            ledger=self.chain_id,
            author=self.author,
            period=pb.Period(start=end - SLOT_S, end=end),
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
            energy=pb.Energy(
                facility=FACILITY,
                meter="m" * self.meter_chars,
                wh=1_000_000 + self.seq,
                peak_w=7_000_000,
                min_w=5_000_000,
                point=pb.METER_POINT_SITE,
            ),
        )
        return sign_entry(
            self.key,
            author=self.author,
            kind="energy",
            subject=FACILITY,
            content=content.SerializeToString(),
            seq=self.seq + 1,
            prev=self.prev,
        )

    def _chain(self, entry: bytes) -> bytes:
        self.seq += 1
        self.prev = entry_hash(entry)
        return entry
