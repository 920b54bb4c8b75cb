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
from docs.animation import CLICK_S, GOALS, MAX_BYTES, MAX_S, OUT, box_map, drive

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


def test_the_ant_goes_around_the_boxes_to_each_goal() -> None:
    bundle = SkillBundle(ROOT / "models" / "ant")
    moments = list(drive(bundle, RobotModel(bundle.robot), MAX_S))
    goals = dict.fromkeys(tuple(moment.goal) for moment in moments)
    assert tuple(goals) == GOALS
    assert np.linalg.norm(moments[-1].trail[-1] - GOALS[-1]) < 1.0
    assert box_map().clearance(moments[-1].trail).min() > bundle.robot.radius_m
    again = drive(bundle, RobotModel(bundle.robot), 1.0)
    for moment, other in zip(again, moments, strict=False):
        np.testing.assert_array_equal(moment.qpos, other.qpos)


def test_the_shipped_animation_is_short_and_small() -> None:
    assert OUT.stat().st_size <= MAX_BYTES
    with Image.open(OUT) as pictures:
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
