"""A run comes into the folder of results as it is, once, or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from published_results import PLANNED, change, contents, repository, run
from report_runs import rows

from mql.errors import UserError
from mql.report.published.adding import Beside, add_run
from mql.report.published.folder import read_method, read_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return repository(tmp_path / "repository")


def test_what_is_needed_is_copied_and_a_second_time_nothing_changes(tmp_path: Path, results: Path) -> None:
    one = run(tmp_path / "run", [-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0])
    added = add_run(one, results)
    assert (added.path, added.what) == (results / "point-robot" / "mql" / "seed-1", "added")
    assert set(contents(added.path)) == {"config.yaml", "environment.json", "evaluations.jsonl"}
    assert (added.path / "evaluations.jsonl").read_bytes() == (one / "evaluations.jsonl").read_bytes()
    before = contents(results)
    assert add_run(one, results).what == "unchanged" and contents(results) == before


def test_a_run_is_known_again_wherever_it_lies(tmp_path: Path, results: Path) -> None:
    place = add_run(run(tmp_path / "run", [-1.0]), results).path
    change(place, "environment.json", {"command": ["mql", "train", "shortened"]})
    before = contents(results)
    (tmp_path / "run").rename(tmp_path / "moved")
    change(tmp_path / "moved", "environment.json", {"command": ["mql", "train", "as it was"]})
    assert add_run(tmp_path / "moved", results).what == "unchanged" and contents(results) == before


def test_the_run_itself_stays_as_it_was(tmp_path: Path, results: Path) -> None:
    one = run(tmp_path / "run", [-1.0])
    before = contents(one)
    add_run(one, results)
    assert contents(one) == before


def unclean(path: Path) -> None:
    change(path, "environment.json", {"git_changes": " M mql/agent/agent.py"})


def without_commit(path: Path) -> None:
    change(path, "environment.json", {"git_commit": None, "git_changes": None})


def unfinished(path: Path) -> None:
    (path / "finished.json").unlink()


def damaged_line(path: Path) -> None:
    (path / "evaluations.jsonl").write_text("{not json}\n")


def without_tasks(path: Path) -> None:
    (path / "evaluations.jsonl").write_text('{"split": "test", "env_steps": 600}\n')


def without_config(path: Path) -> None:
    (path / "config.yaml").unlink()


def config_of_text(path: Path) -> None:
    (path / "config.yaml").write_text("no mapping\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (unclean, "files had been changed since the commit .*agent.py"),
        (without_commit, "does not say which commit"),
        (unfinished, "has not come to its end"),
        (damaged_line, "evaluations.jsonl"),
        (without_tasks, "no 'tasks'"),
        (without_config, "config.yaml"),
        (config_of_text, "config.yaml"),
    ],
)
def test_what_can_not_be_published_is_refused_in_one_line(
    spoil: Callable[[Path], None], said: str, tmp_path: Path, results: Path
) -> None:
    one = run(tmp_path / "run", [-1.0])
    spoil(one)
    with pytest.raises(UserError, match=said) as refused:
        add_run(one, results)
    assert "\n" not in str(refused.value) and not contents(results)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"family": "../../elsewhere"}, "may be called '../../elsewhere'"),
        ({"family": "/elsewhere"}, "may be called '/elsewhere'"),
        ({"family": "adaptation"}, "may be called 'adaptation'"),
        ({"family": ".hidden"}, "may be called"),
        ({"family": "a | <b>"}, "may be called"),
        ({"method": "../mql"}, "no name for it"),
        ({"profile": "../x"}, "no name for it"),
        ({"seed": -3}, "no 'seed'"),
        ({"seed": True}, "no 'seed'"),
    ],
)
def test_nothing_is_written_under_a_name_that_is_none(
    line: dict[str, Any], said: str, tmp_path: Path, results: Path
) -> None:
    one = run(tmp_path / "run", [-1.0])
    config = yaml.safe_load((one / "config.yaml").read_text())
    (one / "config.yaml").write_text(yaml.safe_dump(config | line))
    before = contents(tmp_path)
    with pytest.raises(UserError, match=said):
        add_run(one, results)
    assert contents(tmp_path) == before


def test_a_seed_that_was_evaluated_on_other_tasks_changes_nothing(tmp_path: Path, results: Path) -> None:
    add_run(run(tmp_path / "one", [-1.0, -2.0]), results)
    before = contents(results)
    with pytest.raises(UserError, match="on other tasks"):
        add_run(run(tmp_path / "two", [-1.0, -2.0, -3.0], seed=2), results)
    assert contents(results) == before
    assert add_run(run(tmp_path / "two again", [-1.0, -2.0, -3.0], seed=2), results, replace=True).what == "added"
    assert [seed.seed for seed in read_method(results / "point-robot" / "mql").seeds] == [2]


def test_a_run_that_stopped_is_taken_when_it_is_asked_for_and_says_so(tmp_path: Path, results: Path) -> None:
    one = run(tmp_path / "run", [], finished=False)
    with pytest.raises(UserError, match=r"400 of 600 env steps, on validation"):
        add_run(one, results)
    add_run(one, results, unfinished=True)
    [seed] = read_method(results / "point-robot" / "mql").seeds
    assert not seed.finished and seed.last["env_steps"] == 400


def test_a_run_that_is_being_written_is_refused(tmp_path: Path, results: Path) -> None:
    from mql.runs.folder import WriterLock

    one = run(tmp_path / "run", [-1.0])
    lock = WriterLock(one / "lock")
    with pytest.raises(UserError, match="a process writes"):
        add_run(one, results)
    lock.release()


def test_seeds_of_other_settings_need_a_name_or_take_the_place(tmp_path: Path, results: Path) -> None:
    add_run(run(tmp_path / "a", [-1.0], seed=1), results)
    other = run(tmp_path / "b", [-2.0], seed=2, settings={"agent.lr": 0.5})
    before = contents(results)
    with pytest.raises(UserError, match=r"agent.lr is 0.5, but"):
        add_run(other, results)
    assert contents(results) == before
    assert add_run(other, results, name="mql-fast.lr").path == results / "point-robot" / "mql-fast.lr" / "seed-2"
    assert add_run(other, results, replace=True).what == "added"
    assert [seed.seed for seed in read_method(results / "point-robot" / "mql").seeds] == [2]


def test_what_a_run_does_not_know_yet_is_no_other_setting(tmp_path: Path, results: Path) -> None:
    """A key that came later has its earlier meaning, and what only changes the speed counts for nothing."""
    one, other = run(tmp_path / "a", [-1.0], seed=1), run(tmp_path / "b", [-2.0], seed=2)
    config = yaml.safe_load((one / "config.yaml").read_text())
    del config["agent"]["normalize"], config["evaluate"]["adapt_while_training"]
    (one / "config.yaml").write_text(yaml.safe_dump(config | {"threads": 2}))
    add_run(one, results)
    add_run(other, results)
    assert [seed.seed for seed in read_method(results / "point-robot" / "mql").seeds] == [1, 2]


def test_another_run_of_the_same_seed_is_refused_until_it_may_replace(tmp_path: Path, results: Path) -> None:
    place = add_run(run(tmp_path / "a", [-1.0]), results).path
    (place / "random.json").write_text(json.dumps({"tasks": []}))
    other = run(tmp_path / "b", [-2.0])
    with pytest.raises(UserError, match="another run has its place"):
        add_run(other, results)
    assert add_run(other, results, replace=True).what == "replaced"
    assert read_method(place.parent).seeds[0].last["tasks"][0]["zero_shot_return"] == -2.0
    assert not (place / "random.json").exists()  # it was that of the run that went


def test_evaluations_beside_it_are_kept_with_it(tmp_path: Path, results: Path) -> None:
    one = run(tmp_path / "run", [-1.0])
    outside = {"split": "ood", "env_steps": PLANNED, "seed": 1, "tasks": rows([-5.0, -6.0])}
    (one / "ood.json").write_text(json.dumps(outside))
    again = tmp_path / "again.json"
    again.write_text(json.dumps({**outside, "split": "test"}))
    place = add_run(one, results, beside=Beside(again=again, how="ten episodes")).path
    assert json.loads((place / "ood.json").read_text()) == outside
    assert json.loads((place / "again.json").read_text())["how"] == "ten episodes"
    assert add_run(one, results).what == "unchanged" and (place / "again.json").exists()
    for wrong in ({"env_steps": 5}, {"seed": 9}, {"split": "test"}, {"tasks": []}):
        (one / "ood.json").write_text(json.dumps({**outside, **wrong}))
        with pytest.raises(UserError, match=r"ood\.json"):
            add_run(one, results)


def test_the_profile_and_the_method_name_the_folder(tmp_path: Path, results: Path) -> None:
    one = run(tmp_path / "run", [-1.0])
    config = yaml.safe_load((one / "config.yaml").read_text()) | {"profile": "paper"}
    (one / "config.yaml").write_text(yaml.safe_dump(config))
    assert add_run(one, results).path.parent.name == "mql-paper"
    for name in ("td3", "mql_x", "../mql", "mql-"):
        with pytest.raises(UserError, match="is no name for it"):
            add_run(one, results, name=name)


def test_folders_of_the_machine_are_left_out(tmp_path: Path, results: Path) -> None:
    parent: dict[str, Any] = {"path": "/home/me/runs/vel-1", "env_steps": 5}
    command = ["mql", "train", "/home/me/a/lab.yaml", "--set", "train.prior_data=/data/logs/x.h5", "agent.lr=1e-3"]
    one = run(tmp_path / "run", [-1.0], facts={"command": command, "forked_from": parent})
    text = (add_run(one, results).path / "environment.json").read_text()
    kept = json.loads(text)
    assert kept["command"] == ["mql", "train", "lab.yaml", "--set", "train.prior_data=x.h5", "agent.lr=1e-3"]
    assert kept["forked_from"] == {"path": "vel-1", "env_steps": 5}
    assert not re.search(r"/home|/data", text)


def test_times_are_of_the_run_they_lie_beside(tmp_path: Path, results: Path) -> None:
    one, time = run(tmp_path / "run", [-1.0]), tmp_path / "time.json"
    facts = {"wall_seconds": 60.0, "env_steps_per_s": 10.0, "machine": {"cpu": "x", "cores": 2}, "date": "2026-01-02"}
    time.write_text(json.dumps({**facts, "env_steps": 5}))
    with pytest.raises(UserError, match="of a run of 5 env steps, not of 600"):
        add_run(one, results, beside=Beside(time=time))
    assert not contents(results)
    time.write_text(json.dumps({**facts, "env_steps": PLANNED}))
    add_run(one, results, beside=Beside(time=time))
    [family] = read_results(results)
    assert family.methods[0].time is not None
