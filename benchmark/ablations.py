"""What each departure from the paper is worth: the shipped settings with one changed at a time.

    python benchmark/ablations.py [--out runs/ablations] [--config ant] [--seeds 0 1 2]
                                  [--iterations N] [--jobs 2] [--only NAME ...]

Every run makes the same number of updates, but "the actor from every batch": it gets the same time
instead. The figures of each go to benchmark/results/ablations, with commit and settings; what is
there with today's settings is not repeated, and a stopped run goes on where it was. Prints a
Markdown table: mean over the seeds and, in brackets, the lowest and highest one.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dads_ros.config import read_yaml
from dads_ros.errors import ConfigError
from dads_ros.files import atomic_write, find_file
from dads_ros.learning.config import TrainConfig

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
    "without warm start": changed("skill_dynamics", warm_start_steps=0, warm_start_m=0.0),
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
MEASURED = ("--goals", "128", "--seed", "21", "--json")
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
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--config", default="ant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, help="default: the config's")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    args = parser.parse_args()
    settings = read_yaml(find_file(args.config, folder="config/train", suffix=".yaml"))
    settings |= {"num_iterations": args.iterations or settings["num_iterations"]}
    try:
        variants = {name: VARIANTS[name](settings) for name in args.only}
        for variant in variants.values():
            TrainConfig.from_dict(variant)
    except (ConfigError, KeyError, TypeError) as error:
        parser.error(f"'{args.config}' lacks what a variant changes, leave it out: {error}")
    runs = [Ablation(args.config, name, seed) for seed in args.seeds for name in args.only]
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(run.make, variants[run.name], args.out) for run in runs]
        for run, future in zip(runs, futures, strict=True):
            future.result()
            print(f"{run}: done", file=sys.stderr, flush=True)
    print(f"| {args.config}, {settings['num_iterations']} iterations | {' | '.join(FIGURES)} |")
    print("|---|" + "---|" * len(FIGURES))
    for name in args.only:
        reports = [run.read()["figures"] for run in runs if run.name == name]
        print(f"| {name} | {' | '.join(cell(reports, key) for key in FIGURES.values())} |")


@dataclass(frozen=True)
class Ablation:
    """A training seed of a variant."""

    config: str
    name: str
    seed: int

    def __str__(self) -> str:
        """For people, and the name of its run."""
        return f"{self.config}, {self.name}, seed {self.seed}"

    @property
    def path(self) -> Path:
        """Of its figures."""
        name = re.sub(r"[^a-z0-9]+", "-", str(self).lower())
        return Path(__file__).resolve().parent / "results" / "ablations" / f"{name}.json"

    def make(self, settings: Values, out: Path) -> None:
        """Train and evaluate, unless that was done with these settings."""
        made_with = {"settings": settings, "measured": [*MEASURED, *TASKS]}
        if self.path.exists() and made_with.items() <= self.read().items():
            return
        folder = out / str(self)
        folder.mkdir(parents=True, exist_ok=True)
        config, run = folder / "settings.yaml", folder / "run"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        train = ["train", "--config", str(config), "--seed", str(self.seed), "--out", str(run)]
        resume = ["--resume"] if (run / "checkpoint.pt").exists() else []
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            call([*train, *resume], stdout=log, stderr=log)
            evaluate = ["evaluate", str(run / "bundle"), *MEASURED]
            figures = json.loads(call(evaluate, stdout=subprocess.PIPE, stderr=log))
            tasks = call([*evaluate, "--task", *TASKS], stdout=subprocess.PIPE, stderr=log)
        figures |= json.loads(tasks)
        kept = {name: figures[name] for name in (key.split(".")[0] for key in FIGURES.values())}
        found = {"commit": figures["bundle_commit"], **made_with, "figures": kept}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    def read(self) -> Values:
        """Commit, settings and figures."""
        found: Values = json.loads(self.path.read_text(encoding="utf-8"))
        return found


def call(arguments: list[str], **streams: Any) -> str:  # noqa: ANN401
    """Run a command of the package. Raises: CalledProcessError."""
    command = [sys.executable, "-m", "dads_ros", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=True, text=True, **streams)
    return str(done.stdout or "")


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
