"""Two roots for one size (RULINGS R39): evidence against a member, or against us, and when this node stops for it.

A good line with another root at a size that we hold is kept and the alarm is raised. One liar must not stop everybody (that would
be a veto), so the node stops cosigning and serving as final once more than f members of one epoch contradict it, for then one of
them is honest; or when its own log contradicts what it signed itself, or what a quorum certified.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.ledger.cosigned import (
    COSIGNED_BYTES,
    SECOND_BYTES,
    Cosigned,
    encode_cosigned,
    parse_line,
)
from node.ledger.terms import Terms
from node.storage.sign_state import CosignSigned
from node.storage.store import Store

META_CONFLICT: Final = b"conflict"
META_SECOND_CONFLICT: Final = b"conflict/second"  # by ML-DSA lines


@dataclass(frozen=True, slots=True, kw_only=True)
class RootConflict:
    """Evidence of two roots for one size: a member's signed line, and the root that this node holds."""

    line: Cosigned
    own_root: bytes


class Conflicts:
    """One piece of evidence for each member of each epoch, kept in the store; against ourselves, a sentence."""

    def __init__(self, store: Store, terms: Terms, root_at: Callable[[int], bytes]) -> None:
        self._store = store
        self._terms = terms
        self._root_at = root_at
        self._held: dict[tuple[int, int], RootConflict] = {}  # by epoch and member, the first one
        self._own: str | None = None

    @property
    def held(self) -> tuple[RootConflict, ...]:
        return tuple(self._held[who] for who in sorted(self._held))

    @property
    def alarm(self) -> str | None:
        """Why an operator must look, or None."""
        if self._own is not None:
            return self._own
        if not self._held:
            return None
        states = dict.fromkeys(self._terms.member(conflict.line).state for conflict in self.held)
        who = ", ".join(states)
        return (
            f"another root than ours was cosigned by {who}: run `foedus audit` against their nodes"
        )

    @property
    def stopped(self) -> bool:
        """True while this node neither cosigns nor serves anything as final.

        Members are counted epoch by epoch: a liar who stays through two epochs is one in each, and more than f of one epoch
        are needed for one of them to be honest.
        """
        contradicting = Counter(epoch for epoch, _ in self._held)
        return self._own is not None or any(
            count > self._terms.faults_in(epoch) for epoch, count in contradicting.items()
        )

    def restore(self, log_size: int) -> None:
        """What was kept, as far as our log still says otherwise."""
        evidence = self._store.meta(META_CONFLICT) or b""
        rows = [
            evidence[at : at + COSIGNED_BYTES] for at in range(0, len(evidence), COSIGNED_BYTES)
        ]
        evidence = self._store.meta(META_SECOND_CONFLICT) or b""
        rows += [evidence[at : at + SECOND_BYTES] for at in range(0, len(evidence), SECOND_BYTES)]
        for line in map(parse_line, rows):
            if line.size <= log_size and self._root_at(line.size) != line.root:
                self._keep(line)

    def add(self, line: Cosigned, signed: CosignSigned | None) -> None:
        """A good line, of either kind, with another root than our log has at its size. `signed`: what we cosigned last."""
        if self._terms.is_ours(line) and signed is not None:
            self.accuse_self(signed)
        elif self._keep(line):
            found = [held.line for held in self.held]
            for name, second in ((META_CONFLICT, False), (META_SECOND_CONFLICT, True)):
                rows = [encode_cosigned(held) for held in found if held.is_second is second]
                if rows:
                    self._store.put_meta(name, b"".join(rows))

    def _keep(self, line: Cosigned) -> bool:
        who = (self._terms.of(line.size).number, line.member)
        if who in self._held:
            return False
        self._held[who] = RootConflict(line=line, own_root=self._root_at(line.size))
        return True

    def accuse_self(self, signed: CosignSigned) -> None:
        """Our log contradicts what we signed."""
        self._own = (
            f"this node cosigned root {signed.root.hex()} at size {signed.size}, and its log has another:"
            " run `foedus audit` on this home, then rebuild its store from peers"
        )

    def certified_otherwise(self, why: str) -> None:
        """A quorum certified something else than our log holds."""
        self._own = self._own or why
