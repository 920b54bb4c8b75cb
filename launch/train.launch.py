"""Trains skills: ros2 launch dads_ros train.launch.py robot:=ant."""

import os

from ament_index_python.packages import get_package_share_path
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dads_ros.files import parameter_file
from dads_ros.process import PARENT_PID
from launch import LaunchDescription, LaunchDescriptionEntity

GIVEN = {"config_file": str, "out": str, "resume": bool, "seed": int}
"""Arguments that are parameters; where one is empty the parameter file says it, or the default."""


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
        DeclareLaunchArgument("resume", default_value="", description="Go on with 'out'."),
        DeclareLaunchArgument("seed", default_value="", description="Else as in config_file."),
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
    view = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            str(get_package_share_path("dads_ros") / "launch" / "view.launch.py")
        ),
        launch_arguments={"namespace": LaunchConfiguration("namespace"), "robot": ""}.items(),
        condition=IfCondition(LaunchConfiguration("view")),
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=_trainer), view])


def _trainer(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    file = LaunchConfiguration("trainer_params").perform(context)
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in GIVEN.items()
        if LaunchConfiguration(name).perform(context)
    }
    trainer = Node(
        package="dads_ros",
        executable="skill_trainer",
        name="skill_trainer",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        additional_env={PARENT_PID: str(os.getpid())},
        sigterm_timeout="60",  # it finishes its iteration and leaves a checkpoint
        sigkill_timeout="60",
        parameters=[parameter_file("trainer_params", file), given],
    )
    return [trainer]
