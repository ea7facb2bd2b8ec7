"""What attacks on files that a person writes have in common: hostile pieces of text, and what a refusal has to be."""

from __future__ import annotations

import unicodedata

from mql.errors import UserError

# Values in YAML that a slip of the keyboard, or somebody who means harm, puts in the place of another.
VALUES = (
    *("0", "-1", "1e12", "1e308", "-1e308", "1e-308", ".nan", ".inf", "-.inf", "60000", "80000000", "10000000", "1e-6"),
    *("true", "null", "~", "''", "[]", "{}", "[1, 2]", "[60000, 60000]", "[1e12]", "{a: 1}", "x", "'1e3'", "-0.0"),
    *(
        "0x" + "f" * 5000,
        "9" * 5000,
        "0b" + "1" * 20000,
        ":".join(["59"] * 3000),
        "1_0",
        "0o17",
        "1:30",
        "'" + "9" * 900 + "'",
    ),
    *(
        '"\\ud800"',
        '"\\e[31mred\\e[0m"',
        '"\\u202etxt"',
        '"a\\0b"',
        '"a\\nb"',
        '"\\x9b2J"',
        "a" * 5000,
        "../../etc/passwd",
    ),
    *("2001-01-01", "!!binary aGk=", "!!python/object/apply:os.system ['true']", "!!set {a, b}", "&a [*a]", "*nobody"),
    *(
        "/etc/passwd",
        "file:///etc/passwd",
        "__import__('os')",
        "task.nobody",
        "%n%s",
        "<script>alert(1)</script>",
        "é",
        "名前",
    ),
)
KEYS = ('"\\ud800"', '"\\e[31mred"', "? [a]", "<<", '""', "~", "a" * 3000, "__class__", "..", "agent.lr.x", "1", "true")


def check_refusal(error: UserError, *places: str) -> None:
    """Hold a refusal to its promise: one line that shows, not too long, which names one of `places` where there are."""
    said = str(error)
    assert said and len(said) < 7000
    assert not [each for each in said if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") or each == "\u202e"]
    said.encode("utf-8")
    assert not places or any(place in said for place in places), said
