"""The rivals of DADS: rewards by hand, what is learned with them, what does not go with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm
from torch import nn

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import read_yaml
from dads_ros.errors import ConfigError
from dads_ros.files import share_folder
from dads_ros.learning import refit
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.export import export_bundle
from dads_ros.learning.objectives import SLACK, Diayn, Metra, Objective
from dads_ros.learning.replay_buffer import Transition
from dads_ros.learning.trainer import Trainer
from dads_ros.robot import RobotSpec

POINT_MASS = RobotSpec.load("point_mass")


def config_of(objective: str, kind: str, dim: int, **settings: object) -> TrainConfig:
    """The point mass with few robots."""
    values = read_yaml(share_folder() / "config" / "train" / "point_mass.yaml")
    values["collect"] |= {"num_envs": 16, "warmup_steps": 512, "replay_capacity": 4000}
    values |= {"skill_prior": {"kind": kind, "dim": dim}, "reward": {"objective": objective}}
    for name, part in settings.items():
        is_part = isinstance(part, dict)
        values[name] = values.get(name, {}) | part if is_part else part
    return TrainConfig.from_dict(values)


def steps(skill: torch.Tensor, place: torch.Tensor, next_place: torch.Tensor) -> Transition:
    """Of places (B, 2) under skills (B, D); the robot is at rest."""
    num, none = len(skill), torch.zeros(len(skill))
    obs = torch.zeros(num, 2)
    place, next_place = (nn.functional.pad(each, (0, 1)) for each in (place, next_place))
    return Transition(
        obs, obs, none, obs, skill, obs, obs, none > 0, obs, none == 0, place, next_place
    )


def always(objective: Objective, outputs: list[float]) -> None:
    """Let the network give the same for every state."""
    with torch.no_grad():
        objective.net[-1].weight.zero_()
        objective.net[-1].bias.copy_(torch.tensor(outputs))


def test_of_discrete_skills_diayns_reward_is_that_of_a_categorical_discriminator() -> None:
    diayn = Diayn(config_of("diayn", "discrete", 3), POINT_MASS)
    always(diayn, [0.4, 1.0, -0.5, 0.0, 0.0, 0.0])
    reward = diayn.reward(steps(torch.eye(3), torch.zeros(3, 2), torch.ones(3, 2)), torch.eye(3))
    weights = np.exp([0.4, 1.0, -0.5])
    expected = np.log(weights / weights.sum()) - np.log(1.0 / 3.0)
    np.testing.assert_allclose(reward.detach().numpy(), expected, atol=1e-5)


def test_of_a_continuous_prior_it_is_that_of_a_gaussian_cut_to_where_the_prior_is() -> None:
    diayn = Diayn(config_of("diayn", "box", 1), POINT_MASS)
    precision = 6.0
    always(diayn, [0.5 * precision, float(np.log(np.expm1(precision)))])  # of mean 0.5
    skill = torch.tensor([[-0.6], [0.3], [1.0]])
    others = torch.linspace(-1.0, 1.0, 4001)[:, None]
    reward = diayn.reward(steps(skill, torch.zeros(3, 2), torch.ones(3, 2)), others)
    std = precision**-0.5
    q = truncnorm((-1.0 - 0.5) / std, (1.0 - 0.5) / std, loc=0.5, scale=std)
    expected = q.logpdf(skill[:, 0].numpy()) - np.log(0.5)
    np.testing.assert_allclose(reward.detach().numpy(), expected, atol=2e-3)


def test_diayn_sees_the_state_after_the_step_and_metra_the_way_there() -> None:
    start, end = torch.tensor([[1.0, -2.0]]), torch.tensor([[1.3, -2.4]])
    for kind, skill, expected in (
        ("disc", [0.5, 0.0], 0.3),  # only the direction counts
        ("disc", [0.0, -0.1], 0.4),
        ("disc", [0.0, 0.0], 0.0),
        ("discrete", [1.0, 0.0], 0.3 + 0.4),  # 1 for it, -1 for the other one
    ):
        metra = Metra(config_of("metra", kind, 2), POINT_MASS)
        metra.net = nn.Sequential(nn.Identity())
        reward = metra.reward(steps(torch.tensor([skill]), start, end), torch.eye(2))
        assert reward.item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    diayn = Diayn(config_of("diayn", "discrete", 2), POINT_MASS)
    seen = [
        diayn.reward(steps(torch.eye(2), a.expand(2, 2), b.expand(2, 2)), torch.eye(2)).tolist()
        for a, b in ((start, end), (end, end), (end, start))
    ]
    assert seen[0] == seen[1] != seen[2]


def test_phi_stretches_until_neighbouring_states_are_1_apart_and_no_further() -> None:
    torch.manual_seed(0)
    metra = Metra(config_of("metra", "disc", 2), POINT_MASS)
    optimizer = torch.optim.Adam(metra.parameters(), lr=5e-3)
    for index in range(400):
        skill = nn.functional.normalize(torch.randn(256, 2), dim=1)
        start = torch.randn(256, 2)
        batch = steps(skill, start, start + 0.1 * skill)
        loss = metra.loss(batch, skill)
        optimizer.zero_grad()
        loss.backward()
        room = 1.0 - metra.step(batch).square().sum(1)
        if index == 0:  # kept with room to spare: the weight of the constraint falls
            assert room.min() > 0.5 and metra.log_lambda.grad.item() == pytest.approx(SLACK)
        optimizer.step()
    assert room.abs().mean() < 0.1
    assert metra.reward(batch, skill).mean() > 0.9


@pytest.mark.parametrize(
    ("objective", "kind", "dim"), [("diayn", "discrete", 6), ("metra", "disc", 2)]
)
def test_skills_are_learned_that_can_be_told_apart(
    tmp_path: Path, objective: str, kind: str, dim: int
) -> None:
    trainer = Trainer(config_of(objective, kind, dim, num_iterations=70), tmp_path)
    lines = [metrics.to_dict() for metrics in trainer.iterations()]
    assert 0.2 < lines[-1]["reward_cap_share"] < 1.0
    skills, num = trainer.agent.learned_skills(), dim if kind == "discrete" else 48
    moved = skills.delta(trainer.agent.skill_space.grid(num))
    found = trainer.selection.evaluate(skills, num_skills=num)
    ends = found.displacement
    assert np.linalg.norm(ends, axis=1).mean() > 5.0
    for axis in (0, 1):
        assert np.ptp(ends[:, axis]) > 10.0
        assert np.corrcoef(moved[:, axis], ends[:, axis])[0, 1] > 0.6, "q is learned beside it"


def test_a_bundle_of_a_rivals_skills_is_exported_and_refitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "NUM_PERIODS", 20)
    monkeypatch.setattr(refit, "EPOCHS", 4)
    q = {"refit": True}
    config = config_of("metra", "disc", 2, num_iterations=4, skill_dynamics=q)
    trainer = Trainer(config, tmp_path / "run")
    for _ in trainer.iterations():
        pass
    export_bundle(trainer, tmp_path / "bundle")
    manifest = SkillBundle(tmp_path / "bundle").manifest
    assert manifest.prediction.momentum
    assert manifest.training_config["reward"]["objective"] == "metra"


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("symmetry", "yaw", True),
        ("skill_dynamics", "linear", True),
        ("skill_dynamics", "stretch", 1.2),
        ("skill_dynamics", "warm_start_steps", 9),
    ],
)
def test_what_only_dads_has_is_refused(part: str, name: str, value: object) -> None:
    with pytest.raises(
        ConfigError, match=rf"objective: diayn' needs '{part}\.{name}: .* is {value}"
    ):
        config_of("diayn", "disc", 2, **{part: {name: value}})


def test_a_relabelled_body_is_the_same_state_to_a_reward_that_sees_its_place_alone() -> None:
    for fields in (["x", "y"], ["x", "height"]):
        config_of("diayn", "disc", 2, symmetry={"body": True}, reward={"state_fields": fields})
    with pytest.raises(ConfigError, match=r"needs 'symmetry\.body: .*: its reward is another"):
        config_of(
            "diayn", "disc", 2, symmetry={"body": True}, reward={"state_fields": ["x", "yaw"]}
        )


def test_a_state_has_fields_that_the_robot_observes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"what DADS sees is 'prediction\.fields'"):
        config_of("dads", "disc", 2, reward={"state_fields": ["x"]})
    with pytest.raises(ConfigError, match="expected one field at least"):
        config_of("metra", "disc", 2, reward={"state_fields": []})
    with pytest.raises(ConfigError, match="has yaw, which jumps"):
        config_of("metra", "disc", 2, reward={"state_fields": ["x", "yaw"]})
    with pytest.raises(ConfigError, match=r"holds 100 steps of a robot, .* more than .*\(100\)"):
        config_of("diayn", "disc", 2, collect={"replay_capacity": 1600})
    config = config_of("metra", "disc", 2, reward={"state_fields": ["x", "height"]})
    with pytest.raises(ConfigError, match=r"has height, which .* it may have x, y, yaw, linear"):
        Trainer(config, tmp_path)
