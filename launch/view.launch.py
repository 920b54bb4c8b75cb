"""Serves the page that shows robots in a browser: ros2 launch dads_ros view.launch.py."""

import os

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dads_ros.process import PARENT_PID
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One page for the robots of a namespace and of those below it."""
    arguments = [
        DeclareLaunchArgument(
            "robot", default_value="", description="Robot file; empty: as /diagnostics says."
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Of node and topics."),
        DeclareLaunchArgument("host", default_value="127.0.0.1", description="To listen on."),
        DeclareLaunchArgument("port", default_value="8080", description="The first to try."),
    ]
    view = Node(
        package="dads_ros",
        executable="view",
        name="view",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        additional_env={PARENT_PID: str(os.getpid())},
        parameters=[
            {
                "robot": ParameterValue(LaunchConfiguration("robot"), value_type=str),
                "host": ParameterValue(LaunchConfiguration("host"), value_type=str),
                "port": ParameterValue(LaunchConfiguration("port"), value_type=int),
            },
        ],
    )
    return LaunchDescription([*arguments, view])
