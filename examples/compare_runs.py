"""Draw the zero-shot returns of several runs over their env steps, one panel for each family.

    python examples/compare_runs.py -o curves.png plain=runs/a plain=runs/b standardised=runs/c

Runs of one label have one colour; each is a line: its evaluations while training, and the last one where that is on the
same tasks, too. A run is its directory, or any folder with its ``evaluations.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run's evaluations."""
    lines = (folder / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    # The last one is mostly on the test tasks, those before on validation tasks: two curves, not one.
    return [record for record in records if record["split"] == records[0]["split"]]


def draw(runs: Sequence[tuple[str, Path]], out: Path) -> None:
    """Draw the runs, (label, folder) each, into one PNG."""
    records = [(label, read(folder)) for label, folder in runs]
    families = list(dict.fromkeys(run[0]["family"] for _, run in records if run))
    labels = list(dict.fromkeys(label for label, _ in records))
    figure, panels = plt.subplots(1, len(families), figsize=(4 * len(families), 3.2), squeeze=False)
    for panel, family in zip(panels[0], families, strict=True):
        for number, label in enumerate(labels):
            own = [run for each, run in records if each == label and run and run[0]["family"] == family]
            for index, run in enumerate(own):
                steps = [record["env_steps"] for record in run]
                means = [record["summary"]["zero_shot"]["mean"] for record in run]
                panel.plot(steps, means, color=f"C{number}", marker="o", ms=3, label=label if index == 0 else None)
        panel.set_title(family)
        panel.set_xlabel("env steps")
        panel.grid(alpha=0.3)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")
    panels[0][0].set_ylabel("zero-shot return, mean over tasks")
    panels[0][-1].legend()
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="LABEL=DIR")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    pairs = []
    for text in given.runs:
        label, equals, folder = text.partition("=")
        if not equals or not (Path(folder) / "evaluations.jsonl").is_file():
            parser.error(f"{text!r} is not LABEL=DIR with an evaluations.jsonl in DIR")
        pairs.append((label, Path(folder)))
    draw(pairs, given.out)
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
