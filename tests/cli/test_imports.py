"""Commands that train nothing load no PyTorch: it takes longer than all else that they do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEEN = """
import sys
from mql.cli.app import run
code = run(sys.argv[1:])
print("loaded" if "torch" in sys.modules else "not loaded", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "command",
    [["--version"], ["tasks", "list"], ["tasks", "show", "arm-reach"], ["robots", "list"], ["runs", "list"]],
    ids=" ".join,
)
def test_no_pytorch(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SEEN, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "not loaded"
