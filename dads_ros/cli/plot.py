"""dads-ros plot: the picture of a bundle, its fan of skills and its ways to goals."""

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.evaluation.goals import GoalMetrics, evaluate_goals
from dads_ros.evaluation.skills import SkillMetrics, evaluate_skills
from dads_ros.files import find_file, make_output_folder, user_path
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]
_INK, _FAINT = "#24292f", "#d0d7de"
_GOLDEN_ANGLE = np.pi * (3.0 - 5.0**0.5)


def add_parser(subparsers: Any) -> None:  # noqa: ANN401
    """Declare the verb."""
    parser = subparsers.add_parser(
        "plot",
        help="draw a skill bundle",
        description="Draw the tracks of a bundle's skills and its ways to goals as one picture.",
    )
    parser.add_argument("bundle", help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--robot", help="robot file that the bundle must fit; its MJCF is used")
    parser.add_argument("--out", default="skills.png", help="picture; the suffix tells the format")
    parser.add_argument("--skills", type=int, default=144, help="skills of the fan")
    parser.add_argument("--goals", type=int, default=24, help="goals to go to")
    parser.add_argument("--steps", type=int, default=400, help="control steps towards a goal")
    parser.add_argument("--goal-range", type=float, default=12.0, help="furthest goal, metres")
    parser.add_argument("--seed", type=int, default=0, help="of starts and planner")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it. Raises: DadsError."""
    for name, low in (("skills", 1), ("goals", 1), ("steps", 1), ("seed", 0)):
        if getattr(args, name) < low:
            raise ConfigError(f"--{name} is {getattr(args, name)}; it must be at least {low}")
    if not 0.0 < args.goal_range < float("inf"):
        raise ConfigError(f"--goal-range is {args.goal_range}; it must be above 0")
    out = user_path(args.out)
    known = pyplot.gcf().canvas.get_supported_filetypes()
    if out.suffix.removeprefix(".") not in known:
        raise ConfigError(f"--out is '{out}'; its suffix must be one of .{', .'.join(known)}")
    make_output_folder(out.parent)
    robot = None if args.robot is None else RobotSpec.load(args.robot)
    bundle = SkillBundle(find_file(args.bundle, folder="models"), robot)
    model = RobotModel(robot or bundle.robot)
    skills = evaluate_skills(
        model,
        bundle.skill_space,
        bundle.command,
        bundle.delta,
        bundle.manifest.prediction,
        seed=args.seed,
        num_skills=args.skills,
    )
    goals = evaluate_goals(
        model,
        bundle.command,
        bundle.rollout,
        bundle.skill_space,
        PlannerConfig(),
        sunflower(args.goals, args.goal_range),
        seed=args.seed,
        steps=args.steps,
    )
    draw(skills, goals, out, bundle.robot.name, bundle.robot.control_dt)
    print(f"wrote {out}")
    return 0


def draw(skills: SkillMetrics, goals: GoalMetrics, out: Path, robot: str, dt: float) -> None:
    """Write the picture: the fan of skills on the left, the ways to goals on the right."""
    style = {"font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK}
    with pyplot.rc_context(style):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11.0, 5.9), layout="constrained")
        seconds = (skills.tracks.shape[1] - 1) * dt
        tracks = skills.tracks - skills.tracks[:, :1]
        _draw_tracks(left, tracks, _angle(skills.displacement), width=1.1)
        _title(
            left,
            f"{len(tracks)} skills, found without any reward",
            f"{robot}: tracks of {seconds:g} s, coloured by direction",
        )

        reached = goals.reached(0.5)
        angle = _angle(goals.goals)
        _draw_tracks(right, goals.tracks, angle, width=1.5)
        _draw_goals(right, goals.goals, angle, reached)
        _title(
            right,
            "planned over to goals never seen in training",
            f"{reached.sum()} of {len(reached)} goals reached within 0.5 m, no further training",
        )

        for axes, points in ((left, tracks), (right, np.append(goals.tracks, goals.goals))):
            _frame(axes, float(np.abs(points).max()))
        figure.savefig(out, dpi=160, facecolor="white", bbox_inches="tight", pad_inches=0.2)
        pyplot.close(figure)


def sunflower(num: int, radius: float) -> Array:
    """Points spread evenly over the outer part of a disc. Shape (num, 2)."""
    index = np.arange(num) + 0.5
    distance = radius * np.sqrt(0.12 + 0.88 * index / num)
    angle = index * _GOLDEN_ANGLE
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


def hues(angle: Array) -> Array:
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


def _angle(vectors: Array) -> Array:
    return np.arctan2(vectors[:, 1], vectors[:, 0])


def _draw_tracks(axes: Axes, tracks: Array, angle: Array, width: float) -> None:
    colors = hues(angle)
    axes.add_collection(LineCollection(tracks, colors=colors, linewidths=width, alpha=0.85))
    axes.scatter(*tracks[:, -1].T, s=9.0 * width, color=colors, zorder=3, linewidths=0)
    axes.scatter(0.0, 0.0, s=28.0, color=_INK, zorder=4, linewidths=0)


def _draw_goals(axes: Axes, goals: Array, angle: Array, reached: NDArray[np.bool_]) -> None:
    """Rings of 0.5 m around the goals; crossed where the robot does not stand in it."""
    for goal, color in zip(goals, hues(angle), strict=True):
        axes.add_patch(pyplot.Circle(tuple(goal), 0.5, fill=False, color=color, linewidth=1.4))
    axes.scatter(*goals[~reached].T, marker="x", s=30.0, color=_INK, linewidths=1.2, zorder=5)


def _frame(axes: Axes, extent: float) -> None:
    """Equal axes around the origin over rings of round distances, without a box."""
    limit = 1.06 * max(extent, 1e-3)
    spacing = 10.0 ** np.floor(np.log10(limit))
    spacing *= next(
        factor for factor in (0.25, 0.5, 1.0, 2.5, 5.0) if limit / spacing <= 4 * factor
    )
    for radius in np.arange(spacing, limit, spacing):
        axes.add_patch(
            pyplot.Circle((0.0, 0.0), radius, fill=False, color=_FAINT, linewidth=0.7, zorder=0)
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
    axes.text(0.0, 1.02, caption, transform=axes.transAxes, color="#57606a", fontsize=9)
