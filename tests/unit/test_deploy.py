"""The samples in deploy/ fit the program: commands, options and metrics exist; where a tool is at hand it reads them."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped] # ships no types

from node.cli.main import build_app
from node.intake.settings import BrokerTable, MetricsTable
from node.settings import ListenSettings
from node.signing.transport import generate_transport
from tests.unit.test_readme import faults

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"foedus_[a-z_]+")


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def test_nothing_that_a_node_imports_lies_here() -> None:
    assert [path.name for path in DEPLOY.rglob("*.py")] == []


# --- systemd ------------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    """All assignments of the unit by name; systemd allows a name more than once."""
    found: dict[str, list[str]] = {}
    for line in text_of("foedus.service").splitlines():
        if line and line[0] not in "#[":
            name, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_a_node_and_stops_it_as_it_wants_to_be() -> None:
    settings = unit()
    (start,) = settings["ExecStart"]
    program, _, rest = start.partition(" ")
    assert program.endswith("/.venv/bin/foedus")
    assert faults(f"foedus {rest}", typer.main.get_command(build_app())) == ""
    home = re.search(r"--home (\S+)", rest)
    assert home is not None
    assert settings["ReadWritePaths"] == settings["WorkingDirectory"] == [home[1]]
    assert settings["LoadCredential"] == ["foedus.passphrase"]
    assert "${CREDENTIALS_DIRECTORY}/foedus.passphrase" in rest
    # node.main: 2 = nothing was started, so trying again will not help
    assert settings["RestartPreventExitStatus"] == ["2"]
    assert settings["KillSignal"] == ["SIGTERM"]


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    # Only what is not installed here is exchanged: the program and the page.
    text = text_of("foedus.service").replace("/opt/foedus/.venv/bin/foedus", sys.executable)
    text = text.replace("/opt/foedus/deploy/RUNBOOK.md", str(DEPLOY / "RUNBOOK.md"))
    copy = tmp_path / "foedus.service"
    copy.write_text(text, encoding="utf-8")
    checked = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "foedus.service" in line]
    assert ours == []


# --- the container ------------------------------------------------------------------------------


def instructions() -> Iterator[tuple[str, str]]:
    joined = text_of("Containerfile").replace("\\\n", " ")
    for line in joined.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.strip().partition(" ")
            yield name, rest


def test_the_container_copies_what_is_there_and_runs_what_exists() -> None:
    found = list(instructions())
    assert [name for name, _ in found].count("FROM") == 2
    copied = [
        word
        for name, rest in found
        if name == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    ]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ports = {port for name, rest in found if name == "EXPOSE" for port in rest.split()}
    listen = ListenSettings()
    assert ports == {text.rpartition(":")[2] for text in (listen.peer, listen.client, listen.http)}
    root = typer.main.get_command(build_app())
    (command,) = [rest for name, rest in found if name == "CMD"]
    assert faults(" ".join(yaml.safe_load(command)), root) == ""
    (health,) = [rest for name, rest in found if name == "HEALTHCHECK"]
    assert faults(health.partition("CMD ")[2], root) == ""
    assert ("USER", "foedus") in found


# --- Prometheus ---------------------------------------------------------------------------------


def metrics_of_the_code() -> set[str]:
    """Every metric name that is written in the code. Counters are shown with `_total` behind it, histograms with `_bucket`."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "node").rglob("*.py"))
    names = {name for text in texts for name in re.findall(r'"(foedus_[a-z_]+)"', text)}
    histograms = {name for name in names if name.endswith("_ordered_seconds")}
    return names | {f"{name}_total" for name in names} | {f"{name}_bucket" for name in histograms}


def strings(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def test_alerts_speak_of_metrics_and_pages_that_exist() -> None:
    rules = [
        rule for group in yaml.safe_load(text_of("alerts.yml"))["groups"] for rule in group["rules"]
    ]
    headings = set(re.findall(r"^## (.+)$", text_of("RUNBOOK.md"), re.MULTILINE))
    assert rules
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(METRIC.findall(rule["expr"])) <= metrics_of_the_code(), rule["expr"]
        assert rule["annotations"]["runbook"].removeprefix("RUNBOOK.md: ") in headings
    assert any(METRIC.search(rule["expr"]) for rule in rules)


def test_scraped_are_the_ports_where_metrics_are() -> None:
    config = yaml.safe_load(text_of("prometheus.yml"))
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]
    }
    assert targets == {
        "foedus": [ListenSettings().metrics],
        "foedus-intake": [MetricsTable().listen],
    }
    assert [name for name in config["rule_files"] if not (DEPLOY / name).exists()] == []
    jobs = {
        job
        for text in strings(yaml.safe_load(text_of("alerts.yml")))
        for job in re.findall(r'job="([^"]+)"', text)
    }
    assert jobs <= set(targets)


# --- Mosquitto ----------------------------------------------------------------------------------


def test_the_broker_keeps_sessions_and_the_gateway_may_read() -> None:
    lines = text_of("mosquitto.conf").splitlines()
    settings = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert settings["persistence"] == "true"
    assert settings["allow_anonymous"] == "false"
    assert settings["max_queued_messages"] == "0"  # no limit by number: none is dropped in silence
    rules = text_of("mosquitto.acl")
    assert f"user {BrokerTable().identifier}\n" in rules
    assert "topic read foedus/v1/#" in rules
    assert "pattern write foedus/v1/%u/+" in rules


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_mosquitto_starts_with_the_sample(tmp_path: Path) -> None:
    """As it stands but for the port and the places of files."""
    mosquitto = shutil.which("mosquitto")
    if mosquitto is None:
        pytest.skip("no Mosquitto on this machine: .ci/run installs it")
    identity = generate_transport("BR")
    for name, data in (
        ("site-ca.pem", identity.certificate_pem),
        ("broker.pem", identity.certificate_pem),
        ("broker.key", identity.private_key_pem),
        ("foedus.passwd", b""),
        ("foedus.acl", (DEPLOY / "mosquitto.acl").read_bytes()),
    ):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o644)
    tmp_path.chmod(0o777)  # Mosquitto gives up root's rights, if it has them
    port = free_port()
    text = text_of("mosquitto.conf").replace("/etc/mosquitto/", f"{tmp_path}/")
    text = text.replace("/var/lib/mosquitto/", f"{tmp_path}/").replace(
        "listener 8883", f"listener {port} 127.0.0.1"
    )
    sample = tmp_path / "mosquitto.conf"
    sample.write_text(f"{text}\nuser root\n", encoding="utf-8")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([mosquitto, "-c", str(sample)], stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 20
            while not answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        finally:
            process.terminate()
            process.wait(20)
    # Our own knock at its door is no TLS greeting, and the broker may say so before it ends.
    told = [line for line in log.read_text().splitlines() if "unexpected eof" not in line]
    assert not [line for line in told if "rror" in line]


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
