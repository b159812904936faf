"""`foedus monitor`."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from node.audit.archive_command import genesis_bytes
from node.audit.evidence import write_numbered
from node.audit.monitor import Look, Monitor
from node.audit.outside import parse_witness
from node.audit.source import CannotAudit
from node.audit.two_roots import TwoRoots
from node.ledger.genesis import chain_id, parse_genesis
from node.log.note import NOTE_BYTES_MAX
from node.reporting import JsonOption, Report, reporting, sentence, table
from node.storage.files import OsFiles

EVERY_S: Final = 60
STALE_S: Final = 900


def monitor_command(
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL...]",
            help="Nodes, https://host:port. None: those of all members, founders and later ones.",
            show_default=False,
        ),
    ] = None,
    *,
    genesis: Annotated[
        Path,
        typer.Option(
            "--genesis",
            help="The genesis document, which you had before: it says whom to believe.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="An outside witness of this ledger (c2sp.org/tlog-witness) whose newest note is compared as well; repeat.",
            metavar="VKEY@URL",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option(
            help="File with the newest checkpoint seen, so that a later run holds the nodes to it. Made if it is not there.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    every: Annotated[int, typer.Option(help="Seconds from one look to the next.", min=1)] = EVERY_S,
    stale: Annotated[
        int, typer.Option(help="Seconds after which a checkpoint counts as old.", min=1)
    ] = STALE_S,
    once: Annotated[bool, typer.Option("--once", help="Look once and stop.")] = False,
    evidence: Annotated[
        Path, typer.Option(help="Folder for evidence files.", metavar="DIR")
    ] = Path(),
    json_output: JsonOption = False,
) -> None:
    """Compare all nodes' checkpoints, again and again, and raise the alarm with proof if they show two logs.

    Each look asks every node for its newest final checkpoint, judges it by the genesis, and has it proven that all of them, and
    the newest one seen before, are of one log; so is what outside witnesses cosigned of it, if --witness names any. Who is
    silent, old or behind is told, and proves nothing. Two logs end the command: the evidence file names the states that signed
    both, and `foedus-verify evidence` confirms it without this software. Of a fork that only a witness was shown, it names
    whose log key signed that. Runs until it is interrupted. Under --json, one object a look.

    Exit status: 0 one log, 1 two logs (evidence is written), 2 no node showed a checkpoint to believe.

    For example:

      foedus monitor --genesis genesis.cbor --memory seen.note

      foedus monitor https://ke.example:7452 https://us.example:7452 --genesis genesis.cbor --once --json

      foedus monitor --genesis genesis.cbor --witness igo.example/w+1f2e3d4c+BAAB...@https://igo.example/witness
    """
    with reporting(json_output) as report:
        document = genesis_bytes(genesis)
        founded = parse_genesis(document)
        monitor = Monitor(
            urls or (),
            founded,
            document,
            clock_s=lambda: int(time.time()),
            stale_s=stale,
            newest=_remembered(memory),
            witnesses=[parse_witness(text) for text in witness or ()],
        )
        with _until_interrupted() as ended:
            while True:
                look = monitor.look()
                written = [
                    _write(report, found, evidence, chain_id(document).hex())
                    for found in look.split
                ]
                _tell(report, look, written)
                if look.split:  # an alarm waits for no disk; what was remembered before holds on
                    break
                if memory is not None and monitor.newest is not None:
                    _remember(memory, monitor.newest)
                if once or ended.wait(every):
                    break
        if look.split:
            report.answer_is_no(f"TWO LOGS: {'; '.join(map(str, look.split))}")
        elif not look.believed and once:
            raise CannotAudit("no node showed a checkpoint that the genesis lets you believe")


def _tell(report: Report, look: Look, written: list[str | None]) -> None:
    document = {**look.as_json(), "evidence": written}
    if report.as_json:
        report.line(document, "")
        return
    report.line(
        document,
        f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(look.at_s))}  {look.believed} of {len(look.seen)} nodes,"
        + (f" {_well(look)} of {len(look.outside)} witnesses," if look.outside else "")
        + f" {look.size} entries final"
        + "".join(f"\nEVIDENCE  {path or 'not written'}" for path in written),
    )
    rows = [(one.state or "?", one.url, one.trouble) for one in look.seen if one.trouble]
    for one in look.outside:
        if one.trouble and one.witness is not None:
            rows.append((f"witness {one.witness.vkey.name}", one.url, one.trouble))
    if rows:
        report.console.print(table("not well", ("state", "node", "why"), rows))


def _well(look: Look) -> int:
    return sum(not one.trouble for one in look.outside)


def _remembered(memory: Path | None) -> bytes | None:
    """Raises OSError."""
    if memory is None or not memory.exists():
        return None
    with memory.open("rb") as file:
        return file.read(NOTE_BYTES_MAX + 1)


def _remember(memory: Path, note: bytes) -> None:
    files, fresh = OsFiles(), memory.with_name(memory.name + ".new")
    files.write(fresh, note)
    files.rename(fresh, memory)


def _write(report: Report, found: TwoRoots, folder: Path, ledger: str) -> str | None:
    """The file. None if the disk refuses: the alarm is raised all the same, and the proof is what standard error shows."""
    data = json.dumps(found.evidence, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        return str(write_numbered(folder, f"two-roots-{ledger[:8]}", data))
    except OSError as err:
        report.note(f"the evidence could not be written: {sentence(err)}. This is it:\n{data}")
        return None


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, instead of what they do else."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
