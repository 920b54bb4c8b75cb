"""Perturbations: what a real robot, its ground and its wiring may be like, one at a time."""

import dataclasses
from collections.abc import Callable, Mapping

from dads_ros.envs.randomization import DomainRandomization
from dads_ros.evaluation.driving import Driver


def _of_bodies(**ranges: object) -> Callable[[Driver], Driver]:
    def perturbed(driver: Driver) -> Driver:
        found = DomainRandomization.from_dict(ranges)
        return dataclasses.replace(driver, randomization=found)

    return perturbed


PERTURBATIONS: Mapping[str, Callable[[Driver], Driver]] = {
    "mass": _of_bodies(mass=(0.7, 1.3)),
    "friction": _of_bodies(friction=(0.4, 1.2)),
    "gain": _of_bodies(gain=(0.75, 1.25)),
    "noise": _of_bodies(sensor_noise=1.0),
    "ground": _of_bodies(ground_m=0.04),
    "delay": lambda driver: dataclasses.replace(driver, delay_ms=(0.0, 40.0)),
    "push": lambda driver: dataclasses.replace(driver, push_mps=1.3),
}
"""Masses +-30 %; friction 0.4 to 1.2; actuators 25 % weaker to stronger; the noise of usual
sensors; bumps of +-4 cm; delays of 0 to 40 ms; every 4 s a push that changes the velocity by 1.3
m/s, 20 N s on a Go2."""
