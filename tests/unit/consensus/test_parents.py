"""Which blocks a new block refers to (SPEC 5, PACEMAKER P7 and P8), and that it is valid for it (SPEC 3)."""

from consensus.dag import Dag
from consensus.parents import choose_parents, included_by
from consensus.types import GC_DEPTH, Ref, Round, ValidatorIndex
from consensus.validity import check_block
from tests.unit.consensus.blocks import History, block, committee_of

FOUR = committee_of(4)


def fed(history: History) -> Dag:
    dag = Dag(history.committee)
    for made in history.blocks:
        dag.accept(made)
    return dag


def choose(
    history: History,
    round_: int,
    *,
    own: int = 0,
    included: dict[ValidatorIndex, Round] | None = None,
    dag: Dag | None = None,
    gc_depth: int = GC_DEPTH,
    accused: int = 0,
) -> tuple[Ref, ...]:
    """Of validator `own`, and a block with them must be valid."""
    own_last = history.latest(own, round_)
    known = fed(history) if dag is None else dag
    parents = choose_parents(
        known, own_last, included or {}, Round(round_), gc_depth, accused=accused
    )
    check_block(
        block(history.committee, own, round_, parents), history.committee, gc_depth=gc_depth
    )
    return parents


def slots(parents: tuple[Ref, ...]) -> list[tuple[int, int]]:
    return [(ref.round, ref.author) for ref in parents]


def test_the_first_block_refers_to_genesis() -> None:
    history = History(committee=FOUR)
    assert choose(history, 1, own=2) == (
        FOUR.genesis[2],
        FOUR.genesis[0],
        FOUR.genesis[1],
        FOUR.genesis[3],
    )


def test_all_of_the_round_before_own_first_others_ascending() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3)
    assert slots(choose(history, 4, own=2)) == [(3, 2), (3, 0), (3, 1), (3, 3)]


def test_of_who_has_no_block_there_the_newest_older_one() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    history.rounds(3, 4, (0, 1, 2))
    assert slots(choose(history, 5)) == [(4, 0), (4, 1), (4, 2), (2, 3)]


def test_what_is_included_already_is_left_out() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    history.rounds(3, 4, (0, 1, 2))
    three = ValidatorIndex(3)
    assert slots(choose(history, 5, included={three: Round(2)})) == [(4, 0), (4, 1), (4, 2)]
    assert (2, 3) in slots(choose(history, 5, included={three: Round(1)}))


def test_what_is_too_old_is_left_out_but_the_own_parent_never() -> None:
    """P8: else one long absence of another would make our blocks invalid."""
    history = History(committee=FOUR)
    history.round(1)
    history.rounds(2, 7, (1, 2, 3))
    assert slots(choose(history, 8, own=0, gc_depth=4))[0] == (1, 0)
    other = History(committee=FOUR)
    other.rounds(1, 2)
    other.rounds(3, 7, (0, 1, 2))
    assert (2, 3) in slots(choose(other, 8, gc_depth=6))
    assert (2, 3) not in slots(choose(other, 8, gc_depth=5))


def test_nothing_at_or_below_the_floor() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    history.rounds(3, 6, (0, 1, 2))
    dag = fed(history)
    dag.raise_floor(Round(2))
    assert slots(choose(history, 7, dag=dag)) == [(6, 0), (6, 1), (6, 2)]


def two_variants() -> tuple[History, Ref, Ref]:
    """Validator 3 has two blocks of round 3: the first accepted does not vote for the leader of round 2, the second does."""
    history = History(committee=FOUR)
    history.rounds(1, 2)
    leader = history.blocks[6].ref
    links = history.round_before(3)
    history.draw(0, 3, links)
    history.draw(1, 3, links)
    blaming = history.draw(3, 3, [ref for ref in links if ref != leader])
    voting = history.draw(3, 3, links)
    return history, blaming.ref, voting.ref


def test_p7_among_variants_the_one_that_votes_for_what_can_be_certified() -> None:
    history, _, voting = two_variants()
    assert voting in choose(history, 4)  # 0, 1 and 3 vote


def test_without_a_quorum_of_votes_the_first_accepted() -> None:
    history, blaming, _ = two_variants()
    without = History(committee=FOUR)
    leader = history.blocks[6].ref
    for made in history.blocks:
        if made.ref.author == 1 and made.ref.round == 3:
            # Now 1 does not vote either: two are no quorum.
            without.draw(1, 3, [ref for ref in history.round_before(3) if ref != leader])
        else:
            without.blocks.append(made)
    assert blaming in choose(without, 4)


def test_at_most_one_variant_is_taken() -> None:
    history, *_ = two_variants()
    authors = [ref.author for ref in choose(history, 4)]
    assert len(authors) == len(set(authors))


def test_after_a_restart_the_last_block_says_what_is_included() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3)
    header = history.blocks[-1].header
    assert included_by(header) == dict.fromkeys(map(ValidatorIndex, (3, 0, 1, 2)), Round(2))
    assert included_by(None) == {}


# --- the accused (SPEC 12) -----------------------------------------------------------------------


def test_the_accused_are_left_out_also_with_their_late_blocks() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3)
    assert slots(choose(history, 4, accused=0b1000)) == [(3, 0), (3, 1), (3, 2)]
    history.rounds(4, 4, (0, 1, 2))
    assert slots(choose(history, 5, accused=0b1000)) == [(4, 0), (4, 1), (4, 2)]
    assert slots(choose(history, 5)) == [(4, 0), (4, 1), (4, 2), (3, 3)]


def test_as_many_accused_as_a_quorum_of_parents_needs() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    history.round(3, (0, 1, 3))
    assert slots(choose(history, 4, accused=0b1000)) == [(3, 0), (3, 1), (2, 2), (3, 3)]
    # All of the others accused: two are needed, the lowest, and no third.
    full = History(committee=FOUR)
    full.rounds(1, 3)
    assert slots(choose(full, 4, accused=0b1110)) == [(3, 0), (3, 1), (3, 2)]


def test_an_accused_chooser_counts_itself() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3)
    assert slots(choose(history, 4, accused=0b1001)) == [(3, 0), (3, 1), (3, 2)]


def test_p7_the_accused_whose_vote_completes_a_certificate_stay() -> None:
    """Three honest-looking blocks are a quorum of parents, but only two vote; the accused one's vote makes it a certificate."""
    history = History(committee=FOUR)
    history.rounds(1, 2)
    leader = history.blocks[6].ref
    links = history.round_before(3)
    history.draw(0, 3, links)
    history.draw(1, 3, links)
    history.draw(2, 3, [ref for ref in links if ref != leader], own=leader)
    history.blocks.pop()
    blaming = block(FOUR, 1, 3, [history.blocks[5].ref, *[r for r in links if r.author in (0, 3)]])
    without = History(committee=FOUR)
    without.blocks += [
        made for made in history.blocks if (made.ref.round, made.ref.author) != (3, 1)
    ]
    without.blocks.append(blaming)
    without.draw(2, 3, links)
    without.draw(3, 3, links)
    parents = choose(without, 4, accused=0b1000)
    assert slots(parents) == [(3, 0), (3, 1), (3, 2), (3, 3)]
    dag = fed(without)
    certifying = dag.accept(block(FOUR, 0, 4, parents))
    assert certifying.certifies == leader
    # With the votes of the others alone it is not needed.
    voting = History(committee=FOUR)
    voting.rounds(1, 3)
    assert (3, 3) not in slots(choose(voting, 4, accused=0b1000))
