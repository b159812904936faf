"""Step 1: five key sets, founding declarations, genesis, five processes, first commit, veto check."""

import asyncio
import json
import secrets
import time
from pathlib import Path
from typing import Final

from foedus.v1 import client_pb2 as pb
from node.cli import founding as product
from node.cli.demo import cast as story_cast
from node.cli.demo.cast import ACCUSED, STATES, Party
from node.cli.demo.processes import free_ports
from node.cli.demo.show import expect
from node.cli.demo.side_by_side import side_by_side
from node.cli.demo.story import Story
from node.cli.founding import Endpoints, Home, genesis_view, install_genesis
from node.cli.outbox import write_durably
from node.settings import ListenSettings
from node.signing.keys import generate_agency_keys

CENSORING_NODE: Final = "node.cli.demo.censoring_node"


async def found(story: Story) -> None:
    """Five states, each with keys of its own, sign one document; their nodes make the first commit."""
    show = story.show
    show.doing("five states make their keys")
    homes = await _homes(story.folder)
    show.fact(
        f"{len(homes)} key sets in encrypted files (argon2id): block, log, cosigner, transport; author, vote"
    )
    parties = [
        Party(id=name, role=role, state=state, keys=generate_agency_keys(name, with_vote=False))
        for name, (role, state) in story_cast.party_roles().items()
    ]
    show.doing("each state reads and signs the genesis")
    proposal = product.propose(
        [home.declaration for home in homes], story_cast.terms(parties, story.deadline_s)
    )
    document = product.combine([product.sign_proposal(proposal, home.node_keys) for home in homes])
    for home in homes:
        founded = install_genesis(home.folder, document)
    write_durably(story.genesis_path, document, mode=0o644)
    cast = story_cast.cast_of(homes, parties, founded.chain_id)
    story.found(founded, cast, homes, parties)
    show.fact(
        f"genesis {founded.chain_id.hex()[:16]}… of {founded.genesis.origin}, signed by {len(homes)} of {len(homes)}"
    )
    await _start(story)
    await _first_commit(story)
    await _veto_check(story)


async def _homes(folder: Path) -> list[Home]:
    """Key derivation is meant to be slow: as many at once as there are cores."""
    ports = free_ports(4 * len(STATES))
    return await side_by_side(
        *(
            asyncio.to_thread(_home, folder, state, ports[4 * at : 4 * at + 4])
            for at, state in enumerate(STATES)
        )
    )


def _home(folder: Path, state: str, ports: list[int]) -> Home:
    passphrase = secrets.token_hex(16).encode()
    file = folder / f"{state}.passphrase"
    write_durably(file, passphrase + b"\n", mode=0o600)
    peer, client, http, metrics = (f"127.0.0.1:{port}" for port in ports)
    return product.make_home(
        folder / state,
        state=state,
        endpoints=Endpoints(peer=peer, client=client, http=http),
        passphrase=passphrase,
        passphrase_file=file,
        listen=ListenSettings(peer=peer, client=client, http=http, metrics=metrics),
        pace="drill",
        log_format="json",
    )


async def _start(story: Story) -> None:
    show = story.show
    show.doing("five node processes start")
    for state in STATES:
        # Each state runs what it likes. The accused state's program is honest too, until its state is accused.
        story.start_node(state, CENSORING_NODE if state == ACCUSED else "")
    for child in list(story.nodes.values()):
        await story.processes.until_said(child, "ready")
    await story.connect(*STATES)
    statuses = await story.statuses()
    expect(
        {status.chain_id for status in statuses.values()} == {story.founded.chain_id},
        "five nodes serve the ledger just founded",
        {state: status.chain_id.hex()[:16] for state, status in statuses.items()},
    )
    pids = {state: story.nodes[state].pid for state in story.running()}
    story.outcome.states = len(statuses)
    story.outcome.processes = len(set(pids.values()))
    show.fact(
        f"{len(pids)} processes: {', '.join(f'{state} {pid}' for state, pid in pids.items())}"
    )


async def _first_commit(story: Story) -> None:
    """One state publishes the hash of what was founded; it must become final on every node."""
    ledger = story.founded.chain_id
    opening = story.cast.states["GB"].say("note", {"type": "publication", "hash": ledger})
    began = time.monotonic()
    story.show.doing("the first entry is final on five nodes")
    await story.submit_all([(opening, "GB")])
    status = await story.one_root()
    story.show.fact(
        f"first commit: {status.log_size} entries, final by {status.quorum} of {status.members} states,"
        f" {time.monotonic() - began:.1f} s"
    )


async def _veto_check(story: Story) -> None:
    """MODEL 7: what the nodes compute, what the ledger recorded at genesis, what `foedus genesis show` prints."""
    said = {state: veto_numbers(await story.clients[state].veto_check()) for state in STATES}
    shown = genesis_view(story.founded.genesis, story.founded.document)["veto_check"]
    recorded = await story.clients["KE"].list_entries(pb.ListRequest(kind="veto_check", limit=1))
    record = json.loads(recorded.entries[0].json) if recorded.entries else {}
    numbers = {
        (shown["members"], shown["k"], shown["f"], shown["veto_possible"]),
        (
            record.get("members"),
            record.get("k"),
            record.get("f"),
            bool(record.get("veto_possible")),
        ),
        *said.values(),
    }
    expect(
        len(numbers) == 1 and not shown["veto_possible"],
        "nodes, genesis and ledger agree that no state has a veto",
        f"nodes {said}, genesis {shown}, ledger {record}",
    )
    rules = ", ".join(f"{rule.upper()} {k}" for rule, k in shown["one_recused"].items())
    story.show.fact(
        f"veto check: {shown['shown_as']}. States that cannot stop a rule even with one recused: {rules}"
    )


def veto_numbers(check: pb.GetVetoCheckResponse) -> tuple[int, int, int, bool]:
    return check.members, check.k, check.f, check.veto_possible
