"""`foedus template KIND` and `foedus file KIND --from FILE`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from foedus.v1 import law_pb2
from node.cli.asking import (
    DEFAULT_HOME,
    GenesisOption,
    HomeOption,
    KeysOption,
    NodeOption,
    PassphraseOption,
    ReaderOption,
    author_keys,
    ledger_of,
    open_nodes,
    own_state,
    reader_of,
)
from node.cli.author import Author
from node.cli.errors import CouldNot, MalformedDraft
from node.cli.filing.codes import meaning_of
from node.cli.filing.drafts import FORMATS, read_draft
from node.cli.filing.examples import variants_of
from node.cli.filing.schema import about
from node.cli.filing.templates import json_template, toml_template
from node.cli.founding import OUTBOX, read_bounded
from node.cli.nodes import Nodes
from node.cli.outbox import FileOutbox
from node.cli.statements import KINDS, Draft, content_bytes, kind_of
from node.cli.submit_command import (
    ENDORSEMENT_BYTES_MAX,
    AdoptOption,
    Chain,
    NextAfterOption,
    OutboxOption,
    WaitFor,
    WaitOption,
    Wish,
    WithinOption,
    content_view,
    write_content,
)
from node.log.cose import parse_detached
from node.log.errors import MalformedStatement
from node.reporting import JsonOption, Report, reporting, table

KindArgument = Annotated[
    str,
    typer.Argument(metavar="KIND", help="usage, run, TRAIN, vote, ...", show_default=False),
]


def template_command(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help="Without it: list the kinds.", show_default=False),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Argument(metavar="VARIANT", help="run plan, note reply, ...", show_default=False),
    ] = None,
    *,
    file_format: Annotated[
        str, typer.Option("--format", help="toml, which explains each field, or json.")
    ] = "toml",
    json_output: JsonOption = False,
) -> None:
    """Write a draft of one kind to standard output: every field, what it means, what it may be. It passes the form as it stands.

    Exit status: 0 written, 2 no such kind or variant.

    For example:

      foedus template

      foedus template run plan > plan.toml

      foedus template TRAIN --format json
    """
    with reporting(json_output) as report:
        if kind is None:
            rows = [(name, "|".join(variants_of(name)), about(name)) for name in KINDS]
            shown = [
                {"kind": name, "variants": list(variants_of(name)), "about": what}
                for name, _, what in rows
            ]
            columns = ("kind", "variants", "what it is")
            report.show({"kinds": shown}, table("Kinds", columns, rows))
            return
        named = kind_of(kind)
        variants = variants_of(named)
        if variant is not None and variant not in variants:
            known = ", ".join(variants) or "no variants"
            raise CouldNot(f"{named} has {known}, and no {variant}")
        if file_format not in FORMATS:
            raise CouldNot(f"--format {file_format}: want one of {', '.join(FORMATS)}")
        made = toml_template if file_format == "toml" else json_template
        text = made(named, variant or "")
        document = {"kind": named, "variant": variant or (variants[0] if variants else None)}
        report.show({**document, "format": file_format, "text": text}, text.rstrip("\n"))


def file_command(
    kind: KindArgument,
    *,
    source: Annotated[
        Path, typer.Option("--from", metavar="FILE", help="Draft: TOML (*.toml), else JSON.")
    ],
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    keys: KeysOption = None,
    passphrase_file: PassphraseOption = None,
    outbox: OutboxOption = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Sign nothing: ask a node what the law would say of it now."),
    ] = False,
    author: Annotated[
        str,
        typer.Option(
            help="With --check and --content-out: the author, if not the home's state.",
            show_default=False,
        ),
    ] = "",
    endorsement: Annotated[
        list[Path] | None,
        typer.Option(
            help="A countersignature from `foedus endorse`; may be repeated.", show_default=False
        ),
    ] = None,
    presume: Annotated[
        list[str] | None,
        typer.Option(
            help="With --check: as if this party had countersigned; may be repeated.",
            show_default=False,
        ),
    ] = None,
    content_out: Annotated[
        Path | None,
        typer.Option(
            help="Write the content for others to endorse, and file nothing.", show_default=False
        ),
    ] = None,
    reader_keys: ReaderOption = None,
    adopt: AdoptOption = False,
    wait: WaitOption = WaitFor.FINAL,
    within: WithinOption = 60.0,
    next_after: NextAfterOption = 10.0,
    json_output: JsonOption = False,
) -> None:
    """File a statement, motion or vote from a draft that `foedus template` began.

    Field by field it is validated before anything is signed; an error names the field and the rule. --check asks a node for
    the law's verdict on its present state, without signing or changing anything: it holds for now and is no promise. Whoever must
    countersign does so by --content-out, `foedus endorse` and --endorsement.

    Exit status: 0 filed as far as --wait wants, or the check would pass; 1 the law rejects it, or would (the code says why);
    2 the draft is wrong, or no node answered.

    For example:

      foedus file usage --from usage.toml --check --author acme --home us

      foedus file run --from plan.toml --content-out plan.content --author acme --home us

      foedus file run --from plan.toml --keys acme.key --endorsement us.endorsement --home us

      foedus file vote --from vote.toml --home ke --json
    """
    with reporting(json_output) as report:
        named = kind_of(kind)
        founded = ledger_of(home, genesis)
        draft = _valid(read_draft(source, named), founded.chain_id)
        endorsements = [read_bounded(path, ENDORSEMENT_BYTES_MAX) for path in endorsement or ()]
        if content_out is not None:
            write_content(report, founded, home, draft, author, content_out)
            return
        if check:
            content = content_bytes(draft, ledger=founded.chain_id, author=_party(home, author))
            endorsers = sorted({*(presume or ()), *map(_endorser, endorsements)})
            reader = reader_of(reader_keys, passphrase_file)
            asked = open_nodes(founded, home, node, reader)
            _show_verdict(report, content, asyncio.run(_check(asked, content, endorsers)))
            return
        agency = author_keys(home, keys, passphrase_file)
        with FileOutbox(
            outbox or home / OUTBOX, ledger=founded.chain_id, author=agency.author_id
        ) as box:
            signer = Author(agency, ledger=founded.chain_id, outbox=box)
            wish = Wish(wait=wait, within_s=within, next_after_s=next_after)
            work = Chain(signer, box, founded, open_nodes(founded, home, node), wish, adopt=adopt)
            asyncio.run(work.say(report, signer.content(draft), endorsements))


def _valid(draft: Draft, ledger: bytes) -> Draft:
    """The same draft, if its form is right: before a passphrase is asked for. Raises MalformedDraft naming field and rule."""
    try:
        content_bytes(draft, ledger=ledger, author="check")
    except MalformedDraft as err:
        raise MalformedDraft(f"{err}\nrule: {about(draft.kind)}") from None
    return draft


def _party(home: Path, author: str) -> str:
    party = author or own_state(home)
    if not party:
        raise CouldNot(f"{home}: no home there: name the author by --author")
    return party


def _endorser(endorsement: bytes) -> str:
    """Whose countersignature this is. Raises CouldNot."""
    try:
        return parse_detached(endorsement).header.issuer
    except MalformedStatement as err:
        raise CouldNot(f"--endorsement: {err}") from err


async def _check(nodes: Nodes, content: bytes, endorsers: Sequence[str]) -> law_pb2.CheckResponse:
    async with nodes:
        return await nodes.first(lambda client: client.check(content, endorsers))


def _show_verdict(report: Report, content: bytes, verdict: law_pb2.CheckResponse) -> None:
    meaning = meaning_of(verdict.code) if verdict.code else None
    document = {
        "would_pass": not verdict.code,
        "code": verdict.code or None,
        "why": verdict.why or None,
        "meaning": meaning.text if meaning else None,
        "rule": meaning.source if meaning else None,
        "commit": verdict.at.commit,
        "content": content_view(content),
    }
    if meaning is None:
        report.show(document, f"the law would take it, as of commit {verdict.at.commit}")
        return
    lines = [f"{verdict.code}: {meaning.text} ({meaning.source})", f"  {verdict.why}"]
    report.show(document, "\n".join(lines))
    report.answer_is_no(f"the law would not take it, as of commit {verdict.at.commit}")
