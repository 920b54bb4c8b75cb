"""docs/bring_your_robot.md: an MJCF and a robot file of somebody else, no Python."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.cli.main import main
from dads_ros.config import read_yaml
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.files import share_folder
from dads_ros.learning import refit
from dads_ros.nodes.settings import SkillPlannerConfig
from dads_ros.robot import RobotSpec

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROBOT_FILE = DOCS / "bring_your_robot" / "quadruped.yaml"


def test_the_quadruped_stands_on_its_standing_command() -> None:
    spec = RobotSpec.load(str(ROBOT_FILE))
    env = VectorEnv(RobotModel(spec), 16, rng=np.random.default_rng(0), episode_steps=1000)
    for _ in range(60):
        env.step(np.tile(spec.standing_command, (16, 1)))
    assert env.state.up_z().min() > 0.99
    assert np.abs(env.state.joint_velocities).max() < 0.1
    assert not env.state.has_fallen(spec).any()


def test_it_trains_and_drives_from_its_robot_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "NUM_PERIODS", 40)
    values = read_yaml(share_folder() / "config" / "train" / "ant.yaml")
    values["collect"] |= {"num_envs": 32, "warmup_steps": 1000, "replay_capacity": 20000}
    values["sac"] |= {"gradient_steps": 8, "compile": False}
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(values | {"evaluate_every": 20}))
    out = tmp_path / "run"
    train = ["train", "--config", str(config), "--robot", str(ROBOT_FILE), "--iterations", "20"]
    assert main([*train, "--out", str(out)]) == 0
    assert BundleManifest.load(out / "bundle").prediction.momentum
    capsys.readouterr()
    assert main(["evaluate", str(out / "bundle"), "--goals", "4", "--steps", "30", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["robot"] == "quadruped"
    assert report["mean_displacement_m"] > 0.0


def test_what_the_page_shows_is_in_the_robot_file() -> None:
    page = (DOCS / "bring_your_robot.md").read_text()
    robot = read_yaml(ROBOT_FILE)
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        values = yaml.safe_load(block.replace(", ...", ""))
        if (parameters := values.get("/**")) is not None:
            given = parameters["ros__parameters"]
            assert given.pop("use_sim_time") is False
            SkillPlannerConfig.from_dict(given)  # raises where one is none of them
            continue
        for key, shown in values.items():
            given = robot[key]
            if isinstance(shown, list):
                assert shown == given[: len(shown)]
            elif isinstance(shown, dict):
                for name, value in shown.items():
                    part = value.items() <= given[name].items() if isinstance(value, dict) else 0
                    assert part or value == given[name], (key, name)
            else:
                assert shown == given
