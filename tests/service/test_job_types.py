"""A type of jobs is a file and a row: a build with one more (tests/api/job_type_toy.c) makes, runs and serves its jobs,
with the files that its worker names; a build without it refuses them."""
from conftest import BUILD
from test_jobs import FAKE, fake, wait_end  # noqa: F401

TOY = '''#!/bin/sh
# Speaks as a worker does; leaves a file in its folder and names it.
folder=$(dirname "$3")
case $1 in
toy) printf 'twelve bytes' > "$folder/toy.bin"
     echo '{"event": "hello", "protocol": 1, "version": "toy", "pid": 1}'
     echo '{"event": "state", "state": "preparing"}'
     echo '{"event": "end", "state": "succeeded", "result": {"toys": 3, "artifacts": ["toy.bin"]}}' ;;
*) exec "FAKE" "$@" ;;
esac
'''


def make_toy(fake, tmp_path, **settings):  # noqa: F811
    worker = tmp_path / "toy_worker"
    worker.write_text(TOY.replace("FAKE", FAKE))
    worker.chmod(0o755)
    return fake(binary=str(worker), **settings)


def test_a_type_is_a_file_and_a_row(fake, tmp_path):  # noqa: F811
    server = make_toy(fake, tmp_path, program="tests/affectd_toy")
    answer = server.post_json("/v1/jobs", {"type": "toy", "dataset": "ready"})
    assert answer.status == 202, answer.body
    body = wait_end(server, answer.json()["id"])
    assert body["state"] == "succeeded" and body["type"] == "toy" and body["result"]["toys"] == 3, body
    assert set(body["links"]) >= {"self", "events", "artifacts"} and "plot" not in body["links"]
    files = server.get(body["links"]["artifacts"]).json()["data"]
    assert [(f["name"], f["bytes"]) for f in files] == [("toy.bin", 12)]
    whole = server.get(files[0]["links"]["self"])
    assert whole.body == b"twelve bytes" and whole.headers["ETag"] == f'"{files[0]["sha256"]}"'
    part = server.get(files[0]["links"]["self"], Range="bytes=7-")
    assert part.status == 206 and part.body == b"bytes"
    assert server.get(files[0]["links"]["self"], If_None_Match=whole.headers["ETag"]).status == 304
    wrong = server.post_json("/v1/jobs", {"type": "toy", "dataset": "ready", "colour": "red"})
    assert wrong.status == 422 and wrong.json()["errors"][0]["pointer"] == "/colour"
    unknown = server.post_json("/v1/jobs", {"type": "tyo"}).json()
    assert "need train or evaluate or toy" in str(unknown["errors"])
    assert [j["id"] for j in server.get("/v1/jobs?type=toy").json()["data"]] == [body["id"]]
    paused = server.request("POST", f"/v1/jobs/{body['id']}/pause")
    assert paused.status == 409 and "not paused" in paused.json()["detail"]
    server.stop()
    server.program = "bin/affectd"  # which has no such type: its jobs are still served, and end
    server.start()
    kept = server.get(f"/v1/jobs/{body['id']}").json()
    assert kept["result"] == body["result"] and "artifacts" not in kept["links"]
    assert server.post_json("/v1/jobs", {"type": "toy", "dataset": "ready"}).status == 422


def test_the_toy_is_in_no_shipped_program():
    assert b"job_type_toy" not in (BUILD / "bin/affectd").read_bytes()
