"""Contradictory votes where one of them was refused (LAW K16): found by comparing with the naive reader."""

from foedus.v1 import content_pb2 as pb
from node.treaty.codes import Code
from tests.property.treaty.operators_at_work import Trainings


def test_contradicting_a_refused_vote_costs_the_vote_all_the_same() -> None:
    """A vote without its mandate names its motion too; with two votes under one seq a state is absent in both."""
    machine = Trainings()
    machine.found(members=9, hostile=0, turn=0)
    world = machine.world
    assert world is not None
    for _ in range(20):
        lives = world.law.book.state.lives
        if lives["beta/r9"].status == "DEPLOY_SUBMITTED":
            break
        machine.see_through(1, 1)
    motion = next(
        name for name, row in world.law.book.state.motions.items() if row.kind == "DEPLOY"
    )
    world.must("US", pb.Appoint(what=pb.APPOINTMENT_TYPE_STANDARD, name="n1"))
    another = world.entries[-1].name
    seq, prev = world.law.author_tip("GB")
    refused = world.say("GB", pb.Vote(motion=motion, choice=pb.CHOICE_NO), seq=seq, prev=prev)
    assert refused.code is Code.MANDATE
    other = world.say("GB", pb.Vote(motion=another, choice=pb.CHOICE_YES), seq=seq, prev=prev)
    assert other.code is Code.EQUIVOCATION
    assert world.law.book.state.motions[motion].barred == ("GB",)
    assert world.law.book.state.motions[another].barred == ("GB",)
    world.poll(motion, pb.CHOICE_YES, ("GB",))
    facts = world.index.get(world.entries[-1].entry_hash)
    assert facts is not None
    assert facts.code == Code.NOT_ELIGIBLE.value
