"""Debian's Chromium under Playwright, for the tests that need a real browser."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser")
# Nothing but the pages: no first run, no updates, no calls home. Root needs --no-sandbox.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=EXECUTABLE, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()
