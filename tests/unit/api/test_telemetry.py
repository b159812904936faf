"""Log lines: one event, one line, whatever strangers put into it; no secrets."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from node.telemetry import ROOT_LOGGER, Metrics, event, resident_bytes, start_logging


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(ROOT_LOGGER)
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def lines(form: str, level: str = "info") -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    start_logging(form, level, stream)
    return logging.getLogger(f"{ROOT_LOGGER}.network"), stream


def test_json_lines_parse_and_keep_fields() -> None:
    log, stream = lines("json")
    event(log, "peer refused", peer="192.0.2.7:1", digest=b"\xab" * 32, round=7, why="a\nb")
    made = json.loads(stream.getvalue())
    assert (made["room"], made["level"], made["event"]) == ("network", "info", "peer refused")
    assert (made["round"], made["digest"], made["why"]) == (7, "ab" * 32, "a\nb")
    assert made["time"].endswith("Z")


def test_a_strangers_text_stays_on_one_line_and_short() -> None:
    log, stream = lines("human")
    event(log, "peer refused", why="x\n2026-01-01 forged  line" + "y" * 5_000)
    log.warning("a\nb")
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert len(text) < 600


def test_levels() -> None:
    log, stream = lines("human", "warning")
    event(log, "quiet")
    event(log, "loud", level=logging.ERROR)
    logging.getLogger("other.library").info("quiet too")
    assert stream.getvalue().count("\n") == 1
    assert "loud" in stream.getvalue()


def test_a_secret_by_name_is_never_written() -> None:
    log, stream = lines("human")
    attempts: tuple[Callable[[], None], ...] = (
        lambda: event(log, "start", passphrase="x"),
        lambda: event(log, "start", private_key=b"x"),
        lambda: event(log, "start", block_seed=b"x"),
    )
    for attempt in attempts:
        with pytest.raises(AssertionError):
            attempt()
    assert stream.getvalue() == ""


def test_two_nodes_do_not_share_metrics() -> None:
    one, two = Metrics("BR"), Metrics("CN")
    one.counter("foedus_things", "Things.", ("kind",)).labels("a").inc(3)
    two.read_at_scrape("foedus_round", "Round.", lambda: 12)
    assert b'foedus_things_total{kind="a"} 3.0' in one.text()
    assert b"foedus_things" not in two.text()
    assert b"foedus_round 12.0" in two.text()
    assert b"foedus_process_resident_bytes" in two.text()
    assert resident_bytes() > 1_000_000
