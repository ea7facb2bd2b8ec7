"""The numbers that stand for the methods, what follows from them, and what is refused."""

from __future__ import annotations

import pytest

from mql.config.loading import load_config
from mql.errors import UserError
from mql.q_learning.settings import DQN, RAINBOW


def test_the_methods_differ_in_three_things() -> None:
    assert (DQN.head, DQN.n_step, DQN.prioritised) == ("value", 1, False)
    assert (RAINBOW.head, RAINBOW.n_step, RAINBOW.prioritised) == ("c51", 3, True)


def test_what_follows_from_the_numbers() -> None:
    assert DQN.updates_per_copy == 250 and DQN.c == 0.0 and DQN.published_c == pytest.approx(0.025)
    assert [DQN.epsilon(t) for t in (0, 50_000, 100_000, 10**7)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert [RAINBOW.beta(t) for t in (0, 500_000, 10**6, 10**7)] == pytest.approx([0.4, 0.7, 1.0, 1.0])
    assert [DQN.updates_after(t) for t in (0, 5000, 5003, 5004, 9000)] == [0, 0, 0, 1, 1000]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["agent.proximal_c=-1"], "agent.proximal_c"),
        (["agent.proximal_c=1e-4"], "below q_learning.lr = 0.00025"),
        (["agent.proximal_c=auto", "q_learning.target_every=8"], "copy to the targets less often"),
        (["q_learning.target_every=1001"], "not a multiple of update_every = 4"),
        (["q_learning.value_min=3", "q_learning.value_max=3"], "give the lowest and the highest discounted return"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(settings: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        load_config("Acrobot-v1", overrides=settings, method="rainbow")
    assert "\n" not in str(refused.value)
