"""Step 4: a run cut into parts is found out; the accused state votes, censors and stops, and is upheld against.

What the accused does, and what comes of it:

    votes to set the case aside     recorded with code NOT_ELIGIBLE, counted nowhere: it is recused
    replies                         its right: the case is REPLIED, and may then be decided
    its node leaves out the votes   acknowledged there and never proposed; their authors give them to another node (R59)
    its node stops                  four of five are a quorum
"""

import time
from typing import Final

from foedus.v1 import client_pb2 as pb
from node.cli.author import Signed
from node.cli.client import LedgerClient
from node.cli.demo.cast import ACCUSED, PARTS, STATES, flop_text, lab_of
from node.cli.demo.outcome import VetoAttempt, Violation
from node.cli.demo.show import StoryBroke, expect
from node.cli.demo.side_by_side import side_by_side
from node.cli.demo.story import Story
from node.cli.errors import TooLate

CENSORED_FOR_S: Final = (
    2.0  # an honest node proposes it in its next block, within a fraction of a second
)
OTHERS: Final = tuple(state for state in STATES if state != ACCUSED)
UPHOLDING: Final = (
    "GB",
    "CN",
    "KE",
)  # two thirds of four, with one to spare against a changed vote


async def catch(story: Story) -> None:
    """From three approved parts to an upheld case."""
    await _parts(story)
    case = await _case_of(story)
    motion = case.motion
    veto = await _accused_speaks(story, case)
    left_out, through, last = (story.cast.vote(state, motion, "no") for state in UPHOLDING)
    await _is_left_out(story, left_out, through)
    stopped = await _node_stops(story)
    story.show.doing(f"{last.author} votes")
    await story.submit_all([(last, last.author)])
    decided = await story.motion_decided(motion, "KE", 5.0 * story.deadline_s)

    async def status(client: LedgerClient) -> str:
        return (await client.case(case.case)).status

    said = await story.same_everywhere("every running node has the case decided", status)
    story.outcome.violation = Violation(
        check=case.check,
        subject=case.subject,
        case=said,
        veto_attempt=VetoAttempt(
            voted=await _was_recorded(story, veto, decided),
            node_stopped=stopped,
            blocked=said != "UPHELD",
        ),
    )
    expect(said == "UPHELD", f"case {case.case} is UPHELD", said)
    expect(story.outcome.violation.veto_attempt.voted, "the vote is recorded", "it is not")
    decision = decided.decision
    story.show.fact(
        f"UPHELD all the same: {decision.no} no, {decision.yes} yes of {len(decided.eligible)};"
        f" one state could have changed it: {'yes' if decision.one_state_could_change else 'no'}"
    )


async def _parts(story: Story) -> None:
    """The laboratory has each part approved as the Tier 1 run that it is alone, starts them all, and reports them done."""
    cast, lab = story.cast, lab_of(ACCUSED)
    story.show.doing(f"{lab} declares {len(PARTS)} runs and asks for each")
    plans = [cast.plan(ACCUSED, lab, part) for part in PARTS]
    motions = [cast.apply(ACCUSED, lab, plan, ()) for plan in plans]
    await story.chain([*plans, *motions], ACCUSED)
    await side_by_side(
        *(
            story.chain([cast.vote(state, motion.name, "yes") for motion in motions], state)
            for state in OTHERS
        )
    )
    for motion in motions:  # four yes of four: decided at once, for one change cannot undo it
        found = await story.motion_decided(motion.name, "KE", 2.0 * story.deadline_s)
        expect(found.decision.outcome == "approved", "each part is approved", found.decision)
    tiers = await _tiers(story, lab)
    expect(set(tiers.values()) == {1}, "each part is a Tier 1 run by itself", tiers)
    sizes = " + ".join(flop_text(part.pflop) for part in PARTS)
    story.show.fact(f"{lab} has {len(PARTS)} Tier 1 runs approved, of one lineage: {sizes}")
    starts = [cast.start(ACCUSED, lab, part) for part in PARTS]
    reports = [cast.progress(ACCUSED, lab, part) for part in PARTS]
    story.show.doing(f"{lab} reports its work")
    await story.chain([*starts, *reports], ACCUSED)


async def _tiers(story: Story, lab: str) -> dict[str, int]:
    answer = await story.clients["KE"].runs(pb.ListRunsRequest())
    return {item.run: item.tier for item in answer.runs if item.run.startswith(f"{lab}/")}


async def _case_of(story: Story) -> pb.Case:
    """The case that opened by itself: the only one with a motion."""
    found: list[pb.Case] = []

    async def ask() -> str:
        answer = await story.clients["KE"].cases(pb.ListCasesRequest(open_only=True))
        found[:] = [case for case in answer.cases if case.motion]
        return "" if found else f"{len(answer.cases)} cases, none with a motion"

    await story.until("check C15 finds the parts", ask)
    case = found[0]
    expect(
        len(found) == 1 and (case.check, case.subject) == ("C15", ACCUSED),
        f"one case, C15 about {ACCUSED}",
        [one.case for one in found],
    )
    total = sum(part.pflop for part in PARTS)
    story.show.fact(
        f"check {case.check}: together {flop_text(total)}, above 1e24 FLOP. Case {case.case} opened by itself,"
        f" severity {case.severity}"
    )
    return case


async def _accused_speaks(story: Story, case: pb.Case) -> Signed:
    """It votes to set the case aside, and replies."""
    story.show.doing(f"{ACCUSED} votes in its own case, and replies")
    veto = story.cast.vote(ACCUSED, case.motion, "yes")
    reply = story.cast.reply(ACCUSED, case.case)
    await story.asking(ACCUSED).give(veto.entry)
    await story.submit_all([(reply, ACCUSED)])
    found = await story.clients["KE"].progress(veto.entry_hash)
    expect(
        found.index is not None and found.code == "NOT_ELIGIBLE",
        f"the vote of {ACCUSED} is on the ledger as NOT_ELIGIBLE",
        f"index {found.index}, code {found.code or 'none'}",
    )
    status = (await story.clients["KE"].case(case.case)).status
    expect(status == "REPLIED", "the reply counts", status)
    story.show.fact(
        f"{ACCUSED} votes to set it aside: entry {found.index}, recorded as {found.code}; it replies: {status}"
    )
    return veto


async def _is_left_out(story: Story, vote: Signed, meanwhile: Signed) -> None:
    """One vote is given to the accused state's node alone, which promises and does not keep; another to an honest node."""
    story.show.doing(f"{vote.author} gives its vote to the node of {ACCUSED}")
    censor = story.clients[ACCUSED]
    began = time.monotonic()
    taken = await censor.submit(vote.entry)
    expect(bool(taken.acknowledgement), f"the node of {ACCUSED} acknowledges", taken.state)
    (other,) = await story.submit_all([(meanwhile, meanwhile.author)])
    honest_s = time.monotonic() - began
    try:
        came = await censor.wait_integrated(vote.entry_hash, within_s=CENSORED_FOR_S)
    except TooLate:
        pass
    else:
        raise StoryBroke(f"the node of {ACCUSED} leaves the vote out", f"entry {came.index}")
    kept_s = time.monotonic() - began
    (found,) = await story.submit_all([(vote, vote.author)])
    story.show.fact(
        f"the node of {ACCUSED} acknowledged the vote of {vote.author} and left it out for {kept_s:.1f} s;"
        f" that of {meanwhile.author}, through its own node, was entry {other.index} after {honest_s:.1f} s"
    )
    story.show.fact(f"{vote.author} gives the same vote to another node: entry {found.index}")


async def _node_stops(story: Story) -> bool:
    """The accused state switches its node off, in the middle of its case."""
    story.show.doing(f"{ACCUSED} stops its node")
    child = story.nodes[ACCUSED]
    status = await story.processes.stop(child)
    left = story.running()
    story.show.fact(
        f"the node of {ACCUSED} (process {child.pid}) stopped, status {status}; {len(left)} go on"
    )
    return not child.is_running and len(left) == len(OTHERS)


async def _was_recorded(story: Story, veto: Signed, motion: pb.Motion) -> bool:
    """On the ledger of the others, and neither among the votes nor among those who may vote."""
    found = await story.clients["KE"].progress(veto.entry_hash)
    counted = ACCUSED in motion.eligible or ACCUSED in {vote.state for vote in motion.votes}
    return found.index is not None and not counted
