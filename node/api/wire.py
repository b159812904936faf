"""Our values as messages of the client protocol. Nothing else builds these from the ledger's values."""

import json
from hashlib import sha256
from typing import Any, Final

from foedus.v1 import client_pb2 as pb
from node.api.node import PeerStanding, ServedNode
from node.engine.figures import MemberFigures
from node.ledger.errors import MalformedRecord
from node.ledger.ledger import EntryStatus, Status
from node.ledger.records import decode_record, is_record
from node.ledger.view import CLASS_LETTERS, leaf_view
from node.log import cose
from node.log.errors import MalformedStatement
from node.storage.errors import StoreDamaged
from node.telemetry import resident_bytes
from node.treaty.derived import VetoCheck
from node.treaty.errors import MalformedContent
from node.treaty.parsing import parse_entry

_PUBLIC_CLASS: Final = "P"
_STATES: Final = {
    Status.UNKNOWN: pb.ENTRY_STATE_UNKNOWN,
    Status.HELD: pb.ENTRY_STATE_HELD,
    Status.ACKNOWLEDGED: pb.ENTRY_STATE_ACKNOWLEDGED,
    Status.SEQUENCED: pb.ENTRY_STATE_SEQUENCED,
    Status.INTEGRATED: pb.ENTRY_STATE_INTEGRATED,
    Status.FINAL: pb.ENTRY_STATE_FINAL,
    Status.DROPPED: pb.ENTRY_STATE_DROPPED,
}


def state_of(status: Status) -> pb.EntryState.ValueType:
    return _STATES[status]


def at(node: ServedNode) -> pb.At:
    """Where the ledger stands now."""
    ledger = node.ledger
    return pb.At(
        size=ledger.size,
        final_size=node.finality.final_size,
        commit=ledger.last_commit,
        time_ms=ledger.time_ms,
    )


def entry_state(status: EntryStatus, where: pb.At) -> pb.GetEntryStateResponse:
    answer = pb.GetEntryStateResponse(state=state_of(status.status), code=status.code, at=where)
    if status.index is not None:
        answer.index = status.index
    return answer


def log_entry(
    node: ServedNode, index: int, leaf: bytes, *, may_read: bool, brief: bool
) -> pb.LogEntry:
    """One leaf; what the reader may not see is withheld. Raises StoreDamaged for a leaf that is none."""
    final = index < node.finality.final_size
    entry = pb.LogEntry(
        index=index,
        leaf_digest=sha256(leaf).digest(),
        state=pb.ENTRY_STATE_FINAL if final else pb.ENTRY_STATE_INTEGRATED,
    )
    if not may_read and not is_public(leaf):
        entry.withheld = True
        return entry
    if is_record(leaf):
        entry.kind = str(_record(index, leaf)["type"])
    else:
        facts = node.facts.get(entry.leaf_digest)
        if facts is None:
            raise StoreDamaged(f"entry {index}: its index row is missing")
        entry.kind, entry.author, entry.code = facts.kind, facts.author, facts.code
    if not brief:
        entry.leaf = leaf
        entry.json = json.dumps(view_of(index, leaf), ensure_ascii=False)
    return entry


def is_public(leaf: bytes) -> bool:
    """Class P: a statement that says so. Derived and commit records are restricted (RULINGS R62)."""
    if is_record(leaf):
        return False
    try:
        payload = cose.parse_statement(leaf).payload
        return (
            payload is not None
            and CLASS_LETTERS.get(parse_entry(payload).confidentiality) == _PUBLIC_CLASS
        )
    except (MalformedStatement, MalformedContent):
        return False


def view_of(index: int, leaf: bytes) -> dict[str, Any]:
    """The content for people. Raises StoreDamaged: what is logged was well-formed when it was."""
    try:
        return leaf_view(index, leaf)
    except MalformedRecord as err:
        raise StoreDamaged(f"entry {index}: {err}") from err


def _record(index: int, leaf: bytes) -> dict[str, Any]:
    try:
        return decode_record(leaf)
    except MalformedRecord as err:
        raise StoreDamaged(f"entry {index}: {err}") from err


def veto_check(check: VetoCheck, where: pb.At) -> pb.GetVetoCheckResponse:
    return pb.GetVetoCheckResponse(
        members=check.members,
        k=check.k,
        f=check.f,
        trigger=check.trigger,
        quorum=check.quorum,
        veto_possible=bool(check.veto_possible),
        all_maj=check.all_maj,
        all_sup=check.all_sup,
        all_high=check.all_high,
        all_stop=check.all_stop,
        one_recused_maj=check.one_recused_maj,
        one_recused_sup=check.one_recused_sup,
        one_recused_high=check.one_recused_high,
        one_recused_stop=check.one_recused_stop,
        time_s=check.at,
        at=where,
    )


def peer_status(peer: PeerStanding) -> pb.PeerStatus:
    return pb.PeerStatus(
        state=peer.state,
        endpoint=peer.endpoint,
        connected_in=peer.connected_in,
        connected_out=peer.connected_out,
        last_round=peer.last_round,
        last_cosigned_size=peer.last_cosigned_size,
    )


def node_status(node: ServedNode, *, may_read: bool) -> pb.GetStatusResponse:
    """How the node stands. Readers alone get the state digest: from it follow the nonces of the next commit's records (R62)."""
    ledger, finality = node.ledger, node.finality
    genesis, figures = ledger.genesis, ledger.status()
    final = finality.final
    engine = node.figures()
    return pb.GetStatusResponse(
        state=node.state,
        version=node.version,
        chain_id=ledger.chain_id,
        origin=genesis.origin,
        drill=genesis.drill,
        publication=genesis.publication,
        members=len(ledger.epoch.members),
        quorum=finality.quorum,
        round=node.own_round(),
        commit_index=ledger.last_commit,
        log_size=ledger.size,
        final_size=finality.final_size,
        root=ledger.root,
        final_root=b"" if final is None else final.checkpoint.root,
        time_ms=ledger.time_ms,
        state_digest=ledger.state_digest if may_read else b"",
        mempool_entries=int(figures["mempool_entries"]),
        mempool_bytes=int(figures["mempool_bytes"]),
        peers=[peer_status(peer) for peer in node.peers()],
        alarms=list(node.alarms()),
        uptime_s=node.uptime_s(),
        rss_bytes=resident_bytes(),
        quorum_index=engine.quorum_index,
        commit_lag=engine.commit_lag,
        quorum_round=engine.quorum_round,
        figures=[member_figures(member) for member in engine.members],
        refused=[
            pb.RefusedBlocks(reason=reason, count=count) for reason, count in engine.refused.items()
        ],
        queues=[
            pb.QueueDepth(name=queue.name, held=queue.held, limit=queue.limit, unit=queue.unit)
            for queue in engine.queues
        ],
        signing=pb.SigningStatus(
            state=engine.signing,
            sign_state_lost=engine.sign_state_lost,
            answers=engine.answers,
            answers_needed=engine.answers_needed,
            may_confirm_loss=engine.may_confirm_loss,
        ),
    )


def member_figures(member: MemberFigures) -> pb.MemberFigures:
    return pb.MemberFigures(
        state=member.state,
        round=member.round,
        commit_index=member.commit_index,
        leads_committed=member.leads_committed,
        leads_skipped=member.leads_skipped,
        ordered_round=member.ordered_round,
        ordered_p50_ms=member.ordered_p50_ms,
        ordered_max_ms=member.ordered_max_ms,
        equivocated_round=member.equivocated_round,
    )
