"""Everything that is measured on a bundle, as one plain dictionary."""

import logging
from collections.abc import Callable
from typing import Any

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.evaluation.goals import evaluate_goals, sample_goals
from dads_ros.evaluation.skills import count_xy_bins, evaluate_skills, evaluate_switching
from dads_ros.robot import RobotSpec

logger = logging.getLogger(__name__)

GRID_SKILLS = 256
GRID_STEPS = 200
BIN_SKILLS = 48  # as in the works that report covered x-y bins
LONG_SKILLS, LONG_STEPS = 20, 500
DECIMALS = 6


def evaluate_bundle(
    bundle: SkillBundle,
    config: PlannerConfig,
    *,
    seed: int,
    robot: RobotSpec | None = None,
    num_goals: int = 256,
    steps: int = 400,
    goal_range_m: float = 15.0,
    delay_ms: float = 0.0,
    num_threads: int | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Skills on a fixed grid, then the closed loop to random goals; all at random start yaw.

    Args:
        bundle: what is measured.
        config: planner settings.
        seed: of starts, goals and the planner's samples.
        robot: the robot file here, which says where the MJCF is; by default the bundle's own.
        num_goals: goals, one robot each.
        steps: control steps towards a goal.
        goal_range_m: goals are uniform in a square of twice this side around the start.
        delay_ms: from state to command.
        num_threads: of the physics; all available cores by default.
        progress: called with the number of steps made towards the goals.
    Returns: figures as plain numbers, ``<key>_ci95`` [low, high] for each mean, and the settings.
    """
    model = RobotModel(robot or bundle.robot)
    if model.sha256() != bundle.manifest.model_sha256:
        logger.warning(
            "the model of robot '%s' is not the one that the bundle was trained on (another "
            "MJCF, or another version of MuJoCo); its figures may differ",
            bundle.robot.name,
        )
    prediction_steps = bundle.manifest.prediction.steps
    skills, few, long = (
        evaluate_skills(
            model,
            bundle.skill_space,
            bundle.command,
            bundle.rollout,
            prediction_steps,
            seed=seed,
            delay_ms=delay_ms,
            num_skills=num,
            steps=grid_steps,
            num_threads=num_threads,
        )
        for num, grid_steps in (
            (GRID_SKILLS, GRID_STEPS),
            (BIN_SKILLS, GRID_STEPS),
            (LONG_SKILLS, LONG_STEPS),
        )
    )
    switching = evaluate_switching(
        model,
        bundle.skill_space,
        bundle.command,
        bundle.rollout,
        prediction_steps,
        seed=seed,
        delay_ms=delay_ms,
        num_threads=num_threads,
    )
    goals = evaluate_goals(
        model,
        bundle.command,
        bundle,
        config,
        sample_goals(model.spec, num_goals, goal_range_m, seed),
        seed=seed,
        steps=steps,
        delay_ms=delay_ms,
        num_threads=num_threads,
        progress=progress,
    )
    intervals = goals.intervals() | skills.intervals()
    figures = {
        **goals.to_dict(),
        **skills.to_dict(),
        **switching.to_dict(),
        "xy_bins": count_xy_bins(few.tracks),
        "long_upright_fraction": 1.0 - float(long.fallen.mean()),
        "long_displacement_m": float(long.distance.mean()),
        "long_directions": int((long.skills_per_sector() > 0).sum()),
        "skills_per_sector": skills.skills_per_sector().tolist(),
        **{f"{key}_ci95": None if ci is None else list(ci) for key, ci in intervals.items()},
    }
    return {
        "robot": bundle.robot.name,
        "bundle_commit": bundle.manifest.commit,
        "seed": seed,
        "goals": num_goals,
        "steps": steps,
        "goal_range_m": goal_range_m,
        "delay_ms": delay_ms,
        **{key: _rounded(value) for key, value in figures.items()},
        "planner": config.to_dict(),
    }


def _rounded(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, DECIMALS) if isinstance(value, float) else value
