"""Watching for a split view: whether all nodes show one log, and one that only grows (FORMATS 1.6 and 8).

One look takes the full checkpoint of every node at once, judges each by the trust policy of the genesis, and asks of the node
with the largest log for proof that every other checkpoint, and the newest one seen before, is of that log; if that node keeps its
hashes back, of the next largest. Where the proof leads elsewhere, two logs exist; the notes and the proof are the evidence
(`two_roots`).

Outside witnesses, if any are named, are asked for what they cosigned of this log (`outside`), and that is compared likewise.

What cannot be had is told and proves nothing: a node or witness that is silent, old, or shows less than was seen before. Nobody
is accused by words or tiles, only by cosignatures.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any, Final

from node.audit.outside import LAG_S, OutsideWitness, Witnessed, as_told_by, ask_witness
from node.audit.policies import EPOCHS_SINCE_LAW
from node.audit.source import CannotAudit, Lost
from node.audit.two_roots import TwoRoots, prefix_of, two_roots
from node.audit.web import WebSource
from node.ledger.genesis import Genesis
from node.ledger.policy_chain import Link, Policies
from node.ledger.trust import trust_policy
from node.log.checkpoint import Checkpoint
from node.log.cosignature import median_timestamp
from node.log.errors import MalformedInput
from node.log.policy import Evaluation, evaluate
from node.signing.verify import mldsa_check, verify_ed25519

LOOKING_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one node showed. `checkpoint` None: none of this ledger. Not `believed`: the policy does not call it final."""

    url: str
    state: str | None = None
    checkpoint: Checkpoint | None = None
    believed: bool = False
    note: bytes = b""
    signed_at_s: int | None = None  # median of the cosigners' clocks
    trouble: str = ""
    witness: OutsideWitness | None = None  # no node: what this one cosigned
    witnessed: Witnessed | None = None

    def as_json(self) -> dict[str, Any]:
        checkpoint = self.checkpoint
        return {
            "url": self.url,
            "state": self.state,
            "size": None if checkpoint is None else checkpoint.size,
            "root": None if checkpoint is None else checkpoint.root.hex(),
            "final": self.believed,
            "signed_at_s": self.signed_at_s,
            "trouble": self.trouble,
        }

    def as_witness_json(self) -> dict[str, Any]:
        """Of an outside witness."""
        assert self.witness is not None, "a node"
        return {
            "witness": self.witness.vkey.name,
            **{n: v for n, v in self.as_json().items() if n not in ("state", "final")},
            "log_keys_of": [] if self.witnessed is None else list(self.witnessed.log_keys_of),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All nodes at one time."""

    at_s: int
    seen: tuple[Seen, ...]  # in the order of the URLs
    size: int  # of the largest log believed, now or before
    split: tuple[TwoRoots, ...]
    outside: tuple[Seen, ...] = ()  # the witnesses, in the order in which they were named

    @property
    def believed(self) -> int:
        """How many nodes showed a checkpoint that the policy believes."""
        return sum(one.believed for one in self.seen)

    def as_json(self) -> dict[str, Any]:
        return {
            "at_s": self.at_s,
            "size": self.size,
            "believed": self.believed,
            "nodes": [one.as_json() for one in self.seen],
            "witnesses": [one.as_witness_json() for one in self.outside],
            "split": [str(found) for found in self.split],
            "accused": sorted({state for found in self.split for state in found.accused}),
        }


class Monitor:
    """Looks at the same nodes again and again; `newest` is what it holds them to."""

    def __init__(
        self,
        urls: Sequence[str],
        genesis: Genesis,
        document: bytes,
        *,
        clock_s: Callable[[], int],
        stale_s: int,
        newest: bytes | None = None,
        witnesses: Sequence[OutsideWitness] = (),
    ) -> None:
        """`urls`: none: those of all members, as the newest policy that the genesis leads to lists them.

        `newest`: the note kept from an earlier run. Raises CannotAudit if it is none of this ledger.
        """
        self._urls = list(urls)
        self._genesis = genesis
        self._document = document
        self._policies = Policies.founding(trust_policy(genesis))
        self._links: list[Link] = []
        self._clock_s = clock_s
        self._stale_s = stale_s
        self._witnesses = tuple(witnesses)
        self.newest = newest
        self._held: Checkpoint | None = None
        if newest is not None:
            self._held = _evaluated(self._policies, newest, genesis.origin).checkpoint
            if genesis.law_version < EPOCHS_SINCE_LAW:
                self._trust_what_is_held()

    def look(self) -> Look:
        """One look at every node. Raises CannotAudit: what an earlier run left is not final by any policy that is shown."""
        opened: list[tuple[Seen, WebSource | None]] = []
        try:
            while wanted := [u for u in self._targets() if u not in {s.url for s, _ in opened}]:
                with ThreadPoolExecutor(min(LOOKING_AT_ONCE, len(wanted))) as pool:
                    opened += pool.map(self._open, wanted)
                for _, source in opened:
                    if source is not None and len(source.links) > len(self._links):
                        self._links, self._policies = source.links, source.policies
            now = set(self._targets())  # who left is asked no more
            shown = [seen for seen, _ in opened if seen.url in now]
            sources = {s.url: source for s, source in opened if source is not None and s.url in now}
            if sources:
                self._trust_what_is_held()
            return self._compare(shown, sources, self._ask_outside())
        finally:
            for _, source in opened:
                if source is not None:
                    source.close()

    def _targets(self) -> list[str]:
        newest = self._policies.held[-1][1]
        return self._urls or [log.url for log in newest.logs if log.url]

    def _trust_what_is_held(self) -> None:
        if self.newest is not None:
            found = _evaluated(self._policies, self.newest, self._genesis.origin)
            if not found.satisfied:
                raise CannotAudit(f"the checkpoint remembered is not final: {found.why}")

    def _open(self, url: str) -> tuple[Seen, WebSource | None]:
        try:
            source = WebSource.open(url, self._genesis, self._document)
        except CannotAudit as err:
            return Seen(url=url, trouble=str(err)), None
        seen = Seen(url=url, state=source.state, note=source.note)
        try:
            found = _evaluated(source.policies, source.note, self._genesis.origin)
        except CannotAudit as err:
            return replace(seen, trouble=str(err)), source
        # Even a checkpoint that is not final binds who signed it.
        seen = replace(seen, checkpoint=found.checkpoint, believed=found.satisfied)
        if not found.satisfied:
            return replace(seen, trouble=f"its checkpoint is not final: {found.why}"), source
        return replace(seen, signed_at_s=median_timestamp(found.timestamps)), source

    def _ask_outside(self) -> list[Seen]:
        if not self._witnesses:
            return []
        with ThreadPoolExecutor(min(LOOKING_AT_ONCE, len(self._witnesses))) as pool:
            return list(pool.map(self._ask, self._witnesses))

    def _ask(self, witness: OutsideWitness) -> Seen:
        seen = Seen(url=witness.url, witness=witness)
        try:
            found = ask_witness(witness, self._genesis.origin, self._policies)
        except CannotAudit as err:
            return replace(seen, trouble=str(err))
        return replace(
            seen,
            checkpoint=found.checkpoint,
            note=found.note,
            signed_at_s=found.signed_at_s,
            witnessed=found,
        )

    def _compare(
        self, seen: list[Seen], sources: dict[str, WebSource], outside: list[Seen]
    ) -> Look:
        now_s = self._clock_s()
        split: list[TwoRoots] = []
        ranked = sorted((one for one in seen if one.believed), key=_size, reverse=True)
        mute: dict[str, str] = {}
        told = {one.url: one for one in seen}
        for one in seen:
            if one.checkpoint is not None:
                told[one.url] = self._against(one, ranked, sources, split, mute)
        self._hold(ranked, sources, split, mute, told)
        outside = [self._beside(one, ranked, sources, split, mute) for one in outside]
        for url, why in mute.items():
            told[url] = _and(told[url], why)
        size = 0 if self._held is None else self._held.size
        aged = tuple(self._aged(told[one.url], now_s) for one in seen)
        witnesses = tuple(self._aged(one, now_s) for one in outside)
        return Look(at_s=now_s, seen=aged, size=size, split=tuple(split), outside=witnesses)

    def _beside(
        self,
        one: Seen,
        ranked: Sequence[Seen],
        sources: dict[str, WebSource],
        split: list[TwoRoots],
        mute: dict[str, str],
    ) -> Seen:
        """What a witness cosigned, compared with a final log that has as many entries: it shows no hashes itself."""
        if one.checkpoint is None:
            return one
        holders = [other for other in ranked if _size(other) >= _size(one)]
        holders = [other for other in holders if other.url not in mute]
        if not holders:
            why = f"no node shows a final log of the {_size(one)} entries that it cosigned, with its hashes: nothing to compare"
            return _and(one, why)
        return self._against(one, holders, sources, split, mute)

    def _against(
        self,
        one: Seen,
        ranked: Sequence[Seen],
        sources: dict[str, WebSource],
        split: list[TwoRoots],
        mute: dict[str, str],
    ) -> Seen:
        """Compared with the largest log whose holder proves what it shows.

        Who shows a final checkpoint and keeps its hashes back is `mute` for the rest of the look: else one node could stand
        between all others and hide that they differ.
        """
        failed = ""
        larger = ranked[: ranked.index(one)] if one in ranked else ranked  # each pair once
        for other in larger:
            if other.url in mute:
                continue
            small, large = sorted((one, other), key=_size)
            try:
                found = self._differ(small, large, sources[large.url])
            except (Lost, OSError, HTTPException, CannotAudit, MalformedInput) as err:
                failed = f"could not be compared with {other.state}: {err}"
                if large is one:
                    return _and(one, failed)
                mute[other.url] = f"keeps back the hashes of its log: {err}"
                continue
            if found is None:
                return one
            if one.witness is not None and one.witnessed is not None:
                found = as_told_by(found, one.witness, one.witnessed)
            split.append(found)
            return replace(one, trouble=f"another log than that of {other.state}: {found}")
        return one if one in ranked else _and(one, failed)

    def _differ(self, small: Seen, large: Seen, holder: WebSource) -> TwoRoots | None:
        """Raises Lost, OSError, HTTPException, MalformedInput: nothing is known."""
        assert small.checkpoint is not None, "only checkpoints are compared"
        assert large.checkpoint is not None, "only checkpoints are compared"
        if small.checkpoint == large.checkpoint:
            return None
        prefix = None
        if small.checkpoint.size < large.checkpoint.size:
            prefix = prefix_of(holder, small.checkpoint.size, large.checkpoint)
        return two_roots(
            self._policies, self._document, small.note, large.note, prefix, self._links
        )

    def _hold(
        self,
        ranked: Sequence[Seen],
        sources: dict[str, WebSource],
        split: list[TwoRoots],
        mute: dict[str, str],
        told: dict[str, Seen],
    ) -> None:
        """What is held from now on: the largest that is shown to extend what was held."""
        for one in ranked:
            if one.url in mute:
                continue
            held, checkpoint = self._held, one.checkpoint
            assert checkpoint is not None, "believed"
            if held is not None and self.newest is not None:
                if held.size > checkpoint.size:
                    why = f"no node shows more than {checkpoint.size} entries: {held.size} were final before"
                    told[one.url] = _and(told[one.url], why)
                    return
                before = Seen(url="", checkpoint=held, note=self.newest)
                try:
                    found = self._differ(before, one, sources[one.url])
                except (Lost, OSError, HTTPException, CannotAudit, MalformedInput) as err:
                    why = f"could not be compared with what was seen before: {err}"
                    told[one.url] = _and(told[one.url], why)
                    continue
                if found is not None:
                    split.append(found)
                    why = f"another log than was seen before: {found}"
                    told[one.url] = _and(told[one.url], why)
                    return
            self._held, self.newest = checkpoint, one.note
            return

    def _aged(self, one: Seen, now_s: int) -> Seen:
        stale_s = self._stale_s if one.witness is None else max(self._stale_s, LAG_S)
        if one.trouble or one.signed_at_s is None or now_s - one.signed_at_s <= stale_s:
            return one
        return replace(one, trouble=f"its newest checkpoint is {now_s - one.signed_at_s} s old")


def _and(one: Seen, why: str) -> Seen:
    return replace(one, trouble="; ".join(filter(None, (one.trouble, why))))


def _size(one: Seen) -> int:
    return 0 if one.checkpoint is None else one.checkpoint.size


def _evaluated(policies: Policies, note: bytes, origin: str) -> Evaluation:
    """Raises CannotAudit: no checkpoint of this ledger."""
    try:
        found = evaluate(policies.of_note(note), note, verify_ed25519, mldsa_check())
    except MalformedInput as err:
        raise CannotAudit(f"its checkpoint: {err}") from err
    if found.checkpoint.origin != origin:
        raise CannotAudit(f"its checkpoint is of {found.checkpoint.origin}, not of {origin}")
    return found
