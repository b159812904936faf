"""From closed periods to final entries: sign into the author's chain, submit, ask until final.

    CLOSED --intend--> INTENDED --outbox.record--> SIGNED --submit, ask--> FINAL
       ^                   |
       └── not recorded ───┘

An entry leaves only from the outbox, and the journal knows of it before the outbox does. So after a crash an INTENDED
report's entry stands in the outbox (it may have left: it is SIGNED), or it does not (it never left: sign anew, behind whatever
another process has signed for this author meanwhile). Neither loses a report, and none is said twice. Where the outbox
cannot tell any more, since what is final is forgotten there, the ledger is asked.

What else waits in the outbox, from `foedus submit` that was interrupted, is sent along: entries behind it could not be included.
"""

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import dataclass
from typing import Final as Constant

from prometheus_client import CollectorRegistry, Counter, Gauge

from node.intake.chains import (
    Chain,
    ChainBusy,
    Chains,
    ChainTip,
    EntryRefused,
    LedgerAccess,
    LedgerTip,
    NodeUnavailable,
)
from node.intake.journal import Journal, Report, ReportState
from node.intake.turns import Turns
from node.telemetry import event

# A node takes entries up to 64 beyond what is logged (RULINGS R27); half of that leaves room for the author's other entries.
SIGN_AHEAD_MAX: Constant = 32
FIRST_WAIT_S: Constant = 0.25
OPEN: Constant = (ReportState.CLOSED, ReportState.INTENDED, ReportState.SIGNED)

log = logging.getLogger("foedus.intake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What came of looking at an outbox. While a report is in doubt, nothing was signed."""

    to_send: tuple[bytes, ...]  # entries for the nodes, ascending by seq
    doubtful: Report | None = None


class Reporter:
    """Signs and submits what the journal has closed."""

    def __init__(
        self,
        journal: Journal,
        turns: Turns,
        *,
        chains: Chains,
        ledger: LedgerAccess,
        authors: tuple[str, ...],
        resend_s: float,
        adopt: bool,
        registry: CollectorRegistry,
    ) -> None:
        """`adopt`: take the chain over from the ledger where it is ahead of the outbox, once, when first looked at."""
        self._journal = journal
        self._turns = turns
        self._chains = chains
        self._ledger = ledger
        self._authors = authors
        self._resend_s = resend_s
        self._to_adopt = set(authors) if adopt else set()
        self._news = asyncio.Event()
        self._final = Counter(
            "foedus_intake_reports_final",
            "Statements final on the ledger, by what the law said: accepted, or rejected.",
            ["verdict"],
            registry=registry,
        )
        self._failures = Counter(
            "foedus_intake_report_failures",
            "Attempts that ended early: busy, behind, unavailable, refused.",
            ["why"],
            registry=registry,
        )
        self._waiting = Gauge(
            "foedus_intake_reports_waiting",
            "Statements not yet final, by how far they have come.",
            ["state"],
            registry=registry,
        )

    def wake(self) -> None:
        """A period was closed: do not wait for the next turn."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. Quick turns while something moves, every `resend_s` while nothing does."""
        wait_s = FIRST_WAIT_S
        while True:
            before = await self._counts()
            for author in self._authors:
                await self._turn(author)
            after = await self._counts()
            wait_s = FIRST_WAIT_S if after != before else min(2 * wait_s, self._resend_s)
            outstanding = any(after.values())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait_s if outstanding else self._resend_s)
                wait_s = FIRST_WAIT_S
            self._news.clear()

    async def _counts(self) -> dict[ReportState, int]:
        counts = {state: await self._turns.take(self._journal.count, state) for state in OPEN}
        for state, count in counts.items():
            self._waiting.labels(state.value).set(count)
        return counts

    async def _turn(self, author: str) -> None:
        """One author as far as it goes. Another author's trouble is not this one's."""
        try:
            if not await self._has_work(author):
                return
            tip = await self._ledger.tip(author)
            signed = await self._turns.take(self._sign, author, tip)
            if signed.doubtful is not None:
                await self._clear_up(signed.doubtful)
            for entry in signed.to_send:
                await self._ledger.submit(entry)
            await self._ask(author)
        except ChainBusy as err:
            self._failed("busy", author, str(err))
        except NodeUnavailable as err:
            self._failed("unavailable", author, str(err))
        except EntryRefused as err:
            self._failed("refused", author, str(err), code=err.code)

    async def _has_work(self, author: str) -> bool:
        return any(
            [await self._turns.take(self._journal.reports, state, author, 1) for state in OPEN]
        )

    # -- signing -------------------------------------------------------------------------------

    def _sign(self, author: str, tip: LedgerTip) -> Signed:
        """Settle what a crash left, then sign what is closed. Blocks on the disk. Raises ChainBusy."""
        with self._chains.open(author) as chain:
            for report in self._journal.reports(ReportState.INTENDED, author):
                recorded = _is_recorded(chain, report)
                if recorded is None:
                    return Signed(to_send=(), doubtful=report)
                self._settle(report, recorded=recorded)
            if self._joined(chain, author, tip):
                for report in self._journal.reports(ReportState.CLOSED, author, SIGN_AHEAD_MAX):
                    if chain.tip.seq >= tip.logged.seq + SIGN_AHEAD_MAX:
                        break
                    self._sign_one(chain, report)
            return Signed(to_send=tuple(chain.kept(tip.logged.seq + 1).values()))

    def _sign_one(self, chain: Chain, report: Report) -> None:
        entry = chain.sign(report.draft.content)
        seq = chain.tip.seq + 1
        self._journal.intend(report, seq=seq, entry=entry)
        chain.record(entry)
        self._journal.settle(self._reread(report), recorded=True)
        event(
            log,
            "report signed",
            author=report.draft.author,
            kind=report.draft.kind,
            facility=report.draft.facility,
            start_s=report.draft.start_s,
            seq=seq,
            entry=_hash(entry),
        )

    def _reread(self, report: Report) -> Report:
        """The report as the journal has it now."""
        intended = self._journal.reports(ReportState.INTENDED, report.draft.author)
        (found,) = (each for each in intended if each.id == report.id)
        return found

    async def _clear_up(self, report: Report) -> None:
        """What stands on the ledger at this report's seq, now that the outbox has forgotten it."""
        used = await self._ledger.used(report.draft.author, report.seq, _hash(report.entry))
        if used is not None:
            await self._turns.take(self._settle, report, recorded=used)

    def _settle(self, report: Report, *, recorded: bool) -> None:
        self._journal.settle(report, recorded=recorded)
        digest = _hash(report.entry)
        event(log, "intended report settled", seq=report.seq, recorded=recorded, entry=digest)

    def _joined(self, chain: Chain, author: str, tip: LedgerTip) -> bool:
        """Whether the outbox is the author's newest: never sign a seq that the ledger has seen used."""
        logged, own = tip.logged, chain.tip
        if own.seq > logged.seq or own == logged:
            return True
        if author in self._to_adopt:
            self._to_adopt.discard(author)
            ahead: ChainTip = tip.pending if tip.pending.seq > logged.seq else logged
            chain.adopt(ahead)
            event(log, "chain adopted", author=author, seq=ahead.seq)
            return True
        self._failed(
            "behind",
            author,
            f"the ledger has entry {logged.seq}, this outbox stands at {own.seq}: another outbox has signed for"
            " this author. Use that one; or, if it is gone for good, start once with --adopt",
        )
        return False

    # -- finality ------------------------------------------------------------------------------

    async def _ask(self, author: str) -> None:
        """Until one is not final yet: entries of one chain become final in order."""
        signed = await self._turns.take(self._journal.reports, ReportState.SIGNED, author)
        last = 0
        for report in signed:
            final = await self._ledger.final(report.entry)
            if final is None:
                break
            await self._turns.take(
                self._journal.finish, report, log_index=final.index, code=final.code
            )
            last = report.seq
            self._final.labels("rejected" if final.code else "accepted").inc()
            event(
                log,
                "report rejected" if final.code else "report final",
                level=logging.ERROR if final.code else logging.INFO,
                author=author,
                kind=report.draft.kind,
                facility=report.draft.facility,
                start_s=report.draft.start_s,
                index=final.index,
                code=final.code,
            )
        if last:
            await self._turns.take(self._forget, author, last)

    def _forget(self, author: str, seq: int) -> None:
        # Busy: they are forgotten after the next one.
        with contextlib.suppress(ChainBusy), self._chains.open(author) as chain:
            chain.forget_final(seq)

    def _failed(self, why: str, author: str, text: str, *, code: str = "") -> None:
        self._failures.labels(why).inc()
        level = logging.ERROR if why in ("behind", "refused") else logging.WARNING
        event(log, f"report not sent: {why}", level=level, author=author, why=text, code=code)


def _is_recorded(chain: Chain, report: Report) -> bool | None:
    """Whether the outbox got this intended entry before the crash; None if it cannot tell any more."""
    if report.seq > chain.tip.seq:
        return False
    if report.seq == chain.tip.seq:
        return chain.tip.entry_hash == _hash(report.entry)
    kept = chain.kept(report.seq).get(report.seq)
    return None if kept is None else kept == report.entry


def _hash(entry: bytes) -> bytes:
    return hashlib.sha256(entry).digest()
