"""What is installed is what stands in the repository: the package list, the links, and a wheel used from elsewhere."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import mql
from mql.errors import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {"mql": "mql", "mql.configs": "configs", "mql.robots": "robots", "mql.tasks": "tasks"}


def packaged_files() -> dict[str, Path]:
    """Every file that belongs into the wheel: path inside it -> file here. Links are not followed."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                found[f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"] = path
    return found


def test_changelog_and_citation_are_of_this_version() -> None:
    newest = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert newest is not None
    assert newest.groups() == (mql.__version__, citation["date-released"])
    assert citation["version"] == mql.__version__


def test_package_list_equals_the_folders() -> None:
    packages = {str(Path(inside).parent).replace("/", ".") for inside in packaged_files()}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == listed
    assert set(listed) == packages, "pyproject.toml names every sub-package and data folder by hand"


def test_package_folders() -> None:
    assert PROJECT["tool"]["setuptools"]["package-dir"] == FOLDERS


@pytest.mark.parametrize("name", ["tasks", "robots", "configs"])
def test_links_are_relative_and_lead_to_the_folders(name: str) -> None:
    link = ROOT / "mql" / name
    assert os.readlink(link) == f"../{name}"
    assert link.resolve() == ROOT / name


def test_every_direct_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert not [version for version in pins.values() if "+" in version], "a local version is on no public index"
    extras = PROJECT["project"]["optional-dependencies"]
    requirements = [*PROJECT["project"]["dependencies"], *(each for extra in extras.values() for each in extra)]
    for name in {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements} - {"mql"}:
        assert plain(name) in {plain(pin) for pin in pins}, name


def plain(name: str) -> str:
    """A distribution's name as all its spellings are compared."""
    return name.lower().replace("-", "_")


def test_the_core_leaves_the_version_of_mujoco_open_and_has_no_package_of_an_extra() -> None:
    core, extras = PROJECT["project"]["dependencies"], PROJECT["project"]["optional-dependencies"]
    assert "mujoco>=3.3" in core
    names = {plain(requirement.split(">")[0]) for requirement in core}
    assert not names & set(EXTRAS)
    for package, extra in EXTRAS.items():
        brought = {plain(re.split("[<>]", requirement)[0]) for requirement in extras[extra]}
        assert package in brought, f"the extra {extra} must bring {package}: errors tell people to install it"


def test_the_extra_all_is_what_users_can_add() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (requirement,) = extras["all"]
    assert set(requirement.removeprefix("mql[").removesuffix("]").split(",")) == set(extras) - {
        "all",
        "bench",
        "cluster",
        "docs",
        "games",
        "notebooks",
        "peer",
        "test",
    }


def test_the_readme_lists_the_extras() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `\.\[([a-z-]+)\]` \|", readme, flags=re.MULTILINE)
    assert set(listed) == set(PROJECT["project"]["optional-dependencies"]) - {"bench", "docs", "test"}


def test_setup_installs_every_extra_that_the_tests_need() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installed = re.search(r"-e '\.\[([\w,-]+)\]'", makefile)
    assert installed
    # the models of the menagerie are downloaded by hand, its tests have a stand-in; the peer is for a comparison,
    # the games for nothing else than learning them, and Ray's wheel is large: tests of it are skipped where it is not
    own = set(PROJECT["project"]["optional-dependencies"])
    assert set(installed[1].split(",")) == own - {"all", "robots", "peer", "games", "cluster"}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this tree on the import path; return its standard output."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of the source distribution from a copy (a build writes into its tree)."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, tree / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree, cwd=out)
    return next(out.glob("*.whl"))


def test_wheel_holds_every_file_once(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert sorted(names) == sorted(packaged_files())
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["project"]["optional-dependencies"])
    always = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(always) == sorted(PROJECT["project"]["dependencies"])


# What the command line and training on this repository's own models may import where the core alone is installed.
CORE_ALONE = """
import pkgutil, sys
from importlib import import_module

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {extras!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import mql, mql.cli.app, numpy
from mql.errors import UserError
from mql.tasks import registry

needing = []
for module in pkgutil.walk_packages(mql.__path__, "mql."):
    if module.name.endswith("__main__"):
        continue
    try:
        import_module(module.name)
    except ModuleNotFoundError as error:
        needing.append(error.name.split(".")[0])
assert set(needing) <= {{"metaworld", "gymnasium_robotics", "ray"}}, needing
for name in ("cheetah-vel", "arm-reach"):
    family = registry.load(name)
    batch = family.make_batch(family.tasks("train")[:2])
    batch.reset([1, 2])
    step = batch.step(numpy.zeros((2, family.action_dim), numpy.float32))
    assert numpy.isfinite(step.reward).all()
for name, extra in (("ml1-reach", "meta-world"), ("fetch-reach", "gymnasium-robotics")):
    try:
        registry.load(name)
    except UserError as error:
        assert f"pip install 'mql[{{extra}}]'" in str(error), error
    else:
        raise AssertionError(name)
assert mql.cli.app.run(["tasks", "show", "walker-params"]) == 0
assert mql.cli.app.run(["tasks", "list", "--json"]) == 0
"""


def test_the_core_alone_loads_and_steps_families_and_names_the_extra_of_others() -> None:
    code = CORE_ALONE.format(extras={*EXTRAS, "imageio"})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "'mql[meta-world]'" in done.stderr and "'mql[gymnasium-robotics]'" in done.stderr
    listed = json.loads(done.stdout.splitlines()[-1])
    assert {"cheetah-vel", "arm-reach"} <= {row["name"] for row in listed}
    assert not {row["name"] for row in listed} & {"ml10", "fetch-push", "maze"}


def test_installed_wheel_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    run(sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are those of the environment that runs the tests; .pth files in there, and with them an
    # editable install of this tree, are not read through this one.
    paths = sysconfig.get_paths()
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=tmp_path).strip())
    (own / "dependencies.pth").write_text(f"{paths['purelib']}\n{paths['platlib']}\n", encoding="utf-8")
    where = run(python, "-c", "import mql, mql.tasks; print(mql.__file__, mql.tasks.__file__)", cwd=tmp_path)
    assert all(Path(file).is_relative_to(own) for file in where.split())
    listed = json.loads(run(place / "bin" / "mql", "tasks", "list", "--json", cwd=tmp_path))
    assert "reacher-goal" in {family["name"] for family in listed}
    run(python, "-c", "import mql; assert mql.load_config('reacher-goal').family == 'reacher-goal'", cwd=tmp_path)
