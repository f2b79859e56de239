"""Writes what is generated from the code: `python -m shared.contracts [--check]`."""

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from shared.contracts import asyncapi, golden, schemas
from shared.events import ALL

FOLDER = Path(__file__).parent
RELEASE = "0.1.0"


def generated() -> dict[Path, bytes]:
    """Every generated file with its content."""
    found: dict[str, Any] = {f"schemas/{name}.json": schema for name, schema in schemas.all_schemas().items()}
    found |= {f"golden/{event.__name__}.json": golden.golden_record(event) for event in ALL}
    found["golden/ImageRequested.json"] = golden.golden_request()
    found["asyncapi.json"] = asyncapi.document(RELEASE)
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {FOLDER / name: orjson.dumps(content, option=options) for name, content in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m shared.contracts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something differs")
    check = parser.parse_args().check
    differing = [path for path, content in generated().items() if not path.exists() or path.read_bytes() != content]
    if check:
        for path in differing:
            sys.stderr.write(f"{path.relative_to(FOLDER)} differs: run `python -m shared.contracts`\n")
        return bool(differing)
    for path, content in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    sys.stdout.write(f"{len(differing)} files written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
