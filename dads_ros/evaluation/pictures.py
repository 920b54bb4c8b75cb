"""Pictures of what was measured: the fan of skills, and ways to goals.

Robots on a plane are seen from above; those on a line as position over time. Shapes: N tracks,
T steps.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.evaluation.skills import SkillMetrics
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]
_INK, _GREY, _FAINT = "#24292f", "#57606a", "#d0d7de"
_LINE_HUES = 2.2  # radians of the colour wheel from the middle to either end of a line
_STYLE = {"font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK}


def save_fan(path: Path, spec: RobotSpec, skills: SkillMetrics) -> None:
    """Write the tracks of the skills, each from the origin, as PNG."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 5.9), layout="constrained")
        _draw_fan(figure.subplots(), spec, skills)
        _save(figure, path, "png")


def save_picture(path: Path, spec: RobotSpec, skills: SkillMetrics, goals: GoalMetrics) -> None:
    """Write the fan of skills on the left, ways to goals on the right; the suffix says how."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(11.0, 5.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_fan(left, spec, skills)
        _draw_ways(right, spec, goals)
        _save(figure, path)


def _save(figure: Figure, path: Path, file_format: str | None = None) -> None:
    figure.savefig(
        path, format=file_format, dpi=160, facecolor="white", bbox_inches="tight", pad_inches=0.2
    )


def _draw_fan(axes: Axes, spec: RobotSpec, skills: SkillMetrics) -> None:
    tracks = skills.tracks - skills.tracks[:, :1]
    colors = _colors(spec, skills.displacement)
    _draw_tracks(axes, spec, tracks, colors, width=1.1)
    _title(
        axes,
        f"{len(tracks)} skills, found without any reward",
        f"{spec.name}: {(tracks.shape[1] - 1) * spec.control_dt:g} s each, coloured by direction",
    )
    _frame(axes, spec, tracks)


def _draw_ways(axes: Axes, spec: RobotSpec, goals: GoalMetrics) -> None:
    """Rings of 0.5 m around the goals; crossed where the robot does not stand in it."""
    reached, colors = goals.reached(0.5), _colors(spec, goals.goals)
    _draw_tracks(axes, spec, goals.tracks, colors, width=1.5)
    points = goals.goals
    if spec.ground_axes.all():
        for goal, color in zip(points, colors, strict=True):
            axes.add_patch(Circle(tuple(goal), 0.5, fill=False, color=color, linewidth=1.4))
    else:
        end_s = (goals.tracks.shape[1] - 1) * spec.control_dt
        points = np.stack([np.full(len(points), end_s), goals.goals @ spec.ground_axes], axis=1)
        axes.scatter(*points.T, s=60.0, facecolors="none", edgecolors=colors, linewidths=1.4)
    axes.scatter(*points[~reached].T, marker="x", s=30.0, color=_INK, linewidths=1.2, zorder=5)
    _title(
        axes,
        "planned over to goals never seen in training",
        f"{reached.sum()} of {len(reached)} goals reached within 0.5 m, no further training",
    )
    _frame(axes, spec, np.append(goals.tracks, goals.goals))


def _hues(angle: Array) -> Array:
    """Colours of equal lightness around the OKLCH colour wheel. Shapes (N,) -> (N, 3), RGB."""
    lightness, chroma = 0.70, 0.145
    a, b = chroma * np.cos(angle), chroma * np.sin(angle)
    root = [
        lightness + 0.3963377774 * a + 0.2158037573 * b,
        lightness - 0.1055613458 * a - 0.0638541728 * b,
        lightness - 0.0894841775 * a - 1.2914855480 * b,
    ]
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(np.stack(root, axis=-1) ** 3 @ to_rgb.T, 0.0, 1.0)
    gamma = 1.055 * linear ** (1.0 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, gamma)


def _colors(spec: RobotSpec, vectors: Array) -> Array:
    """By direction on a plane, by how far on a line. Shapes (N, 2) -> (N, 3), RGB."""
    if spec.ground_axes.all():
        return _hues(np.arctan2(vectors[:, 1], vectors[:, 0]))
    along = vectors @ spec.ground_axes
    return _hues(_LINE_HUES * along / max(float(np.abs(along).max()), 1e-9))


def _draw_tracks(axes: Axes, spec: RobotSpec, tracks: Array, colors: Array, width: float) -> None:
    if not spec.ground_axes.all():
        time = np.arange(tracks.shape[1]) * spec.control_dt
        along = tracks @ spec.ground_axes
        tracks = np.stack(np.broadcast_arrays(time, along), axis=-1)
    axes.add_collection(LineCollection(list(tracks), colors=colors, linewidths=width, alpha=0.85))
    axes.scatter(*tracks[:, -1].T, s=9.0 * width, color=colors, zorder=3, linewidths=0)
    axes.scatter(0.0, 0.0, s=28.0, color=_INK, zorder=4, linewidths=0)


def _frame(axes: Axes, spec: RobotSpec, points: Array) -> None:
    """On a plane equal axes over rings of round distances, on a line metres over seconds."""
    if not spec.ground_axes.all():
        axes.autoscale_view()
        axes.set(xlabel="time, s", ylabel="x, m" if spec.ground_axes[0] else "y, m")
        axes.grid(color=_FAINT, linewidth=0.7)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0.0, colors=_GREY)
        return
    limit = 1.06 * max(float(np.abs(points).max()), 1e-3)
    spacing = 10.0 ** np.floor(np.log10(limit))
    spacing *= next(
        factor for factor in (0.25, 0.5, 1.0, 2.5, 5.0) if limit / spacing <= 4 * factor
    )
    for radius in np.arange(spacing, limit, spacing):
        axes.add_patch(
            Circle((0.0, 0.0), radius, fill=False, color=_FAINT, linewidth=0.7, zorder=0)
        )
        axes.annotate(
            f"{radius:g} m",
            (0.0, -radius),
            color="#8c959f",
            fontsize=8,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            zorder=0.5,
        )
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.axis("off")


def _title(axes: Axes, title: str, caption: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", pad=22.0)
    axes.text(0.0, 1.02, caption, transform=axes.transAxes, color=_GREY, fontsize=9)
