"""A real skill bundle for the point mass, written by hand instead of trained."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from dads_ros.bundle.manifest import (
    DYNAMICS_FILE,
    POLICY_FILE,
    BundleManifest,
)
from dads_ros.config import SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.files import sha256
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec

_GAIN = 2.0
_OPSET = 17


def write_bundle(
    folder: Path, prediction_steps: int = 10, velocities: np.ndarray | None = None
) -> Path:
    """Skills of the point mass that hold the velocity ``skill`` (m/s), world frame.

    Policy: command = clip(skill + 2 (skill - velocity), -1, 1); mass and damping are 1.
    Skill dynamics: delta = skill * time.
    ``velocities``: of discrete skills instead. Shape (D, 2).
    """
    prior, meant = SkillPriorConfig(kind="disc", dim=2), np.eye(2)
    if velocities is not None:
        prior, meant = SkillPriorConfig(kind="discrete", dim=len(velocities)), velocities
    robot = RobotSpec.load("point_mass")
    folder.mkdir(parents=True, exist_ok=True)
    xy = np.eye(3, 2, dtype=np.float32)
    save_graph(
        folder / POLICY_FILE,
        inputs={"policy_obs": 3, "skill": prior.dim},
        output=("command", 2),
        constants={"xy": xy, "ahead": np.float32((1.0 + _GAIN) * meant), "gain": np.float32(_GAIN)}
        | {"low": np.float32(-1.0), "high": np.float32(1.0)},
        nodes=[
            ("MatMul", ["policy_obs", "xy"], "velocity"),
            ("MatMul", ["skill", "ahead"], "wanted"),
            ("Mul", ["velocity", "gain"], "damped"),
            ("Sub", ["wanted", "damped"], "push"),
            ("Clip", ["push", "low", "high"], "command"),
        ],
    )
    save_graph(
        folder / DYNAMICS_FILE,
        inputs={"skill": prior.dim},
        output=("delta", 2),
        constants={"moved": np.float32(prediction_steps * robot.control_dt * meant)},
        nodes=[("MatMul", ["skill", "moved"], "delta")],
    )
    BundleManifest(
        robot=robot,
        model_sha256=RobotModel(robot).sha256(),
        skill_prior=prior,
        prediction=PredictionSpec(steps=prediction_steps),
        files={name: sha256(folder / name) for name in (POLICY_FILE, DYNAMICS_FILE)},
        training_config={},
        commit="written by hand",
        versions={"onnxruntime": onnxruntime.__version__},
    ).save(folder)
    return folder


def save_graph(
    path: Path,
    *,
    inputs: dict[str, int],
    output: tuple[str, int],
    constants: dict[str, np.ndarray],
    nodes: list[tuple[str, list[str], str]],
) -> None:
    """Write an ONNX graph whose inputs and output have shape (B, size)."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", size])
        for name, size in [*inputs.items(), output]
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, sources, [target]) for kind, sources, target in nodes],
        path.stem,
        values[:-1],
        values[-1:],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)
