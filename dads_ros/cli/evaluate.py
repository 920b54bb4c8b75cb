"""dads-ros evaluate: closed loop on a bundle in MuJoCo, without ROS."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.arguments import check_numbers
from dads_ros.config import CostsConfig, PlannerConfig
from dads_ros.errors import ConfigError, StorageError
from dads_ros.evaluation.perturbations import PERTURBATIONS, perturbations_of
from dads_ros.evaluation.report import evaluate_bundle
from dads_ros.evaluation.tasks import TASKS
from dads_ros.files import find_file, make_output_folder, user_path
from dads_ros.planning.skill_planner import PAPER_COSTS, PLANNER_PRESETS
from dads_ros.robot import RobotSpec

PROGRESS_STEPS = 100
LEGEND = "In brackets 95 % intervals, '-': too short a run; each figure: docs/dads.md, Figures."


def add_parser(subparsers: Any) -> None:  # noqa: ANN401
    """Declare the verb."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a skill bundle in MuJoCo",
        description="Measure a skill bundle: its skills on a fixed grid, and the closed loop to "
        "random goals; or, with --task, tasks that planning alone must solve. Every robot starts "
        "at a random yaw.",
    )
    parser.add_argument("bundle", help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--robot", help="robot file that the bundle must fit; its MJCF is used")
    parser.add_argument(
        "--task", nargs="+", choices=TASKS, default=[], help="measure these instead"
    )
    parser.add_argument(
        "--perturb",
        nargs="+",
        choices=[*PERTURBATIONS, "all"],
        default=[],
        help="measure the tasks also with each of these: other bodies, grounds, sensors, delays",
    )
    parser.add_argument(
        "--goals", type=int, default=256, help="goals, or tasks of each kind; one robot each"
    )
    parser.add_argument(
        "--steps",
        type=int,
        help="control steps; by default 400 and at least 20 s towards a goal, and what other "
        "tasks take",
    )
    parser.add_argument("--seed", type=int, default=0, help="of starts, goals and planner")
    parser.add_argument(
        "--goal-range", type=float, default=15.0, metavar="M", help="goals lie within +-M metres"
    )
    parser.add_argument("--delay-ms", type=float, default=0.0, help="from state to command")
    parser.add_argument("--threads", type=int, help="of the physics; default: all cores")
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument(
        "--preset", choices=PLANNER_PRESETS, default="fast", help="of the planner"
    )
    settings.add_argument(
        "--planner", metavar="FILE", help="YAML file of its settings: num_samples: 128"
    )
    parser.add_argument(
        "--costs",
        metavar="FILE",
        help="YAML file of their weights, instead of those of the preset: goal: 2.0, custom: "
        "mine:Cost",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in the bundle's manifest as well"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it. Raises: DadsError."""
    check_numbers(args, goals=1, steps=1, seed=0, threads=1)
    if not 0.0 < args.goal_range < float("inf"):
        raise ConfigError(f"--goal-range is {args.goal_range:g} m; it must be above 0 and finite")
    if not 0.0 <= args.delay_ms < float("inf"):
        raise ConfigError(f"--delay-ms is {args.delay_ms:g}; it must be at least 0 and finite")
    robot = None if args.robot is None else RobotSpec.load(args.robot)
    bundle = SkillBundle(find_file(args.bundle, folder="models"), robot)
    if args.save:
        if args.task:
            raise ConfigError("--save keeps skills and goals; with --task use --json > FILE")
        make_output_folder(bundle.folder)
    config = PLANNER_PRESETS[args.preset]
    if args.planner is not None:
        config = PlannerConfig.from_yaml(user_path(args.planner))
    costs = CostsConfig() if args.preset == "fast" else PAPER_COSTS
    if args.costs is not None:
        costs = CostsConfig.from_yaml(user_path(args.costs))

    def progress(task: str, step: int) -> None:
        if step % PROGRESS_STEPS == 0:
            print(f"{task}: step {step}", file=sys.stderr, flush=True)

    print(f"evaluating {bundle.folder}", file=sys.stderr, flush=True)
    report = evaluate_bundle(
        bundle,
        config,
        seed=args.seed,
        costs=costs,
        robot=robot,
        tasks=args.task,
        perturbations=perturbations_of(bundle.robot) if "all" in args.perturb else args.perturb,
        num_goals=args.goals,
        steps=args.steps,
        goal_range_m=args.goal_range,
        delay_ms=args.delay_ms,
        num_threads=args.threads,
        progress=progress,
    )
    print(json.dumps(report) if args.json else f"{_table(report)}\n\n{LEGEND}", flush=True)
    if args.save:
        _save(dataclasses.replace(bundle.manifest, evaluation=report), bundle.folder)
    return 0


def _save(manifest: BundleManifest, folder: Path) -> None:
    try:
        manifest.save(folder)
    except StorageError as error:
        raise StorageError(f"{error}; the figures cannot be saved: use --json > FILE") from error


def _table(report: dict[str, Any]) -> str:
    """The figures for people: one line each, with the 95 % interval where there is one."""
    lines = []
    for key, value in report.items():
        if key in ("planner", "costs"):
            continue
        if isinstance(value, dict):
            lines += ["", f"task {key}" if key in TASKS else key, _table(value)]
            continue
        if key.endswith("_ci95"):
            continue
        interval = report.get(f"{key}_ci95")
        text = f"{value:.3f}" if isinstance(value, float) else str("-" if value is None else value)
        if interval is not None:
            text += f"   [{interval[0]:.3f}, {interval[1]:.3f}]"
        lines.append(f"{key:<26}{text}")
    return "\n".join(lines)
