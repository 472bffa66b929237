"""
A browser without a screen.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from http.client import HTTPConnection
from socket import create_server
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.directory import shortDirectory

whyNot = (
    "chromium is not installed (Debian: chromium)"
    if shutil.which("chromium") is None
    else "chromedriver is not installed (Debian: chromium-driver)"
    if shutil.which("chromedriver") is None
    else ""
)
"""
The reason why there can be no browser here, or an empty string.
"""

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage"
)


class Browser:
    """
    Chromium, driven over WebDriver (W3C), for one test.
    """

    def __init__(self, case: SynchronousTestCase, width: int, height: int) -> None:
        """
        @param case: The test; when it ends the browser is closed.

        @param width: The width of the page, in CSS pixels.

        @param height: The height of the page, in CSS pixels.
        """
        profile = shortDirectory(case)
        # Without IPv6 chromedriver does not print the port that it has chosen.
        with create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.PIPE, text=True
        )
        case.addCleanup(driver.communicate)
        case.addCleanup(driver.kill)
        assert driver.stdout is not None
        for line in driver.stdout:
            if "started successfully on port" in line:
                break
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        case.addCleanup(self._connection.close)
        self._session = ""
        options = {
            "args": [*_FLAGS.split(), f"--user-data-dir={profile}"],
            "mobileEmulation": {
                "deviceMetrics": {"width": width, "height": height, "pixelRatio": 1}
            },
        }
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        wanted = {"capabilities": {"alwaysMatch": capabilities}}
        session = self._request("POST", "", wanted)
        self._session = "/" + session["sessionId"]
        case.addCleanup(self._request, "DELETE", "")

    def _request(self, method: str, path: str, values: Any = None) -> Any:
        body = None if values is None else json.dumps(values)
        self._connection.request(method, f"/session{self._session}{path}", body)
        response = json.loads(self._connection.getresponse().read())["value"]
        if isinstance(response, dict) and "error" in response:
            raise RuntimeError(response["message"])
        return response

    def open(self, url: str) -> None:
        """
        Load a page.
        """
        self._request("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """
        Run the body of a JavaScript function in the page, and return its result.
        """
        return self._request("POST", "/execute/sync", {"script": script, "args": []})

    def command(self, name: str, **parameters: Any) -> Any:
        """
        Send a command of the Chrome DevTools protocol.
        """
        values = {"cmd": name, "params": parameters}
        return self._request("POST", "/goog/cdp/execute", values)

    def text(self, selector: str) -> str:
        """
        Return the text of the first element that matches a selector.
        """
        return str(self.run(f"return document.querySelector({selector!r}).innerText"))

    def messages(self) -> list[str]:
        """
        Return the messages in the console since the last call.
        """
        entries = self._request("POST", "/se/log", {"type": "browser"})
        messages = [entry["message"] for entry in entries]
        # Without a network the browser's own start page reports a slow one.
        return [each for each in messages if not each.startswith("chrome://")]
