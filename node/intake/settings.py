"""A gateway's settings: one TOML file, environment over it, read once at start, as strictly as a node's.

    [intake]                     FOEDUS_INTAKE_GRACE_S=5 stands over grace_s = 2 of the file
    keys = "acme.key"
    ...
    [[facility]]                 one for each site that reports through this gateway
    facility = "dc1"
    ...
    [[device]]                   one for each source: a device and what it measures
    facility = "dc1"
    device = "meter-7"
    kind = "energy"
    public_key = "9f..."

Devices are registered here and nowhere else: whose key is not in this file is not listened to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from foedus.v1 import content_pb2 as pb
from node.intake.adapter import BrokerSettings
from node.intake.gateway import DeviceKey, GatewaySettings
from node.intake.reading import VALUE_MAX, Kind, Source, is_topic_name
from node.intake.statements import FacilityPlan
from node.intake.tally import DEVICES_MAX
from node.settings import (
    BadSettings,
    LogSettings,
    documented_table,
    host_and_port,
    read_toml,
    setting,
    table_of,
    with_environment,
)
from node.signing.errors import SigningError
from node.signing.keys import PUBLIC_KEY_BYTES, check_public_key
from node.treaty.chips import CHIP_TYPES
from node.treaty.statements.usage import USAGE_CLASSES

FILE_NAME: Final = "intake.toml"
FILE_BYTES_MAX: Final = 16 * 1024 * 1024  # some 50,000 devices
FACILITIES_MAX: Final = 1000
ROWS_MAX: Final = 100_000
CHIPS_MAX: Final = 100_000_000  # times the longest period in seconds, still below 2^53
PERIOD_S_MAX: Final = 31 * 86_400
DAY_S: Final = 86_400
_POINTS: Final = {
    "site": pb.METER_POINT_SITE,
    "hall": pb.METER_POINT_HALL,
    "substation": pb.METER_POINT_SUBSTATION,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeTable:
    """The gateway and its files. Relative paths start at the folder of this file."""

    genesis: str = setting("genesis.cbor", "The founding document of the ledger.")
    keys: str = setting("operator.key", "The operator's encrypted key file: who signs the reports.")
    passphrase_file: str = setting(
        "", "File with its passphrase; empty: --passphrase-file says which, else you are asked."
    )
    outbox: str = setting(
        "outbox",
        "Folder of outboxes. `foedus submit` for the same author must use the same: --outbox.",
    )
    journal: str = setting("intake.journal", "What must survive a crash. Never copy it back.")
    nodes: str = setting(
        "",
        "Nodes to ask, in order: KE, BR@host:port. Empty: all members, in the order of the genesis.",
    )
    grace_s: int = setting(
        2, "Seconds after a period's end in which readings may still come.", high=3600
    )
    hold_s: int = setting(
        900, "Seconds for which a power sample stands, if no other follows.", low=1, high=DAY_S
    )
    retain_days: int = setting(90, "Days for which signed readings are kept.", low=1, high=36_500)
    readings_max: int = setting(
        5_000_000, "Signed readings kept, about 200 bytes each; the oldest go first.", low=1000
    )
    resend_s: int = setting(
        10, "Seconds between attempts while nodes do not answer.", low=1, high=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTable:
    """The MQTT broker. It must keep sessions over its own restarts (Mosquitto: persistence true)."""

    address: str = setting("127.0.0.1:1883", "host:port.")
    identifier: str = setting(
        "foedus-intake", "Client identifier: the same after every restart, and nobody else's."
    )
    username: str = setting("", "Empty: none.")
    password_file: str = setting("", "File of one line with the password, for its owner alone.")
    ca_file: str = setting("", "Certificates to trust (PEM); empty: no TLS.")
    keepalive_s: int = setting(30, "Seconds of silence before a ping.", low=5, high=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTable:
    """Prometheus metrics, plain HTTP."""

    listen: str = setting("127.0.0.1:7463", "host:port on this machine alone; empty: none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityTable:
    """One site of the operator, as declared on the ledger."""

    facility: str = setting("", "Its name in the declaration.")
    state: str = setting("", "Code of the state where it is: the topic's first level.")
    chip_type: str = setting("H100", "Approved chip type.", one_of=tuple(CHIP_TYPES))
    chips_on: int = setting(0, "Chips running: the operator's own declaration.", high=CHIPS_MAX)
    workload_class: str = setting(
        "other", "What they do, in the words of `usage`.", one_of=tuple(sorted(USAGE_CLASSES))
    )
    anchor_s: int = setting(
        0,
        "Unix second from which periods are counted: the ledger time of the declaration. 0: asked of the ledger.",
        high=VALUE_MAX,
    )
    period_s: int = setting(
        DAY_S, "Seconds of one reporting period: the policy's slot.", low=1, high=PERIOD_S_MAX
    )
    point: str = setting("site", "Where its meters sit.", one_of=tuple(_POINTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTable:
    """One source: a device and one quantity that it measures."""

    facility: str = setting("", "The site where it stands.")
    device: str = setting("", "Its name: the topic's third level.")
    kind: str = setting(
        "energy",
        "power (W), energy (Wh) or pflop (1e15 operations).",
        one_of=tuple(kind.value for kind in Kind),
    )
    public_key: str = setting("", "Its Ed25519 key, 64 hex digits.")
    wraps_at: int = setting(
        0, "Its counter's values are below this and start again from 0; 0: never.", high=VALUE_MAX
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """All settings of one gateway. The tables have the names of the file's."""

    home: Path  # the folder of the file
    intake: IntakeTable = field(default_factory=IntakeTable)
    broker: BrokerTable = field(default_factory=BrokerTable)
    metrics: MetricsTable = field(default_factory=MetricsTable)
    log: LogSettings = field(default_factory=LogSettings)
    facility: tuple[FacilityTable, ...] = ()
    device: tuple[DeviceTable, ...] = ()

    def path(self, name: str) -> Path | None:
        """A file named in the settings; None if its name is empty."""
        return self.home / name if name else None

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.intake.nodes.split(",") if word.strip())


_TABLES: Final[dict[str, type[Any]]] = {
    "intake": IntakeTable,
    "broker": BrokerTable,
    "metrics": MetricsTable,
    "log": LogSettings,
}
_ROWS: Final[dict[str, tuple[type[Any], int]]] = {
    "facility": (FacilityTable, FACILITIES_MAX),
    "device": (DeviceTable, ROWS_MAX),
}


def load_intake(path: Path, environ: Mapping[str, str]) -> IntakeSettings:
    """The settings of `path`, with the environment over it. Raises BadSettings."""
    document = read_toml(path, "foedus intake init", FILE_BYTES_MAX)
    known = [*_TABLES, *(f"[{name}]" for name in _ROWS)]
    for name in document:
        if name not in _TABLES and name not in _ROWS:
            raise BadSettings(f"{path}: unknown table [{name}]: there are {', '.join(known)}")
    read: dict[str, Any] = {}
    for name, kind in _TABLES.items():
        written = document.get(name, {})
        if not isinstance(written, dict):
            raise BadSettings(f"{path}: {name} = {written!r}: want a table, [{name}]")
        table = table_of(kind, written, f"{path}: {name}")
        read[name] = with_environment(table, name, environ)
    for name, (kind, count_max) in _ROWS.items():
        read[name] = _rows(kind, document.get(name, []), f"{path}: {name}", count_max)
    settings = IntakeSettings(home=path.parent, **read)
    _check(settings, path)
    return settings


def documented_intake(settings: IntakeSettings) -> str:
    """These settings as a file, each with what it is for and its default; examples of rows that it has none of."""
    lines = [
        "# Settings of one Foedus gateway. Those of [tables] can be overridden by the environment: FOEDUS_<TABLE>_<NAME>.",
        "# Unknown names are refused.",
    ]
    for name in _TABLES:
        lines += ["", *documented_table(f"[{name}]", getattr(settings, name))]
    for name, (kind, _) in _ROWS.items():
        rows = getattr(settings, name)
        for row in rows:
            lines += ["", *documented_table(f"[[{name}]]", row)]
        if not rows:
            lines += ["", *(f"# {line}" for line in documented_table(f"[[{name}]]", kind()))]
    return "\n".join(lines) + "\n"


def gateway_settings(
    settings: IntakeSettings,
    *,
    ledger: bytes,
    author: str,
    anchors: Mapping[str, int],
    password: str | None,
    adopt: bool,
) -> GatewaySettings:
    """What the gateway is built from. `anchors`: by facility, for those whose file says 0."""
    intake, broker = settings.intake, settings.broker
    host, port = host_and_port(broker.address)
    states = {row.facility: row.state for row in settings.facility}
    return GatewaySettings(
        broker=BrokerSettings(
            host=host.strip("[]"),
            port=port,
            identifier=broker.identifier,
            username=broker.username or None,
            password=password,
            ca_file=str(settings.home / broker.ca_file) if broker.ca_file else None,
            keepalive_s=broker.keepalive_s,
        ),
        ledger=ledger,
        facilities=tuple(
            FacilityPlan(
                state=row.state,
                facility=row.facility,
                author=author,
                chip_type=row.chip_type,
                chips_on=row.chips_on,
                workload_class=row.workload_class,
                anchor_s=row.anchor_s or anchors[row.facility],
                period_s=row.period_s,
                point=_POINTS[row.point],
            )
            for row in settings.facility
        ),
        devices={
            _topic(row, states[row.facility]): DeviceKey(
                public_key=bytes.fromhex(row.public_key), wraps_at=row.wraps_at
            )
            for row in settings.device
        },
        grace_s=intake.grace_s,
        hold_s=intake.hold_s,
        retain_s=intake.retain_days * DAY_S,
        readings_max=intake.readings_max,
        resend_s=intake.resend_s,
        adopt=adopt,
    )


def _rows(kind: type[T], written: object, where: str, count_max: int) -> tuple[T, ...]:
    if not isinstance(written, list) or not all(isinstance(row, dict) for row in written):
        raise BadSettings(f"{where}: want rows, each headed [[{where.rpartition(' ')[2]}]]")
    if len(written) > count_max:
        raise BadSettings(f"{where}: {len(written)} rows: at most {count_max}")
    return tuple(
        table_of(kind, cast("dict[str, Any]", row), f"{where} {number}")
        for number, row in enumerate(written, start=1)
    )


def _check(settings: IntakeSettings, path: Path) -> None:
    """What no single value shows."""
    for name, address in (
        ("broker.address", settings.broker.address),
        ("metrics.listen", settings.metrics.listen),
    ):
        if address or name == "broker.address":
            try:
                host, _ = host_and_port(address)
            except BadSettings as err:
                raise BadSettings(f"{path}: {name}: {err}") from err
            if name == "metrics.listen" and host not in ("127.0.0.1", "[::1]", "localhost"):
                raise BadSettings(
                    f"{path}: metrics.listen = {address!r}: metrics are for this machine alone:"
                    " want 127.0.0.1, [::1] or localhost as host"
                )
    if not settings.facility:
        raise BadSettings(f"{path}: no [[facility]]: a gateway reports for at least one")
    states: dict[str, str] = {}
    for number, facility in enumerate(settings.facility, start=1):
        where = f"{path}: facility {number}"
        for name in ("facility", "state"):
            value = getattr(facility, name)
            if not is_topic_name(value):
                raise BadSettings(f"{where}: {name} = {value!r}: want 1 to 63 of A-Z a-z 0-9 _ . -")
        if facility.facility in states:
            raise BadSettings(f"{where}: {facility.facility} is there twice")
        states[facility.facility] = facility.state
    _check_devices(settings, path, states)


def _check_devices(settings: IntakeSettings, path: Path, states: Mapping[str, str]) -> None:
    seen: set[str] = set()
    counts = dict.fromkeys(states, 0)
    for number, device in enumerate(settings.device, start=1):
        where = f"{path}: device {number}"
        if device.facility not in states:
            raise BadSettings(f"{where}: facility = {device.facility!r}: no [[facility]] of it")
        if not is_topic_name(device.device):
            raise BadSettings(
                f"{where}: device = {device.device!r}: want 1 to 63 of A-Z a-z 0-9 _ . -"
            )
        topic = _topic(device, states[device.facility])
        if topic in seen:
            raise BadSettings(f"{where}: {topic} is there twice")
        seen.add(topic)
        counts[device.facility] += 1
        if counts[device.facility] > DEVICES_MAX:
            raise BadSettings(f"{where}: more than {DEVICES_MAX} at {device.facility}")
        try:
            key = bytes.fromhex(device.public_key)
            if len(device.public_key) != 2 * PUBLIC_KEY_BYTES:
                raise ValueError(f"{len(device.public_key)} characters")
            check_public_key(key)
        except (ValueError, SigningError) as err:
            raise BadSettings(
                f"{where}: public_key = {device.public_key[:80]!r}: {err}: want the 64 hex digits that"
                " `foedus keys show` prints"
            ) from err


def _topic(device: DeviceTable, state: str) -> str:
    return Source(
        state=state, facility=device.facility, device=device.device, kind=Kind(device.kind)
    ).topic
