"""The order of the house: who may import whom, and what must not be imported for nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From low to high. A module imports from its own row or from rows above it in this table, and no cycle arises.
ORDER = (
    {"errors"},
    {"marked_yaml", "model_errors", "trust"},
    {"types", "seeding", "memory", "workers"},
    {"config"},
    {"config_yaml", "config_file", "context_plan"},
    {"protocols"},
    {"kernels", "gru", "layers", "encoders", "networks", "parameter_vector"},
    {"acting", "agent", "episodes"},
    {"optimizer", "propensity", "td3", "replay", "statistics"},
    {
        "adaptation",
        "checkpoint",
        "environment",
        "files",
        "progress",
        "report",
        "rollout",
        "run_definition",
        "run_dir",
        "run_folder",
        "tracking",
    },
    {"trainer", "meta_train", "meta_test", "meta_world_agent"},
    {
        "bench",
        "cli",
        "cli_bench",
        "cli_check",
        "cli_evaluate",
        "cli_families",
        "cli_opengl",
        "cli_robot_commands",
        "cli_robots",
        "cli_tables",
        "cli_task_commands",
        "cli_tasks",
        "cli_train",
        "meta_world_protocol",  # knows Meta-World's own tasks
        "quickstart",
        "task_skeleton",
    },
)
RANKS = {f"mql.{name}": rank for rank, names in enumerate(ORDER) for name in names}
TOP = {"mql", "mql.__main__"}  # the public names and `python -m mql` stand above everything
FOR_ALL = ("mql.errors", "mql.marked_yaml", "mql.model_errors")  # what tasks and robots use, too
FAMILY_CONTRACT = {"mql.tasks.family", "mql.tasks.fault", "mql.tasks.registry"}


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


def imports(name: str, *, local: bool = True) -> set[str]:
    """The project's modules that a module imports; without those inside functions where `local` is False."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    return {target for node in _walk(tree, local=local) for target in _targets(node)} - {name}


def _walk(node: ast.AST, *, local: bool) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if local or not isinstance(child, ast.FunctionDef):
            yield from _walk(child, local=local)


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
            top = rank(name) == len(ORDER) - 1
            assert target in FAMILY_CONTRACT or top, f"{name} meets tasks only by the family contract, not {target}"
        elif not target.startswith("mql.configs"):
            assert target in MODULES and target not in TOP, f"{name} imports {target}: name the module itself"
            assert rank(target) <= rank(name), f"{name} must not import {target}, which stands above it"


def test_tasks_and_robots_never_import_the_learning_code() -> None:
    for name in MODULES:
        for package, allowed in (
            ("mql.robots", (*FOR_ALL, "mql.robots")),
            ("mql.tasks", (*FOR_ALL, "mql.robots", "mql.tasks", "mql.trust")),
            ("mql.configs", ("mql.configs",)),
        ):
            if name.startswith(package):
                strangers = {target for target in imports(name) if not target.startswith(allowed)}
                assert not strangers, f"{name} imports {strangers}"


def test_no_import_cycle() -> None:
    graph = {name: imports(name, local=False) for name in MODULES if name not in TOP}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


def test_files_are_short_and_named_for_what_they_do() -> None:
    folders = ("mql", "tasks", "robots", "configs", "tests", "examples", "notebooks")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        assert path.name not in {"utils.py", "helpers.py", "base.py", "common.py", "misc.py"}, path
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 300, f"{path.relative_to(ROOT)} has {lines} lines, at most 300 are allowed"


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
    code = "import sys; from mql.cli import main\nsys.argv = ['mql', '--help']\ntry: main()\nexcept SystemExit: pass"
    assert loaded_by(code, *(set(HEAVY) - {"pydantic"})) == set()


def test_reading_a_config_needs_no_torch() -> None:
    assert loaded_by("import mql.config_file", "torch", "mujoco", "sklearn") == set()


def test_the_public_names_stay_the_public_ones() -> None:
    """The module `mql.meta_train` holds the function of the same name; importing it must not hide the function."""
    code = (
        "import mql\n"
        "assert mql.load_config('reacher-goal').family == 'reacher-goal'\n"
        "assert mql.load_family('reacher-goal').name == 'reacher-goal'\n"
        "import mql.meta_train\n"
        "assert set(mql.__all__) <= set(dir(mql))\n"
        "assert all(callable(getattr(mql, name)) for name in mql.__all__ if name != '__version__')\n"
        "from mql import meta_train\n"
        "assert meta_train is sys.modules['mql.meta_train'].meta_train\n"
        "assert not hasattr(mql, 'unknown')"
    )
    assert loaded_by("import sys\n" + code) == set()
