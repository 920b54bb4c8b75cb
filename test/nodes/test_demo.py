"""dads-ros demo: drives to all goals, and leaves nothing running however it ends."""

import contextlib
import importlib.util
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.demo import (
    NodeProcess,
    draw_goals,
    how_to_look_on,
    parse_goals,
    warn_of_other_model,
)
from dads_ros.errors import ConfigError, DadsError
from dads_ros.nodes.settings import ViewConfig
from dads_ros.process import PARENT_PID
from dads_ros.robot import RobotSpec
from page_client import PageClient
from ros_graph import ROOT
from waiting import wait_until

ANT, CHEETAH = RobotSpec.load("ant"), RobotSpec.load("half_cheetah")


COMMAND = [sys.executable, "-m", "dads_ros", "demo", "--robot", "point_mass", "--speed", "8"]


def start_demo(
    bundle: Path, *arguments: str, folder: Path | None = None, view: bool = False
) -> subprocess.Popen[str]:
    """The demo in a process of its own; the folder is for its temporary files."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # not ignored, whatever started these tests
    command = COMMAND if view else [*COMMAND, "--no-view"]
    environment = environment_of_demo()
    if folder is not None:
        environment["TMPDIR"] = str(folder)
    return subprocess.Popen(
        [*command, "--bundle", str(bundle), *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


ROBOTS_DOMAIN = "77"


def environment_of_demo() -> dict[str, str]:
    """With a page that nothing opens, in a domain in which there may be robots."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return kept | {"ROS_DOMAIN_ID": ROBOTS_DOMAIN}


def left_in(folder: Path) -> list[str]:
    """Names of temporary files, but for the one that onnxruntime has for its own use."""
    return [path.name for path in folder.iterdir() if path.name != ".ses"]


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def nodes_of(demo: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> list[int]:
    """Processes of the demo's simulator, planner and view."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            settings = (entry / "environ").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "--ros-args" in words and f"{PARENT_PID}={demo.pid}" in settings:
            found.append(int(entry.name))
    return found


def test_it_says_how_to_look_on_and_what_rviz_will_warn_of() -> None:
    said = how_to_look_on("7")
    assert f"ROS_DOMAIN_ID=7 rviz2 -d {ROOT / 'config' / 'dads.rviz'}" in said
    assert ("'No tf data' is expected" in said) == (importlib.util.find_spec("tf2_msgs") is None)


def test_a_domain_is_taken_before_any_node_is_in_it() -> None:
    take = "from dads_ros.cli.demo import free_domain\nprint(*(free_domain() for _ in range(30)))"
    with subprocess.Popen(
        [sys.executable, "-uc", f"{take}\ninput()"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as first:
        assert first.stdout is not None
        of_first = first.stdout.readline().split()
        of_second = subprocess.check_output([sys.executable, "-c", take], cwd=ROOT).split()
        first.communicate(b"\n")
    assert len({*of_first, *of_second}) == len(of_first) + len(of_second) == 60


@pytest.mark.slow
@pytest.mark.parametrize("wish", ["click", "cancel"])
def test_the_page_takes_over_and_on_a_terminal_it_goes_on_until_ctrl_c(
    wish: str, point_mass_bundle: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ours, theirs = pty.openpty()
    arguments = ["--bundle", str(point_mass_bundle), "--goals", "90,0", "--time-limit", "600"]
    arguments += ["--speed", "1"]  # the page is open long before the robot is there
    demo = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment_of_demo() | {"TMPDIR": str(tmp_path)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    request.addfinalizer(demo.kill)
    os.close(theirs)
    read_until(ours, "with bundle")  # its view is not there yet
    is_ours = False
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody else's page is there
            stack.enter_context(socket.create_server(("127.0.0.1", ViewConfig().port)))
            is_ours = True
        said = read_until(ours, "goal 1/1")
    (port,) = re.findall(r"click goals at http://127\.0\.0\.1:(\d+)", said)
    assert not (is_ours and int(port) == ViewConfig().port)
    (view,) = [pid for pid in nodes_of(demo) if "view" in words_of(pid)]
    with PageClient(int(port)) as page:
        page.wait_for(lambda: page.named("/world/robot/body1"), 60.0)
        settings = Path(f"/proc/{view}/environ").read_bytes().decode().split("\0")
        assert f"ROS_DOMAIN_ID={ROBOTS_DOMAIN}" not in settings  # no robot of others is driven
        if wish == "click":
            page.click(1.0, 1.0)
        else:
            page.wait_for(lambda: "on the way" in page.text())
            page.press("Cancel the task")
        said = read_until(ours, "Ctrl-C ends it")
        assert "the robot is yours" in said and f"go on at http://127.0.0.1:{port}" in said
        if wish == "click":  # and back as far as it came
            page.wait_for(lambda: "goal reached" in page.text(), 120.0)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(20) == 0
    assert not nodes_of(demo)
    os.close(ours)


def read_until(terminal: int, text: str) -> str:
    """What was written until then."""
    said, deadline = "", time.monotonic() + 100.0
    while text not in said:
        assert time.monotonic() < deadline, said
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                said += os.read(terminal, 4096).decode(errors="replace")
            except OSError as error:  # it ended
                raise AssertionError(said) from error
    return said


@pytest.mark.slow
def test_demo_reaches_its_goals_and_leaves_nothing(point_mass_bundle: Path) -> None:
    demo = start_demo(point_mass_bundle, "--goals", "3,2 -2,1")
    out, err = demo.communicate(timeout=60)
    assert demo.returncode == 0, err
    assert out.count("  reached\n") == 4  # live, and in the table
    assert "3.0, 2.0" in out
    assert not nodes_of(demo)


@pytest.mark.slow
def test_missed_goal_is_exit_code_one(point_mass_bundle: Path) -> None:
    demo = start_demo(point_mass_bundle, "--goals", "90,0", "--time-limit", "4")
    out, err = demo.communicate(timeout=60)
    assert demo.returncode == 1, err
    assert "missed: not within 4 s" in out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended(
    point_mass_bundle: Path, number: signal.Signals, tmp_path: Path
) -> None:
    view = number == signal.SIGKILL
    demo = start_demo(point_mass_bundle, "--goals", "90,0", folder=tmp_path, view=view)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("goal 1/1"):
            break
    assert len(nodes_of(demo)) == 2 + view
    demo.send_signal(number)
    expected = -number if number == signal.SIGKILL else 128 + number
    _, err = demo.communicate(timeout=20)
    assert demo.returncode == expected, err
    assert "Traceback" not in err
    wait_until(lambda demo=demo: not nodes_of(demo), 10.0)
    assert left_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_leaves_nothing(
    point_mass_bundle: Path, number: signal.Signals, tmp_path: Path
) -> None:
    for delay_s in np.random.default_rng().uniform(0.0, 5.0, 2):
        demo = start_demo(point_mass_bundle, "--goals", "90,0", folder=tmp_path)
        assert demo.stdout is not None
        assert "1 goals" in demo.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            demo.wait(delay_s)  # any moment, not one to wait for
        demo.send_signal(number)
        _, err = demo.communicate(timeout=30)
        assert demo.returncode == 128 + number, err
        assert "Traceback" not in err
        wait_until(lambda demo=demo: not nodes_of(demo), 10.0)
    assert left_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["simulate", "plan"])
def test_a_node_that_ends_is_named_with_the_reason(point_mass_bundle: Path, verb: str) -> None:
    demo = start_demo(point_mass_bundle, "--goals", "90,0")
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("goal 1/1"):
            break
    words = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in nodes_of(demo)}
    os.kill(next(pid for pid, text in words.items() if verb.encode() in text), signal.SIGSEGV)
    _, err = demo.communicate(timeout=30)
    assert demo.returncode == 2
    assert f"'{verb}' ended by SIGSEGV" in err
    assert len(err.strip().splitlines()) == 1
    assert not nodes_of(demo)


def test_a_node_is_told_any_text_and_imports_nothing_from_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    robot = "a: b #c '\"%ä\n- [true"
    (tmp_path / "random.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    process = NodeProcess("simulate", {"robot": robot})
    process._process.wait(60)
    with pytest.raises(DadsError) as caught:
        process.check()
    assert f"'{' '.join(robot.split())}' was not found" in str(caught.value)


def test_bad_bundle_is_one_sentence_and_exit_code_two(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert "is not a skill bundle" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--num-goals", "0"),
        ("--num-goals", "1000000000"),
        ("--seed", "99999999999999999999"),
        ("--time-limit", "nan"),
    ],
)
def test_bad_numbers_are_one_sentence_and_exit_code_two(
    arguments: tuple[str, str], point_mass_bundle: Path
) -> None:
    demo = start_demo(point_mass_bundle, *arguments)
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert f"{arguments[0][2:]} is {arguments[1]}" in err
    assert len(err.strip().splitlines()) == 1


def test_other_model_under_the_same_robot_file_is_told(
    point_mass_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = RobotSpec.load("point_mass")
    warn_of_other_model(robot, SkillBundle(point_mass_bundle))
    assert capsys.readouterr().err == ""
    folder = Path(shutil.copytree(point_mass_bundle, tmp_path / "other"))
    replace(BundleManifest.load(folder), model_sha256="0" * 64).save(folder)
    warn_of_other_model(robot, SkillBundle(folder))
    assert "is not the one that the bundle was trained on" in capsys.readouterr().err


def test_drawn_goals_are_far_apart_and_repeat() -> None:
    goals = draw_goals(ANT, 5, 50)
    steps = np.diff(np.vstack([np.zeros(2), goals]), axis=0)
    assert np.linalg.norm(steps, axis=1).min() >= 6.0
    assert np.abs(goals).max() <= 12.0
    np.testing.assert_array_equal(goals, draw_goals(ANT, 5, 50))
    on_line = draw_goals(CHEETAH, 5, 50)
    assert np.abs(np.diff(on_line[:, 0], prepend=0.0)).min() >= 6.0
    assert not on_line[:, 1].any()


def test_goals_are_read_or_refused() -> None:
    np.testing.assert_array_equal(parse_goals(ANT, "5,5 -8,2.5"), [[5.0, 5.0], [-8.0, 2.5]])
    for text in ("", "5", "5,5,5", "a,b", "nan,1", "1,2 3"):
        with pytest.raises(ConfigError, match="expected x,y pairs"):
            parse_goals(ANT, text)
    for text in ("1e6,0", "1,1 " * 1001):
        with pytest.raises(ConfigError, match="at most 1000"):
            parse_goals(ANT, text)
    np.testing.assert_array_equal(parse_goals(CHEETAH, "5,0"), [[5.0, 0.0]])
    with pytest.raises(ConfigError, match=r"'5,1' is off the line .* give '5,0'"):
        parse_goals(CHEETAH, "-3,0 5,1")
