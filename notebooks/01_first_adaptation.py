# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A first adaptation, step by step
#
# A point has to walk to a goal that it cannot see. We meta-train an agent on 40 goals, meet a new one, and take one
# adaptation apart: its data, the context features, the classifier, the weights of the old data, lambda, and the two
# training steps. At the end we ask on 20 new tasks, with intervals, whether it helped.
#
# It takes one to two minutes on one core. Open it in Jupyter with jupytext installed, or convert it:
# `jupytext --to ipynb notebooks/01_first_adaptation.py`.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch

from mql import load_config, load_family
from mql.adaptation import adapters
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import features_of
from mql.adaptation.paper import learn, prepare
from mql.adaptation.playing import Request, simulated
from mql.adaptation.propensity import fit_propensity, weigh
from mql.adaptation.weighing import META_ROWS_PER_NEW_ROW
from mql.collecting.rollout import collect
from mql.evaluation.held_out import evaluate, summarize_results
from mql.evaluation.statistics import paired_gain
from mql.learning.trainer import Trainer
from mql.report.curves import ADAPTED, RANDOM, ZERO_SHOT
from mql.seeding import generator, spawn_seeds
from mql.training.records import measure_agent

SMALL = os.environ.get("MQL_NOTEBOOK_SIZE") == "small"  # a test of the code; the results mean nothing then
torch.set_num_threads(1)  # the networks are small: more threads would only wait for one another

# %% [markdown]
# ## The family and its tasks
#
# A *task family* fixes what is seen and done; a *task* is a value of its parameters, here the goal. It is hidden: the
# observation is the point's own place, and only the reward, minus the distance to the goal, tells. Tasks come in fixed
# lists: `train`, `validation` and `test` (other goals of the same distribution, to look at while training and at its
# end) and `ood` (goals on a ring outside that square).

# %%
family = load_family("point-robot")
print(f"{family.name}: {family.summary}")
print(f"{family.episode_length} steps per episode, {family.obs_dim} observed numbers, {family.action_dim} actions")
for name, parameter in family.parameters.items():
    print(f"parameter {name!r}: {parameter.doc} in {parameter.unit}, {parameter.distribution}, {parameter.hidden = }")


def goals(tasks):
    """Goals [N, 2] of tasks."""
    return np.array([task.parameters["goal"] for task in tasks])


def plane(axes, limit):
    """Let axes show the plane and the square of the training goals."""
    axes.add_patch(plt.Rectangle((-1, -1), 2, 2, fill=False, color="#bbbbbb", linestyle="--"))
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="x (m)", ylabel="y (m)", aspect="equal")


figure, axes = plt.subplots(figsize=(4.6, 4.6), layout="constrained")
plane(axes, limit=2.0)
for split, color, marker in (("train", RANDOM, "o"), ("test", ZERO_SHOT, "^"), ("ood", ADAPTED, "s")):
    tasks = family.tasks(split)
    axes.scatter(*goals(tasks).T, c=color, marker=marker, s=22, label=f"{split}: {len(tasks)}")
axes.set_title("The goals of each split", loc="left")
axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
plt.show()

# %% [markdown]
# ## Meta-training
#
# The agent is TD3 whose actor and critics also read a context variable `z`: the state of a GRU that has seen the
# observations, actions and rewards of the episode so far. There is no inner loop: one policy is trained on the data of
# all training tasks, and learns to find out within an episode which task it is in.
#
# Two references say what a return means: *standing still*, and *goal known*, the best that anyone who sees the goal can
# do from the same starts. An agent that has to search cannot quite get there.

# %%
small = ["train.env_steps=1200", "train.random_steps=400", "adapt.step2_updates=4"] if SMALL else []
published = ["adapt.method=paper", "adapt.adaptation_episodes=1", "adapt.exploration_noise=0"]
config = load_config("point-robot", overrides=[*published, *small])
trainer = Trainer(config, family)
evaluate_every = config.train.env_steps // (2 if SMALL else 8)
curve = []
while trainer.env_steps < config.train.env_steps:
    trainer.iterate()
    if trainer.env_steps // evaluate_every > len(curve):
        tasks = family.tasks("validation")[:20]
        results = measure_agent(trainer.agent, family, tasks, config=config, split="validation")
        curve.append((trainer.env_steps, summarize_results(results)["zero_shot"]))
        print(f"{trainer.env_steps} env steps, {trainer.updates} updates: return {curve[-1][1]['mean']:.1f}")

agent, watched = trainer.agent, family.tasks("validation")
starts = collect(agent, family, watched, spawn_seeds(len(watched), 0, "references"))
place = np.array([episode.obs[0] for episode in starts])
still = -family.episode_length * np.linalg.norm(place - goals(watched), axis=1).mean()
known = 0.0
for _ in range(family.episode_length):  # an action of 1 moves the point by 0.1 m along its axis
    place = place + np.clip(goals(watched) - place, -0.1, 0.1)
    known -= np.linalg.norm(place - goals(watched), axis=1).mean()

figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
steps, summaries = zip(*curve, strict=True)
ends = zip(*(summary["ci95"] or (np.nan, np.nan) for summary in summaries), strict=True)
axes.fill_between(steps, *ends, color=ZERO_SHOT, alpha=0.18)
axes.plot(steps, [summary["mean"] for summary in summaries], "o-", color=ZERO_SHOT, label="zero-shot")
axes.axhline(known, color="black", linestyle="--", linewidth=1, label="goal known")
axes.axhline(still, color=RANDOM, linestyle=":", linewidth=1.5, label="standing still")
axes.set(xlabel="env steps", ylabel="mean return (band: 95 % over tasks)", xlim=(0, None))
axes.set_title("Return on 20 validation goals", loc="left")
axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
plt.show()

# %% [markdown]
# ## A new task
#
# The agent meets a test goal. *Zero-shot* means that it adapts by its context alone, without a gradient step: it walks,
# watches its rewards, and turns. Here are three episodes from three starts.

# %%
SEED = 1  # of everything that is random from here on
test_tasks = family.tasks("test")
task = test_tasks[5]
goal = np.array(task.parameters["goal"])
figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.2), layout="constrained")
plane(left, limit=1.4)
episodes = collect(agent, family, [task] * 3, spawn_seeds(3, SEED, "first look"))
for episode, color in zip(episodes, ("#0072B2", "#56B4E9", "#009E73"), strict=True):
    left.plot(*episode.obs.T, ".-", color=color, markersize=4)
    left.plot(*episode.obs[0], "o", color=color)
    right.plot(np.linalg.norm(episode.obs - goal, axis=1), ".-", color=color)
left.plot(*goal, "*", color=ADAPTED, markersize=16)
left.set_title("Paths (dot: start, star: the hidden goal)", loc="left")
right.set(xlabel="step", ylabel="distance to the goal (m)", ylim=(0, None), xticks=range(0, 21, 5))
right.set_title("Zero-shot, within one episode", loc="left")
plt.show()

# %% [markdown]
# ## Adaptation, 1: one episode of data, and its context features
#
# One more episode on the new task is all that adaptation gets. It counts in no result: before and after are compared on
# other episodes. What does this data look like to the agent? Stored and new transitions are passed through the *frozen*
# meta-trained encoder; the `z` of each is its feature vector. The picture shows the first two principal components. A
# new episode starts where all do (z = 0: nothing is known yet) and then goes its own way.

# %%
new_data = simulated(family, task, seed=SEED)(Request(agent, starts=[0], noise=config.adapt.exploration_noise))
meta = prepare(MetaTraining(agent, trainer.replay), config.adapt)  # once, for any number of new tasks
new_replay = replay_of(agent, new_data)
new_features = features_of(agent, new_replay, new_replay.all_rows(), config.adapt)
print(f"features of stored transitions {meta.features.shape}, of new ones {new_features.shape}")

centre = meta.features.mean(axis=0)
components = np.linalg.svd(meta.features - centre, full_matrices=False)[2][:2]
old_points, new_points = ((features - centre) @ components.T for features in (meta.features, new_features))
figure, axes = plt.subplots(figsize=(5.6, 4.2), layout="constrained")
axes.scatter(*old_points[:: max(len(old_points) // 3000, 1)].T, s=3, color="#cccccc", label="stored (some)")
axes.plot(*new_points.T, color=ADAPTED, linewidth=0.8, label="new")
drawn = axes.scatter(*new_points.T, c=np.arange(len(new_points)), cmap="autumn_r", s=24, zorder=3)
figure.colorbar(drawn, label="step of the new episode")
axes.set(xlabel="first component of z", ylabel="second component of z")
axes.set_title("Context features", loc="left")
axes.legend(frameon=False, markerscale=3)
plt.show()

# %% [markdown]
# ## Adaptation, 2: the propensity
#
# A logistic regression tells new from stored by `z`. It is fitted on all new rows and ten times as many stored ones;
# its odds, corrected for these unequal numbers, estimate how much more likely a transition is under the new task than
# under the old ones. How well it tells them apart is measured on held-out rows (roughly, they are few). An AUC of 0.5
# would mean that the new task looks like the old ones, 1 that nothing stored looks like it.

# %%
rng = generator(SEED, "propensity")
count = min(META_ROWS_PER_NEW_ROW * len(new_features), len(meta.features))
model = fit_propensity(
    new_features,
    meta.features[rng.choice(len(meta.features), size=count, replace=False)],
    inverse_regularization=config.adapt.inverse_regularization,
    prior=config.adapt.prior,
    rng=rng,
)
print(f"fitted on {model.n_new} new and {model.n_meta} stored rows")
print(f"held out: AUC {model.auc:.2f}, accuracy {model.accuracy:.2f} (both classes counting the same)")

# %% [markdown]
# ## Adaptation, 3: the weights of the old data
#
# The weight of a stored transition is that ratio, with its logarithm clipped from above and small weights set to zero.
# (The spike in the histogram: all first steps, where z = 0.) The other pictures ask which old tasks the weights choose.
# Nobody told the classifier where any goal is: if `z` has understood the task, old tasks with goals near the new one
# weigh more. Early in an episode all tasks look alike, and `z` also knows where the point has been: that blurs it.

# %%
largest, smallest = config.adapt.max_log_weight, config.adapt.min_weight
scored = weigh(model.log_weights(meta.features), max_log_weight=largest, min_weight=smallest)
train_goals = goals(family.tasks("train"))
task_of_row = meta.rows // trainer.replay.rows
task_weight = np.array([scored.weights[task_of_row == k].mean() for k in range(len(train_goals))])
distance = np.linalg.norm(train_goals - goal, axis=1)

figure, (histogram, places, against) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
histogram.hist(model.log_weights(meta.features), bins=80, color=ZERO_SHOT)
for edge, text, side in ((largest, " clipped", "left"), (np.log(smallest), "counts as 0 ", "right")):
    histogram.axvline(edge, color="black", linestyle="--", linewidth=1)
    histogram.text(edge, 0.97, text, transform=histogram.get_xaxis_transform(), ha=side, va="top")
histogram.set(xlabel="log weight, before clipping", ylabel="stored transitions")
histogram.set_title("Weights of stored transitions", loc="left")
plane(places, limit=1.2)
drawn = places.scatter(*train_goals.T, c=task_weight, cmap="viridis", s=70)
places.plot(*goal, "*", color=ADAPTED, markersize=16)
figure.colorbar(drawn, label="mean weight (1: average)")
places.set_title("Old goals by weight; star: the new goal", loc="left")
against.scatter(distance, task_weight, c=task_weight, cmap="viridis", s=40)
against.set(xlabel="distance of the old goal to the new one (m)", ylabel="mean weight of the old task", ylim=(0, None))
against.set_title("Do nearer tasks weigh more?", loc="left")
plt.show()

correlation = np.corrcoef(distance.argsort().argsort(), task_weight.argsort().argsort())[0, 1]
print(f"rank correlation of weight and distance: {correlation:.2f} (-1: the nearer, the heavier; 0: no relation)")

# %% [markdown]
# ## Adaptation, 4: effective sample size and lambda
#
# The normalised effective sample size says which part of the stored data is worth using: 1 if all weights are equal,
# near 0 if a few carry everything. `lambda = 1 - ESS` then says how strongly the adapted parameters are pulled back to
# the meta-trained ones: the less of the old data speaks for the new task, the less the agent may move.

# %%
print(f"normalised ESS {scored.normalized_ess:.3f}  ->  lambda {scored.proximal_coef:.3f}")
print(f"{scored.fraction_zero:.0%} of the stored transitions count as 0; the largest weight is {scored.max_weight:.1f}")

# %% [markdown]
# ## Adaptation, 5: step 1 and step 2
#
# Step 1: a few TD3 updates on the new episode. Step 2: more of them on stored transitions drawn by their weights. Both
# carry the pull. `learn` does all of the above; asked for no step 2, it stops after step 1. It never changes the
# meta-trained agent.

# %%
before = [tensor.clone() for _, tensor in agent.named_tensors()]
first = learn(agent, meta, new_data, config.adapt.model_copy(update={"step2_updates": 0}), seed=SEED)
both = learn(agent, meta, new_data, config.adapt, seed=SEED)
print(both.report)
assert np.array_equal(both.weights, scored.weights)  # what we computed by hand is what `learn` computes
assert all(torch.equal(old, new) for old, (_, new) in zip(before, agent.named_tensors(), strict=True))

resets = spawn_seeds(50, SEED, "compare")  # the same 50 starts for all three
returns = {}
for name, policy in (("zero-shot", agent), ("after step 1", first.agent), ("after step 2", both.agent)):
    played = collect(policy, family, [task] * len(resets), resets)
    returns[name] = np.array([episode.episode_return for episode in played])
    gain = paired_gain(returns["zero-shot"], returns[name])
    low, high = gain["ci95"] or (np.nan, np.nan)  # fewer than 5 values have no interval
    between = f"[{low:+.2f}, {high:+.2f}], n = {gain['n']}"
    print(f"{name}: return {returns[name].mean():.2f}, gain {gain['mean']:+.2f} {between}")

# %% [markdown]
# ## Did adaptation help?
#
# One task proves nothing. So: 10 test tasks and 10 outside the training range, each adapted from one episode of its
# own, zero-shot and adapted from the same starts. Beside it stands a *control*: all weights 1 and no pull. Its step 2
# is nothing but some more meta-training; where it does as well, the gain is not due to the weights.

# %%
control = config.adapt.model_copy(update={"weights": "uniform", "proximal_coef": 0.0})
count, k = (2, 2) if SMALL else (10, 10)
figure, axes = plt.subplots(figsize=(6.8, 3.4), layout="constrained")
for row, (split, name) in enumerate([("test", "adapted"), ("test", "control"), ("ood", "adapted"), ("ood", "control")]):
    setting, color = (config.adapt, ADAPTED) if name == "adapted" else (control, RANDOM)
    tasks = family.tasks(split)[:count]
    results = evaluate(
        agent,
        family,
        tasks,
        evaluation_episodes=k,
        seed=SEED,
        adaptation=adapters.prepare(MetaTraining(agent, trainer.replay), setting),
    )
    rows = [result.to_json() for result in results]
    zero_shot, adapted = (np.array([r[f"{key}_return"] for r in rows]) for key in ("zero_shot", "adapted"))
    gain = paired_gain(zero_shot, adapted)
    low, high = gain["ci95"] or (np.nan, np.nan)
    verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
    print(f"{split} tasks, {name}: zero-shot {zero_shot.mean():.2f}, then {adapted.mean():.2f},", end=" ")
    print(f"gain {gain['mean']:+.2f} [{low:+.2f}, {high:+.2f}], n = {gain['n']}: {verdict}")
    axes.scatter(adapted - zero_shot, [-row] * count, s=18, color=color, alpha=0.6)
    axes.plot([low, high], [-row - 0.22] * 2, color=color, linewidth=3)
    axes.text(-0.02, -row, f"{split}, {name}", transform=axes.get_yaxis_transform(), ha="right", va="center")
axes.axvline(0, color="black", linestyle="--", linewidth=1)
axes.set(xlabel="gain over zero-shot, per task (bar: 95 % interval of the mean)", yticks=[])
plt.show()

# %% [markdown]
# How to read this. The numbers move with machine and seed; when this was written, they said:
#
# - On `test` tasks no clear difference: the context already tells the agent where the goal is.
# - On `ood` tasks both are better than zero-shot, and the control gains at least as much as the method. So here it is
#   more gradient steps that help, not the weights and the pull, although the weights find the right tasks.
#
# This is one short training of a toy. The equations are in `docs/algorithm.md`.
