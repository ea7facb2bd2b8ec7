"""What memory is left, from files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mql.runs.available_memory import AvailableMemory, available_memory

MACHINE = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"
FREE = 8_000_000 * 1024
UNLIMITED_V1 = "9223372036854771712\n"


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MACHINE, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


def v2(group: str, limit: str, used: int, cache: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/{group}"
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cache}\nactive_file 7\n",
    }


def v1(group: str, limit: str, used: int, cache: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/memory/{group}"
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"cache 9\ninactive_file 1\ntotal_inactive_file {cache}\n",
    }


V1_GROUPS = "12:cpu,cpuacct:/\n5:memory:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),  # no limit at the root
        ({"proc/self/cgroup": "0::/\n", **v2("", "2000000000", 500_000_000, 100_000_000)}, 1_600_000_000),
        ({"proc/self/cgroup": "0::/a/b\n", **v2("a/b", "max", 10)}, None),
        ({"proc/self/cgroup": "0::/a/b\n", **v2("a/b", "max", 10), **v2("a", "3000", 1000)}, 2000),  # around it
        ({"proc/self/cgroup": "0::/a\n", **v2("a", "3000", 4000)}, 0),
        ({"proc/self/cgroup": V1_GROUPS, **v1("docker/abc", UNLIMITED_V1, 5)}, None),
        ({"proc/self/cgroup": V1_GROUPS, **v1("docker/abc", "7000", 5000, 1000), **v1("", UNLIMITED_V1, 5)}, 3000),
        ({"proc/self/cgroup": V1_GROUPS, **v1("", "7000", 5000)}, 2000),  # seen from within the container
        ({"proc/self/cgroup": "0::/\n", **v2("", str(10**12), 5)}, None),  # more than the machine has
    ],
)
def test_the_smallest_of_machine_and_containers(tmp_path: Path, files: dict[str, str], left: int | None) -> None:
    there = available_memory("cpu", root=system(tmp_path, files))
    if left is None:
        assert there == AvailableMemory(FREE, "on this machine")
    else:
        assert there == AvailableMemory(left, "in this container")


def test_without_linux_files_all_memory_counts(tmp_path: Path) -> None:
    assert available_memory("cpu", root=tmp_path).nbytes >= available_memory("cpu").nbytes > 0


def test_a_gpu_says_what_it_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (5, 80))
    assert available_memory("cuda") == AvailableMemory(5.0, "on this GPU")
