"""A node's settings: `foedus.toml` in its home folder, environment over it, read once at start.

Every setting is declared here, with its default and what it is for; `documented_toml` prints that as a file which
`load_settings` reads back. Reading is strict: an unknown table or name is an error that names it, for a misspelt limit would
otherwise be no limit.

    [listen]                     FOEDUS_LISTEN_CLIENT=127.0.0.1:7451 stands over client = "..." of the file
    client = "0.0.0.0:7451"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

FILE_NAME: Final = "foedus.toml"
ENVIRONMENT_PREFIX: Final = "FOEDUS_"
FILE_BYTES_MAX: Final = 64 * 1024
_PORT_MAX: Final = 65_535
_LOOPBACK: Final = ("127.0.0.1", "[::1]", "localhost")

T = TypeVar("T")


class BadSettings(Exception):
    """A setting is missing, unknown or impossible: says where, what was seen, and what would have been right."""


def setting(
    default: T, doc: str, *, low: int = 0, high: int = 2**31, one_of: tuple[str, ...] = ()
) -> T:
    """A field of a table of settings. `low` and `high` bound numbers, `one_of` texts."""
    metadata = {"doc": doc, "low": low, "high": high, "one_of": one_of}
    made: T = field(default=default, metadata=metadata)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Whose node this is, and its files. Relative paths start at the home folder."""

    state: str = setting("", "Code of the member state whose node this is, as in the genesis.")
    genesis: str = setting("genesis.cbor", "The founding document.")
    keys: str = setting("keys/node.key", "The node's encrypted key file.")
    later_keys: str = setting(
        "",
        "Key files of seats that the state declared since, comma-separated; under the same passphrase.",
    )
    passphrase_file: str = setting(
        "", "File with the key file's passphrase; empty: --passphrase-file says which."
    )
    data: str = setting("data", "Folder of the store and of the sign state.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Addresses, host:port. Behind a translator they differ from the endpoints in the genesis."""

    # A node is for others to reach: all interfaces is the meaning of these three listeners.
    peer: str = setting("0.0.0.0:7450", "Other members' nodes (gRPC, mutual TLS).")
    client: str = setting("0.0.0.0:7451", "Anyone's client (gRPC, server TLS).")
    http: str = setting("0.0.0.0:7452", "Checkpoints and tiles (HTTPS).")
    metrics: str = setting(
        "127.0.0.1:7453", "Prometheus metrics, plain HTTP, loopback only; empty: none."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceSettings:
    """How fast rounds follow one another. Members may differ; nobody may outrun a quorum."""

    profile: str = setting(
        "wan",
        "wan: rounds at least 250 ms apart. drill: 50 ms, for one machine or one site.",
        one_of=("wan", "drill"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """Witnesses (c2sp.org/tlog-witness): whose logs this node cosigns, under /witness; and who is asked to cosign this ledger."""

    logs: str = setting(
        "",
        "File of `log <vkey>` lines and `quorum none` (c2sp.org/tlog-policy); empty: none but its own ledger.",
    )
    ask: str = setting(
        "",
        "File of `witness <name> <vkey> <url>` lines and `quorum none`: outside witnesses to ask; empty: none.",
    )
    ask_every_s: int = setting(
        60, "Seconds from one time of asking them to the next.", low=10, high=86_400
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The process's own words, on standard error. Keys and passphrases are never among them."""

    format: str = setting("human", "human, or json: one object a line.", one_of=("human", "json"))
    level: str = setting(
        "info", "The least that is written.", one_of=("debug", "info", "warning", "error")
    )
    decisions: str = setting(
        "",
        "File of every leader decision, one JSON line a slot, for another implementation to check; empty: none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What others can make this node hold or do. Beyond a limit they are told to come back."""

    client_calls: int = setting(256, "Client calls under way at once, streams included.", low=4)
    client_connections: int = setting(512, "Client connections at once.", low=4)
    calls_per_connection: int = setting(
        64, "Calls under way at once on one client connection.", low=1
    )
    watchers: int = setting(64, "Watch streams at once.")
    watch_queue: int = setting(
        256, "Leaves read ahead for one watcher; a slow one is only slower.", low=1, high=1000
    )
    deadline_s: int = setting(10, "Seconds that one client call may take.", low=1, high=600)
    http_connections: int = setting(128, "HTTP requests under way at once.", low=1)
    mempool_entries: int = setting(65_536, "Entries waiting in this node.", low=1)
    mempool_mib: int = setting(64, "MiB of entries waiting in this node.", low=1, high=65_536)
    entries_per_author: int = setting(16_384, "Entries of one author waiting in this node.", low=1)
    verify_threads: int = setting(
        2, "Threads that check signatures; 0: none, best where processes share cores.", high=256
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one node. The tables have the names of the file's."""

    home: Path  # the folder of foedus.toml
    node: NodeSettings = field(default_factory=NodeSettings)
    listen: ListenSettings = field(default_factory=ListenSettings)
    pace: PaceSettings = field(default_factory=PaceSettings)
    witness: WitnessSettings = field(default_factory=WitnessSettings)
    log: LogSettings = field(default_factory=LogSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)

    @property
    def genesis_path(self) -> Path:
        return self.home / self.node.genesis

    @property
    def keys_path(self) -> Path:
        return self.home / self.node.keys

    @property
    def later_keys_paths(self) -> tuple[Path, ...]:
        names = [name.strip() for name in self.node.later_keys.split(",")]
        return tuple(self.home / name for name in names if name)

    @property
    def data_path(self) -> Path:
        """Holds `rocksdb/`, `block`, `cosign` and `lock`."""
        return self.home / self.node.data

    @property
    def store_path(self) -> Path:
        return self.data_path / "rocksdb"

    @property
    def decisions_path(self) -> Path | None:
        return self.home / self.log.decisions if self.log.decisions else None

    @property
    def witnessed_logs_path(self) -> Path | None:
        return self.home / self.witness.logs if self.witness.logs else None

    @property
    def witness_path(self) -> Path:
        """What was cosigned for other people's logs, a file for each."""
        return self.data_path / "witness"

    @property
    def asked_witnesses_path(self) -> Path | None:
        return self.home / self.witness.ask if self.witness.ask else None

    @property
    def outside_path(self) -> Path:
        """Checkpoints of this ledger with lines of outside witnesses."""
        return self.data_path / "outside"

    @property
    def passphrase_path(self) -> Path | None:
        return self.home / self.node.passphrase_file if self.node.passphrase_file else None


_TABLES: Final[dict[str, type[Any]]] = {
    "node": NodeSettings,
    "listen": ListenSettings,
    "pace": PaceSettings,
    "witness": WitnessSettings,
    "log": LogSettings,
    "limits": LimitSettings,
}


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of `path` (a foedus.toml), with the environment over it. Raises BadSettings."""
    document = read_toml(path)
    unknown = sorted(set(document) - set(_TABLES))
    if unknown:
        raise BadSettings(f"{path}: unknown table [{unknown[0]}]: there are {', '.join(_TABLES)}")
    tables: dict[str, Any] = {}
    for name, kind in _TABLES.items():
        written = document.get(name, {})
        if not isinstance(written, dict):
            raise BadSettings(f"{path}: {name} = {written!r}: want a table, [{name}]")
        table = table_of(kind, written, f"{path}: {name}")
        tables[name] = with_environment(table, name, environ)
    settings = Settings(home=path.parent, **tables)
    _check(settings, path)
    return settings


def documented_toml(settings: Settings) -> str:
    """These settings as a file, each with what it is for and its default."""
    lines = [
        "# Settings of one Foedus node. Each can be overridden by the environment: FOEDUS_<TABLE>_<NAME>.",
        "# Unknown names are refused.",
    ]
    for name in _TABLES:
        lines += ["", *documented_table(f"[{name}]", getattr(settings, name))]
    return "\n".join(lines) + "\n"


def documented_table(heading: str, table: Any) -> list[str]:
    """The lines of one table: what it is for, its heading, and each setting with its meaning and default."""
    lines = [*(f"# {line}" for line in (table.__doc__ or "").splitlines()), heading]
    for item in fields(table):
        value, default = getattr(table, item.name), item.default
        note = "" if value == default else f" Default: {toml_value(default)}."
        lines += [f"# {item.metadata['doc']}{note}", f"{item.name} = {toml_value(value)}"]
    return lines


def host_and_port(address: str) -> tuple[str, int]:
    """Raises BadSettings unless `address` is host:port."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or len(port) > 5:
        raise BadSettings(f"address {address!r}: want host:port")
    if not 0 < int(port) <= _PORT_MAX:
        raise BadSettings(f"address {address!r}: port {port} is not in 1..{_PORT_MAX}")
    return host, int(port)


def read_toml(
    path: Path, made_by: str = "foedus init", bytes_max: int = FILE_BYTES_MAX
) -> dict[str, Any]:
    """The file's tables, unchecked. Raises BadSettings; `made_by` is the command that writes such a file."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as err:
        raise BadSettings(
            f"{path}: {err.strerror}: `{made_by}` writes one with every default explained"
        ) from err
    if len(data) > bytes_max:
        raise BadSettings(f"{path}: more than {bytes_max} bytes")
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise BadSettings(f"{path}: not TOML: {err}") from err


def table_of(kind: type[T], written: Mapping[str, Any], where: str) -> T:
    """One table of a file, its names and values checked; its fields are made by `setting`. Raises BadSettings."""
    known = {item.name: item for item in fields(cast("Any", kind))}
    for name, value in written.items():
        if name not in known:
            raise BadSettings(f"{where}.{name}: unknown setting: there are {', '.join(known)}")
        _check_value(known[name], value, f"{where}.{name}")
    return kind(**written)


def with_environment(table: Any, name: str, environ: Mapping[str, str]) -> Any:
    """The table with what FOEDUS_<NAME>_<SETTING> says over it. Raises BadSettings."""
    known = {item.name: item for item in fields(table)}
    prefix = f"{ENVIRONMENT_PREFIX}{name.upper()}_"
    changed: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith(prefix):
            continue
        item = known.get(variable[len(prefix) :].lower())
        if item is None:
            raise BadSettings(f"environment {variable}: [{name}] has no such setting")
        text = environ[variable]
        is_number = isinstance(item.default, int)
        if is_number and not (text.isascii() and text.isdigit()):
            raise BadSettings(f"environment {variable}={text!r}: want a number")
        value = int(text) if is_number else text
        _check_value(item, value, f"environment {variable}")
        changed[item.name] = value
    return replace(table, **changed)


def _check_value(item: Field[Any], value: Any, where: str) -> None:
    if type(value) is not type(item.default):
        want = "a number" if isinstance(item.default, int) else "a text in quotes"
        raise BadSettings(f"{where} = {value!r}: want {want}")
    bounds = item.metadata
    if isinstance(value, int) and not bounds["low"] <= value <= bounds["high"]:
        raise BadSettings(f"{where} = {value}: want {bounds['low']} to {bounds['high']}")
    if bounds["one_of"] and value not in bounds["one_of"]:
        raise BadSettings(f"{where} = {value!r}: want one of {', '.join(bounds['one_of'])}")


def _check(settings: Settings, path: Path) -> None:
    """What no single value shows."""
    if not settings.node.state:
        raise BadSettings(f"{path}: node.state is missing: the code of the state that runs this")
    listen = settings.listen
    for name in ("peer", "client", "http"):
        try:
            host_and_port(getattr(listen, name))
        except BadSettings as err:
            raise BadSettings(f"{path}: listen.{name}: {err}") from err
    if listen.metrics:
        try:
            host, _ = host_and_port(listen.metrics)
        except BadSettings as err:
            raise BadSettings(f"{path}: listen.metrics: {err}") from err
        if host not in _LOOPBACK:
            raise BadSettings(
                f"{path}: listen.metrics = {listen.metrics!r}: metrics are for this machine alone;"
                f" want one of {', '.join(_LOOPBACK)} as host"
            )


def toml_value(value: object) -> str:
    """A number or text as TOML writes it."""
    if isinstance(value, int):
        return str(value)
    # JSON's escapes for the texts that settings can hold are TOML's too.
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
