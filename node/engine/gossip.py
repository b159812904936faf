"""Cosignatures between this node and its peers (RULINGS R36).

out   each own line once it is durable; again each second until its size or a larger is final; to a new reader at once,
      with the lines of the newest final checkpoint, so that who was away sees at once what is final
in    from streams; and pulled: when nothing became final for a second, all lines that some peer holds for the size we lack; so
      too those of the last size of an epoch that is over, if we were not there when its members cosigned it (R43, R44)
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from node.ledger.cosigned import Added, Cosigned, encode_cosigned, parse_line
from node.ledger.errors import MalformedRecord
from node.ledger.finality import Finality
from node.network import wire
from node.network.hosting import Rejected
from node.network.link import Unanswered
from node.network.network import Network
from node.telemetry import event

EVERY_S: Final = 1.0
BAD_LINE_POINTS: Final = 20.0
_log = logging.getLogger("foedus.engine")


class Gossip:
    """One per epoch: its members cosign its sizes, and speak of no others."""

    def __init__(self, finality: Finality, network: Network, epoch: int = 0) -> None:
        self._finality = finality
        self._epoch = epoch
        self._network = network
        self._newest: dict[
            int, int
        ] = {}  # member -> the largest size it has cosigned, of good lines
        self._turn = 0

    def send(self, line: Cosigned) -> None:
        """An own line, to every reader."""
        self._network.broadcast(wire.cosigned_frame((encode_cosigned(line),)))

    def greeting(self) -> bytes | None:
        """What a new reader is sent: the own newest line and those of the newest final checkpoint."""
        lines = self._finality.greeting(self._epoch)
        return wire.cosigned_frame(map(encode_cosigned, lines)) if lines else None

    def lines(self, size: int) -> Sequence[bytes]:
        """What we hold for this size, for a peer that pulls."""
        held = (*self._finality.lines(size), *self._finality.second_lines(size))
        return list(map(encode_cosigned, held))

    def newest_of(self, member: int) -> int:
        """The largest size that this member is known to have cosigned; 0 if none."""
        return self._newest.get(member, 0)

    def take(self, lines: Sequence[bytes], epoch: int | None = None) -> None:
        """Lines from a peer, of this epoch or the one given. Raises Rejected if one is none, or not signed by who it names."""
        for data in lines:
            try:
                line = parse_line(data)
            except MalformedRecord as err:
                raise Rejected(str(err), BAD_LINE_POINTS) from None
            added = self._finality.add(line, self._epoch if epoch is None else epoch)
            if added is Added.REFUSED:
                why = f"cosigned line of member {line.member}, size {line.size}: not that member's"
                raise Rejected(why, BAD_LINE_POINTS)
            if added is Added.CONFLICT:
                event(
                    _log,
                    "two roots for one size",
                    level=logging.ERROR,
                    member=line.member,
                    size=line.size,
                    root=line.root,
                )
            elif added is not Added.KNOWN and epoch is None:
                self._newest[line.member] = max(self.newest_of(line.member), line.size)

    async def run(self) -> None:
        """Until cancelled."""
        before, end_before = self._finality.final_size, self._finality.uncertified_end()
        while True:
            await asyncio.sleep(EVERY_S)
            for line in self._finality.to_resend(self._epoch):
                self.send(line)
            lacking = self._finality.unfinal_size(self._epoch)
            final = self._finality.final_size
            if lacking is not None and final == before:
                await self._pull(lacking)
            elif (second := self._finality.second_to_pull(self._epoch)) is not None:
                await self._pull(second)
            before = final
            end = self._finality.uncertified_end()
            if end is not None and end == end_before and end[0] < self._epoch:
                await self._pull(end[1], end[0])
            end_before = end

    async def _pull(self, size: int, epoch: int | None = None) -> None:
        """Ask the next connected peer in turn."""
        asked = [member for member in self._network.members() if self._network.is_connected(member)]
        if not asked:
            return
        self._turn += 1
        member = asked[self._turn % len(asked)]
        try:
            self.take(await self._network.cosignatures(member, size), epoch)
        except Unanswered as err:
            event(_log, "no cosignatures", level=logging.DEBUG, member=member, why=str(err))
        except Rejected as err:
            self._network.charge(member, str(err), err.points)
