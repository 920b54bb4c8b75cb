"""Bad input to the command gets one sentence on stderr, exit code 2 and no traceback."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml

from bundles import write_bundle
from dads_ros.cli.findings import read_model
from dads_ros.cli.main import VERBS, main
from dads_ros.envs.model import RobotModel
from dads_ros.files import sha256, share_folder
from dads_ros.learning.config import TrainConfig
from dads_ros.process import SIGNALS
from legged import legged_spec

Refused = Callable[..., None]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run the command and check what it says: words that must be in the one sentence."""

    def check(*argv: str | Path, words: tuple[str, ...]) -> None:
        capsys.readouterr()
        assert _exit_code([str(argument) for argument in argv]) == 2
        lines = [
            line
            for line in capsys.readouterr().err.splitlines()
            if not line.startswith(("evaluating", "goal: step", "loading torch"))
        ]
        assert len(lines) == 1
        assert lines[0].startswith("dads-ros: error: ")
        assert [word for word in words if word not in lines[0]] == []

    return check


def test_no_verb_shows_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


def test_unknown_verb_is_refused(refused: Refused) -> None:
    refused("fly", words=("fly", "train", "--help"))


@pytest.mark.parametrize(("verb", "parameter"), [("simulate", "speed"), ("plan", "costs.goal")])
def test_help_of_a_node_lists_its_parameters(
    verb: str, parameter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code([verb, "--help"]) == 0
    assert f"  {parameter} (1.0)\n" in capsys.readouterr().out


def test_unknown_option_is_refused(refused: Refused) -> None:
    refused("evaluate", "ant", "--goal", words=("--goal", "--help"))


def test_doctor_judges_by_what_the_keyframe_says_where_the_mjcf_is(tmp_path: Path) -> None:
    robot, own = legged_spec(), tmp_path / "legged.xml"
    robot = dataclasses.replace(robot, mjcf=str(shutil.copy(robot.mjcf, own)))
    model = read_model(robot)
    assert model.robot == RobotModel(robot).spec and not model.unknown
    assert model.robot.command_high == pytest.approx((0.5, -0.3, 0.5, -0.3))
    own.unlink()
    model = read_model(robot)
    assert model.robot is robot and model.ranges is None and "legged.xml" in model.unknown


def test_doctor_refuses_what_it_cannot_listen_to(refused: Refused) -> None:
    refused("doctor", "--seconds", "0.5", words=("--seconds", "0.5", "1 to 300"))
    refused("doctor", "--robot", "no_such", words=("no_such", "ant"))
    refused("doctor", "--bundle", "no_such", words=("no_such", "ant"))


def test_missing_package_names_its_extra(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from dads_ros.cli.main import main; "
        "sys.exit(main(['train', '--config', 'ant']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[:-1] == ["loading torch"]
    assert "'torch'" in result.stderr
    assert "-e '.[train]'" in result.stderr


def test_process_exits_with_2_and_without_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dads_ros", "evaluate", "no_such_bundle"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("dads-ros: error: ")
    assert "no_such_bundle" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_trainer_without_the_training_packages_is_one_sentence() -> None:
    script = """
import sys
sys.modules["torch"] = None
from dads_ros.nodes.start import skill_trainer
sys.exit(skill_trainer())
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "'torch' is missing" in result.stderr and "-e '.[train]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_ctrl_c_while_the_program_is_imported_is_no_traceback(tmp_path: Path) -> None:
    script = """
import os, runpy, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "dads_ros.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which the shell may have ignored
sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = ["evaluate", "ant"]
runpy.run_module("dads_ros", run_name="__main__", alter_sys=True)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == -signal.SIGINT
    assert "Traceback" not in result.stderr


def test_evaluate_says_what_it_is_at(
    point_mass_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks, size = ["--task", "velocity", "stand"], ["--goals", "2", "--steps", "100"]
    assert _exit_code(["evaluate", str(point_mass_bundle), *tasks, *size]) == 0
    seen = capsys.readouterr()
    assert [line for line in seen.err.splitlines() if "step 100" in line] == [
        "velocity: step 100",
        "stand: step 100",
    ]
    assert "stand_drift_m" in seen.out


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["evaluate", "plot", "refit"])
def test_a_signal_at_any_moment_ends_a_command_at_once(
    verb: str, point_mass_bundle: Path, tmp_path: Path
) -> None:
    """With the exit code of the signal: nothing that it writes is ever half written."""
    more = {
        "evaluate": ["--goals", "20000"],
        "plot": ["--goals", "20000", "--out", str(tmp_path / "x")],
        "refit": ["--out", str(tmp_path / "refitted")],
    }
    # From when on the program runs, and not yet the interpreter's own start.
    script = (
        "import sys; from dads_ros import process; begin = process.begin\n"
        "def say(**is_node): begin(**is_node); print('begun', flush=True)\n"
        "process.begin = say; from dads_ros.cli.main import main; sys.exit(main())"
    )
    for number in SIGNALS:
        process = subprocess.Popen(
            [sys.executable, "-c", script, verb, str(point_mass_bundle), *more[verb]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            process.wait(np.random.default_rng().uniform(0.0, 5.0))  # any moment
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
            assert process.returncode == -number
        else:
            _, errors = process.communicate()
            assert process.returncode == 0
        assert "Traceback" not in errors
    for path in (tmp_path / "x").glob("*"):  # whole pictures, and what the next run removes
        is_whole = path.read_bytes().endswith(b"IEND\xaeB`\x82")
        assert is_whole if path.suffix == ".png" else path.name.startswith(".")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_disk_is_one_sentence_and_exit_code_two(
    unbuffered: str, point_mass_bundle: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "dads_ros", "plot", str(point_mass_bundle)]
    small = ["--goals", "2", "--skills", "4", "--steps", "2", "--out", str(tmp_path / "x")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, *small],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 2
    assert done.stderr.startswith("dads-ros: error: [Errno 28] No space left on device")
    assert len(done.stderr.splitlines()) == 1


class TestTrainingConfig:
    def test_missing_file(self, refused: Refused) -> None:
        refused("train", "--config", "no_such.yaml", words=("no_such.yaml", "point_mass"))

    def test_unknown_key_gets_the_nearest_name(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, num_iteration=3)
        refused(*_train(config, tmp_path), words=("'num_iteration'", "'num_iterations'"))

    def test_unknown_nested_key(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, sac={"learning_rat": 0.1})
        refused(*_train(config, tmp_path), words=("sac", "'learning_rat'", "'learning_rate'"))

    def test_value_out_of_range(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, sac={"discount": 1.5})
        refused(*_train(config, tmp_path), words=("'discount'", "1.5", "between 0.0 and 1.0"))

    def test_value_of_another_type(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, num_iterations="many")
        refused(*_train(config, tmp_path), words=("num_iterations", "'many'", "int"))

    def test_number_that_is_not_finite(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, sac={"learning_rate": float("nan")})
        refused(*_train(config, tmp_path), words=("'learning_rate'", "nan", "finite"))

    def test_text_that_is_not_yaml(self, refused: Refused, tmp_path: Path) -> None:
        path = tmp_path / "broken.yaml"
        path.write_text("robot: [ant", encoding="utf-8")
        refused(*_train(path, tmp_path), words=("broken.yaml", "YAML"))


class TestRobotFile:
    """Each robot file is the shipped one with a single mistake."""

    def test_mjcf_that_does_not_load(self, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "broken.xml").write_text("<mujoco><worldbody>", encoding="utf-8")
        config = _train_config(tmp_path, robot=_robot(tmp_path, mjcf="broken.xml"))
        refused(*_train(config, tmp_path), words=("broken.xml", "does not load"))

    def test_mjcf_that_is_missing(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, robot=_robot(tmp_path, mjcf="no_such.xml"))
        refused(*_train(config, tmp_path), words=("no_such.xml", "does not load"))
        assert not (tmp_path / "run").exists()

    def test_prediction_of_what_it_does_not_observe(
        self, refused: Refused, tmp_path: Path
    ) -> None:
        config = _train_config(tmp_path, prediction={"fields": ["x", "y", "height"]})
        refused(*_train(config, tmp_path), words=("height", "does not observe"))
        assert not (tmp_path / "run").exists()

    def test_body_that_the_model_lacks(self, refused: Refused, tmp_path: Path) -> None:
        robot = _robot(tmp_path, base="ant")
        _edit(Path(robot), base=_robot_values("ant")["base"] | {"body": "trunk"})
        config = _train_config(tmp_path, robot=robot)
        refused(*_train(config, tmp_path), words=("'trunk'", "it has torso"))

    def test_joint_that_the_model_lacks(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, robot=_robot(tmp_path, joints=["hip"]))
        refused(*_train(config, tmp_path), words=("'hip'", "slide_x"))

    def test_actuator_that_the_model_lacks(self, refused: Refused, tmp_path: Path) -> None:
        robot = _robot(tmp_path, actuators=["push_x", "push_z"])
        config = _train_config(tmp_path, robot=robot)
        refused(*_train(config, tmp_path), words=("push_z", "push_x, push_y"))

    def test_actuator_that_is_left_out(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, robot=_robot(tmp_path, actuators=["push_x"]))
        refused(*_train(config, tmp_path), words=("push_x, push_y",))

    def test_symmetry_that_the_model_does_not_have(self, refused: Refused, tmp_path: Path) -> None:
        symmetry = _robot_values("ant")["symmetry"]
        symmetry["joints"]["ankle_1"] = "ankle_2"  # the sign is wrong
        robot = _robot(tmp_path, base="ant", symmetry=symmetry)
        config = _train_config(tmp_path, robot=robot)
        refused(*_train(config, tmp_path), words=("'symmetry'", "ant", "does not hold"))

    def test_unknown_key(self, refused: Refused, tmp_path: Path) -> None:
        config = _train_config(tmp_path, robot=_robot(tmp_path, sim_step=0.1))
        refused(*_train(config, tmp_path), words=("'sim_step'",))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds a finished training run, ``run``, of a robot file named from there."""
    folder = tmp_path_factory.mktemp("trained")
    config = _train_config(folder, robot=Path(_robot(folder)).name)
    command = [sys.executable, "-m", "dads_ros", *_train(config, folder)]
    subprocess.run(command, capture_output=True, cwd=folder, check=True)
    return folder


class TestRun:
    def test_output_folder_that_cannot_be_written(self, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        command = _train(_train_config(tmp_path), tmp_path / "file")
        refused(*command, words=("file/run", "cannot be written", "choose another"))

    def test_resume_of_nothing(self, refused: Refused, tmp_path: Path) -> None:
        command = (*_train(_train_config(tmp_path), tmp_path), "--resume")
        refused(*command, words=("holds no training run", "--resume"))

    def test_without_config_and_without_a_run(self, refused: Refused, tmp_path: Path) -> None:
        refused("train", "--out", tmp_path / "run", words=("--config is missing", "ant"))
        refused("train", "--resume", words=("--config is missing", "ant"))

    def test_resume_takes_the_config_of_the_run_from_anywhere(
        self,
        run_folder: Path,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(["train", "--resume", "--out", str(run_folder / "run")]) == 0
        assert "1 of 1 iterations are done already" in capsys.readouterr().err

    def test_a_schedule_that_is_named_changes_in_a_run_that_goes_on(
        self, run_folder: Path, refused: Refused, tmp_path: Path
    ) -> None:
        shutil.copytree(run_folder, tmp_path / "copy")
        out = tmp_path / "copy" / "run"
        command = ("train", "--resume", "--out", str(out), "--iterations", "2", "--set")
        refused(
            *command,
            "reward.num_alt_skills=7",
            words=("num_alt_skills", "--set: reward.fall_cost"),
        )
        assert main([*command, "collect.push_mps=[0.0, 0.1]"]) == 0
        assert TrainConfig.from_yaml(out / "config.yaml").collect.push_mps == (0.0, 0.1)

    def test_resume_from_another_config(
        self, refused: Refused, run_folder: Path, tmp_path: Path
    ) -> None:
        config = _train_config(tmp_path, sac={"discount": 0.5})
        words = ("other settings", "sac.discount", "0.5")
        refused(*_train(config, run_folder), "--resume", words=words)

    def test_start_where_a_run_is(
        self, refused: Refused, run_folder: Path, tmp_path: Path
    ) -> None:
        command = _train(_train_config(tmp_path), run_folder)
        refused(*command, words=("already holds a run", "--resume"))

    def test_damaged_checkpoint(self, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "checkpoint.pt").write_bytes(b"no checkpoint")
        command = (*_train(_train_config(tmp_path), tmp_path), "--resume")
        refused(*command, words=("checkpoint.pt", "damaged"))

    def test_checkpoint_of_another_format(self, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        path, command = (
            tmp_path / "run" / "checkpoint.pt",
            _train(_train_config(tmp_path), tmp_path),
        )
        path.write_bytes(b"dads_ros checkpoint 99 ")
        refused(*command, "--resume", words=("format 99", "train again"))
        torch.save({"format_version": 3}, path)
        refused(*command, "--resume", words=("format 3 or older", "checksum", "train again"))

    def test_export_of_a_folder_that_is_no_run(self, refused: Refused, tmp_path: Path) -> None:
        out = tmp_path / "bundle"
        refused("export", tmp_path, "--out", out, words=("holds no training run", "checkpoint.pt"))
        assert not out.exists()


class TestBundle:
    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Path:
        return write_bundle(tmp_path / "bundle")

    def test_folder_without_manifest(self, refused: Refused, tmp_path: Path) -> None:
        refused("evaluate", tmp_path, words=("bundle.yaml", "is missing", "dads-ros export"))

    def test_a_run_that_has_a_bundle(self, refused: Refused, bundle: Path) -> None:
        refused("evaluate", bundle.parent, words=("bundle.yaml", "is missing", str(bundle)))

    @pytest.mark.parametrize("name", ["policy.onnx", "skill_dynamics.onnx"])
    def test_missing_file(self, name: str, refused: Refused, bundle: Path) -> None:
        (bundle / name).unlink()
        refused("evaluate", bundle, words=(str(bundle), f"lacks {name}"))

    @pytest.mark.parametrize("name", ["policy.onnx", "skill_dynamics.onnx"])
    def test_damaged_file(self, name: str, refused: Refused, bundle: Path) -> None:
        content = bytearray((bundle / name).read_bytes())
        content[len(content) // 2] ^= 1
        (bundle / name).write_bytes(content)
        refused("evaluate", bundle, words=(name, "SHA-256", "again"))

    def test_manifest_with_unknown_key(self, refused: Refused, bundle: Path) -> None:
        _edit(bundle / "bundle.yaml", skill_priors={})
        refused("evaluate", bundle, words=("damaged", "'skill_priors'", "'skill_prior'"))

    def test_another_schema(self, refused: Refused, bundle: Path) -> None:
        _edit(bundle / "bundle.yaml", schema_version=7)
        refused("evaluate", bundle, words=("schema 7", "export it again"))

    def test_another_robot(self, refused: Refused, bundle: Path) -> None:
        words = ("'point_mass'", "'ant'", "actuators")
        refused("evaluate", bundle, "--robot", "ant", words=words)

    def test_model_with_other_inputs(self, refused: Refused, bundle: Path) -> None:
        model = onnx.load(bundle / "policy.onnx")
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
        onnx.save(model, bundle / "policy.onnx")
        manifest = yaml.safe_load((bundle / "bundle.yaml").read_text("utf-8"))
        files = manifest["files"] | {"policy.onnx": sha256(bundle / "policy.onnx")}
        _edit(bundle / "bundle.yaml", files=files)
        refused("evaluate", bundle, words=("policy.onnx",))

    @pytest.mark.parametrize("option", ["--goals", "--steps", "--threads"])
    def test_evaluate_of_nothing(self, option: str, refused: Refused, bundle: Path) -> None:
        refused("evaluate", bundle, option, "0", words=(option, "0", "at least 1"))

    def test_planner_file_with_unknown_key(
        self, refused: Refused, bundle: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "planner.yaml"
        path.write_text("num_sample: 3\n", encoding="utf-8")
        words = ("'num_sample'", "'num_samples'")
        refused("evaluate", bundle, "--planner", path, words=words)


def _exit_code(argv: list[str]) -> int:
    try:
        return main(argv)
    except SystemExit as leaving:  # argparse
        return int(leaving.code or 0)


def _train(config: Path, folder: Path) -> tuple[str | Path, ...]:
    return "train", "--config", config, "--out", folder / "run", "--iterations", "1"


def _train_config(folder: Path, **changes: object) -> Path:
    """A training config that is done at once, but for one mistake."""
    values: dict[str, Any] = {
        "robot": "point_mass",
        "skill_dynamics": {"hidden": [8]},
        "sac": {"hidden": [8]},
        "collect": {"num_envs": 2, "steps_per_iteration": 20, "episode_steps": 20}
        | {"replay_capacity": 1000, "warmup_steps": 0},
    }
    for name, value in changes.items():
        values[name] = values.get(name, {}) | value if isinstance(value, dict) else value
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def _robot_values(name: str) -> dict[str, Any]:
    path = share_folder() / "config" / "robots" / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return values


def _robot(folder: Path, *, base: str = "point_mass", **changes: object) -> str:
    """Path of a robot file that differs from a shipped one."""
    values = _robot_values(base)
    if not values["mjcf"].startswith("package://"):
        values["mjcf"] = str(share_folder() / "config" / "robots" / values["mjcf"])
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
    return str(path)


def _edit(path: Path, **changes: object) -> None:
    values = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
