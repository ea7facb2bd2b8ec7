"""What is wrong, or odd, in logged episodes: each finding in one line that says where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mql.errors import UserError
from mql.types import JSON

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Args:
        level: an error must be put right before the data are used; a warning should be looked at.
        what: what it is.
        mend: what helps.
        file, episode, step, key: where; an episode of None stands for the whole file, and steps count from 0.
    """

    level: Level
    what: str
    mend: str
    file: str
    episode: str | None = None
    step: int | None = None
    key: str = ""

    @property
    def where(self) -> str:
        """The place, in words."""
        parts = [self.file]
        parts += [] if self.episode is None else [f"episode {self.episode}"]
        parts += [] if self.step is None else [f"step {self.step}"]
        return " ".join([*parts, self.key] if self.key else parts)

    def error(self) -> UserError:
        """Return it as the error that stops what would use the data."""
        return UserError(self.what, where=self.where, mend=self.mend)

    def to_json(self) -> dict[str, JSON]:
        """Return plain data."""
        return {
            "level": self.level,
            "file": self.file,
            "episode": self.episode,
            "step": self.step,
            "key": self.key,
            "what": self.what,
            "mend": self.mend,
        }

    def __str__(self) -> str:
        return f"{self.level}: {self.error()}"
