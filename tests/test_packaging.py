"""What is installed is what stands in the repository: the package list, the links, and a wheel used from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

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
    for requirement in [*PROJECT["project"]["dependencies"], *extras["test"], *extras["bench"]]:
        name = requirement.split(">")[0]
        assert name.lower().replace("-", "_") in {pin.lower().replace("-", "_") for pin in pins}, name


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
