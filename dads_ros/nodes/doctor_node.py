"""doctor: listens to a robot's topics and looks at its graph; it publishes nothing."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from nav_msgs.msg import Odometry
from rcl_interfaces.srv import GetParameters
from rclpy.exceptions import InvalidNamespaceException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from dads_ros.diagnosis import graph
from dads_ros.diagnosis.graph import TYPES
from dads_ros.diagnosis.records import Arrival, Endpoint, Heard, PlannerSettings
from dads_ros.errors import ConfigError
from dads_ros.nodes.conversions import COMMAND_TYPES, to_ns
from dads_ros.nodes.hearing import Hearing, command_record
from dads_ros.nodes.runner import STATE_QOS, WAKE_S, beginning, ros
from dads_ros.planning.guard import IS_GUARD
from dads_ros.process import STOP

NAME, PLANNER, WOULD_BE = "doctor", "skill_planner", "would_be_commands"
DISCOVERY_S = 4.0
"""So long it may take to hear of all who were there before: DDS announces them every 3 s."""
ANSWER_S = 2.0
"""So long a planner may take to say its parameters."""
SETTINGS = (
    *("use_sim_time", "frame_prefix", "max_stamp_difference_s", "state_timeout_s"),
    *("command_type", "use_imu"),
)
Info = Mapping[str, int]


def listen(namespace: str, seconds: float) -> Heard | None:
    """What is to be heard in a namespace within so long; None where ``STOP`` was asked.

    Raises: ConfigError for a namespace that is none.
    """
    with ros():
        with beginning():
            try:
                node = DoctorNode(namespace)
            except InvalidNamespaceException as error:
                raise ConfigError(
                    f"--namespace is '{namespace}': {error}; give one such as robot1"
                ) from error
        heard = node.listen(seconds)
        node.destroy_node()
        return heard


class DoctorNode(Node):
    """Keeps what it hears as records."""

    def __init__(self, namespace: str) -> None:
        """Subscribe. Raises: InvalidNamespaceException."""
        super().__init__(
            NAME,
            namespace=namespace,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._heard = Hearing()
        self._command_topics: set[str] = set()
        self._hear(Clock, "/clock", self._take_clock)
        self._hear(JointState, "joint_states", self._take_joints)
        self._hear(Odometry, "odom", self._take_odometry)
        self._hear(Imu, "imu", self._take_imu)
        self.create_timer(0.5, self._look_for_commands)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def listen(self, seconds: float) -> Heard | None:
        """So long from when both halves of a state come, then look at the graph.

        Returns: None where ``STOP`` was asked.
        """
        known = time.monotonic() + DISCOVERY_S
        self._spin_until(known, lambda: self._heard.joints and self._heard.bases)
        self._spin_until(max(time.monotonic() + seconds, known), lambda: False)
        topics = ("joint_states", "odom", "imu", "joint_commands", "/clock")
        publishers = {topic: self._publishers_of(topic) for topic in topics}
        planner = self._settings(publishers["joint_commands"])
        if STOP.is_asked:
            return None
        return Heard(
            seconds=seconds,
            joints=self._heard.joints,
            bases=self._heard.bases,
            imus=self._heard.imus,
            commands=self._heard.commands,
            would_be_commands=self._heard.would_be_commands,
            num_clocks=self._heard.num_clocks,
            publishers=publishers,
            subscriptions={"joint_commands": self._subscriptions_of("joint_commands")},
            elsewhere={topic: self._elsewhere(topic) for topic in TYPES},
            planner=planner,
        )

    def _spin_until(self, deadline: float, is_done: Callable[[], object]) -> None:
        while not (is_done() or STOP.is_asked) and (left := deadline - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=min(left, WAKE_S))

    # --- messages ------------------------------------------------------------------------------

    def _hear(self, kind: type, topic: str, take: Callable[[Any, Info], None]) -> None:
        self.create_subscription(kind, topic, take, STATE_QOS)

    def _take_clock(self, message: Clock, _: Info) -> None:
        self._heard.take_clock(to_ns(message.clock))

    def _take_joints(self, message: JointState, info: Info) -> None:
        self._heard.take_joints(message, self._arrival(message, info))

    def _take_odometry(self, message: Odometry, info: Info) -> None:
        self._heard.take_odometry(message, self._arrival(message, info))

    def _take_imu(self, message: Imu, info: Info) -> None:
        self._heard.take_imu(message, self._arrival(message, info))

    def _take_command(self, message: Float64MultiArray | JointTrajectory, info: Info) -> None:
        self._heard.commands.append(command_record(message, _received_ns(info)))

    def _take_would_be(self, message: Float64MultiArray | JointTrajectory, info: Info) -> None:
        self._heard.would_be_commands.append(command_record(message, _received_ns(info)))

    def _arrival(self, message: Any, info: Info) -> Arrival:  # noqa: ANN401
        stamp_ns = to_ns(message.header.stamp)
        sequence = info["publication_sequence_number"]
        return Arrival(stamp_ns, _received_ns(info), self._heard.clock_ns, sequence)

    # --- the graph -----------------------------------------------------------------------------

    def _look_for_commands(self) -> None:
        """Hear them once it is known of which type they are: DDS lets nobody hear both."""
        inside = f"{self.get_namespace().rstrip('/')}/"
        for topic, _ in self.get_topic_names_and_types():
            is_dry = topic.startswith(inside) and topic.endswith(f"/{WOULD_BE}")
            is_command = is_dry or topic == f"{inside}joint_commands"
            if not is_command or topic in self._command_topics:
                continue
            types = {end.type for end in self._publishers_of(topic)}
            kind = next((k for k, name in graph.COMMAND_TYPES.items() if name in types), None)
            if kind is not None:
                self._command_topics.add(topic)
                take = self._take_would_be if is_dry else self._take_command
                self._hear(COMMAND_TYPES[kind], topic, take)

    def _publishers_of(self, topic: str) -> list[Endpoint]:
        name = self.resolve_topic_name(topic)
        return [_endpoint(info) for info in self.get_publishers_info_by_topic(name)]

    def _subscriptions_of(self, topic: str) -> list[Endpoint]:
        name = self.resolve_topic_name(topic)
        ends = [_endpoint(info) for info in self.get_subscriptions_info_by_topic(name)]
        return [end for end in ends if end.node != self.get_fully_qualified_name()]

    def _elsewhere(self, topic: str) -> list[str]:
        own = self.resolve_topic_name(topic)
        return sorted(
            name
            for name, types in self.get_topic_names_and_types()
            if name.endswith(f"/{topic}") and name != own and TYPES[topic] in types
        )

    def _settings(self, commanders: list[Endpoint]) -> PlannerSettings:
        """Of the planner that commands, else of the one that has the planner's usual name."""
        guarded = sorted(
            IS_GUARD.sub("", end.node) for end in commanders if IS_GUARD.search(end.node)
        )
        inside = self.get_namespace().rstrip("/")
        nodes = {
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self.get_node_names_and_namespaces()
        }
        node = next((name for name in [*guarded, f"{inside}/{PLANNER}"] if name in nodes), "")
        if not node:
            return PlannerSettings()
        client = self.create_client(GetParameters, f"{node}/get_parameters")
        deadline = time.monotonic() + ANSWER_S
        self._spin_until(deadline, client.service_is_ready)
        if not client.service_is_ready():
            return PlannerSettings()
        future = client.call_async(GetParameters.Request(names=list(SETTINGS)))
        self._spin_until(deadline, future.done)
        if not future.done() or future.exception() is not None:
            return PlannerSettings()
        values = map(parameter_value_to_python, future.result().values)
        found = {name: value for name, value in zip(SETTINGS, values, strict=False)}
        return PlannerSettings(node, **{k: v for k, v in found.items() if v is not None})


def _received_ns(info: Info) -> int:
    """Before the message waited for this process, where DDS says when."""
    return info["received_timestamp"] or time.time_ns()


def _endpoint(info: TopicEndpointInfo) -> Endpoint:
    return Endpoint(f"{info.node_namespace.rstrip('/')}/{info.node_name}", info.topic_type)
