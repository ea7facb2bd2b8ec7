"""What is said on the way must not end the work: standard error may close, or its disk be full, while a run trains."""

from __future__ import annotations

from typing import IO, Any, cast


class Lasting:
    """A text stream that drops what its file does not take: a terminal that was closed, a pipe without a reader.

    All else is the stream's own.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, as far as it can be written."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: it is closed
            return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts, as far as they can be written."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is still in memory, as far as it can be written."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def lasting(stream: IO[str]) -> IO[str]:
    """Return a stream that drops what can't be written; one that does so already as it is."""
    return stream if isinstance(stream, Lasting) else cast("IO[str]", Lasting(stream))
