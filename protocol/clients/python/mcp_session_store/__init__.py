"""Durable sessions, event streams, tasks and values for MCP servers, in a process beside yours."""

from .blocking_store import BlockingStore, BlockingSubscription
from .errors import CallTimeout, ChildError, RequestError, RequestTooLarge, StoreError
from .store import Restart, Store
from .subscription import EventSubscription, TaskChange, TaskSubscription
from .unset import UNSET, Unset
from .version import __version__

__all__ = [
    "UNSET", "BlockingStore", "BlockingSubscription", "CallTimeout", "ChildError", "EventSubscription", "RequestError",
    "RequestTooLarge", "Restart", "Store", "StoreError", "TaskChange", "TaskSubscription", "Unset",
    "__version__",
]
