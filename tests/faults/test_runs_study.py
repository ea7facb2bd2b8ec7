"""A study with a damaged run: that one fails, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mql.runs.run_dir import RunDir
from mql.study.study import prepare

TEXT = "schema: mql.study/1\nfamilies: [point-robot]\nseeds: 3\nsettings: {train.env_steps: 6000}\n"

DAMAGES: dict[str, Callable[[Path], object]] = {
    "an empty configuration": lambda run: (run / "config.yaml").write_text(""),
    "a cut configuration": lambda run: (run / "config.yaml").write_bytes((run / "config.yaml").read_bytes()[:300]),
    "no YAML": lambda run: (run / "config.yaml").write_bytes(b"\x00\xff["),
    "another configuration": lambda run: (run / "config.yaml").write_text("family: reacher-goal\n"),
    "no environment": lambda run: (run / "environment.json").write_text("{"),
    "a link": lambda run: ((run / "replay").rmdir(), (run / "replay").symlink_to(run.parent))[0],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_only_the_damaged_run_fails(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(TEXT)
    study = prepare(file, directory=tmp_path / "study")
    for cell in study.cells:
        RunDir.create(study.path / cell.place, config=cell.config, tasks={"train": []}, command=["mql"]).close()
    study.close()
    DAMAGES[kind](study.path / study.cells[1].place)
    again = prepare(file, directory=tmp_path / "study", resume=True)
    try:
        assert [one.state for one in again.states] == ["stopped", "failed", "stopped"]
        assert again.states[1].error and "\n" not in again.states[1].error
    finally:
        again.close()
