"""`foedus submit`, `vote`, `endorse`: from a draft to a signed entry in nodes' hands, and on to finality.

The way of a draft: content bytes -> endorsements of others -> signed into the author's chain (outbox first) -> a node, then
others if it stays deaf (RULINGS R59) -> acknowledgements kept -> final, proven by a receipt and not by a node's word.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.cli.asking import (
    DEFAULT_HOME,
    GenesisOption,
    HomeOption,
    KeysOption,
    NodeOption,
    PassphraseOption,
    author_keys,
    ledger_of,
    open_nodes,
    own_state,
)
from node.cli.author import Author
from node.cli.client import ChainTip, state_word
from node.cli.errors import CouldNot, Dropped, OutboxBehind, Refused
from node.cli.founding import OUTBOX, Founded, read_bounded
from node.cli.nodes import Nodes, Submission
from node.cli.outbox import FileOutbox, Tip, parsed_entry, write_durably
from node.cli.policies import policies_of
from node.cli.receipts import verify_receipt
from node.cli.statements import (
    DRAFT_BYTES_MAX,
    INTEGER_MAX,
    VOTE,
    Draft,
    class_of,
    content_bytes,
    kind_of,
    parse_draft,
    period_of,
    refs_of,
)
from node.ledger.view import message_view
from node.log.tiles import ENTRY_BYTES_MAX
from node.reporting import JsonOption, Report, reporting
from node.signing.statements import entry_hash
from node.treaty.parsing import header_subject, parse_content

_ENTRY_FIRST_BYTE: Final = 0xD2
ENDORSEMENT_BYTES_MAX: Final = 1024


class WaitFor(StrEnum):
    """How far an entry must have come before the command ends."""

    TAKEN = "taken"
    INTEGRATED = "integrated"
    FINAL = "final"


WaitOption = Annotated[
    WaitFor,
    typer.Option(
        "--wait",
        help="taken: a node has it on disk. integrated: in the log. final: a quorum cosigned it; verified here.",
    ),
]
WithinOption = Annotated[
    float, typer.Option("--within", help="Seconds to wait for that.", min=0.1, max=86_400)
]
NextAfterOption = Annotated[
    float,
    typer.Option(
        "--next-after",
        help="Give it to f+1 nodes when the first has not included it after so many seconds.",
        min=0.1,
    ),
]
OutboxOption = Annotated[
    Path | None,
    typer.Option(
        "--outbox",
        help=f"Folder of outboxes; else {OUTBOX} of the home. One per author, wherever it signs from.",
        show_default=False,
    ),
]
AdoptOption = Annotated[
    bool,
    typer.Option(
        "--adopt",
        help="Go on from where the ledger has this author's chain. Only if no other outbox signs for it.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to submit."""

    wait: WaitFor
    within_s: float
    next_after_s: float


def submit_command(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Draft in JSON, content written by --content-out, or a signed entry.",
            show_default=False,
        ),
    ] = None,
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    keys: KeysOption = None,
    passphrase_file: PassphraseOption = None,
    outbox: OutboxOption = None,
    kind: Annotated[
        str,
        typer.Option(help="Instead of FILE: usage, run, TRAIN, ...", show_default=False),
    ] = "",
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A field of the body; the value is JSON, or a text. May be repeated.",
            metavar="NAME=VALUE",
            show_default=False,
        ),
    ] = None,
    ref: Annotated[
        list[str] | None,
        typer.Option(help="Hash of an entry referred to; may be repeated.", show_default=False),
    ] = None,
    period: Annotated[
        str, typer.Option(help="START,END in unix seconds.", show_default=False)
    ] = "",
    confidentiality: Annotated[
        str, typer.Option("--class", help="P public, R restricted, S secret.")
    ] = "R",
    endorsement: Annotated[
        list[Path] | None,
        typer.Option(
            help="A countersignature from `foedus endorse`; may be repeated.", show_default=False
        ),
    ] = None,
    content_out: Annotated[
        Path | None,
        typer.Option(
            help="Write the content for others to endorse, and submit nothing.", show_default=False
        ),
    ] = None,
    author: Annotated[
        str,
        typer.Option(
            help="With --content-out: the author, if not the home's state.", show_default=False
        ),
    ] = "",
    resend: Annotated[
        bool, typer.Option("--resend", help="Only send again what waits in the outbox.")
    ] = False,
    instead: Annotated[
        bool,
        typer.Option(
            "--instead",
            help="Replace the outbox's last entry: same content, with other endorsements or another key.",
        ),
    ] = False,
    adopt: AdoptOption = False,
    wait: WaitOption = WaitFor.FINAL,
    within: WithinOption = 60.0,
    next_after: NextAfterOption = 10.0,
    json_output: JsonOption = False,
) -> None:
    """Sign a statement or motion into its author's chain, and give it to nodes.

    A draft is {"kind": "usage", "period": [s, e], "refs": [], "class": "R", "body": {...}}, its fields those of content.proto.
    The chain's new place is on disk before the entry leaves; what waits in the outbox goes first. Acknowledgements are
    verified and kept beside it.

    Exit status: 0 as far as --wait wants; 1 refused, left out, or recorded as rejected by the law (the code says why);
    2 no node could be asked, the deadline passed (send again with --resend), or the draft is wrong.

    For example:

      foedus submit usage.json --home us --keys acme.key

      foedus submit --kind note --set type=reply --set about=C15:US:lineage:acme/base --home us

      foedus submit run.json --author acme --content-out run.content --home us

      foedus submit run.content --endorsement us.endorsement --keys acme.key --node KE --node BR --json
    """
    with reporting(json_output) as report:
        founded = ledger_of(home, genesis)
        wish = Wish(wait=wait, within_s=within, next_after_s=next_after)
        data = read_bounded(file, DRAFT_BYTES_MAX) if file is not None else None
        if data is not None and data[:1] == bytes((_ENTRY_FIRST_BYTE,)):
            _submit_ready(report, founded, open_nodes(founded, home, node), data, wish)
            return
        draft = None if resend else _draft(data, kind, fields, ref, period, confidentiality)
        if content_out is not None:
            write_content(report, founded, home, draft, author, content_out)
            return
        agency = author_keys(home, keys, passphrase_file)
        with FileOutbox(
            outbox or home / OUTBOX, ledger=founded.chain_id, author=agency.author_id
        ) as box:
            signer = Author(agency, ledger=founded.chain_id, outbox=box)
            content = signer.content(draft) if isinstance(draft, Draft) else draft
            endorsements = [read_bounded(path, ENDORSEMENT_BYTES_MAX) for path in endorsement or ()]
            work = Chain(signer, box, founded, open_nodes(founded, home, node), wish, adopt=adopt)
            asyncio.run(work.say(report, content, endorsements, instead=instead))


def vote_command(
    motion: Annotated[
        str, typer.Argument(metavar="MOTION", help="Hash of the motion filed, or its id.")
    ],
    choice: Annotated[str, typer.Argument(metavar="yes|no|abstain")],
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    keys: KeysOption = None,
    passphrase_file: PassphraseOption = None,
    outbox: OutboxOption = None,
    mandate_ref: Annotated[
        str,
        typer.Option(help="Hash of the own mandate note, where one is needed.", show_default=False),
    ] = "",
    adopt: AdoptOption = False,
    wait: WaitOption = WaitFor.FINAL,
    within: WithinOption = 60.0,
    next_after: NextAfterOption = 10.0,
    json_output: JsonOption = False,
) -> None:
    """Vote on a motion with the state's vote key. Until it closes, the last valid vote counts.

    Exit status: as of `foedus submit`; 1 also if the vote is recorded but not counted (CLOSED, NOT_ELIGIBLE, MANDATE).

    For example:

      foedus vote 5f0c... yes --home ke

      foedus vote BREACH:C15:US:lineage:acme/base no --home ke --node BR --json
    """
    with reporting(json_output) as report:
        body: dict[str, Any] = {"motion": motion, "choice": choice}
        if mandate_ref:
            body["mandate_ref"] = mandate_ref
        founded = ledger_of(home, genesis)
        # Read before a passphrase is asked for: a misspelt choice needs none.
        content_bytes(Draft(kind=VOTE, body=body), ledger=founded.chain_id, author="check")
        agency = author_keys(home, keys, passphrase_file)
        with FileOutbox(
            outbox or home / OUTBOX, ledger=founded.chain_id, author=agency.author_id
        ) as box:
            signer = Author(agency, ledger=founded.chain_id, outbox=box)
            content = signer.content(Draft(kind=VOTE, body=body))
            wish = Wish(wait=wait, within_s=within, next_after_s=next_after)
            work = Chain(signer, box, founded, open_nodes(founded, home, node), wish, adopt=adopt)
            asyncio.run(work.say(report, content, ()))


def endorse_command(
    content: Annotated[
        Path, typer.Argument(metavar="CONTENT", help="What `submit --content-out` wrote.")
    ],
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    keys: KeysOption = None,
    passphrase_file: PassphraseOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; else PARTY.endorsement.", show_default=False
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Countersign another party's content: shows what it says, and writes the endorsement. Touches no chain.

    Exit status: 0 written, 2 not: not a content, or of another ledger.

    For example:

      foedus endorse run.content --home us -o us.endorsement
    """
    with reporting(json_output) as report:
        founded = ledger_of(home, genesis)
        data = read_bounded(content, DRAFT_BYTES_MAX)
        view = content_view(data)
        if not report.as_json:
            report.note(json.dumps(view, indent=2, ensure_ascii=False))
        agency = author_keys(home, keys, passphrase_file)
        endorsement = Author(agency, ledger=founded.chain_id).endorse(data)
        path = out or Path(f"{agency.author_id}.endorsement")
        write_durably(path, endorsement, mode=0o644)
        report.show(
            {"file": str(path), "endorser": agency.author_id, "content": view},
            f"{agency.author_id} endorses {view['subject']} of {view['author']}: {path}",
        )


def content_view(data: bytes) -> dict[str, Any]:
    """What an endorser is asked to sign, for people. Raises MalformedContent."""
    content = parse_content(data)
    alternative = content.WhichOneof("body")
    assert alternative is not None, "parse_content let a content without a body through"
    return {
        "content_hash": sha256(data).hexdigest(),
        "ledger": content.ledger.hex(),
        "author": content.author,
        "subject": header_subject(data),
        "period": [content.period.start, content.period.end]
        if content.HasField("period")
        else None,
        "refs": [ref.hex() for ref in content.refs],
        "body": message_view(getattr(content, alternative)),
    }


class Chain:
    """One author's chain between its outbox and the nodes, for one command."""

    def __init__(
        self,
        signer: Author,
        box: FileOutbox,
        founded: Founded,
        nodes: Nodes,
        wish: Wish,
        *,
        adopt: bool,
    ) -> None:
        self._signer = signer
        self._box = box
        self._founded = founded
        self._nodes = nodes
        self._wish = wish
        self._adopt = adopt

    async def say(
        self,
        report: Report,
        content: bytes | None,
        endorsements: Sequence[bytes],
        *,
        instead: bool = False,
    ) -> None:
        """Send what waits, then this content; without one, only what waits."""
        async with self._nodes:
            tip = await self._nodes.first(lambda client: client.tip(self._signer.id))
            self._reconcile(tip)
            if instead:
                self._replace(content, endorsements, tip)
            elif content is not None:
                self._signer.wrap(content, endorsements)
            waiting = self._box.waiting(tip.seq + 1)
            if not waiting:
                report.show({"entries": []}, "nothing waits in the outbox")
                return
            for entry in waiting[:-1]:
                self._keep(entry, await self._nodes.give(entry))
            if len(waiting) > 1:
                report.note(f"{len(waiting) - 1} earlier entries of the outbox sent again")
            await self._send_last(report, waiting[-1])

    def _reconcile(self, tip: ChainTip) -> None:
        """The outbox must not be behind the ledger: what it would sign next could be a seq used already."""
        own = self._box.tip
        ledger = Tip(seq=tip.seq, entry_hash=tip.entry_hash)
        if own.seq > ledger.seq or own == ledger:
            return
        if self._adopt:
            ahead = Tip(seq=tip.pending_seq, entry_hash=tip.pending_hash)
            self._box.adopt(ahead if ahead.seq > ledger.seq else ledger)
            return
        raise OutboxBehind(
            f"{self._signer.id}: the ledger has entry {ledger.seq} ({ledger.entry_hash.hex()}), this outbox stands at"
            f" {own.seq}: another outbox has signed for it. Sign there; or, if that one is gone for good, give --adopt"
        )

    def _replace(self, content: bytes | None, endorsements: Sequence[bytes], tip: ChainTip) -> None:
        last = self._box.tip
        if content is None or last.seq == 0 or tip.seq >= last.seq:
            raise CouldNot(
                "--instead: no content given, or the outbox's last entry is in the log already"
            )
        kept = parsed_entry(self._box.waiting(last.seq)[0])
        before = Tip(seq=last.seq - 1, entry_hash=kept.prev)
        self._box.replace_last(self._signer.seal(content, endorsements, before).entry)

    async def _send_last(self, report: Report, entry: bytes) -> None:
        seq = self._box.tip.seq
        facts = {"author": self._signer.id, "seq": seq, "entry_hash": entry_hash(entry).hex()}
        outcome = await _follow(report, self._nodes, self._founded, entry, self._wish, facts)
        if outcome is None:
            return
        self._keep(entry, outcome)
        if outcome.progress is not None and self._wish.wait is WaitFor.FINAL:
            self._box.forget_final(seq)

    def _keep(self, entry: bytes, submission: Submission) -> None:
        seq = parsed_entry(entry).seq
        for taken in submission.taken:
            if taken.acknowledgement:
                self._box.keep_acknowledgement(seq, taken.node, taken.acknowledgement)


async def _follow(
    report: Report,
    nodes: Nodes,
    founded: Founded,
    entry: bytes,
    wish: Wish,
    facts: dict[str, Any],
) -> Submission | None:
    """Give an entry, wait as wished, report. None if the answer is no."""
    try:
        if wish.wait is WaitFor.TAKEN:
            outcome = await nodes.give(entry)
        else:
            outcome = await nodes.submit(
                entry,
                until_final=wish.wait is WaitFor.FINAL,
                next_after_s=wish.next_after_s,
                within_s=wish.within_s,
            )
    except (Refused, Dropped) as err:
        document = {**facts, "state": "refused" if isinstance(err, Refused) else "dropped"}
        report.show({**document, "code": err.code, "why": str(err)}, f"NOT TAKEN: {err.code}")
        report.answer_is_no(str(err))
        return None
    final = outcome.progress is not None and wish.wait is WaitFor.FINAL
    receipt = await _prove_final(nodes, founded, entry, outcome) if final else None
    _show(report, outcome, facts, receipt)
    return outcome


async def _prove_final(
    nodes: Nodes, founded: Founded, entry: bytes, outcome: Submission
) -> dict[str, Any]:
    """Final by a receipt over our own bytes, not by a node's word. Raises CouldNot if it proves something else, or nothing."""
    given = await nodes.first(lambda client: client.receipt(outcome.entry_hash))
    verdict = verify_receipt(given.proof, await policies_of(nodes, founded), entry)
    if not verdict.proven:
        raise CouldNot(f"a node says final, but its receipt does not prove it: {verdict.why}")
    return {
        "index": verdict.index,
        "size": verdict.size,
        "root": verdict.root.hex(),
        "cosigned_by": list(verdict.witnesses),
    }


def _show(
    report: Report, outcome: Submission, facts: dict[str, Any], receipt: dict[str, Any] | None
) -> None:
    progress = outcome.progress
    state = state_word(progress.state if progress else outcome.taken[0].state)
    code = progress.code if progress else ""
    document = {
        **facts,
        "state": state,
        "index": progress.index if progress else None,
        "rejected": code or None,
        "taken_by": [
            {
                "node": taken.node,
                "acknowledged": bool(taken.acknowledgement),
                "inclusion_by_ms": taken.inclusion_by_ms,
            }
            for taken in outcome.taken
        ],
        "not_taken_by": [{"node": err.node, "why": err.why} for err in outcome.failures],
        "receipt": receipt,
    }
    place = f" at index {progress.index}" if progress and progress.index is not None else ""
    lines = [
        f"{state}{place}: {facts['entry_hash']}",
        f"  author {facts['author']}, seq {facts['seq']}, taken by {', '.join(t.node for t in outcome.taken)}",
    ]
    if receipt is not None:
        lines.append(f"  proven: cosigned by {', '.join(receipt['cosigned_by'])}")
    report.show(document, "\n".join(lines))
    for err in outcome.failures:
        report.note(str(err))
    if code:
        report.answer_is_no(f"recorded, but rejected by the law: {code}")


def _submit_ready(report: Report, founded: Founded, nodes: Nodes, entry: bytes, wish: Wish) -> None:
    """Relay an entry that somebody signed elsewhere; its outbox is theirs."""
    if len(entry) > ENTRY_BYTES_MAX:
        raise CouldNot(f"entry of {len(entry)} bytes: at most {ENTRY_BYTES_MAX}")
    parsed = parsed_entry(entry)
    if parsed.ledger != founded.chain_id:
        raise CouldNot(
            f"the entry is for ledger {parsed.ledger.hex()}, not {founded.chain_id.hex()}"
        )
    facts = {"author": parsed.author, "seq": parsed.seq, "entry_hash": entry_hash(entry).hex()}

    async def relay() -> None:
        async with nodes:
            await _follow(report, nodes, founded, entry, wish, facts)

    asyncio.run(relay())


def _draft(
    data: bytes | None,
    kind: str,
    fields: Sequence[str] | None,
    refs: Sequence[str] | None,
    period: str,
    confidentiality: str,
) -> Draft | bytes:
    """What to say: a JSON draft or --kind and --set, or content bytes as they are. Raises CouldNot."""
    if data is not None:
        if kind or fields or refs or period:
            raise CouldNot("FILE and --kind, --set, --ref, --period exclude one another")
        return parse_draft(data) if data.lstrip()[:1] == b"{" else data
    if not kind:
        raise CouldNot("nothing to submit: give a FILE, or --kind and its fields by --set")
    return Draft(
        kind=kind_of(kind),
        body=dict(map(_field, fields or ())),
        refs=refs_of(list(refs or ())),
        period=period_of(_numbers(period)) if period else None,
        confidentiality=class_of(confidentiality),
    )


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CouldNot(f"--set {text!r}: want NAME=VALUE")
    try:
        parsed = json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return name, value
    # A hash of decimal digits alone is still a hash.
    return name, value if isinstance(parsed, int) and abs(parsed) > INTEGER_MAX else parsed


def _numbers(text: str) -> list[int | str]:
    return [int(word) if word.isascii() and word.isdigit() else word for word in text.split(",")]


def write_content(
    report: Report,
    founded: Founded,
    home: Path,
    draft: Draft | bytes | None,
    author: str,
    out: Path,
) -> None:
    if not isinstance(draft, Draft):
        raise CouldNot("--content-out needs a draft: a JSON file, or --kind")
    party = author or _home_state(home)
    data = content_bytes(draft, ledger=founded.chain_id, author=party)
    write_durably(out, data, mode=0o644)
    view = content_view(data)
    report.show(
        {"file": str(out), "content": view},
        f"content of {view['subject']} by {party}: {out}\nto be endorsed by `foedus endorse {out}`",
    )


def _home_state(home: Path) -> str:
    state = own_state(home)
    if state is None:
        raise CouldNot(f"{home}: no home there: name the author by --author")
    return state
