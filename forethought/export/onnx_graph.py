"""The operations of a policy as an ONNX graph, with the check of its observation and of its action in it.

Inputs: `observation`, and where they are used `step` (int64 []) and `first_observation`, that of the episode's start.
Outputs: `action`, and `valid` (bool []), which is False where `action` is the fallback action.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from forethought.core import UsageError
from forethought.export.operations import Operations

OPSET, IR_VERSION = 17, 8  # of 2022: older runtimes on devices read them


class _Graph:
    """Nodes and constants; every method returns the name of a value."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new node."""
        import onnx.helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(
            onnx.helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(self.nodes)}", **attributes)
        )
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        """A constant."""
        import onnx.numpy_helper

        name = f"c{len(self.constants)}"
        array = np.asarray(value, dtype)
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def number(self, value: float) -> str:
        """A float32 constant []."""
        return self.constant(value, np.float32)


def onnx_model(
    operations: Operations,
    observation: tuple[tuple[int, ...], str],
    action: tuple[tuple[int, ...], str],
    limits: tuple[Any, Any] | None,
    fallback: Any,
) -> bytes:
    """The model as the content of an .onnx file.

    Args:
        operations: of the policy.
        observation: shape and dtype.
        action: shape and dtype.
        limits: low and high of an action of real numbers.
        fallback: the action where the observation or the computed action is not finite.
    Raises:
        UsageError: the package `onnx` is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as problem:
        raise UsageError("The ONNX form needs onnx: pip install 'forethought[export]'.") from problem
    graph = _Graph()
    kinds = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in (observation[1], action[1])}
    x, valid = _checked_input(graph, *observation)
    value = x
    for operation in operations.steps:
        arrays = {role: operations.arrays[name] for role, name in operation.get("arrays", {}).items()}
        value = _NODES[operation["name"]](graph, value, {**operation, **arrays})
    if limits is not None:
        valid = graph.node("And", valid, _all_finite(graph, value))
        low, high = (graph.constant(limit, np.float32) for limit in limits)
        value = graph.node("Min", graph.node("Max", value, low), high)
    value = graph.node(
        "Where", valid, graph.node("Cast", value, to=kinds[action[1]]), graph.constant(fallback, action[1])
    )
    given = {"observation": (observation[0], kinds[observation[1]])}
    names = {operation["name"] for operation in operations.steps}
    if "time_varying" in names:
        given |= {"step": ((), TensorProto.INT64), "first_observation": given["observation"]}
    made = helper.make_graph(
        [
            *graph.nodes,
            helper.make_node("Identity", [value], ["action"]),
            helper.make_node("Identity", [valid], ["valid"]),
        ],
        "controller",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, (shape, kind) in given.items()],
        [
            helper.make_tensor_value_info("action", kinds[action[1]], list(action[0])),
            helper.make_tensor_value_info("valid", TensorProto.BOOL, []),
        ],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="forethought")
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _checked_input(graph: _Graph, shape: tuple[int, ...], dtype: str) -> tuple[str, str]:
    """The observation, with zeros in place of one that is not finite, and whether it was finite."""
    if not dtype.startswith("float"):
        return "observation", graph.constant(True, bool)
    valid = _all_finite(graph, "observation")
    return graph.node("Where", valid, "observation", graph.constant(np.zeros(shape), dtype)), valid


def _all_finite(graph: _Graph, value: str) -> str:
    """Whether no entry is NaN or infinite, bool []."""
    import onnx

    wrong = graph.node("Or", graph.node("IsNaN", value), graph.node("IsInf", value))
    some = graph.node("ReduceMax", graph.node("Cast", wrong, to=onnx.TensorProto.FLOAT), keepdims=0)
    return graph.node("Less", some, graph.number(0.5))


def _take(graph: _Graph, x: str, places: list[int]) -> str:
    return graph.node("Gather", x, graph.constant(places, np.int64), axis=0)


def _features(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    if not p["angles"]:
        return _take(graph, x, p["plain"])
    angles = _take(graph, x, p["angles"])
    parts = [_take(graph, x, p["plain"])] if p["plain"] else []
    return graph.node("Concat", *parts, graph.node("Sin", angles), graph.node("Cos", angles), axis=0)


def _one_hot(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    import onnx

    entries = graph.node("Cast", _flat(graph, x), to=onnx.TensorProto.INT64)
    parts = []
    for i, count in enumerate(p["counts"]):
        equal = graph.node("Equal", _take(graph, entries, [i]), graph.constant(np.arange(count), np.int64))
        parts.append(graph.node("Cast", equal, to=onnx.TensorProto.FLOAT))
    return graph.node("Concat", *parts, axis=0)


def _flat(graph: _Graph, x: str, p: Any = None) -> str:
    del p
    return graph.node("Reshape", x, graph.constant([-1], np.int64))


def _with_arrays(*steps: tuple[str, str]) -> Callable[[_Graph, str, dict[str, Any]], str]:
    """Binary nodes with a named array as the second input, one after the other."""

    def nodes(graph: _Graph, x: str, p: dict[str, Any]) -> str:
        for kind, role in steps:
            x = graph.node(kind, x, graph.constant(p[role]))
        return x

    return nodes


def _silu(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    del p
    half = graph.node("Mul", x, graph.number(0.5))
    return graph.node("Add", half, graph.node("Mul", half, graph.node("Tanh", half)))


def _rbf(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    """In float64: large weights nearly cancel."""
    import onnx

    precise = graph.node("Cast", x, to=onnx.TensorProto.DOUBLE)
    apart = graph.node("Sub", precise, graph.constant(p["centers"][None], np.float64))  # [1, K, f]
    scaled = graph.node("Div", apart, graph.constant(p["lengthscale"][:, None], np.float64))  # [m, K, f]
    squares = graph.node("Mul", scaled, scaled)
    distance = graph.node("ReduceSum", squares, graph.constant([-1], np.int64), keepdims=0)
    heights = graph.node("Exp", graph.node("Mul", distance, graph.constant(-0.5, np.float64)))
    weights = p["weights"].astype(np.float64) + p["weights_rest"]
    weighted = graph.node("Mul", heights, graph.constant(weights, np.float64))
    value = graph.node("ReduceSum", weighted, graph.constant([-1], np.int64), keepdims=0)
    return graph.node("Cast", value, to=onnx.TensorProto.FLOAT)


def _sine_squash(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    del p
    third = graph.node("Sin", graph.node("Mul", x, graph.number(3.0)))
    first = graph.node("Mul", graph.node("Sin", x), graph.number(9.0))
    return graph.node("Div", graph.node("Add", first, third), graph.number(8.0))


def _time_varying(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    apart = graph.node(
        "Div", graph.node("Sub", "first_observation", graph.constant(p["starts"])), graph.constant(p["scale"])
    )
    squares = graph.node("Mul", apart, apart)
    distances = graph.node("ReduceSum", squares, graph.constant([-1], np.int64), keepdims=0)
    nearest = graph.node("ArgMin", distances, axis=0, keepdims=0)
    step = graph.node("Min", "step", graph.constant(p["F"].shape[1] - 1, np.int64))
    gains, offsets = (
        graph.node("Gather", graph.node("Gather", graph.constant(p[k]), nearest, axis=0), step, axis=0)
        for k in ("F", "f")
    )
    return graph.node("Add", graph.node("MatMul", gains, x), offsets)


def _image(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    import onnx

    image = graph.node(
        "Cast", graph.node("Reshape", x, graph.constant(p["shape"], np.int64)), to=onnx.TensorProto.FLOAT
    )
    return graph.node("Div", graph.node("Transpose", image, perm=p["axes"]), graph.number(p["divisor"]))


def _convolution(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    """Channels are last here and first in ONNX."""
    image = graph.node("Unsqueeze", graph.node("Transpose", x, perm=[2, 0, 1]), graph.constant([0], np.int64))
    kernel = graph.constant(np.transpose(p["kernel"], (3, 2, 0, 1)))
    strides = [p["stride"], p["stride"]]
    after = graph.node("Relu", graph.node("Conv", image, kernel, graph.constant(p["bias"]), strides=strides))
    return graph.node("Transpose", graph.node("Squeeze", after, graph.constant([0], np.int64)), perm=[1, 2, 0])


def _table(graph: _Graph, x: str, p: dict[str, Any]) -> str:
    import onnx

    entries = graph.node("Cast", _flat(graph, x), to=onnx.TensorProto.INT64)
    number = graph.node("ReduceSum", graph.node("Mul", entries, graph.constant(p["strides"])), keepdims=0)
    # a number outside the table would be an error of the runtime
    most = graph.constant(len(p["values"]) - 1, np.int64)
    number = graph.node("Max", graph.node("Min", number, most), graph.constant(0, np.int64))
    return graph.node("Gather", graph.constant(p["values"]), number, axis=0)


_NODES: dict[str, Callable[[_Graph, str, dict[str, Any]], str]] = {
    "features": _features,
    "one_hot": _one_hot,
    "standardize": _with_arrays(("Sub", "mean"), ("Div", "std")),
    "clip": _with_arrays(("Max", "low"), ("Min", "high")),
    "scale": _with_arrays(("Mul", "factor"), ("Add", "offset")),
    "dense": _with_arrays(("MatMul", "weight"), ("Add", "bias")),
    "tanh": lambda graph, x, _: graph.node("Tanh", x),
    "relu": lambda graph, x, _: graph.node("Relu", x),
    "silu": _silu,
    "rbf": _rbf,
    "sine_squash": _sine_squash,
    "time_varying": _time_varying,
    "image": _image,
    "convolution": _convolution,
    "flatten": _flat,
    "table": _table,
    "argmax": lambda graph, x, _: graph.node("ArgMax", x, axis=0, keepdims=0),
}
