"""What each departure from the paper is worth: the shipped settings with one changed at a time.

    python benchmark/ablations.py --out runs/ablations [--config ant] [--seeds 0 1 2]
                                  [--iterations 400] [--jobs 2] [--only NAME ...]

Every run makes the same number of updates, but "the actor from every batch": it gets the same time
instead. Runs that are done are kept and not repeated, so that a stopped table goes on where it
was. Prints a Markdown table: mean over the seeds and, in brackets, the lowest and highest one.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from dads_ros.config import read_yaml
from dads_ros.files import atomic_write, find_file

Values = dict[str, Any]
EVERY_BATCH_COSTS = 1.15
"""So much longer an iteration of the Ant takes when the actor learns from every batch instead of
every second one: 2.07 instead of 2.37 iterations a second, side by side, each on one core."""


def changed(part: str, **values: object) -> Callable[[Values], Values]:
    """Settings with some of one part replaced."""
    return lambda settings: settings | {part: settings.get(part, {}) | values}


def one_step(settings: Values) -> Values:
    """Prediction over one step, and every length that is meant per prediction with it."""
    lengths = {
        name: settings["skill_dynamics"][name] / settings["prediction"]["steps"]
        for name in ("sigma_m", "min_sigma_m", "warm_start_m")
    }
    return changed("skill_dynamics", **lengths)(changed("prediction", steps=1)(settings))


VARIANTS: dict[str, Callable[[Values], Values]] = {
    "as shipped": lambda settings: settings,
    "without yaw symmetry": changed("symmetry", yaw=False),
    "without body symmetry": changed("symmetry", body=False),
    "with mirror symmetry": changed("symmetry", mirror=True),
    "without symmetries": changed("symmetry", yaw=False, body=False),
    "without warm start": changed("skill_dynamics", warm_start_steps=0),
    "one step instead of k": one_step,
    "q starts from the body state": changed("prediction", body_state=True),
    "q of the reward not linear": changed("skill_dynamics", linear=False),
    "fixed sigma": changed("skill_dynamics", sigma_ratio=0.0, final_sigma_factor=1.0),
    "one skill per episode": changed("collect", skill_switch_probability=[0.0, 0.0]),
    "discount 0.99": changed("sac", discount=0.99),
    "the actor from every batch": lambda settings: (
        changed("sac", actor_period=1)(settings)
        | {"num_iterations": round(settings["num_iterations"] / EVERY_BATCH_COSTS)}
    ),
    "without fall cost": changed("reward", fall_cost=[0.0, 0.0]),
    "the last fall cost from the start": lambda settings: changed(
        "reward", fall_cost=[settings["reward"]["fall_cost"][1]] * 2
    )(settings),
    "without tilt cost": changed("reward", tilt_cost=[0.0, 0.0]),
    "without zero skills": lambda settings: changed("collect", zero_skill_fraction=0.0)(
        changed("reward", motion_cost=[0.0, 0.0])(settings)
    ),
    "without pushes": changed("collect", push_mps=[0.0, 0.0]),
    "new skills anywhere": changed("collect", nearby_skill_fraction=0.0),
}
TASKS = ("waypoints", "velocity", "stand")
FIGURES = {
    "sectors": "sectors_3m",
    "displacement, m": "mean_displacement_m",
    "falls": "skill_fall_fraction",
    "prediction error": "prediction_error",
    "after a change of skill": "switch_prediction_error",
    "goals < 1 m": "goal_fraction_1m",
    "goals < 0.5 m": "goal_fraction_05m",
    "falls on waypoints": "waypoints.fall_fraction",
    "velocity error": "velocity.velocity_error",
    "falls at commanded velocities": "velocity.fall_fraction",
    "standing drift, m": "stand.stand_drift_m",
    "falls standing": "stand.stand_fall_fraction",
}


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default="ant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, help="default: the config's")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    args = parser.parse_args()
    settings = read_yaml(find_file(args.config, folder="config/train", suffix=".yaml"))
    settings |= {"num_iterations": args.iterations or settings["num_iterations"]}
    jobs = [(name, seed) for seed in args.seeds for name in args.only]
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [
            pool.submit(run, VARIANTS[name](settings), seed, args.out / f"{name}, seed {seed}")
            for name, seed in jobs
        ]
        for (name, seed), future in zip(jobs, futures, strict=True):
            future.result()
            print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
    print(f"| {args.config}, {settings['num_iterations']} iterations | {' | '.join(FIGURES)} |")
    print("|---|" + "---|" * len(FIGURES))
    for name in args.only:
        reports = [read_report(args.out / f"{name}, seed {seed}") for seed in args.seeds]
        print(f"| {name} | {' | '.join(cell(reports, key) for key in FIGURES.values())} |")


def run(settings: Values, seed: int, folder: Path) -> None:
    """Train and evaluate, unless that was done."""
    if (folder / "report.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    resume = ["--resume"] if (folder / "run" / "checkpoint.pt").exists() else []
    command = ["train", "--config", str(config), "--seed", str(seed), "--out", str(folder / "run")]
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        call([*command, *resume], stdout=log, stderr=log)
        evaluate = ["evaluate", str(folder / "run" / "bundle"), "--goals", "128", "--seed", "21"]
        report = json.loads(call([*evaluate, "--json"], stdout=subprocess.PIPE, stderr=log))
        tasks = [*evaluate, "--task", *TASKS, "--json"]
        report |= json.loads(call(tasks, stdout=subprocess.PIPE, stderr=log))
    with atomic_write(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report), encoding="utf-8")


def call(arguments: list[str], **streams: Any) -> str:  # noqa: ANN401
    """Run a command of the package. Raises: CalledProcessError."""
    command = [sys.executable, "-m", "dads_ros", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=True, text=True, **streams)
    return str(done.stdout or "")


def read_report(folder: Path) -> Values:
    """Figures of a run."""
    report: Values = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def cell(reports: list[Values], key: str) -> str:
    """Mean, lowest and highest; '-' where no robot has it, as drift where all fell."""
    *task, name = key.split(".")
    found = [(report[task[0]] if task else report)[name] for report in reports]
    values = [float(value) for value in found if value is not None]
    if not values:
        return "-"
    return f"{sum(values) / len(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


if __name__ == "__main__":
    main()
