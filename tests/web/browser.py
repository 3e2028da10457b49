"""Debian's Chromium under Playwright, for tests of the page and for its pictures."""

import os
import shutil
import socket
import tempfile
import threading
import time
from contextlib import contextmanager

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    # WebGL without a graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def chromium():
    """Path of a Chromium; skips without one, but fails on CI, where it must be."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium on PATH, which the tests of the page need.")
        pytest.skip("there is no chromium on PATH; apt install chromium")
    return found


@contextmanager
def browser():
    """Browser with a profile of its own, headless."""
    path = chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with tempfile.TemporaryDirectory() as profile, playwright.sync_playwright() as started:
        made = started.chromium.launch_persistent_context(
            profile, executable_path=path, headless=True, args=list(FLAGS), viewport=DESKTOP
        )
        try:
            yield made
        finally:
            made.close()


@contextmanager
def serving(app, seconds=30.0):
    """Address of an app that uvicorn serves on loopback in a thread."""
    import uvicorn

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    while not server.started:
        if time.monotonic() > until or not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)
