"""SkillBundle: policy and skill dynamics of a bundle on onnxruntime.

Shapes: B robots, K samples, H skills of a sequence, D skill dimensions, O policy_obs, A actuators,
P predicted fields.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dads_ros.bundle.manifest import DYNAMICS_FILE, POLICY_FILE, BundleManifest
from dads_ros.errors import BundleError
from dads_ros.observation import policy_obs_dim
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]


class SkillBundle:
    """A loaded and checked bundle."""

    def __init__(self, folder: Path, robot: RobotSpec | None = None) -> None:
        """Load it.

        Args:
            folder: the bundle.
            robot: when given, the bundle must be for this robot.
        Raises: BundleError, BundleMismatchError.
        """
        self.folder = Path(folder)
        self.manifest = BundleManifest.load(self.folder)
        if robot is not None:
            self.manifest.check_robot(robot)
        self.robot = self.manifest.robot
        self.skill_space = SkillSpace(self.manifest.skill_prior)
        self._policy = _session(self.folder / POLICY_FILE)
        self._dynamics = _session(self.folder / DYNAMICS_FILE)
        expected = {
            POLICY_FILE: (self._policy, [policy_obs_dim(self.robot), self.skill_space.dim]),
            DYNAMICS_FILE: (self._dynamics, [self.skill_space.dim]),
        }
        for name, (session, sizes) in expected.items():
            got = [item.shape[-1] for item in session.get_inputs()]
            if got != sizes:
                raise BundleError(f"{name} takes inputs of sizes {got}; expected {sizes}")
        self._check_outputs()

    @property
    def prediction_dim(self) -> int:
        """P."""
        return len(self.manifest.prediction.fields)

    def command(self, policy_obs: Float32, skill: Float32) -> Float32:
        """Mean action of the policy.

        Args:
            policy_obs: from ``build_policy_obs``. Shape (B, O).
            skill: shape (B, D).
        Returns: commands in the actuator's unit. Shape (B, A).
        """
        inputs = {"policy_obs": policy_obs, "skill": skill}
        return self._policy.run(["command"], inputs)[0]

    def delta(self, skills: Float32) -> Float32:
        """Mean predicted change over ``prediction.steps`` control steps. (N, D) -> (N, P)."""
        return self._dynamics.run(["delta"], {"skill": skills})[0]

    def rollout(self, pose: NDArray[np.floating], skills: Float32, duration_steps: int) -> Float32:
        """Predicted poses when each skill of a sequence is held in turn.

        Args:
            pose: x, y (m) and yaw (rad) now, world frame. Shape (3,), or (K, 3) for one each.
            skills: shape (K, H, D).
            duration_steps: control steps that each skill is held.
        Returns: x, y and, if predicted, yaw in the world frame, before the first and after each
            skill. Shape (K, H + 1, P).
        """
        num, horizon, dim = skills.shape
        delta = self.delta(skills.reshape(num * horizon, dim))
        scale = np.float32(duration_steps / self.manifest.prediction.steps)
        return self.manifest.prediction.chain(pose, delta.reshape(num, horizon, -1) * scale)

    def warm_up(self) -> None:
        """Run everything once, so that the first control step is as fast as the others."""
        obs = np.zeros((1, policy_obs_dim(self.robot)), np.float32)
        for num in (1, 2):
            self.command(obs.repeat(num, 0), self.skill_space.grid(num))
            self.rollout(np.zeros(3), self.skill_space.grid(num)[:, None], 1)

    def _check_outputs(self) -> None:
        """Run both models on two rows: a graph need not declare the sizes of its outputs."""
        obs = np.zeros((2, policy_obs_dim(self.robot)), np.float32)
        skills = self.skill_space.grid(2)
        outputs = (
            (POLICY_FILE, lambda: self.command(obs, skills), self.robot.command_dim),
            (DYNAMICS_FILE, lambda: self.delta(skills), self.prediction_dim),
        )
        for name, run, size in outputs:
            try:
                shape = run().shape
            except Exception as error:  # as in _session
                raise BundleError(f"{name} does not run: {error}; export it again") from error
            if shape != (2, size):
                raise BundleError(
                    f"{name} gives numbers of shape {shape} for two inputs; expected {(2, size)}: "
                    "export it again"
                )


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen types without a common base
        raise BundleError(f"'{path}' is not a model that onnxruntime loads: {error}") from error
