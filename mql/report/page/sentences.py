"""The result in a sentence: what a reader is to know who reads nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mql.evaluation.statistics import Estimate
from mql.plain_text import counted
from mql.report.page.facts import Record, RunFacts, numeric
from mql.report.page.groups import Group, estimates, final_of, improvements, statistic_name, statistic_of
from mql.report.page.words import duration, interval, number, share, signed, size_of, values_of


def result_in_words(groups: Sequence[Group]) -> str:
    """Say what one family's groups came to."""
    there = [group for group in groups if group.result]
    if not there:
        return " ".join(_no_evaluation(run) for group in groups for run in group.runs[:1])
    return _of_one(there[0]) if len(there) == 1 else _of_several(there)


def _of_one(group: Group) -> str:
    result = group.result
    assert result is not None
    statistic = statistic_of([group])
    own = estimates(result, statistic)
    before = own.get("zero_shot")
    if before is None:
        return f"The evaluations of {group.family} hold no returns."
    ended = result.final
    seen = "that it is trained on" if result.split == "training" else "that it never trained on"
    text = f"On {counted(before['tasks'], result.split + ' task')} {seen}, the agent gets "
    text += f"{interval(before)} zero-shot"
    if "adapted" in own:
        text += f" and {interval(own['adapted'])} once adapted: {_gain(own['gain'])}"
    text += f" ({statistic_name(statistic)}, n = {values_of(before)}; brackets: 95 % intervals). "
    if before["ci95"] is None:
        text = text.replace("; brackets: 95 % intervals", "; too few values for an interval")
    if "random" in own:
        text += f"Random actions get {number(own['random']['value'])}. "
    if "zero_shot_success" in own:
        solved = share(own["zero_shot_success"]["value"])
        after = own.get("adapted_success")
        text += f"It solves {solved} of the episodes" + (f", adapted {share(after['value'])}. " if after else ". ")
    return text + _training(group.runs, ended=ended)


def _gain(gain: Estimate) -> str:
    """Say whether adaptation helped, as far as the interval tells."""
    text = interval(gain, form=signed)
    if gain["ci95"] is None:
        return f"a mean difference of {text}"
    low, high = gain["ci95"]
    if low > 0:
        return f"a mean gain of {text}"
    return f"a mean loss of {text}" if high < 0 else f"no clear difference, {text} on average"


def _training(runs: Sequence[RunFacts], *, ended: bool) -> str:
    steps = [run.env_steps for run in runs]
    seconds = [run.wall_seconds for run in runs if run.wall_seconds]
    took = f" in {duration(float(np.median(seconds)))}" + (" each" if len(runs) > 1 else "") if seconds else ""
    target = numeric(runs[0].config.get("train.env_steps"))
    unfinished = sum(not run.finished for run in runs)
    of = f" of {target:,.0f}" if target and not ended else ""
    text = f"Trained for {max(steps):,}{of} environment steps{took}"
    if not ended:
        text += "; unfinished: these are figures on the way"
    elif unfinished:
        text += f"; {counted(unfinished, 'other run')} of this group did not end and counts in no figure"
    return f"{text}."


def _of_several(groups: Sequence[Group]) -> str:
    statistic = statistic_of(groups)
    kinds = {id(g): final_of(g.result)[0] for g in groups if g.result and "zero_shot" in g.result.returns}
    own = {id(g): estimates(g.result, statistic)[kinds[id(g)]] for g in groups if g.result and id(g) in kinds}
    ranked = sorted((g for g in groups if id(g) in own), key=lambda g: -own[id(g)]["value"])
    if len(ranked) < 2:
        return _of_one(groups[0])
    best, second = ranked[:2]
    of = own[id(best)]
    split = best.result.split if best.result else ""
    when, other = ({"adapted": "adapted", "zero_shot": "zero-shot"}[kinds[id(g)]] for g in (best, second))
    text = f"Of {counted(len(groups), 'group')}, “{best.label}” gets the most {when} on {split} tasks: "
    text += f"{interval(of)} ({statistic_name(statistic)}, n = {values_of(of)}), before “{second.label}” with "
    text += f"{interval(own[id(second)])}{'' if other == when else f' {other}'} (n = {values_of(own[id(second)])}). "
    for row in improvements([best, second]):
        text += f"A run of “{row['better']}” beats one of “{row['than']}” in a task with probability "
        text += f"{_probability(row)}. "
    return text.strip()


def _probability(row: Record) -> str:
    if row["ci95"] is None:
        return f"{row['value']:.2f} (too few values for an interval)"
    low, high = row["ci95"]
    return f"{row['value']:.2f} [{low:.2f}, {high:.2f}] ({size_of(row['runs'], row['tasks'])} each)"


def _no_evaluation(run: RunFacts) -> str:
    target = numeric(run.config.get("train.env_steps"))
    of = f" of {target:,.0f}" if target else ""
    if run.other:
        keys = ", ".join(key for key, value in run.other[-1].items() if numeric(value) is not None)
        return f"{run.name} was trained by the method {run.method}, whose evaluations hold: {keys or 'no numbers'}."
    text = f"{run.name} has no evaluation yet, after {run.env_steps:,}{of} environment steps."
    returns = [v for record in run.metrics if (v := numeric(record.get("collected_return"))) is not None]
    if len(returns) > 1:
        tenth = max(1, len(returns) // 10)
        first, last = float(np.mean(returns[:tenth])), float(np.mean(returns[-tenth:]))
        text += f" Collected episodes returned {number(first)} at first and {number(last)} lately."
    return text


def context_in_words(r2: dict[str, float | None]) -> str:
    """Say what can be read off the context."""
    known = {name: value for name, value in r2.items() if value is not None}
    if not known:
        return ""
    told = [f"{name} (R² {max(value, 0.0):.2f})" for name, value in known.items() if value >= 0.5]
    weak = [f"{name} ({max(value, 0.0):.2f})" for name, value in known.items() if value < 0.5]
    text = f"The context tells {', '.join(told)}" if told else "The context tells no parameter well by a linear map"
    return text + (f"; less so {', '.join(weak)}." if weak and told else f": {', '.join(weak)}." if weak else ".")


def calibration_in_words(calibration: Record) -> str:
    """Say what the weights' figures are for training tasks, whose data the store holds."""
    values = {key: numeric(calibration.get(key)) for key in ("ess", "auc", "own_share", "fair_share")}
    if any(value is None for value in values.values()):
        return ""
    return (
        "To compare with: for training tasks, whose data the store holds, ESS is "
        f"{number(values['ess'])} and AUC {number(values['auc'])}, and their own rows get {share(values['own_share'])} "
        f"of the weight, where equal weights would give {share(values['fair_share'])}."
    )
