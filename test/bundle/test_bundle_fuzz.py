"""Whatever is in a bundle's files: it is refused in a sentence, or it is good."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dads_ros.bundle.manifest import MANIFEST_FILE, NETWORK_FILES, BundleManifest
from dads_ros.bundle.network import load_networks
from dads_ros.bundle.runtime import network_file
from dads_ros.errors import DadsError
from dads_ros.files import share_folder
from mutations import is_one_sentence, mutated

FOLDERS = [share_folder() / "models" / name for name in ("ant", "humanoid", "point_mass")]
FILES = [
    network_file(folder, BundleManifest.load(folder), name)
    for folder in FOLDERS
    for name in NETWORK_FILES
]


@given(st.data())
def test_a_network_that_is_taken_gives_finite_numbers(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from(FILES))
    file = original._replace(content=data.draw(mutated([original.content])))
    try:
        (network,) = load_networks([file])
    except DadsError as error:
        assert is_one_sentence(error)
        return
    for num in (1, 7, 300):
        output = network(*(np.full((num, size), 0.5) for size in file.inputs.values()))
        assert output.shape == (num, file.num_outputs) and np.isfinite(output).all()


@given(mutated([(folder / MANIFEST_FILE).read_bytes() for folder in FOLDERS]))
def test_a_manifest_that_is_taken_can_be_written_again(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(FOLDERS[0], temporary, dirs_exist_ok=True))
        (folder / MANIFEST_FILE).write_bytes(content)
        try:
            manifest = BundleManifest.load(folder)
        except DadsError as error:
            assert is_one_sentence(error)
            return
        manifest.save(folder)
        assert BundleManifest.load(folder) == manifest
