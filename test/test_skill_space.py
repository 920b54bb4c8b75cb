"""SkillSpace: samples, support and grid of the skill prior."""

import numpy as np
import pytest

from dads_ros.config import SkillPriorConfig
from dads_ros.skills import SkillSpace

SPACES = [
    SkillSpace(SkillPriorConfig(kind=kind, dim=dim))
    for kind in ("box", "disc", "discrete")
    for dim in (1, 2, 5)
    if (kind, dim) != ("discrete", 1)
]
CONTINUOUS = [space for space in SPACES if space.config.kind != "discrete"]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_samples_and_grid_lie_in_the_support_and_are_left_alone_by_clip(space: SkillSpace) -> None:
    for skills in (space.sample(500, np.random.default_rng(0)), space.grid(256)):
        assert skills.dtype == np.float32 and skills.shape[1] == space.dim
        np.testing.assert_allclose(space.clip(skills), skills, atol=1e-6)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_clip_brings_everything_into_the_support(space: SkillSpace) -> None:
    wild = np.random.default_rng(0).normal(0.0, 50.0, (300, 4, space.dim))
    clipped = space.clip(wild)
    assert clipped.shape == wild.shape and clipped.dtype == np.float32
    if space.config.kind == "discrete":
        np.testing.assert_array_equal(
            np.sort(clipped, axis=-1)[..., -2:], [[[0.0, 1.0]] * 4] * 300
        )
        np.testing.assert_array_equal(clipped.argmax(-1), wild.argmax(-1))
        return
    size = (
        np.abs(clipped).max(-1) if space.config.kind == "box" else np.linalg.norm(clipped, axis=-1)
    )
    assert 1.0 - 1e-3 < size.max() <= 1.0 + 1e-5


@pytest.mark.parametrize("space", CONTINUOUS, ids=str)
def test_a_part_of_the_support_is_the_support_made_smaller(space: SkillSpace) -> None:
    wild = np.random.default_rng(0).normal(0.0, 5.0, (300, space.dim))
    part = space.clip(wild, 0.5)
    np.testing.assert_allclose(part, 0.5 * space.clip(wild / 0.5), atol=1e-6)


@pytest.mark.parametrize("space", CONTINUOUS, ids=str)
def test_a_part_of_the_samples_is_zero_where_that_is_asked_for(space: SkillSpace) -> None:
    skills = space.sample(4000, np.random.default_rng(0), zero_fraction=0.2)
    assert skills.dtype == np.float32
    assert (skills == 0.0).all(axis=1).mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("space", CONTINUOUS, ids=str)
def test_a_part_of_the_samples_is_shorter_where_that_is_asked_for(space: SkillSpace) -> None:
    """In the same directions, however many dimensions there are."""
    rngs = np.random.default_rng(0), np.random.default_rng(0)
    rngs[0].random((2, 4000, 1), np.float32)  # what decides which, and by how much
    usual, short = space.sample(4000, rngs[0]), space.sample(4000, rngs[1], short_fraction=0.3)
    assert short.dtype == np.float32
    factor = np.linalg.norm(short, axis=1) / np.linalg.norm(usual, axis=1)
    np.testing.assert_allclose(short, factor[:, None] * usual, atol=1e-6)
    shortened = factor[np.abs(factor - 1.0) > 1e-6]
    assert len(shortened) / 4000 == pytest.approx(0.3, abs=0.03)
    assert np.quantile(shortened, [0.25, 0.75]) == pytest.approx([0.25, 0.75], abs=0.05)
    both = space.sample(4000, rngs[0], zero_fraction=0.5, short_fraction=1.0)
    length = np.linalg.norm(both, axis=1)
    assert (length == 0.0).mean() == pytest.approx(0.5, abs=0.03)
    assert np.median(length[length > 0.0]) < 0.7 * np.median(np.linalg.norm(usual, axis=1))


def test_discrete_samples_are_uniform_and_the_grid_holds_each_skill() -> None:
    space = SkillSpace(SkillPriorConfig(kind="discrete", dim=5))
    skills = space.sample(20000, np.random.default_rng(0))
    np.testing.assert_allclose(skills.mean(axis=0), 0.2, atol=0.015)
    np.testing.assert_array_equal(space.grid(5), np.eye(5))


def test_disc_samples_are_uniform_in_area() -> None:
    space = SkillSpace(SkillPriorConfig(kind="disc", dim=2))
    skills = space.sample(20000, np.random.default_rng(0))
    inner = np.linalg.norm(skills, axis=1) < 0.5
    assert abs(inner.mean() - 0.25) < 0.01
    np.testing.assert_allclose(skills.mean(axis=0), 0.0, atol=0.02)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_grid_is_the_same_at_every_call(space: SkillSpace) -> None:
    num = space.dim if space.config.kind == "discrete" else 64
    np.testing.assert_array_equal(space.grid(num), space.grid(num))
    assert len(np.unique(space.grid(num), axis=0)) == num


@pytest.mark.parametrize("kind", ["disc", "box"])
def test_a_bundles_part_bounds_what_is_planned_over_and_not_what_is_drawn(kind: str) -> None:
    prior = SkillPriorConfig(kind=kind, dim=2)  # type: ignore[arg-type]
    whole, part = SkillSpace(prior), SkillSpace(prior, part=0.5)
    far = np.array([[9.0, 0.0], [0.0, -9.0]])
    np.testing.assert_allclose(part.clip(far), [[0.5, 0.0], [0.0, -0.5]])
    np.testing.assert_allclose(part.clip(far, 0.8), [[0.4, 0.0], [0.0, -0.4]])
    np.testing.assert_array_equal(part.grid(64), whole.grid(64))
    drawn = [space.sample(9, np.random.default_rng(0)) for space in (whole, part)]
    np.testing.assert_array_equal(*drawn)
