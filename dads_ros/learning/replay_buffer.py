"""ReplayBuffer: the newest rows of every robot's stream of experience.

Shapes: C rows (capacity), N robots, T rows of a chunk, B batch, O policy_obs, D skill dimensions,
A actuators, P predicted columns, k control steps of one prediction, L limits of the body.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dads_ros.errors import ConfigError
from dads_ros.prediction import PredictionSpec


class Chunk(NamedTuple):
    """T consecutive rows of N robots, as the collector makes them."""

    policy_obs: np.ndarray
    """Observation at the row. Shape (T, N, O)."""
    action: np.ndarray
    """Action in [-1, 1] taken there. Shape (T, N, A)."""
    log_prob: np.ndarray
    """Log-probability of the action under the policy that took it, its noise unscaled. (T, N)."""
    skill: np.ndarray
    """Skill held there. Shape (T, N, D)."""
    pose: np.ndarray
    """x, y (m) and yaw (rad), world frame. Shape (T, N, 3)."""
    skill_age: np.ndarray
    """Control steps since the skill was drawn. Shape (T, N)."""
    skill_left: np.ndarray
    """Control steps that it is still held, this one included. Shape (T, N).

    0: no step to learn from, a reset or a physics that diverged.
    """
    terminated: np.ndarray
    """Whether the step taken there ended in a terminal state. Shape (T, N)."""
    exceeded: np.ndarray
    """By which part of each limit of the body it exceeded it. Shape (T, N, L)."""


class Transition(NamedTuple):
    """A batch for learning; rewards are computed from it when it is sampled."""

    policy_obs: Tensor
    action: Tensor
    log_prob: Tensor
    next_policy_obs: Tensor
    skill: Tensor
    delta: Tensor
    """Change over k steps around the transition, all under this skill. Shape (B, P)."""
    start_obs: Tensor
    """Observation at the first of those k steps. Shape (B, O)."""
    terminated: Tensor
    exceeded: Tensor
    is_whole: Tensor
    """Whether the skill was held for k steps; else ``delta`` is 0. Shape (B,)."""
    place: Tensor
    """x, y (m) and yaw (rad) since the skill was drawn, in the frame of predictions. Shape (B, 3).

    Of a buffer without places (B, 0)."""
    next_place: Tensor
    """The same after the step."""

    def rows(self, which: Tensor) -> "Transition":
        """Some of them."""
        return Transition(*(column[which] for column in self))


NUM_DRAWS = 20
"""At random, before all rows are looked at."""


class ReplayBuffer:
    """A ring of rows; next observations and displacements are index arithmetic.

    The displacement that judges the step of row t is taken over rows [w, w + k] with w = t, moved
    back where the skill was not held that long. Skills held for less than k steps are sampled only
    where a fall ended them, and only if that is wanted.
    """

    def __init__(
        self,
        num_rows: int,
        first: Chunk,
        prediction: PredictionSpec,
        device: torch.device,
        columns: NDArray[np.int64],
        *,
        with_places: bool = False,
    ) -> None:
        """Allocate for rows like those of ``first``, which is not added.

        ``columns``: of policy_obs, those that are predicted beside the pose.
        ``with_places``: sample places, and only where the beginning of the skill is held.
        Raises: ConfigError when they do not fit into the memory.
        """
        self._prediction, self._with_places = prediction, with_places
        self._columns = torch.from_numpy(columns).to(device)
        try:
            # Of NumPy, which asks the system for large pages: rows are read from all over it.
            self._data = {
                name: torch.from_numpy(np.zeros((num_rows, *v.shape[1:]), _dtype(v))).to(device)
                for name, v in first._asdict().items()
            }
        except (RuntimeError, MemoryError) as error:  # torch's and NumPy's own
            raise ConfigError(
                f"'collect.replay_capacity' of {num_rows * first.action.shape[1]} does not fit "
                "into the memory; lower it"
            ) from error
        self._num_rows, self._num_envs = num_rows, first.action.shape[1]
        self.rows_added = 0

    def __len__(self) -> int:
        """Transitions held."""
        return min(self.rows_added, self._num_rows) * self._num_envs

    def add(self, chunk: Chunk) -> None:
        """Append the rows of a chunk."""
        data, num = self._data, len(chunk.action)
        rows = torch.arange(self.rows_added, self.rows_added + num) % self._num_rows
        for name, array in chunk._asdict().items():
            data[name][rows] = torch.from_numpy(np.ascontiguousarray(array)).to(data[name].device)
        for t, env in zip(*np.nonzero(chunk.terminated), strict=True):
            # The skill was meant to be held for longer; it ended here, or before a divergence.
            age = min(int(chunk.skill_age[t, env]), self._num_rows - num)
            back = torch.arange(age + 1)
            past = (self.rows_added + int(t) - back) % self._num_rows
            left = back + int(chunk.skill_left[t, env] > 0)
            data["skill_left"][past, int(env)] = left.to(data["skill_left"])
        self.rows_added += num

    def sample(
        self,
        num: int,
        generator: torch.Generator,
        newest_fraction: float = 1.0,
        robot_fraction: float = 1.0,
        *,
        with_early_falls: bool = False,
    ) -> Transition:
        """Draw transitions uniformly. Raises: ConfigError when there are none yet.

        Args:
            num: B.
            generator: source of randomness.
            newest_fraction: draw from this part of the rows, newest first.
            robot_fraction: draw from this part of the robots, first ones first. Where none of
                these held a skill long enough, from all.
            with_early_falls: draw also from skills that a fall ended before k steps were over.
        """
        k, data = self._prediction.steps, self._data
        newest = self.rows_added - 1 - k
        held = max(min(self.rows_added, self._num_rows) - 2 * k - 1, 0)
        oldest = newest - max(int(held * newest_fraction), min(held, 1)) + 1
        if oldest > newest:
            raise ConfigError(
                "the replay buffer holds no whole prediction yet; train for more iterations, or "
                "raise 'collect.warmup_steps'"
            )
        device = data["action"].device
        robots = max(1, round(robot_fraction * self._num_envs))
        parts: list[Tensor] = []
        missing = num
        for _ in range(NUM_DRAWS):
            draw = int(missing * 1.2) + 16
            row = torch.randint(oldest, newest + 1, (draw,), generator=generator)
            env = torch.randint(robots, (draw,), generator=generator)
            parts.append(self._held(row.to(device), env.to(device), with_early_falls))
            missing -= parts[-1].shape[1]
            if missing <= 0:
                break
        else:  # few are: look at all
            row = torch.arange(oldest, newest + 1, device=device).repeat_interleave(robots)
            env = torch.arange(robots, device=device).repeat(newest + 1 - oldest)
            every = self._held(row, env, with_early_falls)
            if every.shape[1] == 0:
                if newest_fraction < 1.0 or robot_fraction < 1.0:  # these may have fallen too soon
                    return self.sample(num, generator, with_early_falls=with_early_falls)
                raise ConfigError(
                    "the replay buffer holds no skill that was held for a whole prediction: all "
                    f"robots fall, or are reset, before {k} control steps are over; lower "
                    "'prediction.steps', or raise 'collect.warmup_steps' or "
                    "'collect.episode_steps'"
                )
            which = torch.randint(every.shape[1], (missing,), generator=generator)
            parts.append(every[:, which.to(device)])
        row, env, left, whole = torch.cat(parts, dim=1)[:, :num]
        is_whole = whole.bool()
        start = torch.where(is_whole, row + (left - k).clamp_max(0), row)
        slot, following = row % self._num_rows, (row + 1) % self._num_rows
        place = next_place = torch.zeros(num, 0, device=device, dtype=torch.float32)
        if self._with_places:
            drawn = row - self._rows("skill_age", slot, env)
            place, next_place = (self._moved(drawn, until, env) for until in (row, row + 1))
        return Transition(
            policy_obs=self._rows("policy_obs", slot, env),
            action=self._rows("action", slot, env),
            log_prob=self._rows("log_prob", slot, env),
            next_policy_obs=self._rows("policy_obs", following, env),
            skill=self._rows("skill", slot, env),
            delta=torch.where(is_whole[:, None], self._delta(start, env), 0.0),
            start_obs=self._rows("policy_obs", start % self._num_rows, env),
            terminated=self._rows("terminated", slot, env),
            exceeded=self._rows("exceeded", slot, env),
            is_whole=is_whole,
            place=place,
            next_place=next_place,
        )

    def _held(self, row: Tensor, env: Tensor, with_early_falls: bool) -> Tensor:
        """Row, robot, steps left and whether the skill was held for k steps, where it counts.

        Shapes: (B,), (B,) -> (4, at most B).
        """
        slot = row % self._num_rows
        left, age = self._rows("skill_left", slot, env), self._rows("skill_age", slot, env)
        whole = age + left >= self._prediction.steps
        good = whole
        if with_early_falls:
            last = (row + left - 1) % self._num_rows
            good = whole | self._rows("terminated", last, env)
        good = good & (left > 0)
        if self._with_places:
            good = good & (row - age >= self.rows_added - self._num_rows)
        return torch.stack([row, env, left, whole])[:, good].long()

    def _rows(self, name: str, slot: Tensor, env: Tensor) -> Tensor:
        """What robots have at rows of the ring; several times as fast as indexing. (B, ...)."""
        return self._data[name].flatten(0, 1).index_select(0, slot * self._num_envs + env)

    def _delta(self, start: Tensor, env: Tensor) -> Tensor:
        """Predicted change from a row to k rows later. Shape (B, P)."""
        end = start + self._prediction.steps
        moved = self._moved(start, end, env)[:, : len(self._prediction.pose_fields)]
        if not len(self._columns):
            return moved
        before, after = (
            self._rows("policy_obs", row % self._num_rows, env).index_select(1, self._columns)
            for row in (start, end)
        )
        return torch.cat([moved, after - before], dim=1)

    def _moved(self, start: Tensor, end: Tensor, env: Tensor) -> Tensor:
        """Change of x, y and yaw between two rows, in the frame of predictions. Shape (B, 3)."""
        first = self._rows("pose", start % self._num_rows, env)
        moved = self._rows("pose", end % self._num_rows, env) - first
        yaw = torch.remainder(moved[:, 2] + np.pi, 2.0 * np.pi) - np.pi
        x, y = moved[:, 0], moved[:, 1]
        if self._prediction.frame == "heading":
            cos, sin = first[:, 2].cos(), first[:, 2].sin()
            x, y = cos * x + sin * y, cos * y - sin * x
        return torch.stack([x, y, yaw], dim=1)

    def checkpoint(self) -> dict[str, object]:
        """Everything that ``restore`` needs."""
        held = min(self.rows_added, self._num_rows)
        rows = torch.arange(self.rows_added - held, self.rows_added) % self._num_rows
        return {
            "rows_added": self.rows_added,
            "data": {name: array[rows].cpu() for name, array in self._data.items()},
        }

    def restore(self, saved: dict) -> None:  # type: ignore[type-arg]
        """Go on from ``checkpoint``."""
        self.rows_added = int(saved["rows_added"])
        held = min(self.rows_added, self._num_rows)
        rows = torch.arange(self.rows_added - held, self.rows_added) % self._num_rows
        for name, array in saved["data"].items():
            self._data[name][rows] = array.to(self._data[name].device)


def _dtype(array: np.ndarray) -> type[np.generic]:
    return {"f": np.float32, "b": np.bool_, "i": np.int32}[array.dtype.kind]
