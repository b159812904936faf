"""What may differ between the archives of two honest nodes, beside what the manifest covers (RULINGS R43, R56)."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.committee import quorum_of
from node.audit.archive import CHECKPOINT, POLICIES, SIGNATURES_MANIFEST, UNDECIDED
from node.ledger.policy_chain import BrokenChain, parse_links
from node.log.errors import MalformedInput
from node.log.note import parse_note
from node.log.proof import parse_proof
from tests.tamper.archives import starts_of
from tests.tamper.depths import Files
from tests.tamper.world import World


@dataclass(frozen=True, slots=True)
class Honesty:
    """Of archives beside this whole one, `whole`."""

    world: World
    whole: Files

    def of(self, held: Files) -> bool:
        """Whether an honest node may have what differs."""
        if set(held) != set(self.whole):
            return False
        changed = {n for n in held if held[n] != self.whole[n]} - {SIGNATURES_MANIFEST}
        deciders = any(name.endswith(".deciders") for name in changed)
        return all(self._may_have(name, held[name], deciders) for name in changed)

    def excused(self, held: Files) -> frozenset[str]:
        """Files that differ only as those of an honest node may, whatever else was touched."""
        return frozenset(
            name
            for name in (CHECKPOINT, POLICIES)
            if name in held
            and held[name] != self.whole[name]
            and self._may_have(name, held[name], deciders=False)
        )

    def _may_have(self, name: str, held: bytes, deciders: bool) -> bool:
        whole = self.whole[name]
        judges: dict[str, Callable[[bytes, bytes], bool]] = {
            CHECKPOINT: self._lacks_lines,
            POLICIES: self._lacks_links,
            UNDECIDED: lambda _, __: deciders,
        }
        if name in judges:
            return judges[name](held, whole)
        # As many commits; the audit has shown that what is named decides them, or that later ones do.
        return name.endswith(".deciders") and len(starts_of(held)) == len(starts_of(whole))

    def _lacks_lines(self, held: bytes, whole: bytes) -> bool:
        try:
            now, before = parse_note(held), parse_note(whole)
        except MalformedInput:
            return False
        kept = [line for line in before.lines if line in now.lines]
        size = int(before.text.split(b"\n")[1])
        epoch = self.world.epoch_at(size)
        cosigners = [f"{self.world.genesis.origin}/cosigner/{m.state}" for m in epoch.members]
        many = sum(line.name in cosigners for line in now.lines)
        return (
            now.text == before.text
            and list(now.lines) == kept
            and many >= quorum_of(len(epoch.members))
        )

    def _lacks_links(self, held: bytes, whole: bytes) -> bool:
        """The newest ones; or lines under one of them."""
        try:
            now, before = parse_links(held), parse_links(whole)
            for one, other in zip(now, before, strict=False):
                mine, theirs = parse_proof(one.proof), parse_proof(other.proof)
                if (mine.index, mine.hashes, mine.extra, one.policy) != (
                    *(theirs.index, theirs.hashes, theirs.extra),
                    other.policy,
                ) or not self._lacks_lines(mine.note, theirs.note):
                    return False
        except (BrokenChain, MalformedInput):
            return False
        return len(now) <= len(before)
