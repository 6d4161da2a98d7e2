# Made by protocol/clients/generate from protocol/openrpc.json.
"""Where payloads stand, and the place of each: of a map, `*` is each member."""

from __future__ import annotations

from typing import Any

#: In the parameters of methods.
PARAMS: dict[str, Any] = {
    "create_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "update_session": {
        "session": {
            "client_capabilities": "session.client_capabilities",
            "server_capabilities": "session.server_capabilities",
            "state": {"*": "session.state"},
            "metadata": "session.metadata",
        },
    },
    "set_session_state": {"value": "session.state"},
    "store_event": {"data": "event.data"},
    "store_events": {"events": [{"data": "event.data"}]},
    "broadcast_event": {"data": "event.data"},
    "create_task": {
        "original_params": "task.original_params",
        "status_message": "task.status_message",
        "meta": "task.meta",
    },
    "update_task": {
        "task": {
            "status_message": "task.status_message",
            "original_params": "task.original_params",
            "result": {
                "success": "task.success",
                "error": {"message": "task.error.message", "data": "task.error.data"},
            },
            "input_requests": {"*": "task.input_requests"},
            "input_responses": {"*": "task.input_responses"},
            "meta": "task.meta",
        },
    },
    "touch_task": {"status_message": "task.status_message"},
    "update_task_status": {"status_message": "task.status_message"},
    "store_task_result": {
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
    },
    "complete_task": {"result": "task.success", "status_message": "task.status_message"},
    "fail_task": {
        "error": {"message": "task.error.message", "data": "task.error.data"},
        "status_message": "task.status_message",
    },
    "require_task_input": {"input_requests": {"*": "task.input_requests"}},
    "provide_task_input": {"input_responses": {"*": "task.input_responses"}},
    "enqueue_task_message": {"message": "task.message"},
    "put_value": {"value": "value.value"},
    "enqueue_work": {"payload": "work.payload"},
    "put_event_subscription": {"data": "event_subscription.data", "secret": "event_subscription.secret"},
    "append_log_entry": {"entry": "log.entry"},
    "replace_log": {"entries": ["log.entry"]},
    "compact_log": {"checkpoint": "log.entry"},
}

#: In their results.
RESULTS: dict[str, Any] = {
    "create_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "get_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "update_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "touch_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "list_sessions": {
        "sessions": [{
            "client_capabilities": "session.client_capabilities",
            "server_capabilities": "session.server_capabilities",
            "state": {"*": "session.state"},
            "metadata": "session.metadata",
        }],
    },
    "activate_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "suspend_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "resume_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "expire_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "invalidate_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "resolve_session": {
        "client_capabilities": "session.client_capabilities",
        "server_capabilities": "session.server_capabilities",
        "state": {"*": "session.state"},
        "metadata": "session.metadata",
    },
    "get_session_state": {"value": "session.state"},
    "remove_session_state": {"value": "session.state"},
    "get_events_after": {"events": [{"data": "event.data"}]},
    "get_recent_events": {"events": [{"data": "event.data"}]},
    "create_task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "get_task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "update_task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "touch_task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "list_tasks": {
        "tasks": [{
            "status_message": "task.status_message",
            "original_params": "task.original_params",
            "result": {
                "success": "task.success",
                "error": {"message": "task.error.message", "data": "task.error.data"},
            },
            "input_requests": {"*": "task.input_requests"},
            "input_responses": {"*": "task.input_responses"},
            "meta": "task.meta",
        }],
    },
    "list_tasks_for_session": {
        "tasks": [{
            "status_message": "task.status_message",
            "original_params": "task.original_params",
            "result": {
                "success": "task.success",
                "error": {"message": "task.error.message", "data": "task.error.data"},
            },
            "input_requests": {"*": "task.input_requests"},
            "input_responses": {"*": "task.input_responses"},
            "meta": "task.meta",
        }],
    },
    "update_task_status": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "store_task_result": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "get_task_result": {
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
    },
    "complete_task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "fail_task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "cancel_task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "require_task_input": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "provide_task_input": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
    "dequeue_task_message": {"message": "task.message"},
    "dequeue_all_task_messages": {"messages": ["task.message"]},
    "peek_task_messages": {"messages": ["task.message"]},
    "subscribe_tasks": {
        "task": {
            "status_message": "task.status_message",
            "original_params": "task.original_params",
            "result": {
                "success": "task.success",
                "error": {"message": "task.error.message", "data": "task.error.data"},
            },
            "input_requests": {"*": "task.input_requests"},
            "input_responses": {"*": "task.input_responses"},
            "meta": "task.meta",
        },
        "tasks": [{
            "status_message": "task.status_message",
            "original_params": "task.original_params",
            "result": {
                "success": "task.success",
                "error": {"message": "task.error.message", "data": "task.error.data"},
            },
            "input_requests": {"*": "task.input_requests"},
            "input_responses": {"*": "task.input_responses"},
            "meta": "task.meta",
        }],
    },
    "get_value": {"value": "value.value"},
    "list_values": {"values": [{"value": "value.value"}]},
    "claim_work": {
        "work": [{
            "payload": "work.payload",
            "subscription": {
                "data": "event_subscription.data",
                "secret": "event_subscription.secret",
                "previous_secret": "event_subscription.secret",
            },
        }],
    },
    "list_work": {
        "work": [{
            "payload": "work.payload",
            "subscription": {
                "data": "event_subscription.data",
                "secret": "event_subscription.secret",
                "previous_secret": "event_subscription.secret",
            },
        }],
    },
    "put_event_subscription": {
        "subscription": {
            "data": "event_subscription.data",
            "secret": "event_subscription.secret",
            "previous_secret": "event_subscription.secret",
        },
    },
    "get_event_subscription": {
        "data": "event_subscription.data",
        "secret": "event_subscription.secret",
        "previous_secret": "event_subscription.secret",
    },
    "list_event_subscriptions": {
        "subscriptions": [{
            "data": "event_subscription.data",
            "secret": "event_subscription.secret",
            "previous_secret": "event_subscription.secret",
        }],
    },
    "load_log": {"entries": [{"entry": "log.entry"}]},
}

#: In what notifications tell.
TOLD: dict[str, Any] = {
    "Event": {"data": "event.data"},
    "Task": {
        "status_message": "task.status_message",
        "original_params": "task.original_params",
        "result": {"success": "task.success", "error": {"message": "task.error.message", "data": "task.error.data"}},
        "input_requests": {"*": "task.input_requests"},
        "input_responses": {"*": "task.input_responses"},
        "meta": "task.meta",
    },
}
