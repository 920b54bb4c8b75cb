"""Refitting the skill dynamics of a bundle, with momentum."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.main import main
from dads_ros.config import PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.evaluation.skills import evaluate_switching
from dads_ros.files import find_file
from dads_ros.learning import refit
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.refit import Motion, fit, refit_bundle
from dads_ros.observation import policy_obs_dim
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.mppi import Array, Float32
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs


@pytest.fixture(scope="module")
def cheetah(tmp_path_factory: pytest.TempPathFactory) -> SkillBundle:
    """The shipped Half-Cheetah with a skill dynamics fitted to little."""
    folder = tmp_path_factory.mktemp("refit") / "bundle"
    bundle = SkillBundle(find_file("half_cheetah", folder="models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refit, "NUM_PREDICTIONS", 60)
        manifest = refit_bundle(bundle, folder)
    assert manifest.prediction.momentum and manifest.refit_commit and manifest.evaluation is None
    return SkillBundle(folder)


def lagging(num: int, seed: int) -> Motion:
    """A body whose velocity goes half of the way to 2 z in one prediction of 1 s."""
    generator = torch.Generator().manual_seed(seed)
    skill = torch.rand(num, 2, generator=generator) * 2.0 - 1.0
    skill[::10] = 0.0  # to stand is not to stop at once
    velocity = torch.randn(num, 2, generator=generator)
    after = 0.5 * velocity + skill
    return Motion(skill, velocity, torch.cat([0.5 * (velocity + after), after], dim=1))


@pytest.mark.parametrize("yaw_symmetry", [False, True])
def test_a_lag_is_learned(yaw_symmetry: bool) -> None:
    dynamics, error = fit(lagging(20000, 0), yaw_symmetry=yaw_symmetry, seed=0)
    assert error < 0.05
    motion = lagging(500, 1)
    with torch.no_grad():
        predicted = dynamics(motion.skill, motion.velocity)
    error_m = (predicted - motion.change).norm(dim=1)
    assert error_m.mean() < 0.1 and error_m[::10].mean() < 0.2
    again, same = fit(lagging(20000, 0), yaw_symmetry=yaw_symmetry, seed=0)
    assert same == error and torch.equal(again.net[0].weight, dynamics.net[0].weight)


def test_with_yaw_symmetry_what_was_seen_one_way_is_known_every_way() -> None:
    """Skills only along +x were seen; a skill along +y moves the body to +y."""
    motion = lagging(20000, 0)
    skill, velocity = (
        torch.cat([part[:, :1].abs(), torch.zeros(20000, 1)], dim=1) for part in motion[:2]
    )
    after = 0.5 * velocity + skill
    ahead = Motion(skill, velocity, torch.cat([0.5 * (velocity + after), after], dim=1))
    dynamics, _ = fit(ahead, yaw_symmetry=True, seed=0)
    with torch.no_grad():
        change = dynamics(torch.tensor([[0.0, 0.5]]), torch.zeros(1, 2))
    torch.testing.assert_close(change, torch.tensor([[0.0, 0.25, 0.0, 0.5]]), rtol=0.0, atol=0.1)


def test_a_refitted_bundle_foretells_what_a_new_skill_does(cheetah: SkillBundle) -> None:
    """More than the same skill dynamics does when it does not know the velocity."""
    model, steps = RobotModel(cheetah.robot), 5
    parts = (model, cheetah.skill_space, cheetah.command)

    def without_velocity(start: Array, skills: Float32, duration_steps: float) -> Array:
        return cheetah.rollout(start[..., :3], skills, duration_steps)

    errors = [
        evaluate_switching(*parts, rollout, steps, seed=1, num_robots=32, steps=100).to_dict()[
            "switch_prediction_error"
        ]
        for rollout in (without_velocity, cheetah.rollout)
    ]
    assert errors[1] < 0.6 < 0.8 < errors[0]


def test_each_prediction_starts_with_the_velocity_that_the_last_one_ends_with(
    cheetah: SkillBundle,
) -> None:
    obs = np.zeros(policy_obs_dim(cheetah.robot))
    start = np.concatenate([[1.0, 0.0, 0.0, 2.0, 0.0], obs])  # forward at 2 m/s
    skills = cheetah.skill_space.grid(4)[:, None].repeat(3, axis=1)
    velocity = np.tile(np.array([[2.0, 0.0]], np.float32), (4, 1))
    position = np.tile(np.array([[1.0, 0.0]]), (4, 1))
    by_hand = [position]
    for index in range(3):
        change = cheetah.delta(skills[:, index], velocity)
        position, velocity = position + change[:, :2], change[:, 2:]
        by_hand.append(position)
    np.testing.assert_allclose(
        cheetah.rollout(start, skills, 5), np.stack(by_hand, axis=1), atol=1e-5
    )
    halves = cheetah.rollout(start, skills, 2.5)
    position, velocity = by_hand[0], np.tile(np.array([[2.0, 0.0]], np.float32), (4, 1))
    for index in range(2):  # half of the way, and half of the way to the velocity afterwards
        change = cheetah.delta(skills[:, index], velocity)
        position = position + 0.5 * change[:, :2]
        velocity = 0.5 * (velocity + change[:, 2:])
        np.testing.assert_allclose(halves[:, index + 1], position, atol=1e-5)


def test_what_can_be_planned_without_a_known_state_starts_at_rest(cheetah: SkillBundle) -> None:
    planner = SkillPlanner(cheetah, PlannerConfig(), rngs=robot_rngs(0, 1))
    plan = planner.plan(np.zeros((1, 3)), GoalCost([[5.0, 0.0]]))
    assert plan.predictions[0, -1, 0] > 0.1
    np.testing.assert_array_equal(plan.predictions[0, 0], 0.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prediction": {"momentum": True}}, "set 'skill_dynamics.refit: true'"),
        (
            {"prediction": {"fields": ["x", "y", "yaw"]}, "skill_dynamics": {"refit": True}},
            "'skill_dynamics.refit' needs 'prediction.fields: [x, y]'",
        ),
        (
            {"prediction": {"momentum": True, "body_state": True}},
            "'momentum' needs 'fields: [x, y]'",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    values: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_dict({"robot": "ant"} | values)
    assert words in str(caught.value)


def test_the_command_fits_a_robot_whatever_it_observes(
    point_mass_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "NUM_PREDICTIONS", 60)
    assert main(["refit", str(point_mass_bundle), "--out", str(tmp_path / "new")]) == 0
    bundle = SkillBundle(tmp_path / "new")
    assert "orientation" not in bundle.robot.observation and bundle.manifest.prediction.momentum
    velocity = np.array([[1.0, 0.0], [0.0, -1.0]], np.float32)
    at_rest = bundle.delta(np.zeros((2, 2), np.float32), 0.0 * velocity)
    moved = bundle.delta(np.zeros((2, 2), np.float32), velocity) - at_rest
    assert ((moved[:, :2] * velocity).sum(1) > 0.0).all()  # it drifts on the way it was going
