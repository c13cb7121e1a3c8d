"""Real answers against the contract: what the server says is what `affectd --contract` promises, and no more.

Objects of the contract are closed, so a member that is added to an answer and not to the contract shows here."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from conftest import BUILD

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACT = json.loads(subprocess.run([BUILD / "bin/affectd", "--contract"], stdout=subprocess.PIPE, check=True).stdout)
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KEYWORDS = {"type", "enum", "properties", "required", "additionalProperties", "items", "oneOf", "$ref", "format",
            "description", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "default",
            "pattern", "patternProperties", "minItems", "maxItems", "maxProperties"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def is_a(value, name):
    if name in ("number", "integer"):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and (name == "number" or value == int(value))
    return isinstance(value, TYPES[name])


def find_errors(value, schema, at=""):
    """What of the value the schema does not allow: lines "pointer: why". The keywords that our contract uses."""
    assert set(schema) <= KEYWORDS, f"the contract uses {set(schema) - KEYWORDS}, which this test does not know"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return find_errors(value, CONTRACT["components"]["schemas"][name], at)
    if "oneOf" in schema:
        tries = [find_errors(value, one, at) for one in schema["oneOf"]]
        n_good = sum(not errors for errors in tries)
        return [] if n_good == 1 else [f"{at}: {n_good} of {len(tries)} alternatives fit: {tries}"]
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_a(value, name) for name in types):
        return [f"{at}: {value!r:.60} is no {' or '.join(types)}"]
    errors = []
    if value is not None and "enum" in schema and value not in schema["enum"]:
        errors.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        errors.append(f"{at}: {value!r} is not {schema['pattern']}")
    if value is not None and schema.get("format") == "date-time" and not TIME.fullmatch(value):
        errors.append(f"{at}: {value!r} is no time")
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
        errors += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        patterns = schema.get("patternProperties", {})
        for name, member in value.items():
            by_name = [one for pattern, one in patterns.items() if re.search(pattern, name)]
            if name not in known and by_name:
                errors += find_errors(member, by_name[0], f"{at}/{name}")
            elif name not in known and rest is False:
                errors.append(f"{at}: {name} is not in the contract")
            else:
                errors += find_errors(member, known.get(name, rest if isinstance(rest, dict) else {}), f"{at}/{name}")
    for i, element in enumerate(value if isinstance(value, list) else []):
        errors += find_errors(element, schema.get("items", {}), f"{at}/{i}")
    return errors


def check(answer, method, path):
    """The answer's status and body against the contract of that path; returns the body."""
    responses = CONTRACT["paths"][path][method]["responses"]
    response = responses.get(str(answer.status), responses["default"])
    assert str(answer.status) in responses or answer.status >= 400, f"{method} {path}: {answer.status} is not promised"
    kind, = [kind for kind in response["content"] if kind in ("application/json", "application/problem+json")]
    assert answer.headers["Content-Type"] == kind
    body = answer.json()
    assert not find_errors(body, response["content"][kind]["schema"]), path
    return body


def test_the_check_can_fail():
    schema = {"type": "object", "properties": {"a": {"type": ["integer", "null"]}, "b": {"type": "array", "items": {
        "type": "string", "enum": ["x"]}}}, "required": ["a"], "additionalProperties": False}
    assert not find_errors({"a": 1, "b": ["x"]}, schema) and not find_errors({"a": None}, schema)
    for wrong in ({}, {"a": 1.5}, {"a": True}, {"a": 1, "b": ["y"]}, {"a": 1, "b": {}}, {"a": 1, "c": 2}, []):
        assert find_errors(wrong, schema), wrong


def test_every_answer_has_fields():
    """No bare object stands for an answer."""
    schemas = CONTRACT["components"]["schemas"]
    for path, operations in CONTRACT["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                schema = response.get("content", {}).get("application/json", {}).get("schema")
                if schema and path != "/openapi.json":
                    named = schemas[schema["$ref"].rsplit("/", 1)[1]]
                    assert named.get("properties") and named.get("required"), f"{method} {path} {status}"


def test_names_of_other_tables_are_in_the_contract():
    """Presets, layouts, types: what is a row or a file elsewhere is an enum here, without being written twice."""
    schemas = CONTRACT["components"]["schemas"]
    request = schemas["DatasetRequest"]["properties"]
    options = {one["title"]: one["properties"] for one in request["options"]["anyOf"]}
    assert set(options) == set(request["layout"]["enum"])
    presets = {folder: sorted(path.stem for path in (ROOT / "configs" / folder).glob("*.json"))
               for folder in ("patterns", "columns", "models")}
    assert options["folders"]["pattern"]["oneOf"][0]["enum"] == presets["patterns"]
    assert options["table"]["columns"]["oneOf"][0]["enum"] == presets["columns"]
    train = schemas["TrainRequest"]["properties"]
    assert train["architecture"]["oneOf"][0]["enum"] == presets["models"]
    assert train["training"] == {"$ref": "#/components/schemas/Training", "description": train["training"]["description"]}
    assert schemas["Training"]["properties"]["batch_size"]["maximum"] == 65536
    assert {"train", "evaluate", "import"} <= set(schemas["Job"]["properties"]["type"]["enum"])


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: no demo corpus")
    pytest.importorskip("numpy")
    folder = tmp_path_factory.mktemp("corpora")
    subprocess.run([sys.executable, ROOT / "tests/corpus/make_corpus.py", folder / "demo", "--utterances", "40",
                    "--speakers", "4", "--seed", "3"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    return folder


def wait_end(server, job_id):
    for _ in range(60):
        body = check(server.get(f"/v1/jobs/{job_id}?wait=5"), "get", "/v1/jobs/{job}")
        if body["terminal"]:
            return body
    raise AssertionError(body)


def start(server, path, body):
    return check(server.post_json(path, body), "post", path)["id"]


def test_answers(make_server, corpora):
    server = make_server(import_root=corpora, job_threads=2)
    body = {"name": "demo", "source": {"path": "demo"}, "features": {"mel": {"clip_seconds": 1}}}
    imported = start(server, "/v1/datasets", body)
    check(server.get("/v1/datasets/demo"), "get", "/v1/datasets/{dataset}")
    assert wait_end(server, imported)["state"] == "succeeded"
    ready = check(server.get("/v1/datasets/demo"), "get", "/v1/datasets/{dataset}")
    assert ready["state"] == "ready" and ready["dropped"]
    assert check(server.get("/v1/datasets"), "get", "/v1/datasets")["data"]
    assert check(server.get("/v1/datasets/demo/report"), "get", "/v1/datasets/{dataset}/report")["dropped"]
    samples = check(server.get("/v1/datasets/demo/samples"), "get", "/v1/datasets/{dataset}/samples")
    assert len(samples["data"]) == 40 and not samples["more"]
    assert check(server.get("/v1/datasets/demo/splits"), "get", "/v1/datasets/{dataset}/splits")["data"]

    train = {"type": "train", "dataset": "demo", "model": "m", "split": {"kind": "random", "validation": 0.2, "test": 0.1},
             "training": {"epochs": 2, "batch_size": 8}}
    dry = check(server.post_json("/v1/jobs?dry_run=true", train), "post", "/v1/jobs")
    assert dry["seconds_per_epoch"] > 0
    trained = start(server, "/v1/jobs", train)
    done = wait_end(server, trained)
    assert done["state"] == "succeeded" and done["result"]["test"]
    evaluated = start(server, "/v1/jobs", {"type": "evaluate", "dataset": "demo", "model": "m", "part": "all"})
    assert wait_end(server, evaluated)["state"] == "succeeded"
    bad = check(server.post_json("/v1/jobs", train | {"split": {"kind": "speakers", "validation": ["Ses09F"]}}), "post",
                "/v1/jobs")
    assert bad["errors"][0]["pointer"] == "/split/validation/0"
    (corpora / "empty").mkdir()
    bad = start(server, "/v1/datasets", {"name": "empty", "source": {"path": "empty"}})
    assert wait_end(server, bad)["error"]["message"]
    cancelled = start(server, "/v1/jobs", train | {"training": {"epochs": 100000}})
    for _ in range(2):  # 202, then 200
        check(server.request("POST", f"/v1/jobs/{cancelled}/cancel"), "post", "/v1/jobs/{job}/cancel")
        wait_end(server, cancelled)
    assert len(check(server.get("/v1/jobs"), "get", "/v1/jobs")["data"]) == 5
    kinds = set()
    for job in (imported, trained, evaluated, bad, cancelled):
        kinds |= {e["event"] for e in check(server.get(f"/v1/jobs/{job}/events?limit=1000"), "get",
                                            "/v1/jobs/{job}/events")["data"]}
    assert {"state", "log", "progress", "epoch", "checkpoint", "end"} <= kinds
    assert len(check(server.get(f"/v1/jobs/{trained}/metrics"), "get", "/v1/jobs/{job}/metrics")["epochs"]) == 2

    assert check(server.get("/v1/models"), "get", "/v1/models")["data"][0]["newest"]["version"] >= 1
    assert check(server.get("/v1/models/m"), "get", "/v1/models/{model}")["versions"]
    version = check(server.get("/v1/models/m/versions/1"), "get", "/v1/models/{model}/versions/{version}")
    assert version["architecture"] and version["split"] and version["feature_config"]
    wav = next(corpora.rglob("sentences/wav/*/*.wav"))
    motion = next(corpora.rglob("MOCAP_rotated/*.txt"))
    for parts in ({"audio": ("u.wav", wav.read_bytes())}, {"mocap_face": ("f.txt", motion.read_bytes()), "start": "0"}):
        check(server.post_form("/v1/predictions", {"model": "m", **parts}), "post", "/v1/predictions")
    check(server.post_form("/v1/predictions", {"model": "m", "audio": ("u.wav", b"none")}), "post", "/v1/predictions")
    sound = {"model": "m", "audio": ("u.wav", wav.read_bytes())}
    plain = check(server.post_form("/v1/predictions", sound | {"calibrated": "false"}), "post", "/v1/predictions")
    scaled = check(server.post_form("/v1/predictions", sound | {"calibrated": "true"}), "post", "/v1/predictions")
    temperature = done["result"]["temperature"]["value"]
    assert scaled["temperature"] == temperature and "temperature" not in plain and scaled["label"] == plain["label"]
    version = check(server.get("/v1/models/m/versions/1"), "get", "/v1/models/{model}/versions/{version}")
    assert version["temperature"] == temperature
    powers = {name: p ** (1 / temperature) for name, p in plain["probabilities"].items()}
    for name, p in scaled["probabilities"].items():
        assert abs(p - powers[name] / sum(powers.values())) < 1e-6
    refused = check(server.post_form("/v1/predictions", sound | {"calibrated": "yes"}), "post", "/v1/predictions")
    assert refused["errors"][0]["pointer"] == "/calibrated"

    for path in ("/", "/livez", "/readyz", "/healthz", "/v1/system"):
        assert check(server.get(path), "get", path)
    assert check(server.get("/v1/jobs/job_none"), "get", "/v1/jobs/{job}")["code"] == "not_found"
    assert check(server.post_json("/v1/jobs", {"type": "train"}), "post", "/v1/jobs")["errors"]
    assert check(server.request("POST", f"/v1/jobs/{trained}/cancel"), "post", "/v1/jobs/{job}/cancel")["allowed"] == []
