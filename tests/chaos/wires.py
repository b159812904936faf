"""The cables between the hosts, as a process: every packet waits its delay, and some are lost.

Each host has one TUN interface; this process is the other end of all of them. Kernels without `netem` are common, and what is
needed is little: for each ordered pair of hosts a delay, a jitter, a loss, and whether the way is cut. Packets of one way stay in
order (as on one cable), and at most `QUEUE_MAX` are under way (as in netem): TCP above sees a slow, lossy line.

    stdin   one JSON object a line: {"ways": [[from, to, delay_ms, jitter_ms, loss], ...]} or {"cut": [[from, to], ...]}
    stdout  "ready" once the interfaces are there; one line of JSON for each line read: packets carried and lost so far

    python -m tests.chaos.wires SEED NAME NAME ...     (creates one interface for each name: host 0, 1, ...)
"""

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from dataclasses import dataclass, field

SUBNET = "10.117.0"
FIRST_ADDRESS = 1  # of host 0
QUEUE_MAX = 1000  # packets under way from one host to one other
PACKET_MAX = 2048
READS_PER_TURN = 64
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_DESTINATION = 19  # last byte of an IPv4 packet's destination address


def address(host: int) -> str:
    return f"{SUBNET}.{FIRST_ADDRESS + host}"


@dataclass(kw_only=True)
class Way:
    """From one host to another."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    cut: bool = False
    free_at: float = 0.0  # when the last packet arrives: none overtakes it
    queued: int = 0


@dataclass(kw_only=True)
class Wires:
    """See the module's text. Times are of the monotonic clock."""

    ends: list[int]  # descriptors, by host
    chance: random.Random
    ways: dict[tuple[int, int], Way] = field(default_factory=dict)
    under_way: list[tuple[float, int, int, int, bytes]] = field(default_factory=list)
    carried: int = 0
    lost: int = 0
    _number: int = 0

    def take(self, source: int, packet: bytes, now: float) -> None:
        target = packet[_DESTINATION] - FIRST_ADDRESS if packet[0] >> 4 == 4 else -1
        if not 0 <= target < len(self.ends) or target == source:
            return  # IPv6 and broadcasts: nobody's
        way = self.ways.setdefault((source, target), Way())
        if way.cut or way.queued >= QUEUE_MAX or self.chance.random() < way.loss:
            self.lost += 1
            return
        jitter = self.chance.uniform(-way.jitter_s, way.jitter_s)
        way.free_at = max(way.free_at, now + max(0.0, way.delay_s + jitter))
        way.queued += 1
        self._number += 1
        heapq.heappush(self.under_way, (way.free_at, self._number, source, target, packet))

    def deliver(self, now: float) -> float:
        """What is due; returns seconds until the next."""
        while self.under_way and self.under_way[0][0] <= now:
            _, _, source, target, packet = heapq.heappop(self.under_way)
            way = self.ways[source, target]
            way.queued -= 1
            if way.cut:  # the way was cut while it was under way
                self.lost += 1
                continue
            try:
                os.write(self.ends[target], packet)
                self.carried += 1
            except OSError:  # the interface is down: as a host without power
                self.lost += 1
        return self.under_way[0][0] - now if self.under_way else 1.0

    def command(self, line: str) -> str:
        wish = json.loads(line)
        for source, target, delay_ms, jitter_ms, loss in wish.get("ways", ()):
            way = self.ways.setdefault((source, target), Way())
            way.delay_s, way.jitter_s, way.loss = delay_ms / 1000, jitter_ms / 1000, loss
        if "cut" in wish:
            cut = {(source, target) for source, target in wish["cut"]}
            for pair in cut:
                self.ways.setdefault(pair, Way())
            for pair, way in self.ways.items():
                way.cut = pair in cut
        return json.dumps({"carried": self.carried, "lost": self.lost})


def open_end(name: str) -> int:
    """One TUN interface, made here; it may be moved into another namespace afterwards."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return end


def main(arguments: list[str]) -> None:
    seed, *names = arguments
    wires = Wires(ends=[open_end(name) for name in names], chance=random.Random(int(seed)))
    poll = select.epoll()
    host_of = {end: host for host, end in enumerate(wires.ends)}
    for end in wires.ends:
        poll.register(end, select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    print("ready", flush=True)
    wait_s = 1.0
    while True:
        for end, _ in poll.poll(max(0.0, wait_s)):
            if end == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                print(wires.command(line), flush=True)
            else:
                _read(wires, end, host_of[end])
        wait_s = wires.deliver(time.monotonic())


def _read(wires: Wires, end: int, host: int) -> None:
    for _ in range(READS_PER_TURN):
        try:
            packet = os.read(end, PACKET_MAX)
        except BlockingIOError:
            return
        except OSError:  # the interface is down
            return
        wires.take(host, packet, time.monotonic())


if __name__ == "__main__":
    main(sys.argv[1:])
