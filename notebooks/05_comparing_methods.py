# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 5. Comparing methods honestly
#
# **What you will learn.** How to say that one method is better than another, and when you can't. You will use what
# has become the standard of the field (several training seeds, interquartile means, stratified bootstrap intervals,
# the probability of improvement), see on real results what three common shortcuts would have claimed, and run a small
# comparison of your own. The statistics are those of Agarwal et al., *Deep Reinforcement Learning at the Edge of the
# Statistical Precipice* ([arXiv 2108.13264](https://arxiv.org/abs/2108.13264)).
#
# **How long it takes.** About a minute, nearly all of it for the comparison at the end.

# %%
import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import mql
from mql.evaluation import statistics

SMALL = os.environ.get("MQL_NOTEBOOK_SIZE") == "small"  # a quick test of the code; the figures mean nothing then
plt.rcParams["figure.dpi"] = 100
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"

# %% [markdown]
# ## The data
#
# The repository keeps the results that its documents quote. Here is a study of adaptation: an arm with seven joints
# has to touch points with a longer tool and a heavier payload than it was trained with. Three agents were trained
# with three **seeds**; each met the same ten **tasks**, and was adapted to each in several ways. Every number below
# is a mean over four evaluation episodes. `gains[method]` is a table [3 seeds, 10 tasks] of returns, adapted minus
# zero-shot.

# %%
results = Path(mql.__file__).resolve().parents[1] / "results" / "adaptation" / "arm-reach" / "cells.jsonl"
cells = [json.loads(line) for line in results.read_text().splitlines()]
names = {  # (variant, episodes of the new task that it may play) -> name
    ("more training", 20): "more training on old data",
    ("paper", 20): "the paper's method (20)",
    ("search", 20): "search for a context (20)",
    ("new data", 5): "fine-tuning (5)",
    ("half old, uniform", 5): "half old data, any (5)",
    ("half old, selected", 5): "half old data, selected (5)",
    ("half old, permuted", 5): "half old data, permuted (5)",
    ("auto", 20): "auto (20)",
}
zero_shot, gains = {}, {}
for key, name in names.items():
    of = sorted((cell for cell in cells if (cell["variant"], cell["budget"]) == key), key=lambda cell: cell["seed"])
    before, after = (
        np.array([[task[f"{when}_return"] for task in cell["tasks"]] for cell in of])
        for when in ("zero_shot", "adapted")
    )
    zero_shot[name], gains[name] = before, after - before
    print(f"{name:30s} {gains[name].shape}  mean gain {gains[name].mean():+.2f}")

# %% [markdown]
# Look at the values before you look at means. Each dot is a pair of seed and task. The spread within a method is far
# larger than the differences between methods, so whoever reports one number has chosen it.

# %%
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for row, gain in enumerate(gains.values()):
    for values, marker, shift in zip(gain, "o^s", (-0.2, 0, 0.2), strict=True):
        axes.scatter(values, [row + shift] * len(values), s=16, marker=marker, color=BLUE, alpha=0.6)
    axes.plot([gain.mean()] * 2, [row - 0.35, row + 0.35], color=ORANGE, linewidth=3)
axes.axvline(0, color="black", linewidth=1, linestyle="--")
axes.set_yticks(range(len(gains)), gains)
axes.invert_yaxis()
axes.set(xlabel="gain in return over zero-shot (marker: training seed; bar: mean)")
plt.show()

# %% [markdown]
# ## A mean that a single run cannot move
#
# The **interquartile mean** (IQM) drops the lowest and the highest quarter of all values and takes the mean of the
# rest. It uses more of the data than the median does, and one lucky or failed run does not move it:


# %%
def iqm(values):
    """The mean without the lowest and the highest quarter, over the last axis."""
    ordered = np.sort(values, axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


values = gains["auto (20)"].ravel()
failed = values.copy()
failed[0] -= 20.0  # one run in which the arm got stuck, say
print(f"as measured:          mean {values.mean():+.2f}, IQM {iqm(values):+.2f}")
print(f"with one failed run:  mean {failed.mean():+.2f}, IQM {iqm(failed):+.2f}")
assert np.isclose(iqm(values), statistics.iqm(values))
assert abs(iqm(failed) - iqm(values)) < abs(failed.mean() - values.mean())

# %% [markdown]
# ## An interval, and what it speaks of
#
# With other seeds, the figure would have been another one. How much another? The **bootstrap** answers by drawing the
# data anew, with replacement, many times. In the *stratified* one each task keeps its place, and its seeds are drawn:

# %%
rng = np.random.default_rng(0)


def stratified_interval(table, statistic=iqm, resamples=2000):
    """The 95 % interval of a statistic of `table` [S, N]: in each task (column), its S runs are drawn anew."""
    seeds, tasks = table.shape
    drawn = rng.integers(seeds, size=(resamples, seeds, tasks))
    again = table[drawn, np.arange(tasks)].reshape(resamples, -1)
    return np.quantile(statistic(again), [0.025, 0.975])


table = gains["auto (20)"]
low, high = stratified_interval(table)
print(f"by hand:        IQM {iqm(table.ravel()):+.2f} [{low:+.2f}, {high:+.2f}]")
estimate = statistics.across_runs(table)
print("by the package: IQM {:+.2f} [{:+.2f}, {:+.2f}]".format(estimate["value"], *estimate["ci95"]))

# %% [markdown]
# Such an interval speaks of *other training seeds on these tasks*. Drawing the tasks of one seed anew would speak of
# *other tasks for this agent*. Both are legitimate questions; say which one you answer. In this project `[low, high;
# seeds x tasks]` follows a figure, and fewer than five values get no interval at all.
#
# ## Which of two is better?
#
# Two numbers answer that. The **difference** of the IQMs says by how much. The **probability of improvement** says
# how often: the chance that a run of one beats a run of the other in a task drawn at random. 0.5 means that neither
# is better.

# %%
reference = "more training on old data"
compared = {}
for name in gains:
    if name != reference:
        more = statistics.difference(gains[name], gains[reference])
        often = statistics.probability_of_improvement(gains[name], gains[reference])
        compared[name] = often
        print("{:30s} difference {:+.2f} [{:+.2f}, {:+.2f}]".format(name, more["value"], *more["ci95"]), end="   ")
        print("P(improvement) {:.2f} [{:.2f}, {:.2f}]".format(often["value"], *often["ci95"]))

figure, axes = plt.subplots(figsize=(7.4, 3), layout="constrained")
for row, often in enumerate(compared.values()):
    axes.plot(often["ci95"], [row] * 2, color=BLUE, linewidth=5, alpha=0.5)
    axes.plot(often["value"], row, "o", color=BLUE)
axes.axvline(0.5, color="black", linewidth=1, linestyle="--")
axes.set_yticks(range(len(compared)), compared)
axes.invert_yaxis()
axes.set(xlabel=f"probability of improvement over “{reference}”", xlim=(0, 1))
plt.show()

# %% [markdown]
# In brackets is how many episodes of the new task a method could play. `auto` is the best here, and had four times
# the episodes of some others: this does not say that it would win with as few. Compare what had equal means.
#
# Note the row of selected old data: it beats *more training*, and does not beat the *same weights in another order*
# (permuted). A control that differs in the one thing in question says more than a weak baseline.
#
# ## Wrong, 1: the best seed
#
# Two methods, one of them reported by its best seed. To see what that alone is worth, compare a method *with itself*:
# its best seed against its mean. All of these "gains" are nothing.

# %%
advantages = {name: gain.mean(axis=1).max() - gain.mean() for name, gain in gains.items()}
for name, advantage in advantages.items():
    print(f"{name:30s} best of three seeds, against itself: {advantage:+.2f}")
spread = np.std([gain.mean() for gain in gains.values()])
print(f"for comparison: the standard deviation between the eight methods' means is {spread:.2f}")
assert min(advantages.values()) >= 0  # always in favour of whoever chooses

# %% [markdown]
# ## Wrong, 2: forgetting that the tasks are the same
#
# Before and after were played on the same tasks from the same starts. The tasks differ a lot among themselves; the
# difference *within* a task is what is asked for. Who compares two heaps of numbers, instead of pairs, drowns it:

# %%
name = "auto (20)"
before, after = zero_shot[name][0], (zero_shot[name] + gains[name])[0]  # of the first seed
paired = statistics.paired_gain(before, after)
draws = rng.integers(len(before), size=(2, 2000, len(before)))
heaps = np.quantile(after[draws[0]].mean(axis=1) - before[draws[1]].mean(axis=1), [0.025, 0.975])
print("pairs: gain {:+.2f} [{:+.2f}, {:+.2f}]".format(paired["mean"], *paired["ci95"]))
print("heaps: gain {:+.2f} [{:+.2f}, {:+.2f}]".format(after.mean() - before.mean(), *heaps))
assert np.diff(paired["ci95"])[0] < np.diff(heaps)[0]  # the same gain, a wider interval

# %% [markdown]
# ## Wrong, 3: tuning on the tasks that are reported
#
# Take the seven ways without `auto`; they are close to each other, as the variants that one tunes among usually are.
# Suppose that you have one agent, take the way that does best on five tasks, and report its gain on these five. To
# see what that does, look at the same way's gain on the other five. Here are all 252 ways to split ten tasks in two,
# for each of the three seeds:

# %%
tables = np.array([gain for name, gain in gains.items() if not name.startswith("auto")])  # [methods, seeds, tasks]
chosen_on, held_out = [], []
for five in combinations(range(10), 5):
    others = [task for task in range(10) if task not in five]
    for seed in range(3):
        best = tables[:, seed, five].mean(axis=1).argmax()
        chosen_on.append(tables[best, seed, five].mean())
        held_out.append(tables[best, seed, others].mean())
print(f"on the tasks that chose it: {np.mean(chosen_on):+.2f}, on the others: {np.mean(held_out):+.2f}")
print(f"so {1 - np.mean(held_out) / np.mean(chosen_on):.0%} of the reported gain would be made by choosing")
assert np.mean(chosen_on) > np.mean(held_out)

figure, axes = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
bins = np.linspace(min(chosen_on + held_out), max(chosen_on + held_out), 25)
axes.hist(chosen_on, bins, color=ORANGE, alpha=0.6, label="on the tasks that chose it")
axes.hist(held_out, bins, color=BLUE, alpha=0.6, label="on the other tasks")
axes.set(xlabel="mean gain of the way that was chosen", ylabel="splits of the tasks")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# That is what the split `validation` is for: choose there, and report on `test`, once.
#
# ## A comparison of your own
#
# Three methods learn `point-robot` for a short while, with three seeds each: `mql`; `td3`, the same without a
# context; and `oracle`, which sees the hidden goal. All else is equal, and all are evaluated on the same tasks from
# the same starts (`evaluate.seed`, whatever the seed of training).

# %%
settings = {
    "train.env_steps": 1200 if SMALL else 4000,
    "train.random_steps": 600 if SMALL else 1000,
    "train.evaluate_every": 4000,
    "evaluate.tasks": 1,
    "evaluate.final_tasks": 5 if SMALL else 10,
}
only = {"mql": {"adapt.method": "context"}}  # it acts by its context alone here, and learns nothing on the test tasks
returns = {}
for method in ("mql", "td3", "oracle"):
    rows = []
    for seed in (1,) if SMALL else (1, 2, 3):
        wanted = settings | only.get(method, {})
        run = mql.train(
            "point-robot", method=method, seed=seed, settings=wanted, run_dir=f"runs/compared/{method}-{seed}"
        )
        rows.append([row["zero_shot_return"] for row in run.result["tasks"]])
    returns[method] = np.array(rows)
    estimate = statistics.across_runs(returns[method])
    low, high = estimate["ci95"]
    print(f"{method:7s} IQM {estimate['value']:6.1f} [{low:.1f}, {high:.1f}; {estimate['runs']} x {estimate['tasks']}]")

# %%
often = {method: statistics.probability_of_improvement(returns[method], returns["mql"]) for method in ("td3", "oracle")}
for method, one in often.items():
    low, high = one["ci95"] or (np.nan, np.nan)  # a single seed has no interval
    verdict = "better" if low > 0.5 else "worse" if high < 0.5 else "not told apart"
    print(f"P({method} beats mql) {one['value']:.2f} [{low:.2f}, {high:.2f}]: {verdict}")
if not SMALL:
    assert often["oracle"]["ci95"][0] > 0.5  # seeing the goal helps, beyond doubt

# %% [markdown]
# The oracle is better, and no one needs many seeds to see it. For `mql` against `td3` look at where the interval
# ends. If it holds 0.5, these runs show nothing either way, and that is not the same as showing that there is no
# difference. If it ends just next to 0.5, remember that three seeds are few, and that the ends of an interval are
# estimates, too. After 4,000 steps neither has learned much; which of them is better then says little about what they
# become. The honest report says how many seeds, how many tasks, which interval, and what was tried and dropped.
#
# ## The same as a study
#
# For more than a handful of runs write a **study**: one file that crosses families, methods, settings and seeds. `mql
# study FILE` checks all of it before the first run begins, makes several runs at a time, and goes on after any
# interruption; `mql.run_study(file)` does so from Python. `--list` only shows what it would make:

# %%
Path("study.yaml").write_text("""\
schema: mql.study/1
families: [point-robot]
methods: [mql, td3, oracle]
seeds: 2
settings:
  train: {env_steps: 40000}
  evaluate: {final_tasks: 20}
reference: mql
""")
command = [sys.executable, "-m", "mql", "study", "study.yaml", "--list"]
print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

# %% [markdown]
# ## What to try next
#
# - Run that study, with more seeds: `mql study study.yaml`. Then `mql report studies/study` writes a page with all of
#   the above and learning curves: [studies](../docs/studies.md), [reports](../docs/report.md).
# - What this project found, with seeds, intervals and commits: [results](../docs/results.md); what it tried in vain:
#   [what was tried](../docs/tried.md).
