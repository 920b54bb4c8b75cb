"""dads-ros plot: the picture of a bundle, its fan of skills and its ways to goals."""

import argparse
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.arguments import check_numbers
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.goals import evaluate_goals
from dads_ros.evaluation.pictures import save_picture
from dads_ros.evaluation.skills import evaluate_skills
from dads_ros.files import find_file, make_output_folder, user_path
from dads_ros.robot import RobotSpec


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
    check_numbers(args, skills=1, goals=1, steps=1, seed=0)
    if not 0.0 < args.goal_range < float("inf"):
        raise ConfigError(f"--goal-range is {args.goal_range}; it must be above 0")
    out = user_path(args.out)
    known = FigureCanvasAgg.get_supported_filetypes()
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
        bundle.rollout,
        bundle.manifest.prediction.steps,
        seed=args.seed,
        num_skills=args.skills,
    )
    driver = Driver(model=model, policy=bundle.command, skills=bundle, seed=args.seed)
    points = spread_goals(model.spec, args.goals, args.goal_range)
    goals = evaluate_goals(driver, points, args.steps)
    save_picture(out, bundle.robot, skills, goals)
    print(f"wrote {out}")
    return 0


def spread_goals(spec: RobotSpec, num: int, radius: float) -> NDArray[np.float64]:
    """Points spread evenly over the outer part of a disc, or over a line. Shape (num, 2)."""
    index = np.arange(num) + 0.5
    if not spec.ground_axes.all():
        return np.linspace(-radius, radius, num)[:, None] * spec.ground_axes
    distance = radius * np.sqrt(0.12 + 0.88 * index / num)
    angle = index * np.pi * (3.0 - 5.0**0.5)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
