"""`foedus node confirm-loss`: the operator's word, where a node lost its sign state and one answer is missing for good."""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from foedus.v1 import client_pb2 as pb
from node.cli.asking import DEFAULT_HOME, HomeOption, NodeOption, addresses, ledger_of, own_state
from node.cli.client import LedgerClient
from node.cli.errors import CouldNot
from node.reporting import JsonOption, Report, reporting
from node.settings import FILE_NAME, load_settings
from node.storage.errors import WriteFailed
from node.storage.sign_state import confirm_loss

LOOK_S: Final = 0.5
WAIT_S: Final = 60.0


def confirm_loss_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", help="Seconds to wait until the node signs again.", min=0)
    ] = WAIT_S,
    json_output: JsonOption = False,
) -> None:
    """Tell this home's running node that its sign state is lost and that those who are silent stay so.

    A node that finds blocks of its own and no record of what it signed last signs nothing until a quorum of the others has shown
    what it holds: then it knows which rounds are safe. If one answer is missing for good, this says so in its place, and the
    node may sign again, at the earliest 4 delta after it saw the loss, from two rounds above what they hold: when a quorum of
    the others gets there. It is of use where members are silent to this node alone; where they are down, they must come back.

    Be sure of two things. The key of this node runs nowhere else. And of the members that do not answer, none is merely slow:
    if all who answered lied and a silent honest one knows of a later round, this node may sign a round twice, and its
    state answers for that.

    Exit status: 0 the node signs again; 1 it has lost nothing, too few have answered for a word to do, or it does not sign yet;
    2 the node could not be asked, or its folder not be written.

    For example:

      foedus status --home us

      foedus node confirm-loss --home us
    """
    with reporting(json_output) as report:
        if not (home / FILE_NAME).exists():
            raise CouldNot(f"{home}: no {FILE_NAME} there: name a home by --home")
        asyncio.run(_confirm(report, home, node, yes=yes, wait_s=wait_s))


async def _confirm(
    report: Report, home: Path, node: list[str] | None, *, yes: bool, wait_s: float
) -> None:
    state = own_state(home)
    assert state is not None, "the settings were there"
    (address, *_) = addresses(ledger_of(home, None), home, node)
    if address.state != state:
        raise CouldNot(f"--node {address.state}: this home's node is {state}")
    async with LedgerClient(address) as client:
        before = (await client.status()).signing
        if not before.sign_state_lost:
            _show(report, state, before)
            report.answer_is_no(f"node {state} has lost no sign state: {before.state}")
            return
        if not before.may_confirm_loss:
            _show(report, state, before)
            report.answer_is_no(
                f"node {state}: {before.answers} of {before.answers_needed} members have answered: a word stands for one of them,"
                " not for more; bring others back first"
            )
            return
        _ask(state, before, yes=yes, is_json=report.as_json)
        try:
            confirm_loss(load_settings(home / FILE_NAME, {}).data_path)
        except WriteFailed as err:
            raise CouldNot(str(err)) from err
        after = await _signs_again(client, wait_s)
        _show(report, state, after)
        if after.sign_state_lost:
            report.answer_is_no(
                f"node {state} does not sign after {wait_s:g} s: look at its log and status"
            )


def _ask(state: str, signing: pb.SigningStatus, *, yes: bool, is_json: bool) -> None:
    if yes:
        return
    if is_json:
        raise CouldNot("--json does not ask: add --yes if you are sure")
    typer.confirm(
        f"{signing.answers} of {signing.answers_needed} members have shown node {state} what they hold. Is its key in use nowhere"
        " else, and are the silent members down?",
        abort=True,
        err=True,
    )


async def _signs_again(client: LedgerClient, wait_s: float) -> pb.SigningStatus:
    deadline = time.monotonic() + wait_s
    while True:
        signing = (await client.status()).signing
        if not signing.sign_state_lost or time.monotonic() > deadline:
            return signing
        await asyncio.sleep(LOOK_S)


def _show(report: Report, state: str, signing: pb.SigningStatus) -> None:
    report.show(
        {
            "state": state,
            "signing": signing.state,
            "sign_state_lost": signing.sign_state_lost,
            "answers": signing.answers,
            "answers_needed": signing.answers_needed,
        },
        f"node {state}: {signing.state}",
    )
