"""Propensity, importance weights and effective sample size: values worked out by hand, and known density ratios."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mql.adaptation import propensity
from mql.adaptation.effective_sample import normalized_ess
from mql.adaptation.propensity import (
    PropensityModel,
    clip_weights,
    fit_propensity,
    log_importance_weights,
    relative_log_weights,
    uniform_weights,
    weigh,
)

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]

MEAN_SHIFT = np.array([0.8, -0.5, 0.3])  # of the new rows; both classes have unit covariance


def gaussians(n_new: int, n_meta: int, *, shift: Array = MEAN_SHIFT, seed: int = 0) -> tuple[Array, Array]:
    """Draw new rows from N(shift, I) and stored rows from N(0, I)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_new, len(shift))) + shift, rng.normal(size=(n_meta, len(shift)))


def fit(new: Array, meta: Array, **changes: Any) -> PropensityModel:
    options: dict[str, Any] = {"inverse_regularization": 1e4, "prior": "corrected", "rng": np.random.default_rng(1)}
    return fit_propensity(new, meta, **(options | changes))


def model_with(log_odds_slope: float, log_prior_correction: float = 0.0) -> PropensityModel:
    """Make a model of one feature whose log odds are `log_odds_slope` times the feature."""
    linear: dict[str, Any] = {"mean": np.zeros(1), "scale": np.ones(1), "coef": np.array([log_odds_slope])}
    scores: dict[str, Any] = {"accuracy": 0.5, "auc": 0.5, "n_new": 2, "n_meta": 2}
    return PropensityModel(intercept=0.0, log_prior_correction=log_prior_correction, **linear, **scores)


def test_the_prior_correction_multiplies_the_odds() -> None:
    log_weights = log_importance_weights(np.log([0.5, 2.0]), math.log(300 / 100))
    np.testing.assert_allclose(np.exp(log_weights), [1.5, 6.0])


def test_clipping_acts_on_the_log_and_the_floor_zeroes() -> None:
    log_weights = np.array([5.0, 1.0, 0.0, math.log(0.11), math.log(0.09), -math.inf])
    weights = clip_weights(log_weights, max_log_weight=1.0, min_weight=0.1)
    np.testing.assert_allclose(weights, [math.e, math.e, 1.0, 0.11, 0.0, 0.0], rtol=1e-14)
    assert log_weights[0] == 5.0  # the input is left alone
    np.testing.assert_array_equal(clip_weights(np.array([0.0]), 1.0, 1.0), [1.0])  # at the floor: stays


@pytest.mark.parametrize(
    ("log_weight", "max_log_weight", "min_weight", "message"),
    [(math.nan, 1.0, 0.1, "NaN"), (0.0, math.nan, 0.1, "NaN"), (0.0, 1.0, -0.1, "min_w"), (800.0, 900.0, 0.1, "overf")],
)
def test_clipping_refuses(log_weight: float, max_log_weight: float, min_weight: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_weights(np.array([log_weight]), max_log_weight, min_weight)


@pytest.mark.parametrize(("n_new", "n_meta"), [(20_000, 20_000), (4_000, 36_000)])
def test_weights_recover_a_known_density_ratio(n_new: int, n_meta: int) -> None:
    new, meta = gaussians(n_new, n_meta)
    model = fit(new, meta)
    truth = meta @ MEAN_SHIFT - 0.5 * MEAN_SHIFT @ MEAN_SHIFT  # log density ratio of N(shift, I) against N(0, I)
    low, high = np.quantile(truth, [0.05, 0.95])
    central = (truth >= low) & (truth <= high)
    relative_error = np.abs(np.exp(model.log_weights(meta) - truth) - 1.0)[central]
    assert relative_error.mean() < 0.10
    # A density ratio has mean one under the density below the line.
    assert np.exp(model.log_weights(meta)).mean() == pytest.approx(1.0, abs=0.05)


def test_without_the_prior_correction_weights_are_off_by_the_ratio_of_class_sizes() -> None:
    new, meta = gaussians(500, 4_500)
    corrected, uncorrected = fit(new, meta), fit(new, meta, prior="uncorrected")
    difference = corrected.log_weights(meta) - uncorrected.log_weights(meta)
    np.testing.assert_allclose(difference, math.log(9.0), rtol=1e-12)
    assert (corrected.n_new, corrected.n_meta) == (500, 4_500)
    np.testing.assert_array_equal(corrected.propensity(meta), uncorrected.propensity(meta))
    assert (corrected.accuracy, corrected.auc) == (uncorrected.accuracy, uncorrected.auc)


def test_propensity_is_the_probability_of_new_at_the_class_sizes_of_the_fit() -> None:
    new, meta = gaussians(500, 4_500)
    model = fit(new, meta)
    rows = np.concatenate([new, meta])
    propensity = model.propensity(rows)
    assert ((propensity > 0.0) & (propensity < 1.0)).all()
    assert propensity.mean() == pytest.approx(0.1, abs=1e-3)  # the score equation of the unpenalised intercept
    np.testing.assert_allclose(np.exp(model.log_weights(rows)), 9.0 * propensity / (1.0 - propensity), rtol=1e-9)


def test_propensity_of_extreme_rows_stays_finite() -> None:
    propensity = model_with(1.0).propensity(np.array([[-1e4], [-50.0], [0.0], [1e4]]))
    np.testing.assert_allclose(propensity, [0.0, math.exp(-50.0), 0.5, 1.0], rtol=1e-12)


@pytest.mark.parametrize(("n_new", "n_meta"), [(3_000, 3_000), (600, 6_000)])
def test_diagnostics_are_at_chance_for_one_distribution_and_near_one_for_distant_ones(n_new: int, n_meta: int) -> None:
    same, distant = (fit(*gaussians(n_new, n_meta, shift=np.full(3, distance))) for distance in (0.0, 6.0))
    np.testing.assert_allclose([same.auc, same.accuracy], 0.5, atol=0.08)
    assert min(distant.auc, distant.accuracy) > 0.99


def test_accuracy_counts_both_classes_equally() -> None:
    """The best rule between N(2, 1) and N(0, 1) is the midpoint: it is right with probability Phi(1) = 0.841."""
    model = fit(*gaussians(1_000, 30_000, shift=np.array([2.0])))
    assert model.accuracy == pytest.approx(0.841, abs=0.05)


def test_diagnostics_are_held_out() -> None:
    """30 features can separate 2 x 15 rows of one distribution, but not recognise rows that were left out."""
    scores = []
    for seed in range(20):
        new, meta = gaussians(15, 15, shift=np.zeros(30), seed=seed)
        model = fit(new, meta)
        scores.append(model.auc)
        assert model.log_weights(new).min() > model.log_weights(meta).max()
    assert np.mean(scores) == pytest.approx(0.5, abs=0.2)


def test_the_scale_and_offset_of_features_do_not_matter() -> None:
    new, meta = gaussians(300, 900)
    scale, offset = np.array([1e-4, 1.0, 1e4]), np.array([3e-4, -2.0, 5e4])
    plain = fit(new, meta, inverse_regularization=0.1)
    changed = fit(new * scale + offset, meta * scale + offset, inverse_regularization=0.1)
    np.testing.assert_allclose(changed.log_weights(meta * scale + offset), plain.log_weights(meta), atol=1e-8)
    assert changed.auc == pytest.approx(plain.auc)


def test_constant_features_get_no_coefficient() -> None:
    new, meta = gaussians(300, 900)
    rounding = 1.0 + 1e-8 * np.random.default_rng(5).normal(size=1200)
    constant = np.stack([np.full(1200, 0.1), rounding, np.zeros(1200)], axis=1)
    wide_new, wide_meta = np.hstack([new, constant[:300]]), np.hstack([meta, constant[300:]])
    plain, wide = fit(new, meta), fit(wide_new, wide_meta)
    np.testing.assert_array_equal(wide.coef[3:], 0.0)
    np.testing.assert_allclose(wide.log_weights(wide_meta), plain.log_weights(meta), rtol=1e-6, atol=1e-8)


def test_only_constant_features_give_equal_weights() -> None:
    rows = np.full((40, 2), 0.3)
    model = fit(rows[:10], rows)
    assert model.auc == 0.5
    result = weigh(model.log_weights(rows), max_log_weight=1.0, min_weight=0.1)
    assert result.proximal_coef == 0.0
    np.testing.assert_allclose(np.exp(model.log_weights(rows)), 1.0, rtol=1e-3)


def test_stronger_regularisation_pulls_the_weights_together() -> None:
    new, meta = gaussians(300, 900)
    models = [fit(new, meta, inverse_regularization=c) for c in (1e-6, 1e-2, 1e2)]
    esses = [normalized_ess(np.exp(model.log_weights(meta))) for model in models]
    assert esses[0] > 0.999 > esses[1] > esses[2]


def test_the_same_generator_gives_the_same_model_and_only_diagnostics_depend_on_it() -> None:
    new, meta = gaussians(200, 600)
    first, again, other = (fit(new, meta, rng=np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.log_weights(meta), again.log_weights(meta))
    assert (first.accuracy, first.auc) == (again.accuracy, again.auc)
    np.testing.assert_array_equal(first.log_weights(meta), other.log_weights(meta))
    assert first.auc != other.auc


def test_inputs_are_left_alone_and_float32_is_taken() -> None:
    new, meta = (rows.astype(np.float32) for rows in gaussians(50, 150))
    before = new.copy(), meta.copy()
    assert weigh(fit(new, meta).log_weights(meta), max_log_weight=1.0, min_weight=0.1).weights.shape == (150,)
    np.testing.assert_array_equal(new, before[0])
    np.testing.assert_array_equal(meta, before[1])


@pytest.mark.parametrize(("n_new", "n_meta"), [(2, 2), (2, 50), (3, 5), (9, 1_000)])
def test_few_rows_are_enough(n_new: int, n_meta: int) -> None:
    new, meta = gaussians(n_new, n_meta)
    model = fit(new, meta, inverse_regularization=0.1)
    assert 0.0 <= model.auc <= 1.0 and 0.0 <= model.accuracy <= 1.0
    assert np.isfinite(model.log_weights(meta)).all()


NEW, META = np.arange(40.0).reshape(20, 2), np.arange(80.0).reshape(40, 2)


@pytest.mark.parametrize(
    ("new", "meta", "changes", "message"),
    [
        (NEW[:1], META, {}, "got 1 new and 40 meta"),
        (NEW, META[:0], {}, "got 20 new and 0 meta"),
        (NEW[:, :1], META, {}, "new has 1 features, meta has 2"),
        (NEW, np.full((40, 2), np.nan), {}, "meta holds a NaN"),
        (NEW[0], META, {}, "new must be"),
        (NEW, META, {"inverse_regularization": 0.0}, "inverse_regularization"),
        (NEW, META, {"held_out_fraction": 1.0}, "held_out_fraction"),
        (NEW, META, {"prior": "balanced"}, "prior"),
    ],
)
def test_what_cannot_be_fitted_is_refused(new: Array, meta: Array, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(new, meta, **changes)


def test_weigh_clips_floors_takes_the_ess_then_normalises() -> None:
    # Log weights log 2 times [3, 1, 0, -1, -4] give weights [8, 2, 1, 1/2, 1/16]: clipped at 2, floored at 0.1.
    features = np.array([[3.0], [1.0], [0.0], [-1.0], [-4.0]])
    result = weigh(model_with(math.log(2.0)).log_weights(features), max_log_weight=math.log(2.0), min_weight=0.1)
    np.testing.assert_allclose(result.weights, np.array([2.0, 2.0, 1.0, 0.5, 0.0]) / 1.1, rtol=1e-6)
    assert result.weights.dtype == np.float32
    assert result.normalized_ess == pytest.approx(5.5**2 / (5 * 9.25))
    assert result.proximal_coef == 1.0 - result.normalized_ess
    assert result.fraction_zero == pytest.approx(0.2)
    assert result.max_weight == pytest.approx(2.0 / 1.1)
    assert not result.all_zero


def test_the_prior_correction_enters_before_clipping() -> None:
    result = weigh(model_with(1.0, math.log(4.0)).log_weights(np.zeros((3, 1))), max_log_weight=0.0, min_weight=0.9)
    np.testing.assert_array_equal(result.weights, 1.0)
    assert weigh(
        model_with(1.0, -math.log(4.0)).log_weights(np.zeros((3, 1))), max_log_weight=0.0, min_weight=0.9
    ).all_zero


def test_weights_that_all_vanish_are_said_to() -> None:
    result = weigh(model_with(1.0).log_weights(np.full((4, 1), -20.0)), max_log_weight=1.0, min_weight=0.1)
    np.testing.assert_array_equal(result.weights, np.zeros(4, dtype=np.float32))
    assert result.all_zero
    assert (result.normalized_ess, result.proximal_coef) == (0.0, 1.0)
    assert (result.fraction_zero, result.max_weight) == (1.0, 0.0)


@pytest.mark.parametrize("max_log_weight", [1.1, 709.0])  # with the second the sum of the weights would overflow
@pytest.mark.parametrize("n", [1, 3, 10_007])
def test_weights_that_are_all_clipped_give_a_coefficient_of_exactly_zero(n: int, max_log_weight: float) -> None:
    logs = model_with(1.0).log_weights(np.linspace(800.0, 900.0, n)[:, None])
    result = weigh(logs, max_log_weight=max_log_weight, min_weight=0.1)
    assert (result.normalized_ess, result.proximal_coef) == (1.0, 0.0)
    np.testing.assert_array_equal(result.weights, 1.0)


def test_a_more_distant_task_gets_a_larger_coefficient_and_the_mean_weight_stays_one() -> None:
    coefs: list[float] = []
    for distance in (0.0, 1.0, 3.0):
        new, meta = gaussians(500, 5_000, shift=np.array([distance, 0.0]))
        result = weigh(fit(new, meta).log_weights(meta), max_log_weight=2.0, min_weight=0.1)
        assert result.weights.mean(dtype=np.float64) == pytest.approx(1.0, rel=1e-6)
        coefs.append(result.proximal_coef)
    assert 0.0 <= coefs[0] < 0.05 < coefs[1] < coefs[2] < 1.0


def test_weigh_refuses_an_empty_sample_and_other_features() -> None:
    with pytest.raises(ValueError, match="non-empty"):
        weigh(model_with(1.0).log_weights(np.zeros((0, 1))), max_log_weight=1.0, min_weight=0.1)
    with pytest.raises(ValueError, match="2 columns"):
        weigh(model_with(1.0).log_weights(np.zeros((5, 2))), max_log_weight=1.0, min_weight=0.1)


@pytest.mark.parametrize("n", [1, 6, 9_999])
def test_uniform_weights_are_the_control(n: int) -> None:
    result = uniform_weights(n)
    np.testing.assert_array_equal(result.weights, np.ones(n, dtype=np.float32))
    assert (result.normalized_ess, result.proximal_coef) == (1.0, 0.0)
    assert (result.fraction_zero, result.max_weight, result.all_zero) == (0.0, 1.0, False)


def test_relative_weights_are_bounded_and_keep_their_order() -> None:
    ratio = np.array([0.01, 1.0, 5.0, 1e9])
    relative = np.exp(relative_log_weights(np.log(ratio), 0.1))
    assert relative == pytest.approx(ratio / (0.1 * ratio + 0.9)) and relative.max() <= 10.0
    assert np.isfinite(relative_log_weights(np.array([-1e4, 1e4]), 0.1)).all()
    weighed = weigh(np.log(ratio), max_log_weight=9.0, min_weight=0.0, relative=0.1).weights
    assert weighed == pytest.approx(relative / relative.mean(), rel=1e-5)


def test_whole_episodes_are_held_out() -> None:
    """Rows of one episode that all say the same would tell a classifier the answer."""
    rng = np.random.default_rng(0)
    episodes = np.repeat(np.arange(40), 25)
    own = rng.normal(size=(40, 30))[episodes]  # each episode looks like itself, and like nothing else
    new, meta = own[:250], own[250:]
    by_row = fit_propensity(new, meta, inverse_regularization=10.0, prior="corrected", rng=np.random.default_rng(1))
    groups = {"new_groups": episodes[:250], "meta_groups": episodes[250:]}
    by_episode = fit_propensity(
        new, meta, inverse_regularization=10.0, prior="corrected", rng=np.random.default_rng(1), **groups
    )
    assert by_row.auc > 0.95 and by_episode.auc < 0.75
    assert np.array_equal(by_row.coef, by_episode.coef)  # the model itself learns from all rows


def test_of_a_single_episode_the_end_is_held_out() -> None:
    held_out = propensity._draw_held_out(np.zeros(10, int), 0.2, np.random.default_rng(0))
    assert held_out.tolist() == [False] * 8 + [True] * 2
