"""Starts the planner: ros2 launch dads_ros plan.launch.py bundle:=ant."""

import os

from ament_index_python.packages import get_package_share_path
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from dads_ros.process import PARENT_PID
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One planner; with autostart:=false a lifecycle manager configures and activates it."""
    config = get_package_share_path("dads_ros") / "config"
    arguments = [
        DeclareLaunchArgument("bundle", default_value="ant", description="Skill bundle."),
        DeclareLaunchArgument("namespace", default_value="", description="Of node and topics."),
        DeclareLaunchArgument(
            "view", default_value="false", description="Serve a page to look on in a browser."
        ),
        DeclareLaunchArgument("frame_prefix", default_value="", description="Such as robot1/."),
        DeclareLaunchArgument("seed", default_value="0", description="Seed of the planner."),
        DeclareLaunchArgument("lock_step", default_value="false", description="Simulator waits."),
        DeclareLaunchArgument(
            "autostart", default_value="true", description="Activate by itself."
        ),
        DeclareLaunchArgument("use_sim_time", default_value="true", description="Follow /clock."),
        DeclareLaunchArgument(
            "planner_params",
            default_value=str(config / "planner.yaml"),
            description="Parameter file.",
        ),
    ]
    planner = LifecycleNode(
        package="dads_ros",
        executable="skill_planner",
        name="skill_planner",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        additional_env={PARENT_PID: str(os.getpid())},
        parameters=[
            LaunchConfiguration("planner_params"),
            {
                "bundle": ParameterValue(LaunchConfiguration("bundle"), value_type=str),
                "frame_prefix": ParameterValue(
                    LaunchConfiguration("frame_prefix"), value_type=str
                ),
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                "lock_step": ParameterValue(LaunchConfiguration("lock_step"), value_type=bool),
                "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
                "use_sim_time": ParameterValue(
                    LaunchConfiguration("use_sim_time"), value_type=bool
                ),
            },
        ],
    )
    view = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            str(get_package_share_path("dads_ros") / "launch" / "view.launch.py")
        ),
        launch_arguments={"namespace": LaunchConfiguration("namespace")}.items(),
        condition=IfCondition(LaunchConfiguration("view")),
    )
    return LaunchDescription([*arguments, planner, view])
