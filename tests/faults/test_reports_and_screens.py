"""Names and texts of other people, on a screen and in the HTML report: shown, never obeyed."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lab_definitions import MJCF, REWARD, SUCCESS, YAML
from report_runs import rows, write

from mql.cli.app import run
from mql.cli.tables import print_families, print_lines
from mql.errors import UserError, told
from mql.plain_text import first_hidden, plain

HOSTILE = (
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\rb",
    "\x9b31m",
    "\u202egnp.exe",
    "\ud800",
    "a\x00b",
    "\u2028",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_does_not_show_is_written_out(text: str) -> None:
    assert first_hidden(text) and first_hidden(plain(text)) is None
    assert plain(text).encode("utf-8") and plain(plain(text)) == plain(text)
    error = UserError(f"unknown name {text}", where=text, mend=f"choose {text}")
    assert first_hidden(str(error)) is None and "\n" not in str(error)
    assert first_hidden(told(ValueError(text))) is None


@pytest.mark.parametrize("text", ["plain", "Grüße, 名前, 🤖", "x\ty", "m/s² ± 1", ""])
def test_what_shows_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_long_names_do_not_fill_the_screen() -> None:
    assert len(str(UserError("x" * 10**6, where="y" * 10**6, mend="z" * 10**6))) < 7000


@pytest.mark.parametrize("text", HOSTILE[:6])
def test_tables_show_names_and_obey_none(capsys: pytest.CaptureFixture[str], text: str) -> None:
    row = {"name": text, "summary": f"[red]{text}[/red] [link=x]", "splits": {"train": 1}}
    print_families([row | {"obs_dim": 1, "action_dim": 1, "episode_length": 1}])
    print_lines(text)
    said = capsys.readouterr().out
    assert first_hidden(said) is None and "[red]" in said and "[link=x]" in said  # rich's markup is text, too


def test_no_command_lets_a_definition_speak_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cart.xml").write_text(MJCF.replace('name="cart"', 'name="&#x9b;31mcart"'))
    text = YAML.format(python="", env="", parameters="", reward=REWARD, success=SUCCESS)
    for change in (
        ("Push a cart", '"\\e[2JPush"'),
        ("where the cart should be", '"\\e[31m"'),
        ("lab-cart", '"\\e]0;x\\a"'),
        ("body: cart", "body: pole2"),
    ):
        (tmp_path / "d.yaml").write_text(text.replace(*change))
        for command in (
            ["tasks", "show", "d.yaml"],
            ["tasks", "check", "d.yaml"],
            ["train", "d.yaml", "--run-dir", "r"],
        ):
            assert run(command) != 0
            out, err = capsys.readouterr()
            assert first_hidden(out + err) is None
    assert not (tmp_path / "r").exists()


class _Read(HTMLParser):
    """Collects what a browser would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [f"{tag} {name}={value}" for name, value in attrs if name.startswith("on")]
        self.handlers += [f"{tag} {name}" for name, value in attrs if value and value.lower().startswith("javascript:")]


MARKUP = "\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'{{7*7}}{% raw %}"


def test_the_report_of_runs_from_elsewhere_shows_their_names_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup in names of runs, families, parameters, splits, faults, files and in the command that made the run."""
    pytest.importorskip("jinja2", reason="the extra report is not installed")
    monkeypatch.chdir(tmp_path)
    markup = MARKUP.replace("/", "")  # no folder's name has a slash
    paths = []
    for seed in (1, 2):
        faulty = {"fault": MARKUP + "\x1b[31m", "zero_shot_return": None}
        tasks = [*rows([-3.0, -2.0], [-1.0, -1.0], name=MARKUP), {**rows([-1.0])[0], **faulty}]
        path = write(Path(f"{seed}{markup}"), [(100, "test", tasks)], family=MARKUP, seed=seed)
        facts = json.loads((path / "run.json").read_text()) if (path / "run.json").is_file() else {}
        (path / "run.json").write_text(
            json.dumps({**facts, "command": [MARKUP], "host": MARKUP, "git": {"commit": MARKUP}})
        )
        paths.append(str(path))
    ended = run(["report", *paths, "--out", "r.html"])
    out, err = capsys.readouterr()
    assert first_hidden(out + err) is None
    assert ended == 0, err
    page = Path("r.html").read_text(encoding="utf-8")
    read = _Read()
    read.feed(page)
    assert not {"script", "img", "iframe", "object", "embed", "base", "form", "link"} & set(read.tags)
    assert not read.handlers and "{{7*7}}" in page and "alert(1)" in page
