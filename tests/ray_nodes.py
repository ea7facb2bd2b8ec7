"""A Ray cluster of two nodes on this machine, which the tests of several rooms share: it takes a while to start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
NODE = {"num_cpus": 8, "object_store_memory": 100 << 20, "include_dashboard": False}


class Two:
    """Two nodes, the address of the first one, and the second, which can be lost."""

    def __init__(self) -> None:
        os.environ |= QUIET  # nodes inherit it
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args=NODE)
        self.second: Any = self.cluster.add_node(**NODE)
        self.address: str = self.cluster.address

    def lose(self) -> None:
        """Kill the second node, with all that it does."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def find(self) -> None:
        """Have a second node again."""
        self.second = self.cluster.add_node(**NODE)


@contextmanager
def two_nodes() -> Iterator[Two]:
    """Start them, connect this program to them, and end them."""
    from mql.collecting.cluster.connection import connect, disconnect

    made = Two()
    try:
        connect(made.address)
        yield made
    finally:
        disconnect()
        made.cluster.shutdown()
