"""The places that are broken on purpose (`mutations.py`) are those of today's code; breaking them takes an hour."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.mutations import MUTATIONS, ROOT, Mutation, left_out, mutated, notices

# Without a rule of their own: they start others, measure them, or hold settings.
WITHOUT = {"bench", "configs", "shipped"}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.breaks)
def test_it_changes_one_place_and_names_tests_that_are_there(mutation: Mutation) -> None:
    sound = (ROOT / mutation.file).read_text()
    assert mutated(sound, mutation) != sound
    for path in mutation.tests:
        assert (ROOT / path).exists(), path


def test_every_folder_has_a_place_that_is_broken() -> None:
    parts = [Path(mutation.file).parts for mutation in MUTATIONS]
    broken = {own[1] if own[0] == "mql" else own[0] for own in parts}
    assert {path.parent.name for path in (ROOT / "mql").glob("*/__init__.py")} - broken == WITHOUT
    assert len(MUTATIONS) >= 40


def test_the_copy_is_without_results_but_with_the_code_of_runs() -> None:
    assert left_out(str(ROOT), ["mql", "runs", ".venv-newest", "studies"]) == {"runs", ".venv-newest", "studies"}
    assert left_out(str(ROOT / "mql"), ["runs", "study", "__pycache__"]) == {"__pycache__"}


@pytest.mark.faults
def test_what_is_noticed_is_told_from_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_sums.py").write_text("from sums import add\n\n\ndef test_add():\n    assert add(2, 2) == 4\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    faults\n")

    def mutation(becomes: str, tests: str = "test_sums.py") -> Mutation:
        return Mutation("sums", "sums.py", "a + b", becomes, (tests,))

    assert notices(tmp_path, mutation("a - b"))
    assert not notices(tmp_path, mutation("a * b"))
    with pytest.raises(RuntimeError, match="did not run"):
        notices(tmp_path, mutation("a - b", "test_missing.py"))
    assert "a + b" in (tmp_path / "sums.py").read_text()
