"""Deployed models: who holds their weights, when they are evaluated again, when they are withdrawn (M36 to M40).

The weights of an approved model are split among its stewards so that more than k + 1 of them must join: none alone and none
with k partners can take them. Each confirms its share by a note; one that does not is overdue (C28). A deployed model is
evaluated by evaluators of two states every `reeval` seconds, and within `reeval_now` once a capability is listed, a
run-time improvement published or a grave incident reported.

    DEPLOYED -> WITHDRAWN    by a HALT on its run, until that ends; or because evaluators of two states find a listed capability
                             present, until a new DEPLOY
"""

from typing import Final

from node.treaty.book import Book
from node.treaty.duties import fulfil, is_owed, owe
from node.treaty.lives import enter
from node.treaty.rows.motions import Rest
from node.treaty.rows.runs import Deployment, Incidents, Release
from node.treaty.rules import k_of
from node.treaty.scores import evaluations_of

EVALUATOR_STATES_MIN: Final = 2
INCIDENTS_KEPT: Final = 64
GRAVE: Final = 3


def approve(
    book: Book,
    model: str,
    run: str,
    motion: str,
    row: Deployment,
    declined: frozenset[str] = frozenset(),
) -> None:
    """A DEPLOY was approved: shares and evaluations are owed from now on.

    Who was named steward and voted no owes no share: nobody takes a duty by being named (record 0240). It may still confirm one.
    """
    threshold = min(len(row.stewards), k_of(book.membership()) + 2)
    release = Release(
        run=run,
        motion=motion,
        mode=row.mode,
        sites=row.sites,
        stewards=row.stewards,
        threshold=threshold,
        shown=(),
        asked_at=book.now,
    )
    book.state.releases.put(model, release)
    for state in row.stewards:
        if state in declined:
            continue
        owe(book, f"steward:{model}:{state}", book.value("steward_share"))
    owe(book, f"reeval:{model}", book.value("reeval"))


def is_released(book: Book, model: str) -> bool:
    return model in book.state.releases


def is_unconfirmed_steward(book: Book, model: str, state: str) -> bool:
    """Whether `state` is a steward of this model's weights that has not confirmed its share."""
    release = book.state.releases.get(model)
    return release is not None and state in release.stewards and state not in release.shown


def confirm_share(book: Book, model: str, state: str) -> None:
    release = book.state.releases[model]
    shown = tuple(sorted((*release.shown, state)))
    book.state.releases.put(model, release._replace(shown=shown))
    fulfil(book, f"steward:{model}:{state}")


def evaluated(book: Book, model: str, listed: frozenset[str]) -> None:
    """A new evaluation: perhaps what was asked for is done, and perhaps what was feared is there."""
    release = book.state.releases.get(model)
    if release is None:
        return
    since = [one for one in evaluations_of(book, model) if one.at >= release.asked_at]
    if len({one.state for one in since}) >= EVALUATOR_STATES_MIN:
        book.state.releases.put(model, release._replace(asked_at=book.now))
        owe(book, f"reeval:{model}", book.value("reeval"))
    ended_at = book.state.lives[release.run].ended_at
    counting = [one for one in evaluations_of(book, model) if one.at >= ended_at]  # K40
    for capability in sorted(listed):
        states = {one.state for one in counting if (capability, "present") in one.capabilities}
        if len(states) >= EVALUATOR_STATES_MIN:
            _withdraw_for_good(book, model, release.run)
            return


def _withdraw_for_good(book: Book, model: str, run: str) -> None:
    """Its approval is gone: what it may do again needs a new DEPLOY."""
    life = book.state.lives[run]
    if life.status in {"DEPLOYED", "WITHDRAWN"}:
        end(book, model)
        enter(book, run, life._replace(status="WITHDRAWN"))


def end(book: Book, model: str) -> None:
    """Nobody owes anything for this release any more, if there is one."""
    release = book.state.releases.get(model)
    if release is None:
        return
    for state in release.stewards:
        fulfil(book, f"steward:{model}:{state}")
    fulfil(book, f"reeval:{model}")
    book.state.releases.drop(model)


def to_be_evaluated(book: Book, model: str) -> None:
    """Something new was learnt: evaluate this model now, unless that is asked for already.

    A pending request is not made anew: else evaluations that came since would count no more, and whoever asks often enough
    would keep the duty from ever being fulfilled.
    """
    release = book.state.releases.get(model)
    due = book.now + book.value("reeval_now")
    what = f"reeval:{model}"
    if release is None or (is_owed(book, what) and book.state.duties[what].due <= due):
        return
    book.state.releases.put(model, release._replace(asked_at=book.now))
    owe(book, what, book.value("reeval_now"))


def all_to_be_evaluated(book: Book) -> None:
    for model in sorted(book.state.releases):
        to_be_evaluated(book, model)


def incident(book: Book, model: str, state: str, entry_hash: bytes, severity: int) -> None:
    """Harm was done with it: for the dossier, and a reason to look again (M45), once in `reeval` seconds for each state."""
    row = book.state.incidents.get(model) or Incidents((), 0, 0)
    entries = (*row.entries, entry_hash)[-INCIDENTS_KEPT:]
    book.state.incidents.put(model, Incidents(entries, row.total + 1, max(row.worst, severity)))
    key = f"incident/{state}:{model}"
    last = book.state.rests.get(key)
    if severity >= GRAVE and (last is None or book.now >= last.since + book.value("reeval")):
        book.state.rests.put(key, Rest(book.now))
        to_be_evaluated(book, model)
