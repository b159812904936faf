"""C26: parameters and tokens against work, data manifests against runs, rights claims (CHECKS 4; M44, X15).

    6 * active parameters * tokens / 10^15 PFLOP lies between half and three times the work done   else 1
    the manifest's tokens, and its root, are the run's                                             else 2
    dangerous tokens stay below `danger_cap`, unlicensed ones below `unlicensed_bp` of all         else 2
    a rights claim is answered within `rights`                                                     else 1
    what a proof denied is proved to be there                                                           3

Compared at the run's end and when its manifest is filed, whichever is later.
"""

from typing import Final

from node.treaty.book import Book
from node.treaty.cases import raise_finding
from node.treaty.entries import Entry
from node.treaty.lives import done_of
from node.treaty.rows import NEVER
from node.treaty.rows.runs import Work

FLOP_PER_PARAMETER_AND_TOKEN: Final = 6
PFLOP: Final = 10**15
UNSAID: Final = -1


def note_work(book: Book, run: str, *, params_active: int, tokens: int) -> None:
    """What a run statement says of parameters and tokens; UNSAID leaves what was said before."""
    before = book.state.works.get(run) or Work(UNSAID, UNSAID)
    after = Work(
        before.params_active if params_active == UNSAID else params_active,
        before.tokens if tokens == UNSAID else tokens,
    )
    if after != before:
        book.state.works.put(run, after)


def run_ended(book: Book, run: str, entry_hash: bytes) -> None:
    """The work of a run is known: whether it fits its size, and its manifest."""
    work, plan = book.state.works.get(run), book.state.plans[run]
    if work is None or work.tokens == UNSAID:
        return
    params = plan.params_total if work.params_active == UNSAID else work.params_active
    needed = FLOP_PER_PARAMETER_AND_TOKEN * params * work.tokens // PFLOP
    done = done_of(book.state.lives[run])
    if not done <= 2 * needed <= 6 * done:  # needed / done from 0.5 to 3
        _raise(
            book,
            plan.state,
            run,
            1,
            (("done_pflop", done), ("needed_pflop", needed), ("tokens", work.tokens)),
            (plan.entry, entry_hash),
        )
    _compare_sums(book, run, (entry_hash,))


def manifest_filed(
    book: Book,
    entry: Entry,
    run: str,
    *,
    tokens: int,
    unlicensed: int,
    danger: int,
    doc_root: bytes,
) -> None:
    """A manifest is on the ledger: what it admits, and whether it fits the run."""
    plan = book.state.plans[run]
    inputs = (plan.entry, entry.entry_hash)
    if plan.doc_root and plan.doc_root != doc_root:
        _raise(book, plan.state, run, 2, (("roots_differ", 1),), inputs)
    share = book.value("unlicensed_bp")
    if unlicensed * 10_000 > share * tokens:
        numbers = (("tokens", tokens), ("unlicensed", unlicensed), ("unlicensed_bp", share))
        _raise(book, plan.state, run, 2, numbers, inputs)
    cap = book.value("danger_cap")
    if danger > min(cap, tokens):  # more of them than tokens is a sum that does not add up
        numbers = (("danger_cap", cap), ("danger_tokens", danger), ("tokens", tokens))
        _raise(book, plan.state, run, 2, numbers, inputs)
    if book.state.lives[run].ended_at != NEVER:
        _compare_sums(book, run, inputs)


def _compare_sums(book: Book, run: str, inputs: tuple[bytes, ...]) -> None:
    manifest, work = book.state.manifests.get(run), book.state.works.get(run)
    if manifest is None or work is None or work.tokens in {UNSAID, manifest.tokens}:
        return
    numbers = (("manifest_tokens", manifest.tokens), ("run_tokens", work.tokens))
    _raise(book, book.state.plans[run].state, run, 2, numbers, (manifest.entry, *inputs))


def claim_due(book: Book, name: str) -> None:
    """The clock looks at a rights claim."""
    claim = book.state.claims[name]
    if claim.answered:
        return
    _raise(
        book,
        book.state.plans[claim.run].state,
        f"claim:{name}",
        1,
        (("due", claim.due),),
        (bytes.fromhex(name),),
    )


def proved_false(book: Book, run: str, document: bytes, inputs: tuple[bytes, ...]) -> None:
    """The developer proved a document absent, and somebody proves it present: its tree was no sorted tree."""
    state = book.state.plans[run].state
    _raise(book, state, f"document:{document.hex()}", 3, (("proofs", 2),), inputs)


def _raise(
    book: Book,
    state: str,
    about: str,
    severity: int,
    numbers: tuple[tuple[str, int], ...],
    inputs: tuple[bytes, ...],
) -> None:
    raise_finding(
        book, "C26", state, about, severity=severity, size=severity, numbers=numbers, inputs=inputs
    )
