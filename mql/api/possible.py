"""What a run can be asked for, and what its method leaves no sense in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mql.config.methods import METHODS
from mql.config.schema import AdaptConfig, Config
from mql.errors import UserError
from mql.tasks.family import TaskFamily


def check_suits(config: Config, family: TaskFamily) -> None:
    """Refuse a family whose actions the method does not learn, or that lacks the tasks of evaluations.

    Raises:
        UserError: it names the methods that do, or the split that is missing.
    """
    for final in (False, True):
        family.tasks(config.evaluate.split_of(final=final))
    choice = METHODS[config.method]
    if choice.choices if family.choices else choice.numbers:
        return
    fitting = [name for name, each in METHODS.items() if (each.choices if family.choices else each.numbers)]
    what = f"actions of {family.name} are {'choices' if family.choices else 'numbers'}, which the method "
    mend = f"choose another: {', '.join(fitting)}"
    raise UserError(f"{what}{config.method} does not learn", where="method", mend=mend)


def check_has_agent(method: str, path: Path) -> None:
    """Refuse to look for an agent in a run whose method has one of another kind.

    Raises:
        UserError: it is one.
    """
    if not METHODS[method].meta_q_learning and not METHODS[method].reactive:
        what = f"the run was trained by the method {method}, and has no agent of Meta-Q-Learning"
        raise UserError(what, where=str(path), mend="evaluate it, or read its evaluations, metrics and checkpoints")


def check_is_meta_q_learning(method: str, path: Path) -> None:
    """Refuse to look into a run for what only Meta-Q-Learning has: a context, a replay of episodes.

    Raises:
        UserError: it is a run of another method.
    """
    if not METHODS[method].meta_q_learning:
        what = f"the run was trained by the method {method}, and has no agent of Meta-Q-Learning"
        raise UserError(what, where=str(path), mend="evaluate it, or read its evaluations, metrics and checkpoints")


def check_adapts(method: str, path: Path, *, asked: Iterable[str]) -> None:
    """Refuse what is `asked` for where the run's method does not adapt.

    Raises:
        UserError: it does not.
    """
    first = next(iter(asked), None)
    if first and not METHODS[method].adapts:
        mend = "evaluate it as it is, or use a run of a method that adapts"
        raise UserError(f"{first} does nothing: the method {method} does not adapt", where=str(path), mend=mend)


def check_learns_from_data(config: AdaptConfig) -> None:
    """Refuse a way to adapt that makes nothing of episodes if it can play none itself.

    Raises:
        UserError: it is one.
    """
    mend = "use adapt.method=finetune or auto"
    if config.method == "search":
        what = "search tries contexts out on the new task, and recorded episodes alone try nothing out"
        raise UserError(what, where="adapt.method", mend=mend)
    if config.method == "continue":
        raise UserError("continue looks at no episode of the new task", where="adapt.method", mend=mend)
    if config.method == "context" and not config.carry_episodes:
        what = "context looks at no episode of the new task"
        raise UserError(what, where="adapt.method", mend=f"{mend}, or set adapt.carry_episodes to true")
