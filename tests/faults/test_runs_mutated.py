"""Bytes of a run that have changed: noticed where they matter, the way back named, never taken in silence."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import TINY as POINT_TINY

from mql.cli import app as cli
from mql.errors import UserError
from mql.report.page.facts import read_facts
from mql.runs.run_dir import RunDir

SET = [f"{key}={value}" for key, value in POINT_TINY.items()]
OFTEN = 200  # mutations


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mutated") / "finished"
    settings = [*SET, "evaluate.tasks=1", "evaluate.final_tasks=1"]
    assert cli.run(["train", "point-robot", "--run-dir", str(path), "--set", *settings]) == 0
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def flipped(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def longer(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randint(1, 64))


def swapped(data: bytes, rng: random.Random) -> bytes:
    """Exchange two pieces of it."""
    size = max(1, len(data) // 8)
    first, second = sorted(rng.sample(range(len(data) // size), 2))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    pieces[first], pieces[second] = pieces[second], pieces[first]
    return b"".join(pieces)


def zeroed(data: bytes, rng: random.Random) -> bytes:
    """What a power failure leaves of a page."""
    at = rng.randrange(len(data))
    return data[:at] + b"\0" * len(data[at : at + 512]) + data[at + 512 :]


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, cut, longer, swapped, zeroed)


def needed(run: Path) -> list[Path]:
    """Return the files that going on from the newest checkpoint needs."""
    last = RunDir.open_readonly(run).checkpoints()[-1]
    names = (
        "config.yaml",
        "tasks.json",
        "environment.json",
        "metrics.jsonl",
        "evaluations.jsonl",
        "SHA256SUMS",
        "finished.json",
    )
    return [
        *((run / name) for name in names),
        *sorted((run / "checkpoints" / str(last)).iterdir()),
        *sorted((run / "replay").iterdir()),
    ]


def use(run: Path) -> None:
    """Read all that a run has, and get it ready to go on."""
    with RunDir.open_for_resume(run) as opened:
        _ = opened.config, opened.tasks, opened.summary, opened.read_metrics(), opened.read_evaluations()
        saved = opened.load_checkpoint()
        list(saved.episodes)
        opened.cut_back(saved)


def mutations(run: Path, often: int, seed: int) -> None:
    rng, done = random.Random(seed), 0
    whole = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    while done < often:
        file, way = rng.choice(needed(run)), rng.choice(WAYS)
        data = way(whole[file], rng)
        if data == whole[file]:
            continue
        file.write_bytes(data)
        with pytest.raises(UserError) as caught:
            use(run)
        message = str(caught.value)
        assert "\n" not in message and str(run) in message, (file, way.__name__, message)
        if "checkpoints" in file.parts:
            assert "--checkpoint 400" in message
        assert {each: each.read_bytes() for each in whole if each not in (file, run / "lock")} == {
            each: data for each, data in whole.items() if each not in (file, run / "lock")
        }
        file.write_bytes(whole[file])
        done += 1
    use(run)


def test_some_mutations_are_noticed(run: Path) -> None:
    mutations(run, 25, seed=1)


@pytest.mark.faults
def test_many_mutations_are_noticed(run: Path) -> None:
    mutations(run, OFTEN, seed=2)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.run(list(arguments)) == 2
    _, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    return line


def resume(run: Path, *more: str) -> list[str]:
    return ["train", "point-robot", "--run-dir", str(run), "--resume", *more]


def test_a_cut_configuration_does_not_take_defaults(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text[: text.index("evaluate:")])
    for arguments in (
        resume(run, "--set", "train.env_steps=800"),
        ["evaluate", str(run), "--no-adapt"],
        ["adapt", str(run), "--task", "goal=0,0"],
    ):
        assert f"the file is damaged, or was changed by hand ({run}/config.yaml)" in failure(capsys, *arguments)


def test_other_held_out_tasks_are_noticed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (run / "tasks.json").read_text()
    at = text.index('"test"')
    (run / "tasks.json").write_text(text[:at] + text[at:].replace("0.", "1.", 1))
    for arguments in (resume(run, "--set", "train.env_steps=800"), ["evaluate", str(run), "--no-adapt"]):
        assert f"({run}/tasks.json)" in failure(capsys, *arguments)


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl"])
def test_a_changed_line_is_noticed_and_the_checkpoint_before_it_offered(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = RunDir.open_readonly(run).load_checkpoint(400)
    data = bytearray((run / name).read_bytes())
    last = RunDir.open_readonly(run).load_checkpoint(600).line_bytes[name]
    at = manifest.line_bytes[name] if name == "metrics.jsonl" else 0
    digit = next(index for index in range(at, last) if chr(data[index]) in "12345678")
    data[digit] += 1
    (run / name).write_bytes(data)
    line = failure(capsys, *resume(run, "--set", "train.env_steps=800"))
    assert f"lines from before checkpoint 600 were changed ({run}/{name}): restore it from a copy" in line
    if name == "metrics.jsonl":
        assert "add --checkpoint 400, whose lines are all there" in line
        assert cli.run(resume(run, "--checkpoint", "400")) == 0
        assert RunDir.open_readonly(run).finished
    else:  # the first evaluation came after the first checkpoint
        assert "add --checkpoint 200, whose lines are all there" in line
    assert cli.run(["evaluate", str(run), "--no-adapt"]) == 0  # which needs none of it


def test_a_changed_last_evaluation_is_noticed(run: Path) -> None:
    text = (run / "evaluations.jsonl").read_text()
    at = text.rindex('"mean": -') + len('"mean": -')
    (run / "evaluations.jsonl").write_text(text[:at] + "9" + text[at + 1 :])
    with pytest.raises(UserError, match=r"from after the last checkpoint .* --resume --checkpoint 600"):
        RunDir.open_readonly(run).read_evaluations()
    assert RunDir.open_readonly(run).read_metrics()


def test_a_finished_run_without_its_last_checkpoint_goes_on(finished: Path, run: Path) -> None:
    """Deleting a damaged checkpoint is a way back, also where the run had come to its end."""
    shutil.rmtree(run / "checkpoints" / "600")
    assert cli.run(resume(run)) == 0
    left, right = RunDir.open_readonly(run), RunDir.open_readonly(finished)
    assert left.checkpoints() == right.checkpoints()
    assert left.load_checkpoint().line_bytes.keys() == right.load_checkpoint().line_bytes.keys()
    assert (run / "checkpoints/600/agent.safetensors").read_bytes() == (
        finished / "checkpoints/600/agent.safetensors"
    ).read_bytes()


def test_a_list_of_checksums_that_is_lost_is_noticed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "SHA256SUMS").unlink()
    assert "the list of checksums is missing" in failure(capsys, "evaluate", str(run), "--no-adapt")


def flip_version(run: Path) -> str:
    """Change a digit of a version in environment.json, and return how the file was."""
    text = (run / "environment.json").read_text()
    at = text.index('"numpy": "') + len('"numpy": "')
    (run / "environment.json").write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    return text


def test_a_changed_version_or_machine_is_noticed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It still is JSON, and a run: going on and evaluating refuse it, what only shows runs says it."""
    before = flip_version(run)
    for command in (resume(run, "--set", "train.env_steps=800"), ["evaluate", str(run), "--no-adapt"]):
        message = failure(capsys, *command)
        assert "was changed by hand" in message and "environment.json" in message and "restore it" in message
    assert cli.run(["runs", "show", str(run), "--json"]) == 0
    out, _ = capsys.readouterr()
    shown = json.loads(out)
    assert shown["state"] == "damaged" and any("environment.json" in line for line in shown["damaged"])
    assert any("environment.json" in line for line in read_facts(run, name="run").notes)
    (run / "environment.json").write_text(before)
    use(run)


def test_a_run_of_an_earlier_version_gets_the_checksum_when_it_goes_on(run: Path) -> None:
    """Its list names fewer files."""
    listed = (run / "SHA256SUMS").read_text().splitlines(keepends=True)
    fewer = "".join(line for line in listed if not line.endswith("environment.json\n"))
    assert len(fewer) < len("".join(listed))
    (run / "SHA256SUMS").write_text(fewer)
    use(run)
    assert "environment.json" in (run / "SHA256SUMS").read_text()
    flip_version(run)
    with pytest.raises(UserError, match=r"was changed by hand \(.*environment.json\)"):
        use(run)
