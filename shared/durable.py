"""Files and folders that are there after a power cut: what is flushed is the file and the folder that names it."""

import os
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """A new file with these bytes, on the disk; its name is only after `flush` of its folder. Raises OSError."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """The folder and those above it, where they are missing. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush(folder.parent)


def flush(folder: Path) -> None:
    """The names in a folder, to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
