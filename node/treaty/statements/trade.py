"""`trade`: what is paid, imported, supplied, rented, made (MODEL 3, kind 17; M28, M29, M33b, M34, M46).

From a source that its state registered for that kind of trade. Prices feed the alarms of cost, pieces by maker that of a
weakening supply chain (`checks.cost`, `checks.choke`, C24); output, memory and imports are held against the register of chips
(`checks.balances`, C05, C06). Payments and rented chips are to be (C21, C22).
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import balances, choke, cost
from node.treaty.chips import approved_chip
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.kinds import Kind

NAMES: Final = {
    pb.TRADE_TYPE_PAYMENT: "payment",
    pb.TRADE_TYPE_CUSTOMS: "customs",
    pb.TRADE_TYPE_SUPPLY: "supply",
    pb.TRADE_TYPE_CLOUD: "cloud",
    pb.TRADE_TYPE_PRICE: "price",
    pb.TRADE_TYPE_FAB_OUTPUT: "fab_output",
    pb.TRADE_TYPE_LITHO_TOOL: "litho_tool",
    pb.TRADE_TYPE_HBM: "hbm",
}


def take_trade(book: Book, entry: Entry, body: pb.Trade) -> Accepted:
    """Judge one report of a source."""
    author = entry.parsed.author
    name = NAMES[body.type]
    require_role(book, entry, "source")
    source = book.state.sources.get(author)
    if source is None or name not in source.trades:
        raise Refused(Code.FILER, f"{author} is not registered for {name}")
    chip = None
    if name == "price":
        chip = approved_chip(book, author, body.item)
        if not body.count:
            raise Refused(Code.EVIDENCE, "a price is of so many chip-hours: count is 0")
    require_past(book, entry)
    choke.take_output(book, name, body.seller, body.count, entry.entry_hash)
    known = balances.known_chip(book, author, body.item)
    if known:
        pieces = body.seller, body.buyer, body.count
        balances.take_trade(book, name, author, known, *pieces, entry.entry_hash)
    if chip is not None:
        cost.take_price(book, entry, chip.name, body.usd, body.count)
    return Accepted(f"trade:{name}:{body.item}")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("item", "count", "usd"),
        enums=("type",),
        integers=("count", "usd"),
        references=("item",),
        texts=("seller", "buyer"),
    ),
    take=take_trade,
)
