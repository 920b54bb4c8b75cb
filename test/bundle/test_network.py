"""load_networks: what passes the check of its form may still hang, crash or lie when it runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from dads_ros.bundle import network
from dads_ros.bundle.manifest import POLICY_FILE
from dads_ros.bundle.network import MAX_ROWS, NetworkFile, load_networks
from dads_ros.errors import BundleError
from dads_ros.isolation import IsolatedError


@pytest.fixture
def model(point_mass_bundle: Path) -> ModelProto:
    """A policy that a test may change."""
    return onnx.load(point_mass_bundle / POLICY_FILE)


def file_of(model: ModelProto) -> NetworkFile:
    inputs = {"policy_obs": 3, "skill": 2}
    return NetworkFile(POLICY_FILE, model.SerializeToString(), inputs, "command", 2)


def end_with(model: ModelProto, *nodes: tuple[str, list[str], str], **constants: object) -> None:
    """Let the policy's output go through more nodes: from 'old' to 'command'."""
    model.graph.node[-1].output[0] = "old"
    for kind, sources, target in nodes:
        model.graph.node.append(helper.make_node(kind, sources, [target]))
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))


def wide(model: ModelProto) -> None:
    """Terabytes: many rows of zeros, of which few are used."""
    end_with(
        model,
        ("Pad", ["old", "pads"], "large"),
        ("Slice", ["large", "first", "last", "axis"], "command"),
        pads=[0, 0, 0, 10**9],
        first=[0],
        last=[2],
        axis=[1],
    )


def slow(model: ModelProto) -> None:
    """Minutes: hundreds of products of large matrices."""
    nodes = [("MatMul", [f"h{i}", "square"], f"h{i + 1}") for i in range(250)]
    end_with(
        model,
        ("MatMul", ["old", "out"], "h0"),
        *nodes,
        ("MatMul", ["h250", "back"], "command"),
        out=np.zeros((2, 2000), np.float32),
        square=np.zeros((2000, 2000), np.float32),
        back=np.zeros((2000, 2), np.float32),
    )


def mixed(model: ModelProto) -> None:
    """Each row gets the sum over all rows."""
    end_with(
        model,
        ("ReduceSum", ["old", "axis"], "sum"),
        ("Mul", ["old", "nothing"], "zero"),
        ("Add", ["sum", "zero"], "command"),
        axis=[0],
        nothing=np.float32(0.0),
    )


def infinite(model: ModelProto) -> None:
    end_with(model, ("Div", ["old", "nothing"], "command"), nothing=np.float32(0.0))


def one_column(model: ModelProto) -> None:
    """What is declared is not what comes."""
    end_with(model, ("ReduceL2", ["old", "axis"], "command"), axis=[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wide, "'policy.onnx' cannot be used"),
        (slow, "it took more than"),
        (mixed, "another result for a row alone"),
        (infinite, "not finite"),
        (one_column, "'policy.onnx' cannot be used"),
        (lambda m: m.graph.node[0].input.append("nowhere"), "nowhere"),
        (
            lambda m: end_with(m, ("Relu", ["command"], "old")),
            "not a model that onnxruntime loads",
        ),
    ],
)
def test_what_does_not_run_well_is_refused_in_one_sentence(
    model: ModelProto, change: Callable[[ModelProto], None], words: str
) -> None:
    change(model)
    with pytest.raises(BundleError) as caught:
        load_networks([file_of(model)])
    text = str(caught.value)
    assert words in text and len(text) < 1000 and text.isprintable()


def test_what_ran_well_once_is_not_tried_again(
    model: ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.producer_name = "nobody else's"
    load_networks([file_of(model)])

    def no_more(*_: object, **__: object) -> bytes:
        raise IsolatedError("it was tried again")

    monkeypatch.setattr(network, "isolated", no_more)
    load_networks([file_of(model)])
    model.producer_name = "another"
    with pytest.raises(BundleError, match="tried again"):
        load_networks([file_of(model)])


def test_more_rows_than_were_tried_give_the_same_in_parts(model: ModelProto) -> None:
    (policy,) = load_networks([file_of(model)])
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((2 * MAX_ROWS + 3, 3))
    skill = rng.standard_normal((2 * MAX_ROWS + 3, 2))
    expected = np.clip(skill + 2.0 * (skill - obs[:, :2]), -1.0, 1.0)
    np.testing.assert_allclose(policy(obs, skill), expected, atol=1e-5)
    assert max(policy._bindings) == MAX_ROWS
    with pytest.raises(ValueError, match="shape"):
        policy(obs, skill[:1])
