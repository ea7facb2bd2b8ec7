# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 3. Adaptation, step by step
#
# **What you will learn.** What an agent can still learn from a few episodes of a new task when its context does not
# know what to do there. You will take Meta-Q-Learning's adaptation apart (propensity, importance weights, effective
# sample size), compare it with two simpler ideas (searching for a context, fine-tuning behind a gate), and measure
# before and after on tasks that none of them has seen, with intervals.
#
# **How long it takes.** A little more than a minute on one core where notebook 2 has left its agent in the same
# folder, a minute more where it has to be trained first. [Notebook 2](02_what_the_context_learns.ipynb) explains the
# context $z$.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import mql

SMALL = os.environ.get("MQL_NOTEBOOK_SIZE") == "small"  # a quick test of the code; the figures mean nothing then
plt.rcParams["figure.dpi"] = 100
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"

folder = Path("runs/point-robot")
steps = 1200 if SMALL else 40_000
settings = {
    "train.env_steps": steps,
    "train.random_steps": 400 if SMALL else 2000,
    "train.evaluate_every": steps // 2 if SMALL else 4000,
    "adapt.method": "context",
}
trained = folder.exists()  # by notebook 2, with the same settings
run = mql.train("point-robot", run_dir=folder, seed=1, settings=None if trained else settings, resume=trained)
family = run.family

# %% [markdown]
# ## The problem
#
# The agent was trained on goals in the square $[-1, 1]^2$. The tasks of the split `ood` have their goals on a ring
# outside of it. *Zero-shot*, by its context alone, it does much worse there than someone who knows the goal:


# %%
def play(policy, task, seed):
    """Play an episode: its transitions (obs [T, 2], z [T, Z]), the way [T+1, 2] and the return."""
    environment = family.make(task)
    obs, _ = environment.reset(seed=seed)
    policy.reset()
    way, contexts, rewards = [obs], [], [None]
    for _ in range(family.episode_length):
        action = policy.act(obs, rewards[-1])
        contexts.append(policy.context)  # z, as it was when the action was chosen
        obs, reward, *_ = environment.step(action)
        way.append(obs)
        rewards.append(reward)
    environment.close()
    return np.array(way), np.array(contexts), float(np.sum(rewards[1:]))


def goal_known(place, goal):
    """The return of walking straight to the goal."""
    total = 0.0
    for _ in range(family.episode_length):
        place = place + np.clip(goal - place, -0.1, 0.1)
        total -= np.linalg.norm(place - goal)
    return total


policy = run.policy()
for split in ("test", "ood"):
    pairs = []
    for task in family.tasks(split):
        way, _, total = play(policy, task, seed=5)
        pairs.append((total, goal_known(way[0], np.array(task.parameters["goal"]))))
    print("{:5s} zero-shot {:6.1f}, goal known {:6.1f}".format(split, *np.mean(pairs, axis=0)))

# %% [markdown]
# ## One new task
#
# Take one goal of the ring. All that adaptation gets to see of it is a few episodes, which are counted: the
# **budget**. `run.adapt` plays them, learns, and returns an adapted agent; the run's own agent stays as it was. Here
# is the paper's method with a single episode. We will now redo by hand what it does inside.

# %%
task = family.tasks("ood")[3]
goal = np.array(task.parameters["goal"])
paper = {"adapt.method": "paper", "adapt.adaptation_episodes": 1, "adapt.exploration_noise": 0}
adapted = run.adapt(task=task, seed=1, settings=paper)
print("new episodes:", len(adapted.episodes), " steps:", adapted.episodes[0].length)
print("what the report holds:", ", ".join(adapted.report))

# %% [markdown]
# ### Step 1: which old transitions look like new ones?
#
# Training has left a store of old transitions, from 40 tasks. Some of them may be of use in the new one. Which? A
# **propensity** model tells: a logistic regression $p(\text{new} \mid z)$ that learns to tell new transitions from
# old ones by their context. Where it is unsure, an old transition might as well be a new one.
#
# The program does this with everything stored. To see it all, we play each training task a few times instead, and
# pass the new episode through the same policy to get its contexts.

# %%
old_tasks = family.tasks("train")
repeats = 1 if SMALL else 4
old = np.array([[play(policy, each, seed)[1] for seed in range(repeats)] for each in old_tasks])  # [40, 4, T, Z]
old_z = old.reshape(-1, old.shape[-1])
task_of = np.repeat(np.arange(len(old_tasks)), old.shape[1] * old.shape[2])

episode = adapted.episodes[0]
policy.reset()
new_z = []
for t in range(episode.length):
    if t == 0:
        policy.act(episode.obs[0])
    else:
        policy.act(episode.obs[t], episode.reward[t - 1], last_action=episode.action[t - 1])
    new_z.append(policy.context)
new_z = np.array(new_z)
print(f"old contexts {old_z.shape}, new contexts {new_z.shape}")

model = LogisticRegression(C=0.1, max_iter=1000)
inputs, is_new = np.vstack([old_z, new_z]), np.repeat([0, 1], [len(old_z), len(new_z)])
model.fit(inputs, is_new)
print(f"area under the curve on what it was fitted to: {roc_auc_score(is_new, model.decision_function(inputs)):.2f}")

# %% [markdown]
# ### Step 2: from probabilities to weights
#
# By Bayes' rule the odds of the classifier, corrected for how many there are of each kind, are the ratio of the two
# densities. That ratio $\beta$ is the **importance weight** of an old transition:
#
# $$\beta(z) = \frac{p(z \mid \text{new})}{p(z \mid \text{old})} = \frac{n_{\text{old}}}{n_{\text{new}}} \cdot
# \frac{p(\text{new} \mid z)}{p(\text{old} \mid z)}.$$
#
# With $\beta$, a mean over old transitions estimates a mean over new ones. Nobody told the classifier where any goal
# is. If the context has understood the tasks, then old tasks with goals near the new one get more weight:

# %%
log_odds = model.decision_function(old_z) + np.log(len(old_z) / len(new_z))
beta = np.exp(np.minimum(log_odds, 1.0))  # a few huge weights would be nothing but noise,
beta[beta < 0.1] = 0.0  # and tiny ones nothing but work: the limits are those of the program
share = np.array([beta[task_of == k].sum() for k in range(len(old_tasks))]) / beta.sum()
old_goals = np.array([each.parameters["goal"] for each in old_tasks])
distance = np.linalg.norm(old_goals - goal, axis=1)

figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4), layout="constrained")
left.add_patch(plt.Rectangle((-1, -1), 2, 2, fill=False, color=GREY, linestyle="--"))
drawn = left.scatter(*old_goals.T, c=100 * share, s=70, cmap="viridis", edgecolor="white")
left.plot(*goal, "*", color=ORANGE, markersize=18)
left.set(xlabel="x of the goal (m)", ylabel="y of the goal (m)", xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
left.set_title("Training tasks, and the new one (star)", loc="left")
figure.colorbar(drawn, label="share of the weight (%)")
right.scatter(distance, 100 * share, color=BLUE, s=22)
right.axhline(100 / len(old_tasks), color=GREY, linestyle=":")
right.text(distance.max(), 100 / len(old_tasks), "all alike", ha="right", va="bottom", color=GREY)
right.set(xlabel="distance of the old goal to the new one (m)", ylabel="share of the weight (%)", ylim=(0, None))
right.set_title("Do nearer tasks weigh more?", loc="left")
plt.show()


def rank_correlation(a, b):
    """Spearman's: 1 if both rise together, -1 if one falls where the other rises."""
    return np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]


print(f"rank correlation of distance and weight: {rank_correlation(distance, share):.2f}")
program = np.array(adapted.report["task_weights"])
print(f"the program's own weights, from all that is stored: {rank_correlation(distance, program):.2f}")

# %% [markdown]
# One task may be luck, so do the same for others, in range and out of it. A correlation of -1 means: the nearer, the
# heavier; 0: no relation.


# %%
def correlation_of(task, seed=1000):
    """The rank correlation of distance and weight over the training tasks, for one new episode of `task`."""
    new = play(policy, task, seed)[1]
    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit(np.vstack([old_z, new]), np.repeat([0, 1], [len(old_z), len(new)]))
    beta = np.exp(np.minimum(model.decision_function(old_z) + np.log(len(old_z) / len(new)), 1.0))
    share = [beta[task_of == k].sum() for k in range(len(old_tasks))]
    return rank_correlation(np.linalg.norm(old_goals - task.parameters["goal"], axis=1), share)


correlations = {split: [correlation_of(each) for each in family.tasks(split)[:12]] for split in ("test", "ood")}
figure, axes = plt.subplots(figsize=(6.6, 1.9), layout="constrained")
for row, (values, color) in enumerate(zip(correlations.values(), (BLUE, ORANGE), strict=True)):
    axes.plot(values, [row] * len(values), "o", color=color, alpha=0.6)
axes.axvline(0, color="black", linewidth=1, linestyle="--")
axes.set_yticks((0, 1), ("test tasks", "ood tasks"))
axes.set(xlabel="rank correlation of distance and weight (dot: a task)", xlim=(-1, 1), ylim=(1.5, -0.5))
plt.show()
if not SMALL:
    assert np.mean(correlations["test"]) < -0.5  # in range the propensity finds the right tasks
    assert np.mean(correlations["test"]) < np.mean(correlations["ood"])

# %% [markdown]
# In range the propensity finds the right tasks nearly always. Out of range it does so less reliably: there the
# context itself is lost, as notebook 2 has shown, and the weights are no better than the context that they are made
# from.

# %% [markdown]
# ### Step 3: how much of the old data is of use?
#
# Weights can be so uneven that a handful of transitions carry everything. The normalised **effective sample size**
# says which part of the store is still worth something, and $\lambda = 1 - \mathrm{ESS}$ how strongly the parameters
# are pulled back to the meta-trained ones. The less old data speaks for the new task, the less the agent may move:
#
# $$\mathrm{ESS} = \frac{\left(\sum_i \beta_i\right)^2}{n \sum_i \beta_i^2} \in (0, 1], \qquad
# \min_\theta \; \mathbb{E}_{\text{new}}[\ell(\theta)] + \mathbb{E}_{\text{old}}[\beta\, \ell(\theta)]
# + \lambda \lVert \theta - \theta_{\text{meta}} \rVert^2 .$$

# %%
ess = beta.sum() ** 2 / (len(beta) * (beta**2).sum())
assert 0 < ess <= 1
print(f"by hand:     ESS {ess:.2f}, lambda {1 - ess:.2f}")
report = adapted.report
print(f"the program: ESS {report['normalized_ess']:.2f}, lambda {report['proximal_coef']:.2f}", end=", ")
print(f"AUC on held-out transitions {report['classifier_auc']:.2f}")

# %% [markdown]
# The two differ: the program looks at all that is stored, so also at random play and at what earlier agents did, and
# its classifier is fitted to a part of it.

# %% [markdown]
# ### Step 4: did it help?
#
# `compare` plays evaluation episodes before and after from the same starts. None of them was learned from.

# %%
row = adapted.compare()
print(f"the paper's method, one episode: {row['zero_shot_return']:.1f} before, {row['adapted_return']:.1f} after")

# %% [markdown]
# A few gradient steps on one episode, held back by the pull, move an agent only a little. What else could one do?
#
# ## Another idea: search for a context
#
# The policy knows how to walk to many places. Perhaps it only has the wrong context. `adapt.method=search` takes no
# gradient step: it *acts as if the task were another one*, with contexts of training tasks and with offsets along the
# directions in which these differ, and keeps what gets the highest return. Every trial is an episode of the budget.

# %%
searched = run.adapt(
    task=task, seed=1, settings={"adapt.method": "search", "adapt.adaptation_episodes": 4 if SMALL else 10}
)
print("contexts tried:", searched.report["tried"], " chosen:", *(searched.report["chosen"] or ["its own"]))
for line in searched.report["rounds"]:
    print(f"return {line['before']:.1f} as it was, {line['after']:.1f} with the best context, kept: {line['accepted']}")

# %% [markdown]
# ## A third idea: fine-tuning, behind a gate
#
# Go on with training, on new episodes only. The danger is that a few episodes are little data: an agent may get
# worse. So learning goes in rounds, and each round ends at a **gate**: the new agent plays a few more episodes
# (charged to the budget as well) and is kept only if it did better than the one before.
#
# `adapt.method=auto` tries several ways in turn, each through the gate. For this family it can also *relabel*: the
# rewards of the first episodes tell where the goal is, and then old episodes can be given the rewards that they would
# have had in the new task.

# %%
budget = 3 if SMALL else 10
adapted = {
    method: run.adapt(task=task, seed=1, settings={"adapt.method": method, "adapt.adaptation_episodes": budget})
    for method in ("finetune", "auto")
}
for method, one in adapted.items():
    print(f"{method}: {one.report['episodes_charged']} episodes charged")
    for line in one.report["rounds"]:
        verdict = "kept" if line["accepted"] else "rolled back"
        print(f"    return {line['before']:6.1f} before, {line['after']:6.1f} after: {verdict}")
found = adapted["auto"].report.get("found_task")
print("the goal:", np.round(goal, 2), " found from the rewards:", found and np.round(found["goal"], 2))

# %%
figure, grid = plt.subplots(1, 4, figsize=(12.5, 3.4), layout="constrained", sharey=True)
policies = {"zero-shot": run.policy(), "search": searched.policy()} | {m: a.policy() for m, a in adapted.items()}
for axes, (name, one) in zip(grid, policies.items(), strict=True):
    totals = []
    for seed in range(40, 46):
        way, _, total = play(one, task, seed)
        axes.plot(*way.T, color=BLUE, alpha=0.6)
        axes.plot(*way[0], "o", color=BLUE, markersize=4)
        totals.append(total)
    axes.add_patch(plt.Rectangle((-1, -1), 2, 2, fill=False, color=GREY, linestyle="--"))
    axes.plot(*goal, "*", color=ORANGE, markersize=16)
    axes.set(xlabel="x (m)", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
    axes.set_title(f"{name}: {np.mean(totals):.1f}", loc="left")
grid[0].set_ylabel("y (m)")
plt.show()

# %% [markdown]
# ## Before and after, on many tasks
#
# One task proves nothing. `run.evaluate` adapts to each task of a split on its own and plays zero-shot and adapted
# agent from the same starts. The **paired gain** is the mean of the differences; its 95 % interval comes from drawing
# the tasks anew (bootstrap). Where it holds 0, the data does not say that adaptation does anything.
#
# The control matters as much as the methods: `continue` makes the same number of gradient steps on *old* data and
# never sees the new task. A gain that it has as well does not come from adaptation.

# %%
count, budget = (2, 3) if SMALL else (5, 5)
gains = {}
for split, method in (
    ("ood", "continue"),
    ("ood", "paper"),
    ("ood", "search"),
    ("ood", "auto"),
    ("test", "auto"),
):
    wanted = paper if method == "paper" else {"adapt.method": method, "adapt.adaptation_episodes": budget}
    record = run.evaluate(split=split, tasks=count, settings=wanted)
    rows = record["tasks"]
    differences = np.array([row["adapted_return"] - row["zero_shot_return"] for row in rows])
    gain = gains[split, method] = record["summary"]["gain"]
    gain["per task"] = differences
    low, high = gain["ci95"] or (np.nan, np.nan)  # fewer than five tasks have no interval
    print(f"{split:4s} {method:9s} zero-shot {record['summary']['zero_shot']['mean']:6.1f}", end="  ")
    print(f"gain {gain['mean']:+6.2f} [{low:+.2f}, {high:+.2f}], {gain['n']} tasks")

# %%
figure, axes = plt.subplots(figsize=(7.4, 3.6), layout="constrained")
for row, ((split, _), gain) in enumerate(gains.items()):
    color = ORANGE if split == "ood" else BLUE
    axes.scatter(gain["per task"], [row - 0.15] * len(gain["per task"]), s=16, color=color, alpha=0.5)
    axes.plot(gain["ci95"] or [gain["mean"]] * 2, [row + 0.2] * 2, color=color, linewidth=4)
axes.axvline(0, color="black", linewidth=1, linestyle="--")
axes.set_yticks(range(len(gains)), [f"{method}, {split} tasks" for split, method in gains])
axes.invert_yaxis()
axes.set(xlabel="gain in return over zero-shot (dot: a task; bar: 95 % interval of the mean)")
plt.show()
if not SMALL:
    assert gains["ood", "auto"]["mean"] > max(0, gains["ood", "continue"]["mean"])  # out of range, adaptation helps
    assert gains["ood", "auto"]["mean"] > gains["test", "auto"]["mean"]  # in range there is less to win

# %% [markdown]
# ## How to read this
#
# - Out of range, what knows the new task's rewards and makes enough steps helps. Where the policy can already do what
#   is wanted, a search for the context is enough; where it can't, parameters have to move.
# - In range the propensity finds the right tasks, and yet the paper's method gains little here: re-weighted old
#   transitions still carry the rewards of old tasks. That holds on larger problems, too, with the figures in
#   [docs/adaptation.md](../docs/adaptation.md#what-helps-where).
# - In range there is little left to win, as notebook 2 has shown. The gate sees to it that nothing much is lost.
# - This is one agent of one training seed, on a toy. [Notebook 5](05_comparing_methods.ipynb) says how much (and how
#   little) that proves.
#
# ## What to try next
#
# - Other budgets: 1, 3, 5, 20 episodes. With one there is nothing to try out with, so a gated method changes nothing.
# - `"adapt.gate": False` keeps whatever was learned. Look at the worst task then.
# - Your own task: `run.adapt(task={"goal": [1.5, 1.5]})`; [all methods and their reports](../docs/adaptation.md).
# - [Notebook 4](04_your_own_robot.ipynb) does all this with a robot of your own.
