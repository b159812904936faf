"""What one step of the core leads to, in the order in which the driver must do it (`types`, what the driver owes)."""

from consensus.events import Alarm, Effect, Fault, Reject, StoreBlocks
from consensus.types import ValidatorIndex


class Effects:
    """Filled by the rooms of the core during a step, taken at its end: empty between two steps."""

    def __init__(self) -> None:
        self._in_order: list[Effect] = []

    def add(self, *effects: Effect) -> None:
        self._in_order += effects

    def first(self, stored: StoreBlocks) -> None:
        """Before everything else that this step does: a commit may bring these blocks, an own block refer to them."""
        self._in_order.insert(0, stored)

    def reject(self, peer: ValidatorIndex, fault: Fault, detail: str) -> None:
        self.add(Reject(peer=peer, fault=fault, detail=detail))

    def alarm(self, alarm: Alarm | None) -> None:
        """None: there was nothing to be alarmed about."""
        if alarm is not None:
            self.add(alarm)

    def take(self) -> list[Effect]:
        taken, self._in_order = self._in_order, []
        return taken
