"""Runs of a study on the nodes of a Ray cluster: each is the process that it is here, started by an actor there.

The study's folder must be one that all nodes share: runs, their checkpoints and their logs are written into it from
where they are. A node that is lost costs a run what it has learned since its last checkpoint: it goes on elsewhere.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from mql.collecting.cluster.connection import connect
from mql.collecting.cluster.relay import NodeFacts, Sent, node_facts
from mql.collecting.cluster.sameness import check_same
from mql.config.schema import Config
from mql.errors import UserError, told
from mql.files import user_errors
from mql.study.cells import Cell
from mql.study.one_run import SAVING_SECONDS
from mql.study.processes import close_input, start_process
from mql.tasks.definitions.model import as_travelling
from mql.tasks.travelling import unpack


def cores_of(config: Config) -> int:
    """Return how many cores a run takes on its node."""
    return max(config.threads, config.workers if config.collect.engine == "local" else 1)


class ClusterLauncher:
    """Starts runs on a cluster.

    Args:
        address: of the cluster, as of ``collect.address``.
        folder: of the study, which all nodes must share.

    Raises:
        UserError: the cluster can't be reached, or the folder can't be written.
    """

    def __init__(self, address: str, folder: Path) -> None:
        connect(address)
        self.cores = int(ray.cluster_resources().get("CPU", 0.0))
        self._token, self._text = folder / f".shared-{secrets.token_hex(8)}", secrets.token_hex(16)
        with user_errors(self._token):
            self._token.write_text(self._text, encoding="ascii")

    def __call__(self, cell: Cell, wanted: Mapping[str, Any], log: Path) -> RemoteProcess:
        """Have the process of a run started on some node with room for it."""
        files = None
        if cell.definition is not None:
            path, digest = cell.definition
            files = Sent(digest.encode(), ray.put(as_travelling(str(path), digest).read()))
        actor = ray.remote(Runner).options(
            num_cpus=cores_of(cell.config),
            num_gpus=1 if cell.config.device == "cuda" else 0,
            scheduling_strategy="SPREAD",
            max_restarts=0,
        )
        return RemoteProcess(actor.remote(), dict(wanted), log, cell.config.threads, (self._token, self._text), files)

    def close(self) -> None:
        """Remove what was written into the study's folder."""
        self._token.unlink(missing_ok=True)


@dataclass(frozen=True)
class Begun:
    """What a runner says when it has started its process; `shares`: its node sees the study's folder."""

    facts: NodeFacts
    shares: bool


class Runner:
    """An actor that owns the process of one run."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self, wanted: dict[str, Any], log: Path, threads: int, token: tuple[Path, str], files: Sent | None
    ) -> Begun:
        """Start the process, unless this node does not share the study's folder."""
        path, text = token
        shares = path.is_file() and path.read_text(encoding="ascii") == text
        if shares:
            if files is not None:
                there = unpack(files.digest.decode(), files.read())
                wanted["definition"] = [str(there / Path(wanted["definition"][0]).name), wanted["definition"][1]]
            self._process = start_process(wanted, log, threads)
        return Begun(node_facts(), shares)

    def poll(self) -> int | None:
        """Return the process's exit status; None: it is at work."""
        return None if self._process is None else self._process.poll()

    def terminate(self) -> None:
        """Ask the process to save and end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            close_input(self._process)


class RemoteProcess:
    """A run's process on some node, with the interface of `mql.study.processes.Process`."""

    def __init__(
        self,
        runner: Any,
        wanted: dict[str, Any],
        log: Path,
        threads: int,
        token: tuple[Path, str],
        files: Sent | None,
    ) -> None:
        self._runner = runner
        self._node = "its node"
        self._folder = token[0].parent
        self._asked = runner.start.remote(wanted, log, threads, token, files)
        self.returncode: int | None = None
        self.lost: str | None = None

    def poll(self) -> int | None:
        """Return the exit status; None: it is at work, or waits for a node with room, or is lost.

        Raises:
            UserError: its node does not share the study's folder, or has other versions than this machine.
        """
        if self.returncode is not None or self.lost is not None or not ray.wait([self._asked], timeout=0.0)[0]:
            return self.returncode
        try:
            answer = ray.get(self._asked)
            if isinstance(answer, Begun):
                self._check(answer)
                answer = None
            self.returncode = answer
            self._asked = self._runner.poll.remote()
        except RayActorError as error:
            self.lost = f"{self._node} was lost ({told(error, whole=False)})"
        except RayError as error:
            raise UserError(
                f"a run could not start on a node ({told(error, whole=False)})",
                where="--cluster",
                mend="install the same commit of mql on every node (docs/cluster.md)",
            ) from error
        return self.returncode

    def terminate(self) -> None:
        """Ask it to save and end."""
        with suppress(RayError):
            self._runner.terminate.remote()

    def kill(self) -> None:
        """End it at once, and wait until it has."""
        with suppress(RayError):
            ray.wait([self._runner.kill.remote()], timeout=SAVING_SECONDS / 6.0)
        self.returncode = -9 if self.returncode is None else self.returncode

    def close(self) -> None:
        """Give its place back."""
        with suppress(RayError):
            ray.kill(self._runner)

    def _check(self, begun: Begun) -> None:
        if not begun.shares:
            what = f"node {begun.facts.node} does not see the study's folder"
            mend = "give --dir a folder of a file system that all nodes share (NFS, say)"
            raise UserError(what, where=str(self._folder), mend=mend)
        check_same(begun.facts.node, begun.facts.versions)
        self._node = f"node {begun.facts.node}"
