"""Messages that say the same, as they come over DDS."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.serialization import serialize_message

from dads_ros.nodes.conversions import to_stamp
from dads_ros.nodes.repeats import Repeats

SECOND = 1_000_000_000


def a_map(frame: str = "odom") -> OccupancyGrid:
    message = OccupancyGrid(data=[0, 100, -1, 0, 0, 7])
    message.header.frame_id, message.header.stamp = frame, to_stamp(3 * SECOND)
    message.info.width, message.info.height, message.info.resolution = 3, 2, 0.05
    return message


def of_maps() -> Repeats:
    return Repeats(has_second_stamp=True)


def stamped(message: Any, seconds: int) -> bytes:  # noqa: ANN401
    message.header.stamp = to_stamp(seconds * SECOND + 5)
    if isinstance(message, OccupancyGrid):
        message.info.map_load_time = message.header.stamp
    return serialize_message(message)


@pytest.mark.parametrize("frame", ["", "map", "odom", "robot1/odom"])
def test_stamps_alone_make_no_new_map(frame: str) -> None:
    repeats = of_maps()
    first = stamped(a_map(frame), 1)
    assert not repeats.is_repeated(first)
    repeats.keep(first)
    assert repeats.is_repeated(first) and repeats.is_repeated(stamped(a_map(frame), 9))
    path = Path()
    path.header.frame_id = frame
    repeats = Repeats()
    repeats.keep(stamped(path, 1))
    assert repeats.is_repeated(stamped(path, 9))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.header, "frame_id", "odon"),
        lambda m: setattr(m.header, "frame_id", "odom2"),
        lambda m: setattr(m.info, "resolution", 0.1),
        lambda m: (setattr(m.info, "width", 2), setattr(m.info, "height", 3)),
        lambda m: setattr(m.info.origin.position, "y", 0.1),
        lambda m: m.data.append(0),
        lambda m: m.data.pop(),
        *(lambda m, i=i: m.data.__setitem__(i, 50) for i in range(6)),
    ],
)
def test_everything_else_does(change: Callable[[OccupancyGrid], object]) -> None:
    repeats, message = of_maps(), a_map()
    repeats.keep(stamped(message, 1))
    change(message)
    assert not repeats.is_repeated(stamped(message, 1))


def test_bytes_that_are_no_message_are_only_like_themselves() -> None:
    rng = np.random.default_rng(0)
    for size in range(40):
        repeats, junk = of_maps(), rng.bytes(size)
        assert not repeats.is_repeated(junk)
        repeats.keep(junk)
        assert not repeats.is_repeated(junk + b"\1")
        assert not size or not repeats.is_repeated(junk[:-1])
