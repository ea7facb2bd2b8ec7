"""What a check finds: pass, warn or fail, and one line that says why and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass

PASS, WARN, FAIL = "pass", "warn", "fail"


@dataclass(frozen=True)
class Verdict:
    """The result of one check and its message of one line."""

    result: str
    message: str


def passed(message: str) -> Verdict:
    """All is well; the message says what was seen."""
    return _verdict(PASS, message)


def warned(message: str) -> Verdict:
    """It works, but someone should know."""
    return _verdict(WARN, message)


def failed(message: str) -> Verdict:
    """The family breaks its contract."""
    return _verdict(FAIL, message)


def _verdict(result: str, message: str) -> Verdict:
    return Verdict(result, " ".join(message.split()))
