"""run_node: no part of a node's life can keep its process from ending, nor its begin."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dads_ros.errors import ConfigError
from dads_ros.nodes.runner import ros
from dads_ros.process import SIGNALS
from ros_graph import ROOT

STUCK = """
import sys, threading
from rclpy.node import Node
from dads_ros.nodes.runner import run_node

def hang(self):
    print("ready", flush=True)
    threading.Event().wait()

class Stuck(Node):
    def __init__(self):
        super().__init__("stuck")
        self.create_timer(0.05, self.work)
        if "make" in sys.argv:
            hang(self)

    def work(self):
        if "callback" in sys.argv:
            hang(self)
        print("ready", flush=True)

    def destroy_node(self):
        if "destroy" in sys.argv:
            hang(self)
        super().destroy_node()

sys.exit(run_node(Stuck, args=[]))
"""


@pytest.mark.parametrize("stage", ["make", "callback", "destroy"])
def test_a_node_that_hangs_is_cut_off(stage: str) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # not ignored, whatever started these tests
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STUCK, stage],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in SIGNALS
    ]
    for process, number in zip(processes, SIGNALS, strict=True):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "cut off" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("ROS_DOMAIN_ID", value) for value in ("abc", "-1", "1.5", "233")),
        ("RCUTILS_LOGGING_USE_STDOUT", "abc"),
        ("HOME", ""),
    ],
)
def test_what_ros_would_end_the_process_for_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"{variable} is .*{value}"), ros():
        pass


NOBODY = """
import sys
from rclpy.node import Node
from dads_ros.nodes.runner import run_node
sys.exit(run_node(lambda: Node("nobody"), args=["--ros-args", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-r __node:=a-b", "'-r __node:=a-b'"),
        ("-p ab", "'-p ab'"),
        ("-z", "-z"),
        ("-p a:=\udcff", "UTF-8"),
        ("-p use_sim_time:=1", "use_sim_time.*true or false"),
        ("", "these are set: .*ROS_LOG_DIR=/dev/null/log"),
    ],
)
def test_what_ros_cannot_begin_with_is_one_sentence(arguments: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, *arguments.split()],
        cwd=ROOT,
        env=os.environ | ({} if arguments else {"ROS_LOG_DIR": "/dev/null/log"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(f"(ROS |.FATAL. ).*{words}.*\\n", done.stderr)


def test_a_folder_whose_name_ros_cannot_say_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", NOBODY],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"ROS takes UTF-8 alone: .*\n", done.stderr)
