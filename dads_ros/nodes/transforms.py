"""FrameTransforms: where the frames of messages are in odom, by the robot's states and by tf2."""

import functools
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from std_msgs.msg import Header

from dads_ros.nodes.conversions import Frames, MessageError, to_ns
from dads_ros.nodes.runner import NO_SUBSCRIPTION_EVENTS
from dads_ros.transform import Transform

try:
    import tf2_ros
    from tf2_msgs.msg import TFMessage
except ImportError:  # a part of ROS that PyPI has not
    tf2_ros = None

WAIT_S, MAP_WAIT_S = 1.0, 30.0
"""So long a goal or path waits for its frame; so often it is said that a map does."""
MAX_BYTES, MAX_FRAMES = 1 << 16, 1000
"""Of a message on /tf, and of all that is remembered: both are read beside the states."""
_NUM_STATES = 200
_NS = 1_000_000_000


class _Waiting(NamedTuple):
    header: Header
    use: Callable[[Transform], None]
    until: float  # steady clock, s


class FrameTransforms:
    """Knows odom; base_link as soon as states come; all others where tf2_ros is installed.

    Messages that come before the transform of their frame wait for it: of each kind the one that
    has waited longest, whose time will come, and the newest.
    """

    def __init__(self, node: Node, frames: Frames) -> None:
        """Listen to /tf and /tf_static from now on: a goal's stamp may be a moment ago."""
        self._frames = frames
        self._bases: deque[tuple[int, Transform]] = deque(maxlen=_NUM_STATES)
        self._seen = 0.0
        self._waiting: dict[str, list[_Waiting]] = {}
        self.complaint = ""
        """What a map waits for."""
        self._known: set[str] = set()
        self._buffer: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer(node=node)
            for topic, durability, take in (
                ("/tf", DurabilityPolicy.VOLATILE, self._buffer.set_transform),
                (
                    "/tf_static",
                    DurabilityPolicy.TRANSIENT_LOCAL,
                    self._buffer.set_transform_static,
                ),
            ):
                node.create_subscription(
                    TFMessage,
                    topic,
                    functools.partial(self._take, take),
                    QoSProfile(depth=100, durability=durability),
                    raw=True,
                    event_callbacks=NO_SUBSCRIPTION_EVENTS,
                )

    def _take(self, take: Callable[..., None], serialised: bytes) -> None:
        """What is too much is left out: nothing may keep the states waiting."""
        if len(serialised) > MAX_BYTES:
            return
        for transform in deserialize_message(serialised, TFMessage).transforms:
            names = {transform.header.frame_id, transform.child_frame_id}
            if len(self._known | names) <= MAX_FRAMES:
                self._known |= names
                take(transform, "")

    def set_base(self, stamp_ns: int, base: Transform) -> None:
        """base_link was there in odom at that time, upright."""
        if self._bases and stamp_ns < self._bases[-1][0]:
            self._bases.clear()  # the clock began anew
        self._bases.append((stamp_ns, base))
        self._seen = time.monotonic()

    def use_when_known(self, what: str, header: Header, use: Callable[[Transform], None]) -> None:
        """Use a message as soon as the transform of its frame into odom is known, be it now.

        Args:
            what: it is: "goal", "path" or "map". A map waits without end, and where tf2 does not
                remember the time of its stamp, as it was sent long ago, the newest is taken.
            header: of the message. Stamp 0 is the newest.
            use: is given the transform.
        Raises: MessageError where none can be known, and what ``use`` raises.
        """
        waiting = self._waiting.setdefault(what, [])
        del waiting[1:]
        waiting.append(_Waiting(header, use, time.monotonic() + WAIT_S))
        self.try_again(what)

    @property
    def waiting(self) -> tuple[str, ...]:
        """What waits."""
        return tuple(what for what, messages in self._waiting.items() if messages)

    def forget(self, *whats: str) -> None:
        """They are not needed any longer."""
        for what in whats:
            self._waiting.pop(what, None)
        if "map" in whats:
            self.complaint = ""

    def try_again(self, what: str) -> None:
        """Use what waits if it can be used now, the newest first; refuse what waited too long.

        Raises: as ``use_when_known``.
        """
        messages, now, is_map = self._waiting.get(what, []), time.monotonic(), what == "map"
        is_late, reason = False, ""
        for index in reversed(range(len(messages))):
            header, use, until = messages[index]
            is_late = now > until
            try:
                found = self._find(what, header)
            except MessageError:
                del messages[: index + 1]
                raise
            if isinstance(found, str):
                reason = found
            elif is_late and not is_map:  # what comes of it would be of another time
                reason = f"its frame '{header.frame_id}' was not known within {WAIT_S:g} s"
            else:
                del messages[: index + 1]
                if is_map:
                    self.complaint = ""
                use(found)
                return
        if not is_late:  # not even the oldest
            return
        if is_map:
            self.complaint = f"the map waits: {reason}"
            messages[0] = messages[0]._replace(until=now + MAP_WAIT_S)
            raise MessageError(self.complaint)
        del messages[0]
        raise MessageError(f"{what} refused: {reason}")

    def _find(self, what: str, header: Header) -> Transform | str:
        """The transform, or why there is none yet. Raises: MessageError if there will be none."""
        (odom, base_link), frame, stamp = self._frames, header.frame_id, header.stamp
        if frame == odom:
            return Transform()
        if stamp.sec < 0:
            raise MessageError(f"{what} refused: its stamp is {stamp.sec} s; expected 0 or more")
        if frame == base_link:
            return self._base_at(to_ns(stamp))
        cure = f"send it in '{odom}' or '{base_link}'"
        if self._buffer is None or not frame:
            if frame:
                cure += ", or install tf2_ros (sudo apt install ros-jazzy-tf2-ros-py)"
            raise MessageError(
                f"{what} refused: its frame is '{frame}', which is unknown here; {cure}"
            )
        try:
            return self._look_up(frame, Time(nanoseconds=to_ns(stamp)), or_newest=what == "map")
        except tf2_ros.TransformException as error:
            return (
                f"tf2 has no way from its frame '{frame}' to '{odom}': {str(error).strip(' .')}; "
                f"publish one (a localiser does, or static_transform_publisher), or {cure}"
            )

    def _base_at(self, stamp_ns: int) -> Transform | str:
        """By the state that is nearest to that time; 0 is the newest."""
        base_link = self._frames.base_link
        if time.monotonic() - self._seen > WAIT_S or not self._bases:
            return f"no state says where '{base_link}' is"
        stamps = np.array([stamp for stamp, _ in self._bases])
        nearest = int(np.abs(stamps - stamp_ns).argmin()) if stamp_ns else len(stamps) - 1
        if stamp_ns and abs(int(stamps[nearest]) - stamp_ns) > WAIT_S * _NS:
            return (
                f"its stamp is {stamp_ns / _NS:.3f} s, and the states that say where "
                f"'{base_link}' is are of {stamps[0] / _NS:.3f} to {stamps[-1] / _NS:.3f} s; send "
                "stamp 0 for where it is now"
            )
        return self._bases[nearest][1]

    def _look_up(self, frame: str, at: Time, or_newest: bool) -> Transform:
        """Raises: TransformException."""
        odom = self._frames.odom
        try:
            found = self._buffer.lookup_transform(odom, frame, at).transform
        except tf2_ros.ExtrapolationException:
            if not or_newest or at > self._buffer.get_latest_common_time(odom, frame):
                raise
            found = self._buffer.lookup_transform(odom, frame, Time()).transform
        place, turn = found.translation, found.rotation
        quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
        quaternion /= np.linalg.norm(quaternion)  # tf2 takes what is off by 1 %
        return Transform(place.x, place.y, place.z, *quaternion.tolist())
