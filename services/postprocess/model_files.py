"""The model files an operator names, each held to its SHA-256. Nothing is ever downloaded."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What protobuf writes where an ONNX model keeps weights in a second file, which no hash of ours would cover.
ELSEWHERE = b"\n\x08location\x12"


class ModelFailed(Exception):
    """A model did not do its work; the message names it and says why. The plain method does it instead."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file and the SHA-256 (hex) that it must have."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        """For manifests: enough to know it again, and no path."""
        return f"{self.path.name} sha256:{self.sha256} onnxruntime {version('onnxruntime')}"

    def read(self) -> bytes:
        """Its bytes, checked: what is loaded is what was checked. Raises ModelFailed."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise ModelFailed(f"{self.path.name} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ModelFailed(f"{self.path.name} has changed since the stage started, and is not loaded")
        return data


def model_file(variable: str, path: Path | None, sha256: str) -> ModelFile | None:
    """The file that a variable names, None where it names none. Raises ValueError, which says what to mend."""
    if path is None:
        if sha256:
            raise ValueError(f"{variable}_SHA256 is set, and {variable} names no file")
        return None
    if not sha256:
        raise ValueError(f"{variable} needs {variable}_SHA256, by which the file is known")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{variable}: {path} cannot be read: {error.strerror}") from error
    _judge(variable, path, data, sha256.lower())
    return ModelFile(path.resolve(), sha256.lower())


def _judge(variable: str, path: Path, data: bytes, sha256: str) -> None:
    has = hashlib.sha256(data).hexdigest()
    if has != sha256:
        raise ValueError(f"{variable}: {path} has the SHA-256 {has}, and {variable}_SHA256 names {sha256}")
    if ELSEWHERE in data:
        raise ValueError(f"{variable}: {path} keeps weights in another file; export it as one file")
    try:
        version("onnxruntime")
    except PackageNotFoundError:
        missing = "onnxruntime is not installed: install the dependency group `models`"
        raise ValueError(f"{variable} is set, and {missing}") from None
