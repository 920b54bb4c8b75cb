import numpy as np
import pytest
import torch

from dads_ros.errors import ConfigError
from dads_ros.learning.replay_buffer import Chunk, ReplayBuffer
from dads_ros.prediction import PredictionSpec

K = 3
CPU, NO_COLUMNS = torch.device("cpu"), np.zeros(0, int)


def chunk(start: int, rows: int, hold: int, *, yaw: float = 0.0, end: int | None = None) -> Chunk:
    """One robot moving 1 m a row; skill i is held for ``hold`` rows; reset at row ``end``."""
    t = np.arange(start, start + rows)
    pose = np.stack([t, np.zeros(rows), np.full(rows, yaw)], axis=1).astype(np.float32)
    left = (hold - t % hold).astype(np.int32)
    terminated = np.zeros((rows, 1), bool)
    if end is not None:
        left[t == end] = 0
        terminated[t == end - 1] = True
    return Chunk(
        policy_obs=t.astype(np.float32)[:, None, None],
        action=np.zeros((rows, 1, 1), np.float32),
        log_prob=np.zeros((rows, 1), np.float32),
        skill=(t // hold).astype(np.float32)[:, None, None],
        pose=pose[:, None],
        skill_age=(t % hold).astype(np.int32)[:, None],
        skill_left=left[:, None],
        terminated=terminated,
        exceeded=np.zeros((rows, 1, 0), np.float32),
    )


def make(capacity: int, rows: int, hold: int, **kwargs: object) -> ReplayBuffer:
    first = chunk(0, 1, hold)
    buffer = ReplayBuffer(capacity, first, PredictionSpec(steps=K), CPU, NO_COLUMNS)
    buffer.add(chunk(0, rows, hold, **kwargs))  # type: ignore[arg-type]
    return buffer


def test_displacement_spans_k_steps_under_the_skill_of_the_transition() -> None:
    buffer = make(100, 60, 5)
    sample = buffer.sample(500, torch.Generator().manual_seed(0))
    assert torch.equal(sample.delta, torch.tensor([[3.0, 0.0]]).expand(500, 2))
    assert torch.equal(sample.next_policy_obs, sample.policy_obs + 1)
    assert torch.equal(sample.skill, (sample.policy_obs / 5).floor())
    assert set((sample.policy_obs % 5).flatten().tolist()) == {0, 1, 2, 3, 4}


def test_skills_held_for_less_than_k_steps_are_not_sampled() -> None:
    with pytest.raises(ConfigError, match="held for a whole prediction"):
        make(100, 60, 2).sample(10, torch.Generator().manual_seed(0))


def test_the_few_that_were_held_long_enough_are_found() -> None:
    """2 of 100 rows, all of which are drawn about equally often."""
    buffer = make(1000, 700, 2)
    buffer.add(chunk(700, 7, 7))
    buffer.add(chunk(707, 10, 2))
    row = buffer.sample(700, torch.Generator().manual_seed(0)).policy_obs.flatten()
    assert row.unique().tolist() == [*range(700, 707)]
    assert row.long().bincount()[700:].min() > 60


def test_a_skill_that_a_fall_ended_too_soon_is_sampled_only_if_that_is_wanted() -> None:
    made = chunk(0, 60, 5, end=17)  # the skill of rows 15 to 19 ends after two rows
    buffer = ReplayBuffer(100, chunk(0, 1, 5), PredictionSpec(steps=K), CPU, NO_COLUMNS)
    buffer.add(made)
    plain = buffer.sample(2000, torch.Generator().manual_seed(0))
    assert plain.is_whole.all() and not {15.0, 16.0} & set(plain.policy_obs.flatten().tolist())
    sample = buffer.sample(2000, torch.Generator().manual_seed(0), with_early_falls=True)
    row = sample.policy_obs.flatten()
    early = (row == 15) | (row == 16)
    assert 0.01 < early.float().mean() < 0.1
    assert torch.equal(~sample.is_whole, early)
    assert torch.equal(sample.terminated, row == 16)
    assert (sample.delta[early] == 0.0).all() and (sample.delta[~early, 0] == 3.0).all()
    assert torch.equal(sample.start_obs[early], sample.policy_obs[early])


def test_where_the_newest_skills_were_too_short_older_ones_are_sampled() -> None:
    buffer = make(100, 60, 5)
    buffer.add(chunk(60, 20, 2))
    sample = buffer.sample(100, torch.Generator().manual_seed(0), 0.2)
    assert sample.policy_obs.max() < 60
    buffer.add(chunk(80, 20, 5))
    assert buffer.sample(100, torch.Generator().manual_seed(0), 0.2).policy_obs.min() >= 80


def test_the_ring_forgets_the_oldest_rows_and_never_mixes_old_with_new() -> None:
    buffer = make(20, 20, 5)
    for start in range(20, 90, 10):
        buffer.add(chunk(start, 10, 5))
        sample = buffer.sample(200, torch.Generator().manual_seed(start))
        assert sample.policy_obs.min() >= start + 10 - 20
        assert torch.equal(sample.delta, torch.tensor([[3.0, 0.0]]).expand(200, 2))


@pytest.mark.parametrize(("spare_rows", "is_on_policy"), [(2, True), (12, False)])
def test_a_capacity_of_one_iteration_is_on_policy(spare_rows: int, is_on_policy: bool) -> None:
    rows, spec = 12, PredictionSpec(steps=1)
    buffer = ReplayBuffer(rows + spare_rows, chunk(0, 1, 6), spec, CPU, NO_COLUMNS)
    for start in (0, rows, 2 * rows):
        buffer.add(chunk(start, rows, 6))
    oldest = buffer.sample(2000, torch.Generator().manual_seed(0)).policy_obs.min()
    assert bool(oldest >= 2 * rows) is is_on_policy


def test_a_fall_shortens_the_skill_that_it_ended_and_resets_are_not_sampled() -> None:
    buffer = make(100, 30, 10, end=17)
    sample = buffer.sample(2000, torch.Generator().manual_seed(0))
    rows = set(sample.policy_obs.flatten().int().tolist())
    assert {10, 11, 12, 13, 14, 15, 16} <= rows
    assert 17 not in rows
    at_end = sample.policy_obs.flatten() == 16
    assert sample.terminated[at_end].all()
    assert not sample.terminated[~at_end].any()
    assert torch.equal(sample.delta[at_end], torch.tensor([[3.0, 0.0]]).expand(at_end.sum(), 2))


def test_heading_frame_turns_the_displacement_back_by_the_yaw_at_its_start() -> None:
    spec = PredictionSpec(fields=("x", "y", "yaw"), frame="heading", steps=K)
    buffer = ReplayBuffer(100, chunk(0, 1, 5), spec, CPU, NO_COLUMNS)
    buffer.add(chunk(0, 60, 5, yaw=np.pi / 2))
    delta = buffer.sample(50, torch.Generator().manual_seed(0)).delta
    assert torch.allclose(delta, torch.tensor([[0.0, -3.0, 0.0]]).expand(50, 3), atol=1e-5)


def test_places_are_counted_from_where_the_skill_was_drawn() -> None:
    spec = PredictionSpec(fields=("x", "y", "yaw"), frame="heading", steps=K)
    buffer = ReplayBuffer(20, chunk(0, 1, 10), spec, CPU, NO_COLUMNS, with_places=True)
    for start in (0, 11):
        buffer.add(chunk(start, 11, 10, yaw=np.pi / 2))
    sample = buffer.sample(300, torch.Generator().manual_seed(0))
    age = sample.policy_obs % 10
    assert set(age.flatten().tolist()) == set(range(9))
    assert sample.policy_obs.min() == 10, "rows 2 to 9 are held, but row 0 is not"
    for place, moved in ((sample.place, age), (sample.next_place, age + 1.0)):
        assert torch.allclose(place, -moved * torch.tensor([0.0, 1.0, 0.0]), atol=1e-5)


def test_predicted_observations_change_over_the_same_steps() -> None:
    spec = PredictionSpec(fields=("x", "y", "height"), steps=K)
    buffer = ReplayBuffer(100, chunk(0, 1, 5), spec, CPU, np.array([0]))
    buffer.add(chunk(0, 60, 5))  # the observation is the number of the row
    sample = buffer.sample(50, torch.Generator().manual_seed(0))
    assert torch.equal(sample.delta, torch.tensor([[3.0, 0.0, 3.0]]).expand(50, 3))
    start = sample.policy_obs - sample.start_obs
    assert start.min() == 0.0
    assert start.max() == K - 1


def test_a_fraction_of_the_robots_is_the_first_ones() -> None:
    made = chunk(0, 60, 5)
    both = Chunk(*(np.repeat(array, 4, axis=1) for array in made))
    both.pose[:] *= np.arange(1, 5)[:, None]
    buffer = ReplayBuffer(
        100, Chunk(*(a[:1] for a in both)), PredictionSpec(steps=K), CPU, NO_COLUMNS
    )
    buffer.add(both)
    seen = {
        fraction: buffer.sample(400, torch.Generator().manual_seed(0), robot_fraction=fraction)
        for fraction in (1.0, 0.5, 0.01)
    }
    kinds = {k: set((s.delta[:, 0] / K).round().int().tolist()) for k, s in seen.items()}
    assert kinds == {1.0: {1, 2, 3, 4}, 0.5: {1, 2}, 0.01: {1}}


def test_restored_buffer_samples_the_same() -> None:
    buffer = make(25, 60, 5)
    again = ReplayBuffer(25, chunk(0, 1, 5), PredictionSpec(steps=K), CPU, NO_COLUMNS)
    again.restore(buffer.checkpoint())
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    for mine, theirs in zip(
        buffer.sample(64, generators[0]), again.sample(64, generators[1]), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_diverged_step_is_not_sampled_and_no_displacement_reaches_beyond_it() -> None:
    made = chunk(0, 30, 10, end=17)
    made.skill_left[16] = 0  # the collector's mark of a physics that diverged
    made.pose[17:], made.policy_obs[17] = np.nan, np.nan
    buffer = ReplayBuffer(100, chunk(0, 1, 10), PredictionSpec(steps=K), CPU, NO_COLUMNS)
    buffer.add(made)
    buffer.add(chunk(30, 1, 10))  # row 16 is not the newest that could be drawn
    sample = buffer.sample(2000, torch.Generator().manual_seed(0), newest_fraction=1.0)
    held = sample.policy_obs.flatten() < 17
    rows = set(sample.policy_obs[held].flatten().int().tolist())
    assert {10, 11, 12, 13, 14, 15} <= rows
    assert 16 not in rows
    assert torch.equal(sample.delta[held], torch.tensor([[3.0, 0.0]]).expand(int(held.sum()), 2))
    assert not sample.terminated[held].any()
    assert sample.next_policy_obs[held].isfinite().all()
