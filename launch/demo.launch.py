"""A simulated robot, its planner and RViz: ros2 launch dads_ros demo.launch.py robot:=ant.

Click a goal with RViz's 2D Goal Pose, or publish /goal_pose.
"""

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_path,
)
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, LogInfo
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node, SetParameter

from launch import LaunchDescription

TIMEOUTS = {"simulate": "command_timeout_s", "plan": "state_timeout_s"}
"""Wall clock. Below real time they grow with the time between two states."""


def generate_launch_description() -> LaunchDescription:
    """Includes simulate.launch.py and plan.launch.py."""
    share = get_package_share_path("dads_ros")
    robot = LaunchConfiguration("robot")
    arguments = [
        DeclareLaunchArgument("robot", default_value="ant", description="Robot file."),
        DeclareLaunchArgument("bundle", default_value=robot, description="Skill bundle."),
        DeclareLaunchArgument("speed", default_value="1.0", description="Speed factor."),
        DeclareLaunchArgument("seed", default_value="0", description="Of start pose and planner."),
        DeclareLaunchArgument("rviz", default_value="true", description="Start RViz."),
    ]
    timeout = PythonExpression(["max(0.5, 0.5 / ", LaunchConfiguration("speed"), ")"])
    included = [
        GroupAction(
            [
                SetParameter(TIMEOUTS[name], timeout),
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(share / "launch" / f"{name}.launch.py")),
                    launch_arguments={key: LaunchConfiguration(key) for key in keys}.items(),
                ),
            ]
        )
        for name, keys in {
            "simulate": ("robot", "speed", "seed"),
            "plan": ("bundle", "seed"),
        }.items()
    ]
    return LaunchDescription([*arguments, *included, _rviz(str(share / "config" / "dads.rviz"))])


def _rviz(config: str) -> Node | LogInfo:
    condition = IfCondition(LaunchConfiguration("rviz"))
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return LogInfo(msg="rviz2 is not installed: nothing to look at", condition=condition)
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        namespace="",
        arguments=["-d", config],
        parameters=[{"use_sim_time": True}],
        condition=condition,
    )
