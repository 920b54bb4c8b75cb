"""Pictures of what was measured: skills, ways to goals, predictions, falls.

Robots on a plane are seen from above; those on a line as position over time. A direction has its
colour, and nothing is told by colour alone. Shapes: N tracks, T steps.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from dads_ros import colours
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.evaluation.skills import SkillMetrics
from dads_ros.evaluation.statistics import fraction_interval
from dads_ros.files import atomic_write
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]
INK, GREY, FAINT = "#24292f", "#57606a", "#d0d7de"
LINE_STYLES = ("-", "--", ":")
_NUM_COMPARED = 10
"""Skills whose predicted and walked tracks are shown."""
_BESIDE_S = 2.0
"""Between the points that are marked on both."""
styled = matplotlib.rc_context(
    {"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": GREY}
)


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a PNG. Raises: StorageError."""
    with atomic_write(path) as temporary:
        figure.savefig(
            temporary,
            format="png",
            dpi=140,
            facecolor="white",
            bbox_inches="tight",
            pad_inches=0.2,
        )


@styled
def fan_figure(spec: RobotSpec, skills: SkillMetrics) -> Figure:
    """The tracks of the skills, each from the origin."""
    figure = Figure(figsize=(5.6, 5.9), layout="constrained")
    _draw_fan(figure.subplots(), spec, skills)
    return figure


@styled
def skills_figure(spec: RobotSpec, skills: SkillMetrics, goals: GoalMetrics) -> Figure:
    """The fan of skills on the left, ways to goals on the right."""
    figure, left, right = _side_by_side(5.9)
    _draw_fan(left, spec, skills)
    _draw_ways(right, spec, goals)
    return figure


@styled
def prediction_figure(spec: RobotSpec, skills: SkillMetrics) -> Figure:
    """A few skills as predicted and as walked on the left, the error over time on the right."""
    figure, left, right = _side_by_side(5.2)
    _draw_comparison(left, spec, skills)
    _draw_error(right, spec, skills)
    return figure


@styled
def falls_figure(spec: RobotSpec, skills: SkillMetrics) -> Figure:
    """Which skills fall on the left, when they do on the right."""
    figure, left, right = _side_by_side(5.2)
    _draw_fallen(left, spec, skills)
    _draw_falls_over_time(right, spec, skills)
    return figure


def _side_by_side(height: float) -> tuple[Figure, Axes, Axes]:
    """A figure with two panels; its height in inches."""
    figure = Figure(figsize=(11.0, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, left, right


def _draw_fan(axes: Axes, spec: RobotSpec, skills: SkillMetrics) -> None:
    tracks = skills.tracks - skills.tracks[:, :1]
    colors = colours.of_directions(skills.displacement)
    ends = _draw_tracks(axes, spec, tracks, colors, width=0.9)
    _cross(axes, ends[skills.fallen])
    title(
        axes,
        f"{len(tracks)} skills, found without any reward",
        f"{spec.name}: {(tracks.shape[1] - 1) * spec.control_dt:g} s each, coloured by direction; "
        f"{skills.fallen.sum()} fell (crosses)",
    )
    _frame(axes, spec, tracks)


def _draw_ways(axes: Axes, spec: RobotSpec, goals: GoalMetrics) -> None:
    """Rings of 0.5 m around the goals; crossed where the robot does not stand in them."""
    reached, colors = goals.reached(0.5), colours.of_directions(goals.goals)
    _draw_tracks(axes, spec, goals.tracks, colors, width=1.5)
    points = goals.goals
    if spec.ground_axes.all():
        for goal, color in zip(points, colors, strict=True):
            axes.add_patch(Circle(tuple(goal), 0.5, fill=False, color=color, linewidth=1.4))
    else:
        end_s = (goals.tracks.shape[1] - 1) * spec.control_dt
        points = np.stack([np.full(len(points), end_s), goals.goals @ spec.ground_axes], axis=1)
        axes.scatter(*points.T, s=60.0, facecolors="none", edgecolors=colors, linewidths=1.4)
    _cross(axes, points[~reached])
    title(
        axes,
        "planned over to goals never seen in training",
        f"{reached.sum()} of {len(reached)} goals reached within 0.5 m (crosses: not), "
        "no further training",
    )
    _frame(axes, spec, np.append(goals.tracks, goals.goals))


def _draw_comparison(axes: Axes, spec: RobotSpec, skills: SkillMetrics) -> None:
    """Predictions are made once, at the start, of a robot at rest."""
    start = skills.tracks[:, :1]
    rows = _some_of_all_ways(spec, (skills.predicted - start)[:, -1])
    walked, predicted = (skills.tracks - start)[rows], (skills.predicted - start)[rows]
    steps = skills.prediction_steps
    every = max(1, round(_BESIDE_S / (steps[1] * spec.control_dt)))
    for tracks, at, style, points, color in (
        (walked, np.arange(walked.shape[1]), "-", steps[::every], None),
        (predicted, steps, "--", np.arange(0, len(steps), every), INK),
    ):
        rgb = colours.of_directions(predicted[:, -1]) if color is None else [color] * len(rows)
        for track, line_color in zip(_drawn(spec, tracks, at), rgb, strict=True):
            axes.plot(
                *track.T,
                linestyle=style,
                color=line_color,
                marker="o",
                markevery=list(points),
                markersize=4.0,
                markerfacecolor=line_color if color is None else "white",
                linewidth=2.2 if color is None else 1.1,
            )
    ends = _drawn(spec, walked[:, -1:], steps[-1:])[:, 0]
    _cross(axes, ends[skills.fallen[rows]])
    title(
        axes,
        "as predicted (dashed) and as walked",
        f"{spec.name}: the farthest of each of {len(rows)} directions, dots every "
        f"{every * steps[1] * spec.control_dt:g} s; crosses fell",
    )
    _frame(axes, spec, np.concatenate([walked, predicted], axis=1))


def _some_of_all_ways(spec: RobotSpec, ends: Array) -> NDArray[np.int64]:
    """Of ends (N, 2), the farthest in each of a few groups, by direction or place on the line."""
    is_plane = spec.ground_axes.all()
    key = np.arctan2(ends[:, 1], ends[:, 0]) if is_plane else ends @ spec.ground_axes
    groups = np.array_split(np.argsort(key), min(_NUM_COMPARED, len(ends)))
    length = np.hypot(*ends.T)
    return np.array([group[length[group].argmax()] for group in groups])


def _draw_error(axes: Axes, spec: RobotSpec, skills: SkillMetrics) -> None:
    steps = skills.prediction_steps
    time, walked = steps * spec.control_dt, skills.tracks[:, steps] - skills.tracks[:, :1]
    half, most = np.percentile(skills.error, [50, 90], axis=0)
    way = np.median(np.hypot(walked[..., 0], walked[..., 1]), axis=0)
    for name, values, style in zip(
        ("error, p50", "error, p90", "way gone, p50"),
        (half, most, way),
        LINE_STYLES,
        strict=True,
    ):
        axes.plot(time, values, style, color=GREY if values is way else INK, label=name)
    title(
        axes,
        "error of the predictions over time",
        f"after {time[-1]:g} s {half[-1]:.2f} m of {way[-1]:.1f} m, medians of "
        f"{len(skills.skills)} skills",
    )
    grid(axes, "time, s", "distance from predicted to actual place, m")
    axes.legend(frameon=False, loc="upper left")


def _draw_fallen(axes: Axes, spec: RobotSpec, skills: SkillMetrics) -> None:
    """Each skill by the way that it is predicted to go, and by its length; crossed if it fell."""
    fell, end = skills.fallen, skills.predicted[:, -1] - skills.predicted[:, 0]
    length = np.linalg.norm(skills.skills, axis=1)
    points = length[:, None] * end / np.maximum(np.hypot(*end.T), 1e-9)[:, None]
    if not spec.ground_axes.all():  # over it, how far it went
        gone = np.abs(skills.displacement @ spec.ground_axes)
        points = np.stack([points @ spec.ground_axes, gone], axis=1)
    axes.scatter(*points[~fell].T, s=16.0, color=colours.of_directions(end[~fell]), linewidths=0)
    _cross(axes, points[fell])
    title(
        axes,
        "which skills fall",
        "by predicted direction and by the length of the skill; crosses fell",
    )
    if spec.ground_axes.all():
        _frame(axes, spec, points, unit="")
    else:
        grid(axes, "length of the skill, with the sign of the predicted way", "distance gone, m")


def _draw_falls_over_time(axes: Axes, spec: RobotSpec, skills: SkillMetrics) -> None:
    steps, num = np.arange(skills.tracks.shape[1]), len(skills.skills)
    has_fallen = skills.fall_step <= steps[:, None]
    share = 100.0 * has_fallen.mean(axis=1)
    low, high = 100.0 * np.array([fraction_interval(row) for row in has_fallen]).T
    time = steps * spec.control_dt
    axes.fill_between(time, low, high, step="post", color=FAINT, linewidth=0)
    axes.plot(time, share, drawstyle="steps-post", color=INK)
    axes.set_ylim(0.0, max(5.0, 1.05 * float(high.max())))
    title(
        axes,
        "falls over time",
        f"{skills.fallen.sum()} of {num} skills fell in {time[-1]:g} s; shaded: 95 % interval",
    )
    grid(axes, "time, s", "fallen, %")


def _cross(axes: Axes, points: Array) -> None:
    axes.scatter(*points.T, marker="x", s=50.0, color=INK, linewidths=1.6, zorder=5)


def _draw_tracks(axes: Axes, spec: RobotSpec, tracks: Array, colors: Array, width: float) -> Array:
    """Returns: where they end in the picture. Shape (N, 2)."""
    tracks = _drawn(spec, tracks, np.arange(tracks.shape[1]))
    axes.add_collection(LineCollection(list(tracks), colors=colors, linewidths=width, alpha=0.85))
    axes.scatter(*tracks[:, -1].T, s=10.0, color=colors, zorder=3, linewidths=0)
    axes.scatter(0.0, 0.0, s=28.0, color=INK, zorder=4, linewidths=0)
    return tracks[:, -1]


def _drawn(spec: RobotSpec, tracks: Array, steps: NDArray[np.int64]) -> Array:
    """Where the tracks are in the picture, with the steps of their points. (N, P, 2)."""
    if spec.ground_axes.all():
        return tracks
    time, along = steps * spec.control_dt, tracks @ spec.ground_axes
    return np.stack(np.broadcast_arrays(time, along), axis=-1)


def grid(axes: Axes, x: str, y: str) -> None:
    """Axes of curves, with their names and units."""
    axes.autoscale_view()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0.0, colors=GREY)


def _frame(axes: Axes, spec: RobotSpec, points: Array, unit: str = " m") -> None:
    """On a plane equal axes over rings of round distances, on a line metres over seconds."""
    if not spec.ground_axes.all():
        grid(axes, "time, s", "x, m" if spec.ground_axes[0] else "y, m")
        return
    limit = 1.06 * max(float(np.abs(points).max()), 1e-3)
    spacing = 10.0 ** np.floor(np.log10(limit))
    spacing *= next(
        factor for factor in (0.25, 0.5, 1.0, 2.5, 5.0) if limit / spacing <= 4 * factor
    )
    for radius in np.arange(spacing, limit, spacing):
        axes.add_patch(
            Circle((0.0, 0.0), radius, fill=False, color=FAINT, linewidth=0.7, zorder=0)
        )
        axes.annotate(
            f"{radius:g}{unit}",
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


def title(axes: Axes, text: str, caption: str) -> None:
    """What is seen, and below it what more there is to know."""
    axes.set_title(text, loc="left", fontweight="bold", pad=22.0)
    axes.text(0.0, 1.02, caption, transform=axes.transAxes, color=GREY, fontsize=9)
