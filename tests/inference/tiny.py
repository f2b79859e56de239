"""Small models of random weights, written once for all tests: a process that imports torch takes seconds to start."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

WRITER = Path(__file__).with_name("tiny_pipeline.py")
KEPT = Path(__file__).parents[2] / "out" / "tiny"


def tiny_model(folder: Path, kind: str = "sd") -> None:
    """Lays a copy of the model at `folder`, which must not exist yet."""
    shutil.copytree(_written() / kind, folder)


def _written() -> Path:
    """All kinds, by what writes them: another writer or library writes others."""
    writers = f"{WRITER.read_text()} {version('diffusers')} {version('torch')} {version('transformers')}"
    folder = KEPT / hashlib.sha256(writers.encode()).hexdigest()[:16]
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may ask at once
        if not folder.exists():
            partial = folder.with_suffix(".new")
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run([sys.executable, str(WRITER), str(partial)], check=True, capture_output=True)
            partial.rename(folder)
    return folder
