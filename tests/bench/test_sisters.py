"""`mql bench p3o` and `mql bench q-learning` at tiny sizes: figures that agree with one another, none with a number."""

from __future__ import annotations

import pytest

from mql.bench import p3o, q_learning
from mql.cli import bench as cli_bench

P3O = p3o.Sizes(
    environment="Pendulum-v1",
    settings=("p3o.lanes=2", "p3o.steps=4", "p3o.segments=4", "p3o.off_policy_after=8", "p3o.hidden_sizes=[8]"),
    warm_up=1,
    iterations=2,
    rounds=2,
)
Q = q_learning.Sizes(
    planes=(4, 4, 2),
    choices=3,
    settings=(
        "q_learning.filters=2",
        "q_learning.conv_units=8",
        "q_learning.update_every=50",
        "q_learning.batch_size=4",
    ),
    rounds=1,
)


def test_p3o() -> None:
    found = p3o.measure(1, P3O)
    assert found["env_steps_per_s"] > 0.0 and found["workers"] == 1
    assert found["vs_gymnasium"] == pytest.approx(found["env_steps_per_s"] / found["gymnasium_env_steps_per_s"])
    iteration = found["iteration"]
    assert iteration["env_steps"] == 8 and iteration["updates_per_iteration"] >= 1.0
    assert iteration["collect_ms"] > 0.0 and iteration["update_ms"] > 0.0
    expected = found["env_steps_per_s"] / 8 * iteration["updates_per_iteration"]
    assert found["updates_per_s"] == pytest.approx(expected)


def test_q_learning() -> None:
    found = q_learning.measure(1, Q)
    assert found.keys() == {"dqn", "rainbow"}
    for figures in found.values():
        assert figures["env_steps_per_s"] == pytest.approx(50 * figures["updates_per_s"])
        assert figures["update_ms"] > 0.0 and figures["act_and_store_us"] > 0.0


def test_every_figure_has_a_unit() -> None:
    names = [("iteration", "collect_ms"), ("dqn", "updates_per_s"), ("env_steps_per_s",), ("dqn", "act_and_store_us")]
    assert [cli_bench.unit(name) for name in names] == ["ms", "updates/s", "env steps/s", "µs"]
