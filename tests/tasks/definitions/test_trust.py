"""The trust rule: no Python of a definition runs before the user allowed it, whichever command is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_definitions import SETTINGS, write_python

from mql import tasks
from mql.cli import app as cli
from mql.errors import UserError
from mql.tasks.definitions.file import read_definition
from mql.tasks.definitions.trust import Untrusted, config_path, is_trusted


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a list of trusted definitions."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def trust_list(text: str) -> None:
    config_path().parent.mkdir(parents=True, exist_ok=True)
    config_path().write_text(text)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert cli.run([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1, err
    assert "class CartTask of " in err and "cart_task.py (" in err and "env.python" in err and "--trust" in err
    return err


def test_no_command_runs_python_that_is_not_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, ran = write_python(tmp_path / "lab"), tmp_path / "lab" / "ran"
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text("family: lab/cart.yaml\n")
    refused(capsys, "train", path)
    refused(capsys, "train", experiment)
    refused(capsys, "tasks", "check", path)
    refused(capsys, "tasks", "render", path, "-o", tmp_path / "a.png")
    assert cli.run(["tasks", "show", str(path), "--json"]) == 0
    shown, note = capsys.readouterr()
    assert '"obs_dim": null' in shown and '"goal"' in shown and "class CartTask of " in note
    with pytest.raises(Untrusted, match="trust=True in Python"):
        tasks.from_file(path)
    assert not ran.exists() and not (tmp_path / "runs").exists()

    assert cli.run(["train", str(path), "--run-dir", "run", "--trust", *SETTINGS]) == 0
    assert ran.exists()
    ran.unlink()
    refused(capsys, "evaluate", "run")
    refused(capsys, "adapt", "run", "--task", "goal=0.2", "mass=1")
    refused(capsys, "train", "lab-cart", "--run-dir", "run", "--resume")
    refused(capsys, "train", path, "--run-dir", "run", "--resume")
    assert not ran.exists()
    digest = read_definition(path).digest
    trust_list(f"- {path}: {digest}\n")  # the digest also covers the copy of the run
    assert cli.run(["evaluate", "run", "--no-adapt", "--tasks", "1", "--json"]) == 0
    assert f'"family_digest": "{digest}"' in capsys.readouterr().out


def test_a_list_of_folders_and_digests(tmp_path: Path) -> None:
    path = write_python(tmp_path / "lab")
    digest = read_definition(path).digest
    assert not is_trusted(path, digest)
    for text, expected in (
        (f"- {tmp_path / 'lab'}\n", True),
        (f"- {tmp_path}\n", True),
        (f"- {tmp_path / 'la'}\n", False),
        (f"- {path}: {digest}\n", True),
        (f"- {path}: {digest[:-1]}0x\n", False),
        ("", False),
    ):
        trust_list(text)
        assert is_trusted(path, digest) == expected, text
    trust_list(f"- {tmp_path / 'lab'}\n")
    assert tasks.from_file(path).name == "lab-cart"


def test_a_link_out_of_a_trusted_folder_is_not_trusted(tmp_path: Path) -> None:
    path = write_python(tmp_path / "elsewhere")
    (tmp_path / "trusted").mkdir()
    link = tmp_path / "trusted" / "cart.yaml"
    link.symlink_to(path)
    trust_list(f"- {tmp_path / 'trusted'}\n")
    assert not is_trusted(link, "0")


def test_a_changed_file_loses_its_trust(tmp_path: Path) -> None:
    path = write_python(tmp_path)
    trust_list(f"- {path}: {read_definition(path).digest}\n")
    assert tasks.from_file(path).name == "lab-cart"
    code = tmp_path / "cart_task.py"
    code.write_text(code.read_text() + "\n# changed\n")
    with pytest.raises(Untrusted):
        tasks.from_file(path)


@pytest.mark.parametrize("text", ["a: [", "folder: /lab\n", "- lab\n", "- [1]\n", "- /lab: 3\n", "\x00"])
def test_a_list_that_is_out_of_order_is_one_line(tmp_path: Path, text: str) -> None:
    path = write_python(tmp_path)
    trust_list(text)
    with pytest.raises(UserError, match=r"trusted\.yaml") as caught:
        tasks.from_file(path)
    assert "\n" not in str(caught.value) and not (tmp_path / "ran").exists()
