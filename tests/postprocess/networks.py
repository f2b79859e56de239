"""Tiny real ONNX models: a threshold that tells light from dark, an enlargement by two, a mean as a score."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from services.postprocess.model_files import ModelFile

OPSET, IR = 17, 9


def saved(
    path: Path, nodes: list[Any], *, shape: list[Any], metadata: dict[str, str] | None = None, **held: Any
) -> ModelFile:
    """A graph from `input` to `output`; `held` are its constants."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    helper.set_model_props(model, metadata or {})
    save(model, path)
    return ModelFile(path, hashlib.sha256(path.read_bytes()).hexdigest())


def cutting(folder: Path, *, side: int | str = 64, metadata: dict[str, str] | None = None) -> ModelFile:
    """What is lighter than its training's mean is in front: a sigmoid of the channels' mean."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "steep"], ["steeper"]),
        helper.make_node("Sigmoid", ["steeper"], ["output"]),
    ]
    return saved(folder / "cut.onnx", nodes, shape=[1, 3, side, side], metadata=metadata, steep=np.float32(40))


def enlarging(folder: Path, *, side: int | str = "side", factor: float = 2.0) -> ModelFile:
    """A blur of 5 × 5, then bilinear: each pixel depends on its neighbours, as in a trained model."""
    kernel = np.zeros((3, 3, 5, 5), np.float32)
    kernel[range(3), range(3)] = 1 / 25
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["soft"], kernel_shape=[5, 5], pads=[2] * 4),
        helper.make_node("Resize", ["soft", "", "scales"], ["output"], mode="linear"),
    ]
    scales = np.array([1, 1, factor, factor], np.float32)
    return saved(folder / "enlarge.onnx", nodes, shape=[1, 3, side, side], kernel=kernel, scales=scales)


def scoring(folder: Path) -> ModelFile:
    """The darker, the worse."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Neg", ["mean"], ["dark"]),
        helper.make_node("Sigmoid", ["dark"], ["output"]),
    ]
    return saved(folder / "score.onnx", nodes, shape=[1, 3, 32, 32])


def logits(folder: Path) -> ModelFile:
    """What it saw, as it came: not between 0 and 1."""
    nodes = [helper.make_node("ReduceMean", ["input"], ["output"], axes=[1], keepdims=1)]
    return saved(folder / "logits.onnx", nodes, shape=[1, 3, 16, 16])


def failing(folder: Path) -> ModelFile:
    """Loads, and fails when it runs."""
    nodes = [helper.make_node("Reshape", ["input", "seven"], ["output"])]
    return saved(folder / "failing.onnx", nodes, shape=[1, 3, "height", "width"], seven=np.array([7], np.int64))
