"""Child processes of the rehearsal: started, watched and ended by their own process ids, never by a name.

Each gets a session of its own, so that Ctrl-C at the terminal reaches the rehearsal alone, which then ends them in order.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from node.cli.demo.show import StoryBroke

READY_S: Final = 30.0
STOP_S: Final = 15.0
COMMAND_S: Final = 40.0  # one `foedus` command
LOG_TAIL_LINES: Final = 8
_POLL_S: Final = 0.05


@dataclass(kw_only=True)
class Child:
    """One process and the file that holds what it writes."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    log_start: int  # where this process began to write

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        return self.popen.poll() is None

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of its log so far; other text, such as a stack trace, as {"text": ...}."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            data = file.read()
        text = data[: data.rfind(b"\n") + 1].decode(errors="replace")
        return [_line(line) for line in text.splitlines()]

    def has_said(self, event: str) -> bool:
        return any(line.get("event") == event for line in self.lines())

    def log_tail(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


@dataclass(kw_only=True)
class Processes:
    """All that the rehearsal started. `end_all` is called whatever happens."""

    children: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], log: Path) -> Child:
        """Start one; everything it writes goes to `log`, after what is there."""
        log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            popen = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                command,
                env=environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        child = Child(name=name, popen=popen, log=log, log_start=log_start)
        self.children.append(child)
        return child

    async def until_said(self, child: Child, event: str, within_s: float = READY_S) -> None:
        """Wait until its log has this event. Raises StoryBroke if it ends first, or too much time passes."""
        deadline = time.monotonic() + within_s
        while not child.has_said(event):
            if not child.is_running:
                seen = f"it ended with status {child.popen.returncode}: {child.log_tail()}"
                raise StoryBroke(f"{child.name} says `{event}`", seen)
            if time.monotonic() > deadline:
                seen = f"not within {within_s:g} s; it wrote last: {child.log_tail()}"
                raise StoryBroke(f"{child.name} says `{event}`", seen)
            await asyncio.sleep(_POLL_S)

    async def stop(self, child: Child) -> int:
        """SIGTERM, as its operator would; its exit status. Raises StoryBroke if it does not end."""
        if child.is_running:
            child.popen.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(child.popen.wait, STOP_S)
        except subprocess.TimeoutExpired:
            raise StoryBroke(
                f"{child.name} ends on SIGTERM", f"still running after {STOP_S:g} s"
            ) from None

    def end_all(self) -> None:
        """Nothing that was started runs on: SIGTERM to all at once, SIGKILL to whoever does not heed it. Blocks."""
        running = [child for child in self.children if child.is_running]
        for child in running:
            child.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for child in running:
            try:
                child.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.popen.kill()
                child.popen.wait()


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: ours, without settings meant for a node of the user's, and with our own path of modules."""
    kept = {name: value for name, value in own.items() if not name.startswith("FOEDUS_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


async def foedus_json(*arguments: str, within_s: float = COMMAND_S) -> tuple[int, dict[str, Any]]:
    """Run one `foedus` command with --json in a process of its own; exit status and document."""
    command = [sys.executable, "-m", "node.cli.main", *arguments, "--json"]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(os.environ),
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), within_s)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    assert process.returncode is not None, "communicate waits for the end"
    try:
        document = json.loads(out)
    except json.JSONDecodeError:
        document = {"error": (out + err).decode(errors="replace")[-2000:]}
    return process.returncode, document if isinstance(document, dict) else {"answer": document}


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on now, all different."""
    with ExitStack() as stack:
        found: list[int] = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(probe.getsockname()[1])
        return found


def _line(text: str) -> dict[str, Any]:
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            return {"text": text}
        if isinstance(found, dict):
            return found
    return {"text": text}
