"""The Python client's share: types and errors of the contract, and its methods twice, awaited and blocking."""

import keyword
import textwrap
from collections.abc import Iterable, Iterator

FOLDER = "python/mcp_session_store"
WIDTH = 120
MADE = "# Made by protocol/clients/generate from protocol/openrpc.json."

#: What the client serves by hand: they come with notifications, or end what they are called on.
BY_HAND = {"subscribe_events", "subscribe_tasks", "subscribe_work", "unsubscribe", "backup", "archive", "shutdown"}

#: What any line may be answered with, beside the errors that a method names.
OF_EVERY_LINE = ("parse_error", "invalid_request", "method_not_found", "invalid_cursor", "internal_error")

#: Enumerations with more words have a name.
LITERALS = 3

Schema = dict[str, object]


def files(contract: dict) -> dict[str, str]:
    types = Types(contract["components"]["schemas"])
    for method in contract["methods"]:
        types.of(method["result"]["schema"], result_name(method))
    methods = [method for method in contract["methods"] if method["name"] not in BY_HAND]
    awaited = [signature(method, types, awaited=True) for method in methods]
    blocking = [signature(method, types, awaited=False) for method in methods]
    return {
        f"{FOLDER}/contract.py": contract_module(contract, types),
        f"{FOLDER}/methods.py": methods_module("Methods", awaited, types),
        f"{FOLDER}/blocking_methods.py": methods_module("BlockingMethods", blocking, types),
    }


class Types:
    """Python's types for the schemas of the contract. What has members becomes a TypedDict of its own."""

    def __init__(self, schemas: dict[str, Schema]) -> None:
        self.declarations: dict[str, str] = {}
        for name, schema in schemas.items():
            self.declare(name, schema)

    def declare(self, name: str, schema: Schema) -> None:
        self.declarations[name] = ""  # keeps its place before those that it needs
        lines = [f"class {name}(TypedDict):"]
        if "description" in schema:
            lines.append(f'    """{schema["description"]}"""\n')
        for member, value in schema["properties"].items():
            kind = self.of(value, name + camel(member))
            if member not in schema.get("required", ()):
                kind = f"NotRequired[{kind}]"
            lines.append(f"    {member}: {kind}")
            if "description" in value:
                lines += textwrap.wrap(f'"""{value["description"]}"""', WIDTH, **indented(4))
        self.declarations[name] = "\n".join(lines)

    def of(self, schema: Schema, name: str) -> str:
        """The type of a schema; `name` is what it is called if it has to be declared."""
        if "$ref" in schema:
            return schema["$ref"].rsplit("/", 1)[1]
        if "anyOf" in schema:
            parts = [self.of(part, name) for part in schema["anyOf"]]
            return "Any" if "Any" in parts else " | ".join(dict.fromkeys(parts))
        if "enum" in schema:
            words = [repr_(value) for value in schema["enum"]]
            if len(words) <= LITERALS:
                return f"Literal[{', '.join(words)}]"
            self.declarations[name] = "\n".join(wrapped_list(f"{name} = Literal[", words, "]"))
            return name
        if schema.get("type") == "array":
            return f"list[{self.of(schema['items'], name)}]"
        if schema.get("type") == "object" and schema.get("properties"):
            self.declare(name, schema)
            return name
        return {
            "string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None",
            "object": "dict[str, Any]",
        }.get(schema.get("type"), "Any")


def repr_(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace(".", "_").split("_"))


def contract_module(contract: dict, types: Types) -> str:
    repeatable = sorted(method["name"] for method in contract["methods"] if method["x-repeatable"])
    declared = "\n\n\n".join(types.declarations.values())
    return "\n".join([
        MADE,
        '"""What the contract calls its things: records, results and errors."""',
        "",
        "from __future__ import annotations",
        "",
        "import enum",
        "from typing import TYPE_CHECKING, Any, Literal, TypedDict",
        "",
        "from .errors import RequestError",
        "",
        "if TYPE_CHECKING:",
        "    from typing_extensions import NotRequired",
        "",
        "#: Methods that may be sent again when nobody knows whether they were done.",
        *wrapped_list("REPEATABLE = frozenset({", map(repr_, repeatable), "})"),
        "",
        "#: Parameters of each method for which None is a value: a payload, or the anonymous caller. For others it is",
        "#: another word for leaving them out.",
        "NULLS: dict[str, frozenset[str]] = {",
        *nulls(contract["methods"]),
        "}",
        "",
        "",
        declared,
        "",
        "",
        *errors(contract["components"]["errors"]),
    ])


def nulls(methods: list[dict]) -> Iterator[str]:
    for method in methods:
        names = [parameter["name"] for parameter in method["params"] if takes_null(parameter)]
        value = f"frozenset({{{', '.join(map(repr_, names))}}})" if names else "frozenset()"
        yield f"    {repr_(method['name'])}: {value},"


def takes_null(parameter: dict) -> bool:
    schema = parameter["schema"]
    if {"type": "null"} in schema.get("anyOf", ()):
        return True
    return parameter["required"] and not {"type", "anyOf", "enum", "$ref"} & set(schema)


def errors(kinds: dict[str, dict]) -> Iterator[str]:
    yield "class ErrorKind(str, enum.Enum):"
    yield '    """What errors are told apart by, as `RequestError.kind` has it. A newer program may know more."""'
    yield ""
    for kind in sorted({*kinds, *OF_EVERY_LINE}):
        yield f"    {kind.upper()} = {repr_(kind)}"
    yield ""
    yield ""
    for kind, error in kinds.items():
        yield f"class {camel(kind)}(RequestError):"
        yield f'    """{error["message"]} Code {error["code"]}, kind `{kind}`."""'
        yield ""
        yield ""
    yield "#: The class of each kind of error."
    yield "ERRORS: dict[str, type[RequestError]] = {"
    for kind in kinds:
        yield f"    {repr_(kind)}: {camel(kind)},"
    yield "}"
    yield ""


def result_name(method: dict) -> str:
    return camel(method["name"].rsplit(".", 1)[-1]) + "Result"


def indented(spaces: int) -> dict[str, str]:
    return {"initial_indent": " " * spaces, "subsequent_indent": " " * spaces}


def wrapped_list(head: str, items: Iterable[str], tail: str, indent: int = 0) -> list[str]:
    """A list between two lines; what stands in one item is not broken."""
    text = ", ".join(item.replace(" ", "\0") for item in items) + ","
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False, **indented(indent + 4))
    return [" " * indent + head, *(line.replace("\0", " ") for line in lines), " " * indent + tail]


def signature(method: dict, types: Types, *, awaited: bool) -> str:
    name = method["name"].rsplit(".", 1)[-1]
    required, optional, sent = [], [], []
    for parameter in sorted(method["params"], key=lambda parameter: not parameter["required"]):
        wire = parameter["name"]
        assert not keyword.iskeyword(wire) and wire != "timeout", wire
        kind = types.of(parameter["schema"], camel(name) + camel(wire))
        sent.append(f'"{wire}": {wire}')
        if parameter["required"]:
            required.append(f"{wire}: {kind}")
        elif takes_null(parameter):
            optional.append(f"{wire}: {kind} | Unset = UNSET")
        else:
            optional.append(f"{wire}: {kind} | None = None")
    result = types.of(method["result"]["schema"], result_name(method))
    timeout = "timeout: float | None | Unset = UNSET"
    parameters = ["self", *required, "*", *optional, timeout]
    if len(required) > 1:  # by name, as on the wire, but for the one that says what it is about
        parameters = ["self", required[0], "*", *required[1:], *optional, timeout]
    lines = [
        *wrapped(f"{'async ' * awaited}def {name}(", parameters, f") -> {result}:", 4),
        *docstring(method),
        *call(method["name"], sent, awaited),
    ]
    return "\n".join(lines)


def wrapped(head: str, items: list[str], tail: str, indent: int) -> list[str]:
    line = " " * indent + head + ", ".join(items) + tail
    return [line] if len(line) <= WIDTH else wrapped_list(head, items, tail, indent)


def docstring(method: dict) -> Iterator[str]:
    summary = method["summary"]
    described = [parameter for parameter in method["params"] if parameter["name"] not in ("tenant_id", "principal")]
    if not described:
        yield f'        """{summary}"""'
        return
    yield from textwrap.wrap(f'"""{summary}', WIDTH, **indented(8))
    yield ""
    for parameter in described:
        yield from textwrap.wrap(
            f"{parameter['name']}: {parameter['description']}", WIDTH, initial_indent=" " * 8,
            subsequent_indent=" " * 12)
    yield '        """'


def call(wire: str, sent: list[str], awaited: bool) -> list[str]:
    return wrapped(f'return {"await " * awaited}self.call("{wire}", {{', sent, "}, timeout=timeout)", 8)


def methods_module(name: str, signatures: list[str], types: Types) -> str:
    text = "\n\n".join(signatures)
    words = set(text.replace("[", " ").replace("]", " ").replace(":", " ").replace(",", " ").split())
    used = [declared for declared in types.declarations if declared in words]
    awaited = "async " if name == "Methods" else ""
    return "\n".join([
        MADE,
        '"""The methods of the contract, with names, parameters and results as on the wire.',
        "",
        "A `timeout` is in seconds, None for any time; without one that of the store counts. An optional parameter",
        "that is None is left out. For an owner None is the anonymous caller, for a payload a value.",
        '"""',
        "",
        '# mypy: disable-error-code="no-any-return"',
        "",
        "from __future__ import annotations",
        "",
        "from typing import TYPE_CHECKING, Any, Literal",
        "",
        "from .unset import UNSET, Unset",
        "",
        "if TYPE_CHECKING:",
        "    from collections.abc import Mapping",
        "",
        *wrapped_list("from .contract import (", sorted(used), ")", 4),
        "",
        "",
        f"class {name}:",
        f"    {awaited}def call(",
        "        self, method: str, params: Mapping[str, Any], *, timeout: float | None | Unset = UNSET,",
        "    ) -> Any:",
        '        """Calls a method by its name on the wire."""',
        "        raise NotImplementedError",
        "",
        text,
        "",
    ])
