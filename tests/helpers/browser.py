"""A headless Chromium, driven over two pipes: what a page loads, says, measures and looks like."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

PHONE, DESKTOP = (360, 740), (1280, 900)


def executable():
    """Path of a Chromium, or None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One browser with one tab; a context manager that always ends it.

    Attributes:
      requests: every address that the tab asked for.
      messages: whatever it wrote to its console or log, exceptions included.
    """

    def __init__(self, timeout=20.0):
        self.timeout = timeout
        self.requests, self.messages = [], []
        self._events, self._buffer, self._number, self._session = [], b"", 0, None

    def __enter__(self):
        program = executable()
        assert program, "no Chromium"
        self._profile = tempfile.mkdtemp(prefix="vae-chromium-")
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        flags += ["--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-sync"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={self._profile}", "about:blank"]
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        # Chromium reads its commands from descriptor 3 and answers on 4. Numbers out of the way, so that neither is
        # overwritten by the other; and no fork, against which jax warns.
        child = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (commands, answers)]
        actions = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, child[0], 3), (os.POSIX_SPAWN_DUP2, child[1], 4)]
        # A group of its own, which can be ended with all that the browser has started.
        self._process = os.posix_spawn(program, [program, *flags], os.environ, file_actions=actions, setpgroup=0)
        for end in (commands, answers, *child):
            os.close(end)
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method, **params):
        """Sends a command of the DevTools protocol and waits for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.timeout
        while True:
            answer = self._read(deadline, method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, place):
        """Opens a file, or an address that a server of the test has, and waits until it is loaded."""
        self._events.clear()
        self.call("Page.navigate", url=place if "://" in str(place) else Path(place).resolve().as_uri())
        deadline = time.monotonic() + self.timeout
        while "Page.loadEventFired" not in self._events:
            self._read(deadline, "load")

    def evaluate(self, expression):
        """The value of a JavaScript expression, as JSON carries it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression):
        """The value of a JavaScript expression, once it is true."""
        deadline = time.monotonic() + self.timeout
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)
        return value

    def size(self, width, height, scale=1):
        """Makes the tab a screen of so many CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def screenshot(self, path, clip=None):
        """Writes the whole page, or the box `clip` (x, y, width, height) of it, as PNG."""
        if clip is None:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = (0, 0, size["width"], size["height"])
        region = dict(zip(("x", "y", "width", "height"), clip, strict=True)) | {"scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=region)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path):
        """Prints the page on A4."""
        printed = self.call("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        Path(path).write_bytes(base64.b64decode(printed["data"]))

    def _read(self, deadline, what):
        """The next message; what it tells of requests and of the console is kept."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{what}: the browser did not answer")
            chunk = os.read(self._in, 1 << 20)
            if not chunk:
                raise RuntimeError(f"{what}: the browser ended")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method:
            self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(" ".join(str(value.get("value")) for value in params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded":
            self.messages.append(params["entry"]["text"])
        return message
