"""skill_trainer: a training run with its progress on topics. The loop is the Trainer's."""

import contextlib
import dataclasses
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.bundle.manifest import BUNDLE_FOLDER
from dads_ros.errors import DadsError
from dads_ros.files import find_file, only_trainer, user_path
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.export import export_bundle
from dads_ros.learning.metrics import MetricsWriter, evaluation_line
from dads_ros.learning.progress import LINE_S, Progress, begin_line
from dads_ros.learning.selection import NUM_SHOWN_SKILLS
from dads_ros.learning.trainer import IterationMetrics, Trainer
from dads_ros.nodes.conversions import Frames, labelled_array
from dads_ros.nodes.markers import skill_fan_markers
from dads_ros.nodes.parameters import NodeParameters
from dads_ros.nodes.runner import (
    ERROR,
    LATCHED_QOS,
    OK,
    RELIABLE_QOS,
    STEADY,
    Diagnostics,
    Level,
    run_node,
    spin_until_stop,
    watch_parent,
)
from dads_ros.nodes.settings import SkillTrainerConfig
from dads_ros.process import STOP

END_DELAY_S = 0.2  # until the answer to ~/stop has left
FAN_POINT_STEPS = 5  # control steps between the points of a track that is shown
TRAINING: tuple[Level, str] = OK, "training"


class _ToLog(logging.Handler):
    """What the trainer itself says, such as that it compiles, is said by the node."""

    def __init__(self, log: RcutilsLogger) -> None:
        """Begin."""
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        if record.levelno >= logging.WARNING:
            self._log.warning(record.getMessage())
        else:
            self._log.info(record.getMessage())


class Job:
    """Something that the training thread does between two iterations."""

    def __init__(self, action: Callable[[], object]) -> None:
        """``result`` is set once ``run`` has run."""
        self._action = action
        self.result = Future()

    def run(self) -> None:
        """Do it; what it raises is raised where the result is awaited."""
        try:
            self.result.set_result(self._action())
        except Exception as error:
            self.result.set_exception(error)


class SkillTrainerNode(Node):
    """A worker thread trains; callbacks steer it between two iterations."""

    def __init__(self) -> None:
        """Make or resume the run. Raises: ConfigError, CheckpointError."""
        super().__init__("skill_trainer")
        self._settings = NodeParameters(self, SkillTrainerConfig)
        config = self._settings.config
        train = TrainConfig.from_yaml(
            find_file(config.config_file, folder="config/train", suffix=".yaml")
        )
        if config.seed >= 0:
            train = dataclasses.replace(train, seed=config.seed)
        self._out = user_path(config.out)
        with contextlib.ExitStack() as stack:
            stack.enter_context(only_trainer(self._out))
            self._trainer = Trainer(train, self._out, resume=config.resume)
            self._hold = stack.pop_all()  # until this process ends
        user_path(config.export_folder)  # what is wrong with it is said now
        self._progress = Progress(self._trainer.iteration, train.num_iterations)
        logging.getLogger("dads_ros").setLevel(logging.INFO)
        logging.getLogger("dads_ros").addHandler(_ToLog(self.get_logger()))
        self._frames = Frames.of(config.frame_prefix)
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._jobs_lock = threading.Lock()  # guards who runs a job
        self._takes_jobs = True
        self._is_paused = self._must_stop = False
        self._status: tuple[Level, str] = TRAINING
        self._values: dict[str, float] = {}
        self._iteration_time = time.monotonic()
        self._metrics_publisher = self.create_publisher(
            Float64MultiArray, "~/metrics", RELIABLE_QOS
        )
        self._fan_publisher = self.create_publisher(MarkerArray, "~/skill_fan", LATCHED_QOS)
        # None waits for another, nor do the diagnostics: each awaits the training thread.
        beside = {"callback_group": ReentrantCallbackGroup()}
        self.create_service(SetBool, "~/set_pause", self._set_pause, **beside)
        self.create_service(Trigger, "~/export", self._export, **beside)
        self.create_service(Trigger, "~/stop", self._stop, **beside)
        self.create_timer(LINE_S, self._say_progress, clock=STEADY)
        self._diagnostics = Diagnostics(
            self, "training", self._health, lambda: self._trainer.robot.name
        )
        watch_parent(self)
        self._worker = threading.Thread(target=self._train, name="training")

    def spin(self) -> None:
        """Train until ``~/stop`` or a signal; a checkpoint is left in every case.

        That of now when the iteration ends before ``STOP`` cuts this off, else the last one.
        """
        self._worker.start()
        try:
            spin_until_stop(self)
        finally:
            STOP.ask()
            self._must_stop = True
            self._jobs.put(Job(lambda: None))
            self._worker.join()

    def _train(self) -> None:
        """What ``dads-ros train`` does, then jobs until the end."""
        try:
            self._trainer.config.save(self._out)
            first, robot = self._trainer.iteration + 1, self._trainer.robot
            self.get_logger().info(begin_line(self._trainer))
            with MetricsWriter(self._out, robot, first_iteration=first) as writer:
                self._iterate(writer)
            if self._trainer.iteration >= self._trainer.config.num_iterations:
                self._status = OK, f"trained; exporting to '{self._bundle_folder}'"
                self.get_logger().info(self._status[1])
                export_bundle(self._trainer, self._bundle_folder)
                self._status = OK, f"finished; exported to '{self._bundle_folder}'"
            else:
                self._status = OK, "stopped"
            self.get_logger().info(f"{self._status[1]}, iteration {self._trainer.iteration}")
        except Exception as error:  # the node lives on to say so
            text = str(error) if isinstance(error, DadsError) else f"training failed: {error!r}"
            self._status = ERROR, text
            self.get_logger().error(text)
        while not self._must_stop:
            self._jobs.get().run()
        with self._jobs_lock:
            self._takes_jobs = False
        while not self._jobs.empty():
            self._jobs.get().run()

    @property
    def _bundle_folder(self) -> Path:
        folder = self._settings.config.export_folder
        return user_path(folder) if folder else self._out / BUNDLE_FOLDER

    def _iterate(self, writer: MetricsWriter) -> None:
        """Iterations with jobs between them; while paused, only jobs."""
        with contextlib.closing(self._trainer.iterations()) as iterations:
            while not self._must_stop:
                try:
                    self._jobs.get(block=self._is_paused).run()
                    continue
                except queue.Empty:
                    pass
                metrics = next(iterations, None)
                if metrics is None:
                    return
                writer.write(metrics)
                self._report(metrics)
        self._trainer.save_checkpoint()

    async def _between_iterations(self, action: Callable[[], object]) -> None:
        """Let the worker do something and await it. Raises: what the action raises."""
        job = Job(action)
        with self._jobs_lock:
            if self._takes_jobs:
                self._jobs.put(job)
            else:
                job.run()
        await job.result

    def _report(self, metrics: IterationMetrics) -> None:
        self._iteration_time = time.monotonic()
        self._progress.take(metrics)
        self._values |= {"iteration": float(metrics.iteration)} | metrics.to_dict()
        values = np.array(list(self._values.values()), float)
        self._metrics_publisher.publish(labelled_array(values, ",".join(self._values)))
        if "mean_displacement_m" in metrics.values:
            self.get_logger().info(evaluation_line(metrics, self._trainer.robot))
        if metrics.skills is not None:
            order = np.random.default_rng(0).permutation(len(metrics.skills.tracks))
            tracks = metrics.skills.tracks[order[:NUM_SHOWN_SKILLS], ::FAN_POINT_STEPS]
            tracks = tracks - tracks[:, :1]
            stamp = self.get_clock().now().to_msg()
            markers = skill_fan_markers(tracks, stamp=stamp, frame=self._frames.odom)
            self._fan_publisher.publish(markers)

    def _say_progress(self) -> None:
        is_training = self._status == TRAINING and not self._is_paused
        if is_training and (line := self._progress.line()):
            self.get_logger().info(line)

    async def _set_pause(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        def set_pause() -> None:
            self._is_paused = request.data

        await self._between_iterations(set_pause)
        response.success = self._status == TRAINING
        running = "paused" if request.data else "training"
        response.message = running if response.success else self._status[1]
        return response

    async def _export(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            target = self._bundle_folder
            await self._between_iterations(lambda: export_bundle(self._trainer, target))
            response.success, response.message = True, f"exported to '{target}'"
        except Exception as error:  # a full disk must not end the training
            text = str(error) if isinstance(error, DadsError) else f"export failed: {error!r}"
            response.success, response.message = False, text
        return response

    async def _stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        def stop() -> None:
            self._must_stop = True

        await self._between_iterations(stop)
        await self._between_iterations(lambda: None)  # done when the last checkpoint is written
        level, text = self._status
        response.success, response.message = level == OK, f"{text}; '{self._out}' can be resumed"
        self.create_timer(END_DELAY_S, STOP.ask, clock=STEADY)
        return response

    def _health(self) -> tuple[Level, str, Mapping[str, object]]:
        level, text = self._status
        if self._is_paused and self._status == TRAINING:
            text = "paused"
        age = time.monotonic() - self._iteration_time
        return level, text, {"out": self._out, "seconds since iteration": age, **self._values}


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal. Returns: the exit code."""
    return run_node(SkillTrainerNode, SkillTrainerNode.spin, args=args)


if __name__ == "__main__":
    sys.exit(main())
