"""Starts the simulator: ros2 launch dads_ros simulate.launch.py robot:=ant."""

import os

from ament_index_python.packages import get_package_share_path
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dads_ros.files import parameter_file
from dads_ros.process import PARENT_PID
from launch import LaunchDescription, LaunchDescriptionEntity

GIVEN = {
    "robot": str,
    "frame_prefix": str,
    "speed": float,
    "seed": int,
    "lock_step": bool,
    "publish_clock": bool,
}
"""Arguments that are parameters; where one is empty the parameter file says it, or the default."""


def generate_launch_description() -> LaunchDescription:
    """One simulator, in a namespace of its own if wanted."""
    config = get_package_share_path("dads_ros") / "config"
    arguments = [
        DeclareLaunchArgument(
            "simulator_params",
            default_value=str(config / "simulator.yaml"),
            description="Parameter file: of what no argument says.",
        ),
        DeclareLaunchArgument("robot", default_value="", description="Robot file."),
        DeclareLaunchArgument("frame_prefix", default_value="", description="Such as robot1/."),
        DeclareLaunchArgument("speed", default_value="", description="Speed factor."),
        DeclareLaunchArgument("seed", default_value="", description="Seed of the start pose."),
        DeclareLaunchArgument("lock_step", default_value="", description="Wait for commands."),
        DeclareLaunchArgument(
            "publish_clock", default_value="", description="One simulator publishes /clock."
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Of node and topics."),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_simulator)])


def _simulator(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    file = LaunchConfiguration("simulator_params").perform(context)
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in GIVEN.items()
        if LaunchConfiguration(name).perform(context)
    }
    simulator = Node(
        package="dads_ros",
        executable="simulator",
        name="simulator",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        additional_env={PARENT_PID: str(os.getpid())},
        parameters=[parameter_file("simulator_params", file), given],
    )
    return [simulator]
