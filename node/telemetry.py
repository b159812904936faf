"""What a node says about itself: log lines and metrics.

One structured event per state change, written by the rooms that face the world:

    log = logging.getLogger("foedus.network")
    event(log, "peer refused", peer=address, why="not a member")

    2026-11-24T14:03:07.412Z info  network  peer refused  peer=192.0.2.7:50112 why="not a member"
    {"time": "2026-11-24T14:03:07.412Z", "level": "info", "room": "network", "event": "peer refused", ...}

Values are shown shortened and on one line, since strangers choose some of them. A field named like a secret is refused by
an assertion: no log line of ours has a reason to hold one.

Metrics belong to one registry per node, handed to who counts; nothing is registered globally, so two nodes in one test
do not meet.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

ROOT_LOGGER: Final = "foedus"
VALUE_CHARS_MAX: Final = 200
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_FIELDS: Final = "foedus_fields"
_SECRET: Final = re.compile(r"passphrase|secret|private|seed")
_BARE: Final = re.compile(r"[\w.:/@+,\[\]-]+")
_STATM: Final = Path("/proc/self/statm")

Value = str | int | float | bool | None
M = TypeVar("M", Counter, Gauge, Histogram)


def event(
    logger: logging.Logger, name: str, *, level: int = logging.INFO, **fields: Value | bytes
) -> None:
    """Write one event. Bytes are shown as hex."""
    if not logger.isEnabledFor(level):
        return
    assert not any(_SECRET.search(key) for key in fields), f"event {name!r} with {sorted(fields)}"
    logger.log(level, name, extra={_FIELDS: {key: _shown(value) for key, value in fields.items()}})


def _shown(value: Value | bytes) -> Value:
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, str) and len(value) > VALUE_CHARS_MAX:
        return f"{value[:VALUE_CHARS_MAX]}... ({len(value)} characters)"
    return value


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "room": _room(record),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


class HumanFormatter(logging.Formatter):
    """One aligned line for a terminal; a stack trace, if any, below it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={_worded(value)}" for key, value in _fields(record).items())
        level, room = record.levelname.lower(), _room(record)
        message = _one_line(record.getMessage())
        line = f"{_time(record)} {level:<7} {room:<9} {message}  {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def start_logging(form: str, level: str, stream: TextIO | None = None) -> None:
    """Send this process's log lines to `stream` (standard error) as `form` (human, json), from `level` on."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    # Libraries speak only when something is wrong; our own rooms as the operator wishes.
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT_LOGGER).setLevel(level.upper())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{ROOT_LOGGER}.")


def _fields(record: logging.LogRecord) -> Mapping[str, Value]:
    found: Mapping[str, Value] = getattr(record, _FIELDS, {})
    return found


def _worded(value: Value) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _one_line(text: str) -> str:
    """No forged lines: what a stranger sent may hold line breaks."""
    return text if text.isprintable() else json.dumps(text)


class Metrics:
    """The registry of one node. Names are `foedus_...`, units last, as in the log and on the dashboards."""

    def __init__(self, state: str = "") -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        self.registry.register(_ProcessCollector())
        info = Gauge("foedus_node_info", "Whose node this is.", ["state"], registry=self.registry)
        info.labels(state).set(1)

    def counter(self, name: str, doc: str, labels: Iterable[str] = ()) -> Counter:
        """Asked for again, it is the same one: an epoch's parts count on where those of the one before ended. So below."""
        return self._once(
            name, Counter, lambda: Counter(name, doc, tuple(labels), registry=self.registry)
        )

    def gauge(self, name: str, doc: str, labels: Iterable[str] = ()) -> Gauge:
        return self._once(
            name, Gauge, lambda: Gauge(name, doc, tuple(labels), registry=self.registry)
        )

    def histogram(
        self, name: str, doc: str, labels: Iterable[str], buckets: Sequence[float]
    ) -> Histogram:
        """`buckets`: upper bounds, ascending."""
        return self._once(
            name,
            Histogram,
            lambda: Histogram(name, doc, tuple(labels), buckets=buckets, registry=self.registry),
        )

    def read_at_scrape(self, name: str, doc: str, read: Callable[[], float]) -> None:
        """A gauge that costs nothing until somebody looks; `read` takes the place of one given before."""
        self.gauge(name, doc).set_function(read)

    def _once(self, name: str, kind: type[M], make: Callable[[], M]) -> M:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = make()
        assert isinstance(made, kind), f"metric {name}: made as {type(made).__name__}"
        return made

    def text(self) -> bytes:
        """All metrics in Prometheus's text format (`METRICS_TYPE`)."""
        return generate_latest(self.registry)


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class _ProcessCollector(Collector):
    """Memory, processor time and open files of this process, read when asked."""

    def collect(self) -> Iterable[Metric]:
        times = os.times()
        cpu = CounterMetricFamily("foedus_process_cpu_seconds", "Processor time of the node.")
        cpu.add_metric([], times.user + times.system)
        yield cpu
        memory = GaugeMetricFamily("foedus_process_resident_bytes", "Resident memory.")
        memory.add_metric([], resident_bytes())
        yield memory
