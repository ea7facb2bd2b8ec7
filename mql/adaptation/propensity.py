"""How much each stored transition speaks for the new task: propensity, importance weights, effective sample size.

A logistic regression tells the new task's rows (D_new) from the stored ones (D_meta) by their context features. Its
odds, corrected for the two class sizes, estimate the density ratio ``p_new(x) / p_meta(x)``: the importance weights of
the stored transitions. Their normalized effective sample size (Kong 1992) says how much of the store is of use, and
``1 - normalized_ess`` is the proximal coefficient that holds the adapted parameters near the meta-trained ones
(Meta-Q-Learning, arXiv 1910.00125, eq. 17-19).

Shapes: n_new, n_meta rows the classifier is fitted on, M scored transitions, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mql.adaptation.effective_sample import normalized_ess
from mql.agent.scaling import CONSTANT_SPREAD

Prior = Literal["corrected", "uncorrected"]
_Array = npt.NDArray[np.floating[Any]]
_Array64 = npt.NDArray[np.float64]

# Enough for nearly separable classes at weak regularisation; the usual fit needs 10 to 50 steps.
MAX_LBFGS_STEPS = 2000
FEWEST_ROWS = 2  # of each class: one for the fit, one to score it on


def log_importance_weights(log_odds: _Array, log_prior_correction: float) -> _Array64:
    """Return log importance weights [M] from a classifier's log odds [M] of "new" against "meta".

    `log_prior_correction` is ``log(n_meta / n_new)``: Bayes' rule turns posterior odds into a ratio of densities by
    dividing out the class sizes. With 0.0 the weights are the uncorrected odds.
    """
    return np.asarray(log_odds, dtype=np.float64) + log_prior_correction


def clip_weights(log_weights: _Array, max_log_weight: float, min_weight: float) -> _Array64:
    """Return weights [M] from `log_weights` [M], bounded on both sides.

    The log is clipped from above at `max_log_weight`, so that no transition outweighs the rest; then weights below
    `min_weight` become zero, so that transitions that do not speak for the new task are left out.

    Raises:
        ValueError: a log weight or `max_log_weight` is NaN, `min_weight` is negative or NaN, or a weight overflows.
    """
    if math.isnan(max_log_weight):
        raise ValueError("max_log_weight must be a number, not NaN")
    if not min_weight >= 0.0:
        raise ValueError(f"min_weight must be at least 0, got {min_weight}")
    logs = np.asarray(log_weights, dtype=np.float64)
    if np.isnan(logs).any():
        raise ValueError("log weights must not be NaN")
    with np.errstate(over="ignore"):
        weights: _Array64 = np.exp(np.minimum(logs, max_log_weight))
    if np.isinf(weights).any():
        raise ValueError(f"an importance weight overflows: lower max_log_weight ({max_log_weight})")
    weights[weights < min_weight] = 0.0
    return weights


@dataclass(frozen=True, eq=False)
class PropensityModel:
    """A fitted classifier of new against stored rows.

    Attributes:
        mean, scale: [F] standardisation of the features (scale 1 where a feature is constant).
        coef, intercept: [F] and a number; log odds of "new" as a linear function of the standardised features.
        log_prior_correction: added to the log odds to make log importance weights; 0.0 for uncorrected weights.
        accuracy: held-out accuracy with both classes counting equally (at chance 0.5, however unequal the classes).
        auc: held-out area under the ROC curve: 0.5 where the classes cannot be told apart, 1 where they are separated.
        n_new, n_meta: rows the classifier was fitted on.
    """

    mean: _Array64
    scale: _Array64
    coef: _Array64
    intercept: float
    log_prior_correction: float
    accuracy: float
    auc: float
    n_new: int
    n_meta: int

    def log_odds(self, features: _Array) -> _Array64:
        """Return the log odds [M] that rows `features` [M, F] are new, at the class sizes of the fit."""
        rows = _check_features(features, "features")
        if rows.shape[1] != len(self.coef):
            raise ValueError(f"features have {rows.shape[1]} columns, the classifier was fitted on {len(self.coef)}")
        return _log_odds(rows, _Standardisation(self.mean, self.scale), self.coef, self.intercept)

    def propensity(self, features: _Array) -> _Array64:
        """Return the probability [M] that rows `features` [M, F] are new, at the class sizes of the fit."""
        # exp(-log(1 + exp(-x))) is the logistic function without overflow, and precise where it is close to 0.
        probability: _Array64 = np.exp(-np.logaddexp(0.0, -self.log_odds(features)))
        return probability

    def log_weights(self, features: _Array) -> _Array64:
        """Return the log importance weights [M] of rows `features` [M, F], neither clipped nor normalised."""
        return log_importance_weights(self.log_odds(features), self.log_prior_correction)


@dataclass(frozen=True, eq=False)
class ImportanceWeights:
    """The weights of a sample of stored transitions, and what they say about the sample.

    Attributes:
        weights: [M] float32, non-negative, mean 1 over the sample (or all zero), so that weighting the loss and
            sampling in proportion to the weights agree.
        normalized_ess: effective sample size over M, in (0, 1]; 0 where all weights are zero.
        proximal_coef: ``1 - normalized_ess``, in [0, 1].
        all_zero: no stored transition speaks for the new task.
        fraction_zero: share of the transitions with weight zero.
        max_weight: the largest of `weights`, in multiples of their mean.
    """

    weights: npt.NDArray[np.float32]
    normalized_ess: float
    proximal_coef: float
    all_zero: bool
    fraction_zero: float
    max_weight: float


def fit_propensity(
    new: _Array,
    meta: _Array,
    *,
    inverse_regularization: float,
    prior: Prior,
    rng: np.random.Generator,
    new_groups: npt.NDArray[np.integer[Any]] | None = None,
    meta_groups: npt.NDArray[np.integer[Any]] | None = None,
    held_out_fraction: float = 0.2,
) -> PropensityModel:
    """Fit the classifier that tells rows `new` [n_new, F] from rows `meta` [n_meta, F].

    Two fits are made. The first leaves out `held_out_fraction` of each class (at least one row, drawn by `rng`) and
    is scored on it: `accuracy` and `auc` come from there. The second, on all rows, is the model that is returned; it
    does not depend on `rng`. Rows of one episode resemble their neighbours: where groups are given, whole groups are
    left out, or the last stretch of a single one.

    Features are standardised by the mean and standard deviation of the rows a fit sees; a constant feature gets the
    coefficient 0. The L2 penalty is on the coefficients, not on the intercept.

    Args:
        new: rows of the new task, at least 2.
        meta: rows of the stored tasks, at least 2.
        inverse_regularization: factor of the summed logistic loss against half the squared coefficients (scikit-
            learn's C): smaller pulls the weights towards equality.
        prior: "corrected" multiplies the odds by ``n_meta / n_new``, "uncorrected" takes them as they are.
        rng: draws the held-out rows.
        new_groups, meta_groups: [n_new], [n_meta], the episode of each row; None: rows are left out one by one.
        held_out_fraction: in (0, 1).

    Raises:
        ValueError: too few rows, shapes that do not match, a NaN or infinite feature, or an argument out of range.
    """
    new_rows, meta_rows = _check_features(new, "new"), _check_features(meta, "meta")
    n_new, n_meta = len(new_rows), len(meta_rows)
    if new_rows.shape[1] != meta_rows.shape[1]:
        raise ValueError(f"new has {new_rows.shape[1]} features, meta has {meta_rows.shape[1]}: they must agree")
    if min(n_new, n_meta) < FEWEST_ROWS:
        raise ValueError(f"at least {FEWEST_ROWS} rows of each class are needed, got {n_new} new and {n_meta} meta")
    if not 0.0 < inverse_regularization < math.inf:
        raise ValueError(f"inverse_regularization must be positive and finite, got {inverse_regularization}")
    if not 0.0 < held_out_fraction < 1.0:
        raise ValueError(f"held_out_fraction must lie between 0 and 1, got {held_out_fraction}")
    if prior not in ("corrected", "uncorrected"):
        raise ValueError(f"prior must be 'corrected' or 'uncorrected', got {prior!r}")

    rows = np.concatenate([new_rows, meta_rows])
    is_new = np.arange(n_new + n_meta) < n_new
    groups = (
        np.arange(n_new) if new_groups is None else new_groups,
        np.arange(n_meta) if meta_groups is None else meta_groups,
    )
    held_out = np.concatenate([_draw_held_out(own, held_out_fraction, rng) for own in groups])

    standardisation, coef, intercept = _fit(rows[~held_out], is_new[~held_out], inverse_regularization)
    log_odds = _log_odds(rows[held_out], standardisation, coef, intercept)
    fitted_on_new, fitted_on = int((is_new & ~held_out).sum()), int((~held_out).sum())
    log_ratio = log_importance_weights(log_odds, math.log((fitted_on - fitted_on_new) / fitted_on_new))
    accuracy, auc = _diagnose(log_ratio, is_new[held_out])

    standardisation, coef, intercept = _fit(rows, is_new, inverse_regularization)
    return PropensityModel(
        mean=standardisation.mean,
        scale=standardisation.scale,
        coef=coef,
        intercept=intercept,
        log_prior_correction=math.log(n_meta / n_new) if prior == "corrected" else 0.0,
        accuracy=accuracy,
        auc=auc,
        n_new=n_new,
        n_meta=n_meta,
    )


def weigh(log_weights: _Array, *, max_log_weight: float, min_weight: float, relative: float = 0.0) -> ImportanceWeights:
    """Return the importance weights of stored transitions with log weights [M] (`PropensityModel.log_weights`).

    In this order: relative to a mixture (`relative_log_weights`), clipped and floored (`clip_weights`), effective
    sample size, divided by their mean over the sample.

    Raises:
        ValueError: no rows, or an argument out of range.
    """
    relative_ones = relative_log_weights(log_weights, relative) if relative else log_weights
    return _summarise(clip_weights(relative_ones, max_log_weight, min_weight))


def relative_log_weights(log_weights: _Array, part: float) -> _Array64:
    """Return log weights [M] relative to a mixture of both densities, `part` of it the new one: log(s / (g s + 1 - g)).

    They are at most log(1 / part), however far apart the two are (Yamada et al. 2013, relative density ratios).
    """
    logs = np.asarray(log_weights, dtype=np.float64)
    return np.asarray(logs - np.logaddexp(math.log(part) + logs, math.log1p(-part)))


def uniform_weights(n: int) -> ImportanceWeights:
    """Return `n` weights of one: the control in which every stored transition counts alike (coefficient exactly 0)."""
    return _summarise(np.ones(n))


def no_weights(n: int) -> ImportanceWeights:
    """Return `n` weights of zero: no stored transition is known to speak for the new task (coefficient 1)."""
    return _summarise(np.zeros(n))


def _summarise(clipped: _Array64) -> ImportanceWeights:
    """Return the `ImportanceWeights` of clipped and floored weights [M]."""
    ess = normalized_ess(clipped)
    all_zero = ess == 0.0
    # Divided by the maximum before the mean: equal weights then are exactly one.
    scaled = clipped if all_zero else clipped / clipped.max()
    weights = (scaled if all_zero else scaled / scaled.mean()).astype(np.float32)
    return ImportanceWeights(
        weights=weights,
        normalized_ess=ess,
        proximal_coef=1.0 - ess,
        all_zero=all_zero,
        fraction_zero=float(np.mean(clipped == 0.0)),
        max_weight=float(weights.max()),
    )


@dataclass(frozen=True, eq=False)
class _Standardisation:
    mean: _Array64
    scale: _Array64


def _fit(rows: _Array64, is_new: npt.NDArray[np.bool_], c: float) -> tuple[_Standardisation, _Array64, float]:
    """Fit on rows [n, F]: the standardisation, and coefficients [F] and intercept for standardised features."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped,unused-ignore]

    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    varies = spread > CONSTANT_SPREAD * np.abs(rows).max(axis=0)
    scale = np.where(varies, spread, 1.0)
    standardised = (rows - mean) / scale * varies  # a constant feature is a column of zeros: its coefficient stays 0
    classifier = LogisticRegression(C=c, solver="lbfgs", max_iter=MAX_LBFGS_STEPS).fit(standardised, is_new)
    return _Standardisation(mean, scale), np.asarray(classifier.coef_[0]), float(classifier.intercept_[0])


def _log_odds(rows: _Array64, standardisation: _Standardisation, coef: _Array64, intercept: float) -> _Array64:
    slope = coef / standardisation.scale  # standardisation folded into one product with the raw features
    return np.asarray(rows @ slope + (intercept - float(standardisation.mean @ slope)))


def _diagnose(log_ratio: _Array64, is_new: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return class-balanced accuracy (a positive log ratio says "new") and area under the ROC curve."""
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped,unused-ignore]

    hits = (log_ratio > 0.0) == is_new
    return float(hits[is_new].mean() + hits[~is_new].mean()) / 2.0, float(roc_auc_score(is_new, log_ratio))


def _draw_held_out(
    groups: npt.NDArray[np.integer[Any]], fraction: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Mark about `fraction` of the groups of rows [n], at least one, and leave at least one unmarked."""
    names = np.unique(groups)
    if len(names) == 1:  # one episode: its end
        count = min(max(round(fraction * len(groups)), 1), len(groups) - 1)
        return np.arange(len(groups)) >= len(groups) - count
    count = min(max(round(fraction * len(names)), 1), len(names) - 1)
    return np.isin(groups, rng.choice(names, size=count, replace=False))


def _check_features(features: _Array, name: str) -> _Array64:
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} must be [rows, features], got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds a NaN or infinite value")
    return rows
