"""Copying stored tensors into the tensors of an agent or learner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch


def copy_named(places: Iterable[tuple[str, torch.Tensor]], tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy into each of `places` the tensor of its name; those of other names are left alone.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape than its place.
    """
    for name, place in places:
        if tensors[name].shape != place.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(place.shape)}")
        place.copy_(tensors[name])
