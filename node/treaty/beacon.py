"""Randomness that no k states choose: rounds of reveals from members' hash chains (MODEL 10, RULINGS R63).

Each member anchors the end of a hash chain. A draw opens a round, which fixes who is expected; each of them
reveals the next link, and the beacon is the SHA-256 of what was revealed, in member order. Who has not
revealed `beacon` seconds later is recorded and skipped. With fewer than k+1 the round gives nothing, and
what waits for it goes the way it has without chance: a panel sits as a plenary.

    beacon.ask(book, what, name)     from now on `name` waits for a round; the law hands over what came of it
    beacon.draw(chance.value, draw_id, population, count)

Rounds come one at a time. What asks while one is open waits for the next, so nobody who has seen a reveal
can still file what that round will draw. A link belongs to one round, used or not: revealing late, or
choosing which link to show, gains nothing (decision record 0150).
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from node.treaty.book import RANK_DUTY, Book, Chance, Refused
from node.treaty.codes import Code
from node.treaty.derived import Beacon, Drawn, RoundOpened
from node.treaty.rows.clock import Anchor, Draw, Reveal, Round
from node.treaty.rules import k_of

LINKS_MAX: Final = (
    1_024  # rounds that an anchor lives without a reveal: what one reveal may cost to check
)
_OPEN: Final = "open"
_COUNTER: Final = "beacon_rounds"
_LINK: Final = b"beacon/1"


def link(value: bytes, steps: int = 1) -> bytes:
    """`value`, `steps` links nearer to the anchor. A member anchors `link(secret, n)` and reveals `link(secret, n - 1)` first."""
    for _ in range(steps):
        value = hashlib.sha256(_LINK + value).digest()
    return value


def draw(value: bytes, draw_id: str, population: Sequence[str], count: int) -> tuple[str, ...]:
    """At most `count` of `population`, which is ascending, in draw order: without bias or repetition (LAW section 3).

    Rejection sampling from the stream SHA-256(seed || u32 0) || SHA-256(seed || u32 1) || ...
    """
    seed = hashlib.sha256(value + draw_id.encode()).digest()
    stream = b""
    block = position = 0
    left = list(population)
    drawn: list[str] = []
    while left and len(drawn) < count:
        size = ((len(left) - 1).bit_length() + 7) // 8
        span = 256**size
        while True:
            while len(stream) < position + size:
                stream += hashlib.sha256(seed + block.to_bytes(4, "big")).digest()
                block += 1
            number = int.from_bytes(stream[position : position + size], "big")
            position += size
            if number < span - span % len(left):
                break
        drawn.append(left.pop(number % len(left)))
    return tuple(drawn)


def draw_weighted(
    value: bytes, draw_id: str, weights: Mapping[str, int], count: int
) -> tuple[str, ...]:
    """At most `count` names, each pick with a chance in proportion to its weight among those left; weights from 1.

    A ticket of the sum is drawn as one of a population of so many, from a seed of its own for each pick.
    """
    left = dict(sorted(weights.items()))
    drawn: list[str] = []
    while left and len(drawn) < count:
        ticket = _below(
            hashlib.sha256(value + f"{draw_id}:{len(drawn)}".encode()).digest(), sum(left.values())
        )
        drawn.append(_holder(left, ticket))
        del left[drawn[-1]]
    return tuple(drawn)


def _holder(weights: Mapping[str, int], ticket: int) -> str:
    """Who holds this ticket, where each holds as many as its weight, in order."""
    for name, weight in weights.items():
        if ticket < weight:
            return name
        ticket -= weight
    raise AssertionError(f"ticket beyond the sum of {len(weights)} weights")


def _below(seed: bytes, limit: int) -> int:
    """A number below `limit` without bias, by the same rejection as `draw`."""
    size = max(1, ((limit - 1).bit_length() + 7) // 8)
    blocks = -(-size // 32)
    span = 256**size
    attempt = 0
    while True:
        stream = b"".join(
            hashlib.sha256(seed + (attempt * blocks + one).to_bytes(4, "big")).digest()
            for one in range(blocks)
        )
        number = int.from_bytes(stream[:size], "big")
        if number < span - span % limit:
            return number % limit
        attempt += 1


def ask(book: Book, what: str, name: str) -> None:
    """Have `name` drawn for: `book.to_draw` gets the Chance, now or when its round is over.

    Its value is None where too few members anchor or reveal. Asking again for what waits changes nothing.
    """
    if book.genesis.beacon is not None:
        book.to_draw.append(Chance(what, name, 0, book.genesis.beacon))
        return
    key = f"{what}/{name}"
    if key in book.state.draws:
        return
    current = book.state.rounds.get(_OPEN)
    if current is not None:
        book.state.draws.put(key, Draw(current.number + 1))
        return
    if not can_open(book):
        book.to_draw.append(Chance(what, name, 0, None))
        return
    book.state.draws.put(key, Draw(_next_number(book)))
    _open_round(book)


def can_open(book: Book) -> bool:
    """Whether enough members anchor for a round: k+1, so that one of them at least is not hostile."""
    return len(_anchored(book, _next_number(book))) > k_of(book.membership())


def waits(book: Book, what: str, name: str) -> bool:
    """Whether a draw for `name` is still to come."""
    return f"{what}/{name}" in book.state.draws


def forget(book: Book, what: str, name: str) -> None:
    """Nothing need be drawn any more; the round itself goes on."""
    if waits(book, what, name):
        book.state.draws.drop(f"{what}/{name}")


def _next_number(book: Book) -> int:
    row = book.state.counters.get(_COUNTER)
    return row.value + 1 if row else 1


def _anchored(book: Book, number: int) -> tuple[str, ...]:
    """Members whose chain reaches round `number`, sorted."""
    return tuple(
        state
        for state, row in sorted(book.state.anchors.items())
        if 1 <= number - row.round <= LINKS_MAX and book.state.members[state].status != "LEFT"
    )


def _open_round(book: Book) -> None:
    number = book.count(_COUNTER)
    expected = _anchored(book, number)
    due = book.now + book.value("beacon")
    book.state.rounds.put(_OPEN, Round(number, due, expected, k_of(book.membership()) + 1))
    schedule(book)
    book.emit(RoundOpened(round=number, expected=expected, due=due, at=book.now))


def schedule(book: Book) -> None:
    """Have the clock look when the open round, if any, is over."""
    row = book.state.rounds.get(_OPEN)
    if row is not None:
        book.schedule(row.due + 1, RANK_DUTY, "beacon", "")


def round_due(book: Book) -> None:
    """The clock looks: a link revealed at the due second itself is in time (LAW K2)."""
    row = book.state.rounds.get(_OPEN)
    if row is None:
        return
    if book.now <= row.due:
        schedule(book)
        return
    _close_round(book, row)


def check_anchor(book: Book, state: str) -> None:
    """Refuses REPEATED while a round expects a link of the member's old chain."""
    row = book.state.rounds.get(_OPEN)
    if row is not None and state in row.expected and state not in book.state.reveals:
        raise Refused(Code.REPEATED, f"round {row.number} expects {state}'s link: reveal it first")


def anchor(book: Book, state: str, tip: bytes) -> None:
    """A member begins a chain, used from the next round on."""
    book.state.anchors.put(state, Anchor(tip, _next_number(book) - 1))


def require_round(book: Book, number: int) -> None:
    """Refuses UNKNOWN_REF: a round that never opened."""
    if not 1 <= number < _next_number(book):
        raise Refused(Code.UNKNOWN_REF, f"no round {number} of the beacon")


def check_reveal(book: Book, state: str, number: int, value: bytes) -> None:
    """Refuses EVIDENCE, REPEATED, CLOSED, NOT_ELIGIBLE."""
    row = book.state.rounds.get(_OPEN)
    if row is None or row.number != number:
        raise Refused(Code.CLOSED, f"round {number} of the beacon is over")
    if state not in row.expected:
        raise Refused(Code.NOT_ELIGIBLE, f"round {number} does not expect {state}")
    if state in book.state.reveals:
        raise Refused(Code.REPEATED, f"{state} has revealed in round {number}")
    held = book.state.anchors[state]
    if link(value, number - held.round) != held.tip:
        raise Refused(Code.EVIDENCE, f"is not {state}'s link for round {number}")


def reveal(book: Book, state: str, number: int, value: bytes) -> None:
    """Take a link that `check_reveal` let through; the last one expected ends the round."""
    row = book.state.rounds[_OPEN]
    book.state.reveals.put(state, Reveal(value))
    book.state.anchors.put(state, Anchor(value, number))
    if all(other in book.state.reveals for other in row.expected):
        _close_round(book, row)


def _close_round(book: Book, row: Round) -> None:
    revealed = tuple(
        (state, book.state.reveals[state].value)
        for state in row.expected
        if state in book.state.reveals
    )
    silent = tuple(state for state in row.expected if state not in book.state.reveals)
    value: bytes | None = None
    if len(revealed) >= row.needed:
        value = hashlib.sha256(b"".join(shown for _, shown in revealed)).digest()
    book.emit(
        Beacon(
            round=row.number,
            beacon=value or b"",
            needed=row.needed,
            revealed=revealed,
            silent=silent,
            at=book.now,
        )
    )
    for state, _ in revealed:
        book.state.reveals.drop(state)
    book.state.rounds.drop(_OPEN)
    _hand_over(book, row.number, value)
    if book.state.draws:  # asked while this round was open
        if can_open(book):
            _open_round(book)
        else:
            _hand_over(book, row.number + 1, None)


def _hand_over(book: Book, number: int, value: bytes | None) -> None:
    ready = [key for key, row in sorted(book.state.draws.items()) if row.round == number]
    for key in ready:
        book.state.draws.drop(key)
        what, _, name = key.partition("/")
        book.to_draw.append(Chance(what, name, number, value))


def show(book: Book, chance: Chance, population: Sequence[str], drawn: tuple[str, ...]) -> None:
    """Record who was drawn, out of whom; nobody where the round gave no beacon."""
    book.emit(
        Drawn(
            draw=chance.name,
            what=chance.what,
            round=chance.round,
            population=tuple(population),
            drawn=drawn,
            at=book.now,
            beacon=None if book.is_first_law else (chance.value or b""),
        )
    )
