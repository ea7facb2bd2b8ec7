"""What a check of a robot or a task family finds: pass, warn or fail, and one line that says why and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass

PASS, WARN, FAIL = "pass", "warn", "fail"


@dataclass(frozen=True)
class Verdict:
    """The result of one check and its message of one line.

    ``of_an_episode``: what failed is an episode of which the others say nothing. ``final``: until it is mended, later
    checks would fail for the same reason, and say others.
    """

    result: str
    message: str
    of_an_episode: bool = False
    final: bool = False


def passed(message: str) -> Verdict:
    """All is well; the message says what was seen."""
    return _verdict(PASS, message)


def warned(message: str) -> Verdict:
    """It works, but someone should know."""
    return _verdict(WARN, message)


def failed(message: str) -> Verdict:
    """It can't be used so."""
    return _verdict(FAIL, message)


def judged(*, faults: list[str], remarks: list[str], fine: str) -> Verdict:
    """Fail with the faults, or warn with the remarks, or pass; the first few are spelled out."""
    if faults:
        return failed(_few(faults))
    return warned(_few(remarks)) if remarks else passed(fine)


_SPELLED_OUT = 3


def _few(texts: list[str]) -> str:
    more = len(texts) - _SPELLED_OUT
    return "; ".join(texts[:_SPELLED_OUT]) + (f"; and {more} more" if more > 0 else "")


def _verdict(result: str, message: str) -> Verdict:
    return Verdict(result, " ".join(message.split()))
