"""A run that goes on: whether it will be, to the last bit, what it would have been without a break."""

from __future__ import annotations

from mql.config.schema import Config
from mql.runs.folder import read_environment
from mql.runs.machine import differences
from mql.runs.run_dir import RunDir


def how_it_goes_on(run: RunDir, config: Config) -> list[str]:
    """Say what is not as it was before, where a run goes on from a checkpoint with `config`; nothing where all is.

    Raises:
        UserError: the run's files can't be read.
    """
    others = differences(read_environment(run.path))
    if config.threads != run.config.threads:
        others.insert(0, f"threads {config.threads}, was {run.config.threads}")
    if not others or max(run.checkpoints(), default=0) == 0:
        return []
    return [f"warning: results will differ from those of a run without a break: {'; '.join(others)}"]
