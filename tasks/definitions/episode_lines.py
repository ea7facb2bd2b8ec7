"""What a definition says of single episodes, in a line of text each: for `mql tasks show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mql.tasks.definitions.episode_schema import ROBOT, StartSpec
from mql.tasks.definitions.schema import Definition
from mql.tasks.physics.fields import Change


def episode_lines(definition: Definition) -> Iterator[str]:
    """Yield what episodes of one task differ in, and what changes within one."""
    if definition.start is not None:
        yield from _start(definition.start)
    for name, spec in definition.randomise.items():
        if name == ROBOT:
            yield "randomise robot: what its spec states"
        else:
            each = " each" if spec.each else ""
            yield f"randomise {name}: {_said(spec.value)}{each}, {_changes(spec.apply)}"
    for name, parameter in definition.parameters.items():
        if (schedule := parameter.schedule) is not None:
            before = "the model's own" if schedule.before is None else _said(schedule.before)
            over = f", over {schedule.ramp_s:g} s" if schedule.ramp_s else ""
            unit = "" if isinstance(schedule.at_s, str) else " s"
            yield f"schedule {name}: {before} until {_said(schedule.at_s)}{unit}{over}"


def _start(spec: StartSpec) -> Iterator[str]:
    if isinstance(spec.home_noise, float):
        yield f"start driven joints: +- {spec.home_noise:g} rad or m"
    elif spec.home_noise is not None:
        yield from (f"start joint {name}: +- {noise:g} rad or m" for name, noise in spec.home_noise.items())
    yield from (f"start joint {name}: {_said(value)}" for name, value in spec.joints.items())
    for name, body in spec.bodies.items():
        parts = [f"at {_said(body.pos)}"] if body.pos is not None else []
        if any(body.around):
            parts.append(f"around {_said(list(body.around))}")
        if body.yaw is not None:
            parts.append(f"yaw {_said(body.yaw)}")
        if body.turn is not None:
            parts.append("turned anyhow")
        yield f"start body {name}: {', '.join(parts)}"


def _changes(changes: tuple[Change, ...]) -> str:
    return ", ".join(" ".join([each.op, each.field, *each.target[1]]) for each in changes)


def _said(given: Any) -> str:
    if isinstance(given, Mapping):
        return " ".join([given["dist"], *(f"{key} {_said(value)}" for key, value in given.items() if key != "dist")])
    if isinstance(given, list | tuple):
        return f"[{', '.join(_said(each) for each in given)}]"
    return f"{given:g}" if isinstance(given, float) else str(given)
