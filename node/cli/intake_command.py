"""`foedus intake`: a gateway's settings, the gateway itself, and a device that speaks to it."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.asking import DEFAULT_HOME, GenesisOption, HomeOption, ledger_of
from node.cli.errors import CouldNot
from node.cli.intake_run import prepare, run
from node.cli.outbox import write_durably
from node.cli.passphrases import read_passphrase
from node.intake.adapter import BrokerSettings
from node.intake.device import Device, SequenceFile, publish
from node.intake.reading import TOPIC_PREFIX, MalformedReading, Reading, parse_topic
from node.intake.settings import FILE_NAME, IntakeSettings, documented_intake
from node.reporting import Exit, JsonOption, reporting
from node.settings import host_and_port
from node.signing.keystore import read_agency_keys
from node.telemetry import start_logging

_CONFIG: Final = Path(FILE_NAME)

ConfigOption = Annotated[
    Path, typer.Option("--config", help="The gateway's settings.", metavar="FILE")
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File of one line with the key file's passphrase; else that of the settings, else you are asked.",
        show_default=False,
        metavar="FILE",
    ),
]


def init_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Settings to write.")] = _CONFIG,
    *,
    json_output: JsonOption = False,
) -> None:
    """Write a gateway's settings with every default explained; facilities and devices are yours to fill in.

    The operator's key file is made by `foedus keys new`, and its party must be registered on the ledger; so must each
    facility, by a declaration that this operator signs.

    Exit status: 0 written, 2 not: the file is there already.

    For example:

      foedus intake init

      foedus intake init site/intake.toml --json
    """
    with reporting(json_output) as report:
        if file.exists():
            raise CouldNot(f"{file}: is there already: move it away, or edit it")
        text = documented_intake(IntakeSettings(home=file.parent))
        write_durably(file, text.encode(), mode=0o644)
        report.show(
            {"file": str(file)},
            f"{file}: fill in [[facility]] and [[device]], then: foedus intake run --config {file}",
        )


def run_command(
    *,
    config: ConfigOption = _CONFIG,
    passphrase_file: PassphraseOption = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Go on from where the ledger has this author's chain. Only if no other outbox signs for it.",
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Run the gateway until SIGTERM or SIGINT: device readings from the broker become signed reports on the ledger.

    --json makes its log one JSON object a line (as FOEDUS_LOG_FORMAT=json does); it goes to standard error. Each setting of
    the file can be overridden by the environment: FOEDUS_<TABLE>_<NAME>.

    Exit status: 0 stopped when told to; 1 it cannot go on, and its last line says why; 2 nothing was started.

    For example:

      foedus intake run --config site/intake.toml

      FOEDUS_BROKER_ADDRESS=10.0.0.7:1883 foedus intake run --passphrase-file operator.pass --json
    """
    with reporting(json_output) as report:
        prepared = prepare(config, passphrase_file, os.environ)
        form = "json" if json_output else prepared.settings.log.format
        start_logging(form, prepared.settings.log.level)
        if not asyncio.run(run(prepared, adopt=adopt)):
            report.exit = Exit.NO


def device_command(
    values: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="VALUE...",
            help="Readings taken now; else lines of standard input: VALUE, or TIME VALUE in Unix seconds.",
            show_default=False,
        ),
    ] = None,
    *,
    keys: Annotated[Path, typer.Option("--keys", help="The device's key file.", metavar="FILE")],
    topic: Annotated[
        str,
        typer.Option("--topic", help="STATE/FACILITY/DEVICE/KIND; kind: power, energy or pflop."),
    ],
    broker: Annotated[
        str, typer.Option("--broker", help="host:port of the MQTT broker.")
    ] = "127.0.0.1:1883",
    ca_file: Annotated[
        str, typer.Option("--ca-file", help="Certificates to trust (PEM); empty: no TLS.")
    ] = "",
    username: Annotated[str, typer.Option("--username", help="Empty: none.")] = "",
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            help="File of one line with the broker's password.",
            show_default=False,
        ),
    ] = None,
    sequence_file: Annotated[
        Path | None,
        typer.Option(
            "--sequence-file",
            help="Where the next sequence number is kept; else beside the key file, one for each kind.",
            show_default=False,
        ),
    ] = None,
    passphrase_file: PassphraseOption = None,
    within: Annotated[
        float, typer.Option("--within", help="Seconds to wait for the broker.", min=0.1)
    ] = 60.0,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    json_output: JsonOption = False,
) -> None:
    """Sign readings with a device's key and publish them: a meter in software, for tests and as a model for those who build one.

    The key file is one of `foedus keys new`; its public key (`foedus keys show`) goes into the gateway's settings. The topic's
    prefix, foedus/v1, is added.

    Exit status: 0 the broker has them all; 2 not: a wrong value, or no broker in time. Those that it has are counted once.

    For example:

      foedus intake device 1200 1350 --keys meter-7.key --topic KE/dc1/meter-7/energy --genesis genesis.cbor

      read-meter | foedus intake device --keys meter-7.key --topic KE/dc1/meter-7/power --broker broker.site:1883 --json
    """
    with reporting(json_output) as report:
        try:
            source = parse_topic(f"{TOPIC_PREFIX}/{topic.removeprefix(TOPIC_PREFIX + '/')}")
            host, port = host_and_port(broker)
            founded = ledger_of(home, genesis)
            password = None
            if password_file is not None:
                password = read_passphrase(password_file, "the broker").decode("utf-8", "replace")
            agency = read_agency_keys(keys, read_passphrase(passphrase_file, str(keys)))
            memory = SequenceFile(
                sequence_file or keys.with_name(f"{keys.name}.{source.kind.value}.sequence")
            )
            device = Device(
                source, key=agency.author, ledger=founded.chain_id, sequence=memory.next()
            )
            connection = BrokerSettings(
                host=host.strip("[]"),
                port=port,
                identifier=f"device-{source.device}-{source.kind.value}",
                username=username or None,
                password=password,
                ca_file=ca_file or None,
            )
            count = asyncio.run(_publish(connection, device, memory, values, within))
        except MalformedReading as err:
            raise CouldNot(str(err)) from err
        except TimeoutError as err:
            raise CouldNot(f"broker {broker}: not all readings taken in {within:g} s") from err
        report.show(
            {"topic": source.topic, "published": count, "next_sequence": device.sequence},
            f"{count} published on {source.topic}; the next has sequence {device.sequence}",
        )


async def _publish(
    broker: BrokerSettings,
    device: Device,
    memory: SequenceFile,
    values: Sequence[int] | None,
    within_s: float,
) -> int:
    if values:
        async with asyncio.timeout(within_s):
            return await publish(broker, _readings(device, memory, values))
    return await publish(broker, _typed(device, memory))


async def _readings(
    device: Device, memory: SequenceFile, values: Sequence[int]
) -> AsyncIterator[Reading]:
    for value in values:
        yield _next(device, memory, int(time.time()), value)


async def _typed(device: Device, memory: SequenceFile) -> AsyncIterator[Reading]:
    """One reading a line of standard input, as it comes, until it ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        words = line.split()
        if not words:
            continue
        if len(words) > 2 or not all(word.isascii() and word.isdigit() for word in words):
            raise MalformedReading(f"line {line.strip()[:80]!r}: want VALUE or TIME VALUE")
        time_s = int(words[0]) if len(words) == 2 else int(time.time())
        yield _next(device, memory, time_s, int(words[-1]))


def _next(device: Device, memory: SequenceFile, time_s: int, value: int) -> Reading:
    memory.keep(
        device.sequence + 1
    )  # a number that was used is never used again, whatever happens now
    return device.reading(time_s=time_s, value=value)


def intake_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Device readings over MQTT become signed reports.\n\nFor example: foedus intake run --config intake.toml",
    )
    app.command("init")(init_command)
    app.command("run")(run_command)
    app.command("device")(device_command)
    return app
