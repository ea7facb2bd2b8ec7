# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 1. A family of tasks
#
# **What you will learn.** What meta-reinforcement learning learns *on*: a family of tasks that differ in something
# the agent cannot see. You will look at such a family, play it at random, work out the best that anyone could do in
# it, and make a film. Nothing is trained here.
#
# **How long it takes.** A few seconds of computing. You should know what an observation, an action, a reward and a
# Gymnasium environment are; if you have used Stable-Baselines3, you do.

# %%
import io
import os

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display
from PIL import Image as Picture

import mql

SMALL = os.environ.get("MQL_NOTEBOOK_SIZE") == "small"  # a quick test of the code; the figures mean nothing then
plt.rcParams["figure.dpi"] = 100
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"

# %% [markdown]
# ## The family and its parameters
#
# `point-robot` is the smallest family of this package. A point in the plane has to walk to a goal. It sees where it
# is, and never where the goal is; the only thing that speaks of the goal is the reward, minus the distance to it:
#
# $$o_t = (x_t, y_t), \qquad a_t \in [-1, 1]^2, \qquad o_{t+1} = o_t + 0.1\,\mathrm{m} \cdot a_t, \qquad
# r_t = -\lVert o_{t+1} - g \rVert .$$
#
# The goal $g$ is the **task parameter**. One value of it is one **task**; all of them are the **family**.

# %%
family = mql.load_family("point-robot")
print(family.name, "-", family.summary)
print(f"an observation is {family.obs_dim} numbers, an action {family.action_dim}")
print(f"an episode is {family.episode_length} steps of {family.control_timestep} s")
for name, parameter in family.parameters.items():
    print(f"parameter {name}: {parameter.doc}, in {parameter.unit}; hidden: {parameter.hidden}")
    print(f"  training tasks draw it from {parameter.distribution}")

# %% [markdown]
# ## Four lists of tasks
#
# In supervised learning you hold examples out. Here you hold *tasks* out. A family comes with fixed lists, its
# **splits**, which are the same on every machine:
#
# | split | what it is for |
# | --- | --- |
# | `train` | meta-training plays these tasks |
# | `validation` | you choose settings by these |
# | `test` | what you report; drawn like the training tasks, but others |
# | `ood` | out of distribution: tasks from outside the training range |

# %%
figure, axes = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
axes.add_patch(plt.Rectangle((-1, -1), 2, 2, fill=False, color=GREY, linestyle="--", label="training range"))
for split, color, marker in (("train", GREY, "o"), ("test", BLUE, "^"), ("ood", ORANGE, "s")):
    goals = np.array([task.parameters["goal"] for task in family.tasks(split)])
    axes.scatter(*goals.T, c=color, marker=marker, s=24, label=f"{split}, {len(goals)} tasks")
axes.set(xlabel="x of the goal (m)", ylabel="y of the goal (m)", xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
axes.set_title("Each mark is a task", loc="left")
axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
plt.show()

# %% [markdown]
# ## One task is a Gymnasium environment
#
# `family.make(task)` builds it. Below, two tasks are played from the same start with the same actions. The
# observations are equal, the rewards are not. So **no policy that looks at the observation alone can do well in
# both**: it cannot know which one it is in. Such a problem is partially observable; what is missing has to be found
# out from the rewards.

# %%
first, second = family.tasks("test")[:2]
print("the first goal:", np.round(first.parameters["goal"], 2), " the second:", np.round(second.parameters["goal"], 2))
actions = np.random.default_rng(0).uniform(-1, 1, size=(family.episode_length, family.action_dim)).astype(np.float32)


def play(task, choose, seed):
    """Play an episode of `task`: the observations [T+1, 2] and rewards [T] of the actions that choose(t, obs) takes."""
    environment = family.make(task)
    obs, _ = environment.reset(seed=seed)
    seen, rewards, over = [obs], [], False
    while not over:
        obs, reward, terminated, truncated, _ = environment.step(choose(len(rewards), obs))
        seen.append(obs)
        rewards.append(reward)
        over = terminated or truncated
    environment.close()
    return np.array(seen), np.array(rewards)


seen_1, rewards_1 = play(first, lambda t, obs: actions[t], seed=7)
seen_2, rewards_2 = play(second, lambda t, obs: actions[t], seed=7)
assert np.array_equal(seen_1, seen_2)  # nothing that is seen tells the tasks apart ...
assert not np.allclose(rewards_1, rewards_2)  # ... but the rewards do

# %% [markdown]
# Every family has a name in Gymnasium, too, for any library that takes environments. Without a task, each reset draws
# one of the training tasks; that is what a plain algorithm such as Stable-Baselines3's TD3 would train on:

# %%
environment = gymnasium.make("mql/point-robot-v0")
for seed in (0, 1):
    environment.reset(seed=seed)
    print("reset with seed", seed, "drew the goal", np.round(environment.unwrapped.task.parameters["goal"], 2))
environment.close()

# %% [markdown]
# ## Random play, and three yardsticks
#
# A return (the sum of rewards, here between about -40 and 0) means nothing by itself. So before anything is trained,
# find out what is easy and what is possible. Here are four ways to play, none of which learns:
#
# - **random**: actions drawn uniformly;
# - **standing still**;
# - **the best without rewards**: the goal is unknown and stays so. Then the best place to be is the middle of the
#   square;
# - **goal known**: walk straight to it. Nobody can do better.
#
# An agent that only sees the observation can reach the third yardstick at best. What lies between the third and the
# fourth is what can be won by *finding out the task*, and that is what a meta-RL agent is for.

# %%
rng = np.random.default_rng(1)


def towards(place, obs):
    """The action that walks from `obs` towards `place`, at most 0.1 m along each axis."""
    return np.clip((np.asarray(place) - obs) / 0.1, -1, 1).astype(np.float32)


ways = {
    "random": lambda task: lambda t, obs: rng.uniform(-1, 1, 2).astype(np.float32),
    "standing still": lambda task: lambda t, obs: np.zeros(2, dtype=np.float32),
    "best without rewards": lambda task: lambda t, obs: towards((0, 0), obs),
    "goal known": lambda task: lambda t, obs: towards(task.parameters["goal"], obs),
}
tasks, starts = family.tasks("test"), range(2 if SMALL else 20)
returns = {  # way -> [tasks, starts]
    name: np.array([[play(task, way(task), seed=start)[1].sum() for start in starts] for task in tasks])
    for name, way in ways.items()
}
for name, values in returns.items():
    print(f"{name:22s} mean return {values.mean():6.1f}")
assert returns["goal known"].mean() > returns["best without rewards"].mean() > returns["random"].mean()

# %%
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for row, values in enumerate(returns.values()):
    per_task = values.mean(axis=1)
    axes.scatter(per_task, row + np.linspace(-0.2, 0.2, len(per_task)), s=16, color=BLUE, alpha=0.7)
    axes.plot([values.mean()] * 2, [row - 0.35, row + 0.35], color=ORANGE, linewidth=3)
axes.set_yticks(range(len(returns)), returns)
axes.invert_yaxis()
axes.set(xlabel="return of an episode (sum of rewards, m)")
axes.set_title("A dot is a test task (mean over starts), the bar is the mean")
plt.show()

# %% [markdown]
# ## A film
#
# Environments draw themselves with `render_mode="rgb_array"`. Here is one test task (the goal is green, the point
# blue): above someone who knows the goal, below random actions. The strip shows every fourth step, the film all of
# them.


# %%
def filmed(task, choose, seed):
    """Pictures [T+1] of an episode; each shows the square of training goals, with a margin."""
    environment = family.make(task, render_mode="rgb_array")
    obs, _ = environment.reset(seed=seed)
    pictures = [environment.render()]
    for t in range(family.episode_length):
        obs, *_ = environment.step(choose(t, obs))
        pictures.append(environment.render())
    environment.close()
    return [picture[50:190, 50:190] for picture in pictures]


task = family.tasks("test")[5]
films = {name: filmed(task, ways[name](task), seed=3) for name in ("goal known", "random")}
figure, grid = plt.subplots(2, 6, figsize=(9, 3.3), layout="constrained")
for row, (name, pictures) in zip(grid, films.items(), strict=True):
    for axes, t in zip(row, range(0, 21, 4), strict=True):
        axes.imshow(pictures[t])
        axes.set(xticks=[], yticks=[], xlabel=f"step {t}")
    row[0].set_ylabel(name)
plt.show()

# %%
frames = []
for left, right in zip(films["goal known"], films["random"], strict=True):
    between = np.full((len(left), 4, 3), 120, dtype=np.uint8)
    frame = Picture.fromarray(np.hstack([left, between, right]))
    frames.append(frame.resize((2 * frame.width, 2 * frame.height)).quantize(16))
film = io.BytesIO()
frames[0].save(film, format="gif", save_all=True, append_images=frames[1:], duration=150, loop=0)
display(Image(data=film.getvalue(), format="gif", alt="left: goal known, right: random actions"))

# %% [markdown]
# ## Robots
#
# A point is quick to compute, and all that this family teaches holds for robots. There, what is hidden may be what is
# wanted (a speed, a target) or what the body is like (a weak joint, a load, friction). Two of the more than 100
# families on MuJoCo physics, as they describe themselves:

# %%
for name in ("cheetah-vel", "cheetah-faults"):
    robot = mql.load_family(name)
    print(f"{robot.name}: {robot.obs_dim} observed numbers, {robot.action_dim} actions, {robot.episode_length} steps")
    for key, parameter in robot.parameters.items():
        print(f"    {key}: {parameter.doc} [{parameter.unit}]")

# %% [markdown]
# ## What to try next
#
# - Change the task: `family.task({"goal": [0.5, -1.5]})` builds one of your own, inside the training range or not.
# - `mql tasks list` names all families, `mql tasks render cheetah-vel -o cheetah.png` draws one;
#   [docs/tasks.md](../docs/tasks.md) says what is hidden in each.
# - [Notebook 2](02_what_the_context_learns.ipynb) trains an agent on this family and looks at how it finds the goal.
# - The words of this field: [glossary](../docs/glossary.md). The idea in a page: [concepts](../docs/concepts.md).
