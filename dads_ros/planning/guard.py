"""Guard: the process that sends the safe command when this one falls silent, seen from here.

What it does is in ``nodes/guard_node.py``; here it is started, and told until when to wait.
"""

import json
import math
import mmap
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dads_ros.errors import PlanningError
from dads_ros.isolation import import_path, one_line
from dads_ros.process import STOP

IS_GUARD = re.compile(r"_\d+_guard$")
"""How the name of a guard's node ends: before it that of its planner, in it the process's id."""
PROGRAM = Path(__file__).resolve().parents[1] / "nodes" / "guard_node.py"
SLACK_S = 0.05
"""The guard waits for so much longer than what it was promised: this process is to be first."""
SILENCE_S = 1.0
"""A guard that has not looked at its page for so long is stopped, or starved."""
START_TIMEOUT_S = 20.0


class Guard:
    """A child in a session of its own: no terminal's end and no Ctrl-C reaches it.

    It ends with this process: at once where the robot was released before, else once somebody
    else has taken over.
    """

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        topic: str,
        command_type: str,
        actuators: Sequence[str],
        safe_command: Sequence[float],
        is_led: bool,
        control_dt: float,
    ) -> None:
        """Start it.

        Args:
            name: of its node.
            namespace: of its node.
            topic: of the commands, in full.
            command_type: float64_multi_array or joint_trajectory.
            actuators: their names, of joints for a joint_trajectory, in the robot file's order.
            safe_command: in the robot file's order and unit. Shape (A,).
            is_led: it goes there step by step, as ``note`` says, from what was sent last; and
                nowhere before anything was sent. Else it goes there at once.
            control_dt: after which a joint_trajectory is to be at it, seconds.
        """
        descriptor = os.memfd_create("dads_ros_guard")
        num = len(safe_command)
        os.ftruncate(descriptor, 8 * (2 + 2 * num))
        self._shared = np.frombuffer(mmap.mmap(descriptor, 0), np.float64)
        self._way = self._shared[2:]  # what was sent last, and how fast it may change
        nothing = [math.nan] * num if is_led else [float(value) for value in safe_command]
        self._nothing_sent = np.array([*nothing, *[0.0 if is_led else math.inf] * num])
        self._shared[0] = math.inf
        self._way[:] = self._noted = self._nothing_sent
        settings = {
            "name": name,
            "namespace": namespace,
            "topic": topic,
            "command_type": command_type,
            "actuators": list(actuators),
            "safe_command": [float(value) for value in safe_command],
            "is_led": is_led,
            "control_dt": control_dt,
        }
        # It must not wait for a terminal that is held, or a pipe that nobody reads; what it says
        # is on /rosout as well.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, of the process's life
        self._process = subprocess.Popen(
            # -P: nothing is imported from the folder that this was started in
            [
                sys.executable,
                "-P",
                PROGRAM,
                str(descriptor),
                str(os.getpid()),
                json.dumps(settings),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(import_path())},
            pass_fds=[descriptor],
            start_new_session=True,
        )
        os.close(descriptor)

    def wait_until_ready(self) -> None:
        """Until it could send. Raises: PlanningError when it does not come up."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._shared[1] == 0.0:
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                what = f"ended with code {code}" if code is not None else "does not come up"
                raise PlanningError(
                    f"the guard, which stops the robot when this process cannot, {what}; it said: "
                    f"{self._last_words() or 'nothing'}"
                )
            if STOP.is_asked:
                return
            time.sleep(0.01)

    def _last_words(self) -> str:
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 300))
        return one_line(self._said.read().decode(errors="replace"))

    def promise(self, seconds: float) -> None:
        """The next command leaves within so long; infinity releases the robot."""
        self._shared[0] = time.monotonic() + seconds + SLACK_S
        if math.isinf(seconds):
            self._way[:] = self._noted = self._nothing_sent

    def note(self, command: NDArray[np.float64], rates: NDArray[np.float64]) -> None:
        """This one is being sent; to be called before it is, and before the promise.

        A process that is killed in between leaves this command or the one before it, or some
        numbers of each.

        Args:
            command: in the robot file's order and unit. Shape (A,).
            rates: by which it may change on the way to the safe one, per second. Shape (A,).
        """
        self._way[:] = self._noted = np.concatenate([command, rates])

    def stood_in(self) -> NDArray[np.float64] | None:
        """What it sent last, since ``note`` or this; None where it sent nothing new. (A,)."""
        way, noted = self._way.copy(), self._noted
        self._noted = way
        return None if np.array_equal(way, noted, equal_nan=True) else way[: len(way) // 2]

    def complaint(self) -> str:
        """What is wrong with it; empty when it would step in."""
        silence_s = time.monotonic() - self._shared[1]
        if silence_s <= SILENCE_S:
            return ""
        if self._process.poll() is not None:
            return "the guard has ended; deactivate and activate the node to start a new one"
        return f"the guard has not answered for {silence_s:.1f} s; it is stopped or starved"

    @property
    def is_running(self) -> bool:
        """Its process has not ended."""
        return self._process.poll() is None
