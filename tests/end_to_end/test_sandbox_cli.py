"""The command `sage-sandbox`, as a person starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

from sage_sandbox.cli import main, make_server, parser, welcome
from sage_sandbox.endpoints import ENDPOINTS
from sage_sandbox.faults import TROUBLES
from support.pages import ROOT, blocks_of

README = ROOT / "packages/sage-sandbox/README.md"
TINY = ["--port", "0", "--size", "tiny", "--businesses", "1"]


def setting(text: str, name: str) -> str:
    found = re.search(rf"^  {name} +(\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


def access_token(text: str) -> str:
    names = ("client_id", "client_secret", "refresh_token")
    form = {"grant_type": "refresh_token", **{name: setting(text, name) for name in names}}
    return str(requests.post(setting(text, "token_url"), data=form, timeout=60).json()["access_token"])


def test_the_command_prints_all_that_is_needed_serves_and_stops_cleanly() -> None:
    command = [sys.executable, "-W", "error", "-m", "sage_sandbox", *TINY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            reported = "".join(lines)
            headers = {"Authorization": f"Bearer {access_token(reported)}"}
            contacts = f"{setting(reported, 'api_url')}/contacts"
            before = requests.get(contacts, headers=headers, timeout=60)
            advance = setting(reported, "api_url").replace("/v3.1", "/_sandbox/advance")
            moved = requests.post(advance, json={"days": 2}, timeout=60)
            after = requests.get(contacts, headers=headers, timeout=60)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=300)
        finally:
            process.kill()  # a test that failed must not wait for it
    assert before.json()["$total"] > 0
    assert moved.status_code == 200
    assert before.headers["Date"][:16] != after.headers["Date"][:16]
    assert (process.returncode, errors) == (0, "")


def test_options_reach_the_simulation() -> None:
    options = ["--days", "1", "--latency", "0.01", "--rate-limit", "60", "--token-lifetime", "2"]
    with make_server(parser().parse_args([*TINY, *options])) as server:
        faults = server.faults
        assert (faults.latency, faults.rate_limit, faults.access_token_lifetime) == (0.01, 60, 2)
        assert len(server.world.businesses) == 1
        calm = make_server(parser().parse_args(TINY)).world
        assert (server.world.clock.now() - calm.clock.now()).days in {0, 1}
        assert server.world.clock.now() > calm.clock.now()


def test_a_rotated_refresh_token_is_not_shown_after_a_restart(tmp_path: Path) -> None:
    arguments = parser().parse_args([*TINY, "--data-dir", str(tmp_path)])
    with make_server(arguments) as first:
        assert setting(welcome(first), "refresh_token") == first.refresh_token
        access_token(welcome(first))
    with make_server(arguments) as second:
        reported = welcome(second)
        assert "your client has it" in reported
        assert not any(secret in reported for secret in second.issued_secrets - {second.refresh_token})


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is needed: apt-get install curl")
def test_the_calls_in_the_readme_of_the_sandbox_work_as_they_stand_there() -> None:
    calls = [block.text for block in blocks_of(README) if block.run_by and block.language == "sh"]
    with make_server(parser().parse_args(TINY)) as server:
        programs = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        script = "\n".join(calls).replace("http://127.0.0.1:8000", server.base_url)
        done = subprocess.run(["sh", "-euc", script], env=programs, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        page, answers = json.JSONDecoder().raw_decode(done.stdout)
        assert len(page["$items"]) == 2
        assert done.stdout[answers:].count('"now"') == 2
        assert [each.what for each in server.faults.script] == [503, "cut", "lost"]


def test_the_readme_of_the_sandbox_counts_right_and_its_python_works() -> None:
    text = README.read_text()
    [in_python] = [block.text for block in blocks_of(README) if block.run_by and block.language == "python"]
    assert f"All {len(ENDPOINTS)} paths" in text
    assert f"one of {len(TROUBLES)} troubles" in text
    shown = subprocess.run([sys.executable, "-c", in_python], capture_output=True, text=True, check=True).stdout
    assert "0 requests so far" in shown


def test_a_taken_port_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--size", "tiny", "--businesses", "1", "--port", port]) == 1
    assert "--port" in capsys.readouterr().err


def test_the_version_of_the_sandbox_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"sage-sandbox {version('sage-sandbox')}\n"


@pytest.mark.parametrize("arguments", [["--businesses", "0"], ["--size", "huge"], ["--rate-limit", "none"]])
def test_impossible_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_nothing_is_known_of_the_client() -> None:
    script = (
        "import sys, sage_sandbox.server, sage_sandbox.cli;"
        "print([m for m in sys.modules if m.startswith('tap_sage_accounting')])"
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"
