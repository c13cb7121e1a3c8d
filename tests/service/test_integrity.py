"""Stored files that are not what was stored are never served, and told."""
import json

import pytest

from test_jobs import real, train_id, wait_end  # noqa: F401


def damage(path, how):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    if how == "zeroed":
        data[-4000:] = bytes(4000)
    elif how == "flipped":
        data[-100] ^= 1
    elif how == "shorter":
        del data[-4:]
    elif how == "header":
        data[0:8] = b"\xff" * 8
    path.write_bytes(data)
    if how == "gone":
        path.unlink()


def predict(server):
    return server.post_form("/v1/predictions", {"model": "first", "mocap_face": ("f.txt", b"x")})


@pytest.mark.parametrize("how", ["zeroed", "flipped", "shorter", "header", "gone"])
def test_a_damaged_model(real, how):  # noqa: F811
    server = real()
    for _ in range(2):
        assert wait_end(server, train_id(server))["state"] == "succeeded"
    assert server.get("/v1/models/first/versions/2/artifact").status == 200, "believed by now"
    assert server.request("POST", "/v1/system/verify").json() == {"checked": 2, "damaged": []}
    damage(server.folder / "data/models/first/2.safetensors", how)
    body = {"type": "evaluate", "dataset": "ready", "model": "first:2"}
    for answer in (server.get("/v1/models/first/versions/2/artifact"), predict(server), server.post_json("/v1/jobs", body)):
        assert answer.status == 500 and answer.json()["code"] == "artifact_corrupt", answer.body
        assert str(server.folder) not in json.dumps(answer.json())
    assert server.get("/readyz").json()["damaged_artifacts"] == ["first:2"]
    assert server.request("POST", "/v1/system/verify").json() == {"checked": 2, "damaged": ["first:2"]}
    assert server.get("/v1/models/first/versions/1/artifact").status == 200


def test_a_damaged_shard_is_not_trained_on(real):  # noqa: F811
    server = real()
    shard = sorted(server.folder.glob("data/features/*.safetensors"))[0]
    whole = shard.read_bytes()
    damage(shard, "flipped")
    body = wait_end(server, train_id(server))
    assert body["state"] == "failed" and body["state_reason"] == "dataset_invalid", body
    assert shard.name[:16] in body["error"]["message"] and "damaged" in body["error"]["message"]
    assert str(server.folder) not in json.dumps(body)
    again = {"name": "again", "source": {"path": "small"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 1}}}
    assert wait_end(server, server.post_json("/v1/datasets", again).json()["id"])["state"] == "succeeded"
    assert shard.read_bytes() == whole, "an import makes it again"
    assert wait_end(server, train_id(server))["state"] == "succeeded"
