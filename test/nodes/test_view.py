"""The view: a page that shows a robot and sends what is asked for there; it harms nobody."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, Wrench
from nav_msgs.msg import OccupancyGrid, Odometry
from nav_msgs.msg import Path as PathMessage
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.colours import of_directions
from dads_ros.nodes.markers import skill_fan_markers
from dads_ros.nodes.view_node import MAX_STATUSES
from dads_ros.view.panel import HOLD_HZ
from page_client import PageClient
from ros_graph import (
    LATCHED,
    SHORT_RUN,
    NodeProcess,
    Probe,
    Robot,
    is_doing,
    is_moving,
    port_of,
    position,
    send_goal_ahead,
)

ROLLOUTS = "/skill_planner/rollouts"
DROPPED = re.compile(r"clicked goal x (\S+) m, y (\S+) m within 10 s: it is dropped")


@pytest.fixture(scope="module")
def port(shared: Robot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with NodeProcess("view", tmp_path_factory.mktemp("view")) as view:
        yield port_of(view, shared.probe)
        assert view.end() == 0
        assert "Traceback" not in view.said() and "unexpected" not in view.said()


@pytest.fixture
def page(port: int, shared: Robot) -> Iterator[PageClient]:
    """It looks on at a robot that stands without a task."""
    probe = shared.probe
    probe.call(SetBool, "simulator/set_pause", data=False)
    probe.call(Trigger, "skill_planner/cancel")
    probe.wait_for(lambda: not is_moving(probe))
    with PageClient(port) as page:
        probe.wait_for(lambda: page.named("/world/robot/body1"))
        yield page


def shown_at(page: PageClient) -> np.ndarray:
    """Where the page has the robot: the world moves, so that it stays in the middle."""
    return -np.array(page.position("/world")[:2])


def place(goal: PoseStamped) -> np.ndarray:
    return np.array([goal.pose.position.x, goal.pose.position.y])


def click(page: PageClient, probe: Probe, topic: str, x: float, y: float) -> PoseStamped:
    """The goal that comes of it."""
    goals = probe.messages[topic]
    if topic != "skill_planner/goal":  # which is listened to from the start
        probe.listen(PoseStamped, topic)
        probe.wait_for(lambda: probe.is_heard(topic))
    before = len(goals)
    page.click(x, y)
    probe.wait_for(lambda: len(goals) > before)
    return goals[-1]


def test_the_robot_is_shown_where_odom_has_it_and_a_click_sends_it_elsewhere(
    page: PageClient, shared: Robot
) -> None:
    probe = shared.probe
    probe.wait_for(lambda: np.linalg.norm(shown_at(page) - position(probe)) < 0.05)
    shown = page.position("/world/robot/body1")[:2]
    np.testing.assert_allclose(shown, position(probe), atol=0.1)
    goal = shown_at(page) + np.array([1.5, -1.0])
    # In the scene, whose middle is the robot. What the planner took is latched, and never lost.
    taken = click(page, probe, "skill_planner/goal", 1.5, -1.0)
    np.testing.assert_allclose(place(taken), goal, atol=0.05)
    probe.wait_for(lambda: np.linalg.norm(position(probe) - place(taken)) < 0.6, 30.0)
    for name in ("plan", "trail", "goal", "rollouts"):
        probe.wait_for(lambda name=name: page.named(f"/world/robot/{name}"))
    probe.wait_for(lambda: "goal reached" in page.text())
    sent = click(page, probe, "goal_pose", -1.0, 1.5)
    assert sent.header.frame_id == "odom"
    heading = 2.0 * np.arctan2(sent.pose.orientation.z, sent.pose.orientation.w)
    assert abs(heading - np.arctan2(1.5, -1.0)) < 0.05
    probe.call(Trigger, "skill_planner/cancel")


def test_at_most_20_pictures_a_second_are_made_and_none_for_nobody(
    port: int, shared: Robot
) -> None:
    """Nor are candidates of plans, which the planner publishes for listeners only."""
    probe = shared.probe

    def is_listened_to() -> bool:
        return bool(probe.node.get_subscriptions_info_by_topic(ROLLOUTS))

    probe.wait_for(lambda: not is_listened_to())
    with PageClient(port) as page:
        probe.wait_for(is_listened_to)
        send_goal_ahead(probe, 3.0)
        probe.wait_for(lambda: is_moving(probe) and pictures_per_second(probe)[-1:] > [1.0])
        num = len(pictures_per_second(probe))
        probe.wait_for(lambda: len(pictures_per_second(probe)) > num + 2)
        assert max(pictures_per_second(probe)) < 22.0
        assert len(page.named("/world", "SetPosition")) > 10
    probe.wait_for(lambda: not is_listened_to())
    probe.wait_for(lambda: pictures_per_second(probe)[-1] == 0.0)


def pictures_per_second(probe: Probe) -> list[float]:
    """What the view says, once a second."""
    statuses = [s for m in probe.messages["/diagnostics"] for s in m.status]
    values = [s.values for s in statuses if s.name == "view: page"]
    return [float(v.value) for found in values for v in found if v.key == "pictures per second"]


def test_a_skill_is_driven_by_hand_only_while_the_button_is_held(
    page: PageClient, shared: Robot
) -> None:
    probe = shared.probe
    probe.wait_for(lambda: page.has("Hold to drive") and page.has("z1"))
    page.set("z1", 0.4)
    probe.wait_for(lambda: not is_moving(probe))  # a slider alone moves nothing
    timer = probe.node.create_timer(0.1, lambda: page.hold("Hold to drive", HOLD_HZ))
    probe.wait_for(lambda: is_doing(probe, "skill by hand"))
    probe.wait_for(lambda: probe.messages["odom"][-1].twist.twist.linear.x > 0.3)
    probe.wait_for(lambda: "skill by hand" in page.text())
    probe.node.destroy_timer(timer)
    probe.wait_for(lambda: is_doing(probe, "no task: standing command"))
    probe.wait_for(lambda: not is_moving(probe))


def test_buttons_reset_pause_push_and_cancel(page: PageClient, shared: Robot) -> None:
    probe = shared.probe
    probe.listen(Wrench, "simulator/push")
    for label in ("Reset the world", "Pause", "Push", "Cancel the task"):
        probe.wait_for(lambda label=label: page.has(label))
    page.press("Push")
    force = probe.wait_for_next("simulator/push").force
    assert np.hypot(force.x, force.y) == pytest.approx(5.0, rel=1e-3)  # 1 kg to 1 m/s in 0.2 s
    send_goal_ahead(probe, 30.0)
    probe.wait_for(lambda: is_moving(probe))
    page.press("Cancel the task")
    probe.wait_for(lambda: is_doing(probe, "no task: standing command"))
    page.press("Reset the world")
    probe.wait_for(lambda: np.linalg.norm(position(probe)) < 0.05)
    probe.wait_for(lambda: np.linalg.norm(shown_at(page)) < 0.05)
    page.press("Pause")
    probe.wait_for(lambda: "paused" in page.text())
    page.press("Pause")  # named 'Go on' now
    probe.wait_for_next("odom", 3)


def test_a_fan_has_the_colours_of_its_directions(page: PageClient, shared: Robot) -> None:
    probe = shared.probe
    fans = probe.node.create_publisher(MarkerArray, "skill_trainer/skill_fan", LATCHED)
    ends = np.array([[3.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])
    fans.publish(skill_fan_markers(ends[:, None] * [[[0], [1]]], stamp=Time(), frame="odom"))
    probe.wait_for(lambda: page.named("/world/robot/fan"))
    (fan,) = (said for said in page.named("/world/robot/fan") if "props" in said)
    expected = np.repeat(255.0 * of_directions(ends), 2, axis=0)
    np.testing.assert_allclose(fan["props"]["colors"].reshape(-1, 3), expected, atol=0.51)
    probe.node.destroy_publisher(fans)


def test_what_is_too_large_is_named_and_the_page_goes_on(page: PageClient, shared: Robot) -> None:
    probe = shared.probe
    paths = probe.node.create_publisher(PathMessage, "goal_path", LATCHED)
    maps = probe.node.create_publisher(OccupancyGrid, "map", LATCHED)
    probe.wait_for(lambda: paths.get_subscription_count() > 1 < maps.get_subscription_count())
    path = PathMessage(poses=[PoseStamped()] * 5000)
    path.header.frame_id = "odom"
    paths.publish(path)
    probe.wait_for(lambda: "goal_path is not drawn: it has" in page.text())
    grid = OccupancyGrid()
    grid.header.frame_id = "odom"
    grid.info.width = grid.info.height = 3000
    grid.info.resolution = 0.05
    grid.info.origin.position.x = grid.info.origin.position.y = -75.0
    grid.data.frombytes(bytes(9_000_000))
    maps.publish(grid)
    probe.wait_for(lambda: page.named("/world/robot/map"))
    probe.node.destroy_publisher(paths)
    probe.node.destroy_publisher(maps)
    probe.call(Trigger, "skill_planner/clear_map")
    probe.call(Trigger, "skill_planner/cancel")


def test_a_map_in_another_frame_is_named_as_long_as_it_is_sent(
    page: PageClient, shared: Robot
) -> None:
    probe, grid = shared.probe, OccupancyGrid()
    maps = probe.node.create_publisher(OccupancyGrid, "map", LATCHED)
    probe.wait_for(lambda: maps.get_subscription_count() > 1)
    grid.header.frame_id = "map"
    grid.info.width = grid.info.height = 2
    grid.info.resolution = 1.0
    grid.data.frombytes(bytes(4))
    maps.publish(grid)
    probe.wait_for(lambda: "map is not drawn: its frame is" in page.text())
    for _ in range(2):
        maps.publish(grid)
        seen = len(pictures_per_second(probe))
        probe.wait_for(lambda seen=seen: len(pictures_per_second(probe)) > seen + 1)
        assert "map is not drawn: its frame is" in page.text()
    probe.node.destroy_publisher(maps)
    probe.call(Trigger, "skill_planner/clear_map")


def test_a_robot_is_heard_among_many_who_report(
    start: Callable[..., NodeProcess], probe: Probe
) -> None:
    others = probe.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    view = start("view", namespace="late")
    with PageClient(port_of(view, probe)) as page:
        names = [f"driver: {number}" for number in range(2 * MAX_STATUSES)]
        flood = DiagnosticArray(status=[DiagnosticStatus(name=name) for name in names])
        probe.wait_for(lambda: others.publish(flood) or "more nodes report" in page.text())
        start("simulator", robot="point_mass", namespace="late")
        probe.wait_for(lambda: "late/simulator" in page.text())


def test_a_goal_that_the_planner_has_is_answered(page: PageClient, shared: Robot) -> None:
    """A second click on the same place, which is sent again until something answers."""
    probe = shared.probe
    goal = click(page, probe, "goal_pose", 30.0, 1.0)
    probe.wait_for(lambda: is_moving(probe))
    answers = len(probe.messages["skill_planner/goal"])
    goals = probe.node.create_publisher(PoseStamped, "goal_pose", 1)
    probe.wait_for(lambda: goals.get_subscription_count() > 1)
    goals.publish(goal)
    probe.wait_for(lambda: len(probe.messages["skill_planner/goal"]) > answers)
    probe.wait_for(lambda: "waits for a planner" not in page.text())
    probe.call(Trigger, "skill_planner/cancel")
    probe.node.destroy_publisher(goals)


def test_odometry_of_a_camera_is_no_robot(
    page: PageClient, shared: Robot, start: Callable[..., NodeProcess]
) -> None:
    """The robot without a namespace stays the one that is looked at, and can be chosen."""
    probe = shared.probe
    camera = probe.node.create_publisher(Odometry, "/camera/odom", 10)
    other = [
        probe.node.create_publisher(k, f"/other/{t}", 10)
        for k, t in ((Odometry, "odom"), (JointState, "joint_states"))
    ]
    probe.wait_for(lambda: page.has("Robot"))
    probe.wait_for(lambda: "other" in page.options("Robot"))
    assert "/" in page.options("Robot")
    assert "camera" not in page.options("Robot")
    click(page, probe, "goal_pose", 3.0, 0.0)
    page.set("Robot", "other")
    click(page, probe, "/other/goal_pose", 2.0, 0.0)
    page.set("Robot", "/")
    click(page, probe, "goal_pose", 1.0, 0.0)
    for publisher in (camera, *other):
        probe.node.destroy_publisher(publisher)


def test_robots_in_namespaces_share_one_page(
    start: Callable[..., NodeProcess], probe: Probe
) -> None:
    start("simulator", robot="point_mass", namespace="robot1", frame_prefix="robot1/")
    start(
        "simulator",
        robot="half_cheetah",
        namespace="robot2",
        frame_prefix="robot2/",
        publish_clock=False,
    )
    view = start("view")
    with PageClient(port_of(view, probe)) as page:
        probe.wait_for(lambda: page.named("/world/robot1/body1"))
        probe.wait_for(lambda: page.named("/world/robot2/body1"))
        probe.wait_for(lambda: page.has("Robot"))
        page.set("Robot", "robot2")
        sent = click(page, probe, "/robot2/goal_pose", 2.0, 0.0)
        assert sent.header.frame_id == "robot2/odom"


def test_a_click_waits_for_the_planner_but_not_for_long(
    start: Callable[..., NodeProcess], probe: Probe, point_mass_bundle: Path
) -> None:
    alone = {"namespace": "alone"}
    simulator = start("simulator", robot="point_mass", **alone)
    view = start("view", **alone)
    with PageClient(port_of(view, probe)) as page:
        probe.wait_for(lambda: page.named("/world/robot/body1"))
        page.click(1.5, -1.0)
        probe.wait_for(lambda: "the clicked goal waits for a planner" in page.text())
        probe.wait_for(lambda: DROPPED.search(view.said()))
        said = DROPPED.search(view.said())
        assert said is not None
        np.testing.assert_allclose([float(said[1]), float(said[2])], [1.5, -1.0], atol=0.05)
        probe.wait_for(lambda: "waits for a planner" not in page.text())
        planner = start("skill_planner", bundle=point_mass_bundle, **alone)
        probe.listen(PoseStamped, "/alone/skill_planner/goal", LATCHED)
        taken, num_clicks = probe.messages["/alone/skill_planner/goal"], 1

        def is_taken() -> bool:
            nonlocal num_clicks
            if view.said().count("it is dropped") >= num_clicks:  # a planner that starts slowly
                num_clicks += 1
                page.click(2.0, 1.0)
            return bool(taken)

        probe.wait_for(is_taken)
        np.testing.assert_allclose(place(taken[0]), [2.0, 1.0], atol=0.05)
        probe.wait_for(lambda: "waits for a planner" not in page.text())
        probe.wait_for(lambda: page.shows("/world/robot/goal") and page.shows("/world/robot/plan"))
        planner.kill()  # what it wanted is not what anybody wants now
        probe.wait_for(lambda: not page.shows("/world/robot/goal"))
        probe.wait_for(lambda: not page.shows("/world/robot/plan"))
        simulator.kill()
        probe.wait_for(lambda: "odom is silent for" in page.text())


@pytest.mark.slow
def test_the_fan_of_skills_of_a_training_run_grows_on_the_page(
    start: Callable[..., NodeProcess], probe: Probe, tmp_path: Path
) -> None:
    (tmp_path / "short.yaml").write_text(SHORT_RUN)
    out, names = tmp_path / "run", {"namespace": "training"}
    start("skill_trainer", config_file=tmp_path / "short.yaml", out=out, **names)
    view = start("view", **names)
    fan = "/world/robot/fan"
    with PageClient(port_of(view, probe)) as page:
        probe.wait_for(lambda: page.named(fan, "LineSegments"), 120.0)
        probe.wait_for(lambda: page.named(fan, "SceneNodeUpdate"), 60.0)  # another fan
        probe.wait_for(lambda: "reward" in page.titles())
        probe.wait_for(lambda: "training/skill_trainer" in page.text())


def test_a_bad_robot_or_host_is_one_sentence(tmp_path: Path) -> None:
    for name, value, sentence in (
        ("robot", "nobody", "'nobody' was not found"),
        ("host", "192.0.2.1", "on which nobody can listen here"),
    ):
        with NodeProcess("view", tmp_path, **{name: value}) as view:
            assert view.process.wait(30) == 2
            assert sentence in view.said() and "Traceback" not in view.said()
