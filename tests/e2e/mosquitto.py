"""A real Mosquitto on loopback, that keeps its sessions over its own death: started, killed, started again."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

INSTALL = "apt-get update && apt-get install -y --no-install-recommends mosquitto"
START_S = 20.0
# State goes to disk about a second after it changed: SIGKILL loses at most what was newer.
CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 1
max_inflight_messages 20
max_queued_messages 0
log_dest none
"""


def mosquitto_or_skip() -> str:
    """The program; skips, saying how to install it, where it is missing."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"no mosquitto here: {INSTALL}")
    return found


class Mosquitto:
    """One broker; whatever runs at the end is ended."""

    def __init__(self, folder: Path, port: int) -> None:
        self._program = mosquitto_or_skip()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        folder.mkdir()
        folder.chmod(0o777)  # started by root, it gives up its rights and writes as another user
        text = CONFIGURATION.format(port=port, folder=folder)
        (folder / "mosquitto.conf").write_text(text, encoding="utf-8")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        """Answers on return."""
        assert self._process is None, "it runs already"
        command = [self._program, "-c", str(self._folder / "mosquitto.conf")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while True:
            status = self._process.poll()
            assert status is None, f"mosquitto ended with status {status}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, f"mosquitto does not answer in {START_S} s"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: it writes its state first."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        self._process.wait(START_S)
        self._process = None
