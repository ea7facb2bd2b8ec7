"""What is exported acts as the agent does, whatever its parts are, and says what it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY
from torch import nn

pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")

import mql
from mql.adaptation.search import shifted
from mql.adaptation.training_tasks import with_fixed_context
from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy
from mql.cli import app as cli
from mql.config.schema import ALGORITHMS, ENCODERS, AgentConfig
from mql.deploy import Controller, export
from mql.deploy.card import About, readme_of
from mql.deploy.comparison import BOUND, checked, compare, situations
from mql.deploy.graph import to_graph
from mql.errors import UserError
from mql.tasks import registry
from mql.types import Episode

pytestmark = pytest.mark.needs_extra
OBS, ACTION = 3, 2
SMALL = {"hidden_sizes": (16,), "context_dim": 4, "context_length": 5}


def agent_of(seed: int = 0, **changes: Any) -> Agent:
    """A small agent with large weights, whose actions depend on all that it has seen."""
    agent = Agent(OBS, ACTION, AgentConfig.model_validate({**SMALL, **changes}), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.online.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    if agent.config.normalize:
        agent.scaling.fit(3.0 + 5.0 * torch.randn(99, OBS), 100.0 * torch.randn(99) - 50.0)
    return agent


def kinds() -> Iterator[Any]:
    """Every encoder, in every mode that it has, and none; with every algorithm."""
    encoders: dict[str, dict[str, Any]] = {"none": {"use_context": False}}
    for name, choice in ENCODERS.items():
        encoders[f"{name}-window"] = {"encoder": name, "context_mode": "window"}
        if choice.carries:
            encoders[f"{name}-carry"] = {"encoder": name, "context_mode": "carry"}
    for algorithm in ALGORITHMS:
        for name, changes in encoders.items():
            for normalize in (True, False):
                short = normalize and (algorithm == "td3" or name == "gru-carry")
                yield pytest.param(
                    {"algorithm": algorithm, "normalize": normalize, **changes},
                    id=f"{algorithm}-{name}-{'normalised' if normalize else 'plain'}",
                    marks=[] if short else [pytest.mark.slow],
                )


@pytest.mark.parametrize("changes", [*kinds()])
def test_every_encoder_and_algorithm_acts_as_the_agent(changes: dict[str, Any]) -> None:
    agent = agent_of(**changes)
    graph = to_graph(agent)
    assert compare(agent, graph).difference <= BOUND
    assert ("last_reward" in {port.name for port in graph.inputs}) == bool(agent.online.actor_encoder.context_dim)


@pytest.mark.parametrize(
    "parts",
    [
        ("obs", "action"),
        pytest.param(("action", "reward"), marks=pytest.mark.slow),
        pytest.param(("obs",), marks=pytest.mark.slow),
    ],
)
def test_only_what_the_context_sees_goes_in(parts: tuple[str, ...]) -> None:
    agent = agent_of(context_elements=parts, context_mode="window")
    graph = to_graph(agent)
    assert compare(agent, graph).difference <= BOUND
    names = {port.name for port in graph.inputs}
    assert ("last_reward" in names, "last_action" in names) == ("reward" in parts, "action" in parts)
    assert ("last_obs" in graph.state) == ("obs" in parts)


def an_episode(length: int) -> Episode:
    rng = np.random.default_rng(3)
    return Episode(
        obs=rng.standard_normal((length + 1, OBS)).astype(np.float32),
        action=rng.uniform(-1, 1, (length, ACTION)).astype(np.float32),
        reward=rng.standard_normal(length).astype(np.float32),
        terminated=False,
        truncated=True,
        task=0,
        seed=0,
    )


CHANGED = {
    "carried": lambda agent: agent.after(an_episode(8)),
    "carried in a window": lambda agent: agent.after(an_episode(8)),
    "carried half a window": lambda agent: agent.after(an_episode(3)),
    "an offset of a search": lambda agent: shifted(agent, np.array([0.5, -1.0, 0.2, 0.0], np.float32)),
    "a fixed context": lambda agent: with_fixed_context(agent, np.array([0.5, -1.0, 0.2, 0.0], np.float32)),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "carried in a window" else []) for name in CHANGED]
)
def test_what_an_adaptation_leaves_is_inside(name: str) -> None:
    agent = agent_of(context_mode="window" if "a window" in name else "carry")
    changed = CHANGED[name](agent)
    graph = to_graph(changed)
    assert compare(changed, graph).difference <= BOUND
    assert compare(agent, graph).difference > 1e-2  # it is another one than before


@pytest.fixture(scope="module")
def family() -> Any:
    return registry.load("point-robot")


def test_the_controller_acts_as_the_robot_policy(family: Any, tmp_path: Path) -> None:
    config = AgentConfig.model_validate({**SMALL, "normalize": True})
    agent = Agent(family.obs_dim, family.action_dim, config, seed=1)
    agent.scaling.fit(torch.randn(50, family.obs_dim), torch.randn(50))
    export(agent, tmp_path / "out", family=family)
    policy, controller = RobotPolicy(agent), Controller(tmp_path / "out", deadline=np.inf)
    for step in situations(agent, family, seed=5):
        if step.first:
            policy.reset()
            controller.reset()
        expected = policy.act(step.obs, step.last_reward, last_action=step.taken)
        found = controller.act(step.obs, step.last_reward, last_action=step.taken)
        assert np.abs(found - expected).max() <= BOUND
    assert controller.faults == {} and controller.card["checked"]["largest_difference"] <= BOUND


class UndecidedEncoder(nn.Module):
    """One that computes other things by what it sees, in a way that a graph can't."""

    def __init__(self, element_dim: int, config: AgentConfig) -> None:
        super().__init__()
        self.context_dim = config.context_dim
        self.linear = nn.Linear(element_dim, config.context_dim)

    def forward(self, context: Any) -> torch.Tensor:
        z = self.linear(context.elements.sum(dim=0))
        return z if float(z.sum()) > 0.0 else -z


def test_a_part_that_cannot_be_exported_is_refused_by_name() -> None:
    agent = agent_of(context_mode="window")
    agent.online.actor_encoder = UndecidedEncoder(OBS + ACTION + 1, agent.config)
    with pytest.raises(UserError) as caught:
        to_graph(agent)
    assert "UndecidedEncoder" in str(caught.value) and "\n" not in str(caught.value)


def test_a_graph_that_acts_otherwise_is_refused() -> None:
    other = agent_of(seed=1)
    with pytest.raises(UserError, match="more than rounding explains"):
        checked(agent_of(), to_graph(other))


def test_an_agent_of_another_family_is_refused(family: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 observations and 2 actions"):
        export(agent_of(), tmp_path / "out", family=family)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("export") / "run", settings=TINY)


@pytest.fixture(scope="module")
def exported(run: Any) -> Path:
    """What `mql export RUN` writes."""
    out = run.path.parent / "out"
    assert cli.run(["export", str(run.path), "-o", str(out)]) == 0
    return Path(out)


def test_the_card_says_what_it_is(run: Any, exported: Path) -> None:
    card = json.loads((exported / "card.json").read_text())
    assert card["family"] == "point-robot" and card["control_timestep"] == run.family.control_timestep
    assert card["training"]["env_steps"] == run.checkpoints[-1] and card["training"]["run"] == "run"
    assert card["training"]["evaluation"]["summary"] == run.evaluations()[-1]["summary"]
    assert card["parameters"] == {"goal": run.family.parameters["goal"].to_json()}
    assert card["opset"] == 18 and card["checked"]["steps"] == 200
    assert card["reward"]["needed"] and card["reward"]["from"] == "family.reward"
    for name, facts in card["files"].items():
        data = (exported / name).read_bytes()
        assert facts == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    text = (exported / "README.md").read_text()
    assert "point-robot" in text and "| `goal` |" in text and card["files"]["policy.onnx"]["sha256"] in text
    assert str(run.path.parent) not in text + json.dumps(card)  # where it was trained is nobody's business
    sums = (exported / "SHA256SUMS").read_text()
    assert {line.split()[1] for line in sums.splitlines()} == {p.name for p in exported.iterdir()} - {"SHA256SUMS"}


def test_the_readme_says_who_scales_and_what_an_action_commands(exported: Path) -> None:
    """Of a family that names its numbers; point-robot does not."""
    card = json.loads((exported / "card.json").read_text())
    number = {"name": "place x", "unit": "m", "minus": 0.25, "per": 0.1}
    text = readme_of({**card, "observation": [number], "action": [number]}, About())
    assert "Give the policy (value - minus) / per for each number" in text and "so 0 commands `minus`" in text
    assert text.count("| 0 | `place x` | m | 0.25 | 0.1 |") == 2


def test_the_model_is_one_that_the_checker_of_onnx_accepts(exported: Path) -> None:
    import onnx

    model = onnx.load(str(exported / "policy.onnx"), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    assert str(Path(__file__).parents[2]).encode() not in model.SerializeToString()  # no paths of this machine


def test_the_example_runs_without_the_package(exported: Path) -> None:
    text = (exported / "example.py").read_text()
    (exported.parent / "quick").mkdir(exist_ok=True)
    for file in exported.iterdir():
        shutil.copy(file, exported.parent / "quick")
    (exported.parent / "quick" / "example.py").write_text(text.replace("time.sleep(", "print("))
    code = "import sys, runpy; sys.modules['mql'] = sys.modules['torch'] = None; runpy.run_path('example.py')"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=exported.parent / "quick",
    )
    assert done.returncode == 0 and "'faults': {}" in done.stdout, done.stderr
    assert len(text.splitlines()) < 45


def test_the_ros_node_compiles_and_states_its_rate_and_quality_of_service(run: Any, exported: Path) -> None:
    text = (exported / "ros2_node.py").read_text()
    compile(text, "ros2_node.py", "exec")
    assert f"every {run.family.control_timestep:g} s" in text and "best effort" in text and "reliable" in text


def test_the_example_in_cpp_compiles(exported: Path, tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    places = [Path("/usr/include"), Path("/usr/local/include"), *Path("/usr/include").glob("onnxruntime*")]
    found = next((path for path in places if (path / "onnxruntime_cxx_api.h").is_file()), None)
    if compiler is None or found is None:
        pytest.skip("there is no C++ compiler, or onnxruntime's headers (onnxruntime_cxx_api.h) are not installed")
    command = [compiler, "-std=c++17", "-Wall", "-c", str(exported / "example.cpp"), "-I", str(found)]
    done = subprocess.run([*command, "-o", str(tmp_path / "example.o")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_adapted_agent_exports_like_a_run(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapted = run.adapt(task={"goal": [0.5, -0.25]})
    adapted.save(tmp_path / "adapted")
    capsys.readouterr()
    assert cli.run(["export", str(tmp_path / "adapted"), "-o", str(tmp_path / "out"), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card == json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["adapted_to"] == {"goal": [0.5, -0.25]} and card["training"]["adaptation"]["method"] == "paper"
    controller, policy = Controller(tmp_path / "out"), adapted.policy()
    assert np.abs(controller.act([0.3, 0.1]) - policy.act([0.3, 0.1])).max() <= BOUND


def test_mistakes_cost_one_line(run: Any, exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    capsys.readouterr()
    for arguments, text in (
        ([str(run.path), "-o", str(exported)], "the path already exists"),
        ([str(run.path), "-o", str(tmp_path / "a"), "--checkpoint", "7"], "checkpoint"),
        ([str(tmp_path), "-o", str(tmp_path / "b")], "run"),
        ([str(run.path)], "Missing option"),
    ):
        assert cli.run(["export", *arguments]) == 2
        error = capsys.readouterr().err
        assert text in error and error.count("\n") == 1
