"""What holds for every test: tests that need a browser are named where there is none, never silently left out."""

import pytest

from tests.run import NOT_RUN


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    browser = [item for item in items if item.get_closest_marker("browser")]
    if not browser:
        return
    from tests.servers.chromium import EXECUTABLE  # noqa: PLC0415 Playwright takes a while to import

    if EXECUTABLE is None:
        config.hook.pytest_deselected(items=browser)
        items[:] = [item for item in items if item not in browser]
        config.stash[MISSED] = [item.nodeid for item in browser]
        NOT_RUN.parent.mkdir(exist_ok=True)
        NOT_RUN.write_text("".join(f"{item.nodeid}: there is no Chromium\n" for item in browser))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name in config.stash.get(MISSED, []):
        terminalreporter.line(f"NOT RUN {name}: there is no Chromium")


MISSED = pytest.StashKey[list[str]]()
