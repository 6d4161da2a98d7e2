"""Where payloads stand in parameters and results, for the codecs of both clients.

The contract marks them (`x-payload`); here each gets its *place*, by which a codec binds it to whom it belongs. What is
marked and has no place here, what has a place and is not there, and what anything may stand in without being marked,
ends the run: so a new method cannot forget its payloads.
"""

import json

import python

MADE = "Made by protocol/clients/generate from protocol/openrpc.json."

#: The place of each payload, by where the contract has it. `[]` is each entry of an array, `{}` each member of a map.
PLACES = {
    "session.client_capabilities": ["create_session.client_capabilities", "update_session.session.client_capabilities",
                                    "Session.client_capabilities"],
    "session.server_capabilities": ["create_session.server_capabilities", "update_session.session.server_capabilities",
                                    "Session.server_capabilities"],
    "session.metadata": ["create_session.metadata", "update_session.session.metadata", "Session.metadata"],
    "session.state": ["create_session.state{}", "update_session.session.state{}", "Session.state{}",
                      "set_session_state.value", "get_session_state->value", "remove_session_state->value"],
    "event.data": ["store_event.data", "store_events.events[].data", "broadcast_event.data", "Event.data"],
    "task.original_params": ["create_task.original_params", "update_task.task.original_params", "Task.original_params"],
    "task.meta": ["create_task.meta", "update_task.task.meta", "Task.meta"],
    "task.status_message": [
        "create_task.status_message", "update_task.task.status_message", "touch_task.status_message",
        "update_task_status.status_message", "complete_task.status_message", "fail_task.status_message",
        "Task.status_message"],
    "task.success": ["update_task.task.result.success", "store_task_result.result.success", "complete_task.result",
                     "Outcome.success"],
    "task.error.message": ["update_task.task.result.error.message", "store_task_result.result.error.message",
                           "fail_task.error.message", "Outcome.error.message"],
    "task.error.data": ["update_task.task.result.error.data", "store_task_result.result.error.data",
                        "fail_task.error.data", "Outcome.error.data"],
    "task.input_requests": ["update_task.task.input_requests{}", "require_task_input.input_requests{}",
                            "Task.input_requests{}"],
    "task.input_responses": ["update_task.task.input_responses{}", "provide_task_input.input_responses{}",
                             "Task.input_responses{}"],
    "task.message": ["enqueue_task_message.message", "dequeue_task_message->message",
                     "dequeue_all_task_messages->messages[]", "peek_task_messages->messages[]"],
    "value.value": ["put_value.value", "get_value->value", "list_values->values[].value"],
    "event_subscription.data": ["put_event_subscription.data", "EventSubscription.data"],
    "event_subscription.secret": ["put_event_subscription.secret", "EventSubscription.secret",
                                  "EventSubscription.previous_secret"],
    "work.payload": ["enqueue_work.payload", "Work.payload"],
    "log.entry": ["append_log_entry.entry", "replace_log.entries[]", "compact_log.checkpoint",
                  "load_log->entries[].entry"],
}
#: Payloads that stand in others, and are looked for there by hand: the calls of a transaction, and records as the file
#: has them.
BY_HAND = {"transaction.calls[].params", "export_user_data->records[]"}
#: Where anything may stand that is none: figures and limits by name, and what other methods answered.
OPEN = {"ServerInfo.limits", "Metrics.sessions", "Metrics.tasks", "Metrics.work", "Metrics.totals", "Metrics.methods",
        "transaction->results[]", "rpc.discover->"}
#: What comes with notifications.
TOLD = ("Event", "Task")

Plan = str | list | dict


class Plans:
    """What of a value is a payload: a place, a list of the plan of each entry, or the plans of members by name, `*`
    for each of a map."""

    def __init__(self, contract: dict) -> None:
        self.schemas = contract["components"]["schemas"]
        self.places = {path: place for place, paths in PLACES.items() for path in paths}
        self.met: set[str] = set()
        self.params: dict[str, Plan] = {}
        self.results: dict[str, Plan] = {}
        for method in contract["methods"]:
            name = method["name"]
            params = {each["name"]: self.of(each["schema"], f"{name}.{each['name']}") for each in method["params"]}
            if params := kept(params):
                self.params[name] = params
            result = self.of(method["result"]["schema"], f"{name}->")
            if result is not None:
                self.results[name] = result
        self.told = {name: self.of(self.schemas[name], name) for name in TOLD}
        left = (self.places.keys() | BY_HAND | OPEN) - self.met
        if left:
            raise SystemExit(f"payloads.py has a place for what the contract has not: {', '.join(sorted(left))}")

    def of(self, schema: dict, path: str) -> Plan | None:
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            return self.of(self.schemas[name], name)
        if "anyOf" in schema:
            return next(filter(None, (self.of(part, path) for part in schema["anyOf"])), None)
        if schema.get("x-payload"):
            return self.placed(path)
        if schema.get("type") == "array":
            entry = self.of(schema["items"], path + "[]")
            return None if entry is None else [entry]
        if "properties" in schema:
            dot = "" if path.endswith("->") else "."
            return kept({name: self.of(each, path + dot + name) for name, each in schema["properties"].items()}) or None
        if not {"type", "enum"} & set(schema) or schema.get("type") == "object":
            if path not in OPEN:
                raise SystemExit(f"{path} may be anything: mark it in the program's contract as a payload, or name it "
                                 "in OPEN of payloads.py.")
            self.met.add(path)
        return None

    def placed(self, path: str) -> Plan | None:
        if path in BY_HAND:
            self.met.add(path)
            return None
        for found, plan in ((path, lambda place: place), (path + "{}", lambda place: {"*": place})):
            if found in self.places:
                self.met.add(found)
                return plan(self.places[found])
        raise SystemExit(f"{path} is a payload: say its place in PLACES of payloads.py.")


def kept(plans: dict[str, Plan | None]) -> dict[str, Plan]:
    return {name: plan for name, plan in plans.items() if plan is not None}


def files(contract: dict) -> dict[str, str]:
    plans = Plans(contract)
    return {"python/mcp_session_store/payloads.py": python_module(plans), "node/payloads.mjs": node_module(plans)}


def python_module(plans: Plans) -> str:
    return "\n".join([
        f"# {MADE}",
        '"""Where payloads stand, and the place of each: of a map, `*` is each member."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Any",
        "",
        *python_table("PARAMS", "In the parameters of methods.", plans.params),
        *python_table("RESULTS", "In their results.", plans.results),
        *python_table("TOLD", "In what notifications tell.", plans.told),
    ])


def python_table(name: str, text: str, table: dict[str, Plan]) -> list[str]:
    lines = [f"#: {text}", f"{name}: dict[str, Any] = {{"]
    for method, plan in table.items():
        line = f'    "{method}": {json.dumps(plan)},'
        if len(line) > python.WIDTH and isinstance(plan, list):
            lines += [f'    "{method}": [{{', *python_members(plan[0], 8), "    }],"]
        elif len(line) > python.WIDTH:
            lines += [f'    "{method}": {{', *python_members(plan, 8), "    },"]
        else:
            lines.append(line)
    return [*lines, "}", ""]


def python_members(plan: dict[str, Plan], indent: int) -> list[str]:
    lines = []
    for name, each in plan.items():
        line = " " * indent + f'"{name}": {json.dumps(each)},'
        if len(line) <= python.WIDTH:
            lines.append(line)
            continue
        start, end, inner = ("[{", "}],", each[0]) if isinstance(each, list) else ("{", "},", each)
        lines += [" " * indent + f'"{name}": {start}', *python_members(inner, indent + 4), " " * indent + end]
    return lines


def node_module(plans: Plans) -> str:
    parts = [f"// {MADE}", ""]
    for name, text, table in (
        ("PARAMS", "Where payloads stand in the parameters of methods, and the place of each.", plans.params),
        ("RESULTS", "The same in their results.", plans.results),
        ("TOLD", "The same in what notifications tell.", plans.told),
    ):
        parts += [f"/** {text} */", f"export const {name} = {{"]
        parts += node_members(table, 2)
        parts += ["}", ""]
    return "\n".join(parts)


def node_members(plan: dict[str, Plan], indent: int) -> list[str]:
    lines = []
    space = " " * indent
    for name, each in plan.items():
        line = f"{space}{node_name(name)}: {node_text(each)},"
        if len(line) <= python.WIDTH:
            lines.append(line)
            continue
        start, end, inner = ("[{", "}],", each[0]) if isinstance(each, list) else ("{", "},", each)
        lines += [f"{space}{node_name(name)}: {start}", *node_members(inner, indent + 2), space + end]
    return lines


def node_name(name: str) -> str:
    return name if name.isidentifier() else f"'{name}'"


def node_text(plan: Plan) -> str:
    if isinstance(plan, str):
        return f"'{plan}'"
    if isinstance(plan, list):
        return f"[{node_text(plan[0])}]"
    return "{ " + ", ".join(f"{node_name(name)}: {node_text(each)}" for name, each in plan.items()) + " }"
