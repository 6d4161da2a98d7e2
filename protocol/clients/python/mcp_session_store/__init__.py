"""Durable sessions, event streams, tasks and values for MCP servers, in a process beside yours."""

from .blocking_store import BlockingStore, BlockingSubscription
from .call_record import CallRecord
from .codec import Codec, RecordReader
from .contract import ErrorKind
from .errors import (
    AnswerError, CallTimeout, ChildError, CodecError, Outcome, Overloaded, Reason, RequestError, RequestTooLarge,
    StoreError,
)
from .policy import Restart, Retry
from .rotation import Rotation
from .store import State, Store
from .subscription import EventSubscription, FrameSubscription, Gap, Greeting, TaskChange, TaskSubscription
from .unset import UNSET, Unset
from .version import __version__

__all__ = [
    "UNSET", "AnswerError", "BlockingStore", "BlockingSubscription", "CallRecord", "CallTimeout", "ChildError",
    "Codec", "CodecError", "ErrorKind", "EventSubscription", "FrameSubscription", "Gap", "Greeting", "Outcome",
    "Overloaded", "Reason", "RecordReader", "RequestError", "RequestTooLarge", "Restart", "Retry", "Rotation", "State",
    "Store", "StoreError", "TaskChange",
    "TaskSubscription", "Unset", "__version__",
]
