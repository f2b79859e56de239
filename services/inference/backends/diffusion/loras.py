"""LoRAs: additions to a model's weights, each a safetensors file in the folder `loras` beside the models.

A layer's weight W becomes W + weight · (alpha ÷ rank) · up · down. The sums of a set are made once, in float32, and lie
over the model's own weights for as long as one call takes, so only images of one set share steps.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from services.inference.backends.diffusion.folder import Unloadable

FOLDER = "loras"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# diffusers' layouts, old and new, and kohya's.
KEY = re.compile(r"(?P<layer>.+)\.(?P<part>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up|alpha)(\.weight)?")
DOWN = frozenset({"lora_A", "lora_down", "lora.down"})
COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
KOHYA = {
    "lora_unet_": "unet_",
    "lora_te_": "text_encoder_",
    "lora_te1_": "text_encoder_",
    "lora_te2_": "text_encoder_2_",
}


@dataclass(frozen=True, slots=True)
class LoraFile:
    """`signature` differs as soon as the file was replaced."""

    name: str
    path: Path
    signature: tuple[int, int]


Set = tuple[tuple[LoraFile, float], ...]


def find(models: Path, asked: Iterable[Mapping[str, Any]]) -> Set:
    """The files of all that have a weight, which is what there is of them; in one order, whatever the order asked."""
    return tuple(sorted(((_file(models, each["name"]), each["weight"]) for each in asked if each["weight"]), key=repr))


def _file(models: Path, name: str) -> LoraFile:
    path = models / FOLDER / f"{name}.safetensors"
    if not NAME.fullmatch(name) or not path.is_file():
        raise Unloadable(f"there is no {FOLDER}/{name}.safetensors")
    stat = path.stat()
    return LoraFile(name, path, (stat.st_size, stat.st_mtime_ns))


@dataclass(frozen=True, slots=True)
class Layer:
    """What can be added to; `own` are its weights as they were loaded, whatever lies over them at the moment."""

    component: str
    weight: nn.Parameter
    own: Tensor


def layers_of(pipe: Any) -> dict[str, Layer]:
    """By a name that is one for all layouts of files."""
    found = {}
    for component in COMPONENTS:
        module = getattr(pipe, component, None)
        for path, layer in module.named_modules() if module is not None else ():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                found[_plain(f"{component}.{path}")] = Layer(component, layer.weight, layer.weight.data)
    return found


class Fused:
    """A model's weights with one set of LoRAs added."""

    def __init__(self, pipe: Any, layers: Mapping[str, Layer], loras: Set) -> None:
        """Raises Unloadable where a file is none, or is made for another model."""
        added: dict[str, Tensor] = {}
        self.said: list[dict[str, Any]] = []
        for file, weight in loras:
            for name, matrix in _matrices(file, pipe).items():
                if name not in layers:
                    raise Unloadable(f"{FOLDER}/{file.name} is not made for this model, which has no layer {name}")
                own = layers[name].own
                if matrix.shape != own.flatten(1).shape:
                    raise Unloadable(f"{FOLDER}/{file.name} is not made for this model: {name} is of another size")
                addition = weight * matrix.reshape(own.shape).to(own.device)
                added[name] = added[name] + addition if name in added else addition
            with file.path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            self.said.append({"name": file.name, "weight": weight, "sha256": digest})
        self._fused = [
            (layers[name], (layers[name].own.float() + add).to(layers[name].own)) for name, add in added.items()
        ]

    @contextmanager
    def over(self, *components: str) -> Iterator[None]:
        """Nobody else may run these components meanwhile."""
        changed = [(layer, fused) for layer, fused in self._fused if layer.component in components]
        for layer, fused in changed:
            layer.weight.data = fused
        try:
            yield
        finally:
            for layer, _ in changed:
                layer.weight.data = layer.own


def _matrices(file: LoraFile, pipe: Any) -> dict[str, Tensor]:
    """By layer, what a weight of 1 adds to it, as (rows, everything else)."""
    try:
        tensors = load_file(file.path)
        if hasattr(pipe, "unet"):
            tensors = _maybe_map_sgm_blocks_to_diffusers(tensors, pipe.unet.config)
    except (SafetensorError, ValueError) as error:
        raise Unloadable(f"{FOLDER}/{file.name} cannot be read: {error}") from error
    found: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        if (match := KEY.fullmatch(key)) is None:
            raise Unloadable(f"{FOLDER}/{file.name} holds {key}, which is no part of a LoRA that is known here")
        part = "alpha" if match["part"] == "alpha" else "down" if match["part"] in DOWN else "up"
        found[_plain(match["layer"])][part] = tensor.float()
    return {layer: _product(file, layer, parts) for layer, parts in found.items()}


def _product(file: LoraFile, layer: str, parts: Mapping[str, Tensor]) -> Tensor:
    if not {"up", "down"} <= parts.keys():
        raise Unloadable(f"{FOLDER}/{file.name} lacks one of the two matrices of {layer}")
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    rank = down.shape[0]
    return up @ down * (float(parts["alpha"]) / rank if "alpha" in parts else 1.0)


def _plain(layer: str) -> str:
    """One name for a layer in all layouts; some text encoders have a module more around them than others."""
    for theirs, ours in KOHYA.items():
        if layer.startswith(theirs):
            layer = ours + layer.removeprefix(theirs)
    return layer.replace(".", "_").replace("text_model_", "")
