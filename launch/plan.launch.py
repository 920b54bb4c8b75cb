"""Starts the planner: ros2 launch dads_ros plan.launch.py bundle:=ant."""

import os

from ament_index_python.packages import get_package_share_path
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from dads_ros.files import parameter_file
from dads_ros.process import PARENT_PID
from launch import LaunchDescription, LaunchDescriptionEntity

GIVEN = {
    "bundle": str,
    "frame_prefix": str,
    "seed": int,
    "lock_step": bool,
    "autostart": bool,
    "use_sim_time": bool,
}
"""Arguments that are parameters; where one is empty the parameter file says it, or the default."""


def generate_launch_description() -> LaunchDescription:
    """One planner; with autostart:=false a lifecycle manager configures and activates it."""
    config = get_package_share_path("dads_ros") / "config"
    arguments = [
        DeclareLaunchArgument(
            "planner_params",
            default_value=str(config / "planner.yaml"),
            description="Parameter file: of what no argument says.",
        ),
        DeclareLaunchArgument("bundle", default_value="", description="Skill bundle."),
        DeclareLaunchArgument("frame_prefix", default_value="", description="Such as robot1/."),
        DeclareLaunchArgument("seed", default_value="", description="Seed of the planner."),
        DeclareLaunchArgument("lock_step", default_value="", description="Simulator waits."),
        DeclareLaunchArgument("autostart", default_value="", description="Activate by itself."),
        DeclareLaunchArgument("use_sim_time", default_value="", description="Follow /clock."),
        DeclareLaunchArgument("namespace", default_value="", description="Of node and topics."),
        DeclareLaunchArgument(
            "view", default_value="false", description="Serve a page to look on in a browser."
        ),
    ]
    view = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            str(get_package_share_path("dads_ros") / "launch" / "view.launch.py")
        ),
        launch_arguments={"namespace": LaunchConfiguration("namespace"), "robot": ""}.items(),
        condition=IfCondition(LaunchConfiguration("view")),
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=_planner), view])


def _planner(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    file = LaunchConfiguration("planner_params").perform(context)
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in GIVEN.items()
        if LaunchConfiguration(name).perform(context)
    }
    planner = LifecycleNode(
        package="dads_ros",
        executable="skill_planner",
        name="skill_planner",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        additional_env={PARENT_PID: str(os.getpid())},
        parameters=[parameter_file("planner_params", file), given],
    )
    return [planner]
