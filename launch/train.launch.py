"""Trains skills: ros2 launch dads_ros train.launch.py robot:=ant."""

import os

from ament_index_python.packages import get_package_share_path
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dads_ros.process import PARENT_PID
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One training run, by default config/train/<robot>.yaml into runs/<robot>."""
    config = get_package_share_path("dads_ros") / "config"
    robot = LaunchConfiguration("robot")
    arguments = [
        DeclareLaunchArgument(
            "robot", default_value="ant", description="Names the defaults below."
        ),
        DeclareLaunchArgument(
            "config_file", default_value=robot, description="Training settings."
        ),
        DeclareLaunchArgument("out", default_value=["runs/", robot], description="Output folder."),
        DeclareLaunchArgument("resume", default_value="false", description="Go on with 'out'."),
        DeclareLaunchArgument("seed", default_value="-1", description="-1: as in config_file."),
        DeclareLaunchArgument("namespace", default_value="", description="Of node and topics."),
        DeclareLaunchArgument(
            "view", default_value="false", description="Serve a page to look on in a browser."
        ),
        DeclareLaunchArgument(
            "trainer_params",
            default_value=str(config / "trainer.yaml"),
            description="Parameter file.",
        ),
    ]
    trainer = Node(
        package="dads_ros",
        executable="skill_trainer",
        name="skill_trainer",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        additional_env={PARENT_PID: str(os.getpid())},
        sigterm_timeout="60",  # it finishes its iteration and leaves a checkpoint
        sigkill_timeout="60",
        parameters=[
            LaunchConfiguration("trainer_params"),
            {
                "config_file": ParameterValue(LaunchConfiguration("config_file"), value_type=str),
                "out": ParameterValue(LaunchConfiguration("out"), value_type=str),
                "resume": ParameterValue(LaunchConfiguration("resume"), value_type=bool),
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
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
    return LaunchDescription([*arguments, trainer, view])
