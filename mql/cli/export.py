"""`mql export`: the policy of a run, or an adapted one, for a robot's computer."""

from __future__ import annotations

from pathlib import Path

from mql.api.adapted import Adapted, is_adapted
from mql.api.run import open_run
from mql.cli.results import tell
from mql.cli.tables import print_json
from mql.errors import UserError


def export(path: Path, *, out: Path, checkpoint: int | None, trust: bool, as_json: bool) -> None:
    """Do what `mql export` does; the arguments are the command's."""
    if not is_adapted(path):
        card = open_run(path, trust=trust).export(out, checkpoint=checkpoint)
    elif checkpoint is not None:
        mend = "leave that out, or give the run"
        raise UserError("an adapted agent has no checkpoints, for --checkpoint", where=str(path), mend=mend)
    else:
        card = Adapted.load(path, trust=trust).export(out)
    if as_json:
        print_json(card)
        return
    shown = {
        "policy.onnx": f"one control step of {card['control_timestep']:g} s; its actions differ from the agent's by at "
        f"most {card['checked']['largest_difference']:.1g} in {card['checked']['steps']} steps",
        "reward": card["reward"]["text"],
        "next": f"read {out / 'README.md'}, copy the folder, and start from example.py",
    }
    for name, text in shown.items():
        tell(f"{name}: {text}")
    tell(f"written: {out}")
