"""Step 2: facilities from the figures; MQTT readings become signed compute reports; each state's node shows the same root."""

import json
from typing import Final

from foedus.v1 import client_pb2 as pb
from node.cli.client import LedgerClient, node_at
from node.cli.demo.cast import SLOT_S, STATES, facilities, facility_id, operator_of
from node.cli.demo.metering import GRACE_S, Metering, Site
from node.cli.demo.processes import free_ports
from node.cli.demo.show import expect
from node.cli.demo.story import Story
from node.cli.nodes import Nodes

REPORTED_S: Final = SLOT_S + GRACE_S + 30.0  # the first slot's end, and time for a busy machine
GIVEN_TO: Final = ("CN", "GB", "KE", "BR")  # whom the gateway asks, in this order


async def report(story: Story) -> None:
    """Declare, meter, and wait for the first slot of every facility to be reported."""
    sites = await _declare(story)
    folder = story.folder / "intake"
    folder.mkdir(mode=0o700)
    (port,) = free_ports(1)
    founded = story.founded
    clients = [
        LedgerClient(node_at(founded.genesis, founded.chain_id, state)) for state in GIVEN_TO
    ]
    metering = Metering(
        folder,
        ledger=founded.chain_id,
        trust_policy=founded.trust_policy,
        sites=sites,
        operators={site.operator: story.parties[site.operator].keys for site in sites},
        nodes=Nodes(clients, members=len(STATES)),
        port=port,
    )
    story.meter(metering)
    await story.until(
        f"every facility's first {SLOT_S} s are reported",
        lambda: _missing(story, sites),
        REPORTED_S,
    )
    statements = await _reports(story, sites[0].state)
    story.show.fact(
        f"{metering.published} readings of {metering.sources} sources over MQTT, each signed by its meter;"
        f" {len(statements)} signed reports on the ledger"
    )
    for line in statements[:2]:
        story.show.note(line)
    status = await story.one_root()
    roots = {state: answer.root for state, answer in (await story.statuses()).items()}
    expect(len(roots) == len(STATES), "every state's node answers", sorted(roots))
    story.show.fact(
        f"each state's node shows the same root: {status.root.hex()[:16]}… over {status.log_size} entries"
    )


async def _declare(story: Story) -> list[Site]:
    """Each state's operator declares one facility, countersigned by its state."""
    story.show.doing("operators declare their facilities")
    figures = facilities()
    declared = {state: story.cast.declare(state, figures[state]) for state in STATES}
    places = await story.submit_all([(signed, state) for state, signed in declared.items()])
    sites: list[Site] = []
    for (state, _), place in zip(declared.items(), places, strict=True):
        assert place.index is not None, "submit_all waits until it is in the log"
        figure = figures[state]
        sites.append(
            Site(
                state=state,
                operator=operator_of(state),
                facility=facility_id(figure),
                figures=figure,
                anchor_s=await _ledger_second(story.clients[place.node], place.index),
            )
        )
        story.show.fact(
            f"{state}: {figure.name}{' (invented)' if figure.illustrative else ''},"
            f" {figure.capacity_mh // 1000} H100-equivalents, {figure.power_w / 1e6:.4g} MW"
        )
    return sites


async def _ledger_second(client: LedgerClient, index: int) -> int:
    """Ledger time of the commit that holds this leaf: its commit record is the next one."""
    answer = await client.list_entries(pb.ListRequest(kind="commit", first=index, limit=1))
    expect(bool(answer.entries), f"a commit record after entry {index}", "none")
    return int(json.loads(answer.entries[0].json)["time_ms"]) // 1000


async def _missing(story: Story, sites: list[Site]) -> str:
    """Which facilities have no accepted report of work and of energy that is final; "" if none is missing."""
    missing = []
    for site in sites:
        for kind in ("usage", "energy"):
            wanted = pb.ListRequest(author=site.operator, kind=kind, brief=True)
            answer = await story.clients[site.state].list_entries(wanted)
            rejected = [entry.code for entry in answer.entries if entry.code]
            expect(not rejected, f"the law takes {kind} of {site.facility}", rejected)
            if not any(entry.state == pb.ENTRY_STATE_FINAL for entry in answer.entries):
                missing.append(f"{kind} of {site.facility}")
    return ", ".join(missing)


async def _reports(story: Story, state: str) -> list[str]:
    """All reports on the ledger, in words."""
    said = []
    for kind in ("usage", "energy"):
        answer = await story.clients[state].list_entries(pb.ListRequest(kind=kind))
        for entry in answer.entries:
            content = json.loads(entry.json)
            body = content["body"]
            numbers = ", ".join(
                f"{name} {body[name]}"
                for name in ("pflop_total", "chips_on", "wh", "peak_w")
                if name in body
            )
            said.append(f"entry {entry.index}: {content['subject']}: {numbers}")
    return said
