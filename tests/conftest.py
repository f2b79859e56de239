"""What holds for every test: one that needs a program is named where there is none, never silently left out."""

import os
import shutil
from collections.abc import Callable
from functools import cache

import httpx
import pytest

from tests.run import note_not_run

# For each client that it opens httpx reads all the world's authorities anew, 30 ms a time, and no test meets one.
pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _leave_out("browser", "there is no Chromium", config, items, is_there=_chromium)
    _leave_out("exiftool", "there is no exiftool", config, items, is_there=lambda: shutil.which("exiftool") is not None)


def _leave_out(
    marker: str, why: str, config: pytest.Config, items: list[pytest.Item], *, is_there: Callable[[], bool]
) -> None:
    marked = [item for item in items if item.get_closest_marker(marker)]
    if not marked or is_there():
        return
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":  # every worker collects the same
        note_not_run(f"{item.nodeid}: {why}" for item in marked)


def _chromium() -> bool:
    from tests.servers.chromium import EXECUTABLE  # noqa: PLC0415 Playwright takes a while to import

    return EXECUTABLE is not None
