"""What is deleted leaves the disk: models, and shards that no dataset names; and bodies leave room on it."""
import os
import signal
import socket
import subprocess

import pytest

from conftest import Server
from test_jobs import real, train_id, wait_end, wait_state  # noqa: F401


def test_delete_models(real):  # noqa: F811
    server = real()
    for _ in range(3):
        assert wait_end(server, train_id(server))["state"] == "succeeded"
    files = lambda: sorted(p.name for p in server.folder.glob("data/models/first/*"))  # noqa: E731
    delete = lambda path: server.request("DELETE", path)  # noqa: E731
    assert delete("/v1/models/first/versions/3").status == 204 and files() == ["1.safetensors", "2.safetensors"]
    assert server.get("/v1/models/first/versions/3").status == 404
    assert server.get("/v1/models").json()["data"][0]["newest"]["version"] == 2
    running = train_id(server, 100000)
    wait_state(server, running, "running")
    answer = delete("/v1/models/first")
    assert answer.status == 409 and answer.json()["code"] == "in_use" and running in answer.json()["detail"]
    assert delete("/v1/models/first/versions/1").status == 204, "the job makes a new one"
    server.request("POST", f"/v1/jobs/{running}/cancel")
    wait_end(server, running)
    assert delete("/v1/models/first").status == 204 and files() == []
    assert delete("/v1/models/first").status == 404 and server.get("/v1/models").json()["data"] == []
    assert delete("/v1/models/first/versions/1").status == 404 and delete("/v1/models/none").status == 404
    assert wait_end(server, train_id(server))["result"]["version"] == 4, "numbers are not given again"


def test_shards_leave_with_the_last_dataset(real, tmp_path):  # noqa: F811
    server = real()
    features = server.folder / "data/features"
    shards = lambda: sorted(p.name for p in features.iterdir() if p.suffix == ".safetensors")  # noqa: E731
    first = shards()
    assert first
    body = {"name": "again", "source": {"path": "small"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 1}}}
    assert wait_end(server, server.post_json("/v1/datasets", body).json()["id"])["state"] == "succeeded"
    assert shards() == first, "the same recordings, the same shards"
    assert server.request("DELETE", "/v1/datasets/ready").status == 204 and shards() == first
    assert server.request("DELETE", "/v1/datasets/again").status == 204 and shards() == []
    (features / ("a" * 64 + ".safetensors")).write_bytes(b"left by a killed import")
    server.stop()
    server.start()
    assert shards() == []


def test_a_dataset_whose_deletion_a_kill_cut(real):  # noqa: F811
    """Its folder goes aside with its row: with the row there it comes back, else it goes, and its shards."""
    server = real()
    data = server.folder / "data"
    folder, = (data / "datasets").iterdir()
    files = sorted(p.name for p in folder.iterdir())
    server.stop(signal.SIGKILL)
    folder.rename(folder.with_name("." + folder.name))
    gone = folder.with_name(".ds_gone")
    gone.mkdir()
    (gone / "dataset.json").write_text("transcripts")
    foreign = [data / kind / ".snapshot" for kind in ("datasets", "jobs", "models")]
    for snapshot in foreign:
        snapshot.mkdir()
        (snapshot / "kept").write_text("of the file system's or the administrator's making")
    server.start()
    assert sorted(p.name for p in folder.iterdir()) == files and not gone.exists()
    for snapshot in foreign:
        assert (snapshot / "kept").exists(), "a hidden folder that is none of the server's"
        (snapshot / "kept").unlink()
        snapshot.rmdir()
    assert list((data / "features").iterdir())
    assert wait_end(server, train_id(server))["state"] == "succeeded"
    assert server.request("DELETE", "/v1/datasets/ready").status == 204
    assert not list((data / "datasets").iterdir()) and not list((data / "features").iterdir())


def test_a_damaged_manifest_keeps_no_dataset_from_being_deleted(real):  # noqa: F811
    server = real()
    body = {"name": "other", "source": {"path": "small"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 2}}}
    assert wait_end(server, server.post_json("/v1/datasets", body).json()["id"])["state"] == "succeeded"
    features = server.folder / "data/features"
    before = len(list(features.iterdir()))
    manifest = server.folder / "data/datasets" / server.get("/v1/datasets/ready").json()["id"] / "dataset.json"
    manifest.write_text("{")
    assert server.request("DELETE", "/v1/datasets/other").status == 204
    assert len(list(features.iterdir())) == before, "what the damaged manifest names is not known"
    assert server.request("DELETE", "/v1/datasets/ready").status == 204 and not list(features.iterdir())


def test_shards_leave_when_the_import_beside_which_they_were_left_ends(real):  # noqa: F811
    server = real(job_slots=1)
    features = server.folder / "data/features"
    shards = lambda: sorted(p.name for p in features.iterdir())  # noqa: E731
    first = shards()
    body = {"name": "other", "source": {"path": "small"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 2}}}
    assert wait_end(server, server.post_json("/v1/datasets", body).json()["id"])["state"] == "succeeded"
    both = shards()
    assert len(both) == 2 * len(first)
    answer = server.post_json("/v1/jobs", {"type": "train", "dataset": "other", "model": "m", "training": {"epochs": 100000},
                                           **server.body})
    running = answer.json()["id"]
    wait_state(server, running, "running")
    waiting = server.post_json("/v1/datasets", body | {"name": "third"}).json()["id"]
    assert server.request("DELETE", "/v1/datasets/ready").status == 204 and shards() == both, "an import may name them"
    server.request("POST", f"/v1/jobs/{waiting}/cancel")
    wait_end(server, waiting)
    server.wait_for(lambda: shards() == sorted(set(both) - set(first)), "the deleted dataset's shards to leave", 20)
    server.request("POST", f"/v1/jobs/{running}/cancel")
    wait_end(server, running)


def test_a_body_that_would_not_fit_is_refused_by_its_headers(make_server):
    disk = os.statvfs("/tmp")
    free = disk.f_bavail * disk.f_frsize
    server = make_server(disk_reserve_bytes=min(free - (64 << 20), 1 << 40))
    with server.connect() as link:
        link.sendall(b"POST /v1/datasets?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/gzip\r\n"
                     b"Content-Length: %d\r\n\r\n" % (1 << 30))
        received = link.recv(65536)
        assert b" 507 " in received and b"no_space" in received, received
    assert not list(server.folder.glob("data/spool/*"))


def test_what_does_not_fit_gives_its_space_back_at_once(tmp_path):
    data = tmp_path / "small"
    data.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", data],
                                           capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server", data=data, disk_reserve_bytes=0)
    try:
        with server.connect() as link:
            link.sendall(b"POST /v1/datasets?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/gzip\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\n")
            block = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
            try:
                for _ in range(40):
                    link.sendall(block)
            except OSError:
                pass
            server.wait_for(lambda: not list(data.glob("spool/*")), "the spool to be empty, the connection still open", 10)
            disk = os.statvfs(data)
            assert disk.f_bavail * disk.f_frsize > 16 << 20
        assert server.get("/readyz").status == 200
    finally:
        assert server.stop() == 0
        subprocess.run(["umount", "-l", data], check=True)
