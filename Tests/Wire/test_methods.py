"""Every method of the contract, as `rpc.discover` lists them: parameters that are missing, unknown or unusable, and
that what is answered is what the document promises. A method that is added is tested without a change here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sidecar import Sidecar, converse, request
from test_pipelining import Script

Schema = dict[str, Any]

DOCUMENT: dict[str, Any] = json.loads(converse(request("rpc.discover", 1))[0])["result"]
METHODS: dict[str, dict[str, Any]] = {method["name"]: method for method in DOCUMENT["methods"]}

EVERY_METHOD = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a method makes are made here."""
    monkeypatch.chdir(tmp_path)


def inner(schema: Schema) -> Schema:
    """The schema without its "or null"."""
    if "anyOf" in schema:
        return next(option for option in schema["anyOf"] if option != {"type": "null"})
    return schema


def usable(schema: Schema) -> Any:
    """Some value that the schema allows."""
    schema = inner(schema)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            return "x" * max(schema.get("minLength", 0), 1)
        case "integer":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "array":
            return [usable(schema["items"])]
        case "object":
            required = schema.get("required", [])
            return {name: usable(schema["properties"][name]) for name in required}
    return 1


def unusable(schema: Schema) -> Iterator[str]:
    """JSON texts that the schema forbids; texts, because 1e3 and 1.0 are told apart on the wire."""
    schema = inner(schema)
    kind = "enum" if "enum" in schema else schema.get("type")
    others = {"string": '"text"', "integer": "7", "boolean": "true", "array": "[]", "object": "{}"}
    yield from (text for name, text in others.items() if kind and name != kind and (kind, name) != ("enum", "string"))
    if kind == "enum":
        yield from ['"no such choice"', '""']
    if kind == "string":
        if schema.get("minLength", 0) > 0:
            yield '""'
        yield json.dumps("x" * (schema["maxLength"] + 1)) if "maxLength" in schema else "7"
        yield '"\\ud800"'
        if "pattern" in schema:
            yield from ['"two words"', '"\\u0000"', '"caf\u00e9"', '"tab\\t"', '"\\u007f"']
    if kind == "integer":
        yield from ["1.5", "1e3", "1.0", "1E-1", "-0.5", "1e400", "123456789012345678901234567890", "9007199254740992"]
        yield from [str(schema["minimum"] - 1), str(schema["maximum"] + 1)]
        yield from ["9223372036854775808", "-9223372036854775809"]


def unusable_values(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Texts for a parameter, each with the path that the error has to name: its own, or that of a member inside."""
    yield from ((text, path) for text in unusable(schema))
    schema = inner(schema)
    record, place, wrap = schema, f"{path}.", "{}"
    if schema.get("type") == "array":
        record, place, wrap = inner(schema["items"]), f"{path}[0].", "[{}]"
        yield from ((f"[{text}]", f"{path}[0]|{path}") for text in unusable(record))
    if "properties" not in record:
        return
    members = {name: json.dumps(usable(record["properties"][name])) for name in record.get("required", [])}

    def text_with(changed: dict[str, str]) -> str:
        return wrap.replace("{}", "{" + ",".join(f'"{name}":{text}' for name, text in changed.items()) + "}")

    for name, member in record["properties"].items():
        # A record in a record has members of its own.
        yield from ((text_with({**members, name: text}), at) for text, at in unusable_values(member, place + name))
    for name in members:
        without = {other: text for other, text in members.items() if other != name}
        yield text_with(without), place + name
    yield text_with({**members, "no_such_member": "1"}), place + "no_such_member"


def refusals(name: str, calls: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The errors that calls with parameters as JSON texts are answered with."""
    lines = []
    for number, params in enumerate(calls):
        members = ",".join(f'"{parameter}":{text}' for parameter, text in params.items())
        lines.append(f'{{"jsonrpc":"2.0","id":{number},"method":"{name}","params":{{{members}}}}}\n'.encode())
    answers = [json.loads(text) for text in converse(*lines)]
    assert [answer["id"] for answer in answers] == list(range(len(calls)))
    for answer, params in zip(answers, calls):
        assert "error" in answer, f"{name} took {params}"
    return [answer["error"] for answer in answers]


def check(error: dict[str, Any], path: str, call: dict[str, str]) -> None:
    said = error["data"]
    assert (error["code"], said["kind"], said["outcome"]) == (-32602, "invalid_params", "not_applied"), (call, error)
    assert said["parameter"] in path.split("|"), f"{call}: {said}"
    assert said["expected"] and said["parameter"] in error["message"], error


@EVERY_METHOD
def test_missing_parameters(name: str) -> None:
    required = {entry["name"]: entry["schema"] for entry in METHODS[name]["params"] if entry["required"]}
    calls = []
    for missing in required:
        present = {other: json.dumps(usable(schema)) for other, schema in required.items() if other != missing}
        calls.append((missing, present))
        if inner(required[missing]) not in ({}, {"x-payload": True}):  # null is a value where anything is
            calls.append((missing, present | {missing: "null"}))
    for error, (missing, call) in zip(refusals(name, [call for _, call in calls]), calls):
        check(error, missing, call)


@EVERY_METHOD
def test_unknown_parameters(name: str) -> None:
    required = {
        entry["name"]: json.dumps(usable(entry["schema"])) for entry in METHODS[name]["params"] if entry["required"]
    }
    known = {entry["name"] for entry in METHODS[name]["params"]}
    for unknown in ["no_such_parameter", "", "sessionId", "Session_id", "__proto__", "session_id "]:
        assert unknown not in known
        call = required | {unknown: "null"}
        check(refusals(name, [call])[0], unknown, call)


@EVERY_METHOD
def test_unusable_parameters(name: str) -> None:
    parameters = {entry["name"]: entry for entry in METHODS[name]["params"]}
    required = {other: json.dumps(usable(entry["schema"])) for other, entry in parameters.items() if entry["required"]}
    cases = [
        (path, required | {parameter: text})
        for parameter, entry in parameters.items()
        for text, path in unusable_values(entry["schema"], parameter)
    ]
    for error, (path, call) in zip(refusals(name, [call for _, call in cases]), cases):
        check(error, path, call)


@EVERY_METHOD
def test_null_means_the_same_as_leaving_an_optional_parameter_out(name: str) -> None:
    required = {entry["name"]: usable(entry["schema"]) for entry in METHODS[name]["params"] if entry["required"]}
    optional = {entry["name"] for entry in METHODS[name]["params"] if not entry["required"]}
    if name == "shutdown" or not optional:
        return
    owners = {"tenant_id", "principal"}  # null is the anonymous caller
    absent, null = (
        json.loads(converse(request(name, 1, **required, **extra))[0])
        for extra in ({}, dict.fromkeys(optional - owners))
    )
    if "error" in absent or "error" in null:
        assert absent == null
    else:
        assert shape(absent["result"]) == shape(null["result"])


def shape(value: Any) -> Any:
    """A value without what differs from process to process."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(element) for element in value] if isinstance(value, list) else type(value)


# --- What is answered


def validator(schema: Schema) -> jsonschema.protocols.Validator:
    return jsonschema.Draft7Validator(schema | {"components": DOCUMENT["components"]})


def test_the_document_is_whole() -> None:
    names = [method["name"] for method in DOCUMENT["methods"]]
    assert len(names) == len(set(names)) and "create_session" in names
    for method in METHODS.values():
        jsonschema.Draft7Validator.check_schema(method["result"]["schema"])
        for entry in method["params"]:
            jsonschema.Draft7Validator.check_schema(entry["schema"])
        for error in method["errors"]:
            assert error["$ref"].removeprefix("#/components/errors/") in DOCUMENT["components"]["errors"]


@EVERY_METHOD
def test_examples_fit_the_schemas(name: str) -> None:
    method = METHODS[name]
    schemas = {entry["name"]: entry for entry in method["params"]}
    assert method["examples"]
    for example in method["examples"]:
        given = {entry["name"]: entry["value"] for entry in example["params"]}
        assert {entry["name"] for entry in method["params"] if entry["required"]} <= given.keys()
        for parameter, value in given.items():
            validator(schemas[parameter]["schema"]).validate(value)
        validator(method["result"]["schema"]).validate(example["result"]["value"])


@pytest.mark.parametrize("seed", range(4))
def test_answers_fit_the_document(seed: int, spawn: Callable[..., Sidecar]) -> None:
    """Each result of a random script fits its method's schema, and each error is one that the method announces."""
    script = Script(1_000 + seed, METHODS.keys())
    calls = [script.one() for _ in range(1_500)]
    sidecar = spawn("--max-payload-bytes", "2000", "--max-events-per-session", "10", "--max-sessions", "3",
                    "--event-overflow", "error")  # fmt: skip
    sidecar.send(*(request(method, number, **params) for number, (method, params) in enumerate(calls)))
    validators = {name: validator(method["result"]["schema"]) for name, method in METHODS.items()}
    components = DOCUMENT["components"]["errors"]
    seen = set()
    for name, params in calls:
        answer = sidecar.receive()
        if "result" in answer:
            validators[name].validate(answer["result"])
            seen.add(name)
            continue
        kind = answer["error"]["data"]["kind"]
        if kind in ("method_not_found", "invalid_cursor"):
            continue
        if name == "transaction" and "call_index" in answer["error"]["data"]:
            continue  # the error of one of its calls
        announced = {error["$ref"].rsplit("/", 1)[1] for error in METHODS[name]["errors"]}
        assert kind in announced, f"{name} {params}: {answer}"
        assert answer["error"]["code"] == components[kind]["code"]
    assert {"store_event", "get_session", "get_events_after"} <= seen
