"""The page: what it says, that nothing in it is markup but its own, and how a real browser shows it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_runs import TRAINING, rows, usual
from report_runs import write as write_run

from mql.errors import UserError
from mql.report.page.drawing.canvas import Pictures
from mql.report.page.facts import Contexts, Looked, read_facts
from mql.report.page.page import Film, build, check_target, read_films, write, write_tables

CHROMIUM = shutil.which("chromium")
EVIL = '<script>document.title="hit"</script><img src=x onerror=alert(1)> & "x"'


def page(
    *paths: Path, folder: Path | None = None, looked: Looked | None = None, films: list[Film] | None = None
) -> str:
    runs = [read_facts(path, name=path.name) for path in paths]
    if looked:
        runs[0].looked = looked
    report = build(runs, version="0", pictures=Pictures(folder), films=films or [])
    if folder:
        write_tables(folder, report)
    return report.html


def looked() -> Looked:
    import numpy as np

    tasks = np.arange(40) % len(TRAINING)
    z = np.random.default_rng(0).normal(size=(40, 5)) + np.array([row["speed"] for row in TRAINING])[tasks][:, None]
    return Looked(units={"speed": "m/s"}, meanings={"speed": "how fast"}, contexts=Contexts(z, tasks))


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]+>", " ", html, flags=re.S).split())


def test_a_page_says_its_result_first_in_one_sentence_with_numbers(tmp_path: Path) -> None:
    html = page(usual(tmp_path / "a"), looked=looked())
    [lead] = re.findall(r'<p class="result">(.*?)</p>', html, re.S)
    assert "8 test tasks" in lead and "a mean gain of +2.00 [+2.00, +2.00]" in lead and "n = 1\u00a0run" in lead
    assert html.index('class="result"') < html.index("<svg")
    text = text_of(html)
    for part in ("Learning curve", "Return against adaptation episodes", "Before and after, by speed",
                 "Where the reused data came from", "Context, coloured by speed", "Timings", "Versions",
                 "Configuration", "No episode failed"):  # fmt: skip
        assert part in text, part


def two_groups(folder: Path) -> list[Path]:
    first = [usual(folder / f"a{seed}", seed=seed) for seed in (1, 2, 3)]
    return first + [usual(folder / f"b{s}", seed=s, shift=5.0, settings={"agent.lr": 0.01}) for s in (1, 2, 3)]


def test_several_runs_give_intervals_with_their_n_and_an_improvement(tmp_path: Path) -> None:
    html = page(*two_groups(tmp_path))
    text = text_of(html)
    assert "with probability 1.00 [1.00, 1.00]" in text and "3\u00a0runs" in html
    assert "has 3 runs: intervals over so few are too narrow" in text


@pytest.mark.slow
def test_every_figure_is_written_for_a_paper_too(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    html = page(*two_groups(tmp_path), folder=folder)
    names = {path.name for path in folder.iterdir()}
    assert {"results.csv", "results.tex", "results.json"} <= names
    figures = {name.rsplit(".", 1)[0] for name in names if name.endswith(".png")}
    assert len(figures) == html.count("<svg") and all(f"{name}.pdf" in names for name in figures)
    assert json.loads((folder / "results.json").read_text())["improvements"][0]["value"] == 1.0


def test_runs_with_the_same_seed_are_remarked(tmp_path: Path) -> None:
    assert "several runs with the seed 1" in text_of(page(usual(tmp_path / "a"), usual(tmp_path / "b")))


class Tags(HTMLParser):
    """Every tag and attribute of a page, and whether all elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    assert not tags.open
    return tags


def test_names_with_markup_in_them_stay_text(tmp_path: Path) -> None:
    before = rows([-1.0 - k for k in range(6)], name=EVIL)
    before[3]["fault"] = EVIL
    path = write_run(tmp_path / "a", [(100, "test", before)], family=EVIL)
    (path / "environment.json").write_text(
        json.dumps(json.loads((path / "environment.json").read_text()) | {"command": [EVIL], "versions": {EVIL: EVIL}})
    )
    html = page(path, films=[Film(EVIL, "data:video/mp4;base64,AAAA")])
    tags = parsed(html)
    assert "script" not in tags.tags and "img" not in tags.tags
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert EVIL in html.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace("&amp;", "&")


def test_a_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    html = page(usual(tmp_path / "a"), looked=looked(), films=[Film("f", "data:video/mp4;base64,AAAA")])
    tags = parsed(html)
    links = [value or "" for name, value in tags.attributes if name in ("src", "href", "xlink:href", "srcset", "data")]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"url\((?!#)|@import|http-equiv=\"refresh", html)
    [policy] = [value for name, value in tags.attributes if name == "content" and "default-src" in (value or "")]
    assert policy is not None and policy.startswith("default-src 'none';") and "script" not in policy
    assert not {"link", "script", "iframe", "object", "embed", "form", "base"} & set(tags.tags)
    assert html.isprintable() or html.encode("utf-8")


def test_every_figure_has_words_and_ids_stand_once(tmp_path: Path) -> None:
    html = page(usual(tmp_path / "a"), usual(tmp_path / "b", settings={"agent.lr": 0.01}), looked=looked())
    labels = re.findall(r'<svg [^>]*role="img" aria-label="([^"]*)"', html)
    assert len(labels) == html.count("<svg") > 8 and all(len(label) > 20 for label in labels)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in re.findall(r'href="(#[^"]+)"', html)} <= set(ids)


@pytest.mark.parametrize("finished", [True, False])
def test_runs_without_evaluations_have_a_page_with_what_there_is(tmp_path: Path, finished: bool) -> None:
    text = text_of(page(write_run(tmp_path / "a", [], finished=finished)))
    assert "has no evaluation yet, after 500 of" in text
    assert "Return of collected episodes" in text
    assert "returned" in text


def test_a_run_of_which_hardly_anything_is_left_has_a_page(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [], metrics=0)
    for name in ("config.yaml", "metrics.jsonl", "tasks.json", "evaluations.jsonl"):
        (path / name).unlink()
    text = text_of(page(path))
    assert "unknown family" in text and "evaluations.jsonl" in text


def test_evaluations_of_another_method_are_named(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [])
    (path / "evaluations.jsonl").write_text('{"env_steps": 100, "elo": 1200.0, "split": "test"}\n')
    assert "whose evaluations hold: env_steps, elo" in text_of(page(path))


def test_an_unfinished_run_says_that_its_figures_are_on_the_way(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [(100, "validation", rows([-3.0] * 6))], finished=False)
    assert "unfinished: these are figures on the way" in text_of(page(path))


def test_few_tasks_have_no_interval(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [(100, "test", rows([-3.0, -4.0], [-2.0, -2.0]))])
    text = text_of(page(path))
    assert "too few values for an interval" in text and "[" not in text[: text.index("Results Mean")]


def test_films_are_part_of_the_page(tmp_path: Path) -> None:
    film = b"\0\0\0\x20ftypisom"
    (tmp_path / "test 0.mp4").write_bytes(film)
    films, notes = read_films(tmp_path)
    assert films == [Film("test 0", f"data:video/mp4;base64,{base64.b64encode(film).decode()}")] and notes == []
    with pytest.raises(UserError, match="no film"):
        read_films(usual(tmp_path / "a"))
    with pytest.raises(UserError, match="no such folder"):
        read_films(tmp_path / "b")


def test_nothing_but_films_gets_into_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"\0\0\0\x20ftypisom secret")
    (folder / "linked.mp4").symlink_to(tmp_path / "secret")
    (folder / "text.mp4").write_text("no film at all")
    films, notes = read_films(folder)
    assert films == [] and notes == ["text.mp4 is left out: it is no film"]


def test_only_a_report_is_replaced(tmp_path: Path) -> None:
    runs = [read_facts(usual(tmp_path / "a"), name="a")]
    report = build(runs, version="0", pictures=Pictures())
    target = tmp_path / "new" / "report.html"
    check_target(target)
    write(target, report)
    check_target(target)
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    for path in (tmp_path / "mine.html", tmp_path):
        with pytest.raises(UserError, match=r"another name with -o|such as report\.html"):
            check_target(path)


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    path = usual(tmp_path / "a")
    assert page(path, looked=looked()) == page(path, looked=looked())


# -- in a browser -----------------------------------------------------------------------------------------------------

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)")

# What the page does in a browser. Its content policy stays, with this script alone let in; it is shown in a frame, as a
# browser's own window is never as narrow as a telephone.
PROBE = """<script nonce="probe">
const blocked = []
document.addEventListener("securitypolicyviolation", e => blocked.push(e.violatedDirective + " " + e.blockedURI))
addEventListener("load", () => {
  for (const part of document.querySelectorAll("details")) part.open = true
  const root = document.documentElement
  const wide = [...document.querySelectorAll("body *")].filter(part => !part.closest(".scroll, pre, svg") &&
    part.getBoundingClientRect().right > innerWidth + 1).map(part => part.tagName)
  const style = name => getComputedStyle(document.querySelector(name))
  const text = [...document.querySelectorAll("svg text")].map(part => part.getBoundingClientRect())
  const found = {
    inner: innerWidth, scroll: root.scrollWidth, wide, blocked,
    asked: performance.getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:")),
    paper: style("body").backgroundColor, ink: style("body").color,
    figures_ink: [...document.querySelectorAll("svg text")].map(part => getComputedStyle(part).fill),
    smallest: Math.min(...text.map(box => Math.max(box.width, box.height))),
    figures: document.querySelectorAll("svg").length,
  }
  parent.document.body.setAttribute("data-probe", JSON.stringify(found))
})
</script>"""


def shown(html: str, folder: Path, width: int, *, dark: bool = False) -> dict[str, Any]:
    """Load a page in a headless browser that reaches no host, and return what the probe found there."""
    probed = html.replace("default-src 'none';", "default-src 'none'; script-src 'nonce-probe';", 1)
    probed = probed.replace("<title>", f"{PROBE}<title>", 1)
    file = folder / f"probe-{width}-{dark}.html"
    frame = f'<iframe style="border:0" width="{width}" height="1500" srcdoc="{escape(probed)}"></iframe>'
    head = '<meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    file.write_text(f"<!DOCTYPE html>{head}<body>{frame}</body>", encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / f'profile-{width}-{dark}'}", "--window-size=1400,1600",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--dump-dom",
        *(["--force-dark-mode"] if dark else []), file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    [found] = re.findall(r'data-probe="([^"]*)"', done.stdout)
    return dict(json.loads(unescape(found)))


def brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it_whole_and_asks_for_nothing(tmp_path: Path, width: int, dark: bool) -> None:
    long = "a-family-with-a-very-long-name-without-a-single-place-to-break-" * 2
    first = [usual(tmp_path / f"a{seed}", seed=seed, family=long) for seed in (1, 2, 3)]
    other = usual(tmp_path / "b", family=long, settings={"agent.lr": 0.01})
    found = shown(page(*first, other, looked=looked()), tmp_path, width, dark=dark)
    assert found["inner"] == width
    assert found["scroll"] <= width and found["wide"] == []
    assert found["asked"] == [] and found["blocked"] == []
    assert (brightness(found["paper"]) < 60) == dark and abs(
        brightness(found["paper"]) - brightness(found["ink"])
    ) > 150
    contrasts = [abs(brightness(colour) - brightness(found["paper"])) for colour in found["figures_ink"]]
    assert contrasts and min(contrasts) > 100, "text of figures is legible on the page"
    assert found["figures"] > 10 and found["smallest"] > 8


@needs_chromium
@pytest.mark.slow
def test_a_browser_takes_names_with_markup_as_text(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [(100, "test", rows([-1.0 - k for k in range(6)], name=EVIL))], family=EVIL)
    found = shown(page(path), tmp_path, 400)
    assert found["blocked"] == [], "nothing that the content policy had to stop"
    assert found["asked"] == [] and found["scroll"] <= 400
