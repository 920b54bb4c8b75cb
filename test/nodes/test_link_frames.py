"""What is published on /tf: a tree from odom, which puts every link where MuJoCo has it."""

import mujoco
import numpy as np
import pytest
from rclpy.serialization import serialize_message

from dads_ros.envs.links import RobotLinks
from dads_ros.envs.model import RobotModel
from dads_ros.nodes.conversions import Frames, odometry_message, to_ns
from dads_ros.nodes.link_frames import LinkFrames
from dads_ros.robot import RobotSpec


@pytest.mark.parametrize("robot", ["half_cheetah", "humanoid"])
def test_transforms_are_a_tree_from_odom_to_where_mujoco_has_the_bodies(robot: str) -> None:
    model = RobotModel(RobotSpec.load(robot))
    mj, data = model.mj_model, mujoco.MjData(model.mj_model)
    links, frames = RobotLinks(model, "robot2/"), Frames.of("robot2/")
    link_frames = LinkFrames(links.links)
    for seed in (0, 1):  # the messages are reused
        state = model.reset_state(1, np.random.default_rng(seed))
        state[0, 1 : 1 + mj.nq] += np.random.default_rng(seed).normal(0.0, 0.5, mj.nq)
        mujoco.mj_normalizeQuat(mj, state[0, 1 : 1 + mj.nq])
        data.qpos[:] = state[0, 1 : 1 + mj.nq]
        mujoco.mj_kinematics(mj, data)
        odometry = odometry_message(
            model.robot_state(data.qpos[None], data.qvel[None])[0], 7, frames
        )
        matrices = {"robot2/odom": np.eye(4)}
        for transform in link_frames.update(odometry, *links.poses(state[0])):
            serialize_message(transform)
            assert to_ns(transform.header.stamp) == 7
            assert transform.child_frame_id not in matrices  # one parent each
            place, turn = transform.transform.translation, transform.transform.rotation
            local, flat = np.eye(4), np.empty(9)
            mujoco.mju_quat2Mat(flat, np.array([turn.w, turn.x, turn.y, turn.z]))
            local[:3, :3], local[:3, 3] = flat.reshape(3, 3), [place.x, place.y, place.z]
            parent = matrices[transform.header.frame_id]
            matrices[transform.child_frame_id] = parent @ local
        base = mj.body(model.body_id).name
        for body in range(1, mj.nbody):
            name = "base_link" if mj.body(body).name == base else mj.body(body).name
            found = matrices[f"robot2/{name}"]
            np.testing.assert_allclose(found[:3, 3], data.xpos[body], atol=1e-9)
            np.testing.assert_allclose(found[:3, :3], data.xmat[body].reshape(3, 3), atol=1e-9)
