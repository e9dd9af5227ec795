from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from sage_sandbox.grants import Client
from sage_sandbox.server import SandboxServer
from sage_workbench.small_sage import free_port, manager, small_world, store_at
from support.presence import present

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER),
        reason="a real Chromium is needed: apt-get install chromium chromium-driver",
    ),
]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=900,600",
)
COMMAND = [sys.executable, "-c", "from tap_sage_accounting.commands.login import login; login()"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = present(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


class Login:
    """A login in a terminal whose browser the test drives."""

    def __init__(self, sage: SandboxServer, directory: Path, *options: str) -> None:
        config = sage.tap_config(
            token_store=f"sqlite:///{directory / 'tokens.sqlite'}",
            redirect_uri=f"http://localhost:{free_port()}/callback",
        )
        del config["refresh_token"]
        path = directory / "config.json"
        path.write_text(json.dumps(config))
        self._process = subprocess.Popen(
            [*COMMAND, "--config", str(path), "--timeout", "300", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A browser that does nothing: the address is printed as well.
            env={**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"},
        )
        self._printed: list[str] = []
        self.url = self._address(sage.auth_url)

    def _address(self, beginning: str) -> str:
        for line in self._process.stdout or ():
            self._printed.append(line)
            if line.startswith(beginning):
                return line.strip()
        raise AssertionError(f"No address was printed, but: {''.join(self._printed)}")

    def end(self) -> tuple[int, str]:
        """Wait for the end; give the exit code and everything printed."""
        rest, _ = self._process.communicate(timeout=300)
        return self._process.returncode, "".join(self._printed) + rest


def page_of(chromium: Any, directory: Path) -> str:
    """Read the page that the user ended on, which must have loaded nothing else."""
    WebDriverWait(chromium, 60).until(lambda browser: "/callback" in browser.current_url)
    assert chromium.execute_script("return performance.getEntriesByType('resource').length") == 0
    chromium.save_screenshot(str(directory / "page.png"))
    return str(chromium.find_element(By.TAG_NAME, "main").text)


def test_a_login_in_a_real_browser_succeeds(chromium: Any, sage: SandboxServer, tmp_path: Path) -> None:
    login = Login(sage, tmp_path)
    chromium.get(login.url)
    assert "readonly" in chromium.find_element(By.TAG_NAME, "main").text
    chromium.find_element(By.ID, "allow").click()
    page = page_of(chromium, tmp_path)
    code, printed = login.end()
    assert code == 0, printed
    assert page.startswith("You are logged in")
    assert "They reach 2 businesses:" in printed
    assert not [secret for secret in {*sage.issued_secrets, sage.client_secret} if secret in printed]
    assert manager(sage, store_at(tmp_path), refresh_token=None).access_token()


@pytest.mark.parametrize(
    ("trouble", "button", "complaint"),
    [
        ("none", "deny", "Consent was denied in the browser"),
        ("wrong country", "allow", "Choose its country with --country"),
        ("expired code", "allow", "it is valid for 60 seconds"),
    ],
)
def test_a_login_that_fails_says_the_same_in_browser_and_terminal(
    chromium: Any, sage: SandboxServer, tmp_path: Path, trouble: str, button: str, complaint: str
) -> None:
    if trouble == "expired code":
        sage.faults.code_lifetime = 0
    login = Login(sage, tmp_path, *(("--country", "ca") if trouble == "wrong country" else ()))
    chromium.get(login.url)
    chromium.find_element(By.ID, button).click()
    page = page_of(chromium, tmp_path)
    code, printed = login.end()
    assert code == 1, printed
    assert page.startswith("The login did not work")
    assert complaint in page
    assert complaint in printed
    assert "Traceback" not in printed


def test_a_callback_of_another_login_does_not_end_the_one_that_waits(
    chromium: Any, sage: SandboxServer, tmp_path: Path
) -> None:
    login = Login(sage, tmp_path)
    chromium.get(login.url.replace("state=", "state=another"))
    chromium.find_element(By.ID, "allow").click()
    page = page_of(chromium, tmp_path)
    assert page.startswith("Not the answer to this login")
    assert "goes on waiting" in page
    chromium.get(login.url)
    chromium.find_element(By.ID, "allow").click()
    code, printed = login.end()
    assert code == 0, printed


def test_an_unregistered_redirect_uri_is_explained_in_the_terminal(
    chromium: Any, sage: SandboxServer, tmp_path: Path
) -> None:
    sage.grants.clients[sage.client_id] = Client(
        sage.client_id, sage.client_secret, redirect_uris=("http://localhost/",)
    )
    login = Login(sage, tmp_path, "--timeout", "1")
    chromium.get(login.url)
    assert "not registered" in chromium.find_element(By.TAG_NAME, "main").text
    code, printed = login.end()
    assert code == 1
    assert "register exactly the one of the setting 'redirect_uri'" in printed
