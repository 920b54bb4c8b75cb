"""Whatever is in an MJCF file: it is refused in a sentence, or it can be simulated."""

import tempfile
from pathlib import Path

import mujoco
from hypothesis import given, settings

from dads_ros.envs.model import load_mjcf, mjcf_path
from dads_ros.errors import DadsError
from dads_ros.robot import RobotSpec
from mutations import is_one_sentence, mutated

ORIGINALS = [mjcf_path(RobotSpec.load(name)).read_bytes() for name in ("ant", "point_mass")]
NUM_EXAMPLES = max(settings.default.max_examples // 5, 1)
"""Each one starts a process."""


@settings(max_examples=NUM_EXAMPLES)
@given(mutated(ORIGINALS))
def test_a_model_that_is_taken_can_be_simulated(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "robot.xml"
        path.write_bytes(content)
        try:
            model = load_mjcf(path)
        except DadsError as error:
            assert is_one_sentence(error)
            return
    mujoco.mj_step(model, mujoco.MjData(model))
