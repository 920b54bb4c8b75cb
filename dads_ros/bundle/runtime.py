"""SkillBundle: policy and skill dynamics of a bundle on onnxruntime.

Shapes: B robots, K samples, H skills of a sequence, D skill dimensions, O policy_obs, A actuators,
P predicted columns.
"""

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dads_ros.bundle.manifest import DYNAMICS_FILE, POLICY_FILE, BundleManifest
from dads_ros.errors import BundleError
from dads_ros.observation import policy_obs_dim
from dads_ros.prediction import BODY, MOMENTUM_INPUT
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]
MAX_BINDINGS = 16
"""Numbers of rows that a network keeps memory for."""


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
        prediction, dim = self.manifest.prediction, self.skill_space.dim
        self.prediction_dim = prediction.dim(self.robot)
        """P."""
        if prediction.momentum:
            inputs, num_outputs = {MOMENTUM_INPUT: dim + 3}, 4
        else:
            body = {"policy_obs": policy_obs_dim(self.robot), "known": 1}
            inputs = {"skill": dim} | (body if prediction.body_state else {})
            num_outputs = self.prediction_dim
        self._policy = load_policy(self.folder, self.manifest)
        self._dynamics = Network(self.folder / DYNAMICS_FILE, inputs, num_outputs)

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


def load_policy(folder: Path, manifest: BundleManifest) -> "Network":
    """(policy_obs (B, O), skill (B, D)) -> command in the actuator's unit (B, A).

    Raises: BundleError.
    """
    robot = manifest.robot
    inputs = {"policy_obs": policy_obs_dim(robot), "skill": manifest.skill_prior.dim}
    return Network(folder / POLICY_FILE, inputs, robot.command_dim)


class Network:
    """An ONNX file.

    Inputs and output stay bound to onnxruntime, for that is half the time of a call on few rows.
    """

    def __init__(self, path: Path, inputs: dict[str, int], num_outputs: int) -> None:
        """Load it, with the sizes that its inputs and its output must have.

        Raises: BundleError.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a dozen types without a common base
            raise BundleError(
                f"'{path}' is not a model that onnxruntime loads: {error}"
            ) from error
        self._inputs, self._num_outputs = inputs, num_outputs
        self._lock = threading.Lock()
        self._bindings: dict[int, _Binding] = {}
        got = {item.name: item.shape[-1] for item in self._session.get_inputs()}
        if got != inputs:
            raise BundleError(
                f"'{path}' takes inputs of sizes {got}; expected {inputs}: export it again; a "
                "skill dynamics that an older version fitted anew is mended by 'dads-ros refit'"
            )
        # Two rows are run: a graph need not declare the size of its output.
        rows = {name: np.ones((2, size), np.float32) for name, size in inputs.items()}
        try:
            shape = self._session.run(None, rows)[0].shape
        except Exception as error:  # as above
            raise BundleError(f"{path.name} does not run: {error}; export it again") from error
        if shape != (2, num_outputs):
            raise BundleError(
                f"{path.name} gives numbers of shape {shape} for two inputs; expected "
                f"{(2, num_outputs)}: export it again"
            )

    def __call__(self, *inputs: NDArray[np.floating]) -> Float32:
        """The output for rows of all inputs, from whichever thread. Shape (N, outputs).

        Raises: ValueError for inputs of other shapes.
        """
        num = len(inputs[0])
        with self._lock:
            binding = self._bindings.get(num) or self._bind(num)
            for bound, values in zip(binding.inputs, inputs, strict=True):
                if values.shape != bound.shape:  # it would be broadcast
                    raise ValueError(f"input of shape {values.shape}; expected {bound.shape}")
                bound[:] = values
            self._session.run_with_iobinding(binding.io)
            return binding.output.copy()

    def _bind(self, num: int) -> "_Binding":
        if len(self._bindings) >= MAX_BINDINGS:
            self._bindings.clear()
        io, output = self._session.io_binding(), np.empty((num, self._num_outputs), np.float32)
        inputs = {name: np.empty((num, size), np.float32) for name, size in self._inputs.items()}
        for name, values in inputs.items():
            io.bind_cpu_input(name, values)
        io.bind_output(
            self._session.get_outputs()[0].name,
            element_type=np.float32,
            shape=output.shape,
            buffer_ptr=output.ctypes.data,
        )
        self._bindings[num] = _Binding(io, tuple(inputs.values()), output)
        return self._bindings[num]


class _Binding(NamedTuple):
    """Memory that a network reads and writes, for one number of rows."""

    io: onnxruntime.IOBinding
    inputs: tuple[Float32, ...]
    output: Float32
