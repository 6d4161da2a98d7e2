"""What is measured. Each measure prepares its files once; one round runs ours and all that stand beside it, in turn."""

from measures.clients import ConcurrentEvents, EventLoopDelay, LoneEvents, Replays
from measures.growth import Growth
from measures.process import ColdStart, EndOfInput, Memory, Sweep
from measures.reading import Pages, Replay, Sessions
from measures.row import Measure
from measures.sealing import Sealing
from measures.servers import ManySidecars, ServerGrowth, ServerWork, ServerWrites
from measures.serving import Flows, Tasks
from measures.work import Wakes, Work
from measures.writing import Batches, Disk, LoneStore, PipelinedLog, PipelinedStore

MEASURES: tuple[Measure, ...] = (
    *(PipelinedStore(sessions, payload) for payload in (200, 4096) for sessions in (1, 10, 100, 10_000)),
    Batches(),
    LoneStore(),
    Replay(),
    Pages(),
    Sessions(),
    Tasks(),
    PipelinedLog(),
    Flows(),
    LoneEvents(),
    ConcurrentEvents(),
    Replays(),
    EventLoopDelay(),
    Sealing(),
    ColdStart(),
    Memory("memory", times=5),
    EndOfInput(),
    Growth("growth_sessions", (1_000, 10), (100_000, 10), "100,000 sessions beside 1,000"),
    Growth("growth_events", (100, 100), (100, 10_000), "1,000,000 events beside 10,000"),
    Work(),
    Wakes(),
    Disk(),
    ServerWrites(),
    ServerWork(),
    ManySidecars(),
    ServerGrowth(),
    Memory("memory_slow", times=50, is_slow=True),
    Growth("growth_sessions_slow", (1_000, 1), (1_000_000, 1), "1,000,000 sessions beside 1,000", is_slow=True),
    Growth("growth_events_slow", (100, 100), (100, 100_000), "10,000,000 events beside 10,000", is_slow=True),
    Sweep(),
)


def is_slow(measure: Measure) -> bool:
    return getattr(measure, "is_slow", False)
