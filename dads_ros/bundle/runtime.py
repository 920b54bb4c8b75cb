"""SkillBundle: policy and skill dynamics of a bundle on onnxruntime.

Shapes: B robots, K samples, H skills of a sequence, D skill dimensions, O policy_obs, A actuators,
P predicted columns.
"""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dads_ros.bundle.manifest import NETWORK_FILES, POLICY_FILE, BundleManifest
from dads_ros.bundle.network import Float32, Network, NetworkFile, load_networks
from dads_ros.isolation import one_line
from dads_ros.observation import policy_obs_dim
from dads_ros.prediction import BODY, MOMENTUM_INPUT, Frame
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace


class SkillBundle:
    """A loaded and checked bundle."""

    def __init__(self, folder: Path, robot: RobotSpec | None = None) -> None:
        """Load it.

        Args:
            folder: the bundle.
            robot: when given, the bundle must be for this robot, which then says how wide it is,
                how it is reset and how it is stopped.
        Raises: BundleError, BundleMismatchError.
        """
        self.folder = Path(folder)
        self.manifest = BundleManifest.load(self.folder)
        if robot is not None:
            self.manifest.check_robot(robot)
        self.robot = robot or self.manifest.robot
        if not self.robot.is_home_known:  # the MJCF says it, which is not needed to drive
            said = {name: getattr(self.robot, name) for name in ("radius_m", "safe_mode")}
            self.robot = dataclasses.replace(self.manifest.robot, **said)
        self.skill_space = SkillSpace(self.manifest.skill_prior, self.manifest.skill_part)
        files = [network_file(self.folder, self.manifest, name) for name in NETWORK_FILES]
        self._policy, self._dynamics = load_networks(files)

    @property
    def fields(self) -> tuple[str, ...]:
        """What the first columns of predictions are: x, y, perhaps yaw, and falls."""
        return self.manifest.prediction.columns

    @property
    def frame(self) -> Frame:
        """Axes in which skills are meant: the world's, or the heading's."""
        return self.manifest.prediction.frame

    @property
    def control_dt(self) -> float:
        """Duration of a control step, s."""
        return self.robot.control_dt

    def command(self, policy_obs: Float32, skill: Float32) -> Float32:
        """Mean action of the policy.

        Args:
            policy_obs: from ``build_policy_obs``. Shape (B, O).
            skill: shape (B, D).
        Returns: commands in the actuator's unit. Shape (B, A).
        """
        return self._policy(policy_obs, skill)

    def delta(self, *inputs: Float32) -> Float32:
        """What the skill dynamics predicts: arguments and shapes as ``prediction.Delta``."""
        return self._dynamics(*inputs)

    def rollout(
        self, start: NDArray[np.floating], skills: Float32, duration_steps: float
    ) -> Float32:
        """Predictions when each skill of a sequence is held: ``PredictionSpec.rollout``."""
        prediction = self.manifest.prediction
        return prediction.rollout(self.robot, self.delta, start, skills, duration_steps)

    def warm_up(self) -> None:
        """Run everything once, so that the first control step is as fast as the others."""
        obs = np.zeros((1, policy_obs_dim(self.robot)), np.float32)
        for num in (1, 2):
            self.command(obs.repeat(num, 0), self.skill_space.grid(num))
            start = np.zeros(BODY + obs.shape[1])
            self.rollout(start, self.skill_space.grid(num)[:, None], 1)


def load_policy(folder: Path, manifest: BundleManifest) -> Network:
    """(policy_obs (B, O), skill (B, D)) -> command in the actuator's unit (B, A).

    Raises: BundleError.
    """
    (network,) = load_networks([network_file(folder, manifest, POLICY_FILE)])
    return network


def network_file(folder: Path, manifest: BundleManifest, name: str) -> NetworkFile:
    """One of a bundle's files, with what it must be. Raises: BundleError."""
    content, path = manifest.read(folder, name), one_line(folder / name)
    robot, prediction, dim = manifest.robot, manifest.prediction, manifest.skill_prior.dim
    obs_dim = policy_obs_dim(robot)
    if name == POLICY_FILE:
        inputs = {"policy_obs": obs_dim, "skill": dim}
        return NetworkFile(path, content, inputs, "command", robot.command_dim)
    if prediction.momentum:
        num_inputs, num_outputs = prediction.momentum_dims(dim)
        return NetworkFile(path, content, {MOMENTUM_INPUT: num_inputs}, "delta", num_outputs)
    body = {"policy_obs": obs_dim, "known": 1} if prediction.body_state else {}
    return NetworkFile(path, content, {"skill": dim} | body, "delta", prediction.dim(robot))
