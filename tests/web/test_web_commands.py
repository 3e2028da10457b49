"""``gssm serve`` as a process: it answers, says what is wrong, and ends with all that it began."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from gssm import web_commands
from gssm.archive.repository import create_archive
from gssm.cli import app
from gssm.errors import ArchiveError, GssmWarning, RequestError
from gssm.web.demo import Demo

SECONDS = 60


@pytest.fixture
def archive(tmp_path):
    """An archive without dates."""
    return create_archive(tmp_path / "Flanders 2023", chunk=1000)


@contextmanager
def serving(archive, data, *words):
    """Run the command; give the process and the address that it tells."""
    command = (sys.executable, "-m", "gssm.cli", "serve", "--port", "0", "--data", str(data))
    running = subprocess.Popen(
        [*command, *(("--archive", archive.url) if archive else ()), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        # A shell's background jobs ignore Ctrl-C, and so would what these tests start there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        line = running.stdout.readline()
        found = re.search(r"serving (\S+) at (http://\S+) ", line)
        assert found, (line, running.communicate())
        yield running, found[1], found[2]
    finally:
        running.kill()
        running.communicate()


def answer(url):
    with urllib.request.urlopen(url, timeout=SECONDS) as found:
        return json.loads(found.read())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_it_answers_until_a_signal_and_leaves_nothing(archive, tmp_path, number, code):
    with serving(archive, tmp_path / "data") as (running, names, url):
        assert names == "flanders-2023"
        assert answer(f"{url}/api/v1/health") == {"status": "ok"}
        (dataset,) = answer(f"{url}/api/v1/datasets")["datasets"]
        assert dataset["id"] == "flanders-2023"
        # A page of somebody else that led its name here (DNS rebinding).
        foreign = urllib.request.Request(f"{url}/api/v1/health", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="421"):
            urllib.request.urlopen(foreign, timeout=SECONDS)
        # What holds a connection, as the events of a prediction do, does not hold the end.
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as idle:
            idle.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\n")
            running.send_signal(number)
            begin = time.monotonic()
            _, said = running.communicate(timeout=SECONDS)
        assert running.returncode == code
        assert time.monotonic() - begin < 30
        assert (said, "Traceback" in said) == ("", False)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((host, int(port)))


def test_a_server_beside_another_is_told_what_it_may_not_take(archive, tmp_path):
    with serving(archive, tmp_path / "data") as (_, _, url):
        port = url.rpartition(":")[2]
        words = ["serve", "--archive", archive.url, "--data", str(tmp_path / "data")]
        same_port = CliRunner().invoke(app, [*words, "--port", port])
        same_data = CliRunner().invoke(app, [*words, "--port", "0"])
    assert same_port.exit_code == same_data.exit_code == 2
    assert f"port {port} of 127.0.0.1 cannot be used (address already in use)" in flat(same_port)
    assert "another server" in flat(same_data)


def flat(result):
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--host", "no.such.host.invalid"], 2, "is no address"),
        (["--archive", "nowhere"], 5, "nowhere"),
        (["--model", "nowhere"], 2, "there is no model 'nowhere'"),
        (["--catalog", "nowhere"], 2, "there is no catalogue 'nowhere'"),
    ],
    ids=["host", "archive", "model", "catalogue"],
)
def test_what_cannot_be_served_is_one_sentence(tmp_path, monkeypatch, words, code, told):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["serve", "--port", "0", *words])
    assert done.exit_code == code
    assert told in flat(done)
    assert done.output.count("error:") == 1
    assert not list(tmp_path.iterdir())


def test_without_the_extra_it_says_how_to_add_it(monkeypatch):
    monkeypatch.setattr(web_commands, "NEEDED", {"no_such_module": "such-a-package"})
    done = CliRunner().invoke(app, ["serve"])
    assert done.exit_code == 2
    assert "needs such-a-package, which this installation of gssm has not" in flat(done)
    assert 'pip install "gssm[web]"' in flat(done)


def test_the_shell_starts_without_the_extra():
    """The other commands load nothing of it."""
    code = (
        "import sys, gssm.cli; "
        "print(*({'fastapi', 'uvicorn', 'starlette', 'rio_tiler', 'gssm.web'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_an_address_that_others_reach_is_warned_of(host, warns, recwarn):
    with web_commands._listen(host, 0) as listening:
        web_commands._warn_open(listening)
        port = listening.getsockname()[1]
        shown = "localhost" if warns else host
        assert web_commands._url(listening) == f"http://{shown}:{port}"
    told = [w for w in recwarn if issubclass(w.category, GssmWarning)]
    assert len(told) == warns
    assert all("no login" in str(w.message) for w in told)


@pytest.mark.parametrize(
    ("host", "names", "known"),
    [
        ("127.0.0.1", [], ("127.0.0.1", "localhost", "[::1]")),
        ("localhost", [], ("localhost", "127.0.0.1", "[::1]")),
        ("127.0.0.1", ["a.org"], ("a.org", "127.0.0.1", "localhost", "[::1]")),
        ("0.0.0.0", [], ()),
        ("0.0.0.0", ["a.org", "[::1]"], ("a.org", "[::1]", "0.0.0.0", "localhost", "127.0.0.1")),
    ],
)
def test_names_of_the_server_are_known_where_only_this_machine_reaches_it(host, names, known):
    with web_commands._listen(host, 0) as listening:
        assert web_commands._hosts(listening, host, names) == known


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host-name", "https://a.org"], "'https://a.org' is no name of a server"),
        (["--host-name", "a.org:8000"], "without scheme, port and path"),
        (["--proxy", "a.org"], "give addresses or networks, such as '10.0.0.0/8'"),
    ],
)
def test_names_and_proxies_are_checked_before_anything_is_made(monkeypatch, words, told):
    monkeypatch.delattr(web_commands, "_made")
    done = CliRunner().invoke(app, ["serve", "--port", "0", *words])
    assert done.exit_code == 2
    assert told in flat(done)


def test_proxies_and_names_reach_the_server(archive, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr(web_commands, "_run", lambda settings, *_: served.append(settings))
    words = ["--archive", archive.url, "--data", str(tmp_path / "data"), "--port", "0"]
    named = ["--proxy", "127.0.0.1", "--proxy", "10.0.0.0/8", "--host-name", "a.org"]
    assert CliRunner().invoke(app, ["serve", *words, *named]).exit_code == 0
    (settings,) = served
    assert settings.trusted_proxies == ("127.0.0.1", "10.0.0.0/8")
    assert "a.org" in settings.hosts


def test_names_of_archives_come_from_their_addresses(tmp_path):
    made = [create_archive(tmp_path / name).url for name in ("a/Wheat_1", "b/wheat_1", "--")]
    found = web_commands._archives([made[0], f"mine={made[1]}", made[1] + "/", made[2]])
    assert found == {"wheat_1": made[0], "mine": made[1], "wheat_1-2": made[1], "archive": made[2]}
    with pytest.raises(RequestError, match="two archives are named 'x'"):
        web_commands._archives([f"x={made[0]}", f"x={made[1]}"])
    with pytest.raises(ArchiveError):
        web_commands._archives([str(tmp_path / "none=there")])


def test_without_an_archive_the_demo_is_served_and_kept_apart(tmp_path, monkeypatch):
    asked = []

    def make_demo(folder, *, report, **sizes):
        asked.append((folder, sizes))
        report("simulating", 0, 0)
        report("mapping", 1, 2)
        return Demo(folder / "demo" / "archive", folder / "demo" / "catalogue")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("gssm.web.demo.make_demo", make_demo)
    served = web_commands._settings([], None, "", "default", None, (0, 0))
    assert served.archives == {"demo": str(tmp_path / "gssm/demo/archive")}
    assert served.data.parent == tmp_path / "gssm/web"
    assert (served.catalog, served.scheduler, served.model) == (None, None, "default")
    assert "simulated" in served.public.title
    own = web_commands._settings([], None, "tcp://a:1", "default", tmp_path / "here", (60, 5))
    assert own.data == tmp_path / "here"
    assert asked[1] == (tmp_path / "here", {"size": 60, "dates": 5})
    other = create_archive(tmp_path / "other").url
    assert web_commands._settings([other], None, "", "default", None, (0, 0)).data != served.data
