"""The experiment that `mql tasks new` writes beside a definition: settings for short episodes of an arm."""

from __future__ import annotations

_EXPERIMENT = """# How to train on {name}: what differs from the defaults (they suit long episodes of running robots).
# These settings solve arm-reach, an arm with episodes of 50 steps. All keys: docs/configuration.md.
family: {name}.yaml
agent:
  hidden_sizes: [128, 128]
  context_dim: 64
  discount: 0.95            # the goal is a dozen steps away
  tau: 0.01
  lr: 2.0e-3
  exploration_noise: 0.15
  target_policy_noise: 0.1  # a larger one blurs the last centimetre
train:
  env_steps: 400000
  random_steps: 5000
  anneal_steps: 100000      # the learning rate falls at the end
  batch_size: 256
  evaluate_every: 20000
  checkpoint_every: 20000
adapt:
  batch_size: 256
evaluate:
  adapt_while_training: false
"""


def experiment_file(name: str) -> str:
    """Return the file name of a family's experiment."""
    return f"{name}-experiment.yaml"


def experiment_text(name: str) -> str:
    """Write the experiment that trains the family."""
    return _EXPERIMENT.format(name=name)
