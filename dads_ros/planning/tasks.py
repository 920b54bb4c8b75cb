"""Task: what robots are asked for, and the cost of it at this moment.

Shapes: R robots, M points of a path, D skill dimensions.
"""

import importlib
import sys
from dataclasses import dataclass, field
from typing import cast

from dads_ros.config import CostsConfig
from dads_ros.errors import PlanningError
from dads_ros.observation import turned
from dads_ros.planning.costs import (
    Array,
    BoundsCost,
    Cost,
    FallCost,
    GoalCost,
    HeadingCost,
    PathCost,
    SkillChangeCost,
    TurnCost,
    VelocityCost,
    WaypointsCost,
    WeightedCosts,
)
from dads_ros.planning.obstacles import ObstacleCost, ObstacleMap, WayCost, WayField
from dads_ros.working_folder import path_without_it


@dataclass
class Task:
    """Of one or many robots; what is None is not asked for."""

    goals: Array | None = None
    """x, y, world frame, m. Shape (R, 2)."""
    headings: Array | None = None
    """Yaw at the goal, rad. Shape (R,)."""
    waypoints: WaypointsCost | None = None
    """Goals in a row; remembers how far each robot has come."""
    path: PathCost | None = None
    """To be followed; remembers how far each robot has come."""
    velocities: Array | None = None
    """In base_link, m/s. Shape (R, 2)."""
    yaw_rates: Array | None = None
    """With the velocities, rad/s. Shape (R,)."""
    skill: Array | None = None
    """Held by hand: nothing is planned, nothing else is asked for. Shape (R, D)."""
    maps: list[ObstacleMap] | None = None
    """Where not to go; one for each robot."""
    ways: list[WayField] | None = None
    """To the goals, around what is on the maps; None has ``cost`` find them, which takes as long
    as it takes. One for each robot."""
    _found: list[WayField] | None = field(default=None, init=False, repr=False)
    _found_margin_m: float = field(default=0.0, init=False, repr=False)

    @property
    def is_repeated(self) -> bool:
        """Whoever asks for it says so again and again, and silence ends it."""
        return self.velocities is not None or self.skill is not None

    def cost(
        self,
        start: Array,
        config: CostsConfig,
        *,
        held: Array | None,
        robot_radius_m: float,
        standing_radius_m: float,
        predicts_falls: bool = False,
        custom: Cost | None = None,
    ) -> WeightedCosts:
        """The cost of plans that begin now.

        Args:
            start: x, y (m) and yaw (rad) now, world frame; shape (R, 3) or more columns.
            config: weights.
            held: the skill until now. Shape (R, D).
            robot_radius_m: of the robot's footprint.
            standing_radius_m: nearer to the goal than this, all places are equally good.
            predicts_falls: the bundle does.
            custom: a cost of the user's own.
        """
        terms: dict[str, tuple[float, Cost]] = {}
        if self.goals is not None:
            terms["goal"] = (
                config.goal,
                self._goal_cost(robot_radius_m, standing_radius_m, config.margin_m),
            )
            if self.headings is not None:
                heading = HeadingCost(self.goals, self.headings, config.heading_near_m)
                terms["heading"] = (config.heading, heading)
        if self.waypoints is not None:
            self.waypoints.advance(start[:, :2])
            terms["goal"] = (config.goal, self.waypoints)
        if self.path is not None:
            self.path.advance(start[:, :2])
            self.path.cross_track = config.cross_track
            terms["path"] = (config.path, self.path)
        if self.velocities is not None:
            velocity = VelocityCost(turned(self.velocities, start[:, 2]), self.yaw_rates)
            terms["velocity"] = (config.velocity, velocity)
            if self.yaw_rates is not None:
                terms["heading"] = (config.heading, TurnCost(self.yaw_rates))
        if self.maps is not None:
            obstacles = ObstacleCost(self.maps, robot_radius_m, config.margin_m)
            terms["obstacles"] = (config.obstacles, obstacles)
        terms["bounds"] = (config.bounds, BoundsCost(config.bounds_m))
        if predicts_falls:
            terms["fall"] = (config.fall, FallCost())
        if held is not None:
            terms["skill_change"] = (config.skill_change, SkillChangeCost(held))
        if custom is not None:
            terms["custom"] = (config.custom_weight, custom)
        return WeightedCosts(terms)

    def _goal_cost(self, robot_radius_m: float, standing_radius_m: float, margin_m: float) -> Cost:
        assert self.goals is not None
        if self.maps is None:
            return GoalCost(self.goals, standing_radius_m)
        if self.ways is not None:
            return WayCost(self.ways, self.goals, standing_radius_m)
        if self._found is None or self._found_margin_m != margin_m:
            self._found_margin_m = margin_m
            self._found = [
                obstacles.way_to(goal, robot_radius_m, margin_m)
                for obstacles, goal in zip(self.maps, self.goals, strict=True)
            ]
        return WayCost(self._found, self.goals, standing_radius_m)


def load_cost(name: str) -> Cost | None:
    """The user's own cost, ``package.module:Class``; None for an empty name.

    Nothing is imported from the working folder: what lies there may be anybody's.

    Raises: PlanningError when there is none of that name, or it takes arguments.
    """
    if not name:
        return None
    module, _, attribute = name.partition(":")
    before = sys.path[:]
    sys.path[:] = path_without_it()
    try:
        kind = getattr(importlib.import_module(module), attribute)
        if not isinstance(kind, type):
            raise TypeError(f"{attribute} is no class")
        made = kind()
    except Exception as error:  # whatever the user's module raises
        raise PlanningError(
            f"cost '{name}' cannot be made ({error!r}); expected package.module:Class, installed "
            "where this runs (not in the working folder), and a class that is made without "
            "arguments"
        ) from error
    finally:
        sys.path[:] = before
    if not callable(made):
        raise PlanningError(f"cost '{name}' cannot be called; give its class a __call__(plans)")
    return cast(Cost, made)
