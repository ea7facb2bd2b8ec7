"""What other people's files call things, as it may reach a screen, a log or a message: characters that only show.

A name with an escape sequence would otherwise move the cursor, hide or recolour what stands beside it, set the window's
title, or answer in the user's place; one that turns the direction of writing shows another text than it is.
"""

from __future__ import annotations

import unicodedata

_LINES = "\n\t"
# Characters that turn the direction of writing: what follows is shown in another order than it stands.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, halves of characters, and separators of lines


def hides(character: str) -> bool:
    """Tell whether a character does something other than show, line breaks and tabs included."""
    return character in _TURNING or unicodedata.category(character) in _UNSEEN


def plain(text: str) -> str:
    r"""Return a text with every character that does not show written out, such as ``\x1b``; breaks and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(written(each) if each not in _LINES and hides(each) else each for each in text)


def counted(number: int, what: str) -> str:
    """Return a count with its noun, which takes an s where there is not one."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def first_hidden(text: str) -> str | None:
    r"""Return the first character that does not show, written out; None where there is none but breaks and tabs."""
    if text.isascii() and text.isprintable():
        return None
    return next((written(each) for each in text if each not in _LINES and hides(each)), None)


def written(character: str) -> str:
    r"""Write a character out, such as ``\x1b``."""
    return character.encode("unicode_escape").decode("ascii")
