"""SkillSpace: the skill prior p(z). Shapes: B batch, D skill dimensions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import SkillPriorConfig

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class SkillSpace:
    """Sampling from and clipping to the support of p(z)."""

    config: SkillPriorConfig

    @property
    def dim(self) -> int:
        """D."""
        return self.config.dim

    def sample(self, num: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw skills from p(z). Shape (num, D)."""
        if self.config.kind == "box":
            return rng.uniform(-1.0, 1.0, (num, self.dim)).astype(np.float32)
        direction = rng.standard_normal((num, self.dim))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-12
        radius = rng.uniform(0.0, 1.0, (num, 1)) ** (1.0 / self.dim)
        return (radius * direction).astype(np.float32)

    def clip(self, skills: FloatArray) -> NDArray[np.float32]:
        """The nearest skills inside the support. Shape (..., D)."""
        if self.config.kind == "box":
            return np.clip(skills, -1.0, 1.0).astype(np.float32)
        norm = np.linalg.norm(skills, axis=-1, keepdims=True)
        return (skills / np.maximum(norm, 1.0)).astype(np.float32)

    def grid(self, num: int) -> NDArray[np.float32]:
        """A fixed set of skills that covers p(z) evenly; the same at every call. Shape (num, D).

        One dimension: equal steps. Two: a square grid on the box, a sunflower (equal areas) on
        the disc. More: a fixed sample of the prior.
        """
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
