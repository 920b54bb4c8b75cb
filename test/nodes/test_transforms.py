"""Where the frames of messages are: base_link always, others by the real tf2 where it is."""

import importlib.util
import time
from collections.abc import Callable

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from dads_ros.nodes import transforms
from dads_ros.nodes.conversions import Frames, MessageError
from dads_ros.nodes.transforms import FrameTransforms
from dads_ros.transform import Transform
from ros_graph import Probe

HAS_TF2 = importlib.util.find_spec("tf2_ros") is not None
needs_tf2 = pytest.mark.skipif(not HAS_TF2, reason="tf2_ros is not installed; PyPI has it not")


@pytest.fixture
def frame_transforms(probe: Probe) -> FrameTransforms:
    return FrameTransforms(probe.node, Frames.of("r1/"))


def header(frame: str, sec: int = 0) -> Header:
    return Header(frame_id=frame, stamp=Time(sec=sec))


def test_a_message_from_the_robot_waits_for_a_state(frame_transforms: FrameTransforms) -> None:
    used: list[Transform] = []
    frame_transforms.wait("goal", header("r1/odom"), used.append)
    assert used.pop() == Transform()
    frame_transforms.wait("goal", header("r1/base_link"), used.append)
    frame_transforms.wait("path", header("r1/base_link"), used.append)
    frame_transforms.try_again("goal")
    frame_transforms.forget("path")
    assert frame_transforms.waiting == ("goal",) and not used
    base = Transform.on_ground(1.0, 2.0, 0.5)
    frame_transforms.see(base)
    frame_transforms.try_again("goal")
    assert used == [base] and not frame_transforms.waiting


def test_one_that_waited_in_vain_is_refused(
    frame_transforms: FrameTransforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "WAIT_S", 0.0)
    with pytest.raises(MessageError, match="goal refused: no state says where 'r1/base_link' is"):
        frame_transforms.wait("goal", header("r1/base_link"), pytest.fail)
    assert not frame_transforms.waiting


def test_one_that_is_sent_again_and_again_waits_no_longer(
    frame_transforms: FrameTransforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame_transforms.wait("goal", header("r1/base_link"), pytest.fail)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 0.9 * transforms.WAIT_S)
    frame_transforms.wait("goal", header("r1/base_link"), pytest.fail)
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.1 * transforms.WAIT_S)
    with pytest.raises(MessageError, match="no state says"):
        frame_transforms.wait("goal", header("r1/base_link"), pytest.fail)


def test_an_unknown_frame_is_refused_with_its_name_and_the_cure(
    frame_transforms: FrameTransforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "WAIT_S", 0.0)
    cure = "publish one" if HAS_TF2 else "install tf2_ros"
    with pytest.raises(MessageError, match=f"goal refused: .*its frame .*'map'.*{cure}"):
        frame_transforms.wait("goal", header("map"), pytest.fail)
    for frame in ("", "odom", "/map"):
        with pytest.raises(MessageError, match=f"frame.* '{frame}'.*send it in 'r1/odom'"):
            frame_transforms.wait("goal", header(frame), pytest.fail)


@pytest.fixture
def send(probe: Probe) -> Callable[[str, float, int | None], None]:
    """Publishes r1/odom in a frame at x, at a second or for ever."""
    import tf2_ros

    dynamic = tf2_ros.TransformBroadcaster(probe.node)
    static = tf2_ros.StaticTransformBroadcaster(probe.node)

    def send(frame: str, x: float, sec: int | None) -> None:
        message = TransformStamped(header=header(frame, sec or 0), child_frame_id="r1/odom")
        message.transform.translation.x = x
        (static if sec is None else dynamic).sendTransform(message)

    return send


@needs_tf2
def test_a_frame_is_where_it_was_at_the_stamp(
    frame_transforms: FrameTransforms, probe: Probe, send: Callable[..., None]
) -> None:
    used: list[Transform] = []

    def is_used() -> bool:
        for what in frame_transforms.waiting:
            frame_transforms.try_again(what)
        return len(used) == 1

    frame_transforms.wait("goal", header("map", 15), used.append)  # tf2 does not know it yet
    probe.wait_for(lambda: probe.node.count_subscribers("/tf") >= 1)
    for second in (10, 20):
        send("map", -float(second), second)
    probe.wait_for(is_used)
    np.testing.assert_allclose(used.pop(), [15.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    frame_transforms.wait("goal", header("map"), used.append)
    np.testing.assert_allclose(used.pop()[0], 20.0)
    frame_transforms.wait("map", header("map", 1), used.append, or_newest=True)
    np.testing.assert_allclose(used.pop()[0], 20.0)
    frame_transforms.wait("map", header("map", 21), used.append, or_newest=True)
    frame_transforms.wait("goal", header("map", 1), used.append)
    assert not is_used() and set(frame_transforms.waiting) == {"map", "goal"}


@needs_tf2
def test_a_static_frame_is_known_at_any_time(
    frame_transforms: FrameTransforms, probe: Probe, send: Callable[..., None]
) -> None:
    used: list[Transform] = []
    send("map", -3.0, None)
    probe.wait_for(lambda: probe.node.count_publishers("/tf_static") == 1)
    frame_transforms.wait("goal", header("map", 1234), used.append)

    def is_used() -> bool:
        for what in frame_transforms.waiting:
            frame_transforms.try_again(what)
        return bool(used)

    probe.wait_for(is_used)
    np.testing.assert_allclose(used[0][0], 3.0)
