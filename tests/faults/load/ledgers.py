"""What was asked and what was answered, kept outside the product: one JSON line each, flushed as it is written."""

import json
import time
from pathlib import Path
from typing import Any


class Ledgers:
    """One file a name, appended to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: dict[str, Any] = {}

    def write(self, name: str, /, **line: Any) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self._folder / f"{name}.jsonl").open("a", buffering=1)
        file.write(json.dumps({"at": time.time(), **line}, default=str) + "\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}
