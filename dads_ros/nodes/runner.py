"""Starting, spinning and ending a node: exit codes, errors, the parent process, health reports."""

import contextlib
import ctypes
import gc
import math
import os
import reprlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.exceptions import InvalidParameterTypeException, NameValidationException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from dads_ros.errors import ConfigError, DadsError
from dads_ros.process import PARENT_PID, STOP

STEADY = Clock(clock_type=ClockType.STEADY_TIME)
"""For watchdogs: it goes on when /clock stops."""
STATE_QOS = QoSProfile(depth=32, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Subscriptions to states: matches every publisher, and none of several fast drivers is lost."""
RELIABLE_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
"""Publishers, so that every subscription matches; and subscriptions where each message counts."""
LATCHED_QOS = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""The newest message also reaches those who come later."""

NO_PUBLISHER_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
NO_SUBSCRIPTION_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)
"""For nodes that must answer soon: rclpy looks through all events of all publishers and
subscriptions before each message. Whoever subscribes with a QoS that does not match is warned all
the same, by its own side; subscriptions with STATE_QOS match every publisher."""

Level = int
OK, WARN, ERROR = (
    int.from_bytes(level, "little")
    for level in (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
)
NodeT = TypeVar("NodeT", bound=Node)
USAGE = "use --ros-args -p NAME:=VALUE or --params-file FILE"
_OF_ARGUMENTS, _BY_ROS = (
    tuple(getattr(rclpy_implementation, f"{name}Error") for name in names)
    for names in (("RCLInvalidROSArgs", "UnknownROSArgs"), ("RCL", "RCUtils", "RMW"))
)
MAX_DOMAIN = 232
"""Above there are no UDP ports for it."""
SWITCHES = (
    "RCUTILS_COLORIZED_OUTPUT",
    "RCUTILS_LOGGING_BUFFERED_STREAM",
    "RCUTILS_LOGGING_USE_STDOUT",
)
"""Environment variables of ROS's own log."""
_OF_ROS = ("FASTDDS_", "FASTRTPS_", "HOME", "RCUTILS_", "RMW_", "ROS_")
_M_MMAP_THRESHOLD = -3  # of malloc.h
LARGE_BLOCK = 256 * 1024
"""Bytes; what the control step allocates is smaller."""
LOG_S, MAX_KINDS = 1.0, 100
"""Each kind of unexpected error is logged so often, and so many kinds are told apart."""
WAKE_S = 0.1
"""Longest wait of an executor: ``STOP`` is looked at only between two waits."""
_SHORT = reprlib.Repr()
"""An argument of an error may be anything, such as a tree that takes minutes to print."""
_SHORT.maxstring = _SHORT.maxother = 300


def spin_until_stop(node: Node, rest: Callable[[], bool] = lambda: True) -> None:
    """Run the callbacks of a node until ``STOP`` is asked, and then until ``rest`` is over."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not (STOP.is_asked and rest()):
        spin_once(executor, node, WAKE_S)


def spin_once(executor: Executor, node: Node, timeout_s: float) -> None:
    """Run one callback at most; the node outlives whatever it raises."""
    try:
        executor.spin_once(timeout_sec=timeout_s)
    except ExternalShutdownException:
        raise
    except (Exception, SystemExit) as error:
        outlive(node, error)


def outlive(node: Node, error: BaseException) -> None:
    """Log each kind of error once a second; tell ``node.on_callback_error`` where there is one."""
    _log_now_and_then(node, describe(error))
    react = getattr(node, "on_callback_error", None)
    if react is not None:
        try:
            react(error)
        except Exception as another:
            _log_now_and_then(node, describe(another))


_logged: dict[str, float] = {}
"""When each kind of error was logged last, steady clock, s."""


def _log_now_and_then(node: Node, text: str) -> None:
    kind, now = text.split(": ")[0], time.monotonic()  # its type and place
    if now - _logged.get(kind, -math.inf) < LOG_S:
        return
    if len(_logged) >= MAX_KINDS:
        _logged.clear()
    _logged[kind] = now
    node.get_logger().error(text)


def describe(error: BaseException) -> str:
    """An unexpected error in one line of bounded length, with the place that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" in {Path(frame[0].filename).name}:{frame[0].lineno}" if frame else ""
    what = ", ".join(map(_SHORT.repr, error.args))
    return " ".join(f"unexpected {type(error).__name__}{place}: {what}".split())


def run_node(
    make: Callable[[], NodeT],
    spin: Callable[[NodeT], None] = spin_until_stop,
    args: Sequence[str] | None = None,
) -> int:
    """Make a node, spin it until SIGINT, SIGTERM or SIGHUP, and clean up.

    Args:
        make: makes the node; a DadsError from it is one line of log and exit code 2.
        spin: returns when ``STOP`` is asked. The context is still valid then, and in
            ``destroy_node`` of the node, however this ends; both are cut off by ``STOP``.
        args: arguments after the program's name; those of the process when left out.
    Returns: the exit code: 0 after a signal.
    """
    STOP.catch_signals()
    _return_memory()
    arguments = [sys.argv[0], *(sys.argv[1:] if args is None else args)]
    try:
        with beginning():
            unknown = remove_ros_args(arguments)[1:]
        if unknown:
            raise ConfigError(f"unknown argument {unknown[0]}; {USAGE}")
        with ros(arguments):
            return _run(make, spin)
    except DadsError as error:
        sys.stderr.write(f"{error}\n")
        return 2


@contextmanager
def ros(arguments: Sequence[str] = ()) -> Iterator[None]:
    """ROS is initialised within. Raises: ConfigError where it cannot be."""
    with beginning():
        _check_environment()
        rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        rclpy.try_shutdown()


def _check_environment() -> None:
    """What ROS answers by ending the process, by pages of text, or not at all."""
    domain = os.environ.get("ROS_DOMAIN_ID", "")
    is_number = domain.isascii() and domain.isdecimal()
    if domain and not (is_number and int(domain[:9]) <= MAX_DOMAIN):
        raise ConfigError(
            f"ROS_DOMAIN_ID is '{domain}'; expected a whole number, 0 to {MAX_DOMAIN}"
        )
    os.getcwd().encode()  # it is part of what is said
    for name in SWITCHES:
        if (value := os.environ.get(name, "")) not in ("", "0", "1"):
            raise ConfigError(f"{name} is '{value}'; expected 0 or 1")
    if not any(os.environ.get(name) for name in ("HOME", "ROS_HOME", "ROS_LOG_DIR")):
        raise ConfigError("HOME is not set, where ROS keeps its logs; set it, or ROS_LOG_DIR")


@contextmanager
def beginning() -> Iterator[None]:
    """Turn what ROS, DDS or the system has against a node's begin into a ConfigError."""
    try:
        yield
    except InvalidParameterTypeException as error:  # of use_sim_time, which ROS itself declares
        raise ConfigError(f"{error}; give it a value of that type: true or false") from error
    except (*_OF_ARGUMENTS, NameValidationException) as error:
        raise ConfigError(f"ROS does not begin: {_first(error)}; {USAGE}") from error
    except _BY_ROS as error:
        found = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(_OF_ROS)]
        raise ConfigError(
            f"ROS does not begin: {_first(error)}; check the environment, where these are set: "
            f"{', '.join(found)}"
        ) from error
    except UnicodeError as error:
        raise ConfigError(f"ROS takes UTF-8 alone: {error}; choose other names") from error
    except OSError as error:
        raise ConfigError(f"{error}; make room, or choose places that can be used") from error


def _first(error: Exception) -> str:
    """What ROS says, without the places in its source."""
    return str(error).split(", at ")[0]


def _run(make: Callable[[], NodeT], spin: Callable[[NodeT], None]) -> int:
    """Returns: the exit code."""
    node = None
    try:
        with beginning():
            node = make()
        spin(node)
    except ExternalShutdownException:
        pass
    except DadsError as error:
        if STOP.is_asked:  # Ctrl-C also ends what was started to make the node
            return 0
        get_logger("dads_ros").fatal(str(error))
        return 2
    finally:
        if node is not None:
            try:
                node.destroy_node()
            except Exception as error:
                get_logger("dads_ros").error(describe(error))
            # A node is part of cycles; DDS announces its end only once it is collected.
            node = None
            gc.collect()
    return 0


def _return_memory() -> None:
    """Let every large block of memory go back to the system when it is free.

    glibc otherwise raises the size from which it does so to that of the largest block that was
    ever freed, up to 32 MB, and keeps what is smaller: a node grew in steps with every map that
    was larger than those before.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def watch_parent(node: Node) -> Callable[[], None]:
    """Stop once the process that ``PARENT_PID`` names has ended, however it ended.

    That is no parameter of the node, for it belongs to one start: dumped parameters are loaded.

    Returns: looks after it now, for who waits without spinning.
    Raises: ConfigError for what names no process.
    """
    text = os.environ.get(PARENT_PID, "")
    if not text:
        return lambda: None
    if not text.isdecimal() or not 0 < int(text[:10]) < 2**31:
        raise ConfigError(f"{PARENT_PID} is '{text[:20]}'; expected the id of a process")
    parent_pid = int(text)
    started_by = os.getppid()

    def check() -> None:
        is_alive = os.getppid() == started_by
        with contextlib.suppress(PermissionError):  # it runs, as another user
            try:
                os.kill(parent_pid, 0)
            except ProcessLookupError:
                is_alive = False
        if not is_alive and not STOP.is_asked:
            node.get_logger().warning(f"parent process {parent_pid} has ended: so does this node")
            STOP.ask()

    node.create_timer(0.5, check, clock=STEADY)
    return check


class Diagnostics:
    """Reports one status on /diagnostics once a second, whatever /clock does."""

    def __init__(
        self,
        node: Node,
        thing: str,
        read: Callable[[], tuple[Level, str, Mapping[str, object]]],
        robot: Callable[[], str],
    ) -> None:
        """Start. ``read`` gives level, message and values, ``robot`` the robot's name."""
        self._node, self._read, self._robot = node, read, robot
        self._name = f"{node.get_fully_qualified_name().lstrip('/')}: {thing}"
        self._publisher = node.create_publisher(
            DiagnosticArray, "/diagnostics", RELIABLE_QOS, event_callbacks=NO_PUBLISHER_EVENTS
        )
        node.create_timer(1.0, self.publish, clock=STEADY)

    def publish(self) -> None:
        """Report now."""
        level, message, values = self._read()
        status = DiagnosticStatus(
            level=bytes([level]),
            name=self._name,
            message=message,
            hardware_id=self._robot(),
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )
        report = DiagnosticArray(status=[status])
        report.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(report)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
