"""The experiment that `mql tasks new` writes beside a definition: settings for short episodes of an arm."""

from __future__ import annotations

_EXPERIMENT = """# How to train on {name}: what differs from the defaults (they suit long episodes of running robots).
# These settings solve arm-reach, an arm with episodes of 50 steps. All keys: docs/configuration.md.
family: {name}.yaml
agent:
  hidden_sizes: [128, 128]
  context_dim: 64
  # Where nothing measures the reward while the robot acts: the policy then needs none. Decide before training.
  # context_elements: [obs, action]
  discount: {discount:<16}# the goal is half a second away, of {rate:g} steps a second
  tau: 0.01
  lr: 2.0e-3
  exploration_noise: {exploration}{why}
  target_policy_noise: {target}  # a larger one blurs the last centimetre
train:
  env_steps: 400000
  random_steps: 5000
  anneal_steps: 100000      # the learning rate falls at the end
  batch_size: 256
  evaluate_every: 20000
  checkpoint_every: 20000
# Where tasks differ in the robot's body (a payload, friction, a worn joint), the usual budget of 5 episodes is short:
# play 20, and let an agent that did no better be improved in further rounds, as the best of all is kept in the end.
# adapt:
#   adaptation_episodes: 20
#   rollback: end
evaluate:
  adapt_while_training: false
"""


def experiment_file(name: str) -> str:
    """Return the file name of a family's experiment."""
    return f"{name}-experiment.yaml"


def experiment_text(name: str, *, rate: float, far: bool) -> str:
    """Write the experiment that trains the family.

    Args:
        name: of the family.
        rate: control steps per second.
        far: whether a full action goes across a joint's whole range.
    """
    why = "  # an action of 1 is the end of a joint's range" if far else ""
    exploration, target = (0.05, 0.03) if far else (0.15, 0.1)
    discount = f"{0.95 ** (20.0 / rate):.3g}"  # of arm-reach, at 20 steps a second
    return _EXPERIMENT.format(
        name=name, exploration=exploration, target=target, why=why, discount=discount, rate=round(rate, 1)
    )
