"""`mql bench controller`: the controller of an exported policy on one core, in a process that has no PyTorch.

The agent is that of HalfCheetah's packaged experiments, a GRU; the process loads numpy and onnxruntime alone, as a
robot's computer does. Times are of `Controller.act` with all its checks: back to back, and at a control rate, where the
processor has slept or done something else in between. ``cpu_`` is the process's own time, without what others take.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mql.agent.agent import Agent
from mql.bench.subjects import CHEETAH_ACTION, CHEETAH_CONTEXT_DIM, CHEETAH_OBS, agent_config
from mql.bench.timing import Results, announce
from mql.deploy.card import About, card_of
from mql.deploy.comparison import compare
from mql.deploy.controller import CARD, MODEL
from mql.deploy.graph import to_graph
from mql.errors import UserError
from mql.files import sha256, to_json
from mql.tasks import registry

FAMILY = "cheetah-vel-narrow"

_PROCESS = """
import json, resource, sys, time
import numpy as np
from controller import Controller

steps, waited, rounds, seconds = *map(int, sys.argv[1:4]), float(sys.argv[4])
obs = np.random.default_rng(0).standard_normal((max(steps, waited), OBS)).astype(np.float32)
controllers = {name: Controller(".", deadline=1e9) for name in ("back_to_back", "at_control_rate")}
wall, own = {name: [] for name in controllers}, {name: [] for name in controllers}
for name, count, wait in (("back_to_back", steps, 0.0), ("at_control_rate", waited, seconds)):
    act = controllers[name].act
    for step in range(100):
        act(obs[0], 0.1)
    for _ in range(rounds):
        times, busy = np.zeros(count), np.zeros(count)
        for step in range(count):
            if wait:
                time.sleep(wait)
            begin, begun = time.perf_counter(), time.thread_time()
            act(obs[step], 0.1)
            times[step], busy[step] = time.perf_counter() - begin, time.thread_time() - begun
        wall[name].append(np.percentile(times, [50, 99]))
        own[name].append(np.percentile(busy, [50, 99]))
found = {}
for name in controllers:
    for kind, values in (("", wall), ("cpu_", own)):
        p50, p99 = 1e6 * np.median(values[name], axis=0)
        found.setdefault(name, {}).update({f"{kind}p50_us": float(p50), f"{kind}p99_us": float(p99)})
try:
    with open("/proc/self/status") as file:
        found["memory_mb"] = int(next(line for line in file if line.startswith("VmHWM")).split()[1]) / 1e3
except OSError:
    found["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
found["loaded_torch"] = "torch" in sys.modules
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Sizes:
    """Calls that are timed in a round, and seconds between those that are not back to back."""

    steps: int = 4_000
    waited: int = 200
    rounds: int = 5
    seconds: float = 0.005
    hidden_sizes: tuple[int, ...] | None = None


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time the controller, and take the most memory that its process had.

    Raises:
        UserError: a package is missing.
    """
    del threads  # a control loop has one
    changes = {} if sizes.hidden_sizes is None else {"hidden_sizes": sizes.hidden_sizes}
    agent = Agent(CHEETAH_OBS, CHEETAH_ACTION, agent_config("fast", context_dim=CHEETAH_CONTEXT_DIM, **changes), seed=0)
    graph = to_graph(agent)
    card = card_of(agent, registry.load(FAMILY), graph, About(), checked=compare(agent, graph))
    card["files"] = {MODEL: {"sha256": sha256(graph.model)}}
    announce(
        f"controller: {sizes.rounds} rounds of {sizes.steps} steps, and of {sizes.waited} every {sizes.seconds:g} s"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / MODEL).write_bytes(graph.model)
        (place / CARD).write_bytes(to_json(card))
        (place / "controller.py").write_bytes(Path(sys.modules[_CONTROLLER].__file__ or "").read_bytes())
        code = _PROCESS.replace("OBS", str(CHEETAH_OBS))
        numbers = [str(number) for number in (sizes.steps, sizes.waited, sizes.rounds, sizes.seconds)]
        command = [sys.executable, "-c", code, *numbers]
        process = subprocess.run(command, capture_output=True, text=True, cwd=place, check=False)
    if process.returncode:
        raise UserError(f"the controller's process failed: {process.stderr.strip().splitlines()[-1]}", mend="see above")
    results: Results = json.loads(process.stdout)
    if results.pop("loaded_torch"):
        raise RuntimeError("the controller's process has loaded PyTorch")
    return results


_CONTROLLER = "mql.deploy.controller"
