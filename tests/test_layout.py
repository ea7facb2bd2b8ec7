"""The import order: who may import whom, and what must not be imported for nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From low to high. A module imports from its own row or from the rows above it, and no cycle arises. An entry is a
# folder or a module at the top of mql/; the longest entry that fits a module counts.
ORDER = (
    {"mql.plain_text"},
    {"mql.errors"},
    {"mql.stopping", "mql.shipped"},
    {"mql.types", "mql.seeding", "mql.threads", "mql.files", "mql.compiling"},
    {"mql.config", "mql.kernels"},
    {"mql.agent"},
    {"mql.collecting", "mql.data"},
    {"mql.learning"},
    {"mql.adaptation"},
    {"mql.evaluation"},
    {"mql.runs"},
    {"mql.training"},
    {"mql.baselines", "mql.p3o", "mql.q_learning"},
    {"mql.report", "mql.deploy"},
    {"mql.api"},
    {"mql.films", "mql.study"},
    {"mql.bench", "mql.cli"},
)
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}
# The same for robots and tasks, which stand beside the learning code: tasks above robots.
ORDER_OF_TASKS = (
    {"mql.robots.mjcf"},
    {
        "mql.robots.description",
        "mql.robots.spec_parts",
        "mql.robots.spec",
        "mql.robots.additions",
        "mql.robots.acting",
        "mql.robots.spec_yaml",
        "mql.robots.inspection",
    },
    {"mql.robots.models", "mql.robots.drawing"},
    {"mql.robots.registry"},
    {"mql.robots.checks"},
    {
        "mql.tasks.distributions",
        "mql.tasks.parameter",
        "mql.tasks.splits",
        "mql.tasks.task",
        "mql.tasks.family",
        "mql.tasks.fault",
        "mql.tasks.handling",
        "mql.tasks.gymnasium_ids",
        "mql.tasks.name_choice",
        "mql.tasks.travelling",
    },
    {"mql.tasks.physics", "mql.tasks.control", "mql.tasks.scenes"},
    {"mql.tasks.stepping"},
    {"mql.tasks.disturbances"},
    {"mql.tasks.families", "mql.tasks.definitions", "mql.tasks.wrapped"},
    {"mql.tasks.packages", "mql.tasks.registry"},
    {"mql.tasks.checks"},
    {"mql.tasks.as_gymnasium"},
)
RANKS_OF_TASKS = {name: rank for rank, names in enumerate(ORDER_OF_TASKS) for name in names}
# The public names and `python -m mql` stand above everything.
TOP = {"mql", "mql.__main__", "mql.tasks", "mql.robots"}
# What tasks and robots use, too.
FOR_ALL = (
    *("mql.errors", "mql.plain_text", "mql.compiling", "mql.stopping"),
    *("mql.config.marked_yaml", "mql.config.findings", "mql.config.parts"),
)
# What the learning code knows of tasks; from mql.api on, modules may use all of them.
FAMILY_CONTRACT = {"mql.tasks.family", "mql.tasks.fault", "mql.tasks.travelling"}
KNOW_A_FAMILY = {"mql.evaluation.meta_world_protocol"}  # Meta-World's own protocol


def modules() -> dict[str, Path]:
    """Every module of the four packages: import name -> file."""
    found = {}
    for folder, package in (
        ("mql", "mql"),
        ("tasks", "mql.tasks"),
        ("robots", "mql.robots"),
        ("configs", "mql.configs"),
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """The project's modules that a module imports, also inside functions and for type checkers only."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    return {target for node in ast.walk(tree) for target in _targets(node)} - {name}


def _targets(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "mql")
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        source = node.module or ""
        if source.split(".")[0] == "mql":
            for alias in node.names:
                yield f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source


def learning_modules() -> list[str]:
    packages = ("mql.tasks", "mql.robots", "mql.configs")
    return [name for name in MODULES if name not in TOP and not name.startswith(packages)]


def rank(name: str) -> int:
    return RANKS[".".join(name.split(".")[:2])]


def test_every_learning_module_has_its_place_in_the_order() -> None:
    missing = [name for name in learning_modules() if ".".join(name.split(".")[:2]) not in RANKS]
    assert not missing, f"give these a row in ORDER: {missing}"


@pytest.mark.parametrize("name", [name for name in learning_modules() if ".".join(name.split(".")[:2]) in RANKS])
def test_learning_modules_import_downwards_only(name: str) -> None:
    for target in imports(name):
        if target.startswith(("mql.tasks", "mql.robots")):
            allowed = rank(name) >= RANKS["mql.api"] or name in KNOW_A_FAMILY
            assert target in FAMILY_CONTRACT or allowed, f"{name} meets tasks only by the family contract, not {target}"
        elif not target.startswith("mql.configs"):
            assert target in MODULES and target not in TOP, f"{name} imports {target}: name the module itself"
            assert rank(target) <= rank(name), f"{name} must not import {target}, which stands above it"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(("mql.tasks.", "mql.robots."))])
def test_tasks_and_robots_import_downwards_only(name: str) -> None:
    assert _folder(name) in RANKS_OF_TASKS, f"give {name} a row in ORDER_OF_TASKS"
    for target in imports(name):
        if target.startswith(("mql.tasks", "mql.robots")):
            assert target in MODULES and target not in TOP, f"{name} imports {target}: name the module itself"
            above = RANKS_OF_TASKS[_folder(target)] > RANKS_OF_TASKS[_folder(name)]
            assert not above, f"{name} must not import {target}, which stands above it"


def _folder(name: str) -> str:
    return ".".join(name.split(".")[:3])


def test_tasks_and_robots_never_import_the_learning_code() -> None:
    for name in MODULES:
        for package, allowed in (
            ("mql.robots", (*FOR_ALL, "mql.robots")),
            ("mql.tasks", (*FOR_ALL, "mql.robots", "mql.tasks")),
            ("mql.configs", ("mql.configs",)),
        ):
            if name.startswith(package):
                strangers = {target for target in imports(name) if not target.startswith(allowed)}
                assert not strangers, f"{name} imports {strangers}"


def test_every_row_of_the_orders_stands_for_something() -> None:
    folders = {".".join(name.split(".")[:depth]) for name in MODULES for depth in (2, 3)}
    assert not [name for name in (*RANKS, *RANKS_OF_TASKS) if name not in folders]


def test_no_import_cycle() -> None:
    graph = {name: imports(name) for name in MODULES if name not in TOP}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


@pytest.mark.parametrize("name", ["mql.training.loop", "mql.training.learning"])
def test_the_loop_knows_no_method(name: str) -> None:
    known = {target for target in imports(name) if target.split(".")[1] in ("agent", "learning", "adaptation")}
    assert not known, f"{name} must meet {known} by the protocol `Learning` alone"


def test_files_are_short_and_named_for_what_they_do() -> None:
    folders = ("mql", "tasks", "robots", "configs", "tests", "examples", "notebooks")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        assert path.name not in {"utils.py", "helpers.py", "base.py", "common.py", "misc.py"}, path
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines, at most 400 are allowed"


def test_tests_mirror_the_folders() -> None:
    """`mql/learning/` is tested in `tests/learning/`, `tasks/checks/` in `tests/tasks/checks/`; faults cross rooms."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    folders -= {Path("faults")}
    assert len(folders) > 10
    for folder in folders:
        assert any((root / folder).is_dir() for root in (ROOT, ROOT / "mql")), f"tests/{folder} mirrors no folder"


def loaded_by(code: str, *suspects: str) -> set[str]:
    """Which suspects are in sys.modules after running code in a fresh interpreter."""
    report = f"\nimport sys\nprint('loaded:', *(name for name in {suspects!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


HEAVY = ("torch", "sklearn", "scipy", "metaworld", "gymnasium_robotics", "wandb", "mujoco", "matplotlib", "pydantic")


def test_importing_mql_imports_nothing_heavy() -> None:
    assert loaded_by("import mql", *HEAVY) == set()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mql.cli.app import main\nsys.argv = ['mql', '--help']\ntry: main()\nexcept SystemExit: pass"
    )
    assert loaded_by(code, *(set(HEAVY) - {"pydantic"})) == set()


def test_reading_a_config_needs_no_torch() -> None:
    assert loaded_by("import mql.config.loading", "torch", "mujoco", "sklearn") == set()


def test_the_public_names_stay_the_public_ones() -> None:
    """No module stands behind a public name, so that importing modules hides none of them."""
    code = (
        "import importlib.util, mql\n"
        "assert mql.load_config('reacher-goal').family == 'reacher-goal'\n"
        "assert mql.load_family('reacher-goal').name == 'reacher-goal'\n"
        "import mql.api.run as run, mql.agent.agent as agent, mql.training.loop as loop\n"
        "assert set(mql.__all__) <= set(dir(mql))\n"
        "names = [name for name in mql.__all__ if name != '__version__']\n"
        "assert all(callable(getattr(mql, name)) for name in names)\n"
        "assert not [name for name in names if importlib.util.find_spec('mql.' + name)]\n"
        "from mql import train\n"
        "assert train is run.train and loop.train is not train and mql.Agent is agent.Agent\n"
        "assert not hasattr(mql, 'unknown')"
    )
    assert loaded_by("import sys\n" + code) == set()


def test_acting_needs_no_simulator() -> None:
    """A robot's computer loads a policy."""
    assert loaded_by("import mql; mql.load_policy", "mujoco", "sklearn", "matplotlib") == set()
