# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 2. What the context learns
#
# **What you will learn.** How a meta-trained agent finds out which task it is in: by its *context*, the state of a
# recurrent network that reads the running episode. You will train an agent, watch its context during an episode, see
# how well the hidden goal can be read from it, and mislead it with wrong rewards. In the end you know why *zero-shot*
# (no learning on the new task at all) is so hard to beat inside the training range, and where it fails.
#
# **How long it takes.** One to one and a half minutes on one core, nearly all of it training. [Notebook
# 1](01_a_family_of_tasks.ipynb) describes the family of tasks.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

import mql

SMALL = os.environ.get("MQL_NOTEBOOK_SIZE") == "small"  # a quick test of the code; the figures mean nothing then
plt.rcParams["figure.dpi"] = 100
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"

# %% [markdown]
# ## Meta-training
#
# The agent is TD3 with one addition. A GRU reads observation, action and reward of each step since the episode began;
# its state is the **context** $z_t$, and actor and critics see it beside the observation:
#
# $$z_t = \mathrm{GRU}(z_{t-1};\, o_{t-1}, a_{t-1}, r_{t-1}), \quad z_0 = 0, \qquad a_t = \pi(o_t, z_t), \qquad
# Q(o_t, a_t, z_t).$$
#
# The loss is the usual one, on the data of all 40 training tasks together. Nobody tells the agent a goal, and nothing
# rewards $z$ for anything. It becomes useful because $Q$ can only be right if $z$ tells the tasks apart.
#
# `mql.train` does all of it and returns the run. A second call with the same folder goes on where the first one
# ended, so that notebook 3 can use the same agent.

# %%
folder = Path("runs/point-robot")
steps = 1200 if SMALL else 40_000
settings = {
    "train.env_steps": steps,
    "train.random_steps": 400 if SMALL else 2000,
    "train.evaluate_every": steps // 2 if SMALL else 4000,
    "adapt.method": "context",  # nothing but the context: adaptation is for notebook 3
}
run = mql.train(
    "point-robot", run_dir=folder, seed=1, settings=None if folder.exists() else settings, resume=folder.exists()
)
family = run.family
curve = [(line["env_steps"], line["summary"]["zero_shot"]["mean"]) for line in run.evaluations()]

# %% [markdown]
# Before you look at returns, recall what they mean. Two references, computed for each start of an episode:
#
# - *the best without rewards*: walk to the middle of the square and stay, which is all one can do without knowing the
#   goal;
# - *goal known*: walk straight to it. Nobody can do better.


# %%
def play(policy, task, seed, reward_of=None, then=None):
    """Play an episode: observations [T+1, 2], rewards [T], and the contexts [T, Z] that its actions were chosen with.

    `reward_of` (obs, reward) says what the agent is told instead of its reward.
    """
    environment = family.make(task)
    obs, _ = environment.reset(seed=seed)
    policy.reset()
    seen, rewards, contexts, told = [obs], [], [], None
    for _ in range(family.episode_length):
        action = policy.act(obs, told)
        contexts.append(policy.context)  # z, as it was when the action was chosen
        obs, reward, *_ = environment.step(action)
        told = reward if reward_of is None else reward_of(obs, reward)
        seen.append(obs)
        rewards.append(reward)
    environment.close()
    return np.array(seen), np.array(rewards), np.array(contexts)


def walk(place, target):
    """The places [T, 2] of walking straight from `place` to `target`."""
    target, path = np.asarray(target), []
    for _ in range(family.episode_length):
        place = place + np.clip(target - place, -0.1, 0.1)
        path.append(place)
    return np.array(path)


policy = run.policy()
returns = {"best without rewards": [], "zero-shot": [], "goal known": []}
for task in family.tasks("test"):
    goal = np.array(task.parameters["goal"])
    seen, rewards, _ = play(policy, task, seed=11)
    returns["zero-shot"].append(rewards.sum())
    for name, target in (("best without rewards", (0, 0)), ("goal known", goal)):
        returns[name].append(-np.linalg.norm(walk(seen[0], target) - goal, axis=1).sum())
for name, values in returns.items():
    print(f"{name:22s} mean return on {len(values)} test tasks {np.mean(values):6.1f}")

figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.plot(*zip(*curve, strict=True), "o-", color=BLUE, label="the agent, zero-shot")
axes.axhline(np.mean(returns["goal known"]), color=GREEN, linestyle="--", label="goal known")
axes.axhline(np.mean(returns["best without rewards"]), color=GREY, linestyle=":", label="best without rewards")
axes.set(xlabel="env steps of meta-training", ylabel="mean return", xlim=(0, None))
axes.set_title("Tasks that were not trained on", loc="left")
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## One episode
#
# Here is a goal from the test split. The agent has not been trained on it and takes no gradient step. It sets out in
# some direction, the rewards tell whether that was right, and it turns. On the right is the context, one row for each
# of its numbers (the 20 that vary most). It is blank at first, when nothing is known. Then it fills. Some numbers
# keep their values from then on, as the goal does; others follow the point.

# %%
task = family.tasks("test")[5]
goal = np.array(task.parameters["goal"])
episodes = [play(policy, task, seed) for seed in (1, 2, 3)]
figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.8), layout="constrained", width_ratios=(1, 1.25))
for (seen, _, _), color in zip(episodes, (BLUE, "#56B4E9", GREEN), strict=True):
    left.plot(*seen.T, ".-", color=color)
    left.plot(*seen[0], "o", color=color, markersize=9)
left.plot(*goal, "*", color=ORANGE, markersize=17)
left.set(xlabel="x (m)", ylabel="y (m)", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
left.set_title("Three starts (dots), one goal (star)", loc="left")
z = episodes[0][2]
most = np.argsort(z.var(axis=0))[::-1][:20]
drawn = right.imshow(z[:, most].T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
right.set(xlabel="step", ylabel="number in z", xticks=range(0, 20, 4), yticks=[])
right.set_title("The context of the dark blue episode", loc="left")
figure.colorbar(drawn, label="value")
plt.show()

# %% [markdown]
# ## The context is a map of goals
#
# Is it the goal that $z$ holds? Play all training tasks, and look at $z$ after 1, 3, 6 and 15 steps by its two
# principal components. Each dot is an episode; its colour is the goal's place in the square (the key is on the
# right). Early on the colours are mixed: all tasks look alike. Later, neighbours in the picture are neighbours in the
# plane.

# %%
starts = range(100, 101 if SMALL else 104)
played = {
    split: [(task.parameters["goal"], *play(policy, task, seed)) for task in family.tasks(split) for seed in starts]
    for split in ("train", "test", "ood")
}
goals = {split: np.array([goal for goal, *_ in of]) for split, of in played.items()}
contexts = {split: np.array([z for *_, z in of]) for split, of in played.items()}  # [episodes, T, Z]
places = {split: np.array([seen for _, seen, *_ in of]) for split, of in played.items()}  # [episodes, T+1, 2]


def colour_of(goal):
    """Colours [n, 3] of places in the square: red grows with x, blue with y."""
    x, y = (np.clip(np.asarray(goal), -1, 1).T + 1) / 2
    return np.stack([x, 0.35 + 0 * x, y], axis=-1)


figure, grid = plt.subplots(1, 5, figsize=(12, 2.7), layout="constrained")
for axes, t in zip(grid, (1, 3, 6, 15), strict=False):
    points = PCA(2).fit_transform(contexts["train"][:, t])
    axes.scatter(*points.T, c=colour_of(goals["train"]), s=14)
    axes.set(xticks=[], yticks=[], xlabel="first component of z")
    axes.set_title(f"after {t} step{'s' * (t > 1)}", loc="left")
grid[0].set_ylabel("second component of z")
x, y = np.meshgrid(np.linspace(-1, 1, 50), np.linspace(-1, 1, 50))
grid[4].imshow(
    colour_of(np.stack([x, y], axis=-1).reshape(-1, 2)).reshape(50, 50, 3), origin="lower", extent=(-1, 1, -1, 1)
)
grid[4].set(xlabel="x of the goal (m)", ylabel="y (m)", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
grid[4].set_title("key", loc="left")
plt.show()

# %% [markdown]
# ## How well is the goal known, step by step?
#
# Pictures can deceive, so measure it. A *linear probe* is a linear regression from $(z_t, o_t)$ to the goal, one for
# each step $t$. It is fitted on the training tasks and judged on others. The probe only reads; the agent knows
# nothing of it.
#
# Why should a few steps be enough? Each reward is a distance, so each step draws a circle around the point on which
# the goal must lie. Two circles leave two places, and a third one, not on the same line, leaves one.


# %%
def probe_errors(split):
    """Mean distance (m) between goal and probe's guess at each step [T], on the episodes of a split."""
    errors = []
    for t in range(family.episode_length):
        inputs = {s: np.hstack([contexts[s][:, t], places[s][:, t]]) for s in ("train", split)}
        probe = Ridge(alpha=1.0).fit(inputs["train"], goals["train"])
        errors.append(np.linalg.norm(probe.predict(inputs[split]) - goals[split], axis=1).mean())
    return np.array(errors)


errors = {split: probe_errors(split) for split in ("test", "ood")}
middle = {split: np.linalg.norm(goals[split] - goals["train"].mean(axis=0), axis=1).mean() for split in errors}
figure, axes = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
for split, color, name in (("test", BLUE, "test goals"), ("ood", ORANGE, "goals out of range (ood)")):
    axes.plot(errors[split], "o-", color=color, markersize=4, label=f"read from z: {name}")
    axes.axhline(middle[split], color=color, linestyle=":", label="guessing the middle, for them")
axes.set(xlabel="steps observed", ylabel="error of the goal (m)", xticks=range(0, 20, 2), ylim=(0, None))
axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
print(f"test goals: the error is {errors['test'][0]:.2f} m at the start and {errors['test'][15]:.2f} m after 15 steps")
print(f"out of range: {errors['ood'][0]:.2f} m and {errors['ood'][15]:.2f} m")
if not SMALL:
    assert errors["test"][15] < 0.5 * middle["test"]  # most of what is hidden can be read from the context
    assert errors["ood"][15] > errors["test"][15]  # less so where no training task was

# %% [markdown]
# ## Mislead it
#
# If the agent acts by what its rewards say, wrong rewards must lead it astray. That is an experiment on the agent,
# not just an observation of it: the goal is the orange star in all three, and what changes is what the agent is
# *told*.


# %%
def of_another_goal(place):
    """Tell the agent the distance to another place."""
    return lambda obs, reward: -float(np.linalg.norm(obs - place))


other = np.array([-0.6, 0.6])
told = {
    "its rewards": None,
    "the same reward at every step": lambda obs, reward: -0.8,
    "the rewards of another goal (cross)": of_another_goal(other),
}
task = family.task({"goal": [0.7, -0.5]})
figure, grid = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained", sharey=True)
ends = {}
for axes, (name, reward_of) in zip(grid, told.items(), strict=True):
    paths = [play(policy, task, seed, reward_of)[0] for seed in range(20, 26)]
    ends[name] = np.array([path[-1] for path in paths])
    for path in paths:
        axes.plot(*path.T, color=BLUE, alpha=0.6)
        axes.plot(*path[0], "o", color=BLUE, markersize=4)
    axes.plot(*task.parameters["goal"], "*", color=ORANGE, markersize=16)
    axes.plot(*other, "x", color="black", markersize=9, alpha=1.0 if "cross" in name else 0.0)
    axes.set(xlabel="x (m)", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
    axes.set_title(f"told: {name}", loc="left", fontsize=9)
grid[0].set_ylabel("y (m)")
plt.show()
if not SMALL:
    misled = ends["the rewards of another goal (cross)"]
    nearer = np.linalg.norm(misled - other, axis=1) < np.linalg.norm(misled - task.parameters["goal"], axis=1)
    assert nearer.mean() > 0.5  # it walks to where the rewards point, not to the goal

# %% [markdown]
# ## Why zero-shot is strong, and where it ends
#
# Inside the training range the agent has practised exactly this: explore a little, read the rewards, walk there. All
# of it was learned in meta-training, so a new task needs no learning, and a few episodes of data can add little. That
# is why adaptation has to be compared with *zero-shot*, not with random actions.
#
# Out of range it is different. The goals of `ood` lie on a ring, outside the square. The context was never asked to
# tell such goals apart, and the policy never had to walk there. (The zero-shot return on `test` differs from the one
# printed above because that was one episode for each goal, and these are four, from other starts.)

# %%
gaps = {}
for split in ("test", "ood"):
    rewards = np.array([r.sum() for _, _, r, _ in played[split]])
    best = np.array([-np.linalg.norm(walk(seen[0], g) - g, axis=1).sum() for g, seen, *_ in played[split]])
    gaps[split] = best - rewards
    print(f"{split:5s} zero-shot {rewards.mean():6.1f}, goal known {best.mean():6.1f}, lost {gaps[split].mean():5.1f}")
figure, axes = plt.subplots(figsize=(5.4, 4), layout="constrained")
for split, color in (("test", BLUE), ("ood", ORANGE)):
    for path, goal in zip(places[split][:: len(starts)], goals[split][:: len(starts)], strict=True):
        axes.plot(*zip(path[-1], goal, strict=True), color=color, linewidth=1, alpha=0.6)
        axes.plot(*goal, "*", color=color, markersize=9)
    axes.plot([], [], "*-", color=color, label=f"{split} tasks")
axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
axes.add_patch(plt.Rectangle((-1, -1), 2, 2, fill=False, color=GREY, linestyle="--"))
axes.set(xlabel="x (m)", ylabel="y (m)", xlim=(-2.1, 2.1), ylim=(-2.1, 2.1), aspect="equal")
axes.set_title("From each goal (star) to where its episode ended", loc="left")
plt.show()
if not SMALL:
    assert np.mean(returns["zero-shot"]) > np.mean(returns["best without rewards"])
    assert gaps["ood"].mean() > gaps["test"].mean()

# %% [markdown]
# ## What to try next
#
# - Train with `agent.context_elements: [obs, action]`, so that the context sees no reward, and repeat the probe: what
#   is left to find the goal by?
# - Train a smaller context (`agent.context_dim: 16`), or an agent with none (`method="td3"`), and compare.
# - [Notebook 3](03_adaptation_step_by_step.ipynb) takes the same agent to the goals out of range, and lets it learn.
# - The equations: [the algorithm](../docs/algorithm.md). `policy.context` and the rest of the Python interface: [From
#   Python](../docs/python.md).
