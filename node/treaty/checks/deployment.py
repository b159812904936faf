"""C27: a model at work without approval, or beyond it (CHECKS 4; M38, M41).

What a site serves is named in its usage reports. A model of Tier 1 or more whose run is not DEPLOYED is severity 3, and so
is one that serves in another mode or at another site than its approval names. Tier 0 and exempt runs need no approval
(X03). The signed report is the subject's own, so it may be severe by itself. A good evaluation is no excuse for a training
that nobody approved (M41): such a run is never DEPLOYED.
"""

from collections.abc import Iterable

from node.treaty.book import Book
from node.treaty.cases import raise_finding
from node.treaty.rows.sites import Facility


def serves(
    book: Book,
    entry_hash: bytes,
    facility: str,
    row: Facility,
    served: Iterable[tuple[str, str, int]],
) -> None:
    """A site reported models at work: (model id, mode, PFLOP) each."""
    for model, mode, pflop in served:
        wrong = _what_is_wrong(book, model, mode, facility)
        if wrong and pflop:
            raise_finding(
                book,
                "C27",
                row.state,
                model,
                severity=3,
                size=0,
                numbers=((wrong, 1), ("pflop", pflop)),
                inputs=(entry_hash,),
            )


def _what_is_wrong(book: Book, model: str, mode: str, facility: str) -> str:
    """Why this model may not serve there so; empty: it may."""
    known = book.state.models.get(model)
    if known is None:
        return "no_run"
    run = known.run
    life = book.state.lives[run]
    if life.tier == 0 or _is_exempt(book, run):
        return ""
    release = book.state.releases.get(model)
    if life.status != "DEPLOYED" or release is None:
        return "not_deployed"
    if release.mode and mode != release.mode:
        return "other_mode"
    if release.sites and facility not in release.sites:
        return "other_site"
    return ""


def _is_exempt(book: Book, run: str) -> bool:
    """Whether the run's last approval was an EXEMPT, or a CLASS licence, and its tier is still below 2."""
    life = book.state.lives[run]
    decision = book.state.closed.get(life.motion)
    return (
        life.tier == 1
        and decision is not None
        and decision.kind in {"EXEMPT", "CLASS"}
        and decision.outcome == "granted"
    )
