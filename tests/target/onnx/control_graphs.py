"""Graphs with branches, loops and sequences."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, parser

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'
W = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def parsed(text: str, constants: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    model = parser.parse_model(HEADER + text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in (constants or {}).items())
    return model


def if_on(condition: str) -> onnx.ModelProto:
    """A choice between two branches that read outer values; ``condition`` makes c from x."""
    return parsed(
        f"""g (float[N,6] x) => (float[N,4] y) {{
        {condition}
        y = If (c) <
          then_branch = t () => (float[N,4] a) {{ h = MatMul(x, W) a = Relu(h) }},
          else_branch = e () => (float[N,4] a) {{ h = MatMul(x, W) a = Tanh(h) }}
        > }}""",
        {"W": W},
    )


ON_DATA = "z = Constant<value_float=0.0>() s = ReduceSum<keepdims=0>(x) c = Greater(s, z)"
ON_SHAPE = """zero = Constant<value_int=0>() one = Constant<value_int=1>() n = Shape(x) m = Gather(n, zero)
 c = Greater(m, one)"""
ON_CONSTANT = "c = Constant<value = bool {0}>()"


def loop(body: str, outputs: str = "y", trips: str = "five", carried: str = "x") -> onnx.ModelProto:
    return parsed(
        f"""g (float[N,6] x) => (float[N,6] y) {{
        five = Constant<value_int=5>() yes = Constant<value = bool {{1}}>()
        {outputs} = Loop ({trips}, yes, {carried}) <body = b (int64 i, bool go, float[N,6] v) => ({body}
        > }}""",
        {"k": np.float32(0.7).reshape(())},
    )


FIXED = loop("bool on, float[N,6] w) { w0 = Mul(v, k) w1 = Sin(w0) w = Add(w1, x) on = Identity(go) }")
BY_NUMBER = loop(
    "bool on, float[N,6] w) { f = Cast<to=1>(i) w0 = Add(v, f) w = Mul(w0, k) on = Identity(go) }",
)
UNTIL = loop(
    "bool on, float[N,6] w) { w = Mul(v, k) s = ReduceSum<keepdims=0>(w) one = Constant<value_float=1.0>() "
    "on = Greater(s, one) }"
)
COLLECTING = parsed(
    """g (float[N,6] x) => (float[N,6] last, float[3,N,6] y) {
    three = Constant<value_int=3>() yes = Constant<value = bool {1}>()
    last, y = Loop (three, yes, x) <
    body = b (int64 i, bool go, float[N,6] v) => (bool on, float[N,6] w, float[N,6] seen) {
      w = Mul(v, k) seen = Tanh(w) on = Identity(go) }
    > }""",
    {"k": np.float32(0.7).reshape(())},
)
SCAN = parsed(
    """g (float[N,6] x) => (float[N,6] y) {
    start0 = ReduceSum<keepdims=0>(x, one) zero = Constant<value_float=0.0>() start = Mul(start0, zero)
    final, y = Scan <num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1], scan_input_directions=[1],
      body = b (float[N] total, float[N] v) => (float[N] grown, float[N] shown) {
      t = Tanh(v) grown = Add(total, t) shown = Mul(grown, k) }
    > (start, x) }""",
    {"k": np.float32(0.7).reshape(()), "one": np.array([1])},
)
SEQUENCE = parsed(
    """g (float[N,6] x) => (float[N,6] y) {
    one = Constant<value_int=1>() zero = Constant<value_int=0>()
    parts = SplitToSequence<axis=1, keepdims=1>(x)
    first = SequenceAt(parts, zero) more = SequenceInsert(parts, first, one) less = SequenceErase(more, zero)
    z = ConcatFromSequence<axis=1>(less) y = Sin(z) }"""
)
OPTIONAL = parsed(
    """g (float[N,6] x) => (float[N,6] y) {
    o = Optional(x) c = OptionalHasElement(o)
    y = If (c) <then_branch = t () => (float[N,6] a) { v = OptionalGetElement(o) a = Sin(v) },
      else_branch = e () => (float[N,6] a) { a = Identity(x) }> }"""
)
MAPPED = helper.make_model(
    helper.make_graph(
        [
            helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
            helper.make_node(
                "SequenceMap",
                ["s"],
                ["m"],
                body=helper.make_graph(
                    [helper.make_node("Tanh", ["v"], ["t"])],
                    "b",
                    [helper.make_tensor_value_info("v", 1, None)],
                    [helper.make_tensor_value_info("t", 1, None)],
                ),
            ),
            helper.make_node("ConcatFromSequence", ["m"], ["y"], axis=1),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 6])],
        [helper.make_tensor_value_info("y", 1, None)],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
ALL = {
    "if on data": if_on(ON_DATA),
    "if on shape": if_on(ON_SHAPE),
    "if on a constant": if_on(ON_CONSTANT),
    "loop": FIXED,
    "loop by number": BY_NUMBER,
    "loop until": UNTIL,
    "collecting loop": COLLECTING,
    "scan": SCAN,
    "sequence": SEQUENCE,
    "optional": OPTIONAL,
    "mapped": MAPPED,
}
