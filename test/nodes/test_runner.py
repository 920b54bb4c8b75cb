"""run_node: no part of a node's life can keep its process from ending."""

import signal
import subprocess
import sys

import pytest

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
