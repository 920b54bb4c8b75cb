"""check_onnx: what a network's file may hold, and what is refused before onnxruntime sees it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from dads_ros.bundle.manifest import NETWORK_FILES, POLICY_FILE, BundleManifest
from dads_ros.bundle.onnx_format import MAX_FIELDS, MAX_NODES, check_onnx
from dads_ros.bundle.runtime import network_file
from dads_ros.errors import BundleError
from dads_ros.files import share_folder

SHIPPED = sorted((share_folder() / "models").iterdir())


@pytest.fixture
def model(point_mass_bundle: Path) -> ModelProto:
    """A policy that a test may change."""
    return onnx.load(point_mass_bundle / POLICY_FILE)


def check(content: bytes) -> None:
    check_onnx(content, POLICY_FILE, {"policy_obs": 3, "skill": 2}, "command", 2)


def refused(content: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        check(content)
    text = str(caught.value)
    assert len(text) < 1000 and text.isprintable()
    return text


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_what_is_shipped_is_allowed(folder: Path) -> None:
    manifest = BundleManifest.load(folder)
    for name in NETWORK_FILES:
        check_onnx(**network_file(folder, manifest, name)._asdict())


def test_a_sound_file_is_allowed(model: ModelProto) -> None:
    check(model.SerializeToString())


def loop(model: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", [], ["x"], body=body))


def subgraph(model: ModelProto) -> None:
    graph = helper.make_graph([], "hidden", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", graph))


def function(model: ModelProto) -> None:
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("mine", "F", [], [], [], opset))


def external(model: ModelProto) -> None:
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../etc/passwd")


def unpacked(model: ModelProto) -> None:
    tensor = helper.make_tensor("more", TensorProto.FLOAT, [1], [1.0])  # not as raw bytes
    model.graph.initializer.append(tensor)


def too_large(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def not_finite(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1.0, np.nan]), "more"))


def grown(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Pad", ["push", "skill"], ["more"]))


def many(model: ModelProto) -> None:
    model.graph.node.extend([helper.make_node("Relu", ["push"], ["more"])] * MAX_NODES)


def overridden(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float32), "skill"))


def shape(model: ModelProto, place: str, *sizes: int | str) -> None:
    value = getattr(model.graph, place)[0]
    value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, sizes))


def element(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def sequence(model: ModelProto) -> None:
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (loop, "attribute field 6"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "operator 'Loop'"),
        (lambda m: setattr(m.graph.node[0], "op_type", "x" * 10**5), "operator 'xxx"),
        (lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"), "'com.microsoft.MatMul'"),
        (subgraph, "attribute field 6"),
        (function, "model field 25"),
        (external, "tensor field 1"),
        (unpacked, "tensor field 4"),
        (too_large, "has 24 bytes"),
        (not_finite, "'more' is not finite"),
        (grown, "size is not fixed"),
        (many, f"expected 1 to {MAX_NODES}"),
        (lambda m: m.graph.ClearField("node"), "it has 0 nodes"),
        (lambda m: m.ClearField("graph"), "it has no graph"),
        (lambda m: setattr(m, "ir_version", 3), "IR version is 3"),
        (lambda m: setattr(m.opset_import[0], "version", 7), "('', 7)"),
        (lambda m: m.opset_import.append(helper.make_opsetid("mine", 1)), "('mine', 1)"),
        (lambda m: m.ClearField("opset_import"), "operators are of []"),
        (overridden, "inputs of sizes"),
        (lambda m: shape(m, "input"), "'policy_obs': 'of shape []'"),
        (lambda m: shape(m, "input", "B", 4), "'policy_obs': 4"),
        (lambda m: shape(m, "input", 1, 3), "'policy_obs': 'of shape [1, 3]'"),
        (lambda m: shape(m, "output", "B"), "'command': 'of shape [None]'"),
        (element, "'policy_obs': 'of type 11"),
        (sequence, "type field 4"),
        (lambda m: m.graph.input.append(m.graph.input[0]), "inputs of sizes"),
        (lambda m: setattr(m.graph.output[0], "name", "delta"), "{'delta': 2}; expected {'com"),
        (lambda m: m.graph.output.append(m.graph.output[0]), "outputs of sizes"),
    ],
)
def test_what_our_exporter_never_writes_is_refused(
    model: ModelProto, change: Callable[[ModelProto], object], words: str
) -> None:
    change(model)
    assert words in refused(model.SerializeToString())


def test_every_cut_of_a_file_is_refused(model: ModelProto) -> None:
    content = model.SerializeToString()
    for end in range(len(content)):
        refused(content[:end])


def field(number: int, wire: int, content: bytes = b"") -> bytes:
    assert number < 16
    return bytes([number << 3 | wire]) + content


def nested(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph in an attribute ..."""
    content = b""
    for number in [*(depth * [6, 5, 1]), 7]:
        size, head = len(content), b""
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        content = field(number, 2, head + bytes([size]) + content)
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "IR version is None"),
        (b"no model", "is not allowed"),
        (bytes(1000), "model field 0"),
        (b"\xff" * 1000, "more than 10 bytes"),
        (field(1, 0, b"\xff" * 9 + b"\x7f"), "more than 64 bits"),
        (field(1, 0, b"\x08") * 2, "'ir_version' stands there twice"),
        (field(7, 3) * 1000, "wire type 3"),
        (field(7, 2, b"\xff" * 8 + b"\x01"), "ends within"),
        (field(7, 0, b"\x01"), "model field 'graph' has wire type 0"),
        (field(2, 2, b"\x01\xff"), "not UTF-8"),
        (field(8, 2, b"\x00") * (2 * MAX_FIELDS), f"more than {MAX_FIELDS} fields"),
        (field(7, 2, b"\x01"), "ends within"),
        (nested(20), "attribute field 6"),
        (nested(3000), "attribute field 6"),
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes, words: str) -> None:
    assert words in refused(content)


def test_numbers_may_be_packed_or_not(model: ModelProto) -> None:
    """Both are protobuf for the same; the sizes of a constant here."""
    content = model.graph.initializer[0].SerializeToString()
    assert content.startswith(b"\x08\x03\x08\x02")
    packed = b"\x0a\x02\x03\x02" + content[4:]
    assert TensorProto.FromString(packed) == model.graph.initializer[0]
    whole = model.SerializeToString()
    check(whole.replace(content, packed))
    assert "has 24 bytes" in refused(whole.replace(content, b"\x0a\x02\x03\x03" + content[4:]))
