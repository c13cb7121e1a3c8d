"""Hooks of schemathesis (SCHEMATHESIS_HOOKS): about half of the made-up names become those of things that the server
has, so that tests reach the handlers' ends and not only "no such dataset". Which half follows from the value alone,
so that a seed gives the same requests.

AFFECT_CONTRACT_NAMES: {"dataset": [...], "model": [...], "version": [...], "job": [...], "name": [...]}."""
import json
import os
import re
import zlib

import schemathesis

NAMES = json.loads(os.environ.get("AFFECT_CONTRACT_NAMES", "{}"))


def choose(kind, value):
    """A real name of that kind, or the made-up value."""
    number = zlib.crc32(repr(value).encode())
    known = NAMES.get(kind)
    return known[number // 2 % len(known)] if known and number % 2 else value


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Nothing that other requests need is deleted."""
    if path_parameters and context.operation.method.upper() != "DELETE":
        for kind in path_parameters:
            path_parameters[kind] = choose(kind, path_parameters[kind])
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    if query and "compare" in query:
        query["compare"] = choose("job", query["compare"])
    return query


@schemathesis.hook
def before_call(context, case, kwargs):
    """The wait for a job's next state may be minutes, where a job runs that long. Lists of ids that fit the schema
    become lists of results that can be compared."""
    jobs = (case.query or {}).get("jobs")
    if isinstance(jobs, str) and re.fullmatch("[^,]{1,40}(,[^,]{1,40}){1,7}", jobs) and zlib.crc32(jobs.encode()) % 4:
        case.query["jobs"] = NAMES["jobs"][0]
    wait = str((case.query or {}).get("wait", ""))
    if wait.isdigit() and 1 < int(wait) <= 300:
        case.query["wait"] = 1


@schemathesis.hook
def map_body(context, body):
    """Only what fits the schema is replaced; a training then is a real one, cut short by the server's end."""
    label = context.operation.label
    if not isinstance(body, dict):
        return body
    if label == "POST /v1/jobs" and isinstance(body.get("dataset"), str) and body["dataset"]:
        body["dataset"] = choose("dataset", body["dataset"])
        if body.get("type") == "evaluate" and isinstance(body.get("model"), str) and body["model"]:
            body["model"] = choose("model", body["model"])
    if label == "POST /v1/predictions" and isinstance(body.get("model"), str) and body["model"]:
        body["model"] = choose("model", body["model"])
    if label == "POST /v1/datasets" and isinstance(body.get("source"), dict):
        path = body["source"].get("path")
        if isinstance(path, str) and path:
            body["source"]["path"] = choose("folder", path)
    return body
