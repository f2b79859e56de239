"""What holds for every test: tests that need a browser are named where there is none, never silently left out."""

import os
from functools import cache

import httpx
import pytest

from tests.run import note_not_run

# For each client that it opens httpx reads all the world's authorities anew, 30 ms a time, and no test meets one.
pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    browser = [item for item in items if item.get_closest_marker("browser")]
    if not browser:
        return
    from tests.servers.chromium import EXECUTABLE  # noqa: PLC0415 Playwright takes a while to import

    if EXECUTABLE is None:
        config.hook.pytest_deselected(items=browser)
        items[:] = [item for item in items if item not in browser]
        if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":  # every worker collects the same
            note_not_run(f"{item.nodeid}: there is no Chromium" for item in browser)
