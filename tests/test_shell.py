"""How the process of a command ends at a signal, beside a server that never answers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fault_server import Rule, Site, served, with_files

PLACE = ("--bbox", "3.0200", "50.8155", "3.0245", "50.8185", "--datetime", "2023-06")
SECONDS = 15  # GDAL waits a minute and each file is tried three times; it ends in three seconds


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "code", "rule", "has_begun"),
    [
        (signal.SIGINT, 130, Rule("/vh.tif", "hang"), True),
        (signal.SIGTERM, 143, Rule("/vh.tif", "hang"), True),
        # A pause that the server asked for, in which threads hold nothing.
        (signal.SIGINT, 130, Rule("/vh.tif", "429, Retry-After: a minute"), True),
        (signal.SIGINT, 130, Rule("/search", "hang"), False),
    ],
    ids=["pixels", "pixels, SIGTERM", "pause", "search"],
)
def test_a_signal_ends_a_command_whose_server_hangs(
    scene: Path, tmp_path: Path, number: int, code: int, rule: Rule, has_begun: bool
) -> None:
    with served(Site(rules=[rule])) as site:
        with_files(site, scene)
        with predict(site.url, tmp_path) as running:
            try:
                until(lambda: rule.seen > 0, running)
                until(lambda: bool(list(tmp_path.iterdir())) == has_begun, running)
                time.sleep(0.3)  # the threads are in their reads
                begin = time.monotonic()
                running.send_signal(number)
                _, said = running.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGABRT)  # upon which it tells where its threads are
                pytest.fail(running.communicate()[1])
            finally:
                running.kill()
        assert running.returncode == code
    assert time.monotonic() - begin < SECONDS
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in said
    assert "could not be read" not in said


def predict(catalog: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-X", "faulthandler", "-m", "gssm.cli", "predict", *PLACE),
            *("--catalog", catalog, "--out", "a"),
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would what these tests start there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def until(happened: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    """Wait for the process to get so far."""
    end = time.monotonic() + 60
    while not happened():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
