"""The Node client's share: the methods of the contract, and their types for TypeScript."""

import json
import textwrap

FOLDER = "node"
WIDTH = 120
MADE = "// Made by protocol/clients/generate from protocol/openrpc.json."

#: What the client serves by hand: they come with notifications, or end what they are called on.
BY_HAND = {"subscribe_events", "subscribe_tasks", "subscribe_work", "unsubscribe", "shutdown"}

#: Kinds that no method declares, for each may meet them.
GENERAL_KINDS = ["parse_error", "invalid_request", "method_not_found", "invalid_cursor", "internal_error"]

Schema = dict[str, object]

#: The calls of a transaction; their type is made from the methods that may stand in one.
CALLS: Schema = {"title": "TransactionCall"}


def files(contract: dict) -> dict[str, str]:
    return {
        f"{FOLDER}/methods.mjs": module(contract),
        f"{FOLDER}/methods.d.mts": declarations(contract),
    }


# --- The code


def kinds(contract: dict) -> list[str]:
    return list(dict.fromkeys([*contract["components"]["errors"], *GENERAL_KINDS]))


def module(contract: dict) -> str:
    methods = contract["methods"]
    repeatable = [method["name"] for method in methods if method["x-repeatable"]]
    blocks = [block(method) for method in methods if method["name"] not in BY_HAND]
    return "\n".join(
        [
            MADE,
            "",
            "/** Methods that may be sent again without knowing whether they were done. */",
            "export const REPEATABLE = new Set([",
            *[f"  '{name}'," for name in repeatable],
            "])",
            "",
            "/** The kinds of errors in answers, by name. A newer sidecar may have others. */",
            "export const ErrorKind = Object.freeze({",
            *[f"  {kind}: '{kind}'," for kind in kinds(contract)],
            "})",
            "",
            "/** The methods of the contract; the subclass knows how one is called. */",
            "export class Methods {",
            "\n\n".join(blocks),
            "}",
            "",
        ]
    )


def block(method: dict) -> str:
    name = method["name"]
    # Without parameters of its own a method takes the options of the call alone.
    signature, passed = ("params, options", "params") if method["params"] else ("options", "{}")
    return "\n".join(
        [
            *comment(method["summary"], 2),
            f"  {camel(name)}({signature}) {{",
            f"    return this.call('{name}', {passed}, options)",
            "  }",
        ]
    )


# --- The types


def declarations(contract: dict) -> str:
    methods = contract["methods"]
    names = {method["name"]: (params_type(method), result_type(method)) for method in methods}
    parts = [
        f"{MADE}\n\nimport type {{ CallOptions }} from './store.mjs'",
        union("ErrorKind", kinds(contract), "The kinds of errors in answers, all of the contract's table."),
        "/** The same by name, at run time. */\nexport declare const ErrorKind: { readonly [K in ErrorKind]: K }",
        *[interface(name, schema, name) for name, schema in contract["components"]["schemas"].items()],
        *[part for method in methods for part in method_types(method)],
        contract_interface(names),
        transaction_call(methods),
        "export declare const REPEATABLE: ReadonlySet<string>",
        methods_class(methods, names),
    ]
    return "\n\n".join(parts) + "\n"


def params_type(method: dict) -> str:
    return pascal(method["name"]) + "Params" if method["params"] else "Record<string, never>"


def result_type(method: dict) -> str:
    """A name for the result: that of its schema, or one made from the method's."""
    schema = method["result"]["schema"]
    if "$ref" in schema or "anyOf" in schema:
        return type_of(schema, "", is_result=True)
    return pascal(method["name"]) + "Result" if schema.get("properties") else type_of(schema, "", is_result=True)


def method_types(method: dict) -> list[str]:
    parts = []
    if method["params"]:
        schema = {
            "properties": {each["name"]: schema_of(each, method) | described(each) for each in method["params"]},
            "required": [each["name"] for each in method["params"] if each["required"]],
            "description": f"What `{method['name']}` takes.",
        }
        parts.append(interface(params_type(method), schema, is_result=False))
    result = method["result"]["schema"]
    if result.get("properties"):
        text = result.get("description", f"What `{method['name']}` answers.")
        parts.append(interface(result_type(method), result | {"description": text}))
    return parts


def schema_of(parameter: dict, method: dict) -> Schema:
    return CALLS if method["name"] == "transaction" else parameter["schema"]


def description(schema: Schema) -> str | None:
    """Its own, or that of the one alternative that has one."""
    return schema.get("description") or next(filter(None, map(description, schema.get("anyOf", ()))), None)


def described(entry: dict) -> dict:
    return {"description": entry["description"]} if "description" in entry else {}


def interface(name: str, schema: Schema, doc: str | None = None, is_result: bool = True) -> str:
    text = schema.get("description") or (f"{doc}, as the contract has it." if doc else None)
    lines = comment(text, 0) if text else []
    return "\n".join([*lines, f"export interface {name} {{", *members(schema, 2, is_result), "}"])


def members(schema: Schema, indent: int, is_result: bool) -> list[str]:
    lines = []
    space = " " * indent
    for name, value in schema["properties"].items():
        lines += comment(doc, indent) if (doc := description(value)) else []
        is_required = name in schema.get("required", ())
        kind = type_of(value, space, is_result)
        # null in parameters means the same as leaving them out, where it is no value of its own.
        if not is_required and not is_result and kind != "unknown" and not kind.endswith("| null"):
            kind += " | null"
        member = f"{space}{name}{'' if is_required else '?'}: "
        lines += broken(member, kind, space)
    return lines


def broken(start: str, kind: str, space: str) -> list[str]:
    """A member on one line, or a union over several."""
    if len(start) + len(kind) <= WIDTH or "\n" in kind:
        return [start + kind]
    return [start.rstrip(), *[f"{space}  | {part}" for part in kind.split(" | ")]]


def type_of(schema: Schema, space: str, is_result: bool) -> str:
    """The TypeScript type of a schema; what has members and no name is written out where it stands."""
    if schema.get("title") == CALLS["title"]:
        return "TransactionCall[]"
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[1]
    if "anyOf" in schema:
        parts = [type_of(part, space, is_result) for part in schema["anyOf"]]
        return "unknown" if "unknown" in parts else " | ".join(dict.fromkeys(parts))
    if "enum" in schema:
        return " | ".join(f"'{value}'" for value in schema["enum"])
    if schema.get("type") == "array":
        item = type_of(schema["items"], space, is_result)
        return f"({item})[]" if " | " in item and "\n" not in item else f"{item}[]"
    if schema.get("properties"):
        return "\n".join(["{", *members(schema, len(space) + 2, is_result), f"{space}}}"])
    return {
        "string": "string",
        "integer": "number",
        "number": "number",
        "boolean": "boolean",
        "null": "null",
        # Anything with members may be sent; what comes is looked at by its keys.
        "object": "Record<string, unknown>" if is_result else "object",
    }.get(schema.get("type"), "unknown")


def union(name: str, words: list[str], text: str) -> str:
    return "\n".join([*comment(text, 0), f"export type {name} =", *[f"  | '{word}'" for word in words]])


def contract_interface(names: dict[str, tuple[str, str]]) -> str:
    lines = comment("Parameters and result of each method, by its name on the wire.", 0)
    lines.append("export interface Contract {")
    lines += [
        f"  {json.dumps(name) if '.' in name else name}: {{ params: {params}; result: {result} }}".replace('"', "'")
        for name, (params, result) in names.items()
    ]
    return "\n".join([*lines, "}"])


def transaction_call(methods: list[dict]) -> str:
    names = [method["name"] for method in methods if method["x-transactional"]]
    return "\n\n".join(
        [
            union("TransactionMethod", names, "The methods that may stand in a transaction."),
            "\n".join(
                [
                    *comment("A call in a transaction; with `require` its negative outcome takes everything back.", 0),
                    "export type TransactionCall = {",
                    "  [M in TransactionMethod]: { method: M; params?: Contract[M]['params']; require?: boolean }",
                    "}[TransactionMethod]",
                ]
            ),
        ]
    )


def methods_class(methods: list[dict], names: dict[str, tuple[str, str]]) -> str:
    lines = comment("The methods of the contract; names are in camel case, parameters and results as on the wire.", 0)
    lines.append("export declare abstract class Methods {")
    for method in methods:
        name = method["name"]
        if name in BY_HAND:
            continue
        params, result = names[name]
        if not method["params"]:
            arguments = ""
        elif any(each["required"] for each in method["params"]):
            arguments = f"params: {params}, "
        else:
            arguments = f"params?: {params}, "
        lines += comment(method["summary"], 2)
        line = f"  {camel(name)}({arguments}options?: CallOptions): Promise<{result}>"
        if len(line) <= WIDTH:
            lines.append(line)
        else:
            lines += [f"  {camel(name)}(", f"    {arguments}options?: CallOptions,", f"  ): Promise<{result}>"]
    return "\n".join([*lines, "}"])


# --- Text


def comment(text: str, indent: int) -> list[str]:
    space = " " * indent
    line = f"{space}/** {text} */"
    if len(line) <= WIDTH:
        return [line]
    wrapped = textwrap.wrap(text, WIDTH, initial_indent=f"{space} * ", subsequent_indent=f"{space} * ")
    return [f"{space}/**", *wrapped, f"{space} */"]


def camel(name: str) -> str:
    """`create_session` is createSession, `rpc.discover` rpcDiscover."""
    words = name.replace(".", "_").split("_")
    return words[0] + "".join(word.capitalize() for word in words[1:])


def pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.replace(".", "_").split("_"))
