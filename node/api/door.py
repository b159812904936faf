"""A listening socket that lets in only so many connections at once, and shows out who does not finish the TLS handshake.

asyncio accepts whoever comes and gives each TLS connection buffers before a byte is read, so limits that a web server applies
to requests come too late: two thousand silent connections cost 600 MiB (measured, Python 3.11). Here the limit stands first.
"""

import asyncio
import gc
import socket
from asyncio.sslproto import SSLProtocol
from typing import Any, Final

# What asyncio sets aside to read from each TLS connection. Its default, 256 KiB, is for bulk transfers; requests here have a
# few hundred bytes. What a failed handshake leaves behind (a cycle through its exception) is smaller by the same factor.
TLS_BUFFER_BYTES: Final = 16 * 1024
# A broken handshake leaves a cycle (exception, traceback, connection, its buffers). Python sweeps by the number of objects, not
# by their size, so hundreds could lie about.
STRAYS_PER_SWEEP: Final = 16
_Address = Any  # of the socket's family


def shrink_tls_buffers() -> None:
    """For every TLS connection of asyncio that this process makes from now on."""
    SSLProtocol.max_size = TLS_BUFFER_BYTES


class Door(socket.socket):
    """Accepts while fewer than `places` connections are open; whoever comes beyond that is closed at once.

    Every guest must say `settle(peer address)` within `patience_s`, or the connection is shut down: that is the time for TCP and
    TLS together. Used from one event loop.
    """

    def __init__(self, listening: socket.socket, *, places: int, patience_s: float) -> None:
        """Takes over a bound, listening socket."""
        super().__init__(
            listening.family, listening.type, listening.proto, fileno=listening.detach()
        )
        self._places = places
        self._patience_s = patience_s
        self._unsettled: dict[_Address, asyncio.TimerHandle] = {}
        self.open = 0
        self.turned_away = 0
        self._strays = 0

    def accept(self) -> tuple[socket.socket, _Address]:
        """Raises ConnectionAbortedError when the house is full: asyncio then looks again later."""
        connection, address = super().accept()
        if self.open >= self._places:
            connection.close()
            self.turned_away += 1
            raise ConnectionAbortedError(f"{self._places} connections are open")
        guest = _Guest(self, connection, address)
        self.open += 1
        loop = asyncio.get_running_loop()
        self._unsettled[address] = loop.call_later(self._patience_s, guest.show_out)
        return guest, address

    def settle(self, address: _Address) -> None:
        """The handshake with this peer is done."""
        timer = self._unsettled.pop(address, None)
        if timer is not None:
            timer.cancel()

    def left(self, address: _Address) -> None:
        """A guest closed its connection."""
        self.open -= 1
        if address in self._unsettled:
            self.settle(address)
            self._strays += 1
            if self._strays % STRAYS_PER_SWEEP == 0:
                gc.collect(1)  # a millisecond: what strays leave is young


class _Guest(socket.socket):
    """A connection that tells its door when it closes."""

    def __init__(self, door: Door, accepted: socket.socket, address: _Address) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._door: Door | None = door
        self._address = address

    def show_out(self) -> None:
        """Both sides see the end; who reads from this socket then closes it."""
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:  # gone already
            return

    def close(self) -> None:
        door, self._door = self._door, None
        super().close()
        if door is not None:
            door.left(self._address)
