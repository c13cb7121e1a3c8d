"""/metrics as Prometheus' own parsers read it: each family in one block with its type, histograms that hold together."""
import collections
import shutil
import subprocess

import pytest

from test_jobs import fake, train_id, wait_end  # noqa: F401

parser = pytest.importorskip("prometheus_client.parser")


def families(server):
    return list(parser.text_string_to_metric_families(server.get("/metrics").body.decode()))


def value(found, name, **labels):
    return sum(s.value for f in found for s in f.samples if s.name == name and labels.items() <= s.labels.items())


def check_histogram(family):
    """Buckets rise to +Inf, which is the count."""
    rows = collections.defaultdict(list)
    for sample in family.samples:
        labels = frozenset((k, v) for k, v in sample.labels.items() if k != "le")
        rows[sample.name.removeprefix(family.name), labels].append((sample.labels.get("le"), sample.value))
    for labels in {labels for _, labels in rows}:
        buckets = rows["_bucket", labels]
        bounds = [float(le) for le, _ in buckets]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf")
        counts = [n for _, n in buckets]
        assert counts == sorted(counts) and [(None, counts[-1])] == rows["_count", labels]
        assert len(rows["_sum", labels]) == 1


def test_every_family_keeps_its_type(fake):  # noqa: F811
    server = fake()
    job = train_id(server, 2)
    wait_end(server, job)
    for path in ("/livez", "/v1/jobs", "/v1/jobs/none", "/nowhere", f"/v1/jobs/{job}?wait=1", "/v1/models"):
        server.get(path)
    server.get(f"/v1/jobs/{job}/events", Accept="text/event-stream")
    server.post_form("/v1/predictions", {"model": "none"})
    text = server.get("/metrics").body.decode()
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert types == helps and len(set(types)) == len(types) > 15
    found = families(server)
    assert len({f.name for f in found}) == len(found) == len(types)
    assert all(f.type in ("counter", "gauge", "histogram") and f.documentation for f in found)
    for family in found:
        if family.type == "histogram":
            check_histogram(family)
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)


def test_latencies_by_class(fake):  # noqa: F811
    server = fake()
    job = train_id(server, 2)
    wait_end(server, job)
    before = families(server)
    server.get("/livez")
    server.get("/v1/jobs")
    server.get(f"/v1/jobs/{job}")
    server.get(f"/v1/jobs/{job}?wait=1")
    server.get(f"/v1/jobs/{job}/events", Accept="text/event-stream")
    server.post_json("/v1/jobs", {})
    server.post_json("/v1/datasets", {})
    server.post_form("/v1/predictions", {"model": "none"})
    server.get("/nowhere")
    name = "affectd_request_duration_seconds_count"
    wanted = {"read": 2, "held": 2, "write": 1, "upload": 1, "prediction": 1, "unrouted": 1}

    def grown():
        now = families(server)
        return {c: value(now, name, **{"class": c}) - value(before, name, **{"class": c}) for c in wanted}

    server.wait_for(lambda: grown() == wanted, f"counts {wanted}, have {grown()}", 10)
    now = families(server)
    assert value(now, name) == value(now, "affectd_requests_total")
