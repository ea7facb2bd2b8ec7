"""Expressions of definitions: what they compute for one environment and for many, and what is refused."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import numpy as np
import pytest

from mql.errors import UserError
from mql.tasks.definitions.expressions.compiled import Expression, compile_expression
from mql.tasks.definitions.expressions.functions import ARGUMENTS, FOR_ONE
from mql.tasks.definitions.expressions.rows import FOR_ROWS

SCOPE: dict[str, Any] = {
    "last.info": {"speed": 1.25, "tip": np.array([0.0, 2.0, 2.0])},
    "last.action": np.array([0.5, 0.5]),
    "last.obs": np.array([0.0, 1.0, 2.0, 3.0]),
    "info": {"speed": 1.5, "flag": True, "tip": np.array([1.0, 2.0, 2.0], np.float32), "zero": 0, "nan": math.nan},
    "task": {"speed": 2.0, "goal": (0.0, 0.0, 1.0)},
    "obs": np.array([0.5, -1.0, 3.0, 4.0], np.float32),
    "action": np.array([0.25, -0.5]),
}


def read(text: str) -> Expression:
    return compile_expression(text, where="lab.yaml:3 reward.terms.track.expr")


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        read(text)
    said = str(caught.value)
    assert "lab.yaml:3 reward.terms.track.expr" in said and "\n" not in said
    return said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-abs(info.speed - task.speed)", -0.5),
        ("abs(info.speed - task.speed) < 0.25", False),
        ("obs[2] ** 2 + obs[-1] ** 2", 25.0),
        ("norm(obs[2:4])", 5.0),
        ("norm(info.tip - task.goal)", math.sqrt(6.0)),
        ("sum(action)", -0.25),
        ("mean(obs)", 1.625),
        ("max(obs) - min(obs)", 5.0),
        ("max(info.speed, 1, task.speed)", 2.0),
        ("clip(info.speed, -1, 1)", 1.0),
        ("7 // 2 + 7 % 4", 6.0),
        ("info.tip[2] * info.flag", 2.0),
        ("1 < info.speed <= 1.5 != 2", True),
        ("info.speed > 1 and not info.zero or False", True),
        ("3 if info.speed > task.speed else 4", 4.0),
        ("where(obs[1] < 0, -1, 1)", -1.0),
        ("sum(where(obs > 0, obs, 0))", 7.5),
        ("sum(where(info.speed > 2, obs, 1))", 4.0),
        ("(info.speed > 1) + (task.speed > 1)", 2.0),
        ("sqrt(4) + exp(0) + log(1) + sin(0) + cos(0) + tanh(0)", 4.0),
        ("+1e-3", 0.001),
        ("info.speed - last.info.speed", 0.25),
        ("norm(info.tip - last.info.tip[0:3])", 1.0),
        ("sum(abs(action - last.action))", 1.25),
        ("last.action[0] + last.obs[3] + last.info.tip[1]", 5.5),
        ("norm([3, 0, 4])", 5.0),
        ("norm(info.tip - [1, 2, info.speed])", 0.5),
        ("cos(pi)", -1.0),
        ("atan2(-1, 0)", -math.pi / 2),
        ("dot(info.tip, [1, 2, -2])", 1.0),
        ("sum(cross([1, 0, 0], [0, 1, 0]) * [1, 2, 4])", 4.0),
        ("sum(cross(info.tip, [0, 1, 2]) * [1, 10, 100])", 2.0 - 20.0 + 100.0),
        ("angle_between([1, 0, 0], [0, 2, 0])", math.pi / 2),
        ("angle_between([1, 0], [-3, 0])", math.pi),
        ("angle_between([1, 1, 0], [1, 0, 0])", math.pi / 4),
        ("angle_between([1, 0, 0], [1, 1e-9, 0])", 1e-9),
    ],
)
def test_values_computed_by_hand(text: str, value: float | bool) -> None:
    result = read(text).evaluate(SCOPE)
    assert result == pytest.approx(value) and type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 / info.zero", math.inf),
        ("-1 / info.zero", -math.inf),
        ("info.zero / info.zero", math.nan),
        ("5 // info.zero", math.inf),
        ("5 % info.zero", math.nan),
        ("sqrt(-1)", math.nan),
        ("log(info.zero)", -math.inf),
        ("log(-1)", math.nan),
        ("exp(1000)", math.inf),
        ("10 ** 400", math.inf),
        ("info.zero ** -1", math.inf),
        ("(-8) ** (1 / 3)", math.nan),
        ("sin(1e308 * 10)", math.nan),
        ("max(1, info.nan)", math.nan),
        ("min(info.nan, 1)", math.nan),
        ("clip(info.nan, 0, 1)", math.nan),
        ("sum(sqrt(obs))", math.nan),
        ("sum(1 / (obs - obs[0]))", math.inf),
        ("tolerance(info.nan, 0, 1, 0)", math.nan),
        ("tolerance(1e300, 0, 1, 1e-300)", 0.0),
        ("angle_between(info.tip, [0, 0, 0])", math.nan),
        ("dot([inf, 0], [0, 1])", math.nan),
    ],
)
def test_an_error_of_the_domain_is_nan_or_inf(text: str, value: float) -> None:
    np.testing.assert_equal(read(text).evaluate(SCOPE), value)
    np.testing.assert_equal(read(text).evaluate_rows(rows([SCOPE, SCOPE])), [value, value])


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("bounds", [(0.0, 0.0), (-0.5, 1.0), (1.0, math.inf), (-math.inf, -1.0)])
def test_tolerance_is_that_of_dm_control(bounds: tuple[float, float], margin: float) -> None:
    """Its formula written afresh: 1 within the bounds, a Gaussian beyond that is 0.1 a margin away."""

    def expected(x: float) -> float:
        if bounds[0] <= x <= bounds[1]:
            return 1.0
        if margin == 0.0:
            return 0.0
        away = max(bounds[0] - x, x - bounds[1])
        return float(0.1 ** ((away / margin) ** 2))

    values = np.linspace(-3.0, 3.0, 61)
    text = f"tolerance(info.x, {bounds[0]}, {bounds[1]}, {margin})"
    one = [read(text).evaluate({"info": {"x": float(x)}}) for x in values]
    many = read(text).evaluate_rows({"info": {"x": values}})
    np.testing.assert_allclose(one, [expected(x) for x in values], rtol=1e-12)
    np.testing.assert_allclose(many, one, rtol=1e-12)
    if margin > 0.0 and math.isfinite(bounds[1]):
        assert read(text).evaluate({"info": {"x": bounds[1] + margin}}) == pytest.approx(0.1)


def test_tolerance_without_a_margin_is_a_step_and_takes_vectors_one_by_one() -> None:
    text = "sum(tolerance(info.tip, 1, [1, 1, 3], task.margin) * [1, 10, 100])"
    expected = 1.0 + 10.0 * 0.1**4 + 100.0  # the second lies two margins above
    for margin, value in ((0.5, expected), (0.0, 101.0), (-1.0, math.nan)):
        scope = {"info": {"tip": np.array([1.0, 2.0, 2.0])}, "task": {"margin": margin}}
        np.testing.assert_allclose(read(text).evaluate(scope), value)
        many = {"info": {"tip": np.tile([1.0, 2.0, 2.0], (3, 1))}, "task": {"margin": np.full(3, margin)}}
        np.testing.assert_allclose(read(text).evaluate_rows(many), [value] * 3)
    assert read("tolerance(2, 1, 2)").evaluate({}) == 1.0 and read("tolerance(2.1, 1, 2)").evaluate({}) == 0.0


def test_the_angle_of_random_vectors_is_that_of_the_cosine() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 20, 3))
    cosine = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    scope = {"info": {"a": first, "b": second}, "action": np.zeros((20, 1))}
    angles = read("angle_between(info.a, info.b)").evaluate_rows(scope)
    np.testing.assert_allclose(angles, np.arccos(cosine), rtol=1e-9)
    turned = read("norm(cross(info.a, info.b))").evaluate_rows(scope)
    np.testing.assert_allclose(turned, np.linalg.norm(np.cross(first, second), axis=1), rtol=1e-9)


def test_both_tables_offer_every_function() -> None:
    assert set(FOR_ONE) == set(FOR_ROWS) and set(ARGUMENTS) <= set(FOR_ONE)


def rows(scopes: list[dict[str, Any]]) -> dict[str, Any]:
    def joined(root: str) -> Any:
        return {name: np.array([scope[root][name] for scope in scopes]) for name in scopes[0][root]}

    return {
        "info": joined("info"),
        "task": joined("task"),
        "last.info": joined("last.info") if "last.info" in scopes[0] else {},
        **{
            root: np.array([scope[root] for scope in scopes])
            for root in ("obs", "action", "last.action", "last.obs")
            if root in scopes[0]
        },
    }


def draw_expression(rng: random.Random, depth: int, vector: bool) -> str:
    """A random expression; a vector has three components."""
    if depth == 0 or rng.random() < 0.1:
        plain = [
            "info.speed",
            "task.speed",
            "info.zero",
            "info.flag",
            "obs[1]",
            "info.tip[0]",
            "action[-1]",
            "0.5",
            "3",
        ]
        vectors = ["info.tip", "task.goal", "obs[0:3]", "obs[1:]", "last.obs[0:3]", "[1, obs[0], -0.5]"]
        return rng.choice(vectors if vector else [*plain, "last.action[1]", "last.info.speed"])

    def part(kind: bool | None = None) -> str:
        return draw_expression(rng, depth - 1, vector and rng.random() < 0.7 if kind is None else kind)

    kinds = [
        lambda: f"({part()} {rng.choice(['+', '-', '*', '/', '//', '%', '**'])} {part()})",
        lambda: f"({part()} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {part()})",
        lambda: f"({part()} < {part()} <= {part()})",
        lambda: f"({part()} {rng.choice(['and', 'or'])} {part()})",
        lambda: f"({part()} if {part()} else {part()})",
        lambda: f"where({part()}, {part()}, {part()})",
        lambda: f"clip({part()}, {part()}, {part()})",
        lambda: f"{rng.choice(['min', 'max', 'atan2'])}({part()}, {part()})",
        lambda: f"tolerance({part()}, {part()}, {part()}, abs({part()}))",
        lambda: f"{rng.choice(['dot', 'angle_between'])}({part(True)}, {part(True)})",
        lambda: f"sum([1, 2, 4] * cross({part(True)}, {part(True)}))",
        lambda: f"{rng.choice(['abs', 'sqrt', 'exp', 'log', 'sin', 'cos', 'tanh', '-', 'not '])}({part()})",
    ]
    text = rng.choice(kinds)()
    if vector:
        return f"({text} + 0 * info.tip)"
    return f"{rng.choice(['sum', 'mean', 'norm', 'min', 'max'])}({part(True)})" if rng.random() < 0.2 else f"({text})"


@pytest.mark.parametrize("seed", range(300))
def test_one_environment_agrees_with_each_of_many(seed: int) -> None:
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    scopes = [
        {
            "info": {
                "speed": float(numbers.normal()),
                "flag": bool(numbers.random() < 0.5),
                "tip": numbers.normal(size=3).astype(np.float32),
                "zero": float(rng.choice([0.0, 0.0, 1.0, math.inf, math.nan])),
            },
            "task": {"speed": float(numbers.normal()), "goal": tuple(numbers.normal(size=3).tolist())},
            "obs": numbers.normal(size=4).astype(np.float32),
            "action": numbers.uniform(-1, 1, 2),
            "last.info": {"speed": float(numbers.normal())},
            "last.action": numbers.uniform(-1, 1, 2),
            "last.obs": numbers.normal(size=4),
        }
        for _ in range(7)
    ]
    expression = read(draw_expression(rng, rng.randint(1, 4), vector=False))
    together = expression.evaluate_rows(rows(scopes))
    assert together.shape == (7,)
    for row, scope in zip(together, scopes, strict=True):
        np.testing.assert_allclose(float(expression.evaluate(scope)), float(row), rtol=1e-9, atol=1e-12)
        alone = expression.evaluate_rows(rows([scope]))
        both_nan = bool(np.isnan(alone[0]) and np.isnan(row))  # a NaN has a sign, which means nothing
        assert both_nan or alone.tobytes() == row.tobytes(), "a task's number depends on its neighbours"


def test_a_number_that_is_the_same_everywhere_fills_the_tasks() -> None:
    for text in ("1.0", "sum(2)", "1 < 2"):
        assert read(text).evaluate_rows(rows([SCOPE] * 3)).shape == (3,)


def test_plain_numbers_meet_vectors_task_by_task_also_where_the_sizes_are_equal() -> None:
    scope = {"info": {"scale": np.array([1.0, 10.0])}, "obs": np.array([[1.0, 2.0], [3.0, 4.0]])}
    np.testing.assert_array_equal(read("sum(info.scale * obs)").evaluate_rows(scope), [3.0, 70.0])


def test_results_are_the_callers_own() -> None:
    speeds = np.array([1.0, 2.0])
    read("info.speed").evaluate_rows({"info": {"speed": speeds}})[:] = 0.0
    np.testing.assert_array_equal(speeds, [1.0, 2.0])


def test_pickles_as_its_text() -> None:
    expression = read("-abs(info.speed - task.speed)")
    again = pickle.loads(pickle.dumps(expression))
    assert again == expression and again.evaluate(SCOPE) == -0.5


def test_names_are_what_it_reads() -> None:
    names = read("info.speed + task.goal[0] + obs[3] + sum(action)").names
    assert names == {("info", "speed"), ("task", "goal"), ("obs", ""), ("action", "")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os')", "'__import__' (column 1) is not a function"),
        ("open('x')", "'open' (column 1) is not a function"),
        ("absolute(1)", "did you mean 'abs'?"),
        ("1 + inf.speed", "'inf.speed' (column 5) is not a name of expressions"),
        ("norm(site_tip)", "a quantity of the model is written info.site_tip, a task parameter task.site_tip"),
        ("inffo.speed", "did you mean 'info'?"),
        ("info", "write info.NAME"),
        ("last", "write last.action, last.info.NAME or last.obs"),
        ("last.info", "write last.info.NAME"),
        ("last.task.speed", "write last.action, last.info.NAME or last.obs"),
        ("last.action.x", "is not allowed"),
        ("last.info.a.b", "is not allowed"),
        ("last.info._a", "a name starts with a letter"),
        ("tolerance(1, 2)", "tolerance takes 3 to 4"),
        ("tolerance(1, 2, 1, 0)", "has bounds out of order"),
        ("tolerance(1, inf, -inf)", "has bounds out of order"),
        ("tolerance(1, 0, 1, -0.5)", "has a negative margin"),
        ("info.a.b", "'info.a.b' (column 1) is not allowed"),
        ("info.__class__", "a name starts with a letter"),
        ("info['speed']", "write info.NAME"),
        ("info.tip.sum()", "can't be called"),
        ("(1).real", "is not allowed"),
        ("lambda: 1", "is not allowed"),
        ("[o for o in obs]", "is not allowed"),
        ("[]", "is not allowed"),
        ("[1, 2][0]", "is not allowed"),
        ("(1, 2)", "is not allowed"),
        ("(a := 1)", "is not allowed"),
        ("f'{obs}'", "is not allowed"),
        ("'text'", "is not a number"),
        ("None", "is not a number"),
        ("1j", "is not a number"),
        ("abs", "call it, abs(...)"),
        ("abs(1, 2)", "abs takes 1"),
        ("max()", "max takes 1 to 20"),
        ("sum(x=1)", "names an argument"),
        ("abs(*obs)", "is not allowed"),
        ("obs[info.speed]", "is not an index"),
        ("obs[True]", "is not an index"),
        ("obs[0:4:2]", "has a step"),
        ("obs[0][1]", "is not allowed"),
        ("~info.speed", "is not allowed"),
        ("info.speed is 1", "compare with"),
        ("1 +", "is not an expression"),
        ("info.speed = 1", "is not an expression"),
        ("\x00", "is not an expression"),
        ("  ", "is empty"),
        ("9" * 400, "is too large"),
        ("1e999", "is too large"),
        ("1" * 2001, "2001 characters"),
        ("-" * 60 + "1", "nested too deeply"),
        ("-" * 1990 + "1", "nested too deeply"),
        ("(" * 300 + "1" + ")" * 300, "is not an expression"),
        ("+".join(["1"] * 900), "nested too deeply"),
        (" and ".join(["1"] * 300), "nested too deeply"),
    ],
)
def test_what_is_outside_the_whitelist_is_refused_in_one_line(text: str, said: str) -> None:
    assert said in refusal(text)


def test_powers_of_powers_end_at_once() -> None:
    assert read("9 ** 9 ** 9 ** 9 ** 9").evaluate({}) == math.inf


def test_the_parts_of_an_observation_with_names_are_read_by_name() -> None:
    expression = read("norm(obs.achieved - obs.desired[0:2])")
    scope = {"obs.NAME": {"achieved": np.array([3.0, 4.0]), "desired": np.zeros(3)}}
    assert expression.names == {("obs", "achieved"), ("obs", "desired")} and expression.evaluate(scope) == 5.0
    with pytest.raises(UserError, match="obs has no 'achieved'"):
        expression.check_names({"obs": ()}, where="f.yaml:1 k")


def test_unknown_names_get_the_nearest_one() -> None:
    expression = read("info.x_velocty + task.velocity + obs[17] + sum(action[0:9])")
    with pytest.raises(UserError, match=r"info has no 'x_velocty' \(column 1\).*did you mean 'x_velocity'\?"):
        expression.check_names({"info": ["x_velocity"]}, where="f.yaml:1 k")
    with pytest.raises(UserError, match=r"task has no 'velocity'.*f.yaml:1 k.*choose one of mass"):
        expression.check_names({"task": ["mass"]}, where="f.yaml:1 k")
    with pytest.raises(UserError, match=r"obs has no \[17\] \(column 34\).*from 0 to 16"):
        expression.check_names({}, where="f.yaml:1 k", sizes={"obs": 17, "action": 9})
    with pytest.raises(UserError, match=r"action has no \[0:9\]"):
        expression.check_names({}, where="f.yaml:1 k", sizes={"obs": 18, "action": 6})
    expression.check_names({"task": ["velocity"]}, where="f.yaml:1 k", sizes={"obs": 18, "action": 9})


def test_names_that_cannot_be_written_are_not_offered() -> None:
    names = ["site_suction cup", "site_section", "speed_z-axis", "joint_hip ball"]
    for text, mend in (
        ("info.joint_hip_ball[0]", "can't say; give it another name$"),
        ("info.site_sectoin", "did you mean 'site_section'\\?$"),
        ("info.qqq", "choose one of site_section$"),
    ):
        with pytest.raises(UserError, match=mend):
            read(text).check_names({"info": names}, where="f.yaml:1 k", sizes={"info.joint_hip ball": 4})


@pytest.mark.parametrize(
    "text", ["dot(obs, info.tip)", "cross(obs, obs)", "angle_between(obs, 1)", "[obs, 1]", "info.tip"]
)
def test_functions_of_vectors_refuse_what_does_not_fit(text: str) -> None:
    for evaluate, scope in ((read(text).evaluate, SCOPE), (read(text).evaluate_rows, rows([SCOPE, SCOPE]))):
        with pytest.raises(UserError, match="can't be computed"):
            evaluate(scope)


@pytest.mark.parametrize("text", ["obs", "obs + info.tip", "obs[9]", "info.speed[0]", "info.lost", "task.goal[1:1]"])
def test_what_does_not_fit_at_a_step_is_one_line(text: str) -> None:
    for evaluate, scope in ((read(text).evaluate, SCOPE), (read(text).evaluate_rows, rows([SCOPE, SCOPE]))):
        with pytest.raises(UserError) as caught:
            evaluate(scope)
        assert "\n" not in str(caught.value) and "lab.yaml:3" in str(caught.value)
