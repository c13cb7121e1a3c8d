#!/usr/bin/env python3
"""Rates of small reads beside nginx, and how late events reach a thousand readers while a training computes.

    tests/bench/reads.py BUILD [BUILD ...]        (wrk and nginx-light of Debian; numpy)

Each round measures every server in turn, so that all see the same machine; figures are medians of the rounds. nginx serves
the same bytes as a static file and logs each request, as affectd does.
"""
import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/service"), str(ROOT / "tests/corpus")]
MODEL = "/v1/models/m/versions/1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_nginx(folder, body):
    port = free_port()
    (folder / "www").mkdir()
    (folder / "www/document").write_bytes(body)
    (folder / "www/live").write_text('{"status":"ok"}\n')
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log; default_type application/json; sendfile on; keepalive_requests 100000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
""")
    folder.chmod(0o755)
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL)
    return process, port


def rate(port, path, seconds):
    """Requests a second, and the 99th percentile in milliseconds."""
    text = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"],
                          capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(text)
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def load_server(build):
    """conftest's Server for a build."""
    os.environ["AFFECT_BUILD"] = str(build)
    for name in ("conftest", "test_failures"):
        sys.modules.pop(name, None)
    import conftest
    return conftest.Server


def prepare(server):
    from small_tree import SmallTree
    from test_failures import start_job, wait_end
    SmallTree(server.folder / "corpora/few")
    body = {"name": "few", "source": {"path": "few"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 1}}}
    assert wait_end(server, start_job(server, "/v1/datasets", body))["state"] == "succeeded"
    train = {"type": "train", "dataset": "few", "architecture": "paper-optimized", "model": "m",
             "split": {"kind": "random", "validation": 0.5, "seed": 1}, "training": {"epochs": 1, "batch_size": 8}}
    assert wait_end(server, start_job(server, "/v1/jobs", train))["state"] == "succeeded"
    return train


class Readers(threading.Thread):
    """Event readers on one thread: when each epoch's event came, measured from the first reader that had it."""

    def __init__(self, port, job, n):
        super().__init__(daemon=True)
        self.links, self.spread, self.stop = [], [], False
        for _ in range(n):
            link = socket.create_connection(("127.0.0.1", port))
            link.sendall(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
            self.links.append(link)

    def run(self):
        import selectors
        watch = selectors.DefaultSelector()
        for link in self.links:
            link.setblocking(False)
            watch.register(link, selectors.EVENT_READ, [b""])
        first = {}
        while not self.stop:
            for key, _ in watch.select(0.2):
                now = time.monotonic()
                data = key.data[0] + key.fileobj.recv(1 << 16)
                *blocks, key.data[0] = data.split(b"\n\n")
                for block in blocks:
                    if b"event: epoch" in block:
                        seq = re.search(rb"id: (\d+)", block)[1]
                        self.spread.append((now - first.setdefault(seq, now)) * 1e3)


def start_training(server, train):
    from test_failures import start_job
    job = start_job(server, "/v1/jobs", train | {"training": {"epochs": 100000, "batch_size": 8}, "model": "events"})
    server.wait_for(lambda: server.get(f"/v1/jobs/{job}").json()["state"] == "running", "running")
    return job


def measure_while_training(server, train, nginx_port, seconds):
    job = start_training(server, train)
    pairs = [(rate(nginx_port, "/document", seconds), rate(server.port, MODEL, seconds)) for _ in range(3)]
    server.request("POST", f"/v1/jobs/{job}/cancel")
    return statistics.median(b[0] for _, b in pairs), statistics.median(b[0] / a[0] for a, b in pairs)


def measure_readers(server, train, n, seconds):
    job = start_training(server, train)
    readers = Readers(server.port, job, n)
    readers.start()
    time.sleep(seconds)
    readers.stop = True
    readers.join()
    server.request("POST", f"/v1/jobs/{job}/cancel")
    for link in readers.links:
        link.close()
    late = sorted(readers.spread[len(readers.spread) // 4:])  # the first quarter catches up
    return {"events": len(late), "p50_ms": late[len(late) // 2], "p99_ms": late[len(late) * 99 // 100], "max_ms": late[-1]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("builds", nargs="+", type=pathlib.Path)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=3)
    arguments.add_argument("--readers", type=int, default=1000, help="0: rates only")
    given = arguments.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        servers = []
        for i, build in enumerate(given.builds):
            home = folder / f"server{i}"
            (home / "corpora").mkdir(parents=True)
            known = subprocess.run([build / "bin/affectd", "--help"], capture_output=True, text=True, check=True).stdout
            limit = {n: 2000 for n in ("max_connections", "max_connections_per_address") if re.search(rf"\b{n}\b", known)}
            server = load_server(build.resolve())(home, import_root=home / "corpora", **limit)
            servers.append((build, server, prepare(server)))
        (folder / "nginx").mkdir()
        folder.chmod(0o755)
        nginx, port = start_nginx(folder / "nginx", servers[0][1].get(MODEL).body)
        time.sleep(0.5)
        try:
            for _ in range(given.rounds):
                for what, ours, theirs in (("document", MODEL, "/document"), ("livez", "/livez", "/live")):
                    results.setdefault(("nginx", what), []).append(rate(port, theirs, given.seconds))
                    for build, server, _ in servers:
                        results.setdefault((str(build), what), []).append(rate(server.port, ours, given.seconds))
            for (who, what), rows in results.items():
                of_nginx = statistics.median(a[0] / b[0] for a, b in zip(rows, results["nginx", what]))
                print(f"{who:32} {what:9} {statistics.median(r[0] for r in rows):9.0f}/s"
                      f"  p99 {statistics.median(r[1] for r in rows):7.2f} ms  {of_nginx:5.2f} of nginx")
            for build, server, train in servers:
                number, of_nginx = measure_while_training(server, train, port, given.seconds)
                print(f"{str(build):32} document, while a training computes: {number:.0f}/s, {of_nginx:.2f} of nginx")
            for build, server, train in servers if given.readers else ():
                print(f"{str(build):32} {given.readers} readers: {json.dumps(measure_readers(server, train, given.readers, 10))}")
        finally:
            nginx.terminate()
            for _, server, _ in servers:
                server.stop()


main()
