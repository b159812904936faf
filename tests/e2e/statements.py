"""Statements of operators for end-to-end tests: an author's own chain, well-formed and in time."""

import time
from dataclasses import dataclass

from foedus.v1 import content_pb2 as pb
from node.signing.keys import AgencyKeys
from node.signing.statements import FIRST_PREV, entry_hash, sign_endorsement, sign_entry

SLOT_S = 600


@dataclass(kw_only=True)
class Outbox:
    """One author's chain. Every call signs the next entry."""

    keys: AgencyKeys
    ledger: bytes
    seq: int = 0
    prev: bytes = FIRST_PREV

    def facility(self, name: str, *, countersigned_by: AgencyKeys) -> bytes:
        content = pb.Content(
            ver=1,
            ledger=self.ledger,
            author=self.keys.author_id,
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
            facility=pb.Facility(facility=name, capacity_mh=500, mem_gb=40),
        ).SerializeToString()
        endorsement = sign_endorsement(
            countersigned_by.author,
            endorser=countersigned_by.author_id,
            kind="facility",
            subject=name,
            content=content,
        )
        return self.sign(content, "facility", name, endorsements=(endorsement,))

    def energy(self, wh: int, *, facility: str = "dc1") -> bytes:
        end = int(time.time()) - SLOT_S - self.seq
        content = pb.Content(
            ver=1,
            ledger=self.ledger,
            author=self.keys.author_id,
            period=pb.Period(start=end - SLOT_S, end=end),
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
            energy=pb.Energy(
                facility=facility,
                meter="m1",
                wh=wh,
                peak_w=10,
                min_w=1,
                point=pb.METER_POINT_SITE,
            ),
        )
        return self.sign(content.SerializeToString(), "energy", facility)

    def sign(
        self, content: bytes, kind: str, subject: str, *, endorsements: tuple[bytes, ...] = ()
    ) -> bytes:
        entry = sign_entry(
            self.keys.author,
            author=self.keys.author_id,
            kind=kind,
            subject=subject,
            content=content,
            seq=self.seq + 1,
            prev=self.prev,
            endorsements=endorsements,
        )
        self.seq += 1
        self.prev = entry_hash(entry)
        return entry
