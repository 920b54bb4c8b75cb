"""The README's animation: what is driven in it, how large it is, and how it is made."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.colours import GOAL, PLAN
from dads_ros.envs.model import RobotModel
from dads_ros.robot import RobotSpec
from docs.animation import CLICK_S, FILMS, MAX_BYTES, MAX_S, PICTURES, Moment, box_map, drive

ROOT = Path(__file__).resolve().parent.parent
HAS_OPENGL = "from mujoco.egl import GLContext; GLContext(8, 8).make_current()"


def film(out: Path, seconds: float, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "docs/animation.py", "--out", str(out), "--seconds", str(seconds)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def shades(picture: Image.Image, rgb: tuple[float, float, float]) -> int:
    """Pixels of a colour, in whatever light."""
    pixels = np.asarray(picture.convert("RGB"), float)
    norms = np.linalg.norm(pixels, axis=-1) * np.linalg.norm(rgb)
    return int((pixels @ np.array(rgb) > 0.97 * np.maximum(norms, 30.0)).sum())


def moments_of(robot: str, seconds: float = MAX_S) -> list[Moment]:
    bundle = SkillBundle(ROOT / "models" / robot)
    return list(drive(FILMS[robot], bundle, RobotModel(bundle.robot), seconds))


@pytest.mark.parametrize("robot", FILMS)
def test_it_goes_to_each_goal_around_the_boxes(robot: str) -> None:
    shown, moments = FILMS[robot], moments_of(robot)
    goals = dict.fromkeys(tuple(moment.goal) for moment in moments)
    assert tuple(goals) == shown.goals
    last, spec = moments[-1], RobotSpec.load(robot)
    assert np.linalg.norm(last.trail[-1] - shown.goals[-1]) < 1.0
    if shown.boxes:
        assert box_map(shown.boxes).clearance(last.trail).min() > spec.radius_m
    if shown.headings:
        assert last.heading == shown.headings[-1]
        w, x, y, z = last.qpos[3:7]
        yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        assert abs(np.remainder(yaw - last.heading + np.pi, 2.0 * np.pi) - np.pi) < 0.5
    for moment, other in zip(moments_of(robot, 1.0), moments, strict=False):
        np.testing.assert_array_equal(moment.qpos, other.qpos)


@pytest.mark.parametrize("robot", FILMS)
def test_the_shipped_animations_are_short_and_small(robot: str) -> None:
    path = PICTURES / f"{robot}.webp"
    assert path.stat().st_size <= MAX_BYTES
    with Image.open(path) as pictures:
        assert pictures.is_animated
        seconds = 0.0
        for number in range(pictures.n_frames):
            pictures.seek(number)
            pictures.load()
            seconds += pictures.info["duration"] / 1000.0
    assert 8.0 < seconds < 20.0


def test_a_film_has_a_picture_for_each_control_step(tmp_path: Path) -> None:
    probe = [sys.executable, "-c", HAS_OPENGL]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no OpenGL without a display (EGL) here")
    made = film(tmp_path / "film.webp", 2 * CLICK_S)
    assert made.returncode == 0, made.stderr
    with Image.open(tmp_path / "film.webp") as pictures:
        assert pictures.n_frames == round(2 * CLICK_S / 0.05)
        first = pictures.copy()
        pictures.seek(pictures.n_frames - 1)
        last = pictures.copy()
    difference = np.abs(np.asarray(first, float) - np.asarray(last, float)).max(axis=-1)
    assert (difference > 60.0).mean() > 0.003  # legs move
    assert shades(first, GOAL) > 1.2 * shades(last, GOAL) > 500  # the wave of the click is gone
    assert shades(last, PLAN) > 50


def test_without_opengl_one_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    failed = film(tmp_path / "film.webp", 0.1, MUJOCO_EGL_DEVICE_ID="99")
    assert failed.returncode == 1
    assert "apt install libegl1" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
