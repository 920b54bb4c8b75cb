"""FrameTransforms: where the frames of messages are in odom, by the robot's state and by tf2."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from dads_ros.nodes.conversions import Frames, MessageError, to_ns
from dads_ros.transform import Transform

try:
    import tf2_ros
except ImportError:  # it is a part of ROS that PyPI has not
    tf2_ros = None

WAIT_S = 1.0
"""So long a message waits until it is known where its frame is."""


class _Waiting(NamedTuple):
    header: Header
    use: Callable[[Transform], None]
    or_newest: bool
    until: float  # steady clock, s


class FrameTransforms:
    """Knows odom; base_link as soon as a state comes; all others where tf2_ros is installed.

    Messages wait for that. Of one kind only the newest does.
    """

    def __init__(self, node: Node, frames: Frames) -> None:
        """Listen to /tf and /tf_static from now on: a goal's stamp may be a moment ago."""
        self._frames = frames
        self._base, self._seen = Transform(), -math.inf
        self._waiting: dict[str, _Waiting] = {}
        self._buffer: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer(node=node)
            self._listener = tf2_ros.TransformListener(self._buffer, node)

    def wait(
        self,
        what: str,
        header: Header,
        use: Callable[[Transform], None],
        *,
        or_newest: bool = False,
    ) -> None:
        """Use a message as soon as the transform of its frame into odom is known, be it now.

        Args:
            what: the message is, for people.
            header: of it. Stamp 0 is the newest that tf2 knows; base_link is where it is now.
            use: is given the transform.
            or_newest: where tf2 does not remember that time, as of a map that was sent long ago.
        Raises: MessageError where none can be known, and what ``use`` raises.
        """
        until = time.monotonic() + WAIT_S
        if what in self._waiting:  # what is sent again and again is refused all the same
            until = self._waiting[what].until
        self._waiting[what] = _Waiting(header, use, or_newest, until)
        self.try_again(what)

    def see(self, base: Transform) -> None:
        """base_link is there in odom now, upright."""
        self._base, self._seen = base, time.monotonic()

    @property
    def waiting(self) -> tuple[str, ...]:
        """What waits."""
        return tuple(self._waiting)

    def forget(self, *whats: str) -> None:
        """They are not needed any longer."""
        for what in whats:
            self._waiting.pop(what, None)

    def try_again(self, what: str) -> None:
        """Use what waits if it can be used now. Raises: as ``wait``."""
        message = self._waiting.pop(what)
        found = self._find(what, message)
        if isinstance(found, Transform):
            message.use(found)
        elif time.monotonic() < message.until:
            self._waiting[what] = message
        else:
            raise MessageError(f"{what} refused: {found}")

    def _find(self, what: str, message: _Waiting) -> Transform | str:
        """The transform, or why there is none yet. Raises: MessageError if there will be none."""
        (odom, base_link), frame, stamp = (
            self._frames,
            message.header.frame_id,
            message.header.stamp,
        )
        if frame == odom:
            return Transform()
        if frame == base_link:
            is_fresh = time.monotonic() - self._seen < WAIT_S
            return self._base if is_fresh else f"no state says where '{base_link}' is"
        cure = f"send it in '{odom}' or '{base_link}'"
        if self._buffer is None or not frame:
            if frame:
                cure += ", or install tf2_ros (sudo apt install ros-jazzy-tf2-ros-py)"
            raise MessageError(
                f"{what} refused: its frame is '{frame}', which is unknown here; {cure}"
            )
        if stamp.sec < 0:
            raise MessageError(f"{what} refused: its stamp is {stamp.sec} s; expected 0 or more")
        try:
            return self._look_up(frame, Time(nanoseconds=to_ns(stamp)), message.or_newest)
        except tf2_ros.TransformException as error:
            return (
                f"tf2 has no way from its frame '{frame}' to '{odom}': {str(error).strip(' .')}; "
                f"publish one (a localiser does, or static_transform_publisher), or {cure}"
            )

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
        return Transform(place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w)
