"""A running affectd for each test that asks for one, and raw sockets to talk to it.

The programs are those of AFFECT_BUILD (default: build/ of the source tree). Each server has a data
folder of its own, listens on a free loopback port and must stop cleanly at the end.
"""
import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("AFFECT_BUILD", ROOT / "build")).resolve()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Server:
    """affectd as a child process; settings are given as keyword arguments."""

    def __init__(self, folder, program="bin/affectd", **settings):
        self.folder, self.program = pathlib.Path(folder), program
        self.settings = {"listen": "127.0.0.1:0", **settings}
        self.host = "::1" if self.settings["listen"].startswith("[::1]") else "127.0.0.1"
        self.process = None
        self.start()

    def start(self):
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        arguments = [str(BUILD / self.program), "--data", str(self.folder / "data"),
                     "--port-file", str(port_file)]
        for name, value in self.settings.items():
            arguments += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AFFECTD_")}
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(arguments, stderr=self.log, stdout=self.log,
                                        stdin=subprocess.DEVNULL, env=environment)
        self.wait_for(port_file.exists, "the port file")
        self.port = int(port_file.read_text())
        self.wait_for(lambda: self.get("/readyz").status == 200, "readiness")

    def wait_for(self, condition, what, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"affectd ended: {(self.folder / 'log').read_text()[-2000:]}")
            if condition():
                return
            time.sleep(0.02)
        raise AssertionError(f"no {what} within {seconds} s: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, number=signal.SIGTERM, seconds=30):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"affectd did not stop within {seconds} s")
        self.log.close()
        return self.process.returncode

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            try:
                connection.request(method, path, body, headers or {})
            except (BrokenPipeError, ConnectionResetError):
                pass  # answered by its headers, before the body was read
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post_json(self, path, document, **headers):
        return self.request("POST", path, json.dumps(document),
                            {"Content-Type": "application/json", **headers})

    def post_form(self, path, fields):
        """fields: name -> text, or name -> (file name, bytes)."""
        boundary = uuid.uuid4().hex
        body = b""
        for name, value in fields.items():
            file_name = f'; filename="{value[0]}"' if isinstance(value, tuple) else ""
            data = value[1] if isinstance(value, tuple) else str(value).encode()
            body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'
                     .encode() + data + b"\r\n")
        body += f"--{boundary}--\r\n".encode()
        return self.request("POST", path, body,
                            {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def connect(self, timeout=30):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def raw(self, data, timeout=30):
        """Sends bytes and returns all that comes back until the server closes."""
        with self.connect(timeout) as s:
            s.sendall(data)
            received = b""
            while True:
                try:
                    piece = s.recv(65536)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                received += piece
            return received

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.split(" ")[0] == name:
                return float(line.split(" ")[1])
        raise KeyError(name)


@pytest.fixture(autouse=True)
def no_sanitizer_report():
    """Where servers are built with sanitizers (AFFECT_SANITIZER_REPORTS, the folder of their log_path): what one
    of them or of their workers reported during the test fails it."""
    yield
    folder, found = os.environ.get("AFFECT_SANITIZER_REPORTS"), []
    for report in sorted(pathlib.Path(folder).glob("*.*")) if folder else ():
        found.append(report.read_text(errors="replace"))
        report.rename(report.with_name("seen-" + report.name.replace(".", "-")))
    assert not found, "\n".join(found)[:20000]


@pytest.fixture
def server_in():
    """server_in(folder, **settings) -> a running Server; all are stopped, and must stop cleanly."""
    servers = []

    def make(folder, **settings):
        servers.append(Server(folder, **settings))
        return servers[-1]

    yield make
    codes = [server.stop() for server in servers]
    assert all(code in (0, -signal.SIGKILL) for code in codes), codes


@pytest.fixture
def make_server(server_in, tmp_path):
    """make_server(**settings) -> a server in a new folder."""
    folders = (tmp_path / f"server{number}" for number in itertools.count())

    def make(**settings):
        folder = next(folders)
        folder.mkdir()
        return server_in(folder, **settings)

    return make


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def steady(server):
    """Checks after the test: ready, and as many descriptors as before."""
    server.get("/livez")
    before = server.metric("process_open_fds")
    yield server
    assert server.get("/readyz").status == 200
    server.wait_for(lambda: server.metric("process_open_fds") <= before, "return of descriptors", 10)
