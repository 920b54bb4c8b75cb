"""skill_trainer: a training run with its progress on topics. The loop is the Trainer's."""

import dataclasses
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.errors import DadsError
from dads_ros.files import find_file
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.export import export_bundle
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
    watch_parent,
)
from dads_ros.nodes.settings import SkillTrainerConfig

NUM_FAN_SKILLS = 64
END_DELAY_S = 0.2  # until the answer to ~/stop has left
FAN_POINT_STEPS = 5  # control steps between the points of a track that is shown


class Job:
    """Something that the training thread does between two iterations."""

    def __init__(self, action: Callable[[], object]) -> None:
        """``result`` is set once ``run`` has run."""
        self._action = action
        self.result: Future[object] = Future()

    def run(self) -> None:
        """Do it; what it raises is raised where the result is waited for."""
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
        self._out = Path(config.out).expanduser()
        self._trainer = Trainer(train, self._out, resume=config.resume)
        self._frames = Frames.of(config.frame_prefix)
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._is_paused = self._must_stop = False
        self._status: tuple[Level, str] = OK, "training"
        self._values: dict[str, float] = {}
        self._iteration_time = time.monotonic()
        self._metrics_publisher = self.create_publisher(
            Float64MultiArray, "~/metrics", RELIABLE_QOS
        )
        self._fan_publisher = self.create_publisher(MarkerArray, "~/skill_fan", LATCHED_QOS)
        self.create_service(SetBool, "~/set_pause", self._set_pause)
        self.create_service(Trigger, "~/export", self._export)
        self.create_service(Trigger, "~/stop", self._stop)
        self._diagnostics = Diagnostics(self, "training", self._health)
        watch_parent(self, config.parent_pid)
        self._worker = threading.Thread(target=self._train, name="training")

    def spin(self) -> None:
        """Train until done, ``~/stop`` or a signal; a checkpoint is left in every case."""
        self._worker.start()
        try:
            rclpy.spin(self)
        finally:
            self._must_stop = True
            self._jobs.put(Job(lambda: None))
            self._worker.join()

    def _train(self) -> None:
        """Iterations with jobs between them; while paused or at the end, only jobs."""
        iterations: Generator[IterationMetrics, None, None] | None = self._trainer.iterations()
        while not self._must_stop:
            try:
                self._jobs.get(block=self._is_paused or iterations is None).run()
                continue
            except queue.Empty:
                assert iterations is not None
            try:
                metrics = next(iterations, None)
            except DadsError as error:
                self._status = ERROR, str(error)
                self.get_logger().error(str(error))
                iterations = None
                continue
            if metrics is None:
                self._status, iterations = (OK, "finished"), None
            else:
                self._report(metrics)
        if iterations is not None:
            iterations.close()
            self._trainer.save_checkpoint()
            self._status = OK, "stopped"
        while not self._jobs.empty():
            self._jobs.get().run()

    def _between_iterations(self, action: Callable[[], object]) -> None:
        """Let the worker do something and wait for it. Raises: what the action raises."""
        job = Job(action)
        if self._worker.is_alive():
            self._jobs.put(job)
        else:
            job.run()
        job.result.result()

    def _report(self, metrics: IterationMetrics) -> None:
        self._iteration_time = time.monotonic()
        self._values |= {"iteration": float(metrics.iteration)} | metrics.to_dict()
        try:
            self._publish(metrics.iteration)
        except Exception:  # a signal may end ROS in the middle; the training ends properly
            if rclpy.ok():
                raise

    def _publish(self, iteration: int) -> None:
        values = np.array(list(self._values.values()), float)
        self._metrics_publisher.publish(labelled_array(values, ",".join(self._values)))
        if iteration % self._trainer.config.evaluate_every == 0:
            tracks = self._trainer.evaluate(num_skills=NUM_FAN_SKILLS).tracks[:, ::FAN_POINT_STEPS]
            tracks = tracks - tracks[:, :1]
            stamp = self.get_clock().now().to_msg()
            markers = skill_fan_markers(tracks, stamp=stamp, frame=self._frames.odom)
            self._fan_publisher.publish(markers)

    def _set_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        def set_pause() -> None:
            self._is_paused = request.data

        self._between_iterations(set_pause)
        response.success, response.message = True, "paused" if request.data else "training"
        return response

    def _export(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        folder = self._settings.config.export_folder
        target = Path(folder).expanduser() if folder else self._out / "bundle"
        try:
            self._between_iterations(lambda: export_bundle(self._trainer, target))
            response.success, response.message = True, f"exported to '{target}'"
        except DadsError as error:
            response.success, response.message = False, str(error)
        return response

    def _stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        def stop() -> None:
            self._must_stop = True

        self._between_iterations(stop)
        self._worker.join()
        level, text = self._status
        response.success, response.message = level == OK, f"{text}; '{self._out}' can be resumed"
        self.create_timer(END_DELAY_S, rclpy.try_shutdown, clock=STEADY)
        return response

    def _health(self) -> tuple[Level, str, Mapping[str, object]]:
        level, text = self._status
        if self._is_paused:
            text = "paused"
        elif text == "training" and not self._worker.is_alive():
            level, text = ERROR, "the training thread has died; see the log"
        age = time.monotonic() - self._iteration_time
        return level, text, {"out": self._out, "seconds since iteration": age, **self._values}


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal. Returns: the exit code."""
    return run_node(SkillTrainerNode, SkillTrainerNode.spin, args=args)


if __name__ == "__main__":
    sys.exit(main())
