"""SkillSpace: the skill prior p(z). Shapes: B batch, D skill dimensions."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import SkillPriorConfig

FloatArray = NDArray[np.floating]
NEARBY_STD = 0.3
"""Of each dimension of a skill near another: planning mostly changes skills by so little."""


@dataclass(frozen=True)
class SkillSpace:
    """Sampling from and clipping to the support of p(z)."""

    config: SkillPriorConfig
    part: float = 1.0
    """Of the support of p(z), around 0, that is ever clipped to: longer skills fall too often."""

    @property
    def dim(self) -> int:
        """D."""
        return self.config.dim

    def sample(
        self,
        num: int,
        rng: np.random.Generator,
        *,
        zero_fraction: float = 0.0,
        short_fraction: float = 0.0,
    ) -> NDArray[np.float32]:
        """Draw skills from p(z). Shape (num, D).

        Args:
            num: how many.
            rng: source of them.
            zero_fraction: part of them that are zero instead.
            short_fraction: part of the others that are made shorter, each by a factor that is
                uniform in [0, 1].
        """
        if zero_fraction > 0.0:
            is_zero = rng.random((num, 1)) < zero_fraction
            skills = self.sample(num, rng, short_fraction=short_fraction)
            return np.where(is_zero, np.float32(0.0), skills)
        if short_fraction > 0.0:
            is_short, factor = rng.random((2, num, 1), np.float32)
            return np.where(is_short < short_fraction, factor, 1.0) * self.sample(num, rng)
        if self.config.kind == "box":
            return rng.uniform(-1.0, 1.0, (num, self.dim)).astype(np.float32)
        if self.config.kind == "discrete":
            return np.eye(self.dim, dtype=np.float32)[rng.integers(self.dim, size=num)]
        direction = rng.standard_normal((num, self.dim))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-12
        radius = rng.uniform(0.0, 1.0, (num, 1)) ** (1.0 / self.dim)
        return (radius * direction).astype(np.float32)

    def sample_nearby(
        self, skills: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Draw a skill near each; not of a discrete prior. Shape (B, D)."""
        return self.clip(skills + NEARBY_STD * rng.standard_normal(skills.shape))

    def clip(self, skills: FloatArray, part: float = 1.0) -> NDArray[np.float32]:
        """The nearest skills inside the support, or in the ``part`` of it around 0. (..., D).

        ``part`` is one of what ``self.part`` leaves. Discrete: the skill with the largest entry;
        neither matters.
        """
        part *= self.part
        if self.config.kind == "discrete":
            return np.eye(self.dim, dtype=np.float32)[np.argmax(skills, axis=-1)]
        if self.config.kind == "box":
            return np.clip(skills, -part, part).astype(np.float32)
        squares = skills * skills  # summed one axis after the other: faster along so short an axis
        square = functools.reduce(np.add, (squares[..., axis] for axis in range(self.dim)))
        norm = np.sqrt(np.maximum(square, part * part))
        return (skills * (part / norm)[..., None]).astype(np.float32, copy=False)

    def grid(self, num: int) -> NDArray[np.float32]:
        """A fixed set of skills that covers p(z) evenly; the same at every call. Shape (num, D).

        Discrete: one skill after the other, again and again. One dimension: equal steps. Two: a
        square grid on the box, a sunflower (equal areas) on the disc. Else: a fixed sample of the
        prior.
        """
        if self.config.kind == "discrete":
            return np.eye(self.dim, dtype=np.float32)[np.arange(num) % self.dim]
        if self.dim == 1:
            return np.linspace(-1.0, 1.0, num, dtype=np.float32)[:, None]
        side = round(num**0.5)
        if self.dim == 2 and self.config.kind == "disc":
            index = np.arange(num) + 0.5
            radius, angle = np.sqrt(index / num), index * np.pi * (3.0 - 5.0**0.5)
            grid = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
            return grid.astype(np.float32)
        if self.dim == 2 and side * side == num:
            axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2.0 - 1.0
            return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(num, 2)
        return self.sample(num, np.random.default_rng(0))
