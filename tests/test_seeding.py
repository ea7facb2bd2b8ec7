"""Random streams: first weights that depend on their seed alone, whoever else draws at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from mql.seeding import first_weights_of

SECONDS = 0.2  # that one waits for another that must not come: it costs that time where all is well


def first_weights(seed: int, between: Callable[[], object] = lambda: None) -> torch.Tensor:
    """Return two layers' weights, made as networks are; `between` is called after the first one."""
    with first_weights_of(seed):
        first = nn.Linear(3, 2).weight
        between()
        return torch.cat([first, nn.Linear(3, 2).weight]).detach().clone()


def in_threads(works: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_first_weights_depend_on_the_seed_alone() -> None:
    torch.rand(3)
    one, other, again = first_weights(1), first_weights(2), first_weights(1)
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_the_generator_is_afterwards_as_it_was_also_after_an_error() -> None:
    before = torch.get_rng_state()
    first_weights(3)
    assert torch.equal(torch.get_rng_state(), before)

    def fail() -> None:
        raise ValueError("no such network")

    with pytest.raises(ValueError, match="no such network"):
        first_weights(4, between=fail)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_that_make_networks_at_the_same_time_get_their_own_seeds_weights() -> None:
    """Another one would begin while the first one is half done, if it did not wait for its turn."""
    alone = {seed: first_weights(seed) for seed in (1, 2)}
    before = torch.get_rng_state()
    found: dict[int, torch.Tensor] = {}
    half_done, another_has_drawn = threading.Event(), threading.Event()

    def wait_for_another() -> None:
        half_done.set()
        another_has_drawn.wait(SECONDS)

    def first() -> None:
        found[1] = first_weights(1, between=wait_for_another)

    def second() -> None:
        half_done.wait()
        found[2] = first_weights(2, between=another_has_drawn.set)

    in_threads([first, second])
    assert all(torch.equal(found[seed], alone[seed]) for seed in alone)
    assert torch.equal(torch.get_rng_state(), before), "one of them left the other's generator behind"


def test_many_threads_make_the_networks_that_each_would_make_alone() -> None:
    alone = {seed: first_weights(seed) for seed in range(8)}
    found: list[tuple[int, torch.Tensor]] = []
    together = threading.Barrier(len(alone))

    def make(seed: int) -> None:
        together.wait()
        found.extend((seed, first_weights(seed)) for _ in range(50))

    before = torch.get_rng_state()
    in_threads([lambda seed=seed: make(seed) for seed in alone])  # type: ignore[misc]
    assert len(found) == 50 * len(alone) and all(torch.equal(weights, alone[seed]) for seed, weights in found)
    assert torch.equal(torch.get_rng_state(), before)
