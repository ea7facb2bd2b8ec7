"""Messages between this process and a worker: bytes over a socket, in frames that junk is told from.

Neither sending nor receiving waits for ever: the other end may have stopped in the middle of a message.
"""

from __future__ import annotations

import select
import socket
import struct
import zlib
from collections.abc import Callable

_HEADER = struct.Struct("!4sQI")  # mark, length of the message, checksum of it
_MARK = b"mql\x01"
_PIECE = 1 << 20
_LOOK_SECONDS = 0.5  # between two looks at whether waiting is over
MOST_BYTES = 1 << 34


class Garbled(Exception):
    """What came is no message: somebody else wrote into the socket."""


class Late(Exception):
    """Waiting was over before a message was through."""


Over = Callable[[], bool]  # says whether waiting is over; it may raise


def never() -> bool:
    """Wait as long as it takes."""
    return False


class Channel:
    """One end of a connection that sends and receives whole messages."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._poll = select.poll()

    def send(self, message: bytes, over: Over = never) -> None:
        """Send a message.

        Raises:
            Late: waiting was over before the other end had read it.
            OSError: the other end has closed.
        """
        frame = memoryview(_HEADER.pack(_MARK, len(message), zlib.crc32(message)) + message)
        while frame:
            try:
                frame = frame[self._socket.send(frame[:_PIECE]) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, over)

    def receive(self, over: Over = never) -> bytes:
        """Return the next message.

        Raises:
            Late: waiting was over before it was there.
            Garbled: it is no message.
            EOFError: the other end has closed.
        """
        mark, length, checksum = _HEADER.unpack(self._read(_HEADER.size, over))
        if mark != _MARK or length > MOST_BYTES:
            raise Garbled("what came is no message")
        message = self._read(length, over)
        if zlib.crc32(message) != checksum:
            raise Garbled("a message came with other bytes in it")
        return message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _read(self, length: int, over: Over) -> bytes:
        read = bytearray()
        while len(read) < length:
            try:
                piece = self._socket.recv(min(length - len(read), _PIECE))
            except BlockingIOError:
                self._wait(select.POLLIN, over)
                continue
            if not piece:
                raise EOFError("the other end has closed")
            read += piece
        return bytes(read)

    def _wait(self, event: int, over: Over) -> None:
        """Wait until the socket is ready.

        Raises:
            Late: waiting is over.
        """
        self._poll.register(self._socket, event)
        while not self._poll.poll(1000.0 * _LOOK_SECONDS):
            if over():
                raise Late("waiting is over")
