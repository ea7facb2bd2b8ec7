"""The segments that P3O learns from off policy: a ring of the newest ones.

Shapes: as in `segments.py`; S places of the ring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from mql.p3o.distributions import ActionDistribution
from mql.p3o.segments import Segments, empty_segments


class SegmentReplay:
    """Stores segments as they were played, on the CPU; a new one takes the place of the oldest.

    Args:
        capacity: transitions, of which those are used that whole segments fill.
        steps: T, of a segment.

    Raises:
        ValueError: no segment fits in.
    """

    def __init__(self, capacity: int, *, steps: int, obs_dim: int, distribution: ActionDistribution) -> None:
        self._places, self._steps = capacity // steps, steps
        if self._places < 1:
            raise ValueError(f"a segment of {steps} steps does not fit into {capacity} transitions")
        rows = vars(empty_segments(self._places, steps, obs_dim, distribution))
        self._no_final = rows["final"]
        self._rows = {name: tensor for name, tensor in rows.items() if name != "final"}
        self._finals: dict[int, torch.Tensor] = {}  # [F, O] by place, of the few segments that have some
        self._filled = self._next = 0

    def __len__(self) -> int:
        """Segments stored."""
        return self._filled

    @property
    def transitions(self) -> int:
        """Transitions stored."""
        return self._filled * self._steps

    def add(self, fresh: Segments) -> None:
        """Store segments [B, T].

        Raises:
            ValueError: they are more than fit in.
        """
        n = len(fresh.obs)
        if n > self._places:
            raise ValueError(f"{n} segments do not fit into {self._places} places")
        places = (self._next + np.arange(n)) % self._places
        index = torch.from_numpy(places)
        for name, rows in self._rows.items():
            rows[index] = getattr(fresh, name)
        self._keep_finals(places.tolist(), fresh.final)
        self._next = int(self._next + n) % self._places
        self._filled = min(self._filled + n, self._places)

    def draw(self, n: int, rng: np.random.Generator) -> Segments:
        """Draw `n` of the stored segments, uniformly and with replacement.

        Raises:
            ValueError: none is stored.
        """
        places = rng.integers(self._filled, size=n)
        index = torch.from_numpy(places)
        parts = {name: rows[index] for name, rows in self._rows.items()}
        finals = [self._finals[place] for place in places.tolist() if place in self._finals] if self._finals else []
        return Segments(**parts, final=torch.cat(finals) if finals else self._no_final)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name; what lies in the ring is not copied."""
        finals = [self._finals[place] for place in sorted(self._finals)]
        return {
            **{name: rows[: self._filled] for name, rows in self._rows.items()},
            "final": torch.cat(finals) if finals else self._no_final,
            "next": torch.tensor(self._next),
        }

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Store what `tensors` gave, at the same places, and nothing else.

        Raises:
            KeyError: a tensor is missing.
            ValueError: a tensor has another shape, or they are more than fit in.
        """
        filled = len(tensors["obs"])
        if filled > self._places:
            raise ValueError(f"{filled} segments do not fit into {self._places} places")
        for name, rows in self._rows.items():
            if tensors[name].shape != (filled, *rows.shape[1:]):
                shape = tuple(tensors[name].shape)
                raise ValueError(f"{name} has shape {shape}, not {(filled, *rows.shape[1:])}")
            rows[:filled] = tensors[name]
        self._filled, self._next = filled, int(tensors["next"])
        self._finals = {}
        self._keep_finals(range(filled), tensors["final"].cpu())

    def _keep_finals(self, places: Iterable[int], final: torch.Tensor) -> None:
        """Keep the final observations [F, O] of the segments at `places`, which are in the ring already."""
        places = list(places)
        if not len(final):
            for place in places:
                self._finals.pop(place, None)
            return
        counts = self._rows["truncated"][torch.tensor(places), :-1].sum(dim=1).tolist()
        if sum(counts) != len(final):
            raise ValueError(f"{len(final)} final observations do not fit {sum(counts)} time limits")
        for place, part in zip(places, final.split_with_sizes(counts), strict=True):
            if len(part):
                self._finals[place] = part.clone()
            else:
                self._finals.pop(place, None)
