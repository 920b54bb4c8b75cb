"""Simulated robots, their planners and RViz: ros2 launch dads_ros demo.launch.py robot:=ant.

Click a goal with RViz's 2D Goal Pose, or in the page that view:=true serves for all robots, or
publish /goal_pose. With robots:=3 there are three, in
the namespaces robot1 to robot3 and each in a world of its own, with an RViz of its own, as no
transform leads from one world to another; the first one has the clock.
"""

from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_path,
)
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
)
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node, SetParameter

from dads_ros.nodes.rviz_view import with_frame_prefix
from launch import LaunchDescription, LaunchDescriptionEntity

TIMEOUTS = {"simulate": "command_timeout_s", "plan": "state_timeout_s"}
"""Wall clock. Below real time they grow with the time between two states."""
PASSED_ON = {
    "simulate": ("robot", "speed", "seed", "lock_step", "simulator_params"),
    "plan": ("bundle", "seed", "lock_step", "autostart", "use_sim_time", "planner_params"),
}
"""Arguments of each launch file; the others follow from the number of robots."""


def generate_launch_description() -> LaunchDescription:
    """Includes simulate.launch.py and plan.launch.py for each robot."""
    robot, config = LaunchConfiguration("robot"), get_package_share_path("dads_ros") / "config"
    arguments = [
        DeclareLaunchArgument("robot", default_value="ant", description="Robot file."),
        DeclareLaunchArgument("bundle", default_value=robot, description="Skill bundle."),
        DeclareLaunchArgument("speed", default_value="1.0", description="Speed factor."),
        DeclareLaunchArgument("seed", default_value="", description="Of start pose and planner."),
        DeclareLaunchArgument("robots", default_value="1", description="Number of robots."),
        DeclareLaunchArgument(
            "rviz", default_value="true", description="Start RViz, one for each robot."
        ),
        DeclareLaunchArgument(
            "view", default_value="false", description="Serve a page to look on in a browser."
        ),
        DeclareLaunchArgument(
            "lock_step", default_value="", description="Simulators wait for commands."
        ),
        DeclareLaunchArgument(
            "autostart", default_value="", description="Planners activate by themselves."
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="true", description="Planners follow /clock."
        ),
        DeclareLaunchArgument(
            "simulator_params",
            default_value=str(config / "simulator.yaml"),
            description="Parameter file of the simulators.",
        ),
        DeclareLaunchArgument(
            "planner_params",
            default_value=str(config / "planner.yaml"),
            description="Parameter file of the planners.",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_robots)])


def _robots(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    robots = LaunchConfiguration("robots").perform(context)
    num = int(robots) if robots.isdecimal() else 0
    if num < 1:
        raise ValueError(f"robots is '{robots}'; it must be a whole number of at least 1")
    names = [f"robot{index}" for index in range(1, num + 1)] if num > 1 else [""]
    parts = [part for name in names for part in _robot(name, publish_clock=name == names[0])]
    return [*parts, *_rviz(context, names), _view()]


def _robot(namespace: str, *, publish_clock: bool) -> list[LaunchDescriptionEntity]:
    """Simulator and planner of one robot."""
    folder = get_package_share_path("dads_ros") / "launch"
    timeout = PythonExpression(["max(0.5, 0.5 / max(0.01, ", LaunchConfiguration("speed"), "))"])
    own = {"namespace": namespace, "frame_prefix": f"{namespace}/" if namespace else ""}
    own_of_simulator = {"publish_clock": str(publish_clock).lower()}
    own_of_planner = {"view": "false"}  # one page shows all robots
    return [
        GroupAction(
            [
                SetParameter(TIMEOUTS[name], timeout),
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(folder / f"{name}.launch.py")),
                    launch_arguments={
                        **{key: LaunchConfiguration(key) for key in keys},
                        **own,
                        **(own_of_simulator if name == "simulate" else own_of_planner),
                    }.items(),
                ),
            ]
        )
        for name, keys in PASSED_ON.items()
    ]


def _view() -> LaunchDescriptionEntity:
    """One page for all robots."""
    folder = get_package_share_path("dads_ros") / "launch"
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(folder / "view.launch.py")),
        launch_arguments={"robot": LaunchConfiguration("robot"), "namespace": ""}.items(),
        condition=IfCondition(LaunchConfiguration("view")),
    )


def _rviz(context: LaunchContext, namespaces: list[str]) -> list[LaunchDescriptionEntity]:
    """One for each robot."""
    if not IfCondition(LaunchConfiguration("rviz")).evaluate(context):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed: nothing to look at")]
    shared = get_package_share_path("dads_ros") / "config" / "dads.rviz"
    nodes = []
    for namespace in namespaces:
        view = shared
        if namespace:
            view = Path(launch_config.log_dir) / f"{namespace}_{shared.name}"  # beside the logs
            view.write_text(with_frame_prefix(shared.read_text(), f"{namespace}/"))
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                namespace=namespace,
                arguments=["-d", str(view)],
                parameters=[{"use_sim_time": True}],
            )
        )
    return nodes
