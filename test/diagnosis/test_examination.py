"""Each verdict of the doctor, from made records of a robot that is right but for one thing."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from dads_ros.diagnosis.examination import examine
from dads_ros.diagnosis.records import (
    Arrival,
    Base,
    Check,
    Command,
    Endpoint,
    Heard,
    Imu,
    JointRanges,
    Joints,
    PlannerSettings,
    Verdict,
)
from dads_ros.observation import quaternion_to_matrix
from dads_ros.robot import RobotSpec

OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
ANT = RobotSpec.load("ant")
STANDING = np.array([(ANT.reset.joint_positions or {}).get(name, 0.0) for name in ANT.joints])
NUM = len(ANT.joints)
RANGES = JointRanges(STANDING - 0.6, STANDING + 0.6, np.ones(NUM, bool))
STEPS, DT_NS = 100, 50_000_000
WALL_NS = 1_800_000_000_000_000_000
COMMAND_TYPE = "std_msgs/msg/Float64MultiArray"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"


@dataclass
class Robot:
    """An Ant that walks in a circle and waves its legs, on a real clock; all in its order."""

    joints: list[Joints] = field(default_factory=list)
    bases: list[Base] = field(default_factory=list)
    imus: list[Imu] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    robot: RobotSpec = ANT
    ranges: JointRanges | None = RANGES
    rest: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in range(STEPS):
            t, stamp_ns = step * DT_NS / 1e9, WALL_NS + step * DT_NS
            arrival = Arrival(stamp_ns, stamp_ns + 1_000_000, None, step + 1)
            wave = 0.3 * np.sin(3.0 * t + np.arange(NUM))
            speed = 0.9 * np.cos(3.0 * t + np.arange(NUM))
            self.joints.append(Joints(arrival, ANT.joints, STANDING + wave, speed))
            place = np.array([np.sin(t), 1.0 - np.cos(t), 0.5])  # yaw is t
            turn = np.array([np.cos(t / 2), 0.0, 0.0, np.sin(t / 2)])
            ahead, turning = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
            self.bases.append(Base(arrival, "odom", "base_link", place, turn, ahead, turning))
            self.imus.append(Imu(arrival, "base_link", turn, turning, np.array([0.0, 0.0, 9.8])))
            self.commands.append(
                Command(stamp_ns + 5_000_000, np.zeros(NUM), ANT.actuators, stamp_ns)
            )
        self.rest = {
            "publishers": {
                "joint_states": [Endpoint("/driver", "sensor_msgs/msg/JointState")],
                "odom": [Endpoint("/driver", "nav_msgs/msg/Odometry")],
                "joint_commands": [
                    Endpoint("/skill_planner", COMMAND_TYPE),
                    Endpoint("/skill_planner_12_guard", COMMAND_TYPE),
                ],
            },
            "subscriptions": {"joint_commands": [Endpoint("/driver", COMMAND_TYPE)]},
            "planner": PlannerSettings(
                "/skill_planner", False, "", 0.0, 0.5, "float64_multi_array"
            ),
        }

    def checks(self) -> dict[str, Check]:
        heard = Heard(
            seconds=5.0,
            joints=self.joints,
            bases=self.bases,
            imus=self.imus,
            commands=self.commands,
            **self.rest,
        )
        found = examine(self.robot, heard, self.ranges, "no MJCF")
        assert len({check.name for check in found}) == len(found)
        return {check.name: check for check in found}

    def each(self, kind: str, **change: Callable[[Any], Any]) -> None:
        """Change fields of all messages of a kind; each gets the message."""
        messages = getattr(self, kind)
        messages[:] = [m._replace(**{k: f(m) for k, f in change.items()}) for m in messages]

    def stamp(self, kind: str, stamp: Callable[[Arrival], Any]) -> None:
        self.each(kind, arrival=lambda m: m.arrival._replace(stamp_ns=int(stamp(m.arrival))))

    def move_slowly(self, period_ns: int, noise: Callable[[Any], Any], times: float) -> None:
        """All joints, 0.2 times a second, with velocities that many times too high."""
        self.joints.clear()
        for stamp_ns in range(WALL_NS, WALL_NS + STEPS * DT_NS, period_ns):
            t, arrival = (stamp_ns - WALL_NS) / 1e9, Arrival(stamp_ns, stamp_ns, None, None)
            phase = 0.4 * np.pi * t + np.arange(NUM)
            positions = noise(STANDING + 0.3 * np.sin(phase))
            velocities = times * 0.12 * np.pi * np.cos(phase)
            self.joints.append(Joints(arrival, ANT.joints, positions, velocities))

    def graph(self, where: str, topic: str, *ends: Endpoint) -> None:
        self.rest.setdefault(where, {})[topic] = list(ends)

    def planner(self, **settings: object) -> None:
        self.rest["planner"] = self.rest["planner"]._replace(**settings)

    def go_straight(self) -> None:
        """At 15 degrees to odom's x, with its velocity in odom."""
        turn, way = tilted(0.0), np.array([np.cos(0.26), np.sin(0.26), 0.0])
        turn[[0, 3]] = np.cos(0.13), np.sin(0.13)
        self.each(
            "bases",
            position=lambda m: way * (m.arrival.stamp_ns - WALL_NS) / 1e9 + [0.0, 0.0, 0.5],
            orientation=lambda _: turn,
            linear_velocity=lambda _: way,
            angular_velocity=lambda _: np.zeros(3),
        )

    def stand(self) -> None:
        self.each("joints", positions=lambda _: STANDING, velocities=lambda _: np.zeros(NUM))
        self.each(
            "bases",
            position=lambda _: np.array([0.0, 0.0, 0.5]),
            linear_velocity=lambda _: np.zeros(3),
        )


def renamed(message: Joints, old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in message.names)


def wxyz_as_xyzw(base: Base) -> np.ndarray:
    """What is read where a driver writes w into x, x into y, y into z and z into w."""
    return np.roll(base.orientation, 1)


def tilted(angle: float) -> np.ndarray:
    return np.array([np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0])


def turned(base: Base) -> np.ndarray:
    return quaternion_to_matrix(base.orientation) @ base.linear_velocity


def only(robot: Robot, kind: str, keep: Callable[[int], bool]) -> None:
    messages = getattr(robot, kind)
    messages[:] = [message for index, message in enumerate(messages) if keep(index)]


def second_driver(robot: Robot) -> None:
    """The same joints by another publisher, with sequence numbers of its own."""
    others = [
        m._replace(arrival=m.arrival._replace(sequence=m.arrival.sequence + 500))
        for m in robot.joints
    ]
    robot.joints = [m for pair in zip(robot.joints, others, strict=True) for m in pair]


def by_position(robot: Robot, **reset: object) -> None:
    reset_spec = replace(ANT.reset, **reset)  # type: ignore[arg-type]
    robot.robot = replace(ANT, command_scale=(0.5,), reset=reset_spec, safe_command=(0.0,))


def gripper(robot: Robot) -> None:
    """A second publisher on the topic, of another joint."""
    others = [
        Joints(m.arrival._replace(sequence=900 + i), ("finger",), np.zeros(1), np.zeros(1))
        for i, m in enumerate(robot.joints)
    ]
    robot.joints = [m for pair in zip(robot.joints, others, strict=True) for m in pair]


def on_clock(robot: Robot, ahead_ns: int = 0) -> None:
    """As of a simulation: stamps from 1 s on, and /clock with them."""
    for kind in ("joints", "bases"):
        robot.stamp(kind, lambda a: a.stamp_ns - WALL_NS + 1_000_000_000)
        robot.each(
            kind, arrival=lambda m: m.arrival._replace(clock_ns=m.arrival.stamp_ns + ahead_ns)
        )
    robot.commands.clear()
    robot.rest["num_clocks"] = STEPS
    robot.graph("publishers", "/clock", Endpoint("/simulator", "rosgraph_msgs/msg/Clock"))
    robot.planner(use_sim_time=True)


def test_a_robot_that_is_right_has_only_ok() -> None:
    checks = Robot().checks()
    assert {name: check for name, check in checks.items() if check.verdict != OK} == {}
    assert set(checks) == {
        *("joint_states", "odom", "driver", "who commands", "commands"),
        *("joint names", "joint positions", "joint velocities", "joint units", "standing pose"),
        *("odom frames", "upright", "odom twist", "odom turning"),
        *("imu tilt", "imu turning", "imu gravity"),
        *("joint_states rate", "odom rate", "joint_states stamps"),
        *("clock", "state delay", "command delay"),
    }
    assert not any(check.cure for check in checks.values())


def test_an_imu_in_degrees_is_judged_in_all_else_as_well() -> None:
    robot = Robot()
    robot.each("imus", angular_velocity=lambda m: np.degrees(m.angular_velocity))
    checks = robot.checks()
    assert checks["imu turning"].verdict == WRONG
    assert checks["imu tilt"].verdict == checks["imu gravity"].verdict == OK


def late(arrival: Arrival, ns: int) -> Arrival:
    return arrival._replace(received_ns=arrival.received_ns + ns)


FAULTS: list[tuple[str, Verdict, str, str, Callable[[Robot], object]]] = [
    # joint_states
    ("joint names", WRONG, "missing: ankle_2", "publish them all",
     lambda r: r.each("joints", names=lambda m: tuple(n for n in m.names if n != "ankle_2"))),
    ("joint names", WRONG, "missing: hip_1; unknown: r1/hip_1", "'r1/hip_1' may be 'hip_1'",
     lambda r: r.each("joints", names=lambda m: renamed(m, "hip_1", "r1/hip_1"))),
    ("joint names", WRONG, "none of the 8", "--robot",
     lambda r: r.each("joints", names=lambda m: tuple(f"joint{i}" for i in range(NUM)))),
    ("joint names", WRONG, "twice in one message: hip_1", "once",
     lambda r: r.each("joints", names=lambda m: renamed(m, "ankle_1", "hip_1"))),
    ("joint names", OK, "another order", "",
     lambda r: r.each("joints", names=lambda m: m.names[::-1],
                      positions=lambda m: m.positions[::-1],
                      velocities=lambda m: m.velocities[::-1])),
    ("joint names", OK, "ignored: finger", "", gripper),
    ("joint positions", WRONG, "'hip_1' has none", "finite",
     lambda r: r.each("joints", positions=lambda m: m.positions * np.append(np.nan, np.ones(7)))),
    ("joint positions", WRONG, "'ankle_4' has none", "finite",
     lambda r: r.each("joints", positions=lambda m: m.positions[:-1])),
    ("joint positions", WRONG, "range 0.4 .. 1.6 of 'ankle_1'", "sign",
     lambda r: r.each("joints", positions=lambda m: m.positions * [1, -1, 1, 1, 1, 1, 1, 1])),
    ("joint positions", WARNING, "at times 1.1", "sign",
     lambda r: r.joints[50].positions.__setitem__(0, 1.1)),
    ("joint positions", OK, "within", "",  # a joint may rest 0.12 beyond its range
     lambda r: r.each("joints", positions=lambda _: STANDING + 0.7)),
    ("joint positions", OK, "within", "",  # and be 0.36 beyond it in a shock
     lambda r: r.joints[50].positions.__setitem__(0, 0.9)),
    ("joint positions", NOT_SEEN, "no MJCF", "MuJoCo", lambda r: setattr(r, "ranges", None)),
    ("joint velocities", WARNING, "takes differences", "publish a finite velocity",
     lambda r: r.each("joints", velocities=lambda m: np.empty(0))),
    ("joint velocities", WRONG, "for hip_2", "finite",
     lambda r: r.each("joints", velocities=lambda m: np.where(np.arange(NUM) == 2, np.nan, 0))),
    ("joint units", NOT_SEEN, "no joint moved", "by hand",
     lambda r: r.each("joints", velocities=lambda m: np.empty(0))),
    ("joint velocities", WARNING, "up to 20", "rad/s",
     lambda r: r.each("joints", velocities=lambda m: m.velocities * 30)),
    ("joint velocities", WRONG, "up to 20", "rad/s",
     lambda r: r.each("joints", velocities=lambda m: m.velocities * 300)),
    ("joint units", WRONG, "degrees?", "publish rad",
     lambda r: r.each("joints", positions=lambda m: np.degrees(m.positions),
                      velocities=lambda m: np.degrees(m.velocities))),
    ("joint units", WARNING, "at 3.5", "publish rad",
     lambda r: (setattr(r, "ranges", None),
                r.each("joints", positions=lambda m: m.positions + 2.25))),
    ("joint units", OK, "joints that moved", "",
     lambda r: (setattr(r, "ranges", None),
                r.each("joints", positions=lambda m: m.positions + 1.9))),
    ("joint units", WRONG, "57 times what its positions say: degrees/s?", "rad/s",
     lambda r: r.each("joints", velocities=lambda m: np.degrees(m.velocities))),
    ("joint units", WRONG, "'hip_1' moves against its own velocity", "sign",
     lambda r: r.each("joints", velocities=lambda m: -m.velocities)),
    ("joint units", WRONG, "of 'hip_1' are 0 times", "rad/s",
     lambda r: r.each("joints", velocities=lambda m: 0.0 * m.velocities)),
    ("joint units", NOT_SEEN, "no joint moved", "by hand", Robot.stand),
    ("joint units", NOT_SEEN, "too fast", "by hand",
     lambda r: r.each("joints", positions=lambda m: STANDING + 0.3 * np.sin(
         35.0 * m.arrival.sequence * DT_NS / 1e9 + np.arange(NUM)))),
    ("standing pose", WARNING, "starts at -1", "zero",
     lambda r: r.each("joints", positions=lambda m: m.positions - STANDING)),
    ("standing pose", OK, "near", "",
     lambda r: r.each("joints", positions=lambda _: STANDING + 0.65)),
    # odom
    ("odom frames", WRONG, "'world' to 'base_link'", "from 'odom' to 'base_link'",
     lambda r: r.each("bases", frame=lambda _: "world")),
    ("odom frames", WRONG, "'odom' to 'trunk'", "frame_prefix",
     lambda r: r.each("bases", child_frame=lambda _: "trunk")),
    ("odom frames", WRONG, "'r1/odom' to 'r1/base_link'", "frame_prefix:='r1/'",
     lambda r: r.each("bases", frame=lambda _: "r1/odom", child_frame=lambda _: "r1/base_link")),
    ("odom frames", WARNING, "'r1/odom' to 'r1/base_link'", "frame_prefix:='r1/'",
     lambda r: (r.planner(node="", frame_prefix=None),
                r.each("bases", frame=lambda _: "r1/odom", child_frame=lambda _: "r1/base_link"))),
    ("odom frames", WRONG, "'r1/odom' to 'trunk'", "from 'odom' to 'base_link'",
     lambda r: r.each("bases", frame=lambda _: "r1/odom", child_frame=lambda _: "trunk")),
    ("odom frames", OK, "'r1/odom' to ''", "",
     lambda r: (r.planner(frame_prefix="r1/"),
                r.each("bases", frame=lambda _: "r1/odom", child_frame=lambda _: ""))),
    ("odom frames", WRONG, "'map' to 'base_link', 'odom' to 'base_link'", "one odometry",
     lambda r: r.bases.__setitem__(0, r.bases[0]._replace(frame="map"))),
    ("odom numbers", WRONG, "not finite", "NaN",
     lambda r: r.each("bases", linear_velocity=lambda m: m.linear_velocity * np.nan)),
    ("odom quaternion", WRONG, "length 0", "unit",
     lambda r: r.each("bases", orientation=lambda m: 0.0 * m.orientation)),
    ("odom quaternion", WRONG, "w, x, y, z", "into the fields of that name",
     lambda r: (only(r, "bases", lambda i: i < 30), r.each("bases", orientation=wxyz_as_xyzw))),
    ("upright", WARNING, "0.50 of 1", "turn odom's axes",
     lambda r: r.each("bases", orientation=lambda _: tilted(np.radians(60)))),
    ("upright", WRONG, "-0.50 of 1", "stand the robot up",
     lambda r: r.each("bases", orientation=lambda _: tilted(np.radians(120)))),
    ("upright", WRONG, "height 0.50", "height from the ground",
     lambda r: setattr(r, "robot", replace(
         ANT, fallen=replace(ANT.fallen, min_height_m=0.6)))),
    ("odom twist", WRONG, "is in odom", "base_link",
     lambda r: r.each("bases", linear_velocity=turned)),
    ("odom twist", WRONG, "beside where the base went", "m/s",
     lambda r: r.each("bases", linear_velocity=lambda m: 5.0 * m.linear_velocity)),
    ("odom twist", NOT_SEEN, "stood", "push", Robot.stand),
    ("odom twist", NOT_SEEN, "both frames fit", "by 90 degrees", Robot.go_straight),
    ("odom turning", NOT_SEEN, "did not turn", "turn the robot by 29 degrees", Robot.go_straight),
    ("odom turning", NOT_SEEN, "too fast between messages", "slowly",  # legs that shake the body
     lambda r: r.each("bases", angular_velocity=lambda m: (
         m.angular_velocity * (-3.0) ** (m.arrival.stamp_ns // DT_NS % 2)))),
    *[("odom turning", WRONG, "beside where it went", "rad/s about x, y, z",
       lambda r, wrong=wrong: r.each(
           "bases", angular_velocity=lambda m: wrong(m.angular_velocity)))
      for wrong in (np.degrees, np.negative, np.zeros_like, lambda turn: turn[[0, 2, 1]])],
    ("imu turning", WRONG, "beside where it went", "with their signs",
     lambda r: r.each("imus", angular_velocity=lambda m: -m.angular_velocity)),
    ("imu turning", OK, "", "",
     lambda r: r.each("imus", angular_velocity=lambda m: m.angular_velocity + 0.02)),
    # imu
    ("imu turning", WRONG, "57.3", "rad/s",
     lambda r: r.each("imus", angular_velocity=lambda m: np.degrees(m.angular_velocity))),
    ("imu quaternion", WRONG, "length 2", "unit",
     lambda r: r.each("imus", orientation=lambda m: 2.0 * m.orientation)),
    ("imu tilt", WRONG, "30 degrees", "axes",
     lambda r: r.each("imus", orientation=lambda m: tilted(np.radians(30)))),
    ("imu gravity", WRONG, "1 in all", "m/s²",
     lambda r: r.each("imus", acceleration=lambda m: m.acceleration / 9.8)),
    ("imu gravity", WRONG, "-9.8 m/s²", "axes",
     lambda r: r.each("imus", acceleration=lambda m: -m.acceleration)),
    ("imu gravity", WRONG, "4.9 m/s² along its up, 9.8 in all", "axes",
     lambda r: r.each("imus", acceleration=lambda _: 9.8 * np.array([0.75**0.5, 0, 0.5]))),
    ("imu gravity", OK, "9.8 m/s²", "", lambda r: r.each("imus", orientation=lambda _: None)),
    ("imu", WRONG, "nothing came", "without use_imu",
     lambda r: (r.imus.clear(), r.planner(use_imu=True))),
    ("imu frame", WRONG, "'imu_link'", "'r1/base_link'",
     lambda r: (r.planner(use_imu=True, frame_prefix="r1/"),
                r.each("imus", frame=lambda _: "imu_link"))),
    ("imu stamps", WRONG, "20 ms from odom's; 0% within 10 ms", "stamp imu and odom",
     lambda r: (r.planner(use_imu=True, max_stamp_difference_s=0.01),
                r.stamp("imus", lambda a: a.stamp_ns + 20_000_000))),
    # the graph
    ("joint_states", WRONG, "two publishers say the same", "end one", second_driver),
    ("joint_states", OK, "200 messages", "", gripper),
    ("joint_states", WRONG, "nothing came", "hardware", lambda r: r.joints.clear()),
    ("joint_states", WRONG, "/driver has it as my_msgs/msg/Joints", "JointState",
     lambda r: r.graph("publishers", "joint_states", Endpoint("/driver", "my_msgs/msg/Joints"))),
    ("odom", WRONG, "nobody publishes it", "ROS_DOMAIN_ID",
     lambda r: (r.bases.clear(), r.graph("publishers", "odom"))),
    ("odom", WRONG, "there is /robot1/odom", "--namespace",
     lambda r: (r.bases.clear(), r.graph("publishers", "odom"),
                r.rest.update(elsewhere={"odom": ["/robot1/odom"]}))),
    ("odom", WARNING, "by /driver, /filter", "let one",
     lambda r: r.graph("publishers", "odom", Endpoint("/driver", "nav_msgs/msg/Odometry"),
                       Endpoint("/filter", "nav_msgs/msg/Odometry"))),
    ("driver", WARNING, "nobody listens", "start the driver",
     lambda r: r.graph("subscriptions", "joint_commands")),
    ("driver", WARNING, "nobody but /_ros2cli_7, /rosbag2_recorder listens", "start the driver",
     lambda r: r.graph("subscriptions", "joint_commands", Endpoint("/_ros2cli_7", TRAJECTORY),
                       Endpoint("/rosbag2_recorder", TRAJECTORY))),
    ("driver", WRONG, "JointTrajectory", f"{COMMAND_TYPE}, or start the planner",
     lambda r: r.graph("subscriptions", "joint_commands", Endpoint("/driver", TRAJECTORY))),
    ("driver", WRONG, COMMAND_TYPE, TRAJECTORY,
     lambda r: r.planner(command_type="joint_trajectory")),
    ("driver", OK, "goes to /driver, as joint_trajectory", "",
     lambda r: (r.planner(command_type="joint_trajectory"),
                r.graph("subscriptions", "joint_commands", Endpoint("/driver", TRAJECTORY)))),
    ("driver", WRONG, "geometry_msgs", f"{COMMAND_TYPE} or {TRAJECTORY}",
     lambda r: (r.planner(command_type=""),
                r.graph("subscriptions", "joint_commands",
                        Endpoint("/driver", "geometry_msgs/msg/Twist")))),
    ("driver", WRONG, f"as {COMMAND_TYPE} and as {TRAJECTORY}", "remap one",
     lambda r: (r.planner(command_type=""),
                r.graph("subscriptions", "joint_commands", Endpoint("/a", COMMAND_TYPE),
                        Endpoint("/b", TRAJECTORY)))),
    ("driver", OK, "goes to /a, /b", "",
     lambda r: r.graph("subscriptions", "joint_commands", Endpoint("/b", COMMAND_TYPE),
                       Endpoint("/a", COMMAND_TYPE), Endpoint("/x_3_guard", COMMAND_TYPE))),
    ("who commands", OK, "nobody yet", "", lambda r: r.graph("publishers", "joint_commands")),
    ("who commands", WRONG, "/teleop publishes", "end it",
     lambda r: r.rest["publishers"]["joint_commands"].append(Endpoint("/teleop", COMMAND_TYPE))),
    ("who commands", WRONG, "/skill_planner, /skill_planner are planners", "all but one",
     lambda r: r.rest["publishers"]["joint_commands"].extend(
         [Endpoint("/skill_planner", COMMAND_TYPE), Endpoint("/skill_planner_9_guard", "")])),
    ("who commands", WARNING, "/skill_planner_12_guard guards without", "SIGTERM",
     lambda r: r.rest["publishers"]["joint_commands"].pop(0)),
    ("commands", WRONG, "3 numbers", "bundle",
     lambda r: r.each("commands", numbers=lambda _: np.zeros(3))),
    ("commands", WRONG, "for hip_1", "bundle",
     lambda r: r.each("commands", actuators=lambda _: ("hip_1",) * NUM)),
    ("commands", WRONG, "'hip_4' gets 2", "end who sends it",
     lambda r: r.each("commands", numbers=lambda m: m.numbers + 2.0)),
    ("commands", WRONG, "'hip_4' gets nan", "end who sends it",
     lambda r: r.each("commands", numbers=lambda m: m.numbers * np.nan)),
    ("commands", WARNING, "'ankle_4' gets 0, outside 0.5 .. 1.5", "right while the planner leads",
     by_position),
    ("commands", WRONG, "'hip_4' gets nan", "end who sends it",
     lambda r: (by_position(r),
                r.each("commands", numbers=lambda m: m.numbers * np.nan))),
    ("commands", NOT_SEEN, "its limits are not known", "keyframe 'stand' of the MJCF",
     lambda r: (by_position(r, keyframe="stand", joint_positions=None),
                r.each("commands", numbers=lambda m: m.numbers + 2.0))),
    # time
    ("odom rate", WRONG, "all stamps are 0", "stamp each",
     lambda r: r.stamp("bases", lambda _: 0)),
    ("odom rate", WRONG, "have the stamp of the one before", "stamp each",
     lambda r: r.stamp("bases", lambda a: a.stamp_ns - a.stamp_ns % 1_000_000_000)),
    ("odom rate", WARNING, "older than the one before", "in order",
     lambda r: r.bases.__setitem__(slice(None), r.bases[::-1])),
    ("odom rate", WRONG, "every 150 ms", "every 50 ms",
     lambda r: only(r, "bases", lambda i: i % 3 == 0)),
    ("odom rate", WARNING, "every 100 ms", "every 50 ms",
     lambda r: only(r, "bases", lambda i: i % 2 == 0)),
    ("joint_states rate", OK, "is 50, for which the planner takes one of several", "",
     lambda r: r.stamp("joints", lambda a: WALL_NS + (a.stamp_ns - WALL_NS) // 2)),
    ("odom rate", WARNING, "every 50 ms (99 %: 200)", "lost",
     lambda r: only(r, "bases", lambda i: i % 20 not in (3, 4, 5))),
    ("odom rate", WARNING, "arrivals 50 (99 %: 2", "holds messages up",
     lambda r: r.each("bases", arrival=lambda m: m.arrival._replace(
         received_ns=m.arrival.received_ns + 200_000_000 * (m.arrival.sequence % 50 == 0)))),
    ("joint_states stamps", OK, "20 ms from odom's", "",
     lambda r: r.stamp("bases", lambda a: a.stamp_ns + 20_000_000)),
    ("joint_states stamps", WRONG, "20 ms from odom's; 0% within 10 ms", "max_stamp_difference_s",
     lambda r: (r.planner(max_stamp_difference_s=0.01),
                r.stamp("bases", lambda a: a.stamp_ns + 20_000_000))),
    ("joint_states stamps", WRONG, "0% within 25 ms", "one clock",
     lambda r: r.stamp("bases", lambda a: a.stamp_ns - 3600 * 10**9)),
    ("joint_states stamps", WARNING, "75% within 10 ms", "one clock",
     lambda r: (r.planner(max_stamp_difference_s=0.01),
                r.stamp("bases", lambda a: a.stamp_ns + 20_000_000 * (a.sequence % 4 == 3)))),
    ("clock", OK, "of the wall clock", "", lambda r: r.bases.clear()),
    ("clock", OK, "a simulation, and so has the planner", "", on_clock),
    ("clock", WRONG, "but /skill_planner has the wall clock", "use_sim_time:=true",
     lambda r: (on_clock(r), r.planner(use_sim_time=False))),
    ("clock", WRONG, "/gazebo, /simulator", "one",
     lambda r: (on_clock(r), r.graph("publishers", "/clock", Endpoint("/simulator", ""),
                                     Endpoint("/gazebo", "")))),
    ("clock", WRONG, "has use_sim_time", "use_sim_time:=false",
     lambda r: r.planner(use_sim_time=True)),
    ("clock", WARNING, "another /clock", "end who", lambda r: r.rest.update(num_clocks=5)),
    ("clock", WARNING, "30 ms in the future", "synchronise",
     lambda r: [r.stamp(kind, lambda a: a.stamp_ns + 31_000_000) for kind in ("joints", "bases")]),
    ("clock", WRONG, "2 s in the future", "synchronise",
     lambda r: [r.stamp(kind, lambda a: a.stamp_ns + 2_001_000_000)
                for kind in ("joints", "bases")]),
    ("clock", WARNING, "there is no /clock", "wall clock",
     lambda r: [r.stamp(kind, lambda a: a.stamp_ns - WALL_NS) for kind in ("joints", "bases")]),
    ("state delay", WARNING, "the control step is 50", "load",
     lambda r: r.stamp("bases", lambda a: a.stamp_ns - 80_000_000)),
    ("state delay", WRONG, "answers none so old", "load",
     lambda r: r.stamp("bases", lambda a: a.stamp_ns - 800_000_000)),
    ("state delay", OK, "20 ms from stamp", "", lambda r: on_clock(r, 20_000_000)),
    ("command delay", WARNING, "40 ms", "collect.delay_ms",
     lambda r: r.each("commands", received_ns=lambda m: m.received_ns + 36_000_000)),
    ("command delay", OK, "4 ms from state to command (99 %: 4), 5 since it was", "",
     lambda r: None),
    ("command delay", OK, "4 ms from state to command (99 %: 4)", "",  # by another clock
     lambda r: (r.each("commands", received_ns=lambda m: m.received_ns + 10**9),
                r.each("bases", arrival=lambda m: late(m.arrival, 10**9)))),
    ("command delay", WARNING, "4 ms from state to command (99 %: 4), 40 since it was", "holds",
     lambda r: (r.each("commands", received_ns=lambda m: m.received_ns + 35_000_000),
                r.each("bases", arrival=lambda m: late(m.arrival, 35_000_000)))),
    ("command delay", NOT_SEEN, "none answers", "/diagnostics",
     lambda r: r.each("commands", answered_ns=lambda _: None)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "verdict", "found", "cure", "spoil"),
    FAULTS,
    ids=[f"{name}: {found}" for name, _, found, _, _ in FAULTS],
)
def test_one_fault_is_named_with_its_cure(
    name: str, verdict: Verdict, found: str, cure: str, spoil: Callable[[Robot], object]
) -> None:
    robot = Robot()
    spoil(robot)
    check = robot.checks()[name]
    assert check.verdict == verdict, check
    assert found in check.found
    assert cure in check.cure
    assert bool(check.cure) == (verdict != OK)


def test_nothing_heard_is_wrong_and_no_more_is_judged() -> None:
    found = examine(ANT, Heard(seconds=5.0), RANGES)
    assert {check.name: check.verdict for check in found} == {
        "joint_states": WRONG, "odom": WRONG, "driver": WARNING, "who commands": OK,
    }  # fmt: skip


def test_a_robot_without_joints_needs_no_joint_states() -> None:
    robot = Robot(robot=RobotSpec.load("point_mass"))
    robot.joints.clear()
    robot.commands.clear()
    checks = robot.checks()
    assert not any("joint" in name for name in checks)
    assert all(check.verdict in (OK, WARNING) for check in checks.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", [np.nan, np.inf, -1e308])
@pytest.mark.parametrize(
    ("kind", "part"),
    [
        *(("joints", part) for part in ("positions", "velocities")),
        *(("bases", part) for part in ("position", "orientation", "linear_velocity")),
        *(("imus", part) for part in ("orientation", "angular_velocity", "acceleration")),
        ("commands", "numbers"),
    ],
)
def test_numbers_that_are_none_are_named_and_break_nothing(
    kind: str, part: str, odd: float
) -> None:
    robot = Robot()
    robot.each(kind, **{part: lambda m: np.full_like(getattr(m, part), odd)})
    assert {WRONG, WARNING} & {check.verdict for check in robot.checks().values()}


ENCODER_RAD = 2.0 * np.pi / 4096


def by_encoder(positions: np.ndarray) -> np.ndarray:
    """Of 12 bits."""
    return np.round(positions / ENCODER_RAD) * ENCODER_RAD


def with_noise(positions: np.ndarray) -> np.ndarray:
    """Of 1 mrad; the same numbers give the same noise."""
    seed = np.abs(1e9 * positions).astype(np.uint32)
    return positions + np.random.default_rng(seed).normal(0.0, 1e-3, positions.shape)


@pytest.mark.parametrize("noise", [by_encoder, with_noise])
@pytest.mark.parametrize("period_ms", [1, 2, 10, 50])
@pytest.mark.parametrize(
    ("times", "verdict", "found"),
    [
        (-1.0, WRONG, "'hip_1' moves against its own velocity"),
        (0.0, WRONG, "of 'hip_1' are 0 times"),
        (1.0, OK, "fit the positions of 8 joints"),
    ],
)
def test_noise_and_a_fast_driver_hide_no_wrong_velocity(
    noise: Callable[[Any], Any], period_ms: int, times: float, verdict: Verdict, found: str
) -> None:
    robot = Robot()
    robot.move_slowly(period_ms * 1_000_000, noise, times)
    check = robot.checks()["joint units"]
    assert check.verdict == verdict, check
    assert found in check.found
