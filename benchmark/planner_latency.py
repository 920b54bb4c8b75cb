"""How long one plan and one policy step take, on one thread, and how good the plan is.

    python benchmark/planner_latency.py [BUNDLE] [--plans 500] [--seed 0]

Each plan starts anew from a random pose towards a random goal 5 m away. Quality is the plan's mean
distance from the goal over its duration, in units of the distance at the start: lower is better.

Beside it, in turn and on the same poses, goals, model and cost: MPPI as it is written down first,
with one call of the model for each skill of each candidate, and pytorch_mppi where it is installed
(extra ``benchmark``), which runs the model on all candidates at once as we do; with as many
refinements as ours, and with more, to see what it takes to reach our cost; and ours with two, to
see what it takes to reach theirs.

And ways around a warehouse of 1700 x 1900 cells of 3 cm: what is done once for a map, and the
search for ways to random goals, and their lengths over those that are searched from cell to cell.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
from maps import warehouse
from numpy.typing import NDArray
from report import percentiles_ms, print_report

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import CostsConfig, PlannerConfig
from dads_ros.evaluation.tasks import random_field
from dads_ros.files import find_file
from dads_ros.observation import policy_obs_dim
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.mppi import Mppi
from dads_ros.planning.obstacles import ObstacleMap, Roads
from dads_ros.planning.skill_planner import PLANNER_PRESETS, SkillPlanner, robot_rngs
from dads_ros.planning.tasks import Task

try:
    import torch
    from pytorch_mppi import MPPI
except ImportError:  # an extra
    MPPI = None

WARM_UP = 30
GOAL_DISTANCE_M = 5.0
SIZES = [(50, 1, 10), (64, 2, 3), (200, 2, 3), (200, 4, 10), (1000, 2, 3)]
"""Candidates K, horizon H_P, refinements R that are timed besides the presets."""
OBSTACLES = PlannerConfig(num_samples=2000, planning_horizon=4, num_refine_steps=1)
WAREHOUSE_CELL_M, WAREHOUSE_GOALS = 0.03, 20
COMPARED_PLANS = 100
REFINEMENT_FACTORS = (1, 4, 16)
"""Of pytorch_mppi."""
FEW_REFINEMENTS = 2
"""Of ours."""
Plan = NDArray[np.float32]
Planner = Callable[[NDArray[np.float64], NDArray[np.float64]], Plan]
"""Start (1, 3) and goal (2,), world frame -> skills (H, D)."""


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
            "goal_and_obstacles_K2000_H4_R1": time_obstacles(bundle, args.plans, args.seed),
            "ways_around_a_warehouse": time_ways(bundle, args.seed),
            "compared": {
                name: compare(bundle, PLANNER_PRESETS[name], args.seed)
                for name in ("fast", "paper_dense")
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


def time_obstacles(bundle: SkillBundle, num_plans: int, seed: int) -> dict[str, float]:
    """Latency of plans through a random field of obstacles, costs put together included."""
    rng = np.random.default_rng(seed)
    planner = SkillPlanner(bundle, OBSTACLES, rngs=robot_rngs(seed, 1))
    task = Task(goals=np.array([[14.0, 0.0]]), maps=[random_field(0.0, rng)])
    seconds = np.empty(num_plans)
    for index in range(-WARM_UP, num_plans):
        place = rng.uniform([0.0, -8.0], [14.0, 8.0])
        pose = np.append(place, rng.uniform(-np.pi, np.pi))[None]
        begin = time.perf_counter()
        cost = task.cost(
            pose,
            CostsConfig(),
            held=np.zeros((1, bundle.skill_space.dim)),
            robot_radius_m=bundle.robot.radius_m,
            standing_radius_m=OBSTACLES.standing_radius_m,
        )
        planner.plan(pose, cost)
        if index >= 0:
            seconds[index] = time.perf_counter() - begin
    return percentiles_ms(seconds)


def time_ways(bundle: SkillBundle, seed: int) -> dict[str, Any]:
    """Of a map, of a robot's roads on it, of searches; and their lengths over those over cells."""
    radius_m, margin_m = bundle.robot.radius_m, CostsConfig().margin_m
    obstacles = ObstacleMap(warehouse(), WAREHOUSE_CELL_M)
    times = [time.perf_counter()]
    free = np.argwhere(obstacles.clearance_m > radius_m + margin_m / 2)
    times.append(time.perf_counter())
    roads = Roads(obstacles, radius_m, margin_m)
    times.append(time.perf_counter())
    rng = np.random.default_rng(seed)
    places = (free[:, ::-1] + 0.5) * WAREHOUSE_CELL_M
    seconds = np.empty(WAREHOUSE_GOALS)
    for index in range(WAREHOUSE_GOALS):
        goal = rng.choice(places)
        begin = time.perf_counter()
        way = roads.way_to(goal)
        seconds[index] = time.perf_counter() - begin
    exact = Roads(obstacles, radius_m, margin_m, side=1).way_to(goal)
    some = rng.choice(places, 1000)
    ratios = np.percentile(way(some) / exact(some), (1, 50, 99)).round(4).tolist()
    clearance_s, roads_s = np.diff(times).round(3).tolist()
    return {
        "block_m": way.block_m,
        "clearance_s": clearance_s,
        "roads_s": roads_s,
        "way": percentiles_ms(seconds),
        "length_ratio": dict(zip(("p1", "p50", "p99"), ratios, strict=True)),
    }


def compare(bundle: SkillBundle, config: PlannerConfig, seed: int) -> dict[str, Any]:
    """Ours and others in turn: latency, quality, and how many times ours is faster at p50."""
    config = dataclasses.replace(config, warm_start=False, standing_radius_m=0.0)
    few = dataclasses.replace(config, num_refine_steps=FEW_REFINEMENTS)
    planners: dict[str, Planner] = {
        "dads_ros": our_planner(bundle, config, seed),
        f"dads_ros_{FEW_REFINEMENTS}_refinements": our_planner(bundle, few, seed),
        "python_loop": loop_planner(bundle, config, seed),
    }
    if MPPI is not None:
        for times in REFINEMENT_FACTORS:
            name = f"pytorch_mppi_{times}_times_the_refinements"
            planners[name] = torch_planner(bundle, config, config.num_refine_steps * times, seed)
    judge = Mppi(bundle, config, robot_rngs(seed, 1))
    rng = np.random.default_rng(seed)
    seconds = {name: np.empty(COMPARED_PLANS) for name in planners}
    quality = {name: np.empty(COMPARED_PLANS) for name in planners}
    for index in range(-5, COMPARED_PLANS):
        pose = np.append(rng.uniform(-5.0, 5.0, 2), rng.uniform(-np.pi, np.pi))[None]
        angle = rng.uniform(-np.pi, np.pi)
        goal = pose[0, :2] + GOAL_DISTANCE_M * np.array([np.cos(angle), np.sin(angle)])
        for name, plan in planners.items():
            begin = time.perf_counter()
            skills = plan(pose, goal)
            if index >= 0:
                seconds[name][index] = time.perf_counter() - begin
                predictions = judge.predict(pose, skills[None])
                made = judge.candidates(skills[None, None], predictions[None])
                quality[name][index] = GoalCost(goal[None])(made)[0, 0] / GOAL_DISTANCE_M
    ours = np.median(seconds["dads_ros"])
    return {
        name: {
            **percentiles_ms(seconds[name]),
            "cost_ratio": round(float(quality[name].mean()), 5),
            "times_ours": round(float(np.median(seconds[name]) / ours), 1),
        }
        for name in planners
    }


def our_planner(bundle: SkillBundle, config: PlannerConfig, seed: int) -> Planner:
    """The one that is measured."""
    planner = SkillPlanner(bundle, config, rngs=robot_rngs(seed, 1))
    return lambda pose, goal: planner.plan(pose, GoalCost(goal[None])).skills[0]


def step_model(bundle: SkillBundle, config: PlannerConfig, state: Plan, skill: Plan) -> Plan:
    """x, y and the velocity after a skill was held. Shapes (N, 4), (N, D) -> (N, 4)."""
    prediction, steps = bundle.manifest.prediction, config.skill_duration_steps
    if not prediction.momentum:
        change = bundle.delta(skill) * np.float32(steps / prediction.steps)
        return np.concatenate([state[:, :2] + change, state[:, 2:]], axis=1)
    seconds = np.full((len(skill), 1), steps * bundle.control_dt, np.float32)
    velocities = bundle.delta(np.concatenate([skill, state[:, 2:], seconds], axis=1))
    return np.concatenate([state[:, :2] + velocities[:, :2] * seconds, velocities[:, 2:]], axis=1)


def loop_planner(bundle: SkillBundle, config: PlannerConfig, seed: int) -> Planner:
    """Algorithm 2 of the paper, one call of the model at a time."""
    rng, space = np.random.default_rng(seed), bundle.skill_space
    horizon = config.planning_horizon

    def cost_of(skills: Plan, pose: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
        state, total = np.zeros((1, 4), np.float32), 0.0
        state[:, :2] = pose[:, :2]
        for skill in skills[:, None]:
            after = step_model(bundle, config, state, skill)
            for point in range(1, 6):
                place = state + (after - state) * (point / 5.0)
                total += float(np.linalg.norm(place[0, :2] - goal))
            state = after
        return total / (5 * horizon)

    def plan(pose: NDArray[np.float64], goal: NDArray[np.float64]) -> Plan:
        mean = np.zeros((horizon, space.dim), np.float32)
        std = config.noise_std
        for _ in range(config.num_refine_steps):
            noise = std * rng.standard_normal((config.num_samples, horizon, space.dim))
            samples = space.clip(mean + noise, config.skill_range)
            costs = np.array([cost_of(sample, pose, goal) for sample in samples])
            weights = np.exp((costs.min() - costs) / config.temperature)
            mean = np.einsum("k,khd->hd", weights / weights.sum(), samples).astype(np.float32)
            std *= config.noise_decay
        return mean

    return plan


def torch_planner(
    bundle: SkillBundle, config: PlannerConfig, num_refine_steps: int, seed: int
) -> Planner:
    """pytorch_mppi; its state is x, y, the velocity, and x, y before."""
    space, goal_now = bundle.skill_space, torch.zeros(2)

    def dynamics(state: Any, action: Any) -> Any:  # noqa: ANN401
        skill, before = space.clip(action.numpy(), config.skill_range), state[:, :4].numpy()
        after = step_model(bundle, config, before, skill)
        return torch.from_numpy(np.concatenate([after, before[:, :2]], axis=1))

    def cost(state: Any, action: Any) -> Any:  # noqa: ANN401
        at = torch.arange(1, 6)[:, None, None] / 5.0
        points = state[:, 4:] + at * (state[:, :2] - state[:, 4:])
        return (points - goal_now).norm(dim=2).mean(0)

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    mppi = MPPI(
        dynamics,
        cost,
        nx=6,
        noise_sigma=config.noise_std**2 * torch.eye(space.dim),
        num_samples=config.num_samples,
        horizon=config.planning_horizon,
        lambda_=config.temperature * config.planning_horizon,
    )

    def plan(pose: NDArray[np.float64], goal: NDArray[np.float64]) -> Plan:
        goal_now.copy_(torch.from_numpy(goal))
        x, y = pose[0, :2].tolist()
        mppi.U = torch.zeros(config.planning_horizon, space.dim)
        for _ in range(num_refine_steps):
            mppi.command(torch.tensor([x, y, 0.0, 0.0, x, y]), shift_nominal_trajectory=False)
        return space.clip(mppi.U.numpy(), config.skill_range)

    return plan


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
