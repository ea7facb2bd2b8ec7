"""Runs an exported policy on a robot's computer: an observation in, an action out, and no surprises.

This file needs numpy and onnxruntime alone, and nothing else of the package that wrote it: a copy of it stands in every
exported folder. ``card.json`` there says what goes in and comes out::

    controller = Controller("exported", on_fault="stop", rate_limit=2.0)
    controller.reset()                            # an episode begins
    action = controller.act(obs)                  # at every control step, the first without a reward
    action = controller.act(obs, last_reward)     # the reward of the action before, where the policy needs one

Shapes: O observation, A action.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

FORMAT, FORMAT_VERSION = "mql.controller", 1
CARD, MODEL, SUMS = "card.json", "policy.onnx", "SHA256SUMS"
MODES = ("act", "shadow")

MOST_CARD_BYTES, MOST_MODEL_BYTES = 4_000_000, 500_000_000
MOST_NUMBERS = 1_000_000  # of an input or output
ROUNDING = 1e-3  # by which an action that was taken may be outside the card's limits
LATE = 1.5  # control steps after the last call: what comes later is a fault
KEPT = 10_000  # latencies, of which percentiles are taken

_PORTS = {"obs", "last_action", "last_reward", "first", "known", "state"}, {"action", "next_state"}
_ELSEWHERE = b"\x0a\x08location"  # how a tensor that lies in another file names it
_COPY = "copy the whole folder again"
_QUIET = 3  # onnxruntime then logs errors only

Row = npt.NDArray[np.float32]


class ControllerError(ValueError):
    """The folder can't be used, or an argument makes no sense: one line that says what is wrong and how to mend it."""


class Controller:
    """The exported policy of one robot.

    Whatever is wrong in a step (a number that is not finite, a wrong shape, a missing reward, a call that comes too
    late) is a fault: it raises nothing, but is counted, and `act` returns the action that `on_fault` asks for. What
    happened around it does not enter the policy's context.

    Args:
        folder: what `mql export` wrote. Checksums are compared before the model is loaded.
        mode: "act": the robot does what `act` returns. "shadow": somebody else drives, and says in every step what was
            done (`last_action`); `act` returns what it would do.
        on_fault: "hold": the last action again; "stop": 0 in every component, which stands still where actions are
            speeds, efforts or displacements; or the action to take. Before the first action "hold" is 0, too.
        rate_limit: how fast a component may change, per second; one number or one for each component. It holds for the
            actions of faults, too. The first action of an episode is free.
        limits: lowest and highest action, each one number or one for each component; None: those of the card.
        deadline: seconds after a call at which the next one is late; None: 1.5 control steps, math.inf: never.
        clock: seconds that only go forward.

    Raises:
        ControllerError: see there.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        mode: str = "act",
        on_fault: str | npt.ArrayLike = "hold",
        rate_limit: npt.ArrayLike | None = None,
        limits: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        deadline: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if mode not in MODES:
            _refuse(f"there is no mode {mode!r}", "mode", f"choose one of {', '.join(MODES)}")
        self.mode, self._clock = mode, clock
        self.card = read_card(folder)
        self.control_timestep = float(self.card["control_timestep"])
        self._session = _session(folder, self.card)
        self._feeds = {port["name"]: np.zeros(port["shape"], np.float32) for port in self.card["inputs"]}
        self.obs_dim, self.action_dim = self._feeds["obs"].shape[1], self.card["outputs"][0]["shape"][1]
        least, most = (_numbers(f"limits.{end}", self.card["limits"][end], self.action_dim) for end in ("low", "high"))
        ends = (least, most) if limits is None else limits
        if not isinstance(ends, list | tuple | np.ndarray) or len(ends) != 2:
            _refuse("it is no lowest and highest action", "limits", "give two: (lowest, highest)")
        low, high = (_numbers("limits", each, self.action_dim) for each in ends)
        self._least, self._most = least, most
        self._low, self._high = np.maximum(low, least), np.minimum(high, most)
        if not (self._low <= self._high).all():
            _refuse("the lowest action is above the highest", "limits", f"stay within {least[0]:g} and {most[0]:g}")
        self._step: Row | None = None
        if rate_limit is not None:
            self._step = _numbers("rate_limit", rate_limit, self.action_dim) * np.float32(self.control_timestep)
            if not (self._step > 0.0).all():
                _refuse("it is not above 0", "rate_limit", "give the largest change of an action per second")
        self._hold = isinstance(on_fault, str) and on_fault == "hold"
        if isinstance(on_fault, str) and on_fault not in ("hold", "stop"):
            _refuse(f"on_fault is {on_fault!r}", "on_fault", "give 'hold', 'stop' or an action")
        given = 0.0 if isinstance(on_fault, str) else on_fault
        self._safe = np.clip(_numbers("on_fault", given, self.action_dim), self._low, self._high)
        self._deadline = LATE * self.control_timestep if deadline is None else deadline
        if not isinstance(self._deadline, int | float | np.number) or not self._deadline > 0.0:
            _refuse(f"it is {self._deadline!r}", "deadline", "give seconds, more than 0")
        self.faults: dict[str, int] = {}
        self.last_fault: str | None = None
        self._latency, self._calls, self._busy, self._longest = np.zeros(KEPT), 0, 0.0, 0.0
        self._compared, self._apart, self._farthest = 0, 0.0, 0.0
        self.reset()

    @property
    def needs_reward(self) -> bool:
        """Whether every step but an episode's first needs the reward of the action before."""
        return "last_reward" in self._feeds

    def reset(self) -> None:
        """Begin an episode: what was seen before is forgotten. Counts and latencies go on."""
        self._begun = self._known = False
        self._last: Row | None = None  # the action before, as far as this controller knows
        self._called: float | None = None

    def act(
        self, obs: npt.ArrayLike, last_reward: float | None = None, *, last_action: npt.ArrayLike | None = None
    ) -> Row:
        """Return the action [A] for an observation [O].

        Args:
            obs: what is seen now, in the order and units of the card.
            last_reward: of the action before; not looked at in an episode's first step, after a fault (whose step the
                context leaves out), nor where `needs_reward` is false.
            last_action: the action [A] that was taken, where it was not the one that `act` returned; in shadow mode
                needed in every step but the first.
        """
        now = self._clock()
        problem = self._take(obs, last_reward, last_action, now)
        self._called = now
        if problem is None:
            action, *states = self._session.run(None, self._feeds)
            if np.isfinite(action).all() and all(np.isfinite(state).all() for state in states):
                if states:
                    self._feeds["state"] = states[0]
                self._begun = self._known = True
                self._last, self.last_fault = self._limited(action[0]), None
            else:
                problem = "output_not_finite", "the policy computed numbers that are not finite"
        if problem is not None:
            self._fail(*problem)
        assert self._last is not None
        self._note(self._clock() - now)
        return self._last.copy()

    def fault(self, kind: str, text: str) -> Row:
        """Count a fault that you found yourself (a sensor's message that is too old, say); return the action for it.

        Call it in place of `act`.
        """
        self._called = self._clock()
        return self._fail(kind, text).copy()

    def _fail(self, kind: str, text: str) -> Row:
        self.faults[kind] = self.faults.get(kind, 0) + 1
        self.last_fault, self._known = f"{kind}: {text}", False
        wanted = self._last if self._hold and self._last is not None else self._safe
        self._last = self._limited(wanted)
        return self._last

    def statistics(self) -> dict[str, Any]:
        """Return how long calls took (microseconds; percentiles of the last 10,000), and the faults by kind.

        In shadow mode also how far, over all components, its actions were from those that were taken.
        """
        kept = self._latency[: min(self._calls, KEPT)] if self._calls else np.zeros(1)
        p50, p99 = np.percentile(kept, [50, 99])
        found: dict[str, Any] = {
            "calls": self._calls,
            "mean_us": 1e6 * self._busy / max(self._calls, 1),
            "p50_us": 1e6 * float(p50),
            "p99_us": 1e6 * float(p99),
            "max_us": 1e6 * self._longest,
            "faults": dict(self.faults),
        }
        if self.mode == "shadow":
            mean = self._apart / max(self._compared, 1)
            found["difference"] = {"steps": self._compared, "mean": mean, "max": self._farthest}
        return found

    def _take(
        self, obs: npt.ArrayLike, last_reward: float | None, last_action: npt.ArrayLike | None, now: float
    ) -> tuple[str, str] | None:
        """Fill in what goes into the model; return the kind and text of what is wrong, or None."""
        feeds = self._feeds
        problem = _put("obs", obs, feeds["obs"])
        if last_action is not None:
            taken = np.zeros((1, self.action_dim), np.float32)
            wrong = _put("last_action", last_action, taken) or self._outside(taken[0])
            problem = problem or wrong
            if not wrong:
                self._compare(taken[0])
                self._last = taken[0]
        elif self.mode == "shadow" and self._called is not None:
            problem = problem or ("last_action_missing", "in shadow mode every step but the first needs last_action")
        going_on = self._begun and self._known
        if going_on and "last_reward" in feeds:  # after a fault the context skips a step, and its reward with it
            if last_reward is None:
                problem = problem or ("last_reward_missing", "the policy needs the reward of the action before")
            else:
                problem = problem or _put("last_reward", [last_reward], feeds["last_reward"])
        if self._called is not None and now - self._called > self._deadline:
            wait = f"{now - self._called:.4f} s after the last call, later than {self._deadline:.4f} s"
            problem = problem or ("late", wait)
        if problem is None and "state" in feeds:
            feeds["first"][0, 0], feeds["known"][0, 0] = not self._begun, going_on
            if going_on and "last_action" in feeds:
                feeds["last_action"][0] = self._last
        return problem

    def _outside(self, taken: Row) -> tuple[str, str] | None:
        """Return what is wrong with an action that the policy's actions can't be, such as one in other units."""
        within = (taken >= self._least - ROUNDING) & (taken <= self._most + ROUNDING)
        if within.all():
            return None
        place = int(np.argmin(within))
        limits = f"[{self._least[place]:g}, {self._most[place]:g}]"
        return "last_action_outside", f"last_action[{place}] is {taken[place]:g}, outside {limits}"

    def _limited(self, action: Row) -> Row:
        """Return an action within the limits, and as near to the last one as the rate allows."""
        if self._step is not None and self._last is not None:
            action = np.minimum(np.maximum(action, self._last - self._step), self._last + self._step)
        return np.minimum(np.maximum(action, self._low), self._high)

    def _compare(self, taken: Row) -> None:
        if self._last is not None:
            apart = np.abs(taken - self._last)
            self._compared += 1
            self._apart += float(apart.mean())
            self._farthest = max(self._farthest, float(apart.max()))

    def _note(self, seconds: float) -> None:
        self._latency[self._calls % KEPT] = seconds
        self._calls += 1
        self._busy += seconds
        self._longest = max(self._longest, seconds)


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return ``card.json`` of an exported folder, as far as a controller relies on it checked.

    Raises:
        ControllerError: it is missing, damaged or of another format.
    """
    where = os.path.join(folder, CARD)
    try:
        data = _bytes(where, MOST_CARD_BYTES)
        _check_sum(folder, data)
        text = data.decode()
        card = json.loads(text, object_pairs_hook=_unique, parse_constant=lambda name: _refuse_value(name))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ControllerError):
            raise
        _refuse(f"the card is not strict JSON ({str(error)[:80]})", where, "export the policy again")
    if not isinstance(card, dict) or card.get("format") != FORMAT or card.get("format_version") != FORMAT_VERSION:
        _refuse(f"it is no {FORMAT} of version {FORMAT_VERSION}", where, "use the controller.py that lies beside it")
    timestep, file = card.get("control_timestep"), _at(card, "files", MODEL)
    if not isinstance(timestep, int | float) or isinstance(timestep, bool) or not 0.0 < timestep < math.inf:
        _refuse("control_timestep is no time in seconds", where, "export the policy again")
    if not isinstance(_at(file, "sha256"), str):
        _refuse(f"there is no checksum of {MODEL}", where, "export the policy again")
    for key, known in zip(("inputs", "outputs"), _PORTS, strict=True):
        ports = card[key] if isinstance(card.get(key), list) else []
        names = [_at(port, "name") for port in ports]
        if not names or not all(isinstance(name, str) and name in known for name in names):
            _refuse(f"{key} are not those of a policy", where, "export the policy again")
        if len({*names}) < len(names) or names[0] not in ("obs", "action") or not all(map(_is_row, ports)):
            _refuse(f"the shapes of {key} make no sense", where, "export the policy again")
    sizes = {port["name"]: port["shape"][1] for port in (*card["inputs"], *card["outputs"])}
    recurrent = {"first", "known", "state", "next_state"}
    whole = recurrent <= {*sizes} or not recurrent & {*sizes}
    alike = (
        sizes.get("state") == sizes.get("next_state") and sizes.get("last_action", sizes["action"]) == sizes["action"]
    )
    ones = all(sizes.get(name, 1) == 1 for name in ("first", "known", "last_reward"))
    if not (whole and alike and ones and next(iter(sizes)) == "obs" and card["outputs"][0]["name"] == "action"):
        _refuse("inputs and outputs don't fit together", where, "export the policy again")
    for end in ("low", "high"):
        _numbers(f"limits.{end}", _at(card, "limits", end), sizes["action"])
    return card


def _check_sum(folder: str | os.PathLike[str], card: bytes) -> None:
    """Compare the card with the folder's list of checksums, where that was copied, too."""
    where = os.path.join(folder, SUMS)
    if os.path.exists(where):
        line = f"{hashlib.sha256(card).hexdigest()}  {CARD}".encode()
        if line not in _bytes(where, MOST_CARD_BYTES).splitlines():
            _refuse(f"the card is damaged: its checksum is not that of {SUMS}", os.path.join(folder, CARD), _COPY)


def _session(folder: str | os.PathLike[str], card: Mapping[str, Any]) -> Any:
    """Load the model on one thread, once its checksum is that of the card and it needs no other file."""
    where = os.path.join(folder, MODEL)
    model = _bytes(where, MOST_MODEL_BYTES)
    if hashlib.sha256(model).hexdigest() != card["files"][MODEL]["sha256"]:
        _refuse("the model is damaged: its checksum is not that of the card", where, _COPY)
    if _ELSEWHERE in model:
        _refuse("the model wants to read another file", where, "use the folder as mql export wrote it")
    try:
        import onnxruntime  # here, since the package that this file is a part of does without it
    except ModuleNotFoundError:
        _refuse("package onnxruntime is missing", "Controller", "install it with pip install onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _QUIET
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own types of errors are not public
        _refuse(f"the model can't be loaded ({' '.join(str(error).split())[:120]})", where, "export the policy again")
    for key, ports in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        found = [(port.name, list(port.shape), port.type) for port in ports]
        if found != [(port["name"], port["shape"], "tensor(float)") for port in card[key]]:
            _refuse(f"the model's {key} are not those of the card", where, "export the policy again")
    return session


def _bytes(path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        _refuse(f"it can't be read ({error.strerror})", path, "give a folder that mql export wrote")
    if len(data) > most:
        _refuse(f"the file has more than {most} bytes", path, "use the folder as mql export wrote it")
    return data


def _put(name: str, values: npt.ArrayLike, row: Row) -> tuple[str, str] | None:
    """Write numbers into `row` [1, n]; return what is wrong with them, or None."""
    try:
        with np.errstate(over="ignore"):
            read = np.asarray(values)
            if read.dtype.kind not in "fiubO":  # texts, dates and complex numbers would be made fit
                raise TypeError
            given = np.asarray(read, dtype=np.float32)
    except Exception:  # of what a driver returned, whatever it raises as it is read: the robot needs an action
        return f"{name}_shape", f"{name} is no row of numbers"
    if given.shape != row.shape[1:]:
        return f"{name}_shape", f"{name} has shape {given.shape}, not {row.shape[1:]}"
    if not np.isfinite(given).all():
        return f"{name}_not_finite", f"{name} holds numbers that are not finite"
    row[0] = given
    return None


def _numbers(name: str, given: object, size: int) -> Row:
    """Return one number, or one for each component, as [size]."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(given, dtype=np.float32)
        row = np.array(np.broadcast_to(array, (size,)))
    except (TypeError, ValueError):
        _refuse("it is no row of numbers", name, f"give one number, or {size}")
    if not np.isfinite(row).all():
        _refuse("it holds numbers that are not finite", name, f"give one number, or {size}")
    return row


def _at(value: object, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _is_row(port: Any) -> bool:
    shape = _at(port, "shape")
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(size) is int for size in shape)
    return whole and shape[0] == 1 and 1 <= shape[1] <= MOST_NUMBERS


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _refuse_value(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _refuse(what: str, where: str, mend: str) -> NoReturn:
    raise ControllerError(f"{what} ({where}): {mend}") from None
