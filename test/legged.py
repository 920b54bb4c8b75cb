"""A robot with torque motors, feet, a keyframe and an arm that nobody drives; and no floor."""

import atexit
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from dads_ros.robot import RobotSpec

LEG = """
<body name="{side}_leg" pos="0 {y} 0">
  <joint name="{side}_hip" axis="0 1 0" range="-1 1"/>
  <geom name="{side}_thigh" type="capsule" fromto="0 0 0  0 0 -0.15" size="0.02"/>
  <body name="{side}_shank" pos="0 0 -0.15">
    <joint name="{side}_knee" axis="0 1 0" range="-2 -0.2"/>
    <geom name="{side}_shin" type="capsule" fromto="0 0 0  0 0 -0.12" size="0.015"/>
    <geom name="{side}_foot" type="box" size="0.2 0.05 0.02" pos="0 0 -0.15"
          euler="0 0.2 0"/>
  </body>
</body>"""
LEGGED = f"""
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <body name="trunk">
      <freejoint/>
      <geom name="trunk" type="box" size="0.1 0.1 0.05" mass="4"/>
      {LEG.format(side="left", y=0.2)}
      {LEG.format(side="right", y=-0.2)}
      <body name="arm" pos="0 0 0.05">
        <joint name="shoulder" axis="0 1 0"/>
        <geom type="capsule" fromto="0 0 0  0.2 0 0" size="0.02"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="m_left_hip" joint="left_hip" gear="2" ctrllimited="true" ctrlrange="-10 10"/>
    <motor name="m_left_knee" joint="left_knee" gear="2" ctrllimited="true" ctrlrange="-10 10"/>
    <motor name="m_right_hip" joint="right_hip" gear="2" ctrllimited="true" ctrlrange="-10 10"/>
    <motor name="m_right_knee" joint="right_knee" gear="2" ctrllimited="true" ctrlrange="-10 10"/>
    <motor name="m_shoulder" joint="shoulder"/>
  </actuator>
  <keyframe>
    <key name="stand" qpos="0 0 0.32 1 0 0 0  0.2 -0.4  0.2 -0.4  0.5"/>
  </keyframe>
</mujoco>
"""
JOINTS = ["left_hip", "left_knee", "right_hip", "right_knee"]
VALUES: dict[str, Any] = {
    "name": "legged",
    "integrator": "implicitfast",
    "sim_dt": 0.005,
    "num_substeps": 4,
    "base": {"kind": "free", "body": "trunk"},
    "joints": JOINTS,
    "actuators": JOINTS,
    "servos": {"kp": [60.0], "kd": [2.0]},
    "command_scale": [0.3, 0.1, 0.3, 0.1],
    "observation": ["projected_gravity", "angular_velocity", "joint_positions", "last_command"],
    "feet": ["left_foot", "right_foot"],
    "mirror": {
        "joints": {
            "left_hip": "right_hip",
            "left_knee": "right_knee",
            "right_hip": "left_hip",
            "right_knee": "left_knee",
        }
    },
    "fallen": {"min_up_z": 0.5, "ends_episode": True},
    "reset": {"keyframe": "stand"},
}


_FOLDER = Path(tempfile.mkdtemp(prefix="dads_ros_legged_"))
"""One place for all tests, so that each model is compiled once."""
atexit.register(shutil.rmtree, _FOLDER)


def legged_spec(mjcf: str = LEGGED, **changes: Any) -> RobotSpec:  # noqa: ANN401
    """Its robot file, with changes."""
    path = _FOLDER / f"{hashlib.sha256(mjcf.encode()).hexdigest()}.xml"
    if not path.exists():
        path.write_text(mjcf, encoding="utf-8")
    return RobotSpec.from_dict(VALUES | {"mjcf": str(path)} | changes)
