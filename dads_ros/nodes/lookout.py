"""Lookout: the guard that stands in for this node, and whoever else commands the robot."""

import math
import os
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from dads_ros.errors import PlanningError
from dads_ros.planning.guard import IS_GUARD, Guard
from dads_ros.process import STOP
from dads_ros.robot import RobotSpec

NAMELESS = "_NODE_NAME_UNKNOWN_"
"""Of a publisher that was seen before its node; it is known a moment later."""
FOREVER_S = 1e9
DISCOVERY_S, POLL_S = 10.0, 0.05
ANNOUNCED_S = 3.5
"""So long a new node may have to wait until it hears of those that were there before it: DDS
announces them every 3 s, and what is announced at its start can be lost."""
LEASE_S = 25.0
"""So long DDS still lists the publishers of a process that was killed."""


class Lookout:
    """Of a node that publishes commands on a topic."""

    def __init__(self, node: Node, topic: str) -> None:
        """No guard yet."""
        self._node, self._topic = node, node.resolve_topic_name(topic)
        self._guard: Guard | None = None
        self._guard_name = f"{node.get_name()}_{os.getpid()}_guard"
        self._was_nameless = False
        self._known: dict[bytes, str] = {}
        """The last known name of each publisher's node."""
        self._known_from = _in(ANNOUNCED_S)

    def start_guard(self, robot: RobotSpec, command_type: str) -> None:
        """Once for the life of the process, unless it has ended.

        Args:
            robot: whose safe command it sends.
            command_type: of joint_commands, a name of ``conversions.COMMAND_TYPES``.
        Returns when it is seen on the topic.
        Raises: PlanningError.
        """
        if self._guard is None or not self._guard.is_running:
            self._guard = Guard(
                name=self._guard_name,
                namespace=self._node.get_namespace(),
                topic=self._topic,
                command_type=command_type,
                actuators=robot.actuators,
                safe_command=robot.safe_command,
                is_led=robot.command_scale is not None,
                control_dt=robot.control_dt,
            )
        self._guard.wait_until_ready()
        deadline = _in(DISCOVERY_S)
        while not any(name.endswith(f"/{self._guard_name}") for name in self._names()):
            if STOP.is_asked:
                return
            if time.monotonic() > deadline:
                raise PlanningError(
                    f"{self._guard_name} is not seen on {self._topic} after {DISCOVERY_S:g} s: "
                    "does discovery work on this machine (ROS_AUTOMATIC_DISCOVERY_RANGE)?"
                )
            time.sleep(POLL_S)

    def note(self, command: NDArray[np.float64], rates: NDArray[np.float64]) -> None:
        """Tell the guard what is being sent, and how fast it may go on from there. (A,) each."""
        if self._guard is not None:
            self._guard.note(command, rates)

    def stood_in(self) -> NDArray[np.float64] | None:
        """What the guard sent last; None where that is known. Shape (A,)."""
        return None if self._guard is None else self._guard.stood_in()

    def promise(self, seconds: float) -> None:
        """Tell the guard that the next command leaves within so long."""
        if self._guard is not None:
            self._guard.promise(seconds)

    def release(self) -> None:
        """Tell the guard that the robot is no longer driven."""
        self.promise(math.inf)

    def guard_complaint(self) -> str:
        """Why the guard would not step in; empty when it would."""
        return "" if self._guard is None else self._guard.complaint()

    def rivals(self) -> str:
        """Who else commands the robot, for people; empty when nobody does."""
        names = self._commanders()
        own = self._node.get_fully_qualified_name()
        if own in names:
            names.remove(own)  # once: another node may have the same name
        # Discovery may know a publisher a little before its name, which may be a guard's.
        is_new = NAMELESS in "".join(names) and not self._was_nameless
        self._was_nameless = NAMELESS in "".join(names)
        if is_new:
            names = [name for name in names if NAMELESS not in name]
        return f"{', '.join(names)} publishes on {self._topic} too; end it" if names else ""

    def check_alone(self) -> None:
        """Before this node publishes. Raises: PlanningError when another one does."""
        self._wait_for_announcements()
        deadline = _in(DISCOVERY_S)
        while NAMELESS in "".join(others := self._commanders()) and time.monotonic() < deadline:
            if STOP.is_asked:
                break
            time.sleep(POLL_S)  # it may be the guard that was just started
        if others:
            raise PlanningError(
                f"{', '.join(others)} publishes on {self._topic} too: one robot is driven by one "
                "planner; end it, or use another namespace"
            )

    def wait_until_alone(self, meanwhile: Callable[[], None]) -> None:
        """For as long as a planner that was killed is still listed, at most."""
        self._wait_for_announcements()
        deadline, said = _in(LEASE_S), False
        while (others := self._commanders()) and time.monotonic() < deadline and not STOP.is_asked:
            if not said:
                said = True
                self._node.get_logger().warning(
                    f"{', '.join(others)} publishes on {self._topic}: waiting up to {LEASE_S:g} s "
                    "until it is gone"
                )
            meanwhile()
            time.sleep(POLL_S)

    def _wait_for_announcements(self) -> None:
        while time.monotonic() < self._known_from and not STOP.is_asked:
            time.sleep(POLL_S)

    def _commanders(self) -> list[str]:
        """All but guards that publish on the topic."""
        return sorted(name for name in self._names() if not IS_GUARD.search(name))

    def _names(self) -> list[str]:
        """Of all nodes that publish on the topic, once for each publisher.

        Of one that is leaving, DDS may know the publisher longer than its name.
        """
        before, self._known = self._known, {}
        for info in self._node.get_publishers_info_by_topic(self._topic):
            publisher = bytes(info.endpoint_gid)
            name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            self._known[publisher] = before.get(publisher, name) if NAMELESS in name else name
        return list(self._known.values())


def _in(seconds: float) -> float:
    return time.monotonic() + seconds
