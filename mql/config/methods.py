"""The methods that `method` chooses from: where each stands, and what it says of the other keys.

A new one is a file with its `Learning` (`mql/training/learning.py`), a row here and its name in the key's Literal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})


class MethodChoice(NamedTuple):
    """A method: the place of its class, and what it makes of a configuration.

    Attributes:
        place: ``module:Class`` of its `Learning`; it is loaded when it is used.
        fixed: values by key that belong to the method; another value of the user is refused.
        sets: values by key that it begins from, which the user may change.
        follows: values by key that are computed from the rest, where the user gives none.
        adapts: it has something else to show in a new task after some episodes of it; otherwise ``adapt`` is idle.
        sees_task: the family's task parameters stand at the end of what it observes.
        replay: it stores episodes in the replay of ``train.replay_capacity``.
        numbers: it learns actions that are numbers.
        choices: it learns actions that are choices.
        rate: the key of its learning rate.
        reactive: it has no `Agent` of its own: ``agent`` of its `Learning` makes one (`mql.agent.reactive`).
    """

    place: str
    fixed: Mapping[str, Any] = NOTHING
    sets: Mapping[str, Any] = NOTHING
    follows: Mapping[str, Callable[[Any], Any]] = NOTHING
    adapts: bool = True
    sees_task: bool = False
    replay: bool = True
    numbers: bool = True
    choices: bool = False
    rate: str = "agent.lr"
    reactive: bool = False

    @property
    def meta_q_learning(self) -> bool:
        """Whether it is Meta-Q-Learning, or parts of it, and its agent an `Agent`."""
        return self.place == _META_Q_LEARNING


_META_Q_LEARNING = "mql.training.meta_q_learning:MetaQLearning"
_NO_ADAPTATION = {"adapt.method": "context", "adapt.carry_episodes": False}

METHODS: Mapping[str, MethodChoice] = MappingProxyType(
    {
        "mql": MethodChoice(_META_Q_LEARNING),
        "td3": MethodChoice(
            _META_Q_LEARNING,
            fixed={"agent.algorithm": "td3", "agent.use_context": False, **_NO_ADAPTATION},
            adapts=False,
        ),
        "td3-context": MethodChoice(
            _META_Q_LEARNING,
            fixed={"agent.algorithm": "td3", "agent.use_context": True, **_NO_ADAPTATION},
            adapts=False,
        ),
        "oracle": MethodChoice(
            _META_Q_LEARNING,
            fixed={"agent.use_context": False, **_NO_ADAPTATION},
            adapts=False,
            sees_task=True,
        ),
        "pearl": MethodChoice(
            "mql.baselines.pearl.learning:Pearl",
            fixed={
                "agent.algorithm": "sac",
                "agent.use_context": False,  # z is a belief of its own
                "agent.critic": "squared",
                "agent.n_step": 1,
                "train.episode_priority": "uniform",
                "train.task_sampling": "even",
                "train.relabel_share": 0.0,
                "adapt.method": "context",
                "adapt.carry_episodes": True,
            },
        ),
        "rl2": MethodChoice(
            "mql.baselines.rl2.learning:RL2",
            fixed={
                "agent.use_context": True,
                "adapt.method": "context",
                "adapt.carry_episodes": True,
                "train.prior_data": (),
            },
            sets={"adapt.adaptation_episodes": 0, "train.random_steps": 0, "agent.normalize": False},
            follows={"adapt.adaptation_episodes": lambda config: config.rl2.trial_episodes - 1},
            replay=False,
            rate="rl2.lr",
        ),
        "p3o": MethodChoice(
            "mql.p3o.learning:P3OLearning",
            fixed={"agent.use_context": False, **_NO_ADAPTATION, "train.prior_data": ()},
            sets={"train.random_steps": 0, "agent.normalize": False},
            adapts=False,
            replay=False,
            choices=True,
            rate="p3o.lr",
            reactive=True,
        ),
        **{
            name: MethodChoice(
                "mql.q_learning.learning:QLearning",
                fixed={"agent.use_context": False, **_NO_ADAPTATION, "train.prior_data": ()},
                sets={"train.random_steps": 0, "agent.normalize": False, **more},
                adapts=False,
                replay=False,
                numbers=False,
                choices=True,
                rate="q_learning.lr",
                reactive=True,
            )
            for name, more in (("dqn", {}), ("rainbow", {"q_learning.n_step": 3}))
        },
    }
)
