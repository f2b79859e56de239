"""Runs the operator's ONNX models: the only importer of onnxruntime, and imported by the child process only.

One thread (a child has one core), no arena (memory goes back after each picture), loaded when first needed.
"""

import time
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.postprocess.compositing import flatten
from services.postprocess.hooks import Models
from services.postprocess.model_files import ModelFailed, ModelFile
from services.postprocess.pixels import Pixels

Planes = NDArray[np.float32]  # 1 × channels × height × width

# ImageNet's, by which U²-Net and most classifiers are trained; a model's own metadata `mean` and `std` come first.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# A side that a model leaves open: for masks what U²-Net was trained at, for moderation what classifiers take.
MASK_SIDE, MODERATION_SIDE = 320, 224
# An enlarging model sees this much at once and this much around it that is thrown away.
TILE, OVERLAP = 160, 16
# The largest picture a model may make of one: 150 MB of bytes.
MOST_PIXELS = 50_000_000
# Rounding may leave 0..1 by this much; a logit leaves it by far.
SLACK = 0.01


class Network:
    """One model: its bytes checked and its graph built when first run."""

    def __init__(self, file: ModelFile) -> None:
        self.file = file

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.log_severity_level = 3
        data = self.file.read()
        try:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes have no common root of their own
            raise self.failed("cannot be loaded", error) from error

    def size(self, side: int) -> tuple[int, int]:
        """Width and height that it takes; `side` where it leaves them open."""
        shape = self._session.get_inputs()[0].shape
        if len(shape) != 4 or shape[1] not in {3, "channels", None}:
            raise self.failed(f"takes {shape}, and not one picture as 1 × 3 × height × width")
        height, width = (length if isinstance(length, int) else side for length in shape[2:])
        return width, height

    def run(self, planes: Planes) -> Planes:
        """Its first output."""
        try:
            return np.asarray(self._session.run(None, {self._session.get_inputs()[0].name: planes})[0])
        except Exception as error:  # as above
            raise self.failed("failed", error) from error

    def seen(self, pixels: Pixels, side: int) -> Planes:
        """The picture stretched to its size and normalised: (value / 255 - mean) / std."""
        told = self._session.get_modelmeta().custom_metadata_map
        try:
            mean, std = _three(told.get("mean"), MEAN), _three(told.get("std"), STD)
        except ValueError as error:
            raise self.failed("has metadata that are not three numbers", error) from error
        small = cv2.resize(flatten(pixels), self.size(side), interpolation=cv2.INTER_AREA)
        return _planes((_fraction(small) - mean) / std)

    def failed(self, what: str, error: Exception | None = None) -> ModelFailed:
        why = f": {str(error).splitlines()[0][:200]}" if error and str(error) else ""
        return ModelFailed(f"{self.file.path.name} {what}{why}")


def models(files: Mapping[str, ModelFile], *, seconds: float) -> Models:
    """What these files can do, by hook; an enlargement that would take more CPU than `seconds` is not begun."""
    networks = {hook: Network(file) for hook, file in files.items()}
    cut, enlarge, judge = (networks.get(hook) for hook in ("cut_out", "upscale", "moderation"))
    return Models(
        cut_out=partial(cut_out, cut) if cut else None,
        upscale=partial(upscale, enlarge, seconds=seconds) if enlarge else None,
        moderation=partial(moderation, judge) if judge else None,
        names={hook: file.name for hook, file in files.items()},
    )


def cut_out(network: Network, pixels: Pixels) -> Pixels:
    """The mask of what is in front, 0..255, of the picture's size. Raises ModelFailed."""
    found = _fractions(network, network.run(network.seen(pixels, MASK_SIDE)))
    if found.size != found.shape[-1] * found.shape[-2]:
        raise network.failed(f"gives {list(found.shape)}, and not one mask")
    mask = np.rint(found.reshape(found.shape[-2:]) * 255).astype(np.uint8)
    return np.asarray(cv2.resize(mask, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_CUBIC))


def moderation(network: Network, pixels: Pixels) -> float:
    """How surely the picture must not be shown, 0..1. Raises ModelFailed."""
    found = _fractions(network, network.run(network.seen(pixels, MODERATION_SIDE)))
    if found.size != 1:
        raise network.failed(f"gives {found.size} values, and not one score")
    return float(found.reshape(()))


def upscale(network: Network, pixels: Pixels, width: int, height: int, *, seconds: float) -> Pixels:
    """The picture at this size, its colours by the model and its alpha, if any, by Lanczos. Raises ModelFailed."""
    made = _enlarged(network, np.ascontiguousarray(pixels[:, :, :3]), seconds)
    larger = made.shape[1] >= width
    sized = cv2.resize(made, (width, height), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LANCZOS4)
    if pixels.shape[2] == 4:
        alpha = cv2.resize(pixels[:, :, 3], (width, height), interpolation=cv2.INTER_LANCZOS4)
        return np.dstack([sized, alpha])
    return np.asarray(sized)


def _enlarged(network: Network, pixels: Pixels, seconds: float) -> Pixels:
    """Tile by tile: each is made with what lies around it, which is thrown away, so that no seam shows."""
    height, width = pixels.shape[:2]
    wide, tall = network.size(TILE)
    across, down = wide - 2 * OVERLAP, tall - 2 * OVERLAP
    if min(across, down) < 1:
        raise network.failed(f"takes {wide} × {tall} pixels, which is too little to work in tiles")
    below, beside = OVERLAP + -height % down, OVERLAP + -width % across
    padded = cv2.copyMakeBorder(pixels, OVERLAP, below, OVERLAP, beside, cv2.BORDER_REPLICATE)
    corners = [(top, left) for top in range(0, height, down) for left in range(0, width, across)]
    made, factor = np.empty((0, 0, 3), np.uint8), 0
    began = time.process_time()
    for number, (top, left) in enumerate(corners):
        tile = network.run(_planes(_fraction(padded[top : top + tall, left : left + wide])))
        if number == 0:
            factor = _factor(network, tile, wide, tall)
            _judge_effort(network, len(corners), time.process_time() - began, seconds, pixels.size // 3 * factor**2)
            made = np.empty((height * factor, width * factor, 3), np.uint8)
        inner = tile[0, :, OVERLAP * factor : (tall - OVERLAP) * factor, OVERLAP * factor : (wide - OVERLAP) * factor]
        place = made[top * factor : (top + down) * factor, left * factor : (left + across) * factor]
        rows, columns = place.shape[:2]
        place[:] = np.rint(np.clip(inner[:, :rows, :columns], 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return made


def _factor(network: Network, tile: Planes, wide: int, tall: int) -> int:
    factor = int(tile.shape[-1]) // wide
    if factor < 2 or tile.shape != (1, 3, tall * factor, wide * factor):
        raise network.failed(f"makes {list(tile.shape)} of 1 × 3 × {tall} × {wide}, which is no enlargement")
    return factor


def _judge_effort(network: Network, tiles: int, each: float, seconds: float, pixels: int) -> None:
    if tiles * each > seconds:
        raise network.failed(f"would take {tiles * each:.0f} s of the {seconds:.0f} allowed")
    if pixels > MOST_PIXELS:
        raise network.failed(f"would make {pixels // 1_000_000} million pixels")


def _fractions(network: Network, found: Planes) -> Planes:
    low, high = float(found.min()), float(found.max())
    if not (low >= -SLACK and high <= 1 + SLACK):  # which is also true of what is no number
        raise network.failed(f"gives values from {low:g} to {high:g}, and not 0 to 1")
    return np.clip(found, 0, 1)


def _fraction(pixels: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(np.multiply(pixels, 1 / 255, dtype=np.float32))


def _planes(pixels: NDArray[np.float32]) -> Planes:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _three(told: str | None, otherwise: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array([float(each) for each in told.split(",")] if told else otherwise, np.float32).reshape(3)
