"""Who cosigns which sizes of the log: epoch by epoch, and with which of our keys we do (SPEC 14; RULINGS R38, R44)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from consensus.committee import quorum_of
from node.ledger.cosigned import Cosigned
from node.ledger.genesis import GenesisMember
from node.log.checkpoint import Checkpoint
from node.log.cosignature import Cosignature
from node.signing.checkpoints import verify_cosignature
from node.signing.keys import Role, SigningKey


class Term(Protocol):
    """Who cosigns which sizes: an epoch of the ledger (`epochs.Epoch`)."""

    @property
    def number(self) -> int: ...

    @property
    def members(self) -> tuple[GenesisMember, ...]:
        """In validator order."""
        ...

    @property
    def after_size(self) -> int:
        """Entries of the log before this epoch: its members cosign larger sizes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingTerm:
    """The founders, for ever."""

    members: tuple[GenesisMember, ...]
    number: int = 0
    after_size: int = 0


def term_of(terms: Sequence[Term], size: int) -> Term:
    """The epoch whose members cosign this size."""
    return next((term for term in reversed(terms) if size > term.after_size), terms[0])


class Terms:
    """All epochs so far, and our seats in them. `state` None: we have none."""

    def __init__(
        self,
        epochs: Callable[[], Sequence[Term]],
        state: str | None,
        keys: Sequence[SigningKey],
    ) -> None:
        """`keys`: cosigner and log keys of all our seats."""
        self.epochs = epochs
        self.state = state
        self._keys = tuple(keys)

    @property
    def newest(self) -> Term:
        return self.epochs()[-1]

    def of(self, size: int) -> Term:
        """The epoch whose members cosign this size."""
        return term_of(self.epochs(), size)

    def last_size(self, epoch: int, log_size: int) -> int:
        """The largest size so far that this epoch's members cosign; 0: none yet."""
        epochs = self.epochs()
        if epoch + 1 < len(epochs):
            return epochs[epoch + 1].after_size
        return log_size if log_size > epochs[epoch].after_size else 0

    def is_last(self, size: int) -> bool:
        """Whether an epoch ended with this size: its certificate is kept for ever (R43)."""
        return any(term.after_size == size for term in self.epochs()[1:])

    def member(self, line: Cosigned) -> GenesisMember:
        return self.of(line.size).members[line.member]

    def is_ours(self, line: Cosigned) -> bool:
        return self.member(line).state == self.state

    def is_good(self, line: Cosigned, origin: str) -> bool:
        """Whether this member's Ed25519 cosigner key signed this line of the log called `origin`."""
        member = self.member(line)
        checkpoint = Checkpoint(origin=origin, size=line.size, root=line.root)
        cosignature = Cosignature(timestamp=line.timestamp, signature=line.signature)
        made = verify_cosignature(member.state, member.cosigner_key, checkpoint, cosignature)
        return made is not None

    def quorum_at(self, size: int) -> int:
        return quorum_of(len(self.of(size).members))

    def faults_in(self, epoch: int) -> int:
        """How many members of this epoch may lie (SPEC 1)."""
        return (len(self.epochs()[epoch].members) - 1) // 3

    def own_index(self, size: int) -> int | None:
        members = self.of(size).members
        return next((at for at, m in enumerate(members) if m.state == self.state), None)

    def cosigner(self, size: int) -> tuple[int, SigningKey] | None:
        """Our index in this size's epoch and the key of our seat; None: we have none."""
        own = self.own_index(size)
        if own is None:
            return None
        key = self._key(Role.COSIGNER, self.of(size).members[own].cosigner_key)
        return None if key is None else (own, key)

    def log_signer(self, size: int) -> tuple[int, SigningKey] | None:
        """The same for the log key."""
        own = self.own_index(size)
        if own is None:
            return None
        key = self._key(Role.LOG, self.of(size).members[own].log_key)
        return None if key is None else (own, key)

    def _key(self, role: Role, public: bytes) -> SigningKey | None:
        return next((k for k in self._keys if k.role is role and k.public == public), None)
