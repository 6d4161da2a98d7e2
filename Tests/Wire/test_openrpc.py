"""protocol/openrpc.json: what `rpc.discover` answers, valid, and true for what is really said on the wire."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
import referencing.jsonschema

from sidecar import Sidecar

ROOT = Path(__file__).parents[2]
FILE = ROOT / "protocol" / "openrpc.json"
TRANSCRIPTS = sorted((ROOT / "protocol" / "transcripts").glob("*.jsonl"))
META_SCHEMA = Path(__file__).parent / "data" / "openrpc-1.3-schema.json"

REGENERATE = (
    """echo '{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}' | mcp-session-store --database :memory: """
    """| python3 -c 'import json,sys; """
    """print(json.dumps(json.load(sys.stdin)["result"], indent=2, ensure_ascii=False))' """
    """> protocol/openrpc.json"""
)

DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
METHODS: dict[str, dict[str, Any]] = {method["name"]: method for method in DOCUMENT["methods"]}
#: may come to any request, whatever its method
ANY_REQUEST = {"parse_error", "invalid_request", "method_not_found", "shutting_down"}


def strict(schema: Any) -> Any:
    """The same schema, closed: an object has no members but those that it names."""
    if isinstance(schema, list):
        return [strict(element) for element in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed["additionalProperties"] = False
    return closed


def validator(*path: str | int, document: Any = None) -> jsonschema.Draft7Validator:
    """For the schema at this place of the document; its references resolve there."""
    resource = referencing.jsonschema.DRAFT7.create_resource(document or strict(DOCUMENT))
    registry = referencing.Registry().with_resource("openrpc:document", resource)
    pointer = "/".join(str(part) for part in path)
    return jsonschema.Draft7Validator({"$ref": f"openrpc:document#/{pointer}"}, registry=registry)


def method_names() -> list[str]:
    return list(METHODS)


def index(name: str) -> int:
    return DOCUMENT["methods"].index(METHODS[name])


def test_is_what_the_program_says(sidecar: Sidecar) -> None:
    said = json.dumps(sidecar.call("rpc.discover"), indent=2, ensure_ascii=False) + "\n"
    assert FILE.read_text(encoding="utf-8") == said, f"the contract changed; regenerate the file:\n{REGENERATE}"


def test_the_command_that_regenerates_it_is_documented() -> None:
    assert REGENERATE in (ROOT / "protocol" / "README.md").read_text(encoding="utf-8")


def test_valid_openrpc() -> None:
    schema = json.loads(META_SCHEMA.read_text(encoding="utf-8"))
    # The meta-schema refers to another one for JSON Schema itself; that of draft 7 stands in for it.
    json_schema = {
        "allOf": [{"$ref": "http://json-schema.org/draft-07/schema#"}],
        "definitions": {"JSONSchemaObject": {"properties": {"$ref": {"type": "string", "format": "uri-reference"}}}},
    }
    draft7 = referencing.jsonschema.DRAFT7
    registry = jsonschema.validators.SPECIFICATIONS.with_resources(
        (uri, draft7.create_resource(json_schema))
        for uri in ("https://meta.json-schema.tools", "https://meta.json-schema.tools/")
    )
    found = jsonschema.Draft7Validator(schema, registry=registry).iter_errors(DOCUMENT)
    assert [f"{error.json_path}: {error.message}" for error in found] == []


def test_every_schema_is_one() -> None:
    for method in METHODS.values():
        for descriptor in [*method["params"], method["result"]]:
            jsonschema.Draft7Validator.check_schema(descriptor["schema"])
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for element in node:
            yield from references(element)


def test_every_reference_resolves() -> None:
    for reference in set(references(DOCUMENT)):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def errors(name: str) -> list[str]:
    return [error["$ref"].rsplit("/", 1)[1] for error in METHODS[name]["errors"]]


@pytest.mark.parametrize("name", method_names())
def test_error_kinds_are_unique_and_codes_too(name: str) -> None:
    """A cursor is a parameter, so one that is of no use has the code of a bad one."""
    assert len(errors(name)) == len(set(errors(name)))
    codes = [
        DOCUMENT["components"]["errors"][kind]["code"] for kind in errors(name) if kind != "invalid_cursor"
    ]
    assert len(codes) == len(set(codes))
    for kind in errors(name):
        assert DOCUMENT["components"]["errors"][kind]["data"]["kind"] == kind


@pytest.mark.parametrize("name", method_names())
def test_errors_follow_from_the_declaration(name: str) -> None:
    parameters = {parameter["name"] for parameter in METHODS[name]["params"]}
    assert ("invalid_cursor" in errors(name)) == ("cursor" in parameters or name == "transaction")
    assert {"invalid_params", "payload_too_large", "shutting_down", "outcome_unknown"} <= set(errors(name))
    if name == "transaction":
        inner = {name for name, method in METHODS.items() if method["x-transactional"]}
        assert set().union(*map(errors, inner)) <= set(errors(name))


def test_what_opens_a_subscription_may_not_be_repeated() -> None:
    assert not any(METHODS[name]["x-repeatable"] for name in METHODS if name.startswith("subscribe_"))


@pytest.mark.parametrize("name", method_names())
def test_examples_fit_the_schemas(name: str) -> None:
    method = METHODS[name]
    assert method["summary"] and method["examples"]
    parameters = {parameter["name"]: number for number, parameter in enumerate(method["params"])}
    assert len(parameters) == len(method["params"])
    for example in method["examples"]:
        given = {parameter["name"]: parameter["value"] for parameter in example["params"]}
        assert given.keys() <= parameters.keys()
        assert {parameter["name"] for parameter in method["params"] if parameter["required"]} <= given.keys()
        for parameter, value in given.items():
            validator("methods", index(name), "params", parameters[parameter], "schema").validate(value)
        validator("methods", index(name), "result", "schema").validate(example["result"]["value"])


@pytest.mark.parametrize("name", method_names())
def test_examples_pass_the_real_check(name: str, spawn: Callable[..., Sidecar], tmp_path: Path) -> None:
    sidecar = spawn(database=":memory:", cwd=tmp_path)
    for example in METHODS[name]["examples"]:
        params = {parameter["name"]: parameter["value"] for parameter in example["params"]}
        answer = sidecar.ask(name, **params)
        if "error" in answer:
            assert answer["error"]["data"]["kind"] in set(errors(name)) - {"invalid_params"}
        else:
            validator("methods", index(name), "result", "schema").validate(answer["result"])


# --- What is said in the conversations


def conversations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where it stands, the method and the answer of each single request of the transcripts."""
    for path in TRANSCRIPTS:
        waiting: dict[Any, str] = {}
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            kind, message = next(iter(json.loads(text).items()))
            if kind.endswith("_text"):
                message = parsed(message)
            for part in message if isinstance(message, list) else [message]:
                if not isinstance(part, dict) or "id" not in part:
                    continue
                key = (kind.startswith("other"), json.dumps(part["id"]))
                if "method" in part:
                    waiting[key] = part["method"]
                elif key in waiting:
                    yield f"{path.name}:{number}", waiting.pop(key), part


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def filled(value: Any) -> Any:
    """The value with something in the place of each placeholder."""
    if isinstance(value, dict):
        return {name: filled(member) for name, member in value.items()}
    if isinstance(value, list):
        return [filled(element) for element in value]
    if value == "<timestamp>":
        return "2026-11-20T21:27:00.123Z"
    # Of what is bound, fences alone are numbers.
    is_number = value in ("<time>", "<int>") or (isinstance(value, str) and value.startswith("<id:fence"))
    return 1_795_210_000_000 if is_number else value


def test_conversations_fit_the_schemas() -> None:
    told = set()
    for where, name, answer in conversations():
        if "result" in answer and answer["result"] != "<any>":
            found = validator("methods", index(name), "result", "schema").iter_errors(filled(answer["result"]))
            assert [f"{where}: {name}: {error.json_path}: {error.message}" for error in found] == []
        if "error" in answer and name in METHODS:
            kind = answer["error"]["data"]["kind"]
            if name != "transaction" and kind not in ANY_REQUEST | {"invalid_cursor"}:
                assert kind in errors(name), f"{where}: {name} does not say that it may answer {kind}"
                listed = DOCUMENT["components"]["errors"][kind]
                assert listed["code"] == answer["error"]["code"], where
                assert listed["data"]["retryable"] == answer["error"]["data"]["retryable"], where
        told.add(name)
    assert METHODS.keys() - told <= {"rpc.discover"}, "methods that no conversation shows"


def test_the_closed_schemas_are_really_closed() -> None:
    """Guards the tests above: a member too many is noticed."""
    answer = copy.deepcopy(METHODS["put_value"]["examples"][0]["result"]["value"]) | {"surprise": 1}
    assert not validator("methods", index("put_value"), "result", "schema").is_valid(answer)
