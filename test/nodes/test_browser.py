"""The page in a real browser: shows the robot, takes a click, and asks nobody for anything."""

import contextlib
import io
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from std_srvs.srv import Trigger

from ros_graph import (
    NodeProcess,
    Probe,
    Robot,
    is_moving,
    port_of,
    position,
    send_goal_ahead,
    start_robot,
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_ONE = (
    "no chromium with its chromedriver is on PATH; on Debian: apt install chromium chromium-driver"
)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=BackForwardCache",  # it keeps a page that was left, and its connection
    "--window-size=900,600",
)
OF_THE_WHEELS = ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
"""Set for every Python of an environment with ROS 2 from PyPI; no browser is to inherit them."""
OF_ITS_MAKER = (
    ".google.com",
    "-pa.googleapis.com",
    "content-autofill.googleapis.com",
    "update.googleapis.com",
    "start.duckduckgo.com",  # the search engine of Debian's
)
"""Hosts that a browser asks whatever page it shows, also none."""
NUM_VISITS = 4

pytestmark = pytest.mark.slow


class Outside:
    """All that the browser asks of other machines comes here, and gets no further.

    It is turned away at once: a page of the browser's own that waits for an answer holds up ours.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._hosts: list[str] = []
        self._thread = threading.Thread(target=self._turn_away)
        self._thread.start()

    def asked(self) -> list[str]:
        """Of whom, but for its maker."""
        return [host for host in self._hosts if not host.endswith(OF_ITS_MAKER)]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _turn_away(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(1.0)
                request = connection.recv(4096)
                if not request:  # a connection that it opened in advance and gave up
                    continue
                _, target, _ = request.split(b" ", 2)
                url = urlsplit(target.decode() if b"://" in target else f"//{target.decode()}")
                self._hosts.append(str(url.hostname))


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture(scope="module")
def browser(
    outside: Outside, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip(HOW_TO_GET_ONE)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (
        *OPTIONS,
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
        f"--proxy-server=http://127.0.0.1:{outside.port}",  # not for this machine
    ):
        options.add_argument(option)
    environment = {k: v for k, v in os.environ.items() if k not in OF_THE_WHEELS}
    service = webdriver.ChromeService(driver, env=environment)
    with webdriver.Chrome(options, service) as browser:
        browser.set_script_timeout(30)
        yield browser


@pytest.fixture(scope="module")
def robot(
    browser: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory, point_mass_bundle: Path
) -> Iterator[Robot]:
    """In lock step: a picture without a graphics card takes all of the processor."""
    with ExitStack() as stack:
        probe, folder = Probe(), tmp_path_factory.mktemp("nodes")
        stack.callback(probe.close)

        def start(node: str, **parameters: object) -> NodeProcess:
            return stack.enter_context(NodeProcess(node, folder, lock_step=True, **parameters))

        yield start_robot(probe, start, point_mass_bundle)


@pytest.fixture(scope="module")
def view(robot: Robot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess("view", tmp_path_factory.mktemp("view")) as view:
        port_of(view, robot.probe)
        yield view


@pytest.fixture(scope="module")
def canvas(browser: webdriver.Chrome, view: NodeProcess, robot: Robot) -> Any:  # noqa: ANN401
    """Of the open page, on which something is drawn."""
    probe = robot.probe
    browser.get(f"http://127.0.0.1:{port_of(view, probe)}")
    probe.wait_for(lambda: browser.find_elements(By.TAG_NAME, "canvas"), 60.0)
    canvas = browser.find_element(By.TAG_NAME, "canvas")
    probe.wait_for(lambda: is_seen(probe) and picture(canvas).std() > 5.0, 60.0)
    return canvas


@pytest.fixture
def page(canvas: Any, robot: Robot) -> Any:  # noqa: ANN401
    """It shows a robot that stands at the origin."""
    probe = robot.probe
    probe.call(Trigger, "skill_planner/cancel")
    probe.call(Trigger, "simulator/reset_world")
    probe.wait_for(lambda: not is_moving(probe) and np.linalg.norm(position(probe)) < 0.2)
    return canvas


def is_seen(probe: Probe) -> bool:
    """Whether the newest report of the view says that somebody looks on."""
    reports = [s for m in probe.messages["/diagnostics"] for s in m.status if "view" in s.name]
    return bool(reports) and "1 look on" in reports[-1].message


def picture(canvas: Any) -> np.ndarray:  # noqa: ANN401
    """What is seen in the middle. Shape (H, W, 3)."""
    image = np.asarray(Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB"), float)
    height, width = image.shape[:2]
    return image[height // 4 : -height // 4, width // 4 : -width // 4]


def changed(one: np.ndarray, other: np.ndarray) -> float:
    """Part of the picture that is another one."""
    return float((np.abs(one - other).max(axis=2) > 24).mean())


def test_the_picture_is_not_blank_and_changes_as_the_robot_moves(
    page: Any,  # noqa: ANN401
    robot: Robot,
) -> None:
    probe = robot.probe
    still = picture(page)
    colours = np.unique(still.reshape(-1, 3) // 16, axis=0)
    assert len(colours) > 20
    send_goal_ahead(probe, 20.0)
    probe.wait_for(lambda: position(probe)[0] > 2.0)
    probe.wait_for(lambda: changed(still, picture(page)) > 0.01)


def test_a_click_on_the_ground_is_a_goal_and_the_robot_gets_there(
    page: Any,  # noqa: ANN401
    browser: webdriver.Chrome,
    robot: Robot,
) -> None:
    probe = robot.probe
    probe.listen(PoseStamped, "goal_pose")
    ActionChains(browser).move_to_element_with_offset(page, -150, 80).click().perform()
    goal = probe.wait_for_next("goal_pose").pose.position
    assert 0.5 < np.hypot(goal.x, goal.y) < 20.0
    probe.wait_for(lambda: np.hypot(*(position(probe) - [goal.x, goal.y])) < 0.6, 60.0)


def test_the_page_asks_nobody_but_this_machine(
    page: Any,  # noqa: ANN401
    browser: webdriver.Chrome,
    outside: Outside,
    robot: Robot,
) -> None:
    robot.probe.wait_for_next("odom", 80)  # two seconds of pictures
    assert outside.asked() == []
    browser.execute_script("fetch('http://somewhere.example/').catch(() => 0)")
    robot.probe.wait_for(
        lambda: outside.asked() == ["somewhere.example"]
    )  # it would have been seen


def num_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_opening_and_closing_the_page_leaks_nothing(
    browser: webdriver.Chrome, view: NodeProcess, robot: Robot
) -> None:
    probe, pid = robot.probe, view.process.pid
    found = []
    for _ in range(NUM_VISITS):
        browser.get(f"http://127.0.0.1:{port_of(view, probe)}")
        probe.wait_for(lambda: is_seen(probe))
        probe.wait_for_next("odom", 20)
        browser.get("about:blank")
        probe.wait_for(lambda: not is_seen(probe))
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        found.append((threads, num_files(pid), pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
    threads, files, memory_mb = (list(column) for column in zip(*found, strict=True))
    assert threads[-1] == threads[0], found
    most = max(files[:2])
    probe.wait_for(lambda: num_files(pid) <= most)  # the last sockets of a visit close later
    assert memory_mb[-1] - memory_mb[0] < 8.0, found
