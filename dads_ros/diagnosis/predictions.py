"""Predictions: where each held skill led, beside where it was predicted to lead when it began."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.diagnosis.records import Array, Check, Verdict
from dads_ros.observation import RobotState
from dads_ros.planning.control_loop import plan_start

MIN_STEPS = 3
"""Control steps; what a robot does in fewer is its gait, not its way."""
BAD = 3.0
"""Times the error of the bundle's evaluation, where skills are held for long; the shipped Ant,
Half-Cheetah and Humanoid have 1.2 to 2.1 times that on their ways to goals."""


@dataclass
class _Held:
    skill: NDArray[np.float32]
    start: Array
    """As a plan starts. Shape (6 + O,)."""
    steps: int = 0


class Predictions:
    """Takes a robot's control steps one after the other. D skill dimensions, A actuators."""

    def __init__(self, bundle: SkillBundle) -> None:
        """Nothing is held."""
        self._bundle, self._robot = bundle, bundle.robot
        self._held: _Held | None = None
        self._num, self._way_m, self._error_m = 0, 0.0, 0.0

    def interrupt(self) -> None:
        """The next step does not follow the last one."""
        self._held = None

    def take(
        self, state: RobotState, skill: NDArray[np.float32] | None, last_command: Array
    ) -> None:
        """Take in the next step.

        Args:
            state: of one robot, at its beginning.
            skill: from then on; None where the robot is not driven by one. Shape (D,).
            last_command: sent at the step before. Shape (A,).
        """
        held, most = self._held, self._bundle.manifest.prediction.steps
        if held is not None:
            held.steps += 1
            if skill is None or (skill != held.skill).any() or held.steps >= most:
                self._compare(held, state.position[:2])
                self._held = None
        if skill is None or state.has_fallen(self._robot):
            self._held = None
        elif self._held is None:
            start = plan_start(self._robot, state[None], last_command[None])[0]
            self._held = _Held(skill, start)

    def check(self) -> Check:
        """How well they were met."""
        name = "prediction"
        if not self._way_m > 0.0:
            cure = "record a robot that walks, with ~/skill"
            return Check(name, Verdict.NOT_SEEN, "no skill was held while the robot moved", cure)
        error = self._error_m / self._way_m
        found = (
            f"off by {error:.0%} of the way, over {self._num} held skills and {self._way_m:.3g} m"
        )
        known = (self._bundle.manifest.evaluation or {}).get("prediction_error")
        limit = 1.0  # what standing still would be
        if isinstance(known, float):
            found += f"; in the bundle's evaluation {known:.0%}, of skills that are held"
            limit = min(limit, BAD * known)
        if error <= limit:
            return Check(name, Verdict.OK, found)
        cure = (
            "the robot does not do what its skills did in training: compare its model, actuators, "
            "ground and delays with those, and refit the skill dynamics on the right model"
        )
        return Check(name, Verdict.WARNING, found, cure)

    def _compare(self, held: _Held, place: Array) -> None:
        way_m = float(np.linalg.norm(place - held.start[:2]))
        was_put = way_m > self._robot.max_velocity * held.steps * self._robot.control_dt
        if held.steps < MIN_STEPS or was_put:  # elsewhere, by a reset
            return
        skills = held.skill[None, None]
        predicted = self._bundle.rollout(held.start[None], skills, held.steps)[0, -1, :2]
        self._num += 1
        self._way_m += way_m
        self._error_m += float(np.linalg.norm(predicted - place))
