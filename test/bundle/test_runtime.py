"""SkillBundle: policy and predictions on onnxruntime."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundles import write_bundle
from dads_ros.bundle.manifest import (
    DYNAMICS_FILE,
    POLICY_FILE,
    BundleManifest,
)
from dads_ros.bundle.network import MAX_BINDINGS
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.errors import BundleError, BundleMismatchError
from dads_ros.files import sha256
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec


def test_commands_are_those_of_the_model_for_any_batch(point_mass_bundle: Path) -> None:
    bundle, rng = SkillBundle(point_mass_bundle), np.random.default_rng(0)
    obs = rng.normal(size=(40, 3)).astype(np.float32)
    skill = bundle.skill_space.sample(40, rng)
    expected = np.clip(skill + 2.0 * (skill - obs[:, :2]), -1.0, 1.0)
    np.testing.assert_allclose(bundle.command(obs, skill), expected, atol=1e-6)
    np.testing.assert_allclose(bundle.command(obs[:1], skill[:1]), expected[:1], atol=1e-6)


def test_results_stay_as_they_are_whatever_is_asked_next(point_mass_bundle: Path) -> None:
    """Of more numbers of rows than memory is kept for, from several threads."""
    bundle, rng = SkillBundle(point_mass_bundle), np.random.default_rng(0)
    obs, skill = rng.normal(size=(40, 3)), bundle.skill_space.sample(40, rng)
    expected = np.clip(skill + 2.0 * (skill - obs[:, :2]), -1.0, 1.0)

    def ask(seed: int) -> None:
        bounds = np.sort(np.random.default_rng(seed).integers(0, 41, (400, 2)))
        parts = [slice(*pair) for pair in bounds.tolist() if pair[0] < pair[1]]
        found = [bundle.command(obs[part], skill[part]) for part in parts]
        for part, commands in zip(parts, found, strict=True):
            np.testing.assert_allclose(commands, expected[part], atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    assert len(bundle._policy._bindings) <= MAX_BINDINGS


def test_inputs_of_another_shape_are_refused(point_mass_bundle: Path) -> None:
    bundle = SkillBundle(point_mass_bundle)
    for obs, skill in ((np.zeros((4, 1)), np.zeros((4, 2))), (np.zeros((4, 3)), np.zeros((1, 2)))):
        with pytest.raises(ValueError, match="shape"):
            bundle.command(obs, skill)


@pytest.mark.parametrize("prediction_steps", [1, 10])
def test_a_rollout_means_the_same_whatever_one_prediction_spans(
    tmp_path: Path, prediction_steps: int
) -> None:
    bundle = SkillBundle(write_bundle(tmp_path, prediction_steps))
    skills = bundle.skill_space.sample(12, np.random.default_rng(0)).reshape(4, 3, 2)
    path = bundle.rollout(np.array([1.0, -2.0, 0.4]), skills, duration_steps=20)
    moved = np.cumsum(skills * 20 * bundle.robot.control_dt, axis=1)
    np.testing.assert_allclose(path[:, 0], [[1.0, -2.0]] * 4)
    np.testing.assert_allclose(path[:, 1:], np.add(moved, [1.0, -2.0]), atol=1e-5)


def test_every_candidate_may_start_elsewhere(point_mass_bundle: Path) -> None:
    bundle = SkillBundle(point_mass_bundle)
    poses = np.array([[0.0, 0.0, 0.0], [5.0, 6.0, 0.0]])
    path = bundle.rollout(poses, np.zeros((2, 1, 2), np.float32), 10)
    np.testing.assert_array_equal(path, [[[0, 0], [0, 0]], [[5, 6], [5, 6]]])


def test_a_bundle_is_checked_against_the_robot_that_is_there(point_mass_bundle: Path) -> None:
    SkillBundle(point_mass_bundle, RobotSpec.load("point_mass")).warm_up()
    with pytest.raises(BundleMismatchError):
        SkillBundle(point_mass_bundle, RobotSpec.load("ant"))


def test_a_file_that_is_no_model_is_named(point_mass_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(point_mass_bundle, tmp_path / "bundle"))
    (folder / POLICY_FILE).write_bytes(b"no model")
    refresh(folder)
    with pytest.raises(BundleError, match=r"policy\.onnx"):
        SkillBundle(folder)


def test_models_of_the_wrong_size_are_refused(point_mass_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(point_mass_bundle, tmp_path / "bundle"))
    shutil.copy(folder / DYNAMICS_FILE, folder / POLICY_FILE)
    refresh(folder)
    with pytest.raises(
        BundleError, match=r"sizes {'skill': 2}; expected {'policy_obs': 3, 'skill': 2}"
    ):
        SkillBundle(folder)


def test_outputs_of_the_wrong_size_are_refused(point_mass_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(point_mass_bundle, tmp_path / "bundle"))
    prediction = PredictionSpec(fields=("x", "y", "yaw"))
    replace(BundleManifest.load(folder), prediction=prediction).save(folder)
    with pytest.raises(BundleError, match=r"sizes {'delta': 2}; expected {'delta': 3}"):
        SkillBundle(folder)


def refresh(folder: Path) -> None:
    """Write the hashes of the files as they are now."""
    text = (folder / "bundle.yaml").read_text()
    for name, old in _hashes(text).items():
        text = text.replace(old, sha256(folder / name))
    (folder / "bundle.yaml").write_text(text)
    BundleManifest.load(folder)


def _hashes(text: str) -> dict[str, str]:
    lines = [line.strip().partition(": ") for line in text.splitlines()]
    return {name: value for name, _, value in lines if name in (POLICY_FILE, DYNAMICS_FILE)}
