"""What `foedus status` makes of many nodes' answers: JSON of each, and tables that lay them side by side.

nodes      one row each: where its ledger and its rounds stand, and how far behind a quorum
members    one row each: what its own node says of its blocks beside the worst that anybody else sees, so that a member whose
           blocks are kept out, or whose turns as leader are passed over, stands out
inside     one line a node: whether it signs, what it refused, which queues hold something
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.table import Table

from foedus.v1 import client_pb2 as pb
from node.reporting import table

_NODES: Final = (
    *("node", "commit", "lag", "log", "final", "root", "round", "mempool"),
    *("peers in/out", "MiB", "uptime s", "alarms"),
)
_MEMBERS: Final = (
    *("member", "round", "commit", "lag", "leads", "skipped"),
    *("own blocks ordered ms p50/max", "as others see, worst p50", "equivocated in round"),
)


def status_view(answer: pb.GetStatusResponse) -> dict[str, Any]:
    """One node's answer as JSON: bytes in hex."""
    return {
        "state": answer.state,
        "version": answer.version,
        "chain_id": answer.chain_id.hex(),
        "origin": answer.origin,
        "drill": answer.drill,
        "publication": answer.publication,
        "members": answer.members,
        "quorum": answer.quorum,
        "round": answer.round,
        "commit": answer.commit_index,
        "quorum_index": answer.quorum_index,
        "commit_lag": answer.commit_lag,
        "quorum_round": answer.quorum_round,
        "log_size": answer.log_size,
        "root": answer.root.hex(),
        "final_size": answer.final_size,
        "final_root": answer.final_root.hex(),
        "time_ms": answer.time_ms,
        "state_digest": answer.state_digest.hex(),
        "mempool_entries": answer.mempool_entries,
        "mempool_bytes": answer.mempool_bytes,
        "rss_bytes": answer.rss_bytes,
        "uptime_s": answer.uptime_s,
        "alarms": list(answer.alarms),
        "signing": {
            "state": answer.signing.state,
            "sign_state_lost": answer.signing.sign_state_lost,
            "answers": answer.signing.answers,
            "answers_needed": answer.signing.answers_needed,
            "may_confirm_loss": answer.signing.may_confirm_loss,
        },
        "figures": [_member_view(member, answer) for member in answer.figures],
        "refused": {item.reason: item.count for item in answer.refused},
        "queues": [
            {"name": item.name, "held": item.held, "limit": item.limit, "unit": item.unit}
            for item in answer.queues
        ],
        "peers": [
            {
                "state": peer.state,
                "endpoint": peer.endpoint,
                "connected_in": peer.connected_in,
                "connected_out": peer.connected_out,
                "last_round": peer.last_round,
                "last_cosigned_size": peer.last_cosigned_size,
            }
            for peer in answer.peers
        ],
    }


def _member_view(member: pb.MemberFigures, answer: pb.GetStatusResponse) -> dict[str, Any]:
    return {
        "state": member.state,
        "round": member.round,
        "commit": member.commit_index,
        "lag": _lag(member, answer),
        "leads_committed": member.leads_committed,
        "leads_skipped": member.leads_skipped,
        "ordered_round": member.ordered_round,
        "ordered_p50_ms": member.ordered_p50_ms,
        "ordered_max_ms": member.ordered_max_ms,
        "equivocated_round": member.equivocated_round
        if member.HasField("equivocated_round")
        else None,
    }


def _lag(member: pb.MemberFigures, answer: pb.GetStatusResponse) -> int:
    return max(0, answer.quorum_index - member.commit_index)


def status_tables(answers: Sequence[pb.GetStatusResponse]) -> list[str | Table]:
    """For people; at least one answer."""
    first = answers[0]
    title = (
        f"{'DRILL ' if first.drill else ''}{first.origin}: quorum {first.quorum} of {first.members}"
    )
    shown: list[str | Table] = [table(title, _NODES, [_node_row(answer) for answer in answers])]
    members = [_member_row(member.state, answers) for member in first.figures]
    if members:
        shown.append(table("members, as these nodes see them", _MEMBERS, members))
        shown += [_inside(answer) for answer in answers]
    return shown


def _node_row(answer: pb.GetStatusResponse) -> list[object]:
    inward = sum(peer.connected_in for peer in answer.peers)
    outward = sum(peer.connected_out for peer in answer.peers)
    return [
        answer.state,
        answer.commit_index,
        answer.commit_lag,
        answer.log_size,
        answer.final_size,
        answer.root.hex()[:16],
        answer.round,
        answer.mempool_entries,
        f"{inward}/{outward} of {len(answer.peers)}",
        answer.rss_bytes >> 20,
        answer.uptime_s,
        len(answer.alarms) or "none",
    ]


def _member_row(state: str, answers: Iterable[pb.GetStatusResponse]) -> list[object]:
    """Of what nodes saw of one member: the newest, the most, the worst."""
    seen = [
        (answer, member) for answer in answers for member in answer.figures if member.state == state
    ]
    own = [member for answer, member in seen if answer.state == state]
    others = [member for answer, member in seen if answer.state != state]
    twice = [member.equivocated_round for _, member in seen if member.HasField("equivocated_round")]
    return [
        state,
        max(member.round for _, member in seen),
        max(member.commit_index for _, member in seen),
        min(_lag(member, answer) for answer, member in seen),
        max(member.leads_committed for _, member in seen),
        max(member.leads_skipped for _, member in seen),
        f"{own[0].ordered_p50_ms}/{own[0].ordered_max_ms}" if own else "not asked",
        max((member.ordered_p50_ms for member in others), default="not asked"),
        min(twice) if twice else "no",
    ]


def _inside(answer: pb.GetStatusResponse) -> str:
    signing = answer.signing.state
    if answer.signing.answers < answer.signing.answers_needed:
        signing += f" ({answer.signing.answers} of {answer.signing.answers_needed} answers)"
    refused = ", ".join(f"{item.count} {item.reason}" for item in answer.refused)
    queues = ", ".join(
        f"{item.name} {item.held} of {item.limit} {item.unit}"
        for item in answer.queues
        if item.held
    )
    return f"{answer.state}: {signing}; blocks refused: {refused or 'none'}; queues: {queues or 'empty'}"
