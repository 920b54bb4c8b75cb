"""bundle.yaml: what a bundle must say, and what is refused."""

import dataclasses
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dads_ros.bundle.manifest import (
    DYNAMICS_FILE,
    MANIFEST_FILE,
    POLICY_FILE,
    BundleManifest,
)
from dads_ros.bundle.onnx_format import MAX_ONNX_BYTES
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.envs.model import RobotModel
from dads_ros.errors import BundleError, BundleMismatchError
from dads_ros.files import share_folder
from dads_ros.robot import RobotSpec, TopSpeedSpec
from legged import legged_spec


@pytest.fixture
def folder(point_mass_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(point_mass_bundle, tmp_path / "bundle"))


FILES = dict.fromkeys((POLICY_FILE, DYNAMICS_FILE), "0" * 64)


def replace_by(folder: Path, make: Callable[[Path], object]) -> None:
    (folder / POLICY_FILE).unlink()
    make(folder / POLICY_FILE)


def make_huge(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(MAX_ONNX_BYTES + 1)


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_manifest_survives_saving_and_loading(folder: Path) -> None:
    manifest = BundleManifest.load(folder)
    manifest.save(folder)
    assert BundleManifest.load(folder) == manifest
    assert manifest.robot == RobotSpec.load("point_mass")
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda f: (f / MANIFEST_FILE).unlink(), BundleError, "is not a skill bundle"),
        (lambda f: shutil.rmtree(f), BundleError, "is not a skill bundle"),
        (lambda f: (f / POLICY_FILE).unlink(), BundleError, f"lacks {POLICY_FILE}"),
        (lambda f: (f / DYNAMICS_FILE).unlink(), BundleError, f"lacks {DYNAMICS_FILE}"),
        (lambda f: (f / POLICY_FILE).open("ab").write(b"x"), BundleError, "SHA-256"),
        (lambda f: (f / MANIFEST_FILE).write_text("a: [1"), BundleError, "not valid YAML"),
        (lambda f: (f / MANIFEST_FILE).write_bytes(b"\xff\xfe\x00"), BundleError, "not valid"),
        (lambda f: (f / MANIFEST_FILE).write_text("- 1"), BundleMismatchError, "schema None"),
        (lambda f: edit(f, schema_version=2), BundleMismatchError, "has schema 2"),
        (lambda f: edit(f, robbot={}), BundleError, "'robbot'; did you mean 'robot'"),
        (lambda f: edit(f, prediction={"steps": 0}), BundleError, "steps"),
        (lambda f: edit(f, files={}), BundleError, "SHA-256"),
        (lambda f: edit(f, files=FILES | {"../../x" * 20: "0"}), BundleError, "names ['../"),
        (lambda f: edit(f, schema_version="x" * 999), BundleMismatchError, "schema no number"),
        (lambda f: edit(f, schema_version=10**30), BundleMismatchError, "schema no number"),
        (lambda f: edit(f, **{"x" * 150: 1}), BundleError, "unknown setting"),
        (lambda f: replace_by(f, os.mkdir), BundleError, "cannot be read"),
        (lambda f: replace_by(f, os.mkfifo), BundleError, "is no file"),
        (lambda f: replace_by(f, Path.touch), BundleError, "SHA-256"),
        (lambda f: replace_by(f, lambda p: p.symlink_to("/dev/zero")), BundleError, "is no file"),
        (lambda f: replace_by(f, lambda p: p.symlink_to(p)), BundleError, "cannot be read"),
        (lambda f: replace_by(f, make_huge), BundleError, "has more than 128 MB"),
    ],
)
def test_damage_is_refused_in_one_sentence(
    folder: Path, damage: Callable[[Path], object], error: type[BundleError], words: str
) -> None:
    damage(folder)
    with pytest.raises(error) as caught:
        BundleManifest.load(folder)
    text = str(caught.value)
    assert words in text and len(text) < 1000 and text.isprintable()


def test_a_long_or_odd_path_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path / ("x" * 300), tmp_path / ("x/" * 2000), Path("a\0b"), Path("/dev")):
        with pytest.raises(BundleError, match="not a skill bundle") as caught:
            BundleManifest.load(folder)
        assert len(str(caught.value)) < 1000


def test_a_folder_of_links_is_a_bundle(folder: Path, tmp_path: Path) -> None:
    """As 'colcon build --symlink-install' makes."""
    (tmp_path / "links").mkdir()
    for path in folder.iterdir():
        (tmp_path / "links" / path.name).symlink_to(path)
    assert BundleManifest.load(tmp_path / "links") == BundleManifest.load(folder)


def test_what_is_swapped_after_the_check_is_refused(folder: Path) -> None:
    manifest = BundleManifest.load(folder)
    content = manifest.read(folder, POLICY_FILE)
    (folder / POLICY_FILE).write_bytes(content + b"x")
    with pytest.raises(BundleError, match="SHA-256"):
        manifest.read(folder, POLICY_FILE)


def test_a_bundle_for_another_robot_is_refused_with_the_difference(folder: Path) -> None:
    manifest = BundleManifest.load(folder)
    manifest.check_robot(RobotSpec.load("point_mass"))
    moved = dataclasses.replace(manifest.robot, mjcf="elsewhere/point_mass.xml")
    manifest.check_robot(moved)
    top = TopSpeedSpec(forward_mps=2.0, backward_mps=2.0, sideways_mps=2.0, turn_radps=2.0)
    wider = dataclasses.replace(manifest.robot, radius_m=0.7, command_unit="newton", top_speed=top)
    manifest.check_robot(wider)
    assert SkillBundle(folder, wider).robot.radius_m == 0.7
    ends = dataclasses.replace(manifest.robot.fallen, ends_episode=True)
    manifest.check_robot(dataclasses.replace(manifest.robot, fallen=ends))
    low = dataclasses.replace(manifest.robot.fallen, min_height_m=0.2)
    with pytest.raises(BundleMismatchError, match="fallen"):
        manifest.check_robot(dataclasses.replace(manifest.robot, fallen=low))
    faster = dataclasses.replace(manifest.robot, num_substeps=1)
    with pytest.raises(BundleMismatchError, match="control_dt"):
        manifest.check_robot(faster)
    with pytest.raises(BundleMismatchError, match="'point_mass', not 'ant'"):
        manifest.check_robot(RobotSpec.load("ant"))


def test_what_the_mjcf_does_not_say_must_be_the_same_without_it_too() -> None:
    """Limits around a keyframe are not known without it; all that was set by hand is."""
    robot = RobotModel(legged_spec()).spec
    manifest = BundleManifest(robot=robot, files={}, training_config={}, versions={})
    manifest.check_robot(legged_spec())
    manifest.check_robot(legged_spec(safe_mode="damp"))
    for key, changes in {
        "safe_command": {"safe_command": [0.3, -0.4, 0.3, -0.4]},
        "standing_command": {"standing_command": None},
        "command_low": {"command_scale": None, "command_low": [-2.0]},
    }.items():
        with pytest.raises(BundleMismatchError, match=key):
            manifest.check_robot(legged_spec(**changes))


def test_shipped_bundles_name_the_commit_of_unchanged_code() -> None:
    for folder in (share_folder() / "models").iterdir():
        commit = BundleManifest.load(folder).commit
        assert re.fullmatch("[0-9a-f]{40}", commit), f"{folder.name}: {commit}"
