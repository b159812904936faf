"""An author with its outbox: it signs one entry after the other, hands each to a node, and remembers who acknowledged what.

As `foedus submit` does, it goes to another node when one gives no answer in time. What an honest node has acknowledged it never
hands in again: from then on the entry is that node's to keep.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from node.ledger.admission import Acknowledged, Admission
from node.ledger.errors import Overloaded, Refused
from node.storage.errors import StorageError
from tests.simulation.driver.checkers import sha256
from tests.simulation.driver.loop import World
from tests.simulation.driver.machine import Life, Machine
from tests.simulation.driver.regime import Client
from tests.unit.ledger.founding import Founding

UNANSWERED_MAX: Final = 12  # entries signed ahead of their acknowledgements
PATIENCE_US: Final = 3_000_000


@dataclass(slots=True)
class Signed:
    raw: bytes
    entry_hash: bytes
    acknowledged: bool = False


@dataclass(slots=True)
class Outbox:
    """One author's chain, and where it is handed in now."""

    home: int
    first_ms: int
    every_ms: int
    write: Callable[[int], bytes]  # the author's entry of this number, signed
    entries_max: int
    world: World
    machines: dict[int, Machine]  # whom it may go to
    honest: frozenset[int]
    acknowledged: Callable[[int, bytes], None]  # an honest seat, and the entry's hash
    refused: Callable[[int, Refused], None]  # a good entry, for another reason than those
    patient: frozenset[str] = frozenset({"SEQ_GAP"})  # refusals that pass by themselves
    signed: list[Signed] = field(default_factory=list)
    target: int = field(init=False)
    open: bool = True  # it goes on signing
    _progress_us: int = 0
    _busy: Life | None = None

    def __post_init__(self) -> None:
        self.target = self.home

    def begin(self) -> None:
        self.world.call_in(self.first_ms * 1_000, self._turn)

    def sign(self) -> None:
        """The next entry, if there is one."""
        if len(self.signed) < self.entries_max:
            raw = self.write(len(self.signed))
            self.signed.append(Signed(raw, sha256(raw)))

    def waiting(self) -> list[Signed]:
        return [each for each in self.signed if not each.acknowledged]

    def _turn(self) -> None:
        waiting = self.waiting()
        if self.open and len(waiting) < UNANSWERED_MAX:
            self.sign()
        if waiting and self.world.now_us - self._progress_us > PATIENCE_US:
            self._elsewhere()
        self._hand_in()
        self.world.call_in(self.every_ms * 1_000, self._turn)

    def _elsewhere(self) -> None:
        seats = sorted(self.machines)
        self.target = seats[(seats.index(self.target) + 1) % len(seats)]
        self._progress_us = self.world.now_us
        self._busy = None

    def _hand_in(self) -> None:
        machine = self.machines[self.target]
        life = machine.life
        if life is None or not machine.up or not life.ready or self._busy is life:
            return
        if life.admission is not None and self.waiting():
            admission = life.admission
            self._busy = life
            life.loop.enter(lambda: life.loop.create_task(self._submit(machine, life, admission)))

    async def _submit(self, machine: Machine, life: Life, admission: Admission) -> None:
        try:
            for each in self.waiting():
                answer = await admission.submit(each.raw)
                if isinstance(answer, Acknowledged) and machine.seat in self.honest:
                    self.acknowledged(machine.seat, each.entry_hash)
                    each.acknowledged = True
                    self._progress_us = self.world.now_us
        except Overloaded:
            return
        except Refused as err:
            # A gap is refused where the entries before it are not known yet; nothing else is wrong with any of these.
            if err.code not in self.patient:
                self.refused(machine.seat, err)
        except StorageError:
            machine.stop()  # as the client server ends a node that cannot trust its disk
        finally:
            if self._busy is life:
                self._busy = None


def operator(plan: Client, founding: Founding) -> Callable[[int], bytes]:
    """What an operator files: a facility first, then its energy."""
    author, facility = founding.author(plan.author), f"dc{plan.author}"

    def write(number: int) -> bytes:
        if number == 0:
            return author.facility(facility, founding.agencies[plan.author])
        content = author.energy_content(number, facility=facility)
        return author.sign(content, subject=facility)

    return write
