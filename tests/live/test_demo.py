"""`make demo ONCE=1`, as a stranger runs it: its exit status and its last line."""

import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

from shared.blobs import MEDIA_TYPES
from shared.credentials import Verifier


async def test_the_demo_decides_all_publishes_what_was_approved_and_says_so_in_its_last_line(tmp_path: Path) -> None:
    with socket.socket() as probe:  # the usual port may be that of another test
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = (sys.executable, "-m", "deploy.cli", "demo", "--once", "--data", str(tmp_path / "data"), "--port", port)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALOTYPE_")}
    process = await create_subprocess_exec(*command, stdout=PIPE, env=environment, cwd=Path(__file__).parents[2])
    output, _ = await process.communicate()
    lines = output.decode().splitlines()
    told = json.loads(lines[-1])
    print(f"demo: {told}")  # noqa: T201  # the warm time is a figure people ask for
    assert process.returncode == 0, output.decode()
    assert (told["jobs"], told["approved"], told["rejected"], told["published"]) == (36, 35, 1, 35)
    assert list(told) == ["jobs", "approved", "rejected", "published", "seconds"]
    text = " ".join(output.decode().split())
    assert "14 rows, 2 refused" in text and "'neon-night' is not allowed" in text and "medical-claims" in text
    sets = [path.parent for path in (tmp_path / "data/published").rglob("*.json")]
    assert len(sets) == 35
    await assert_signed(sets[0], authority=tmp_path / "data/signing/authority.pem")


async def assert_signed(folder: Path, *, authority: Path) -> None:
    """Every picture of a published set carries credentials that hold, back to a comp that a program drew."""
    verifier = Verifier(anchors=authority.read_text())
    pictures = [path for path in folder.iterdir() if path.suffix != ".json"]
    assert len(pictures) > 3
    for path in pictures:
        found = await verifier.read(path.read_bytes(), MEDIA_TYPES[path.suffix[1:]])
        assert (found.state, path.name) == ("trusted", path.name)
        assert found.source_type == "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"
    await verifier.stop()
