"""SkillBundle: policy and skill dynamics of a bundle on onnxruntime.

Shapes: B robots, K samples, H skills of a sequence, D skill dimensions, O policy_obs, A actuators,
P predicted columns.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dads_ros.bundle.manifest import DYNAMICS_FILE, POLICY_FILE, BundleManifest
from dads_ros.errors import BundleError
from dads_ros.observation import policy_obs_dim
from dads_ros.prediction import BODY
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
        prediction, sizes = self.manifest.prediction, {"skill": self.skill_space.dim}
        self.prediction_dim = prediction.dim(self.robot)
        """P."""
        obs = {"policy_obs": policy_obs_dim(self.robot)}
        body = obs | {"known": 1} if prediction.body_state else {}
        body |= {"velocity": 2} if prediction.momentum else {}
        expected = {
            POLICY_FILE: (self._policy, obs | sizes),
            DYNAMICS_FILE: (self._dynamics, sizes | body),
        }
        for name, (session, inputs) in expected.items():
            got = {item.name: item.shape[-1] for item in session.get_inputs()}
            if got != inputs:
                raise BundleError(f"{name} takes inputs of sizes {got}; expected {inputs}")
        self._inputs = expected[DYNAMICS_FILE][1]
        self._check_outputs()

    @property
    def fields(self) -> tuple[str, ...]:
        """What the first columns of predictions are: x, y and perhaps yaw."""
        return self.manifest.prediction.pose_fields

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
        inputs = {"policy_obs": policy_obs, "skill": skill}
        return self._policy.run(["command"], inputs)[0]

    def delta(self, skill: Float32, *before: Float32) -> Float32:
        """Mean predicted change over ``prediction.steps`` control steps.

        Args:
            skill: shape (N, D).
            *before: with ``prediction.body_state`` policy_obs (N, O) and 1 where that is known,
                else 0 (N, 1); with ``prediction.momentum`` the base's velocity (N, 2), m/s.
        Returns: shape (N, P); with ``prediction.momentum`` and the velocity after it (N, P + 2).
        """
        return self._dynamics.run(
            ["delta"], dict(zip(self._inputs, (skill, *before), strict=True))
        )[0]

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

    def _check_outputs(self) -> None:
        """Run both models on two rows: a graph need not declare the sizes of its outputs."""
        obs = np.zeros((2, policy_obs_dim(self.robot)), np.float32)
        skills = self.skill_space.grid(2)
        before = [np.ones((2, num), np.float32) for num in list(self._inputs.values())[1:]]
        num_changes = self.prediction_dim + 2 * self.manifest.prediction.momentum
        outputs = (
            (POLICY_FILE, lambda: self.command(obs, skills), self.robot.command_dim),
            (DYNAMICS_FILE, lambda: self.delta(skills, *before), num_changes),
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
