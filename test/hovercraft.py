"""A robot with a front that learns in seconds: forces ahead and to the side, and a torque."""

from pathlib import Path

import numpy as np
import yaml

from bundles import save_graph
from dads_ros.bundle.manifest import DYNAMICS_FILE, POLICY_FILE, BundleManifest
from dads_ros.config import SkillPriorConfig, read_yaml
from dads_ros.envs.model import RobotModel
from dads_ros.files import sha256, share_folder
from dads_ros.learning.config import TrainConfig
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec

MJCF = """
<mujoco model="hovercraft">
  <option integrator="implicitfast" gravity="0 0 0"/>
  <worldbody>
    <body name="craft" pos="0 0 0.1">
      <joint name="root" type="free" damping="1"/>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
      <geom type="box" size="0.2 0.1 0.05" contype="0" conaffinity="0"/>
      <site name="middle"/>
    </body>
  </worldbody>
  <actuator>
    <motor name="ahead" site="middle" gear="1.5 0 0 0 0 0"/>
    <motor name="aside" site="middle" gear="0 0.8 0 0 0 0"/>
    <motor name="turn" site="middle" gear="0 0 0 0 0 1.5"/>
  </actuator>
</mujoco>
"""
ROBOT = {
    "name": "hovercraft",
    "mjcf": "hovercraft.xml",
    "sim_dt": 0.02,
    "num_substeps": 5,
    "base": {"body": "craft"},
    "joints": [],
    "actuators": ["ahead", "aside", "turn"],
    "observation": ["linear_velocity", "angular_velocity"],
    "reset": {"height_m": 0.1},
    "radius_m": 0.2,
    "top_speed": {
        "forward_mps": 1.2,
        "backward_mps": 0.9,
        "sideways_mps": 0.6,
        "turn_radps": 1.0,
    },
}
SPEED, FORCE, GAIN = np.float32([1.0, 0.6, 1.2]), np.float32([1.5, 0.8, 1.5]), 2.0
"""Of skills of length 1: m/s and rad/s forward, left and in a turn; what the actuators give."""
PREDICTION = {"fields": ["x", "y", "yaw"], "frame": "heading", "steps": 5}
SKILL_DYNAMICS = {
    "linear": True,
    "stretch": 1.2,
    "num_experts": 1,
    "sigma_m": 0.05,
    "sigma_rad": 0.05,
    "sigma_ratio": 0.0,
    "warm_start_m": [0.2, 0.15, 0.2],
    "warm_start_steps": 500,
}


def write_hovercraft(folder: Path) -> Path:
    """Its MJCF and its robot file, of which the path comes."""
    (folder / "hovercraft.xml").write_text(MJCF)
    path = folder / "hovercraft.yaml"
    path.write_text(yaml.safe_dump(ROBOT))
    return path


def hovercraft_config(folder: Path, **settings: object) -> TrainConfig:
    """Skills of the heading, by the point mass's settings and these, part by part."""
    values = read_yaml(share_folder() / "config" / "train" / "point_mass.yaml")
    values |= {
        "robot": str(write_hovercraft(folder)),
        "skill_prior": {"kind": "disc", "dim": 3},
        "prediction": PREDICTION,
    }
    values["skill_dynamics"] |= SKILL_DYNAMICS
    for name, value in settings.items():
        if isinstance(value, dict):
            value = values.get(name, {}) | value
        values[name] = value
    return TrainConfig.from_dict(values)


def write_hovercraft_bundle(folder: Path) -> Path:
    """Skills that hold the velocity skill * SPEED, seen from the heading; written by hand.

    Policy: command = clip((wanted + 2 (wanted - velocity)) / FORCE, -1, 1); damping is 1.
    Skill dynamics: delta = skill * SPEED * time.
    """
    folder.mkdir(parents=True)
    robot = RobotSpec.load(str(write_hovercraft(folder)))
    prediction = PredictionSpec.from_dict(PREDICTION)
    seen = np.zeros((6, 3), np.float32)
    seen[[0, 1, 5], [0, 1, 2]] = GAIN / FORCE
    save_graph(
        folder / POLICY_FILE,
        inputs={"policy_obs": 6, "skill": 3},
        output=("command", 3),
        constants={"seen": seen, "ahead": (1.0 + GAIN) * SPEED / FORCE}
        | {"low": np.float32(-1.0), "high": np.float32(1.0)},
        nodes=[
            ("MatMul", ["policy_obs", "seen"], "damped"),
            ("Mul", ["skill", "ahead"], "wanted"),
            ("Sub", ["wanted", "damped"], "push"),
            ("Clip", ["push", "low", "high"], "command"),
        ],
    )
    save_graph(
        folder / DYNAMICS_FILE,
        inputs={"skill": 3},
        output=("delta", 3),
        constants={"reach": SPEED * np.float32(prediction.steps * robot.control_dt)},
        nodes=[("Mul", ["skill", "reach"], "delta")],
    )
    BundleManifest(
        robot=robot,
        model_sha256=RobotModel(robot).sha256(),
        skill_prior=SkillPriorConfig(kind="disc", dim=3),
        prediction=prediction,
        files={name: sha256(folder / name) for name in (POLICY_FILE, DYNAMICS_FILE)},
        training_config={"symmetry": {"mirror": True}},
        commit="written by hand",
        versions={},
    ).save(folder)
    return folder
