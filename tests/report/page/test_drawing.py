"""What figures show: numbers that can be checked by hand, and text that is never markup."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from report_runs import TRAINING, rows

from mql.report.page.drawing import weights
from mql.report.page.drawing.canvas import Pictures
from mql.report.page.drawing.contexts import draw_contexts, project, readable
from mql.report.page.drawing.parameters import columns
from mql.report.page.drawing.tasks import progress
from mql.report.page.facts import Contexts

EVIL = "<script>alert(1)</script> & $x^2$ \"quoted\" 'single' --> ]]>"


def test_two_main_directions_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    z = np.random.default_rng(0).normal(size=(40, 6)) * [5.0, 3.0, 1.0, 1.0, 0.5, 0.1]
    places, held = project(z)
    theirs = PCA(2).fit(z)
    assert np.abs(places) == pytest.approx(np.abs(theirs.transform(z)))
    assert held == pytest.approx(theirs.explained_variance_ratio_)
    one, share = project(z[:, :1])  # a context of one number
    assert one.shape == (40, 2) and not one[:, 1].any() and share == pytest.approx([1.0, 0.0])


def test_what_a_linear_map_tells_of_a_parameter() -> None:
    rng = np.random.default_rng(0)
    tasks = np.repeat(np.arange(20), 10)
    value = rng.normal(size=20)[tasks]
    z = np.stack([2.0 * value, rng.normal(size=200), rng.normal(size=200)], axis=1)
    told = readable(z, value, tasks)
    assert told is not None and told > 0.99
    blind = readable(rng.normal(size=(200, 3)), value, tasks)
    assert blind is not None and blind < 0.2
    # What names each task, but says nothing of others, is not counted: tasks are left out whole.
    names = np.eye(20)[tasks]
    by_name = readable(names, value, tasks)
    assert by_name is not None and by_name < 0.2
    assert readable(z[:40], value[:40], tasks[:40]) is None  # four tasks


def test_parameters_as_axes() -> None:
    tasks = [{"goal": [0.1, 2.0], "fixed": 3.0, "name": "a"}, {"goal": [0.2, 2.0], "fixed": 3.0, "name": "b"}]
    first, second = columns(tasks, {"goal": "m"})
    assert (first.label, first.values.tolist()) == ("goal 0 (m)", [0.1, 0.2])
    assert (second.label, second.names, second.values.tolist()) == ("name", ("a", "b"), [0.0, 1.0])
    assert columns([], {}) == []


def test_what_is_kept_after_each_round() -> None:
    [row] = rows([-3.0], [-1.0])
    assert progress(row, {}) == [(0.0, -3.0), (2.0, -3.0), (5.0, -1.0)]
    row["rounds"] = []
    assert progress(row, {"adapt.adaptation_episodes": 2}) == [(0.0, -3.0), (2.0, -1.0)]
    assert progress({**row, "episodes_charged": 7}, {"adapt.adaptation_episodes": 2})[-1][0] == 7.0
    assert progress({**row, "rounds": ["x", {"episodes": None}]}, {}) == []


def test_weights_are_used_where_each_training_task_has_one() -> None:
    good, *_ = rows([-1.0], weights=True)
    short, none, nothing = {"task_weights": [1.0]}, {"task_weights": None}, {"task_weights": [0.0] * len(TRAINING)}
    wrong = {"task_weights": [float("nan")] * len(TRAINING)}
    assert weights.usable([good, short, none, nothing, wrong], TRAINING) == [good]


def test_figures_name_what_they_show_and_write_files_for_a_paper(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path)
    drawn = weights.maps(pictures, rows([-1.0] * 6, weights=True), TRAINING, {"speed": "m/s"}, name="w")
    assert [picture.title for picture in drawn][:2] == ["Where the reused data came from", "What is reused, by speed"]
    assert "6 held-out tasks by 10 training tasks" in drawn[0].alt
    assert "correlation" in drawn[1].alt and "speed (m/s)" in drawn[1].svg
    assert {path.suffix for path in pictures.files} == {".png", ".pdf"} and len(pictures.files) == 2 * len(drawn)
    assert all(path.read_bytes()[:4] in (b"\x89PNG", b"%PDF") for path in pictures.files)


def test_names_are_text_in_a_figure_never_markup_or_mathematics() -> None:
    training = [{EVIL: float(place)} for place in range(6)]
    contexts = Contexts(np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 6)
    [picture], r2 = draw_contexts(Pictures(), contexts, training, {EVIL: "<b>"}, name=EVIL)
    assert "<script" not in picture.svg and set(r2) == {EVIL}
    tree = ElementTree.fromstring(picture.svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))
    assert any(EVIL in "".join(node.itertext()) for node in tree.iter()), "the text as it is, dollar signs too"


def test_figures_stand_side_by_side_in_a_page() -> None:
    pictures = Pictures()
    both = [pictures.draw("same", "t", lambda axes: axes.plot([0, 1], [0, 1], "o-"), alt="x").svg for _ in range(2)]
    ids = [re.findall(r'\bid="([^"]+)"', svg) for svg in both]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    for svg, own in zip(both, ids, strict=True):
        used = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert used <= set(own)
        assert "var(--muted)" in svg and "#5a5b5c" not in svg and "<style" not in svg
