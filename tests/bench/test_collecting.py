"""`mql bench collecting` at a tiny size: figures that agree with one another."""

from __future__ import annotations

import pytest
from ray_nodes import Two

from mql.bench import collecting

pytest.importorskip("ray", reason="the extra cluster is not installed")


def test_collecting(two: Two) -> None:
    found = collecting.measure(2, collecting.Sizes("point-robot", episodes=4, rounds=1, address=two.address))
    speeds = [found[engine]["env_steps_per_s"] for engine in ("local", "ray")]
    assert min(speeds) > 0.0 and found["ray_call_ms"] > 0.0
    assert found["ray_against_local"] == pytest.approx(speeds[1] / speeds[0])
    assert found["episode_bytes"] > 4 * 20 * (2 + 2 + 1) and found["policy_bytes"] > 0 and found["workers"] == 2
