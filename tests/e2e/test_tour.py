"""README's tour, pasted into one shell as it stands: five processes, filing, voting, proof, audit, and the past."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.unit.test_readme import README, blocks

pytestmark = pytest.mark.e2e

# In the order of the page. A block that is new there and not named here fails the first test.
STOPS: Final = (
    "founding", "genesis", "running", "filing", "voting", "reading", "proof", "files", "audit", "past",
)  # fmt: skip
DEADLINE_S: Final = (
    400  # 90 on a machine with nothing else to do, most of it the motion's own minute
)
ENDING: Final = "for process in $(jobs -p); do kill $process; done"


def script() -> str:
    """The tour's blocks one after another, other ports than the page's, ended as the page says."""
    page = README.read_text(encoding="utf-8")
    assert f"`{ENDING}`" in page
    found = [body for body in blocks(README, "bash") if body.startswith("# tour: ")]
    assert tuple(re.findall(r"^# tour: (\w+)$", "".join(found), re.MULTILINE)) == STOPS
    hundred = free_hundred()
    text = "".join(found).replace("port=7410", f"port={hundred}10")
    return text.replace("127.0.0.1:74", f"127.0.0.1:{hundred}")


def free_hundred() -> int:
    """h, so that the ports h10 to h52 are free; below those that systems give out by themselves."""
    for hundred in random.Random().sample(range(150, 320), 40):
        try:
            for port in range(100 * hundred + 10, 100 * hundred + 53):
                with socket.create_server(("127.0.0.1", port)):
                    pass
        except OSError:
            continue
        return hundred
    raise AssertionError("no free ports between 15000 and 32000")


@pytest.mark.timeout(DEADLINE_S + 60)
def test_the_whole_tour(tmp_path: Path) -> None:
    shell, curl = shutil.which("bash"), shutil.which("curl")
    command = Path(sys.executable).parent / "foedus"
    if shell is None or curl is None or not command.exists():
        pytest.skip("needs bash, curl and an installed foedus: apt-get install curl; make venv")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("FOEDUS_")
    }
    environment["PATH"] = os.pathsep.join((str(command.parent), os.environ["PATH"]))
    with subprocess.Popen(
        [shell, "-c", f"set -eu\ntrap '{ENDING}; wait' EXIT\n{script()}"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=DEADLINE_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    (no_veto,) = re.findall(r"it ends in\n`([^`]+)`", README.read_text(encoding="utf-8"))
    assert no_veto in said
    homes = [tmp_path / name for name in ("us", "cn", "gb", "ke", "br")]
    assert len({(home / "genesis.cbor").read_bytes() for home in homes}) == 1
    assert homes[0].joinpath("keys", "agency.key").stat().st_mode & 0o777 == 0o600
    for shown in ("outcome approved", "proven: approval.tlog-proof", "verdict: consistent"):
        assert shown in said, said
