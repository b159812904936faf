"""The twenty kinds of statement, one module each (MODEL 3), and the vote. `node/treaty/kinds.py` says what a kind is."""

from collections.abc import Callable
from typing import Final

from node.treaty import ballots, consent, owners
from node.treaty.book import RANK_DUTY, Book
from node.treaty.checks import balances, counters, sampling
from node.treaty.checks import data as data_checks
from node.treaty.kinds import Kind
from node.treaty.statements import (
    chip_batch,
    chip_type,
    chipmeter,
    custody,
    data,
    energy,
    evaluation,
    facility,
    identity,
    inspection,
    instrument,
    inventory,
    locate,
    net,
    note,
    run,
    snapshot,
    tip,
    trade,
    usage,
)

KINDS: Final[dict[str, Kind]] = {
    "identity": identity.KIND,
    "instrument": instrument.KIND,
    "facility": facility.KIND,
    "chip_type": chip_type.KIND,
    "chip_batch": chip_batch.KIND,
    "custody": custody.KIND,
    "inventory": inventory.KIND,
    "usage": usage.KIND,
    "chipmeter": chipmeter.KIND,
    "energy": energy.KIND,
    "locate": locate.KIND,
    "net": net.KIND,
    "run": run.KIND,
    "snapshot": snapshot.KIND,
    "eval": evaluation.KIND,
    "data": data.KIND,
    "trade": trade.KIND,
    "inspection": inspection.KIND,
    "tip": tip.KIND,
    "note": note.KIND,
    "vote": ballots.VOTE,
}
# What the clock looks at on their behalf: the name of the look, and who looks.
CLOCK: Final[dict[str, Callable[[Book, str], None]]] = {
    "lot": custody.lot_due,
    "tally": counters.tally_due,
    "rights": data_checks.claim_due,
    "draw": sampling.draw_due,
    "routine": sampling.routine_due,
    "naming": owners.naming_due,
    "balance": balances.quarter_due,
}


def reschedule(book: Book) -> None:
    """After a restart: all that the clock must look at for them."""
    state = book.state
    for name, lot in sorted(state.lots.items(), key=lambda item: item[1].leaf):
        custody.schedule_lot(book, name, lot)
        if not lot.arrived:
            book.index_lot(name, lot)
    for key in state.stocks:
        book.stocks_at.setdefault(key.partition(":")[0], []).append(key)
    sampling.schedule(book)
    balances.schedule(book)
    for party in state.namings:
        consent.schedule(book, party)
    for site in state.tallies:
        counters.schedule(book, site, state.facilities[site])
    for name, claim in state.claims.items():
        if not claim.answered:
            book.schedule(claim.due + 1, RANK_DUTY, "rights", name)
