"""Step 3: a run approved against one no, another although one state says nothing; a data centre verifies the receipt offline."""

from typing import Final

from foedus.v1 import client_pb2 as pb
from node.cli.author import Signed
from node.cli.client import LedgerClient
from node.cli.demo.cast import Application, applications, flop_text
from node.cli.demo.outcome import Approval, ApprovalWithSilence
from node.cli.demo.processes import foedus_json
from node.cli.demo.show import expect
from node.cli.demo.side_by_side import side_by_side
from node.cli.demo.story import Story
from node.cli.outbox import write_durably
from node.cli.receipts import receipt_file

TIER: Final = 2


async def approve(story: Story) -> None:
    """Both motions are open at once: each closes at its deadline, since one of three yes votes might still change."""
    first, second = applications()
    story.show.doing("two laboratories apply")
    motions = await side_by_side(_apply(story, first), _apply(story, second))
    story.show.doing("states vote")
    await side_by_side(
        *(_vote(story, one, motion) for one, motion in zip((first, second), motions, strict=True))
    )
    shown = [
        await _decided(story, one, motion)
        for one, motion in zip((first, second), motions, strict=True)
    ]
    verified = await _verified_offline(story, shown[0])
    decision, other = shown[0].decision, shown[1].decision
    story.outcome.approval = Approval(
        decision=decision.outcome,
        yes=decision.yes,
        no=decision.no,
        absent=decision.absent,
        receipt_verified=verified,
    )
    story.outcome.approval_with_silence = ApprovalWithSilence(
        decision=other.outcome, yes=other.yes, no=other.no, absent=other.absent
    )
    for one, found in zip((first, second), (decision, other), strict=True):
        votes = (found.yes, found.no, found.absent)
        expected = (len(one.yes), len(one.no), 4 - len(one.yes) - len(one.no))
        expect(
            found.outcome == "approved" and votes == expected,
            f"{one.lab}/{one.run.name} approved by {expected} yes, no, absent",
            f"{found.outcome} by {votes}; a slow machine needs a longer --deadline"
            f" (reason: {found.reason or 'none'})",
        )
    expect(verified, "the receipt verifies offline", "it does not")


async def _apply(story: Story, application: Application) -> Signed:
    """Plan and motion, one behind the other in the laboratory's chain; its own state's node takes them."""
    one = application
    plan = story.cast.plan(one.state, one.lab, one.run)
    motion = story.cast.apply(one.state, one.lab, plan, one.inspectors)
    await story.chain([plan, motion], one.state)
    found = await story.clients[one.state].motion(motion.name)
    expect(
        list(found.subjects) == [one.state] and one.state not in found.eligible,
        f"{one.state} is recused in its own motion",
        f"recused: {list(found.subjects)}, eligible: {list(found.eligible)}",
    )
    tier = await _tier_of(story, f"{one.lab}/{one.run.name}", one.state)
    expect(tier == TIER, f"{one.run.name} is a Tier {TIER} run", f"Tier {tier}")
    story.show.fact(
        f"{one.lab} plans {one.run.name}, {flop_text(one.run.pflop)} like {one.sized_like}: Tier {tier},"
        f" {found.rule} {found.threshold} of {len(found.eligible)}, {one.state} recused"
    )
    return motion


async def _tier_of(story: Story, run: str, state: str) -> int | None:
    answer = await story.clients[state].runs(pb.ListRunsRequest())
    return next((item.tier for item in answer.runs if item.run == run), None)


async def _vote(story: Story, application: Application, motion: Signed) -> None:
    """Each state through its own node, all at once. Who says nothing says nothing."""
    choices = dict.fromkeys(application.yes, "yes") | dict.fromkeys(application.no, "no")
    await story.submit_all(
        [(story.cast.vote(state, motion.name, choice), state) for state, choice in choices.items()]
    )


async def _decided(story: Story, application: Application, motion: Signed) -> pb.Motion:
    """The decision, which must read the same on every node."""
    within_s = 2.0 * story.deadline_s + 20
    found = await story.motion_decided(motion.name, application.state, within_s)

    async def decision(client: LedgerClient) -> str:
        return str((await client.motion(motion.name)).decision)

    await story.same_everywhere(f"all nodes have decided on {application.run.name}", decision)
    votes = ", ".join(f"{vote.state} {vote.choice}" for vote in found.votes)
    came = found.decision
    absent = f", {came.absent} silent" if came.absent else ""
    story.show.fact(
        f"{application.run.name}: {came.outcome.upper()}: {came.yes} yes, {came.no} no{absent} ({votes})"
    )
    return found


async def _verified_offline(story: Story, motion: pb.Motion) -> bool:
    """The decision's receipt, judged by `foedus receipt verify` in a process that is told of no node."""
    index = motion.decision.index
    found: list[bytes] = []

    async def ask() -> str:
        status = await story.clients["KE"].status()
        if status.final_size <= index:
            return f"final up to {status.final_size}, the decision is entry {index}"
        receipt = await story.clients["KE"].receipt(index)
        found[:] = [receipt_file(receipt.proof, receipt.leaf)]
        return ""

    await story.until("the decision is final", ask)
    path = story.folder / "approval.tlog-proof"
    write_durably(path, found[0], mode=0o644)
    status, verdict = await foedus_json(
        "receipt", "verify", str(path), "--genesis", str(story.genesis_path)
    )
    content = verdict.get("content") or {}
    verified = (
        status == 0
        and verdict.get("proven") is True
        and content.get("motion") == motion.motion
        and content.get("outcome") == "approved"
    )
    story.show.fact(
        f"a data centre verified the receipt offline: entry {verdict.get('index')} of {verdict.get('size')},"
        f" cosigned by {', '.join(verdict.get('cosigned_by', ()))}"
    )
    return verified
