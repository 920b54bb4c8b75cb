"""examine: every check of what was heard of a robot, in the order of the table."""

import numpy as np

from dads_ros.diagnosis.base import base_checks, imu_checks
from dads_ros.diagnosis.graph import graph_checks
from dads_ros.diagnosis.joints import joint_checks
from dads_ros.diagnosis.records import Check, Heard, JointRanges
from dads_ros.diagnosis.timing import timing_checks
from dads_ros.robot import RobotSpec


def examine(
    robot: RobotSpec, heard: Heard, ranges: JointRanges | None = None, no_ranges: str = ""
) -> list[Check]:
    """What is right and what is wrong before the robot is driven.

    Args:
        robot: the robot file.
        heard: what came within some seconds.
        ranges: of its joints, where the MJCF can be read.
        no_ranges: why not.
    """
    with np.errstate(all="ignore"):  # a driver may say any number
        return [
            *graph_checks(robot, heard),
            *(joint_checks(robot, heard.joints, ranges, no_ranges) if robot.joints else ()),
            *base_checks(robot, heard.bases, heard.planner.frame_prefix),
            *imu_checks(heard.imus, heard.bases, heard.planner),
            *timing_checks(robot, heard),
        ]
