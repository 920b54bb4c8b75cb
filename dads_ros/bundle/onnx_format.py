"""What an ONNX file may hold, checked before onnxruntime sees it.

Only what our exporter writes is known here, and what is not known is refused: with that, loops,
subgraphs, local functions, external data, custom operators and whatever comes after them. The
format is protobuf (https://protobuf.dev/programming-guides/encoding), its messages those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from dads_ros.errors import BundleError
from dads_ros.isolation import one_line

MAX_ONNX_BYTES = 128 << 20
"""Two hidden layers of 4096 fit."""
MAX_NODES, MAX_FIELDS = 300, 20_000
"""Nodes of a graph and fields of a file, several times the most that was seen: reading more would
hold up whatever else this process does."""
OPSETS, IR_VERSIONS = range(17, 24), range(8, 13)
RESHAPING = {"Pad", "ReduceL2", "ReduceSum", "Reshape", "Slice", "Split", "Squeeze", "Unsqueeze"}
"""Operators whose further inputs say how large what they give is: these must be constants, so that
no size depends on a value."""
OPERATORS = RESHAPING | {
    *("Add", "ArgMax", "Clip", "Concat", "Div", "Exp", "Gather", "GatherElements", "Gemm"),
    *("LogSoftmax", "MatMul", "Mul", "Relu", "Sub", "Tanh"),
}
"""What the networks that can be trained are made of."""
_FLOAT, _SIZES = 1, {1: 4, 7: 8}
"""TensorProto.DataType: float32, int64; and bytes of a number of each."""

# Field number -> name, what it is, whether there may be many. No kind contains itself, so that
# nothing is deeper than this is.
_KINDS: dict[str, dict[int, tuple[str, str, bool]]] = {
    "model": {
        1: ("ir_version", "int", False),
        2: ("producer_name", "text", False),
        3: ("producer_version", "text", False),
        4: ("domain", "text", False),
        5: ("model_version", "int", False),
        6: ("doc_string", "text", False),
        7: ("graph", "graph", False),
        8: ("opset", "opset", True),
    },
    "opset": {1: ("domain", "text", False), 2: ("version", "int", False)},
    "graph": {
        1: ("node", "node", True),
        2: ("name", "text", False),
        5: ("initializer", "tensor", True),
        10: ("doc_string", "text", False),
        11: ("input", "value", True),
        12: ("output", "value", True),
        13: ("value_info", "value", True),
    },
    "node": {
        1: ("input", "text", True),
        2: ("output", "text", True),
        3: ("name", "text", False),
        4: ("op_type", "text", False),
        5: ("attribute", "attribute", True),
        6: ("doc_string", "text", False),
        7: ("domain", "text", False),
    },
    "attribute": {
        1: ("name", "text", False),
        2: ("f", "float", False),
        3: ("i", "int", False),
        4: ("s", "text", False),
        7: ("floats", "float", True),
        8: ("ints", "int", True),
        20: ("type", "int", False),
    },
    "tensor": {
        1: ("dims", "int", True),
        2: ("data_type", "int", False),
        8: ("name", "text", False),
        9: ("raw_data", "bytes", False),
    },
    "value": {
        1: ("name", "text", False),
        2: ("type", "type", False),
        4: ("metadata", "entry", True),
    },
    "type": {1: ("tensor", "tensor_type", False)},
    "tensor_type": {1: ("data_type", "int", False), 2: ("shape", "shape", False)},
    "shape": {1: ("dim", "dim", True)},
    "entry": {1: ("key", "text", False), 2: ("value", "text", False)},
    "dim": {1: ("size", "int", False), 2: ("name", "text", False)},
}
_WIRE = {"int": 0, "float": 5}  # of all others: 2, so many bytes
_Message = dict[str, Any]


def check_onnx(
    content: bytes, name: str, inputs: dict[str, int], output: str, num_outputs: int
) -> None:
    """Check that a file is one that our exporter could have written.

    Args:
        content: of the file.
        name: of the file, for the error.
        inputs: names and sizes: each is of float32, shape (rows, size).
        output: the name of the only output, of float32, shape (rows, num_outputs).
        num_outputs: its size.
    Raises: BundleError.
    """
    try:
        model = _Reader(content).message(0, len(content), "model")
        _check_graph(model)
        _check_values(model["graph"], inputs, output, num_outputs)
    except _FormatError as error:
        raise BundleError(
            f"'{name}' is not a network that dads-ros wrote: {error}; export it again; a skill "
            "dynamics that an older version refitted is fixed by 'dads-ros refit'"
        ) from None


def _check_graph(model: _Message) -> None:
    _check(model["ir_version"] in IR_VERSIONS, f"its IR version is {model['ir_version']}")
    opsets = [(opset["domain"] or "", opset["version"]) for opset in model["opset"]]
    _check(
        len(opsets) == 1 and opsets[0][0] == "" and opsets[0][1] in OPSETS,
        f"its operators are of {opsets[:3]!r}; expected one set of ONNX's own, "
        f"{OPSETS.start} to {OPSETS.stop - 1}",
    )
    graph = model["graph"]
    _check(graph is not None, "it has no graph")
    constants = {"", *(tensor["name"] for tensor in graph["initializer"])}
    num = len(graph["node"])
    _check(0 < num <= MAX_NODES, f"it has {num} nodes; expected 1 to {MAX_NODES}")
    for node in graph["node"]:
        operator = f"{node['domain']}.{node['op_type']}" if node["domain"] else node["op_type"]
        _check(operator in OPERATORS, f"it has the operator '{operator}', which is not allowed")
        fixed = operator not in RESHAPING or constants.issuperset(node["input"][1:])
        _check(fixed, f"its node '{node['name']}' gives something whose size is not fixed")
    for tensor in graph["initializer"]:
        raw, what = tensor["raw_data"] or b"", f"its constant '{tensor['name']}'"
        _check(tensor["data_type"] in _SIZES, f"{what} is of type {tensor['data_type']}")
        size = math.prod(tensor["dims"]) * _SIZES[tensor["data_type"]]
        fits = len(tensor["dims"]) <= 4 and min(tensor["dims"], default=0) >= 0
        fits = fits and size == len(raw)
        _check(fits, f"{what} of shape {tensor['dims'][:5]} has {len(raw)} bytes")
        if tensor["data_type"] == _FLOAT:
            _check(bool(np.isfinite(np.frombuffer(raw, "<f4")).all()), f"{what} is not finite")


def _check_values(graph: _Message, inputs: dict[str, int], output: str, num_outputs: int) -> None:
    constants = {tensor["name"] for tensor in graph["initializer"]}
    got: list[tuple[str, int | str]]
    got = [(value["name"], _size(value)) for value in graph["input"]]
    is_sound = dict(got) == inputs and len(got) == len(inputs) and not constants & set(inputs)
    _check(is_sound, f"it takes inputs of sizes {dict(got[:4])}; expected {inputs}")
    got = [(value["name"], _size(value)) for value in graph["output"]]
    expected = [(output, num_outputs)]
    _check(
        got == expected, f"it gives outputs of sizes {dict(got[:4])}; expected {dict(expected)}"
    )


def _size(value: _Message) -> int | str:
    """Of each row, of any number of rows of float32; else what it is instead."""
    tensor = (value["type"] or {}).get("tensor") or {"data_type": None}
    if tensor["data_type"] != _FLOAT or tensor["shape"] is None:
        return f"of type {tensor['data_type']} without rows"
    sizes = [dim["size"] for dim in tensor["shape"]["dim"]]
    return sizes[1] if len(sizes) == 2 and sizes[0] is None else f"of shape {sizes[:5]}"


class _FormatError(Exception):
    """What is wrong with a file: the part of a sentence."""


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _FormatError(one_line(otherwise))


class _Reader:
    """Protobuf, with a bound on everything."""

    def __init__(self, content: bytes) -> None:
        self._content, self._num_fields = content, 0

    def message(self, at: int, end: int, kind: str) -> _Message:
        """The fields of a message: None or [] for those that are not there."""
        known = _KINDS[kind]
        message: _Message = {name: [] if many else None for name, _, many in known.values()}
        for number, wire, value, start, stop in self._fields(at, end):
            _check(number in known, f"{kind} field {number} is not allowed")
            name, what, many = known[number]
            wanted = _WIRE.get(what, 2)
            parsed: list[Any]
            if what == "int" and many and wire == 2:  # packed
                parsed = list(self._integers(start, stop))
            else:
                _check(wire == wanted, f"{kind} field '{name}' has wire type {wire}")
                parsed = [self._value(what, value, start, stop)]
            if many:
                message[name] += parsed
            else:
                _check(message[name] is None, f"{kind} field '{name}' stands there twice")
                message[name] = parsed[0]
        return message

    def _value(self, what: str, value: int, start: int, stop: int) -> Any:  # noqa: ANN401
        if what == "int":
            return value - (1 << 64) if value >> 63 else value
        if what in ("bytes", "float"):
            return self._content[start:stop]
        if what == "text":
            try:
                return self._content[start:stop].decode()
            except UnicodeDecodeError:
                raise _FormatError("a name is not UTF-8") from None
        return self.message(start, stop, what)

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Number, wire type and integer or place of each field between two places."""
        while at < end:
            key, at = self._integer(at, end)
            number, wire = key >> 3, key & 7
            _check(wire in (0, 2, 5), f"wire type {wire}, in byte {at}, is not allowed")
            value, start = (4, at) if wire == 5 else self._integer(at, end)
            at = start if wire == 0 else start + value
            _check(at <= end, f"it ends within the field that byte {start} begins")
            yield number, wire, value, start, at

    def _integers(self, at: int, end: int) -> Iterator[int]:
        while at < end:
            value, at = self._integer(at, end)
            yield self._value("int", value, at, at)

    def _integer(self, at: int, end: int) -> tuple[int, int]:
        """A varint and the place behind it."""
        self._num_fields += 1
        _check(self._num_fields <= 2 * MAX_FIELDS, f"it has more than {MAX_FIELDS} fields")
        value = 0
        for shift in range(0, 70, 7):
            _check(at < end, "it ends within a number")
            byte = self._content[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                _check(value < 1 << 64, "a number has more than 64 bits")
                return value, at
        raise _FormatError("a number has more than 10 bytes")
