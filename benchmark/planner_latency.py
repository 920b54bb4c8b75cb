"""How long one plan and one policy step take, on one thread, and how good the plan is.

    python benchmark/planner_latency.py [BUNDLE] [--plans 500] [--seed 0]

Each plan starts anew from a random pose towards a random goal 5 m away. Quality is the plan's mean
distance from the goal over its duration, in units of the distance at the start: lower is better.
"""

import argparse
import dataclasses
import os
import time

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
from report import percentiles_ms, print_report

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import PlannerConfig
from dads_ros.files import find_file
from dads_ros.observation import policy_obs_dim
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.skill_planner import PLANNER_PRESETS, SkillPlanner, robot_rngs

WARM_UP = 30
GOAL_DISTANCE_M = 5.0
SIZES = [(50, 1, 10), (64, 2, 3), (200, 2, 3), (200, 4, 10), (1000, 2, 3)]
"""Candidates K, horizon H_P, refinements R that are timed besides the presets."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", default="ant")
    parser.add_argument("--plans", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bundle = SkillBundle(find_file(args.bundle, folder="models"))
    configs = {name: config for name, config in PLANNER_PRESETS.items()}
    for samples, horizon, refinements in SIZES:
        configs[f"K{samples}_H{horizon}_R{refinements}"] = PlannerConfig(
            num_samples=samples, planning_horizon=horizon, num_refine_steps=refinements
        )
    print_report(
        "planner_latency",
        {
            "robot": bundle.robot.name,
            "bundle_commit": bundle.manifest.commit,
            "seed": args.seed,
            "control_dt_ms": bundle.robot.control_dt * 1000.0,
            "policy_step": time_policy(bundle, args.plans),
            "plan": {
                name: time_plans(bundle, config, args.plans, args.seed)
                for name, config in configs.items()
            },
        },
    )


def time_plans(
    bundle: SkillBundle, config: PlannerConfig, num_plans: int, seed: int
) -> dict[str, float]:
    """Latency and quality of plans for one robot."""
    config = dataclasses.replace(config, warm_start=False)
    rngs = robot_rngs(seed, 1)
    planner = SkillPlanner(bundle, config, rngs=rngs)
    rng = np.random.default_rng(seed)
    seconds, quality = np.empty(num_plans), np.empty(num_plans)
    for index in range(-WARM_UP, num_plans):
        pose = np.append(rng.uniform(-5.0, 5.0, 2), rng.uniform(-np.pi, np.pi))[None]
        angle = rng.uniform(-np.pi, np.pi)
        direction = np.array([np.cos(angle), np.sin(angle)])
        cost = GoalCost(pose[:, :2] + GOAL_DISTANCE_M * direction)
        begin = time.perf_counter()
        plan = planner.plan(pose, cost)
        if index >= 0:
            seconds[index] = time.perf_counter() - begin
            quality[index] = float(plan.cost[0]) / GOAL_DISTANCE_M
    return {**percentiles_ms(seconds), "cost_ratio": round(float(quality.mean()), 5)}


def time_policy(bundle: SkillBundle, num_steps: int) -> dict[str, float]:
    """Latency of the policy for one robot, and the share of commands within limits."""
    rng = np.random.default_rng(0)
    low, high = bundle.robot.command_limits
    obs_dim = policy_obs_dim(bundle.robot)
    seconds, within = np.empty(num_steps), np.empty(num_steps)
    for index in range(-WARM_UP, num_steps):
        obs = rng.standard_normal((1, obs_dim)).astype(np.float32)
        skill = bundle.skill_space.sample(1, rng)
        begin = time.perf_counter()
        command = bundle.command(obs, skill)[0]
        if index >= 0:
            seconds[index] = time.perf_counter() - begin
            within[index] = ((command >= low - 1e-5) & (command <= high + 1e-5)).all()
    return {**percentiles_ms(seconds), "within_limits": float(within.mean())}


if __name__ == "__main__":
    main()
