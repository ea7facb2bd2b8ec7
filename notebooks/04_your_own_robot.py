# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 4. Your own robot, from a file to a trained policy
#
# **What you will learn.** How to bring a robot of your own into meta-RL: its model in MJCF (MuJoCo's format), a
# family of tasks in YAML, a check that both are in order, a minute of training, and a film of the result. No Python
# class is written.
#
# **How long it takes.** One to two minutes on one core. [Notebook 1](01_a_family_of_tasks.ipynb) says what a family
# of tasks is. Pictures of robots need OpenGL; without a screen, the system's package `libegl1` or `libosmesa6`.

# %%
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display

import mql
from mql import tasks
from mql.films.film import film

SMALL = os.environ.get("MQL_NOTEBOOK_SIZE") == "small"  # a quick test of the code; the figures mean nothing then
plt.rcParams["figure.dpi"] = 100
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
folder = Path("plotter")
folder.mkdir(exist_ok=True)

# %% [markdown]
# ## 1. The robot
#
# A plotter: a bridge slides along x, on it a carriage along y, which carries a pen. Two motors are told a speed. In
# the file below, look for three things that a task will refer to by name: the site `tip` (the end of the pen), the
# site `target`, and the body `carriage`. Every actuator needs a `ctrlrange`: the agent's actions, from -1 to 1, are
# mapped to it.

# %%
robot = folder / "plotter.xml"
robot.write_text("""\
<mujoco model="plotter">
  <option timestep="0.005" integrator="implicitfast"/>
  <statistic center="0 0 0" extent="0.8"/>
  <visual>
    <global azimuth="90" elevation="-55"/>
    <headlight ambient="0.3 0.3 0.3" diffuse="0.2 0.2 0.2"/>
  </visual>
  <asset>
    <texture type="skybox" builtin="flat" rgb1="1 1 1" rgb2="1 1 1" width="16" height="16"/>
  </asset>
  <worldbody>
    <light pos="0 -0.3 1.5" dir="0 0.2 -1"/>
    <geom name="table" type="box" size="0.36 0.36 0.01" pos="0 0 -0.01" rgba="0.72 0.68 0.60 1"/>
    <geom name="rail_front" type="box" size="0.36 0.012 0.012" pos="0 -0.36 0.07" rgba="0.35 0.35 0.38 1"/>
    <geom name="rail_back" type="box" size="0.36 0.012 0.012" pos="0 0.36 0.07" rgba="0.35 0.35 0.38 1"/>
    <site name="target" type="cylinder" size="0.025 0.001" pos="0 0 0.001" rgba="0.1 0.65 0.3 1"/>
    <body name="bridge" pos="0 0 0.095">
      <joint name="x" type="slide" axis="1 0 0" range="-0.32 0.32" limited="true" damping="2"/>
      <geom name="bridge" type="box" size="0.018 0.36 0.010" mass="0.8" rgba="0.16 0.42 0.75 1"/>
      <body name="carriage">
        <joint name="y" type="slide" axis="0 1 0" range="-0.32 0.32" limited="true" damping="2"/>
        <geom name="carriage" type="box" size="0.035 0.035 0.022" mass="0.4" rgba="0.85 0.33 0.1 1"/>
        <geom name="pen" type="capsule" fromto="0 0 -0.02 0 0 -0.085" size="0.007" mass="0.02" rgba="0.1 0.1 0.1 1"/>
        <site name="tip" pos="0 0 -0.09" size="0.005"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <velocity name="x" joint="x" kv="8" ctrlrange="-0.6 0.6"/>
    <velocity name="y" joint="y" kv="8" ctrlrange="-0.6 0.6"/>
  </actuator>
</mujoco>
""")
print(f"written: {robot}")
# %% [markdown]
# ## 2. The family of tasks
#
# A *definition* in YAML says what is simulated, what the agent sees, what differs between tasks, and what is wanted:
#
# - `parameters` differ from task to task. The two coordinates of the target are seen (`hidden: false` puts them at
#   the end of the observation). The `load` is not: a carriage of 0.2 to 1.6 kg, which reacts sooner or later to the
#   same command. `apply` says what a value changes in the model.
# - `start` is drawn anew for each episode.
# - `reward` is a sum of terms. `success` holds once the tip has been within 3 cm of the target for 5 steps.
# - `splits` are the fixed lists of tasks; in `ood` the load is heavier than in any training task.

# %%
(folder / "plotter.yaml").write_text("""\
schema: mql.task_family/1
name: plotter
version: 1
description: Bring a pen to a place on the table and hold it there, with a hidden load on the carriage.
env:
  mjcf: plotter.xml
  frame_skip: 10          # 10 physics steps of 5 ms: a control step lasts 50 ms
  episode_length: 30      # 1.5 s
  observe: [qpos, qvel]   # positions (m) and speeds (m/s) of both joints
  scaling:                # numbers near 1 are what networks like
    qpos: {per: 0.25}
    qvel: {per: 0.5}
    target_x: {per: 0.25}
    target_y: {per: 0.25}
start:
  joints:
    x: {dist: uniform, low: -0.25, high: 0.25}
    y: {dist: uniform, low: -0.25, high: 0.25}
parameters:
  target_x:
    value: {dist: uniform, low: -0.25, high: 0.25}
    hidden: false
    unit: m
    doc: where the target is along x
    apply: [{field: site_pos, site: target, index: 0, op: set}]
  target_y:
    value: {dist: uniform, low: -0.25, high: 0.25}
    hidden: false
    unit: m
    doc: where the target is along y
    apply: [{field: site_pos, site: target, index: 1, op: set}]
  load:
    value: {dist: loguniform, low: 0.5, high: 4.0}
    doc: factor on the mass of the carriage
    apply: [{field: body_mass, body: carriage, op: scale}]
reward:
  terms:
    distance: {expr: "-norm(info.site_tip[0:2] - info.site_target[0:2])", weight: 4}
    effort: {expr: "-mean(action ** 2)", weight: 0.02}
success: {expr: "norm(info.site_tip[0:2] - info.site_target[0:2]) < 0.03", hold: 5}
splits:
  train: {n: 40, seed: 1}
  test: {n: 20, seed: 2}
  ood: {n: 20, seed: 3, override: {load: {dist: uniform, low: 5.0, high: 7.0}}}
""")
family = tasks.from_file(folder / "plotter.yaml")
print(f"{family.name}: {family.obs_dim} observed numbers, {family.action_dim} actions")
for name, parameter in family.parameters.items():
    print(f"  {name} ({'hidden' if parameter.hidden else 'seen'}): {parameter.doc}")

# %% [markdown]
# A slip in such a file is one line that says what is wrong, where, and what was probably meant:

# %%
broken = (folder / "plotter.yaml").read_text().replace("info.site_tip[0:2]", "info.site_tpi[0:2]", 1)
(folder / "broken.yaml").write_text(broken)
try:
    tasks.from_file(folder / "broken.yaml")
except mql.UserError as error:
    print(error)

# %% [markdown]
# ## 3. Is it in order?
#
# Physics has many ways to be wrong quietly. `mql tasks check` plays the tasks, recompiles the changed models, and
# looks for parameters without effect, hidden ones that show at the start, rewards that are not finite, and more. It
# is a command of the shell; with `--json` a program can read what it found:

# %%
command = [sys.executable, "-m", "mql", "tasks", "check", str(folder / "plotter.yaml"), "--quick", "--json"]
printed = "[]" if SMALL else subprocess.run(command, capture_output=True, text=True, check=True).stdout
found = json.loads(printed)
for check in found:
    if check["check"] != "speed":  # which is another one on every machine
        print(f"{check['result']:5s} {check['check']:15s} {textwrap.shorten(check['message'], 90, placeholder=' ...')}")
assert all(check["result"] == "pass" for check in found)

# %% [markdown]
# And does it look as it should? Three test tasks, each at the start of an episode:

# %%
command = [sys.executable, "-m", "mql", "tasks", "render", str(folder / "plotter.yaml"), "--tasks", "3"]
subprocess.run([*command, "-o", "tasks.png"], capture_output=True, check=True)
display(Image("tasks.png", width=800))

# %% [markdown]
# ## 4. Train
#
# An *experiment* says how to train on it; whatever it doesn't name has a default. Small networks and a short context
# are enough here. A discount of 0.9 looks about ten steps (half a second) ahead.

# %%
(folder / "plotter-experiment.yaml").write_text("""\
family: plotter.yaml
agent:
  hidden_sizes: [64, 64]
  context_dim: 16
  segment_length: 8
  burn_in: 4
  lr: 3.0e-3
  discount: 0.9
  tau: 0.02
  exploration_noise: 0.2
train:
  env_steps: 24000
  random_steps: 2400
  batch_size: 256
  env_steps_per_update: 8.0
  evaluate_every: 3000
adapt: {method: context}  # nothing but the context
evaluate: {tasks: 10, final_tasks: 20}
""")
small = {"train.env_steps": 1200, "train.random_steps": 600, "train.evaluate_every": 600, "evaluate.final_tasks": 2}
run = mql.train(
    folder / "plotter-experiment.yaml", run_dir="runs/plotter", seed=1, settings=small if SMALL else None, check=False
)
evaluations = [line for line in run.evaluations() if line["split"] == "validation"]
rows = run.result["tasks"]
random, trained = (np.array([row[f"{who}_return"] for row in rows]) for who in ("random", "zero_shot"))
success = [np.mean([row[f"{who}_success"] for row in rows]) for who in ("random", "zero_shot")]
print(f"random play: return {random.mean():6.1f}, solved {success[0]:.0%} of {len(rows)} test tasks")
print(f"the policy:  return {trained.mean():6.1f}, solved {success[1]:.0%}")
if not SMALL:
    assert (trained > random).all()  # in every one of the test tasks
    assert success[1] > success[0]

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
steps = [line["env_steps"] for line in evaluations]
left.plot(steps, [line["summary"]["zero_shot"]["mean"] for line in evaluations], "o-", color=BLUE)
left.axhline(random.mean(), color=GREY, linestyle=":")
left.text(steps[-1], random.mean(), "random play", ha="right", va="bottom", color=GREY)
left.set(xlabel="env steps of training", ylabel="mean return", xlim=(0, None))
left.set_title("Learning, on validation tasks", loc="left")
right.scatter(random, trained, color=BLUE)
limits = [min(random.min(), trained.min()) - 2, 2]
right.plot(limits, limits, color=GREY, linestyle="--")
right.set(xlabel="return of random play", ylabel="return of the policy", xlim=limits, ylim=limits, aspect="equal")
right.set_title("A dot is a test task", loc="left")
plt.show()

# %% [markdown]
# ## 5. Look at it
#
# `film` plays the agent and draws it: as a strip of pictures, or as a film with a name that ends in `.gif` or `.mp4`.

# %%
film(run, "test:0", "strip.png")
display(Image("strip.png", width=900))

# %% [markdown]
# ## 6. Use it
#
# On a robot there is no simulator, only a loop: observation in, action out. The policy remembers the running episode
# by itself; call `reset` when a new one begins. It has to be told the reward of the last action, since its context
# reads rewards (`agent.context_elements: [obs, action]` trains one that does not need them).

# %%
policy = run.policy()
environment = family.make(family.tasks("test")[1])
obs, _ = environment.reset(seed=1)
policy.reset()
reward, distances = None, []
for _ in range(family.episode_length):
    obs, reward, *_ = environment.step(policy.act(obs, reward))
    distances.append(100 * 0.25 * np.linalg.norm(obs[:2] - obs[4:6]))  # observations are in units of 0.25 m
environment.close()
print("distance of pen and target (cm), every fifth step:", ", ".join(f"{d:.0f}" for d in distances[::5]))

# %% [markdown]
# ## What to try next
#
# - Your own MJCF: `mql tasks new my-task --robot my_robot.xml` writes a definition for it that works, to change from
#   there. [Definitions](../docs/definitions.md) has all keys, [your robot](../docs/your-robot.md) the way to one.
# - Hide the target: set `hidden: true` for `target_x` and `target_y`, and train longer. Now the rewards have to tell
#   it.
# - Tasks out of range: `run.evaluate(split="ood")`, and [notebook 3](03_adaptation_step_by_step.ipynb) on what to do
#   there.
# - Noise and delays of sensors and motors: [noise and delays](../docs/noise-and-delays.md).
# - Is your method better than another one? [Notebook 5](05_comparing_methods.ipynb) says how to find out.
