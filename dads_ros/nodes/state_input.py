"""StateInput: joint_states, odom and perhaps imu as they come, as states with their age."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, JointState

from dads_ros.nodes.conversions import Frames, MessageError
from dads_ros.nodes.runner import NO_SUBSCRIPTION_EVENTS, STATE_QOS
from dads_ros.nodes.state_age import StateAge, under_way_s
from dads_ros.nodes.state_assembler import StateAssembler
from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec

Add = Callable[[StateAssembler, Any, int | None, float], None]
_NUMBER = "publication_sequence_number"


class StateInput:
    """Subscribes to them; a message that completes a state is passed on as one at once."""

    def __init__(
        self,
        node: Node,
        frames: Frames,
        *,
        use_imu: bool,
        timeout_s: Callable[[], float],
        take: Callable[[RobotState, int, float], None],
        refuse: Callable[[str], None],
    ) -> None:
        """Subscribe; nothing is taken in before ``start``.

        Args:
            node: of the topics.
            frames: odom and imu must be in.
            use_imu: there is no state without imu.
            timeout_s: so far in the future a stamp may be.
            take: gets each complete state of one robot, its stamp in ns and when it was measured,
                steady clock, s.
            refuse: gets a sentence about what cannot be used.
        """
        self._frames, self._timeout_s, self._take, self._refuse = frames, timeout_s, take, refuse
        self._node, self._use_imu = node, use_imu
        self._age = StateAge(node.get_clock())
        self._assembler: StateAssembler | None = None
        self._period_s = 0.0
        self._inputs: list[tuple[Subscription, Add]] = []

        def create_subscription(kind: type, topic: str, add: Add) -> None:
            def handle(message: Any, info: Mapping[str, int]) -> None:  # noqa: ANN401
                self._handle(add, message, info)

            subscription = node.create_subscription(
                kind, topic, handle, STATE_QOS, event_callbacks=NO_SUBSCRIPTION_EVENTS
            )
            self._inputs.append((subscription, add))

        create_subscription(JointState, "joint_states", StateAssembler.add_joints)
        create_subscription(Odometry, "odom", StateAssembler.add_odometry)
        if use_imu:
            create_subscription(Imu, "imu", StateAssembler.add_imu)

    def start(self, robot: RobotSpec, max_difference_s: float) -> None:
        """Take in states of this robot from now on; 0: its parts are half a control step apart.

        What came before is forgotten.
        """
        self._period_s = robot.control_dt
        difference_ns = round((max_difference_s or 0.5 * robot.control_dt) * 1e9)
        say = self._node.get_logger().info
        self._assembler = StateAssembler(
            robot, self._frames, difference_ns, use_imu=self._use_imu, say=say
        )

    def stop(self) -> None:
        """Take in nothing any longer."""
        self._assembler = None

    def complaint(self) -> str:
        """Why no state may be complete, for people; empty when nothing waits."""
        return "" if self._assembler is None else self._assembler.complaint()

    def second_voice(self) -> str:
        """The topic on which two publishers say the same thing; empty when there is none."""
        return "" if self._assembler is None else self._assembler.second_voice(time.monotonic())

    @property
    def is_other_clock(self) -> bool:
        """Stamps are not of the node's clock, so that only DDS says how old a state is."""
        return self._age.is_other_clock

    def _handle(self, add: Add, message: Any, info: Mapping[str, int]) -> None:  # noqa: ANN401
        assembler = self._assembler
        if assembler is None:
            return
        try:
            add(assembler, message, info[_NUMBER], time.monotonic())
            sent_s = under_way_s(info)
            if sent_s > self._period_s:  # others wait behind it: the newest counts
                sent_s = under_way_s(self._drain(assembler) or info)
            complete = assembler.take()
            if complete is None:
                return
            state, stamp_ns = complete
            measured = time.monotonic() - self._age.of(stamp_ns, sent_s, self._timeout_s())
        except MessageError as error:
            self._refuse(str(error))
        else:
            self._take(state, stamp_ns, measured)

    def _drain(self, assembler: StateAssembler) -> Mapping[str, int] | None:
        """Take in whatever waits. Returns: the info of the last message."""
        last = None
        for subscription, add in self._inputs:
            with subscription.handle:
                while found := subscription.handle.take_message(subscription.msg_type, False):
                    message, last = found
                    add(assembler, message, last[_NUMBER], time.monotonic())
        return last
