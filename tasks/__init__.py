"""The task suite: families of robot tasks with train, test and ood splits, stepped side by side.

``load("cheetah-vel")`` gives a family, ``names()`` every name; what a family can do stands in `mql.tasks.family`.
"""

from mql.tasks.registry import load, names

__all__ = ["load", "names"]
