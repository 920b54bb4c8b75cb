"""BundleLoader: bundles that a planner may drive with, loaded, checked and run once."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rclpy.serialization import serialize_message

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.errors import BundleError, PlanningError
from dads_ros.files import find_file, share_folder
from dads_ros.nodes.conversions import (
    Frames,
    command_message,
    joint_state_message,
    odometry_message,
    robot_state,
    skill_message,
)
from dads_ros.nodes.plan_display import PlanDisplay
from dads_ros.nodes.settings import SkillPlannerConfig
from dads_ros.observation import RobotState
from dads_ros.planning.control_loop import ControlLoop
from dads_ros.planning.controller import Errand, PlanRequest, SkillController, make_loop
from dads_ros.planning.tasks import Task
from dads_ros.robot import RobotSpec


class Drive(NamedTuple):
    """A bundle and what is made from it; both are swapped as one."""

    bundle: SkillBundle
    loop: ControlLoop


class BundleLoader:
    """Loads for one robot from the folders that the node was started with, and from no others."""

    def __init__(self, config: SkillPlannerConfig, frames: Frames, display: PlanDisplay) -> None:
        """Of the node's settings at its start. Raises: ConfigError."""
        self._frames, self._display = frames, display
        self.robot = RobotSpec.load(config.robot) if config.robot else None
        """What every bundle must be for: the robot file's, else the first bundle's."""
        if config.bundle_folder:
            folder = Path(config.bundle_folder).expanduser().resolve()
        else:
            folder = find_file(config.bundle, folder="models").resolve().parent
        self._folders = (folder, share_folder().resolve() / "models")

    def load(self, config: SkillPlannerConfig) -> Drive:
        """Load the bundle that the settings name and run it once, from whichever thread.

        Raises: BundleError, ConfigError, PlanningError.
        """
        folder = find_file(config.bundle, folder="models").resolve()
        if not any(folder.is_relative_to(place) for place in self._folders):
            raise BundleError(
                f"bundle '{folder}' lies outside '{self._folders[0]}', from which this node may "
                "load: start it with the parameter 'bundle_folder'"
            )
        bundle = SkillBundle(folder, self.robot)
        drive = Drive(bundle, self._warm_up(bundle, config))
        self.robot = bundle.robot
        return drive

    def _warm_up(self, bundle: SkillBundle, config: SkillPlannerConfig) -> ControlLoop:
        """Run policy, planner and every message once: the first step is as fast as the others.

        Returns: what is driven with.
        Raises: PlanningError when a plan cannot be made; ConfigError for commands by joint where
            the robot's actuators have other names.
        """
        bundle.warm_up()
        spec, num = bundle.robot, len(bundle.robot.joints)
        loop = make_loop(spec, bundle.command, bundle, config, config.seed, 1)
        upright = np.array([1.0, 0.0, 0.0, 0.0])
        still = RobotState(
            np.zeros(3), upright, np.zeros(3), np.zeros(3), np.zeros(num), np.zeros(num)
        )
        joints = joint_state_message(spec, still, 0)
        state = robot_state(spec, [joints], odometry_message(still, 0, self._frames))[None]
        trial = dataclasses.replace(config, lock_step=True, start_ramp_s=0.0)
        controller = SkillController(loop, lambda: trial, seed=config.seed, say=lambda text: None)
        controller.activate()
        errand = Errand(Task(goals=np.array([[1.0, 0.0]])))
        controller.turn_to(errand)
        request = PlanRequest(controller.loop, errand, state, np.zeros((1, spec.command_dim)), 0)
        plan = controller.plan(request)
        if plan is None:
            raise PlanningError(controller.plan_error)
        for stamp_ns in range(3):
            controller.step(state, stamp_ns)
        messages = (
            self._display.path(plan, bundle, config, 0.0, 0),
            self._display.rollouts(plan, config, 0.0, 0),
            skill_message(plan.skill[0], 0),
            command_message(spec, np.array(spec.safe_command), 0, config.command_type),
        )
        for message in messages:
            serialize_message(message)
        return loop.renewed(config.planner, config.seed)
