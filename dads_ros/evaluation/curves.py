"""Curves of a training run, from the lines that it leaves in its folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from dads_ros.errors import ConfigError
from dads_ros.evaluation.pictures import (
    FAINT,
    GREY,
    INK,
    LINE_STYLES,
    grid,
    styled,
    title,
)

Array = NDArray[np.float64]
METRICS_FILE = "metrics.jsonl"
MAX_LINE = 2**16
"""Bytes of a line; ours have less than 2 kB."""
_FEW = 30
"""Points that are marked, so that the first one is seen."""
_PANELS: tuple[tuple[str, str, dict[str, str], float, tuple[float, ...]], ...] = (
    (
        "reward",
        "intrinsic, nats; 0 where skills cannot be told apart",
        {"reward": "reward"},
        1.0,
        (0.0,),
    ),
    (
        "reach",
        "distance from start to end of the skills, m",
        {"mean_displacement_m": "mean", "max_displacement_m": "longest"},
        1.0,
        (0.0,),
    ),
    (
        "coverage",
        "sectors of 30° in which skills end beyond 3 m, of 12",
        {"sectors_3m": "sectors"},
        1.0,
        (0.0, 12.0),
    ),
    (
        "falls",
        "part of the robots that fall in an evaluation, %",
        {
            "skill_fall_fraction": "one skill held",
            "switch_fall_fraction": "skills that change",
            "zero_skill_fall_fraction": "standing, pushed once",
        },
        100.0,
        (0.0,),
    ),
)
"""Title, caption, figures and their labels, factor on them, levels that are always in sight."""


def lines_of(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line that a run can have written, and what it says; its ``iteration`` is a number."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        while line := stream.readline(MAX_LINE):
            try:
                values = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):
                continue
            iteration = values.get("iteration") if isinstance(values, dict) else None
            if type(iteration) is int and line.endswith(b"\n"):
                yield line, values


def read_curves(path: Path) -> dict[str, Array]:
    """Every figure of a run: (control steps so far, value), in rows. Shape (2, M) each.

    Raises: ConfigError where nothing is in it yet.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for _, values in lines_of(path):
        for name, value in values.items():
            if isinstance(value, int | float):
                at = float(values.get("num_env_steps", values["iteration"]))
                points.setdefault(name, []).append((at, float(value)))
    if not points:
        raise ConfigError(f"'{path}' has no line of a training run yet; train for an iteration")
    return {name: np.array(pairs).T for name, pairs in points.items()}


@styled
def training_figure(curves: dict[str, Array]) -> Figure:
    """Reward, reach, coverage and falls over training.

    Args:
        curves: from ``read_curves``; those that are not there are left out.
    """
    figure = Figure(figsize=(11.0, 7.6), layout="constrained")
    axes: Axes
    panels = figure.subplots(2, 2, sharex=True).flat
    for axes, (name, caption, lines, factor, levels) in zip(panels, _PANELS, strict=True):
        for level in levels:
            axes.axhline(level, color=FAINT, linewidth=1.4)
        for (key, label), style, color in zip(
            lines.items(), LINE_STYLES, (INK, GREY, GREY), strict=False
        ):
            steps, values = curves.get(key, np.empty((2, 0)))
            marker = "o" if len(steps) <= _FEW else ""
            axes.plot(
                steps, factor * values, style, color=color, label=label, marker=marker, ms=3.5
            )
        title(axes, name, caption)
        grid(axes, "control steps", "")
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.label_outer()
        if len(lines) > 1:
            axes.legend(frameon=False)
    return figure
