"""Environments that do everything that they must not do, by name: what the tests of faults attack with."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from mql.tasks.distributions import Choice
from mql.tasks.family import Split
from mql.tasks.wrapped.any_environment import from_gymnasium
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

STEPS = 6  # of an episode
WRONG_AT = 3  # the step at which something goes wrong


class Unspeakable(Exception):
    """Its text can't be read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Unsendable(Exception):
    """It can't be pickled."""

    def __init__(self) -> None:
        super().__init__("unsendable")
        self.lock = threading.Lock()


class EndOfWorld(BaseException):
    """No `Exception`."""


class Raises:
    """A value that raises whatever it is asked."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no array")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")

    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no parts")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class OddInfo(Mapping[str, Any]):
    """A mapping that raises."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no entries")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __contains__(self, key: object) -> bool:
        raise RuntimeError("no keys")


def throw(error: BaseException) -> Any:
    raise error


def deep(depth: int = 0) -> int:
    return deep(depth + 1) + 1


def junk_into_sockets() -> None:
    """Write bytes that nobody asked for into every socket that this process has."""
    for descriptor in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(descriptor)) as found:
                found.sendall(b"\x00\x00\x00\x08junkjunkmore")
        except OSError:
            continue


def half_a_message() -> None:
    """Announce a message, send half of it, and be silent."""
    for descriptor in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(descriptor)) as found:
                found.sendall(b"\x00\x00\x40\x00half")
        except OSError:
            continue
    time.sleep(3600)


def close_sockets_and_stay() -> None:
    os.closerange(3, 256)
    time.sleep(3600)


def leave_a_child_with_the_socket() -> None:
    """Die, and leave a child that holds everything open."""
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(3)


def no_more_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.open("/dev/null", os.O_RDONLY)


def end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)
    time.sleep(3600)


def busy() -> None:
    while True:
        pass


Answer = tuple[Any, ...]
# What a step does: (environment, its proper answer) -> what it answers.
IN_A_STEP: dict[str, Callable[[Any, Answer], Any]] = {
    # exceptions
    "raises": lambda e, a: throw(ValueError("the gearbox is jammed")),
    "raises what has no text": lambda e, a: throw(Unspeakable()),
    "raises what can't be pickled": lambda e, a: throw(Unsendable()),
    "raises with megabytes of text": lambda e, a: throw(ValueError("x" * 5_000_000)),
    "raises with a surrogate and escapes": lambda e, a: throw(ValueError("\udc80\x1b[2J\x00\n\nline")),
    "raises SystemExit": lambda e, a: throw(SystemExit(0)),
    "calls exit with a text": lambda e, a: sys.exit("no licence"),
    "raises KeyboardInterrupt": lambda e, a: throw(KeyboardInterrupt()),
    "raises GeneratorExit": lambda e, a: throw(GeneratorExit()),
    "raises a BaseException": lambda e, a: throw(EndOfWorld("over")),
    "raises StopIteration": lambda e, a: throw(StopIteration()),
    "raises an exception group": lambda e, a: throw(BaseExceptionGroup("two", [EndOfWorld("a"), ValueError("b")])),
    "raises MemoryError": lambda e, a: throw(MemoryError()),
    "raises a warning": lambda e, a: throw(UserWarning("careful")),
    "recurses for ever": lambda e, a: deep(),
    # shapes of the answer
    "answers None": lambda e, a: None,
    "answers with four values": lambda e, a: (a[0], a[1], False, a[4]),
    "answers with six values": lambda e, a: (*a, 1),
    "answers with a generator": lambda e, a: (part for part in a),
    "answers with a text": lambda e, a: "abcde",
    "answers with a dict": lambda e, a: {"obs": a[0]},
    "answers with what raises": lambda e, a: Raises(),
    # observations
    "sees NaN": lambda e, a: (np.array([np.nan, 0.0]), *a[1:]),
    "sees infinity": lambda e, a: (np.array([np.inf, 0.0]), *a[1:]),
    "sees more than float32 holds": lambda e, a: (np.array([1e300, 0.0]), *a[1:]),
    "sees None": lambda e, a: (None, *a[1:]),
    "sees a text": lambda e, a: ("high", *a[1:]),
    "sees three numbers": lambda e, a: (np.zeros(3), *a[1:]),
    "sees nothing": lambda e, a: (np.zeros(0), *a[1:]),
    "sees ragged rows": lambda e, a: ([[1.0], [1.0, 2.0]], *a[1:]),
    "sees complex numbers": lambda e, a: (np.array([1.0 + 1.0j, 0.0]), *a[1:]),
    "sees objects": lambda e, a: (np.array([object(), object()]), *a[1:]),
    "sees a dict": lambda e, a: ({"place": 1.0}, *a[1:]),
    "sees what raises": lambda e, a: (Raises(), *a[1:]),
    "sees ten million numbers": lambda e, a: (np.zeros(10_000_000), *a[1:]),
    "sees a masked number": lambda e, a: (np.ma.masked_array([1.0, np.nan], mask=[False, True]), *a[1:]),
    "sees a date": lambda e, a: (np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"), *a[1:]),
    # rewards
    "gives NaN": lambda e, a: (a[0], float("nan"), *a[2:]),
    "gives infinity": lambda e, a: (a[0], -np.inf, *a[2:]),
    "gives more than float32 holds": lambda e, a: (a[0], 1e39, *a[2:]),
    "gives a whole number of 400 digits": lambda e, a: (a[0], 10**400, *a[2:]),
    "gives None": lambda e, a: (a[0], None, *a[2:]),
    "gives a text": lambda e, a: (a[0], "1.0", *a[2:]),
    "gives two numbers": lambda e, a: (a[0], np.zeros(2), *a[2:]),
    "gives a complex number": lambda e, a: (a[0], 1j, *a[2:]),
    "gives what raises": lambda e, a: (a[0], Raises(), *a[2:]),
    # flags
    "terminates with None": lambda e, a: (a[0], a[1], None, *a[3:]),
    "terminates with two flags": lambda e, a: (a[0], a[1], np.array([True, False]), *a[3:]),
    "terminates with a text": lambda e, a: (a[0], a[1], "False", *a[3:]),
    "terminates with NaN": lambda e, a: (a[0], a[1], float("nan"), *a[3:]),
    "terminates with 2": lambda e, a: (a[0], a[1], 2, *a[3:]),
    "truncates with a dict": lambda e, a: (*a[:3], {}, a[4]),
    "truncates with what raises": lambda e, a: (*a[:3], Raises(), a[4]),
    # info
    "tells None": lambda e, a: (*a[:4], None),
    "tells a list": lambda e, a: (*a[:4], []),
    "tells nothing of what is reported": lambda e, a: (*a[:4], {}),
    "tells odd keys only": lambda e, a: (*a[:4], {Raises(): 1, 3: 4}),
    "tells megabytes of keys": lambda e, a: (*a[:4], {"k" * 100 + str(i): 0 for i in range(20_000)}),
    "tells what raises": lambda e, a: (*a[:4], OddInfo()),
    "tells a text for a number": lambda e, a: (*a[:4], {**a[4], "place": "here"}),
    "tells NaN": lambda e, a: (*a[:4], {**a[4], "place": float("nan")}),
    "tells a number of 400 digits": lambda e, a: (*a[:4], {**a[4], "place": 10**400}),
    "tells success as a text": lambda e, a: (*a[:4], {**a[4], "is_success": "yes"}),
    "tells success as NaN": lambda e, a: (*a[:4], {**a[4], "is_success": np.nan}),
    "tells success by what raises": lambda e, a: (*a[:4], {**a[4], "is_success": Raises()}),
    # the process
    "ends the process": lambda e, a: os._exit(7),
    "ends the process as if all were well": lambda e, a: os._exit(0),
    "is shot": lambda e, a: end_by(signal.SIGKILL),
    "is ended by SIGSEGV": lambda e, a: end_by(signal.SIGSEGV),
    "aborts": lambda e, a: os.abort(),
    "is stopped": lambda e, a: os.kill(os.getpid(), signal.SIGSTOP),
    "sleeps": lambda e, a: time.sleep(3600),
    "is busy for ever": lambda e, a: busy(),
    "closes its sockets and stays": lambda e, a: close_sockets_and_stay(),
    "closes its sockets and goes on": lambda e, a: os.closerange(3, 256) or a,
    "writes junk into its sockets": lambda e, a: junk_into_sockets() or a,
    "writes half a message": lambda e, a: half_a_message(),
    "dies and leaves a child with its socket": lambda e, a: leave_a_child_with_the_socket(),
    "has no file descriptors left": lambda e, a: no_more_files(),
}
# What a step does that is no fault of its episode.
NO_FAULT: dict[str, Callable[[Any, Answer], Any]] = {
    "prints megabytes": lambda e, a: print("noise " * 200_000) or a,
    "writes to descriptor 1": lambda e, a: os.write(1, b"noise\n") and a,
    "closes standard output and error": lambda e, a: (os.close(1), os.close(2), a)[2],
    "warns": lambda e, a: warnings.warn("careful", stacklevel=1) or a,
    "leaves a thread": lambda e, a: threading.Thread(target=time.sleep, args=(3600,), daemon=True).start() or a,
    "leaves a thread that holds the process": lambda e, a: (
        threading.Thread(target=time.sleep, args=(3600,)).start() or a
    ),
    "answers with a list": lambda e, a: list(a),
    "gives arrays of one": lambda e, a: (a[0], np.array([a[1]]), np.array([False]), np.array(0), a[4]),
    "sees whole numbers": lambda e, a: ([1, 2], *a[1:]),
    "changes the folder": lambda e, a: os.chdir("/") or a,
    "handles signals itself": lambda e, a: signal.signal(signal.SIGTERM, lambda *_: None) and a,
    "draws from global generators": lambda e, a: np.random.seed(0) or a,
    "makes warnings errors": lambda e, a: warnings.simplefilter("error") or a,
    "makes numpy raise": lambda e, a: np.seterr(all="raise") and a,
    "changes the answer later": lambda e, a: e.shared(a),
}
IN_A_RESET: dict[str, Callable[[Any, Answer], Any]] = {
    "reset raises": lambda e, a: throw(ValueError("no start")),
    "reset raises what has no text": lambda e, a: throw(Unspeakable()),
    "reset raises SystemExit": lambda e, a: throw(SystemExit(3)),
    "reset raises KeyboardInterrupt": lambda e, a: throw(KeyboardInterrupt()),
    "reset answers None": lambda e, a: None,
    "reset answers as before 2022": lambda e, a: a[0],
    "reset answers with three values": lambda e, a: (*a, 1),
    "reset answers with a pair of numbers": lambda e, a: np.zeros(2),
    "reset sees NaN": lambda e, a: (np.full(2, np.nan), {}),
    "reset sees None": lambda e, a: (None, {}),
    "reset tells None": lambda e, a: (a[0], None),
    "reset changes the observation space": lambda e, a: e.grow(),
    "reset changes the observation space to texts": lambda e, a: e.turn_to(gymnasium.spaces.Text(5), "abc"),
    "reset loses the observation space": lambda e, a: e.turn_to(None, None),
    "reset sleeps": lambda e, a: time.sleep(3600),
    "reset ends the process": lambda e, a: os._exit(5),
}
FINE = "is fine"
KINDS = (FINE, *IN_A_STEP, *NO_FAULT, *IN_A_RESET)


class Hostile(gymnasium.Env[Any, Any]):
    """A point on a line that does what its task says, at step `WRONG_AT` or in its reset."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, kind: str = FINE, render_mode: str | None = None) -> None:
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float64)
        self.kind, self.render_mode = kind, render_mode
        self.place, self.steps = 0.0, 0
        self.row = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.steps = float(self.np_random.uniform(-1.0, 1.0)), 0
        answer = np.array([self.place, 0.0]), {}
        return IN_A_RESET[self.kind](self, answer) if self.kind in IN_A_RESET else answer

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.place += 0.1 * float(action[0])
        info = {"place": self.place, "is_success": abs(self.place) < 0.1}
        answer = np.array([self.place, self.steps / 10.0]), -abs(self.place), False, False, info
        act = {**IN_A_STEP, **NO_FAULT}.get(self.kind)
        return act(self, answer) if act and self.steps == WRONG_AT else answer

    def grow(self) -> Any:
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (5,), np.float64)
        return np.zeros(5), {}

    def turn_to(self, space: Any, seen: Any) -> Any:
        self.observation_space = space
        return seen, {}

    def shared(self, answer: Answer) -> Answer:
        self.row[:] = answer[0]
        threading.Timer(0.01, self.row.fill, (np.nan,)).start()
        return (self.row, *answer[1:])


def be_of_kind(environment: Any, values: Mapping[str, Any]) -> None:
    environment.unwrapped.kind = KINDS[int(values["kind"])]


def hostile_family(
    *kinds: str,
    timeout: float = 60.0,
    make_env: Callable[..., gymnasium.Env[Any, Any]] = Hostile,
    test: str = FINE,
) -> GymnasiumFamily:
    """A family with one training task for each of `kinds`, and one test task."""
    listed = tuple({"kind": float(KINDS.index(kind))} for kind in kinds)
    return from_gymnasium(
        make_env,
        {"kind": Choice(tuple(range(len(KINDS))))},
        name="hostile",
        set_task=be_of_kind,
        splits={"train": Split(listed=listed), "test": Split(listed=({"kind": float(KINDS.index(test))},))},
        episode_length=STEPS,
        success_key="is_success",
        info_keys=("place",),
        episode_timeout=timeout,
        shared_splits=True,
    )


def child_processes() -> set[int]:
    """Return all descendants of this process, those of ended children of them left out."""
    parent = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found: set[int] = {os.getpid()}
    while more := {pid for pid, above in parent.items() if above in found} - found:
        found |= more
    return found - {os.getpid()}
