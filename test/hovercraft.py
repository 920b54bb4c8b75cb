"""A robot with a front that learns in seconds: forces ahead and to the side, and a torque."""

from pathlib import Path

import yaml

from dads_ros.config import read_yaml
from dads_ros.files import share_folder
from dads_ros.learning.config import TrainConfig

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
