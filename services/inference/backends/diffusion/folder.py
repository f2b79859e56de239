"""What may be loaded: a local `diffusers` folder whose weights are safetensors and which brings no code."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "model_index.json"
# Formats that run code when they are read.
PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"})
# Part of the model: a README or a picture beside it may change without making another model.
PARTS = frozenset({".safetensors", ".json", ".txt", ".model"})


class Unloadable(Exception):
    """The folder cannot be used, whoever asks again: the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that passed; `signature` differs as soon as one of its files was replaced.

    `absent`: components that its index says it does without.
    """

    name: str
    path: Path
    pipeline: str
    signature: tuple[tuple[str, int, int], ...]
    absent: tuple[str, ...] = ()


def find(models: Path, name: str) -> ModelFolder:
    """The folder of the model `name` under `models`, checked without reading a single weight."""
    segments = name.split("/")
    if not name or any(segment in ("", ".", "..") or "\\" in segment or "\0" in segment for segment in segments):
        raise Unloadable(f"{name!r} is not the name of a folder of models")
    path = models.joinpath(*segments)
    index = _index(path, name)
    for component, place in index.items():
        if not component.startswith("_") and isinstance(place, list) and place[:1] not in ([None], []):
            _check_component(path / component, f"{name}/{component}")
    for script in path.rglob("*.py"):
        raise Unloadable(f"{name}/{script.relative_to(path)} is code: a model folder may hold none")
    absent = tuple(component for component, place in index.items() if place == [None, None])
    return ModelFolder(name, path, index["_class_name"], tuple(_signature(path)), absent)


def hashes(folder: ModelFolder) -> dict[str, str]:
    """SHA-256 of every file that is part of the model, by its path in the folder."""
    found = {}
    for part, _, _ in folder.signature:
        with (folder.path / part).open("rb") as file:
            found[part] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _index(path: Path, name: str) -> dict[str, Any]:
    try:
        index = json.loads((path / INDEX).read_bytes())
    except FileNotFoundError:
        raise Unloadable(f"there is no {name}/{INDEX}") from None
    except (OSError, ValueError) as error:
        raise Unloadable(f"{name}/{INDEX} cannot be read: {error}") from error
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise Unloadable(f"{name}/{INDEX} does not name a pipeline of diffusers")
    return index


def _check_component(path: Path, name: str) -> None:
    if not path.is_dir():
        raise Unloadable(f"{name} is named in {INDEX} but missing")
    files = [file for file in path.iterdir() if file.is_file()]
    safe = any(file.suffix == ".safetensors" for file in files)
    for file in files:
        if file.suffix in PICKLES and not safe:
            raise Unloadable(f"{name}/{file.name} is a pickle: only safetensors are loaded")


def _signature(path: Path) -> Iterator[tuple[str, int, int]]:
    for file in sorted(path.rglob("*")):
        if file.suffix in PARTS and file.is_file():
            stat = file.stat()
            yield str(file.relative_to(path)), stat.st_size, stat.st_mtime_ns
