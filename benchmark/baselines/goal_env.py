"""Our robots as a goal-conditioned environment of stable-baselines3.

Shapes: N robots, B batch, O policy_obs, A actuators.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv

from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.observation import observation_slices, policy_obs_dim, turned

Array = NDArray[np.floating]
Observation = dict[str, NDArray[np.float32]]
NEAR_M, GOAL_SCALE_M = 0.5, 10.0


class GoalVecEnv(VecEnv):
    """N robots from the origin at a random yaw, each with a goal in a square, or on its line.

    Observations are those of the ``GoalEnv`` of gymnasium-robotics, which HER expects: what the
    policies of skills see, the place, the goal (x, y, world frame, m). An episode ends by its
    length only, so that falling is no way out of a reward below 0: a robot that falls stays there,
    as it does when it is measured, and sees and is paid the same until its episode ends.
    """

    render_mode = None

    def __init__(
        self,
        model: RobotModel,
        num_envs: int,
        *,
        seed: int,
        is_sparse: bool,
        range_m: float = 10.0,
        episode_steps: int = 200,
        action_steps: int = 1,
        from_heading: bool = False,
    ) -> None:
        """Start all.

        Args:
            model: the robot.
            num_envs: N.
            seed: of starts and goals.
            is_sparse: the reward is -1, and 0 within NEAR_M of the goal; else it is the distance
                from the goal, m, with a minus.
            range_m: goals are uniform in [-range_m, range_m]^2, or in [-range_m, range_m] on the
                line of a robot that moves on one.
            episode_steps: control steps.
            action_steps: control steps that an action lasts, a divisor of these; its reward is
                their mean.
            from_heading: as for ``observation_of``.
        """
        spec = model.spec
        never = dataclasses.replace(spec.fallen, ends_episode=False)
        self._is_sparse, self._range_m, self._action_steps = is_sparse, range_m, action_steps
        self._from_heading, self._rng = from_heading, np.random.default_rng((seed, num_envs))
        self._env = VectorEnv(
            RobotModel(dataclasses.replace(spec, fallen=never)),
            num_envs,
            rng=np.random.default_rng(seed),
            episode_steps=episode_steps,
        )
        self._goals, self._fell = self._draw(num_envs), np.zeros(num_envs, bool)
        self._seen: Observation = {}
        """Last, in which those that fell stay."""
        self._actions: Array = np.zeros((num_envs, spec.command_dim))
        low, high = (np.asarray(limit, np.float32) for limit in spec.command_limits)
        place = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        observation = spaces.Box(-np.inf, np.inf, (policy_obs_dim(spec),), np.float32)
        seen = {"observation": observation, "achieved_goal": place, "desired_goal": place}
        super().__init__(
            num_envs,
            spaces.Dict(seen | ({"heading": place} if from_heading else {})),
            spaces.Box(low, high, dtype=np.float32),
        )

    def reset(self) -> Observation:
        """Start all anew."""
        every = np.ones(self.num_envs, bool)
        self._env.reset(every)
        self._goals, self._fell[:] = self._draw(self.num_envs), False
        return self._observation()

    def step_async(self, actions: Array) -> None:
        """Take actions in the unit of the commands. Shape (N, A)."""
        self._actions = actions

    def step_wait(self) -> tuple[Observation, Array, NDArray[np.bool_], list[dict[str, Any]]]:
        """Move all; those at the end of their episode start anew, as VecEnv has it."""
        env = self._env
        reward, diverged = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        for _ in range(self._action_steps):
            env.step(env.filtered(self._command()))
            observation = self._observation()
            places = observation["achieved_goal"], observation["desired_goal"]
            reward += self.compute_reward(*places, None) / self._action_steps
            diverged |= env.diverged
            self._fell |= env.fallen
        done = env.needs_reset | diverged
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(done):
            infos[index] = {
                "terminal_observation": {name: part[index] for name, part in observation.items()},
                "TimeLimit.truncated": not diverged[index],
            }
        if done.any():
            env.reset(done)
            env.terminated[done] = self._fell[done] = False
            self._goals[done] = self._draw(int(done.sum()))
            observation = self._observation()
        return observation, reward, done, infos

    def compute_reward(self, achieved: Array, desired: Array, infos: Any) -> Array:  # noqa: ANN401
        """Of places (..., 2) and goals (..., 2), as HER asks for it. Shape (...)."""
        distance = np.linalg.norm(achieved - desired, axis=-1)
        reward = -(distance >= NEAR_M).astype(np.float32) if self._is_sparse else -distance
        return np.asarray(reward, np.float32)

    def _command(self) -> Array:
        """Wanted in the next control step. Shape (N, A)."""
        return self._actions

    def _observation(self) -> Observation:
        seen, fell = observation_of(self._env, self._goals, self._from_heading), self._fell
        for name, part in self._seen.items():
            seen[name][fell] = part[fell]
        self._seen = seen
        return seen

    def _draw(self, num: int) -> Array:
        """Goals of robots that start, where they can move. Shape (num, 2)."""
        goals = self._rng.uniform(-self._range_m, self._range_m, (num, 2))
        return goals * self._env.spec.ground_axes

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:  # noqa: ANN401
        """The same of every robot."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ANN401
        """Not meant to be. Raises: NotImplementedError."""
        raise NotImplementedError(f"'{attr_name}' is set when the environment is made")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,  # noqa: ANN401
        indices: Any = None,  # noqa: ANN401
        **method_kwargs: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Call once for all: HER gives transitions of many robots to the first."""
        return [getattr(self, method_name)(*method_args, **method_kwargs)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:  # noqa: ANN401
        """It is not."""
        return [False] * len(list(self._get_indices(indices)))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Kept as it was made: the seed is given there."""
        return [None] * self.num_envs


def observation_of(env: VectorEnv, goals: Array, from_heading: bool = False) -> Observation:
    """What robots with goals (N, 2) see.

    Args:
        env: the robots.
        goals: world frame, m. Shape (N, 2).
        from_heading: orientations are relative to the heading, of which 'heading' has cosine and
            sine: so the flat ground looks the same at any yaw.
    """
    # The state of a robot whose physics broke down means nothing.
    obs = np.nan_to_num(env.policy_obs())
    seen = {
        "observation": obs,
        "achieved_goal": np.nan_to_num(env.state.position[:, :2].astype(np.float32)),
        "desired_goal": goals.astype(np.float32),
    }
    if from_heading:
        yaw = np.nan_to_num(env.state.yaw())
        seen["heading"] = np.stack([np.cos(yaw), np.sin(yaw)], axis=1, dtype=np.float32)
        if (part := observation_slices(env.spec).get("orientation")) is not None:
            w, x, y, z = range(part.start, part.stop)
            for pair in ([w, z], [x, y]):
                obs[:, pair] = turned(obs[:, pair], -yaw / 2.0)
            obs[:, part] *= np.where(obs[:, [w]] < 0.0, -1.0, 1.0)  # q and -q are the same
    return seen


class GoalFromHere(BaseFeaturesExtractor):
    """What the policy and the critics see: the robot, and the goal as seen from its place.

    Along the axes of the world, or of the heading where that is known.
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        """Take the spaces of GoalVecEnv."""
        super().__init__(observation_space, observation_space["observation"].shape[0] + 2)

    def forward(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """Shape (B, O + 2)."""
        way = (observation["desired_goal"] - observation["achieved_goal"]) / GOAL_SCALE_M
        if (heading := observation.get("heading")) is not None:
            (cos, sin), (x, y) = heading.unbind(1), way.unbind(1)
            way = torch.stack([cos * x + sin * y, cos * y - sin * x], dim=1)
        return torch.cat([observation["observation"], way], dim=1)
