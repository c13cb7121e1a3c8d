"""The HTTP side: malformed requests, limits, slow clients, clients that leave, contract."""
import json
import re
import socket
import subprocess
import threading
import signal
import time

import pytest

from conftest import BUILD

pytestmark = pytest.mark.sanitized


def status_of(received):
    return int(received.split(b" ")[1]) if received.startswith(b"HTTP/1.1 ") else None


def n_answers(received):
    """How many answers came: one more than expected means that a request was smuggled."""
    return len(re.findall(rb"HTTP/1\.1 \d\d\d ", received))


def problem_of(received):
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, received
    return json.loads(body)


MALFORMED = {
    "length and chunked": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                          b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "two lengths": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                   b"Content-Length: 2\r\nContent-Length: 7\r\n\r\n{}",
    "blank before colon": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length : 2\r\n\r\n{}",
    "unknown transfer encoding": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    "control byte in target": b"GET /v1/\x01jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "%00 in target": b"GET /v1/jobs%00/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "NUL behind a value": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
    "transfer encoding in 1.0": b"POST /v1/jobs HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded length": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n 3\r\n\r\n{}",
    "folded transfer encoding": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a path for a host": b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a user for a host": b"GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "no header name": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "33 queries": b"GET /v1/models?" + b"&".join(b"limit=1" for _ in range(33)) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bad escape": b"GET /v1/jobs/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused_and_cut(steady, name):
    received = steady.raw(MALFORMED[name])
    assert status_of(received) == 400, received
    assert n_answers(received) == 1
    assert problem_of(received)["code"] == "malformed"


LIBRARY_REFUSES = {
    "no version": (b"GET /livez\r\n\r\n", 400), "a version of another protocol": (b"GET /livez HTTPS/1.1\r\n\r\n", 400),
    "version 2.0": (b"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    "a line without a colon": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n", 400),
    "a long target": (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "long headers": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
    "a length of 2^64": (b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551616\r\n\r\n", 413),
    "a length of letters": (b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: ab\r\n\r\n", 400)}


@pytest.mark.parametrize("name", LIBRARY_REFUSES)
def test_what_the_library_refuses_is_a_problem_or_a_cut(steady, name):
    """Its own answers are HTML, some of them with their head twice."""
    received = steady.raw(LIBRARY_REFUSES[name][0])
    if received:
        assert status_of(received) == LIBRARY_REFUSES[name][1] and n_answers(received) == 1, received
        assert problem_of(received)["status"] == LIBRARY_REFUSES[name][1] and b"\r\nConnection: close\r\n" in received
    else:
        assert "length" in name


def test_unknown_paths_methods_and_queries(steady):
    assert steady.get("/v1/nothing").json()["code"] == "not_found"
    answer = steady.request("PUT", "/v1/jobs", b"{}")
    assert answer.status == 405 and "POST" in answer.headers["Allow"] and "GET" in answer.headers["Allow"]
    answer = steady.get("/v1/jobs?limitt=3")
    assert answer.status == 422 and "limitt" in answer.json()["detail"]
    assert steady.get("/livez?x").status == 422


@pytest.mark.parametrize("query", ["=x", "=", "=&=", "%20=x", "limit=1&=x"])
def test_a_query_without_a_name_is_refused_and_hangs_nothing(steady, query):
    """Twice, and at once: there are two HTTP threads, each of which one such request could keep."""
    for _ in range(3):
        answer = steady.request("GET", f"/v1/models?{query}", timeout=5)
        assert answer.status == 422 and "unknown query" in answer.json()["detail"]
    assert steady.request("GET", "/livez", timeout=5).status == 200


@pytest.mark.parametrize("n", [450, 600, 1200, 4000])
def test_any_number_of_queries_is_answered_at_once_and_stops_nothing(make_server, n):
    """The library counted and copied them, stalled, and lost the request."""
    server = make_server()
    for _ in range(8):
        received = server.raw(b"GET /v1/models?" + b"&".join(b"a=" for _ in range(n)) + b" HTTP/1.1\r\nHost: localhost\r\n"
                              b"Connection: close\r\n\r\n", timeout=5)
        assert received == b"" or status_of(received) in (400, 413, 414, 431), received
    began = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - began < 5


def test_the_port_is_taken(make_server, tmp_path):
    server = make_server()
    done = subprocess.run([BUILD / "bin/affectd", "--data", tmp_path / "other", "--listen", f"127.0.0.1:{server.port}"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "Address already in use" in done.stderr, done.stderr


@pytest.mark.parametrize("host, asked", [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("[::1]", "[::1]"),
                                         ("[::1]", "[::]"), ("localhost", "localhost")])
def test_healthcheck(tmp_path, host, asked):
    """The same words for both programs."""
    try:
        with socket.create_server((host.strip("[]"), 0), family=socket.AF_INET6 if "[" in host else socket.AF_INET) as free:
            port = free.getsockname()[1]
    except OSError:
        pytest.skip("no IPv6 on this machine")
    check = [BUILD / "bin/affectd", "--healthcheck", "--listen", f"{asked}:{port}"]
    assert subprocess.run(check, timeout=20).returncode == 1
    server = subprocess.Popen([BUILD / "bin/affectd", "--data", tmp_path / "data", "--listen", f"{host}:{port}"])
    try:
        end = time.monotonic() + 30
        while subprocess.run(check, timeout=20).returncode != 0:
            assert time.monotonic() < end and server.poll() is None
    finally:
        server.terminate()
        server.wait(30)
    assert subprocess.run(check, timeout=20).returncode == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:8x", "127.0.0.1:65536", ":80"])
def test_no_port_at_all(tmp_path, listen):
    done = subprocess.run([BUILD / "bin/affectd", "--data", tmp_path / "data", "--listen", listen], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode in (1, 2) and "listen" in done.stderr, done.stderr


def test_foreign_names_and_pages(make_server):
    server = make_server(allowed_hosts="affect.example proxy.example")
    for host in ("localhost", f"127.0.0.1:{server.port}", "affect.example", "proxy.example:8443"):
        assert server.get("/v1/models", Host=host).status == 200
    answer = server.get("/v1/models", Host="evil.example")
    assert answer.status == 421 and answer.json()["code"] == "misdirected"
    for probe in ("/livez", "/readyz", "/healthz", "/metrics"):
        assert server.get(probe, Host="anything.example").status == 200
    send = lambda origin: server.post_json("/v1/jobs", {}, Origin=origin)  # noqa: E731
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        answer = send(origin)
        assert answer.status == 403 and answer.json()["code"] == "forbidden"
    assert send(f"http://127.0.0.1:{server.port}").status == 422
    assert server.get("/v1/models", Origin="https://evil.example").status == 200


def test_silent_connections_leave_room(make_server):
    """More than there are places: those that are silent longest go, and whoever asks is answered."""
    server = make_server(max_connections=60, max_connections_per_address=1000, max_event_readers=40)
    silent = [server.connect() for _ in range(150)]
    for _ in range(5):
        assert server.request("GET", "/livez", timeout=5).status == 200
        assert server.request("GET", "/v1/models", timeout=5).status == 200
    for link in silent:
        link.close()


def test_one_address_has_a_limit(make_server):
    server = make_server(max_connections=60, max_connections_per_address=5)
    links = [server.connect() for _ in range(8)]
    time.sleep(0.3)
    closed = 0
    for link in links:
        link.settimeout(0.2)
        try:
            closed += link.recv(1) == b""
        except TimeoutError:
            pass
        except ConnectionError:
            closed += 1
        link.close()
    assert closed >= 3
    server.wait_for(lambda: server.get("/livez").status == 200, "a place", 10)


def test_liveness_needs_no_handler(make_server, tmp_path):
    """Every handler waits for a driver that hangs: the listing of devices by a worker that does."""
    hanging = tmp_path / "affect"
    hanging.write_text(f"#!/bin/sh\n[ \"$1\" = inspect ] && exec sleep 600\nexec {BUILD / 'bin/affect'} \"$@\"\n")
    hanging.chmod(0o755)
    server = make_server(worker_binary=hanging, api_threads=1)
    begun = server.connect()
    begun.sendall(b"GET /v1/system HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.5)
    for _ in range(5):
        assert server.request("GET", "/livez", timeout=3).status == 200
    assert server.stop(seconds=10) == 0, "the stop does not wait for the driver"
    begun.close()


def test_media_types(steady):
    answer = steady.request("POST", "/v1/jobs", b"a=b",
                            {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 415 and "application/json" in answer.headers["Accept-Post"]
    answer = steady.request("POST", "/v1/jobs", b"{}", {"Content-Type": "application/json",
                                                       "Content-Encoding": "gzip"})
    assert answer.status == 415
    answer = steady.request("POST", "/v1/predictions", b"{}", {"Content-Type": "multipart/form-data"})
    assert answer.status == 400
    answer = steady.request("POST", "/v1/predictions", b"--bound\r\nContent-Disposition: form-data; name=\"a\"",
                            {"Content-Type": "multipart/form-data; boundary=bound"})
    assert answer.status == 422


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}x", '{"a":1,"a":2}', "[" * 100, '"\\u0000"', "nul"])
def test_bad_json(steady, text):
    answer = steady.request("POST", "/v1/jobs", text.encode(), {"Content-Type": "application/json"})
    assert answer.status in (400, 415, 422), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_announced_too_large_is_refused_before_the_body(steady):
    head = (b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 2147483648\r\nExpect: 100-continue\r\n\r\n")
    received = steady.raw(head)
    assert status_of(received) == 413
    assert b"100 Continue" not in received
    problem = problem_of(received)
    assert problem["code"] == "too_large" and problem["limit"] < 2147483648


def test_chunked_body_beyond_the_limit(make_server):
    server = make_server(max_json_bytes=1024)
    with server.connect() as s:
        s.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            s.sendall(b"200\r\n" + b" " * 512 + b"\r\n")
        s.sendall(b"0\r\n\r\n")
        assert status_of(s.recv(65536)) == 413
    assert server.get("/readyz").status == 200


def test_a_body_where_none_is_taken(steady):
    assert steady.request("GET", "/livez", b"x" * 10).status == 413


def test_slow_headers_are_cut(make_server):
    server = make_server(header_timeout_seconds=0.5)
    with server.connect() as s:
        started = time.monotonic()
        try:
            for byte in b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 200:
                s.sendall(bytes([byte]))
                time.sleep(0.05)
            pytest.fail("ten seconds of headers were waited for")
        except OSError:
            pass
        assert time.monotonic() - started < 5
    assert server.get("/readyz").status == 200


def test_an_idle_connection_is_not_slow_headers(make_server):
    server = make_server(header_timeout_seconds=0.3)
    with server.connect() as s:
        for _ in range(2):
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status_of(s.recv(65536)) == 200
            time.sleep(1)


def test_slow_bodies_are_cut(make_server):
    server = make_server(body_timeout_seconds=0.5, min_body_bytes_per_second=1000)
    with server.connect() as s:
        s.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Content-Length: 1000\r\n\r\n")
        started = time.monotonic()
        try:
            for _ in range(100):
                s.sendall(b" ")
                time.sleep(0.05)
            pytest.fail("five seconds of body were waited for")
        except OSError:
            pass
        assert time.monotonic() - started < 4
    assert server.get("/readyz").status == 200


def test_a_client_that_leaves_in_the_middle(steady):
    for cut in (30, 90, 130, 200):
        data = (b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n" + b" " * 900)
        with steady.connect() as s:
            s.sendall(data[:cut])
    time.sleep(0.3)
    assert steady.get("/livez").status == 200


def test_pipelining_and_keep_alive(steady):
    with steady.connect() as s:
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        received = b""
        while received.count(b'{"status":"ok"}') < 5:
            piece = s.recv(65536)
            assert piece, received
            received += piece
        s.sendall(b"GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(s.recv(65536)) == 404
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(s.recv(65536)) == 200, "a 404 need not end the connection"


def test_head(steady):
    answer = steady.request("HEAD", "/livez")
    assert answer.status == 200 and answer.body == b"" and int(answer.headers["Content-Length"]) > 0


def test_request_ids(steady):
    assert steady.get("/livez", X_Request_Id="mine-1").headers["X-Request-Id"] == "mine-1"
    made = steady.get("/livez", X_Request_Id='bad id"').headers["X-Request-Id"]
    assert made.startswith("req_")
    assert steady.get("/v1/nothing", X_Request_Id="mine-2").json()["request_id"] == "mine-2"


def test_many_connections_at_once(steady):
    errors = []

    def visit():
        try:
            for _ in range(20):
                assert steady.get("/livez").status == 200
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=visit) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_contract_and_routes_agree(server):
    """Every documented path answers something else than 404 'no resource', and 405 names its methods."""
    contract = server.get("/openapi.json").json()
    assert contract["openapi"].startswith("3.")
    for path, operations in contract["paths"].items():
        real = path.replace("{", "x").replace("}", "x")
        answer = server.request("PATCH", real)
        assert answer.status == 405, path
        allowed = {m.strip() for m in answer.headers["Allow"].split(",")} - {"HEAD"}
        assert allowed == {m.upper() for m in operations}, path


def test_what_a_schema_promises_is_checked(server):
    """Found by schemathesis, or while the contract was made of the tables."""
    for name in ("%C3%BE", "-a", "a%20b"):  # no model can be called so: as little there as any other
        answer = server.get(f"/v1/models/{name}/versions/1")
        assert (answer.status, answer.json()["code"]) == (404, "not_found"), name
    answer = server.get("/v1/jobs/job_none/events?after=0", Last_Event_ID="x")  # was ignored beside ?after
    assert answer.status == 422 and "Last-Event-ID" in answer.json()["detail"]
    for options in ("fast", 5, ["pattern"]):  # were taken for none
        answer = server.post_json("/v1/datasets", {"name": "d", "source": {"path": "x"}, "options": options})
        assert "/options" in [error["pointer"] for error in answer.json()["errors"]], options
    for query in ("limit=1e1", "limit=+1", "limit=", "limit=0x1", "state=done", "type=training", "limit=501"):
        assert server.get(f"/v1/jobs?{query}").status == 422, query
    for value in ("1", "yes", ""):
        assert server.post_json(f"/v1/jobs?dry_run={value}", {}).status == 422, value


def test_metrics_and_system(steady):
    text = steady.get("/metrics").body.decode()
    assert "affectd_requests_total{" in text and "process_open_fds" in text
    system = steady.get("/v1/system").json()
    assert system["devices"][0]["device"] == "cpu" and "data" not in system["settings"]
    assert system["devices"][0]["cores"] >= 1 and system["devices"][0]["memory_bytes"] > 0
    has_gpu = any(device["device"] == "cuda:0" for device in system["devices"])
    assert has_gpu == (system["cuda_unavailable"] is None)


def test_sigterm_stops_cleanly_with_clients_connected(make_server):
    server = make_server()
    idle = [server.connect() for _ in range(5)]
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 10
    for s in idle:
        s.close()


def test_a_stopping_server_finishes_what_it_began_and_refuses_the_rest(make_server):
    """While the body of one request still comes, new requests hear that the server stops."""
    server = make_server()
    begun = server.connect()
    begun.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Content-Length: 4\r\n\r\n{")
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for(lambda: server.get("/readyz").status == 503, "draining")
    refused = server.get("/v1/system")
    assert refused.status == 503 and refused.json()["code"] == "draining"
    assert refused.headers["Connection"] == "close" and int(refused.headers["Retry-After"]) > 0
    begun.sendall(b"   ")
    assert begun.recv(100).startswith(b"HTTP/1.1 400 ")
    assert server.process.wait(30) == 0


def test_two_servers_on_one_data_folder(server):
    import subprocess
    from conftest import BUILD
    second = subprocess.run([BUILD / "bin/affectd", "--data", server.folder / "data", "--listen",
                             "127.0.0.1:0"], capture_output=True, text=True, timeout=30)
    assert second.returncode == 1 and "another affectd" in second.stderr


def test_all_wrong_settings_at_once(tmp_path):
    import subprocess
    from conftest import BUILD
    (tmp_path / "server.json").write_text('{"job_slots": 0, "api_threads": "x", "log_level": 3, "listen": "127.0.0.1:0"}')
    ended = subprocess.run([BUILD / "bin/affectd", "--config", tmp_path / "server.json", "--data", tmp_path / "data"],
                           capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert all(name in ended.stderr for name in ("server.json", "job_slots", "api_threads", "log_level"))


def test_a_data_folder_that_cannot_be_written(tmp_path):
    """What is wrong is told as it is: no other affectd is there."""
    import subprocess
    from conftest import BUILD
    (tmp_path / "data").mkdir()
    start = f"mount -t tmpfs -o ro none {tmp_path}/data && exec {BUILD}/bin/affectd --data {tmp_path}/data --listen 127.0.0.1:0"
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path / "data"],
                      capture_output=True, check=False).returncode:
        (tmp_path / "data/lock").mkdir()
        start = f"exec {BUILD}/bin/affectd --data {tmp_path}/data --listen 127.0.0.1:0"
    ended = subprocess.run(["unshare", "-m", "sh", "-c", start] if "mount" in start else ["sh", "-c", start], text=True,
                           capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1 and "the data folder cannot be written" in ended.stderr
    assert "another affectd" not in ended.stderr


@pytest.mark.parametrize("arguments, part", [
    (["--listen", "0.0.0.0:0"], "--allow-anonymous"),
    (["--listen", "nonsense"], "HOST:PORT"),
    (["--set", "job_slot=1"], "job_slot"),
    (["--set", "job_slots=0"], "job_slots"),
    (["--frobnicate"], "frobnicate"),
    (["--config", "/nonexistent.json"], "nonexistent"),
    (["--config"], "--config"), (["--config="], "--config"),
])
def test_wrong_settings_are_named(tmp_path, arguments, part):
    import subprocess
    from conftest import BUILD
    run = subprocess.run([BUILD / "bin/affectd", "--data", tmp_path / "d", *arguments],
                         capture_output=True, text=True, timeout=30)
    assert run.returncode != 0 and part in run.stderr


def test_settings_from_file_environment_and_flags(tmp_path):
    import os
    import subprocess
    from conftest import BUILD
    config = tmp_path / "config.json"
    config.write_text('{"job_slots": 3, "job_queue": 7}')
    run = subprocess.run([BUILD / "bin/affectd", "--config", config, "--set", "job_queue=zero"],
                         capture_output=True, text=True, timeout=30,
                         env={**os.environ, "AFFECTD_PREDICTORS": "2"})
    assert "job_queue" in run.stderr
    run = subprocess.run([BUILD / "bin/affectd", "--help"], capture_output=True, text=True,
                         env={**os.environ, "AFFECTD_NONSENSE": "2"}, timeout=30)
    assert "nonsense" in run.stderr


@pytest.mark.parametrize("target", ["/v1/models?limit=1&limit=2", "/v1/jobs?state=queued&state=queued",
                                    "/v1/jobs/x/plot.svg?compare=a&compare=b", "/v1/jobs/x?wait=0&wait=1"])
def test_a_query_given_twice_is_refused(steady, target):
    answer = steady.get(target)
    assert answer.status == 422 and "given twice" in answer.json()["detail"]


@pytest.mark.parametrize("path,given", [
    ("/v1/jobs", "application/jsonx"), ("/v1/jobs", "application/json-seq"),
    ("/v1/datasets", "application/jsonx"), ("/v1/datasets", "multipart/form-datax; boundary=b"),
    ("/v1/datasets", "multipart/mixed; boundary=b"), ("/v1/predictions", "multipart/form-datax; boundary=b")])
def test_media_types_are_compared_whole(steady, path, given):
    answer = steady.request("POST", path, b"{}", {"Content-Type": given})
    assert answer.status == 415 and answer.headers["Accept-Post"], answer.body


@pytest.mark.parametrize("given", ["application/json;charset=utf-8", "Application/JSON ; charset=utf-8"])
def test_media_types_may_have_parameters(steady, given):
    answer = steady.request("POST", "/v1/jobs", b"[]", {"Content-Type": given})
    assert answer.status == 422, answer.body


FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


def part(name, value):
    return b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name, value)


@pytest.mark.parametrize("path,name", [("/v1/datasets", b"layout"), ("/v1/predictions", b"model")])
def test_a_part_given_twice_is_refused(steady, path, name):
    answer = steady.request("POST", path, part(name, b"iemocap") + part(name, b"table") + b"--edge--\r\n", FORM)
    assert answer.status == 422 and b"given twice" in answer.body, answer.body


def test_a_value_that_begins_with_a_line_break_is_one_part(steady):
    """libmicrohttpd tells of its begin twice when the break is where the first piece ends."""
    body = part(b"audio", b"\r\nhello") + b"--edge--\r\n"
    cut = body.index(b"\r\nhello") + 2
    with steady.connect() as s:
        s.sendall(b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                  b"Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: %d\r\n\r\n" % len(body)
                  + body[:cut])
        time.sleep(0.3)
        s.sendall(body[cut:])
        received = b""
        while piece := s.recv(65536):
            received += piece
    assert status_of(received) == 422 and b"given twice" not in received, received


@pytest.mark.parametrize("field", ["source", "features", "labels"])
@pytest.mark.parametrize("value", [[1], [[]], [{"path": "a"}], 1, "a", True, [None], {}])
def test_an_import_whose_fields_are_no_objects_is_refused(server, field, value):
    body = {"name": "d", "layout": "folders", "source": {"path": "a"}, field: value}
    assert server.post_json("/v1/datasets", body).status == 422
