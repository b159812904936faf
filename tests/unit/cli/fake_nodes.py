"""FAKE nodes for tests of the commands: real TLS, real protocol, one log in memory shared by all, no consensus and no law.

Every entry taken is in the log at once and cosigned by all members, unless the fake is told to behave worse (`Mood`). What it
signs, it signs with the real keys, so receipts and acknowledgements are judged as a real node's would be.
"""

# ruff: noqa: N802 - the schema names the methods, and gRPC looks them up by these names

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256
from typing import Any

import grpc

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from foedus.v1 import law_pb2, law_pb2_grpc
from node.cli.client import REFUSAL_KEY
from node.cli.founding import (
    Founded,
    Home,
)
from node.cli.law.records import _Leaves
from node.ledger.plan import facts_of
from node.ledger.questions.answer import as_bytes, ask
from node.ledger.questions.sight import Sight
from node.ledger.view import leaf_view
from node.log.checkpoint import Checkpoint
from node.log.cose import (
    encode_inclusion_receipt,
    encode_receipt_header,
    parse_statement,
    sig_structure,
)
from node.log.merkle import MemoryHashes, inclusion_proof, leaf_hash
from node.log.note import Note, VerifierKey
from node.log.proof import ProofFile, parse_proof
from node.signing.acknowledgement import Acknowledgement, sign_acknowledgement
from node.signing.checkpoints import (
    cosignature_line,
    cosigner_vkey,
    sign_cosignature,
    sign_log_line,
    sign_witness_line,
    witness_vkey,
)
from node.signing.statements import FIRST_PREV, entry_hash
from node.treaty.dry_run import check_content
from node.treaty.entries import ParsedEntry
from node.treaty.law import Law
from node.treaty.memory_index import MemoryIndex
from node.treaty.parsing import parse_entry

ORIGIN = "ledger.test/main"
Context = grpc.ServicerContext


class Mood(Enum):
    """How a fake node treats an entry."""

    HONEST = auto()
    DEAF = auto()  # takes and acknowledges, and never includes
    REFUSING = auto()
    BUSY = auto()
    DROPPING = auto()
    REJECTING = auto()  # in the log, but the law says no
    FORGING = auto()  # acknowledges with another key
    BOASTING = auto()  # says final, shows a receipt for something else
    STARTING = auto()


def parsed_of(entry: bytes) -> ParsedEntry:
    payload = parse_statement(entry).payload
    assert payload is not None
    return parse_entry(payload)


@dataclass
class FakeLog:
    """The one log behind all fake nodes."""

    founded: Founded
    homes: Mapping[str, Home]
    leaves: list[bytes] = field(default_factory=list)
    hashes: MemoryHashes = field(default_factory=MemoryHashes)
    rejected: dict[bytes, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, leaf: bytes) -> None:
        with self.lock:
            if leaf not in self.leaves:
                self.leaves.append(leaf)
                self.hashes.append([leaf_hash(leaf)])

    def find(self, digest: bytes) -> int | None:
        for index, leaf in enumerate(self.leaves):
            if sha256(leaf).digest() == digest:
                return index
        return None

    def tip(self, author: str) -> tuple[int, bytes]:
        seq, last = 0, FIRST_PREV
        for leaf in self.leaves:
            if leaf[:1] == b"\xd2":
                parsed = parsed_of(leaf)
                if parsed.author == author and parsed.seq > seq:
                    seq, last = parsed.seq, entry_hash(leaf)
        return seq, last

    def note(self, by: str, cosigners: int = 5, outside: Sequence[Home] = ()) -> bytes:
        """`outside`: whose witness keys sign as well, as if they were of other ledgers."""
        size = len(self.leaves)
        checkpoint = Checkpoint(
            origin=self.founded.genesis.origin, size=size, root=self.hashes.root_at(size)
        )
        lines = [sign_log_line(self.homes[by].node_keys.log, checkpoint)]
        for state, home in list(self.homes.items())[:cosigners]:
            key = home.node_keys.cosigner
            vkey = cosigner_vkey(checkpoint.origin, state, key.public)
            lines.append(cosignature_line(vkey, sign_cosignature(key, checkpoint, 1_700_000_000)))
        for home in outside:
            witness = home.node_keys.witness
            assert witness is not None
            vkey = outside_vkey(home)
            lines.append(sign_witness_line(witness, vkey, checkpoint, 1_700_000_001))
        return bytes(Note(text=checkpoint.text(), lines=tuple(lines)))

    def receipt(
        self, index: int, by: str, cosigners: int = 5, outside: Sequence[Home] = ()
    ) -> bytes:
        path = inclusion_proof(index, len(self.leaves), self.hashes.read)
        note = self.note(by, cosigners, outside)
        return bytes(ProofFile(index=index, hashes=tuple(path), note=note))


def outside_vkey(home: Home) -> VerifierKey:
    """The witness of a home, named as one outside."""
    witness = home.node_keys.witness
    assert witness is not None
    return witness_vkey("outside.example/log", home.node_keys.state, witness.public)


class FakeLaw(law_pb2_grpc.LawServiceServicer):
    """The real law, as it stands at genesis."""

    def __init__(self, log: FakeLog) -> None:
        document = log.founded.document
        facts = facts_of(log.founded.genesis, document)
        self.law = Law.at_genesis(facts, MemoryIndex())
        self.law.advance(facts.time_s)
        self.asked = 0

    def Check(self, request: law_pb2.CheckRequest, context: Context) -> law_pb2.CheckResponse:
        del context
        code, why = check_content(self.law, request.content, request.endorsers)
        return law_pb2.CheckResponse(code=code or "", why=why, at=pb.At(commit=7))

    def Ask(self, request: law_pb2.AskRequest, context: Context) -> law_pb2.AskResponse:
        """Of the past it answers only when asked a second time, as a node does whose replay takes longer than a call."""
        if request.HasField("index"):
            self.asked += 1
            if self.asked % 2:
                refusal = pb.Refusal(
                    code="REPLAYING", why="replayed up to entry 1", retry_after_ms=1
                )
                details = ((REFUSAL_KEY, refusal.SerializeToString()),)
                context.set_trailing_metadata(details)
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "REPLAYING")
        sight = Sight(law=self.law, size=3, state_digest=bytes(32), leaves=_Leaves([], []))
        page = ask(
            sight,
            request.question,
            about=request.about,
            after=request.after,
            limit=min(request.limit, 2),
        )
        return law_pb2.AskResponse(document=as_bytes(page), size=3)


class FakeNode(rpc.LedgerServiceServicer):
    """One member's node. Not a node: see the module's text."""

    def __init__(self, state: str, log: FakeLog) -> None:
        self.state = state
        self.log = log
        self.law = FakeLaw(log)
        self.mood = Mood.HONEST
        self.held: dict[bytes, bytes] = {}  # taken, not included
        self.given: list[bytes] = []
        self.metadata: list[dict[str, Any]] = []
        self.size_shown: int | None = None
        self.root_shown: bytes | None = None
        self.alarms: list[str] = []
        self.signing = pb.SigningStatus(state="signing", answers=2, answers_needed=2)
        self.withholding = False
        self.outside: list[Home] = []  # whose witness lines it has gathered
        self.link_pages: list[
            list[bytes]
        ] = []  # what it hands out beside the genesis, answer by answer
        self._server: grpc.Server | None = None
        self.port = 0

    # Process

    def start(self, port: int = 0) -> int:
        transport = self.log.homes[self.state].node_keys.transport
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        rpc.add_LedgerServiceServicer_to_server(self, self._server)
        law_pb2_grpc.add_LawServiceServicer_to_server(self.law, self._server)
        credentials = grpc.ssl_server_credentials(
            [(transport.private_key_pem, transport.certificate_pem)]
        )
        self.port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self._server.start()
        return self.port

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(0).wait(5)
            self._server = None

    # Entries

    def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitResponse:
        self._begin(context)
        entry = request.entry
        digest = entry_hash(entry)
        self.given.append(entry)
        if self.mood is Mood.REFUSING:
            self._refuse(
                context,
                grpc.StatusCode.UNAUTHENTICATED,
                pb.Refusal(
                    code="UNKNOWN_AUTHOR", field="author", value="x", why="no key of x here"
                ),
            )
        if self.mood is Mood.BUSY:
            self._refuse(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                pb.Refusal(code="OVERLOADED", why="mempool full", retry_after_ms=250),
            )
        parsed = parsed_of(entry)
        seq, _ = self.log.tip(parsed.author)
        if parsed.seq > seq + 1 + len(self.held):
            return pb.SubmitResponse(state=pb.ENTRY_STATE_HELD, entry_hash=digest)
        if self.mood in (Mood.DEAF, Mood.DROPPING):
            self.held[digest] = entry
        else:
            self.log.append(entry)
        if self.mood is Mood.REJECTING:
            self.log.rejected[digest] = "LATE"
        return self._acknowledge(digest)

    def _acknowledge(self, digest: bytes) -> pb.SubmitResponse:
        keys = self.log.homes[self.state].node_keys
        other = self.log.homes["BR" if self.state != "BR" else "KE"].node_keys
        log_key = other.log if self.mood is Mood.FORGING else keys.log
        promise = Acknowledgement(
            chain_id=self.log.founded.chain_id,
            entry_hash=digest,
            node=self.state,
            inclusion_by_ms=1_700_000_060_000,
        )
        return pb.SubmitResponse(
            state=pb.ENTRY_STATE_ACKNOWLEDGED,
            entry_hash=digest,
            acknowledgement=sign_acknowledgement(log_key, promise),
            inclusion_by_ms=promise.inclusion_by_ms,
        )

    def SubmitMany(self, request: pb.SubmitManyRequest, context: Context) -> pb.SubmitManyResponse:
        results = []
        for entry in request.entries:
            if entry[:1] == b"\xd2":
                taken = self.Submit(pb.SubmitRequest(entry=entry), context)
                results.append(pb.SubmitResult(taken=taken))
            else:
                refusal = pb.Refusal(code="SCHEMA", field="entry", why="no statement")
                results.append(pb.SubmitResult(refusal=refusal))
        return pb.SubmitManyResponse(results=results)

    def GetEntryState(
        self, request: pb.GetEntryStateRequest, context: Context
    ) -> pb.GetEntryStateResponse:
        self._begin(context)
        digest = request.entry_hash
        if self.mood is Mood.DROPPING and digest in self.held:
            return pb.GetEntryStateResponse(state=pb.ENTRY_STATE_DROPPED, code="COUNTERSIGN")
        index = self.log.find(digest)
        if index is None:
            here = digest in self.held
            state = pb.ENTRY_STATE_ACKNOWLEDGED if here else pb.ENTRY_STATE_UNKNOWN
            return pb.GetEntryStateResponse(state=state)
        code = self.log.rejected.get(digest, "")
        return pb.GetEntryStateResponse(state=pb.ENTRY_STATE_FINAL, index=index, code=code)

    def GetAuthorTip(
        self, request: pb.GetAuthorTipRequest, context: Context
    ) -> pb.GetAuthorTipResponse:
        self._begin(context)
        seq, digest = self.log.tip(request.author)
        return pb.GetAuthorTipResponse(
            next_seq=seq + 1, prev=digest, pending_next_seq=seq + 1, pending_prev=digest
        )

    # The log

    def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        self._begin(context)
        index = self._index(request, context)
        return pb.GetResponse(entry=self._entry(index), at=pb.At(size=len(self.log.leaves)))

    def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        self._begin(context)
        everything = [self._entry(index) for index in range(len(self.log.leaves))]
        if request.newest:
            return pb.ListResponse(entries=everything[-request.limit :])
        matching = [
            entry
            for entry in everything[request.first :]
            if (not request.kind or entry.kind == request.kind)
            and (not request.author or entry.author == request.author)
        ]
        page = matching[: min(request.limit, 2)]  # short pages, so that paging is seen
        answer = pb.ListResponse(entries=page)
        if len(page) < len(matching):
            answer.next_first = matching[len(page)].index
        return answer

    def Watch(self, request: pb.WatchRequest, context: Context) -> Iterator[pb.WatchResponse]:
        self._begin(context)
        first = request.first if request.HasField("first") else len(self.log.leaves)
        for index in range(first, len(self.log.leaves)):
            entry = self._entry(index)
            if not request.kinds or entry.kind in request.kinds:
                yield pb.WatchResponse(entries=[entry], next_first=index + 1)
        yield pb.WatchResponse(next_first=len(self.log.leaves))  # a heartbeat; then the node ends

    def GetReceipt(self, request: pb.GetReceiptRequest, context: Context) -> pb.GetReceiptResponse:
        self._begin(context)
        index = self._index(request, context)
        if self.mood is Mood.BOASTING:
            index = 0
        leaf = b"" if self.withholding else self.log.leaves[index]
        return pb.GetReceiptResponse(
            index=index,
            size=len(self.log.leaves),
            tlog_proof=self._proof(index, request.outside, context),
            leaf=leaf,
            cose_receipts=[self.cose_receipt(index)] if request.cose else [],
        )

    def _proof(self, index: int, outside: int, context: Context) -> bytes:
        if outside > len(self.outside) and self.mood is not Mood.FORGING:
            why = "this node has no such checkpoint"
            refusal = pb.Refusal(code="NOT_WITNESSED", why=why)
            self._refuse(context, grpc.StatusCode.FAILED_PRECONDITION, refusal)
        return self.log.receipt(index, self.state, outside=self.outside[:outside])

    def cose_receipt(self, index: int) -> bytes:
        """This node's log's word for a leaf; forged, another log's."""
        other = "BR" if self.state != "BR" else "KE"
        key = self.log.homes[other if self.mood is Mood.FORGING else self.state].node_keys.log
        proof = parse_proof(self.log.receipt(index, self.state))
        protected = encode_receipt_header(key.kid, "ledger.test/main", f"node/{self.state}")
        size, root = len(self.log.leaves), proof.root_of(self.log.leaves[index])
        signature = key.sign(sig_structure(protected, root))
        return encode_inclusion_receipt(protected, size, index, proof.hashes, signature)

    def _entry(self, index: int) -> pb.LogEntry:
        leaf = self.log.leaves[index]
        view = leaf_view(index, leaf)
        entry = pb.LogEntry(
            index=index,
            leaf_digest=sha256(leaf).digest(),
            state=pb.ENTRY_STATE_FINAL,
            withheld=self.withholding,
        )
        if not self.withholding:
            entry.kind = view.get("kind") or view["type"]
            entry.author = view.get("author", "")
            entry.leaf = leaf
            entry.json = json.dumps(view)
            entry.code = self.log.rejected.get(entry.leaf_digest, "")
        return entry

    def _index(self, request: pb.GetRequest | pb.GetReceiptRequest, context: Context) -> int:
        index: int | None = request.index
        if request.WhichOneof("key") == "entry_hash":
            index = self.log.find(request.entry_hash)
        elif request.index >= len(self.log.leaves):
            index = None
        if index is None:
            self._refuse(
                context,
                grpc.StatusCode.NOT_FOUND,
                pb.Refusal(code="NOT_FOUND", why="no such entry"),
            )
            raise AssertionError("abort raises")
        return index

    # The node and the law

    def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        self._begin(context)
        size = len(self.log.leaves) if self.size_shown is None else self.size_shown
        return pb.GetStatusResponse(
            state=self.state,
            version="fake",
            chain_id=self.log.founded.chain_id,
            origin=ORIGIN,
            drill=True,
            publication="open",
            members=5,
            quorum=4,
            log_size=size,
            final_size=size,
            root=self.root_shown or self.log.hashes.root_at(size),
            final_root=self.root_shown or self.log.hashes.root_at(size),
            peers=[pb.PeerStatus(state="CN", endpoint="127.0.0.1:1", connected_in=True)],
            alarms=self.alarms,
            rss_bytes=100 << 20,
            quorum_index=12,
            commit_lag=2,
            figures=[
                pb.MemberFigures(
                    state=state,
                    round=40,
                    commit_index=10,
                    leads_skipped=7 if state == "GB" else 0,
                    ordered_p50_ms=900 if state == "GB" and self.state == "GB" else 150,
                    ordered_max_ms=1_000,
                    equivocated_round=33 if state == "BR" else None,
                )
                for state in ("US", "CN", "GB", "KE", "BR")
            ],
            refused=[pb.RefusedBlocks(reason="malformed", count=3)],
            queues=[
                pb.QueueDepth(name="core inbox", held=5, limit=512, unit="events"),
                pb.QueueDepth(name="mempool", held=0, limit=20_000, unit="entries"),
            ],
            signing=self.signing,
        )

    def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, context: Context
    ) -> pb.GetCheckpointResponse:
        self._begin(context)
        return pb.GetCheckpointResponse(note=self.log.note(self.state, 5 if request.full else 4))

    def GetGenesis(self, request: pb.GetGenesisRequest, context: Context) -> pb.GetGenesisResponse:
        self._begin(context)
        if not request.links_only:
            return pb.GetGenesisResponse(
                document=self.log.founded.document, more=bool(self.link_pages)
            )
        at = 0
        for number, page in enumerate(self.link_pages, start=1):
            if at == request.first_link:
                links = [pb.PolicyLink(proof=text, policy=text) for text in page]
                return pb.GetGenesisResponse(policies=links, more=number < len(self.link_pages))
            at += len(page)
        return pb.GetGenesisResponse()

    def GetVetoCheck(
        self, request: pb.GetVetoCheckRequest, context: Context
    ) -> pb.GetVetoCheckResponse:
        del request
        self._begin(context)
        return pb.GetVetoCheckResponse(members=5, k=1, f=1)

    def GetMotion(self, request: pb.GetMotionRequest, context: Context) -> pb.GetMotionResponse:
        self._begin(context)
        motion = pb.Motion(
            motion=request.motion,
            kind="TRAIN",
            about="acme/r1",
            subjects=["US"],
            rule="SUP",
            threshold=3,
            eligible=["BR", "CN", "GB", "KE"],
            default_outcome="not_approved",
            votes=[pb.VoteCast(state="KE", choice="yes")],
            decision=pb.Decision(outcome="approved", yes=3, no=1),
        )
        return pb.GetMotionResponse(motion=motion)

    def ListMotions(
        self, request: pb.ListMotionsRequest, context: Context
    ) -> pb.ListMotionsResponse:
        self._begin(context)
        motion = pb.Motion(motion=f"m{request.first}", kind="TRAIN", index=request.first)
        answer = pb.ListMotionsResponse(motions=[motion])
        if request.first < 2:
            answer.next_first = request.first + 1
        return answer

    def GetCase(self, request: pb.GetCaseRequest, context: Context) -> pb.GetCaseResponse:
        self._begin(context)
        steps = [pb.CaseStep(status="RAISED", time_s=7, index=4, entry=b"\x01\x02")]
        return pb.GetCaseResponse(
            case=pb.Case(case=request.case, check="C15", subject="US", status="RAISED", steps=steps)
        )

    def ListCases(self, request: pb.ListCasesRequest, context: Context) -> pb.ListCasesResponse:
        self._begin(context)
        return pb.ListCasesResponse(cases=[pb.Case(case="C15:US:x", check="C15", severity=4)])

    def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        self._begin(context)
        return pb.ListRunsResponse(runs=[pb.RunSummary(run="acme/r1", tier=2, gates=["flop"])])

    def ListFacilities(
        self, request: pb.ListFacilitiesRequest, context: Context
    ) -> pb.ListFacilitiesResponse:
        self._begin(context)
        return pb.ListFacilitiesResponse(
            facilities=[pb.FacilitySummary(facility="dc1", operator="acme", capacity_mh=5)]
        )

    def _begin(self, context: Context) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        if self.mood is Mood.STARTING:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")

    def _refuse(self, context: Context, status: grpc.StatusCode, refusal: pb.Refusal) -> None:
        context.set_trailing_metadata((("foedus-refusal-bin", refusal.SerializeToString()),))
        context.abort(status, refusal.why)
