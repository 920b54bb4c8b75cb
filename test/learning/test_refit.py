"""Refitting the skill dynamics of a bundle, with momentum."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.main import main
from dads_ros.config import PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.errors import BundleError, ConfigError
from dads_ros.evaluation.skills import evaluate_switching
from dads_ros.files import find_file
from dads_ros.learning import refit
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.refit import Motion, fit, refit_bundle, watch
from dads_ros.observation import policy_obs_dim
from dads_ros.planning.control_loop import plan_start
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.mppi import Array, Float32
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.prediction import BODY


@pytest.fixture(scope="module")
def cheetah(tmp_path_factory: pytest.TempPathFactory) -> SkillBundle:
    """The shipped Half-Cheetah with a skill dynamics fitted to little."""
    folder = tmp_path_factory.mktemp("refit") / "bundle"
    bundle = SkillBundle(find_file("half_cheetah", folder="models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refit, "NUM_PERIODS", 60)
        manifest = refit_bundle(bundle.folder, folder)
    assert manifest.prediction.momentum and manifest.refit_commit and manifest.evaluation is None
    return SkillBundle(folder)


def lagging(num: int, seed: int) -> Motion:
    """A body whose velocity is drawn to 2 z, with a time constant of 1 s; steps of 0.1 s."""
    generator = torch.Generator().manual_seed(seed)
    skill = torch.rand(num, 2, generator=generator) * 2.0 - 1.0
    skill[::10] = 0.0  # to stand is not to stop at once
    velocity = torch.randn(num, 2, generator=generator)
    return seen_of(skill, velocity, torch.randint(5, 21, (num,), generator=generator))


def seen_of(skill: torch.Tensor, velocity: torch.Tensor, num_steps: torch.Tensor) -> Motion:
    """Its motions; what comes after the last step of each is nonsense."""
    time = 0.1 * torch.arange(1, 21)[:, None]
    lag = (velocity - 2.0 * skill)[:, None]
    after = 2.0 * skill[:, None] + lag * torch.exp(-time)
    mean = 2.0 * skill[:, None] + lag * (1.0 - torch.exp(-time)) / time
    track = torch.cat([mean, after], dim=2)
    track[torch.arange(20) >= num_steps[:, None]] = 1e3
    fell = torch.full((len(skill),), torch.nan)
    return Motion(skill, velocity, track, num_steps, fell, torch.arange(len(skill)), 0.1)


@pytest.mark.parametrize("yaw_symmetry", [False, True])
def test_a_lag_is_learned_for_every_time_that_a_skill_is_held(yaw_symmetry: bool) -> None:
    net, error = fit(lagging(20000, 0), yaw_symmetry=yaw_symmetry, seed=0)
    assert error < 0.05
    motion = lagging(2000, 1)
    for steps, limit_m_s in ((1, 0.15), (5, 0.1), (20, 0.25)):
        longer = motion.rows(motion.num_steps >= steps)
        inputs, expected = longer.at(torch.full((len(longer.skill),), steps))
        with torch.no_grad():
            error_m_s = (net(inputs)[:, :4] - expected).norm(dim=1)
        stands = (longer.skill == 0.0).all(dim=1)
        assert len(inputs) > 90 and error_m_s.mean() < limit_m_s
        assert stands.any() and error_m_s[stands].mean() < 0.2
    again, same = fit(lagging(20000, 0), yaw_symmetry=yaw_symmetry, seed=0)
    assert same == error and torch.equal(again[0].weight, net[0].weight)


def test_torch_has_one_thread_to_refit_with_and_all_its_own_afterwards() -> None:
    used: list[int] = []

    class Watched(Motion):
        def at(self, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            used.append(torch.get_num_threads())
            return super().at(steps)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit(Watched(*lagging(2000, 0)), yaw_symmetry=False, seed=0)
        assert set(used) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_error_is_that_on_robots_that_were_not_seen() -> None:
    """Each of ten moves always the same way, which says nothing of the others."""
    robot = torch.arange(20000) % 10
    skill, velocity = (part[:10][robot] for part in lagging(10, 0)[:2])
    motion = seen_of(skill, velocity, torch.full((20000,), 20))
    track = torch.randn(10, 1, 4, generator=torch.Generator().manual_seed(1)).expand(10, 20, 4)
    motion = motion._replace(robot=robot, track=track[robot])
    _, error = fit(motion, yaw_symmetry=False, seed=0)
    assert error > 0.5


def test_with_yaw_symmetry_what_was_seen_one_way_is_known_every_way() -> None:
    """Skills only along +x were seen; a skill along +y moves the body to +y."""
    motion = lagging(20000, 0)
    skill, velocity = (
        torch.cat([part[:, :1].abs(), torch.zeros(20000, 1)], dim=1) for part in motion[:2]
    )
    net, _ = fit(seen_of(skill, velocity, motion.num_steps), yaw_symmetry=True, seed=0)
    with torch.no_grad():
        velocities = net(torch.tensor([[0.0, 0.5, 0.0, 0.0, 1.0]]))[:, :4]
    expected = torch.tensor([[0.0, float(np.exp(-1.0)), 0.0, 1.0 - float(np.exp(-1.0))]])
    torch.testing.assert_close(velocities, expected, rtol=0.0, atol=0.1)


def test_across_its_line_a_velocity_changes_no_prediction(cheetah: SkillBundle) -> None:
    obs = np.zeros(policy_obs_dim(cheetah.robot))
    skills = cheetah.skill_space.grid(4)[:, None].repeat(3, axis=1)
    ahead, askew = (
        cheetah.rollout(np.concatenate([[0.0, 0.0, 0.0, 1.0, across, 0.0], obs]), skills, 5)
        for across in (0.0, 0.05)
    )
    np.testing.assert_array_equal(ahead, askew)


def test_a_motion_ends_where_the_skill_changes_and_where_the_robot_does_not_stand() -> None:
    stands, changes = np.ones((15, 3), bool), np.zeros((3, 3), bool)
    changes[2, 1] = True
    stands[7, 2] = False  # in the second of three periods
    assert refit._num_steps(stands, changes).tolist() == [[15, 10, 7], [10, 5, 2], [5, 5, 5]]
    long = np.ones((40, 1), bool)
    assert refit._num_steps(long, np.zeros((8, 1), bool)).max() == refit.MAX_STEPS


def test_a_fall_counts_for_every_skill_that_began_so_shortly_before() -> None:
    stands, falls = np.ones((50, 4), bool), np.zeros((50, 4), bool)
    stands[22, 1:3] = False
    falls[22, 1] = True
    stands[12, 3], stands[22:, 3], falls[22, 3] = False, False, True  # reset, then a fall
    left = np.full((10, 4), 99)
    fell = refit._fell(stands, falls, left)
    end = [np.nan] * 4  # too late to know
    np.testing.assert_array_equal(fell[:, 0], [0.0] * 6 + end)
    left[:3] = 24  # what would have come to a reset says nothing, whatever happened
    assert np.isnan(refit._fell(stands, falls, left)[:3]).all()
    np.testing.assert_array_equal(fell[:5, 1], 1.0)
    np.testing.assert_array_equal(fell[:5, 2], np.nan)
    np.testing.assert_array_equal(fell[:5, 3], [np.nan, np.nan, np.nan, 1.0, 1.0])


def test_what_makes_robots_fall_is_learned_and_what_does_not_is_not() -> None:
    """They fall where the skill leads against the motion, by chance, and at no yaw more often."""
    generator = torch.Generator().manual_seed(0)
    motion = seen_of(*lagging(20000, 0)[:2], torch.full((20000,), 20))
    against = -(motion.skill * motion.velocity).sum(1)
    chance = torch.sigmoid(3.0 * against - 2.0)
    fell = (torch.rand(20000, generator=generator) < chance).float()
    fell[::7] = torch.nan
    # A fall ends the motion: how long it was must not tell.
    num_steps = torch.where(fell == 1.0, motion.num_steps // 3, 20)
    motion = motion._replace(fell=fell, num_steps=num_steps)
    net, error = fit(motion, yaw_symmetry=True, seed=0)
    assert error < 0.1
    other = seen_of(*lagging(2000, 1)[:2], torch.full((2000,), 20))
    wanted = torch.sigmoid(-3.0 * (other.skill * other.velocity).sum(1) - 2.0)
    for steps in (1, 5, 20):
        with torch.no_grad():
            found = net(other.at(torch.full_like(other.num_steps, steps))[0])[:, 4]
        assert (torch.sigmoid(found) - wanted).abs().mean() < 0.05


def test_falls_that_are_to_be_expected_add_up_along_a_plan(cheetah: SkillBundle) -> None:
    start = np.concatenate([np.zeros(BODY), np.zeros(policy_obs_dim(cheetah.robot))])
    skills = cheetah.skill_space.sample(12, np.random.default_rng(0)).reshape(4, 3, -1)
    prediction = cheetah.manifest.prediction
    assert cheetah.fields == ("x", "y", "falls")

    def surely(inputs: np.ndarray) -> np.ndarray:
        """A fall with probability 0.2 within 25 steps."""
        return np.tile(np.float32([0.0, 0.0, 0.0, 0.0, np.log(0.2 / 0.8)]), (len(inputs), 1))

    found = prediction.rollout(cheetah.robot, surely, start, skills, 5)
    stays_up = np.exp(-found[..., 2])
    np.testing.assert_allclose(
        stays_up, np.tile(0.8 ** np.array([0.0, 0.2, 0.4, 0.6]), (4, 1)), rtol=1e-5
    )
    longer = prediction.rollout(cheetah.robot, surely, start, skills, 50)
    np.testing.assert_allclose(np.exp(-longer[0, :, 2]), [1.0, 0.64, 0.64**2, 0.64**3], rtol=1e-5)


def test_what_is_seen_is_a_motion_of_the_robot() -> None:
    bundle = SkillBundle(find_file("half_cheetah", folder="models"))
    model = RobotModel(bundle.robot)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refit, "NUM_PERIODS", 20)
        patch.setattr(refit, "CHANGE_PROBABILITY", (0.0, 1.0))
        patch.setattr(refit, "EPISODE_STEPS", 37)
        motion = watch(model, bundle.skill_space, bundle.command, seed=0, delay_ms=(0.0, 0.0))
    counts = torch.bincount(motion.num_steps, minlength=26)
    # Whole periods, but for the few motions that a reset ends.
    assert counts[5] > counts[10] > 0 and counts[25] > 0
    assert counts[1:5].sum() < 0.15 * counts.sum()
    assert (motion.fell[motion.num_steps == 25] == 0.0).all() and not (motion.fell == 1.0).any()
    assert motion.track.shape[1:] == (25, 4)
    # Mean velocity and velocity belong together: their difference over a step is acceleration.
    rows = motion.rows(motion.num_steps >= 10)
    moved = rows.track[..., :2] * rows.control_dt * torch.arange(1, 26)[:, None]
    by_difference = torch.diff(moved[:, :10], dim=1) / rows.control_dt
    mean = 0.5 * (rows.track[:, :9, 2:] + rows.track[:, 1:10, 2:])
    error = (by_difference - mean).norm(dim=2).mean() / mean.norm(dim=2).mean()
    assert error < 0.2


def test_a_refitted_bundle_predicts_what_a_new_skill_does(cheetah: SkillBundle) -> None:
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
    start = np.concatenate([[1.0, 0.0, 0.0, 2.0, 0.0, 0.0], obs])  # forward at 2 m/s
    skills = cheetah.skill_space.sample(12, np.random.default_rng(0)).reshape(4, 3, -1)

    def by_hand(num: int, duration_s: float) -> np.ndarray:
        velocity, positions = np.tile([[2.0, 0.0]], (4, 1)), [np.tile([[1.0, 0.0]], (4, 1))]
        for index in range(num):
            skill, seconds = skills[:, 3 * index // num], np.full((4, 1), duration_s)
            velocities = cheetah.delta(np.concatenate([skill, velocity, seconds], axis=1))
            positions.append(positions[-1] + velocities[:, :2] * duration_s)
            velocity = velocities[:, 2:4]
        return np.stack(positions, axis=1)

    dt = cheetah.control_dt
    for steps in (2.5, 5, 25):
        found = cheetah.rollout(start, skills, steps)[..., :2]
        np.testing.assert_allclose(found, by_hand(3, steps * dt), atol=1e-5)
    # Longer than the longest prediction: several, of which each is as long as the others.
    found = cheetah.rollout(start, skills, 40)[..., :2]
    np.testing.assert_allclose(found, by_hand(6, 20 * dt)[:, ::2], atol=1e-5)


def test_with_a_mirror_what_was_seen_on_one_side_is_known_on_the_other() -> None:
    """Skills to the left and into left turns were seen, and what they do to the left."""
    generator = torch.Generator().manual_seed(0)
    skill = torch.rand(20000, 3, generator=generator)
    velocity = torch.cat([skill[:, :1], skill[:, 1:].square()], dim=1)
    track = torch.cat([velocity, velocity], dim=1)[:, None].expand(-1, 20, -1)
    num_steps, fell = torch.full((20000,), 20), torch.full((20000,), torch.nan)
    motion = Motion(skill, 0.0 * skill, track, num_steps, fell, torch.arange(20000), 0.1)
    inputs = torch.tensor([[0.5, -0.8, -0.8, 0.0, 0.0, 0.0, 1.0]])
    for mirror, expected in ((True, [0.5, -0.64, -0.64] * 2), (False, None)):
        net, _ = fit(motion, yaw_symmetry=False, mirror=mirror, seed=0)
        with torch.no_grad():
            found = net(inputs)[0, :6]
        if expected is not None:
            torch.testing.assert_close(found, torch.tensor(expected), rtol=0.0, atol=0.1)
        else:
            assert (found[[1, 2, 4, 5]] > -0.5).all()


def test_in_the_heading_frame_a_refitted_bundle_predicts_arcs(hovercraft_bundle: Path) -> None:
    """Held and changing skills, from any yaw: where the robot is, and where it looks."""
    bundle = SkillBundle(hovercraft_bundle)
    assert bundle.fields == ("x", "y", "yaw", "falls")
    assert bundle.manifest.prediction.frame == "heading"
    model, num, rng = RobotModel(bundle.robot), 32, np.random.default_rng(0)
    env = one_episode_env(model, num, 100, rng=rng, delay_ms=0.0)
    error, way = np.zeros((2, 3))
    for index in range(10):
        skill = bundle.skill_space.sample(num, rng)
        start = plan_start(bundle.robot, env.state, env.last_command)
        steps = (5, 10)[index % 2]
        predicted = bundle.rollout(start, skill[:, None], steps)[:, 1, :3]
        for _ in range(steps):
            env.step(bundle.command(env.policy_obs(), skill))
        pose = np.column_stack([env.state.position[:, :2], env.state.yaw()])
        off, moved = np.abs([predicted - pose, start[:, :3] - pose])
        for turns in (off, moved):
            turns[:, 2] = np.abs(np.arctan2(np.sin(turns[:, 2]), np.cos(turns[:, 2])))
        error, way = error + off.sum(axis=0), way + moved.sum(axis=0)
    assert (error < 0.15 * way).all()


def test_in_the_heading_frame_too_each_prediction_starts_with_the_last_velocity(
    hovercraft_bundle: Path,
) -> None:
    """Facing along y and going along y at 1 m/s, turning at 0.5 rad/s."""
    bundle = SkillBundle(hovercraft_bundle)
    seen, prediction = [], bundle.manifest.prediction
    skills = np.zeros((1, 3, 3), np.float32)
    skills[:, 0] = [0.1, 0.2, 0.3]

    def arc(inputs: np.ndarray) -> np.ndarray:
        """A quarter turn to the left around a point that is 1 m to the left."""
        seen.append(inputs[0].copy())
        time = inputs[0, -1]
        mean = np.array([1.0, 1.0, np.pi / 2.0]) / time
        return np.array([[*mean, 3.0, 4.0, 5.0, -50.0]], np.float32)

    start = np.concatenate([[2.0, 0.0, np.pi / 2, 0.0, 1.0, 0.5], np.zeros(6)])
    path = prediction.rollout(bundle.robot, arc, start, skills, 5)[0]
    corners = [[2, 0, 1], [1, 1, 2], [0, 0, 3], [1, -1, 4]]
    np.testing.assert_allclose(path[:, :3], corners * np.array([1, 1, np.pi / 2]), atol=1e-5)
    np.testing.assert_allclose(path[:, 3], 0.0, atol=1e-6)
    duration_s = 5 * bundle.control_dt
    np.testing.assert_allclose(seen[0], [0.1, 0.2, 0.3, 1, 0, 0.5, duration_s], atol=1e-6)
    np.testing.assert_allclose(seen[1], [0, 0, 0, 3, 4, 5, duration_s], atol=1e-6)


def test_a_bundle_that_can_no_longer_be_planned_with_can_be_refitted(
    point_mass_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "NUM_PERIODS", 60)
    old = Path(shutil.copytree(point_mass_bundle, tmp_path / "old"))
    manifest = BundleManifest.load(old)
    prediction = dataclasses.replace(manifest.prediction, momentum=True)
    dataclasses.replace(manifest, prediction=prediction).save(old)
    with pytest.raises(BundleError, match="fixed by 'dads-ros refit'"):
        SkillBundle(old)
    assert main(["refit", str(old), "--out", str(tmp_path / "new")]) == 0
    SkillBundle(tmp_path / "new").warm_up()


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
            "'momentum' needs 'fields: [x, y]' and 'frame: world', or 'fields: [x, y, yaw]'",
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
    monkeypatch.setattr(refit, "NUM_PERIODS", 60)
    assert main(["refit", str(point_mass_bundle), "--out", str(tmp_path / "new")]) == 0
    bundle = SkillBundle(tmp_path / "new")
    assert "orientation" not in bundle.robot.observation and bundle.manifest.prediction.momentum
    velocity = np.array([[1.0, 0.0], [0.0, -1.0]])
    still, second = np.zeros((2, 2)), np.ones((2, 1))
    at_rest = bundle.delta(np.concatenate([still, still, second], axis=1))
    moved = bundle.delta(np.concatenate([still, velocity, second], axis=1)) - at_rest
    assert ((moved[:, :2] * velocity).sum(1) > 0.0).all()  # it drifts on the way it was going
