"""The process in which models are tried out. It is run as a script, imports nothing of mql, and answers on its pipes.

A request is (text, files, bytes of memory, seconds), an answer ("fine" | "refused" | "memory" | "died", what was said).
What is said of a fine model is how many numbers a keyframe has: of qpos, qvel, act, ctrl, mpos and mquat.
On Linux each request gets a copy of the process (fork) with a limit of memory; elsewhere the process itself tries.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import struct
import sys
from typing import Any


def main() -> None:
    """Answer until the other end is closed."""
    sys.path[:] = json.loads(sys.argv[1])
    import mujoco

    mujoco.set_mju_user_warning(lambda text: None)  # else MuJoCo leaves a file MUJOCO_LOG.TXT behind
    while (request := receive(sys.stdin.fileno())) is not None:
        send(sys.stdout.fileno(), _forked(request) if sys.platform == "linux" else _tried(*request[:2]))


def _forked(request: tuple[str, dict[str, bytes], int, int]) -> tuple[str, str]:
    text, files, memory, seconds = request
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        import resource

        _limit_memory(memory)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(seconds)
        send(there, _tried(text, files))
        os._exit(0)
    os.close(there)
    answer = receive(here)
    os.close(here)
    _, status = os.waitpid(child, 0)
    if answer is not None:
        return answer  # type: ignore[no-any-return]
    if os.WIFSIGNALED(status):
        return "died", signal.Signals(os.WTERMSIG(status)).name
    return "died", f"exit status {os.waitstatus_to_exitcode(status)}"


def _tried(text: str, files: dict[str, bytes]) -> tuple[str, str]:
    import mujoco

    try:
        model = mujoco.MjModel.from_xml_string(text, files)
        mujoco.mj_forward(model, mujoco.MjData(model))
    except MemoryError:
        return "memory", ""
    except Exception as error:
        said = str(error)
        # What MuJoCo says where memory is not to be had; the exception that it does not know is std::bad_alloc.
        full = any(words in said.lower() for words in ("allocat", "bad_alloc", "unknown exception"))
        return "memory" if full else "refused", said
    return "fine", f"{model.nq} {model.nv} {model.na} {model.nu} {3 * model.nmocap} {4 * model.nmocap}"


def _limit_memory(more: int) -> None:
    """Let this process have `more` bytes than it has now."""
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def send(pipe: int, value: Any) -> None:
    """Write a value to a pipe."""
    data = pickle.dumps(value)
    left = memoryview(struct.pack("<Q", len(data)) + data)
    while left:
        left = left[os.write(pipe, left) :]


def receive(pipe: int) -> Any:
    """Return what comes, or None at the end."""
    head = _exactly(pipe, 8)
    if head is None:
        return None
    data = _exactly(pipe, struct.unpack("<Q", head)[0])
    return None if data is None else pickle.loads(data)


def _exactly(pipe: int, count: int) -> bytes | None:
    parts = []
    while count:
        part = os.read(pipe, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
