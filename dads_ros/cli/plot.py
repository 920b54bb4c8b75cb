"""dads-ros plot: pictures of a bundle, and of the training run that it came from."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dads_ros.bundle.manifest import BUNDLE_FOLDER
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.arguments import check_numbers
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.evaluation.curves import METRICS_FILE, read_curves, training_figure
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.goals import evaluate_goals
from dads_ros.evaluation.pictures import (
    falls_figure,
    prediction_figure,
    save,
    skills_figure,
)
from dads_ros.evaluation.skills import evaluate_skills
from dads_ros.evaluation.tasks import TASKS
from dads_ros.files import find_file, make_output_folder, remove_leftovers, user_path
from dads_ros.robot import RobotSpec


def add_parser(subparsers: Any) -> None:  # noqa: ANN401
    """Declare the verb."""
    parser = subparsers.add_parser(
        "plot",
        help="draw a skill bundle or a training run",
        description="Draw what a bundle's skills do: their tracks and the ways to goals "
        "(skills.png), prediction against reality (prediction.png), falls (falls.png); of a "
        "training run also its curves (training.png).",
    )
    parser.add_argument(
        "bundle", help="folder of a bundle or of a training run, or the name of a shipped bundle"
    )
    parser.add_argument("--robot", help="robot file that the bundle must fit; its MJCF is used")
    parser.add_argument("--out", default="plots", help="folder of the pictures")
    parser.add_argument(
        "--skills", type=int, default=256, help="skills to hold, for 200 control steps each"
    )
    parser.add_argument("--goals", type=int, default=24, help="goals to go to")
    parser.add_argument(
        "--steps", type=int, help="control steps towards a goal; default: 400 and at least 20 s"
    )
    parser.add_argument("--goal-range", type=float, default=12.0, help="furthest goal, metres")
    parser.add_argument("--seed", type=int, default=0, help="of starts and planner")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it. Raises: DadsError."""
    check_numbers(args, skills=1, goals=1, steps=1, seed=0)
    if not 0.0 < args.goal_range < float("inf"):
        raise ConfigError(f"--goal-range is {args.goal_range}; it must be above 0")
    folder, out = find_file(args.bundle, folder="models"), user_path(args.out)
    is_run = (folder / METRICS_FILE).is_file()
    curves = read_curves(folder / METRICS_FILE) if is_run else {}
    remove_leftovers(make_output_folder(out))
    if is_run:
        _write(training_figure(curves), out / "training.png")
        folder = folder / BUNDLE_FOLDER
        if not folder.exists():
            print(f"no bundle yet: 'dads-ros export {args.bundle} --out {folder}' makes one")
            return 0
    robot = None if args.robot is None else RobotSpec.load(args.robot)
    bundle = SkillBundle(folder, robot)
    model = RobotModel(robot or bundle.robot)
    driver = Driver(model=model, policy=bundle.command, skills=bundle, seed=args.seed)
    skills = evaluate_skills(
        model,
        bundle.skill_space,
        bundle.command,
        bundle.rollout,
        driver.planner.skill_duration_steps,
        seed=args.seed,
        frame=bundle.frame,
        num_skills=args.skills,
    )
    _write(prediction_figure(bundle.robot, skills), out / "prediction.png")
    _write(falls_figure(bundle.robot, skills), out / "falls.png")
    points = spread_goals(model.spec, args.goals, args.goal_range)
    steps = args.steps or TASKS["goal"].num_steps(model.spec)
    goals = evaluate_goals(driver, points, steps)
    _write(skills_figure(bundle.robot, skills, goals), out / "skills.png")
    return 0


def _write(figure: Figure, path: Path) -> None:
    save(figure, path)
    print(f"wrote {path}", flush=True)


def spread_goals(spec: RobotSpec, num: int, radius: float) -> NDArray[np.float64]:
    """Points spread evenly over the outer part of a disc, or over a line. Shape (num, 2)."""
    index = np.arange(num) + 0.5
    if not spec.ground_axes.all():
        return np.linspace(-radius, radius, num)[:, None] * spec.ground_axes
    distance = radius * np.sqrt(0.12 + 0.88 * index / num)
    angle = index * np.pi * (3.0 - 5.0**0.5)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
