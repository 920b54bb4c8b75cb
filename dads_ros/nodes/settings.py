"""Settings of the nodes; ``parameters.py`` declares them as ROS parameters. No ROS in here."""

from dataclasses import dataclass
from typing import Literal

from dads_ros.config import Config, ControlConfig, setting


@dataclass(frozen=True, kw_only=True)
class SimulatorConfig(Config):
    """Parameters of the simulator node."""

    robot: str = setting(
        "ant", help="Robot file: the name of a shipped one, or a path.", read_only=True
    )
    seed: int = setting(0, min=0, help="Seed of the start pose.", read_only=True)
    speed: float = setting(
        1.0,
        min=0.01,
        max=100.0,
        help="Simulated seconds per second, if the machine can; one that follows /clock has its.",
    )
    lock_step: bool = setting(
        False,
        help="Wait for the command of each state, and never run ahead of it.",
        read_only=True,
    )
    lock_step_timeout_s: float = setting(
        1.0, min=0.05, max=60.0, help="lock_step: a state without answer is sent again after this."
    )
    start_paused: bool = setting(
        False, help="Stand still until ~/set_pause is called with false.", read_only=True
    )
    command_timeout_s: float = setting(
        0.5,
        min=0.01,
        max=60.0,
        help="So long after the state that it answers (wall clock) a command acts; then the safe "
        "one does, or still the last one of a robot with 'safe_mode' hold or damp.",
    )
    command_delay_ms: float = setting(
        0.0,
        min=0.0,
        max=1000.0,
        help="Simulated time from a command's arrival to when it acts, rounded to simulation "
        "steps; in lock_step from the state that it answers.",
    )
    push_duration_s: float = setting(
        0.2, min=0.001, max=60.0, help="Simulated seconds that a wrench on ~/push acts."
    )
    markers_rate_hz: float = setting(
        20.0, min=0.1, max=100.0, help="Rate of ~/robot_markers while somebody listens."
    )
    publish_clock: bool = setting(
        True,
        help="Publish /clock; of several simulators only one may, and the others follow it.",
        read_only=True,
    )
    frame_prefix: str = setting(
        "", help="Put before the frames odom and of all links, such as 'robot1/'.", read_only=True
    )


@dataclass(frozen=True, kw_only=True)
class SkillPlannerConfig(ControlConfig):
    """Parameters of the skill_planner node."""

    bundle: str = setting(
        "ant", help="Skill bundle: the name of a shipped one, or a folder; see ~/load_bundle."
    )
    bundle_folder: str = setting(
        "",
        help="Bundles are loaded from here and from the shipped ones only; empty: the folder that "
        "holds the first bundle.",
        read_only=True,
    )
    robot: str = setting(
        "",
        help="Robot file that the bundle must have been made for; empty: the bundle's own.",
        read_only=True,
    )
    autostart: bool = setting(
        True, help="Configure and activate without a lifecycle manager.", read_only=True
    )
    dry_run: bool = setting(
        False,
        help="Commands go to ~/would_be_commands, never to joint_commands; no guard is started.",
        read_only=True,
    )
    command_type: Literal["float64_multi_array", "joint_trajectory"] = setting(
        "float64_multi_array",
        help="Of joint_commands: std_msgs/Float64MultiArray, as forward_command_controller takes "
        "it, or trajectory_msgs/JointTrajectory, as joint_trajectory_controller does.",
        read_only=True,
    )
    seed: int = setting(0, min=0, help="Seed of the planner's samples.", read_only=True)
    max_stamp_difference_s: float = setting(
        0.0,
        min=0.0,
        max=1.0,
        help="joint_states, odom and imu this far apart are one state; 0: half a control step.",
        read_only=True,
    )
    use_imu: bool = setting(
        False,
        help="Angular velocity and tilt come from imu, in base_link, instead of from odom; the "
        "heading stays odom's.",
        read_only=True,
    )
    task_file: str = setting(
        "",
        help="Keeps goal or path over a restart of the node, in odom; each planner needs one of "
        "its own. Empty: they are forgotten.",
        read_only=True,
    )
    rollouts_rate_hz: float = setting(
        5.0, min=0.1, max=10.0, help="Highest rate of ~/rollouts while somebody listens."
    )
    num_rollouts: int = setting(
        20, min=1, max=20, help="Candidates shown on ~/rollouts, the best among them."
    )
    frame_prefix: str = setting(
        "", help="Put before the frames odom and base_link, such as 'robot1/'.", read_only=True
    )
    stamped_cmd_vel: bool = setting(
        False, help="cmd_vel is a TwistStamped instead of a Twist.", read_only=True
    )


@dataclass(frozen=True, kw_only=True)
class ViewConfig(Config):
    """Parameters of the view node."""

    robot: str = setting(
        "",
        help="Robot file: the name of a shipped one, or a path; empty: the shipped one that "
        "/diagnostics names.",
        read_only=True,
    )
    host: str = setting(
        "127.0.0.1",
        help="Address to serve the page on; 0.0.0.0 lets everybody who reaches this machine look "
        "on and drive.",
        read_only=True,
    )
    port: int = setting(
        8080,
        min=1,
        max=65000,
        help="Port of the page; the next free one where it is taken.",
        read_only=True,
    )


@dataclass(frozen=True, kw_only=True)
class SkillTrainerConfig(Config):
    """Parameters of the skill_trainer node."""

    config_file: str = setting(
        "ant", help="Training settings: the name of a shipped file, or a path.", read_only=True
    )
    out: str = setting("runs/ant", help="Folder of checkpoints and metrics.", read_only=True)
    resume: bool = setting(False, help="Go on with the run in 'out'.", read_only=True)
    seed: int = setting(
        -1, min=-1, help="Seed of the run; -1: the training settings' own.", read_only=True
    )
    export_folder: str = setting(
        "", help="Folder of ~/export; empty: 'bundle' within 'out'.", read_only=True
    )
    frame_prefix: str = setting(
        "", help="Put before the frame odom, such as 'robot1/'.", read_only=True
    )
