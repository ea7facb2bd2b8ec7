"""The names of Meta-World's 50 environments and of the benchmarks made of them.

Plain text, so that the list of families needs no simulator. A test compares them with the installed package.

A number that says which environment (the task parameter ``environment`` of ml10, ml45 and mt10) is the place in
`ENVIRONMENTS`, counted from 0.
"""

from __future__ import annotations

# The package's own order, without the ending "-v3" that all of them share.
ENVIRONMENTS: tuple[str, ...] = (
    "assembly",
    "basketball",
    "bin-picking",
    "box-close",
    "button-press-topdown",
    "button-press-topdown-wall",
    "button-press",
    "button-press-wall",
    "coffee-button",
    "coffee-pull",
    "coffee-push",
    "dial-turn",
    "disassemble",
    "door-close",
    "door-lock",
    "door-open",
    "door-unlock",
    "hand-insert",
    "drawer-close",
    "drawer-open",
    "faucet-open",
    "faucet-close",
    "hammer",
    "handle-press-side",
    "handle-press",
    "handle-pull-side",
    "handle-pull",
    "lever-pull",
    "pick-place-wall",
    "pick-out-of-hole",
    "pick-place",
    "plate-slide",
    "plate-slide-side",
    "plate-slide-back",
    "plate-slide-back-side",
    "peg-insert-side",
    "peg-unplug-side",
    "soccer",
    "stick-push",
    "stick-pull",
    "push",
    "push-wall",
    "push-back",
    "reach",
    "reach-wall",
    "shelf-place",
    "sweep-into",
    "sweep",
    "window-open",
    "window-close",
)

ML10_TRAIN: tuple[str, ...] = (
    "reach",
    "push",
    "pick-place",
    "door-open",
    "drawer-close",
    "button-press-topdown",
    "peg-insert-side",
    "window-open",
    "sweep",
    "basketball",
)
ML10_TEST: tuple[str, ...] = ("drawer-open", "door-close", "shelf-place", "sweep-into", "lever-pull")

# To choose settings on: the package has no such list. Five that are neither trained nor tested on.
ML10_VALIDATION: tuple[str, ...] = ("window-close", "faucet-open", "plate-slide", "coffee-button", "handle-pull")

ML45_TEST: tuple[str, ...] = ("bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock")
ML45_TRAIN: tuple[str, ...] = tuple(name for name in ENVIRONMENTS if name not in ML45_TEST)

MT10: tuple[str, ...] = (
    "reach",
    "push",
    "pick-place",
    "door-open",
    "drawer-open",
    "drawer-close",
    "button-press-topdown",
    "peg-insert-side",
    "window-open",
    "window-close",
)

# Their objects always start at one place, so the first observation shows nothing of the task.
SAME_START: tuple[str, ...] = (
    "assembly",
    "pick-out-of-hole",
    "plate-slide",
    "plate-slide-side",
    "plate-slide-back",
    "plate-slide-back-side",
)


def number_of(name: str) -> int:
    """Return the place of environment `name` in `ENVIRONMENTS`."""
    return ENVIRONMENTS.index(name)


# Written anew as functions of arrays, and stepped in parallel (`mql.tasks.families.meta_world.stepped`).
STEPPED: tuple[str, ...] = ("reach", "push", "pick-place", "door-open", "door-close", "drawer-open", "drawer-close")
