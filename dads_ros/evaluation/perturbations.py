"""Perturbations: what a real robot, its ground and its wiring may be like, one at a time."""

import dataclasses
from collections.abc import Callable, Mapping

from dads_ros.config import DomainRandomization
from dads_ros.evaluation.driving import Driver
from dads_ros.robot import RobotSpec


def _of_bodies(**ranges: object) -> Callable[[Driver], Driver]:
    def perturbed(driver: Driver) -> Driver:
        found = DomainRandomization.from_dict(ranges)
        return dataclasses.replace(driver, randomization=found)

    return perturbed


def _late(driver: Driver) -> Driver:
    step_ms = 1000.0 * driver.model.spec.sim_dt
    most_ms = round(40.0 / step_ms) * step_ms  # in whole simulation steps
    return dataclasses.replace(driver, delay_ms=(0.0, most_ms))


def perturbations_of(spec: RobotSpec) -> list[str]:
    """Names of those that make sense for a robot: bumps are for those that stand on the ground."""
    return [name for name in PERTURBATIONS if name != "ground" or spec.base.kind == "free"]


PERTURBATIONS: Mapping[str, Callable[[Driver], Driver]] = {
    "mass": _of_bodies(mass=(0.7, 1.3)),
    "friction": _of_bodies(friction=(0.4, 1.2)),
    "gain": _of_bodies(gain=(0.75, 1.25)),
    "noise": _of_bodies(sensor_noise=1.0),
    "ground": _of_bodies(ground_m=0.04),
    "delay": _late,
    "push": lambda driver: dataclasses.replace(driver, push_mps=1.3),
}
"""Masses +-30 %; friction 0.4 to 1.2; actuators 25 % weaker to stronger; the noise of usual
sensors; bumps of +-4 cm; delays of 0 to 40 ms; every 4 s a push that changes the velocity by 1.3
m/s, 20 N s on a Go2."""
