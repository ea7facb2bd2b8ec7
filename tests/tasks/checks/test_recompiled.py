"""The check that a changed model is a compiled one: families whose models are not are found, whoever changes them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from changed_models import lab
from lab_definitions import PYTHON, write_parallel, write_python

from mql import tasks
from mql.tasks import registry
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import run_check
from mql.tasks.families.locomotion.cheetah_vel import CheetahVel
from mql.tasks.family import Task, TaskFamily
from mql.tasks.physics.rebuild import NotComparableError, rebuilt, unlike
from mql.tasks.scenes.source import MjcfFile

pytestmark = pytest.mark.newest
# Newer versions of MuJoCo have a body's volumes in the body's own axes, which a new centre of mass does not move.
OLD_VOLUMES = pytest.mark.skipif(int(mujoco.__version__.split(".")[0]) > 3, reason="nothing is wrong then")


def verdict_of(family: TaskFamily) -> Any:
    return run_check(Inspection(lambda: family, replace(QUICK, speed_seconds=0.005)), "recompiled")


def place(model: mujoco.MjModel) -> None:
    model.geom("ffoot").pos[2] -= 0.1


def centre(model: mujoco.MjModel) -> None:
    model.body("torso").ipos[0] += 0.1
    mujoco.mj_setConst(model, mujoco.MjData(model))


def size(model: mujoco.MjModel) -> None:
    model.geom("ffoot").size[0] *= 2.0


def mass(model: mujoco.MjModel) -> None:
    model.body("torso").mass[0] *= 2.0


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (place, "bvh_aabb"),
        pytest.param(centre, "bvh_aabb", marks=OLD_VOLUMES),
        (size, "geom_rbound"),
        (mass, "body_invweight0"),
    ],
)
def test_a_family_that_writes_into_its_model_is_found(edit: Callable[[Any], None], named: str) -> None:
    class Careless(CheetahVel):
        def model(self, task: Task) -> mujoco.MjModel:
            model = copy.deepcopy(super().model(task))
            edit(model)
            return model

    plain = registry.load("cheetah-vel")
    careless = Careless(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
    verdict = verdict_of(careless)
    assert verdict.result == "fail" and named in verdict.message and "velocity=" in verdict.message, verdict
    assert "under `apply`" in verdict.message and "\n" not in verdict.message
    assert verdict_of(plain).result == "pass"


def test_so_is_a_python_class_that_does(tmp_path: Path) -> None:
    moves = "        model.geom('rod').pos[2] = 0.3\n"
    code = PYTHON.replace("        data.qpos[self.rail] = rng", moves + "        data.qpos[self.rail] = rng")
    assert moves in code
    verdict = verdict_of(tasks.from_file(write_python(tmp_path / "careless", code=code), trust=True))
    assert verdict.result == "fail" and "bvh_aabb" in verdict.message
    verdict = verdict_of(tasks.from_file(write_python(tmp_path / "sound"), trust=True))
    assert verdict.result == "pass" and verdict.message.startswith("the models of 2 tasks are what compiling gives")


def test_a_definition_with_every_kind_of_change_passes(tmp_path: Path) -> None:
    applied = {
        "length": "field: geom_size, geom: rod, index: 1, op: set",
        "place": "field: body_pos, body: pole, index: 0, op: set",
        "turn": "field: geom_turn, geom: box, index: 2, op: add",
    }
    value = "value: {dist: uniform, low: 0.1, high: 0.3}"
    parameters = "".join(f"  {name}: {{{value}, apply: [{{{each}}}]}}\n" for name, each in applied.items())
    assert verdict_of(tasks.from_file(write_parallel(tmp_path, parameters=parameters))).result == "pass"


def test_what_can_not_be_compared_is_said() -> None:
    verdict = verdict_of(registry.load("point-robot"))
    assert (verdict.result, verdict.message) == ("pass", "nothing is compared: there is no MuJoCo model")


def test_rebuilding_takes_every_number_that_a_model_has(tmp_path: Path) -> None:
    """Numbers are written into a compiled model at random, where nothing is derived from them; all come back."""
    laboratory, rng = lab(tmp_path), np.random.default_rng(0)
    model = laboratory.model()
    for name in ("geom_friction", "dof_damping", "jnt_stiffness", "tendon_stiffness", "tendon_damping", "eq_solref"):
        values = getattr(model, name)
        values *= rng.uniform(0.8, 1.2, values.shape)
    model.opt.gravity[:] = rng.uniform(-9.0, 9.0, 3)
    model.opt.timestep = 0.001
    assert unlike(model, rebuilt(model, laboratory.source)) == []
    own = laboratory.model()
    assert {"gravity", "timestep", "geom_friction", "tendon_damping"} <= set(unlike(model, own))


def test_another_file_is_no_reference(tmp_path: Path) -> None:
    (tmp_path / "other.xml").write_text("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    with pytest.raises(NotComparableError, match="gives another model"):
        rebuilt(lab(tmp_path).model(), MjcfFile(tmp_path / "other.xml"))
