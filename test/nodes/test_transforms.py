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


BASE = Transform.on_ground(1.0, 2.0, 0.5)


def test_a_message_from_the_robot_waits_for_a_state(frame_transforms: FrameTransforms) -> None:
    used: list[Transform] = []
    frame_transforms.use_when_known("goal", header("r1/odom"), used.append)
    assert used.pop() == Transform()
    frame_transforms.use_when_known("goal", header("r1/base_link"), used.append)
    frame_transforms.use_when_known("path", header("r1/base_link"), used.append)
    frame_transforms.forget("path")
    for what in ("goal", "path"):
        frame_transforms.try_again(what)
    assert frame_transforms.waiting == ("goal",) and not used
    frame_transforms.set_base(7, BASE)
    frame_transforms.try_again("goal")
    assert used == [BASE] and not frame_transforms.waiting


def test_the_robot_is_where_it_was_at_the_stamp(frame_transforms: FrameTransforms) -> None:
    used: list[Transform] = []
    places = [Transform(x=float(second)) for second in range(5)]
    for second, place in enumerate(places):
        frame_transforms.set_base(second * 10**9, place)
    for second, place in ((3, places[3]), (0, places[4])):
        frame_transforms.use_when_known("goal", header("r1/base_link", second), used.append)
        assert used.pop() == place
    frame_transforms.use_when_known("goal", header("r1/base_link", 9), used.append)
    assert frame_transforms.waiting and not used


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    begin = time.monotonic()
    return lambda seconds: monkeypatch.setattr(time, "monotonic", lambda: begin + seconds)


def test_one_that_waited_in_vain_is_refused_though_it_were_known_now(
    frame_transforms: FrameTransforms, pass_time: Callable[[float], None]
) -> None:
    frame_transforms.use_when_known("goal", header("r1/base_link"), pytest.fail)
    pass_time(600.0)
    frame_transforms.set_base(7, BASE)
    with pytest.raises(MessageError, match="goal refused: its frame 'r1/base_link' was not known"):
        frame_transforms.try_again("goal")
    assert not frame_transforms.waiting
    pass_time(1200.0)
    frame_transforms.use_when_known("goal", header("r1/base_link"), pytest.fail)
    pass_time(1202.0)
    with pytest.raises(MessageError, match="goal refused: no state says where 'r1/base_link' is"):
        frame_transforms.try_again("goal")


def test_each_that_is_sent_again_and_again_has_its_time(
    frame_transforms: FrameTransforms, pass_time: Callable[[float], None]
) -> None:
    """The oldest is not pushed out by newer ones, nor the newest refused with it."""
    used: list[str] = []
    for tenth in range(10):
        pass_time(tenth / 10)
        frame_transforms.use_when_known(
            "goal", header("r1/base_link"), lambda _, tenth=tenth: used.append(tenth)
        )
    pass_time(1.05)
    with pytest.raises(MessageError, match="no state says"):
        frame_transforms.try_again("goal")
    assert frame_transforms.waiting
    frame_transforms.set_base(7, BASE)
    frame_transforms.try_again("goal")
    assert used == [9] and not frame_transforms.waiting


def test_what_is_used_may_forget_what_waits(frame_transforms: FrameTransforms) -> None:
    used: list[str] = []

    def use(_: Transform) -> None:
        used.append("goal")
        frame_transforms.forget("goal", "path")

    frame_transforms.use_when_known("goal", header("r1/base_link"), use)
    frame_transforms.use_when_known("path", header("r1/base_link"), pytest.fail)
    frame_transforms.set_base(7, BASE)
    for what in ("goal", "path"):
        frame_transforms.try_again(what)
    assert used == ["goal"]


def test_a_map_waits_without_end_and_says_so(
    frame_transforms: FrameTransforms, pass_time: Callable[[float], None]
) -> None:
    used: list[Transform] = []
    frame_transforms.use_when_known("map", header("r1/base_link"), used.append)
    assert not frame_transforms.complaint
    for seconds in (2.0, 100.0):
        pass_time(seconds)
        with pytest.raises(MessageError, match="the map waits: no state says where"):
            frame_transforms.try_again("map")
        frame_transforms.try_again("map")
    assert "the map waits" in frame_transforms.complaint
    frame_transforms.set_base(7, BASE)
    frame_transforms.try_again("map")
    assert used == [BASE] and not frame_transforms.complaint


def test_an_unknown_frame_is_refused_with_its_name_and_the_cure(
    frame_transforms: FrameTransforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "WAIT_S", -1.0)
    cure = "publish one" if HAS_TF2 else "install tf2_ros"
    with pytest.raises(MessageError, match=f"goal refused: .*its frame .*'map'.*{cure}"):
        frame_transforms.use_when_known("goal", header("map"), pytest.fail)
    for frame in ("", "odom", "/map"):
        with pytest.raises(MessageError, match=f"frame.* '{frame}'.*send it in 'r1/odom'"):
            frame_transforms.use_when_known("goal", header(frame), pytest.fail)


@pytest.fixture
def send(probe: Probe) -> Callable[[str, float, int | None], None]:
    """Publishes r1/odom in a frame at x, at a second or for ever."""
    import tf2_ros

    dynamic = tf2_ros.TransformBroadcaster(probe.node)
    static = tf2_ros.StaticTransformBroadcaster(probe.node)

    def send(frame: str, x: float, sec: int | None) -> None:
        message = TransformStamped(header=header(frame, sec or 0), child_frame_id="r1/odom")
        message.transform.translation.x = x
        message.transform.rotation.w = 0.9999  # as people type it
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

    frame_transforms.use_when_known(
        "goal", header("map", 15), used.append
    )  # tf2 does not know it yet
    probe.wait_for(lambda: probe.node.count_subscribers("/tf") >= 1)
    for second in (10, 20):
        send("map", -float(second), second)
    probe.wait_for(is_used)
    np.testing.assert_allclose(used.pop(), [15.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    frame_transforms.use_when_known("goal", header("map"), used.append)
    np.testing.assert_allclose(used.pop()[0], 20.0)
    frame_transforms.use_when_known("map", header("map", 1), used.append)
    np.testing.assert_allclose(used.pop()[0], 20.0)
    frame_transforms.use_when_known("map", header("map", 21), used.append)
    frame_transforms.use_when_known("goal", header("map", 1), used.append)
    assert not is_used() and set(frame_transforms.waiting) == {"map", "goal"}


@needs_tf2
def test_what_is_too_much_on_tf_is_left_out(
    frame_transforms: FrameTransforms, probe: Probe, send: Callable[..., None]
) -> None:
    from tf2_msgs.msg import TFMessage

    used: list[Transform] = []
    huge = TFMessage(transforms=[TransformStamped(child_frame_id="r1/odom")] * 2000)
    huge.transforms[0].header.frame_id = "mars"
    publisher = probe.node.create_publisher(TFMessage, "/tf", 5)
    probe.wait_for(publisher.get_subscription_count)
    publisher.publish(huge)
    frame_transforms.use_when_known("goal", header("map"), used.append)
    send("map", -3.0, 5)

    def is_used() -> bool:
        frame_transforms.try_again("goal")
        return bool(used)

    probe.wait_for(is_used)
    frame_transforms.use_when_known("goal", header("mars"), used.append)
    assert frame_transforms.waiting


@needs_tf2
def test_a_static_frame_is_known_at_any_time(
    frame_transforms: FrameTransforms, probe: Probe, send: Callable[..., None]
) -> None:
    used: list[Transform] = []
    send("map", -3.0, None)
    probe.wait_for(lambda: probe.node.count_publishers("/tf_static") == 1)
    frame_transforms.use_when_known("goal", header("map", 1234), used.append)

    def is_used() -> bool:
        for what in frame_transforms.waiting:
            frame_transforms.try_again(what)
        return bool(used)

    probe.wait_for(is_used)
    np.testing.assert_allclose(used[0][0], 3.0)
