"""How long training takes until the skills are good, beside the paper's settings.

    python benchmark/time_to_target.py [--config ant] [--seeds 0 1 2 3 4] [--reference ant_paper]

Each seed is trained until the skills meet the target of its robot, or for --limit-min minutes;
then the reference, if there is one, trains for the same wall time with the same seed. The skills
are looked at every 25 iterations, and the clock stands still meanwhile. Nothing else should run on
the machine. Progress goes to stderr.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import print_report

from dads_ros.files import find_file
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.trainer import Trainer

TARGETS = {
    "ant": {"sectors_3m": 12, "mean_displacement_m": 7.0, "skill_fall_fraction": 0.05},
    "half_cheetah": {"min_x_m": -20.0, "max_x_m": 20.0, "skill_fall_fraction": 0.05},
}
CHECK_EVERY, CHECKED_SKILLS = 25, 256
AT_MOST = ("min_x_m", "skill_fall_fraction")
FIGURES = (
    "sectors_3m",
    "mean_displacement_m",
    "min_x_m",
    "max_x_m",
    "skill_fall_fraction",
    "prediction_error",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="ant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--reference", help="training settings to run for the same wall time")
    parser.add_argument("--limit-min", type=float, default=30.0)
    args = parser.parse_args()
    config = TrainConfig.from_yaml(find_file(args.config, folder="config/train", suffix=".yaml"))
    if config.robot not in TARGETS:
        parser.error(f"no target for robot '{config.robot}'; known are {', '.join(TARGETS)}")
    runs = []
    for seed in args.seeds:
        run = train(config, seed, args.limit_min * 60.0, TARGETS[config.robot])
        if args.reference:
            file = find_file(args.reference, folder="config/train", suffix=".yaml")
            reference = TrainConfig.from_yaml(file)
            run["reference"] = train(reference, seed, run["minutes"] * 60.0)
        runs.append(run)
    report = {
        "config": args.config,
        "reference": args.reference,
        "target": TARGETS[config.robot],
        "all_reached": all(run["has_reached"] for run in runs),
        "median_minutes": round(statistics.median(run["minutes"] for run in runs), 2),
        "runs": runs,
    }
    print_report("time_to_target", report)


def evaluate(trainer: Trainer) -> dict[str, float]:
    """The figures of what was learned up to now, without delay."""
    skills = trainer.agent.learned_skills()
    return trainer.selection.evaluate(skills, num_skills=CHECKED_SKILLS).to_dict()


def train(
    config: TrainConfig, seed: int, limit_s: float, target: dict[str, float] | None = None
) -> dict[str, Any]:
    """Train until the target is met or the time is over; the figures then, without delay."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        config = dataclasses.replace(
            config, seed=seed, evaluate_every=10**9, show_period_s=86400.0
        )
        trainer = Trainer(config, Path(folder))
        has_reached, values = False, {}
        for metrics in trainer.iterations():
            seconds = time.perf_counter() - begin
            if metrics.iteration % CHECK_EVERY == 0 and target is not None:
                values = evaluate(trainer)
                has_reached = meets(values, target)
                show(config.robot, seed, metrics.iteration, seconds, values)
                begin = time.perf_counter() - seconds
            if has_reached or seconds > limit_s:
                break
        if not has_reached:
            values = evaluate(trainer)
        return {
            "seed": seed,
            "has_reached": has_reached,
            "minutes": round(seconds / 60.0, 2),
            "iterations": metrics.iteration,
            "updates": metrics.num_gradient_steps,
            "env_steps": metrics.num_env_steps,
            **{name: round(values[name], 3) for name in FIGURES},
        }


def meets(values: dict[str, float], target: dict[str, float]) -> bool:
    """Whether every figure is at least, or those of AT_MOST at most, what is wanted."""
    return all(
        values[name] <= wanted if name in AT_MOST else values[name] >= wanted
        for name, wanted in target.items()
    )


def show(robot: str, seed: int, iteration: int, seconds: float, values: dict[str, float]) -> None:
    """One line of progress."""
    figures = ", ".join(f"{name} {values[name]:.2f}" for name in FIGURES)
    print(
        f"{robot}, seed {seed}, iteration {iteration}, {seconds / 60.0:.1f} min: {figures}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
