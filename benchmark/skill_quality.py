"""How good bundles are: mean and spread over bundles (one per training seed) and evaluation seeds.

    python benchmark/skill_quality.py [BUNDLE ...] [--seeds 1 2 3] [--delay-ms 0]

Give one bundle per training seed to see the spread of training; one bundle alone shows that of
evaluation.
"""

import argparse
import time

import numpy as np
from report import print_report

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import PlannerConfig
from dads_ros.evaluation.report import evaluate_bundle
from dads_ros.files import find_file

FIGURES = (
    "goal_fraction_1m",
    "goal_fraction_05m",
    "normalised_distance_200",
    "normalised_distance_400",
    "sectors_3m",
    "mean_displacement_m",
    "flip_fraction",
    "prediction_error",
    "fall_fraction",
    "xy_bins",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", default=["ant"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1001, 1002, 1003])
    parser.add_argument("--goals", type=int, default=256)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    args = parser.parse_args()
    begin, runs = time.perf_counter(), []
    for name in args.bundles:
        bundle = SkillBundle(find_file(name, folder="models"))
        for seed in args.seeds:
            report = evaluate_bundle(
                bundle, PlannerConfig(), seed=seed, num_goals=args.goals, delay_ms=args.delay_ms
            )
            runs.append({key: report[key] for key in ("seed", "bundle_commit", *FIGURES)})
    values = np.array([[run[key] for key in FIGURES] for run in runs], float)
    print_report(
        "skill_quality",
        {
            "bundles": args.bundles,
            "goals": args.goals,
            "delay_ms": args.delay_ms,
            "seconds": round(time.perf_counter() - begin, 1),
            "mean": dict(zip(FIGURES, values.mean(axis=0).round(4).tolist(), strict=True)),
            "std": dict(zip(FIGURES, values.std(axis=0).round(4).tolist(), strict=True)),
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
