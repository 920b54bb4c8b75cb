"""Starts the simulator: ros2 launch dads_ros simulate.launch.py robot:=ant."""

import os

from ament_index_python.packages import get_package_share_path
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dads_ros.process import PARENT_PID
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One simulator, in a namespace of its own if wanted."""
    config = get_package_share_path("dads_ros") / "config"
    arguments = [
        DeclareLaunchArgument("robot", default_value="ant", description="Robot file."),
        DeclareLaunchArgument("namespace", default_value="", description="Of node and topics."),
        DeclareLaunchArgument("frame_prefix", default_value="", description="Such as robot1/."),
        DeclareLaunchArgument("speed", default_value="1.0", description="Speed factor."),
        DeclareLaunchArgument("seed", default_value="0", description="Seed of the start pose."),
        DeclareLaunchArgument(
            "lock_step", default_value="false", description="Wait for commands."
        ),
        DeclareLaunchArgument(
            "publish_clock", default_value="true", description="One simulator publishes /clock."
        ),
        DeclareLaunchArgument(
            "simulator_params",
            default_value=str(config / "simulator.yaml"),
            description="Parameter file.",
        ),
    ]
    simulator = Node(
        package="dads_ros",
        executable="simulator",
        name="simulator",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        additional_env={PARENT_PID: str(os.getpid())},
        parameters=[
            LaunchConfiguration("simulator_params"),
            {
                "robot": ParameterValue(LaunchConfiguration("robot"), value_type=str),
                "frame_prefix": ParameterValue(
                    LaunchConfiguration("frame_prefix"), value_type=str
                ),
                "speed": ParameterValue(LaunchConfiguration("speed"), value_type=float),
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                "lock_step": ParameterValue(LaunchConfiguration("lock_step"), value_type=bool),
                "publish_clock": ParameterValue(
                    LaunchConfiguration("publish_clock"), value_type=bool
                ),
            },
        ],
    )
    return LaunchDescription([*arguments, simulator])
