"""Everything that is measured on a bundle, as one plain dictionary."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import CostsConfig, PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.goals import evaluate_goals, sample_goals
from dads_ros.evaluation.perturbations import PERTURBATIONS
from dads_ros.evaluation.skills import count_xy_bins, evaluate_skills, evaluate_switching
from dads_ros.evaluation.statistics import Interval, Values, intervals, means
from dads_ros.evaluation.tasks import GOAL_RANGE_M, STAND_STEPS, TASKS, evaluate_task
from dads_ros.robot import RobotSpec

logger = logging.getLogger(__name__)

GRID_SKILLS = 256
GRID_STEPS = 200
BIN_SKILLS = 48  # as in the works that report covered x-y bins
LONG_SKILLS, LONG_STEPS = 20, 1000
STAND_ROBOTS = 64
DECIMALS = 6


def evaluate_bundle(
    bundle: SkillBundle,
    config: PlannerConfig,
    *,
    seed: int,
    costs: CostsConfig | None = None,
    robot: RobotSpec | None = None,
    tasks: Sequence[str] = (),
    perturbations: Sequence[str] = (),
    num_goals: int = 256,
    steps: int | None = None,
    goal_range_m: float = GOAL_RANGE_M,
    delay_ms: float = 0.0,
    num_threads: int | None = None,
    progress: Callable[[str, int], None] = lambda task, step: None,
) -> dict[str, Any]:
    """Skills on a fixed grid, then the closed loop to random goals; or only the tasks named.

    All at random start yaw.

    Args:
        bundle: what is measured.
        config: planner settings.
        seed: of starts, goals and the planner's samples.
        costs: weights of the tasks' costs, and a cost of one's own; by default as in the node.
        robot: the robot file here, which says where the MJCF is; by default the bundle's own.
        tasks: of ``evaluation.tasks.TASKS``.
        perturbations: of ``PERTURBATIONS``: the tasks are measured with none and with each.
        num_goals: goals, or tasks of each kind; one robot each.
        steps: control steps of a task; by default as many as it takes.
        goal_range_m: goals are uniform in a square of twice this side around the start.
        delay_ms: from state to command.
        num_threads: of the physics; all available cores by default.
        progress: called with the name of a task and the number of steps made in it.
    Returns: figures as plain numbers, ``<key>_ci95`` [low, high] for each mean, and the settings;
        figures of a task in a dictionary under its name.
    Raises: ConfigError for a task that the robot cannot do at all.
    """
    model = RobotModel(robot or bundle.robot)
    if model.sha256() != bundle.manifest.model_sha256:
        logger.warning(
            "the model of robot '%s' is not the one that the bundle was trained on (another "
            "MJCF, or another version of MuJoCo); its figures may differ",
            bundle.robot.name,
        )
    driver = Driver(
        model=model,
        policy=bundle.command,
        skills=bundle,
        planner=config,
        costs=costs or CostsConfig(),
        seed=seed,
        delay_ms=delay_ms,
        num_threads=num_threads,
    )

    def watched(name: str) -> Driver:
        return dataclasses.replace(driver, progress=functools.partial(progress, name))

    settings = {
        "robot": bundle.robot.name,
        "bundle_commit": bundle.manifest.commit,
        "seed": seed,
        "goals": num_goals,
        "delay_ms": delay_ms,
    }
    if perturbations and not tasks:
        raise ConfigError("perturbations are measured in tasks; name some of them, such as goal")
    if tasks:
        if goal_range_m != GOAL_RANGE_M:
            raise ConfigError(
                f"goals of tasks lie within +-{GOAL_RANGE_M:g} m; leave the range out"
            )

        def measured(how: str) -> dict[str, Any]:
            found = {}
            for name in tasks:
                num_steps = steps or TASKS[name].num_steps(model.spec)
                driver = watched(f"{name}, {how}" if how else name)
                driver = PERTURBATIONS[how](driver) if how else driver
                values = evaluate_task(name, driver, num_goals, num_steps)
                found[name] = {"steps": num_steps, **_with_intervals(values)}
            return found

        figures = measured("")
        if perturbations:
            figures["perturbed"] = {how: measured(how) for how in perturbations}
    else:
        steps = steps or TASKS["goal"].num_steps(model.spec)
        settings |= {"steps": steps, "goal_range_m": goal_range_m}
        goals = sample_goals(model.spec, num_goals, goal_range_m, seed)
        reached = evaluate_goals(watched("goal"), goals, steps)
        standing = evaluate_task("stand", watched("stand"), STAND_ROBOTS, STAND_STEPS)
        figures = _with_intervals({**reached.values, **standing}) | _skill_figures(bundle, driver)
    plans = {"planner": config.to_dict(), "costs": driver.costs.to_dict()}
    return settings | _rounded(figures) | plans


def _skill_figures(bundle: SkillBundle, driver: Driver) -> dict[str, Any]:
    """Of skills that are held, and of skills that change again and again."""
    arguments: dict[str, Any] = {
        "seed": driver.seed,
        "delay_ms": driver.delay_ms,
        "num_threads": driver.num_threads,
    }
    parts = (
        driver.model,
        bundle.skill_space,
        bundle.command,
        bundle.rollout,
        driver.planner.skill_duration_steps,
    )
    skills, few, long = (
        evaluate_skills(*parts, frame=bundle.frame, num_skills=num, steps=steps, **arguments)
        for num, steps in (
            (GRID_SKILLS, GRID_STEPS),
            (BIN_SKILLS, GRID_STEPS),
            (LONG_SKILLS, LONG_STEPS),
        )
    )
    return {
        **skills.to_dict(),
        **evaluate_switching(*parts, **arguments).to_dict(),
        "xy_bins": count_xy_bins(few.tracks),
        "long_upright_fraction": 1.0 - float(long.fallen.mean()),
        "long_displacement_m": float(long.distance[long.leads_away].mean()),
        "long_directions": int((long.skills_per_sector() > 0).sum()),
        "skills_per_sector": skills.skills_per_sector().tolist(),
        **_ci95(skills.intervals()),
    }


def _with_intervals(values: Values) -> dict[str, Any]:
    return means(values) | _ci95(intervals(values))


def _ci95(found: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {f"{key}_ci95": None if ci is None else list(ci) for key, ci in found.items()}


def _rounded(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, DECIMALS) if isinstance(value, float) else value
