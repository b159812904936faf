"""Which blocks a new block of ours refers to (SPEC 5 and 12, PACEMAKER P7 and P8)."""

from collections.abc import Mapping

from consensus.commit_rule import supported
from consensus.dag import Dag
from consensus.types import GENESIS_ROUND, Header, Ref, Round, ValidatorIndex


def choose_parents(
    dag: Dag,
    own_last: Ref,
    included: Mapping[ValidatorIndex, Round],
    round_: Round,
    gc_depth: int,
    *,
    accused: int = 0,
) -> tuple[Ref, ...]:
    """Our last block, then each other author's newest accepted block below `round_`, ascending by author.

    Left out: what our blocks include already (`included`: author -> round), and what is older than `gc_depth` rounds, which
    would make the block invalid (P8). All of round `round_` - 1 is in, not only a quorum of it: late blocks must be
    ordered too. The caller has seen a quorum there.

    Of the `accused` (mask) only what a quorum cannot be reached without (SPEC 12): a member alone neither halts the others by
    signing twice, nor by being left out for it.
    """
    if round_ == GENESIS_ROUND + 1:
        genesis = dag.committee.genesis
        return (own_last, *[ref for ref in genesis if ref.author != own_last.author])
    open_authors = ((1 << dag.committee.size) - 1) & ~(1 << own_last.author)
    certified = supported(dag, Round(round_ - 2)) if round_ > GENESIS_ROUND + 2 else None
    if accused:
        open_authors &= ~accused | _needed(dag, certified, own_last, Round(round_ - 1), accused)
    chosen: list[Ref] = []
    lowest = max(round_ - gc_depth, dag.floor + 1, GENESIS_ROUND + 1)
    for below in range(round_ - 1, lowest - 1, -1):
        here = dag.authors(Round(below)) & open_authors
        while here:
            bit = here & -here
            here ^= bit
            author = ValidatorIndex(bit.bit_length() - 1)
            open_authors ^= bit
            if below > included.get(author, GENESIS_ROUND):
                variants = dag.slot(Round(below), author)
                chosen.append(_variant(dag, variants, certified if below == round_ - 1 else None))
        if not open_authors:
            break
    return (own_last, *sorted(chosen, key=lambda ref: ref.author))


def _needed(dag: Dag, certified: Ref | None, own_last: Ref, before: Round, accused: int) -> int:
    """Mask of those accused whose blocks of round `before` we cannot do without.

    First for a quorum of votes where one can be had (P7: a quorum of parents alone would leave the leader without a
    certificate that all others could make), then for a quorum of parents.
    """
    quorum = dag.committee.quorum
    own_bit = 1 << own_last.author
    theirs = dag.authors(before) & ~own_bit
    have = theirs & ~accused | (own_bit if own_last.round == before else 0)
    kept = 0
    if certified is not None:
        voters = dag.voters(certified)
        kept = _lowest(theirs & accused & voters, quorum - (have & voters).bit_count())
    return kept | _lowest(theirs & accused & ~kept, quorum - (have | kept).bit_count())


def _lowest(mask: int, count: int) -> int:
    """The lowest `count` bits that are set; none if it is negative."""
    found = 0
    while mask and count > 0:
        bit = mask & -mask
        found |= bit
        mask ^= bit
        count -= 1
    return found


def _variant(dag: Dag, variants: tuple[Ref, ...], certified: Ref | None) -> Ref:
    """Of an equivocator's blocks the one that votes for the block that we can certify (P7), else the first accepted."""
    if certified is not None and len(variants) > 1:
        for ref in variants:
            node = dag.node(ref)
            if node is not None and node.vote == certified:
                return ref
    return variants[0]


def included_by(header: Header | None) -> dict[ValidatorIndex, Round]:
    """After a restart: what our last block refers to. What older ones did may be referred to once more, harmlessly."""
    parents = header.parents if header is not None else ()
    return {parent.author: parent.round for parent in parents}
