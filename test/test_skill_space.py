"""SkillSpace: samples, support and grid of the skill prior."""

import numpy as np
import pytest

from dads_ros.config import SkillPriorConfig
from dads_ros.skills import SkillSpace

SPACES = [SkillSpace(SkillPriorConfig(kind=k, dim=d)) for k in ("box", "disc") for d in (1, 2, 5)]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_samples_and_grid_lie_in_the_support_and_are_left_alone_by_clip(space: SkillSpace) -> None:
    for skills in (space.sample(500, np.random.default_rng(0)), space.grid(256)):
        assert skills.dtype == np.float32 and skills.shape[1] == space.dim
        np.testing.assert_allclose(space.clip(skills), skills, atol=1e-6)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_clip_brings_everything_into_the_support(space: SkillSpace) -> None:
    wild = np.random.default_rng(0).normal(0.0, 5.0, (300, 4, space.dim))
    clipped = space.clip(wild)
    assert clipped.shape == wild.shape and clipped.dtype == np.float32
    size = (
        np.abs(clipped).max(-1) if space.config.kind == "box" else np.linalg.norm(clipped, axis=-1)
    )
    assert size.max() <= 1.0 + 1e-6


def test_disc_samples_are_uniform_in_area() -> None:
    space = SkillSpace(SkillPriorConfig(kind="disc", dim=2))
    skills = space.sample(20000, np.random.default_rng(0))
    inner = np.linalg.norm(skills, axis=1) < 0.5
    assert abs(inner.mean() - 0.25) < 0.01
    np.testing.assert_allclose(skills.mean(axis=0), 0.0, atol=0.02)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_grid_is_the_same_at_every_call(space: SkillSpace) -> None:
    np.testing.assert_array_equal(space.grid(64), space.grid(64))
    assert len(np.unique(space.grid(64), axis=0)) == 64
