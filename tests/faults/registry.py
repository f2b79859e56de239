"""Every kind of fault there is, those a run is long enough for, and those this machine cannot do."""

from collections.abc import Iterable

from tests.faults.kind import Kind, NotHere
from tests.faults.kinds.clocks import LIBRARY, ClockWrong
from tests.faults.kinds.disks import STORES, DiskFull
from tests.faults.kinds.groups import Resized, RolledOver
from tests.faults.kinds.handlers import FailsOnSomeJobs
from tests.faults.kinds.links import Delayed, HalfOpen, Reset
from tests.faults.kinds.processes import Killed, StandsStill, Terminated
from tests.faults.kinds.records import Reordered, Repeated, Replayed
from tests.faults.kinds.scripts import CLOUD, HOUR, TARGETS, Cloud, Target
from tests.faults.kinds.servers import Restarted
from tests.faults.kinds.stores import TROUBLES, StoreTrouble
from tests.faults.providers import PROVIDERS
from tests.faults.scale import Scale
from tests.faults.world import World

SERVERS = ("kafka", "postgres")
KINDS: tuple[Kind, ...] = (
    Killed(),
    Terminated(),
    StandsStill(),
    Restarted("kafka", weight=1),
    Restarted("postgres", weight=2),
    *(kind(server) for kind in (Reset, Delayed, HalfOpen) for server in SERVERS),
    *(StoreTrouble(what) for what in TROUBLES),
    *(Cloud(what) for what in CLOUD),
    *(Target(what) for what in TARGETS),
    *(DiskFull(store) for store in STORES),
    Repeated(),
    Reordered(),
    Replayed(),
    ClockWrong(),
    Resized(),
    RolledOver(),
    FailsOnSomeJobs(),
)


def kinds_for(scale: Scale, seconds: float) -> list[Kind]:
    """Every kind, without an hour's outage where the load is over before anybody saw its end."""
    is_long = seconds > 2 * scale.seconds(HOUR)
    return [kind for kind in KINDS if is_long or kind.name != "target.down_an_hour"]


def missing_here(world: World, kinds: Iterable[Kind]) -> list[NotHere]:
    """Those that this machine cannot do, and why."""
    return [NotHere(kind.name, why) for kind in kinds if (why := _why_not(kind, world))]


def _why_not(kind: Kind, world: World) -> str:
    match kind:
        case DiskFull(store=store) if not world.disks[store].mounted:
            return f"no small file system could be mounted: {world.disks[store].why_not}"
        case ClockWrong() if LIBRARY is None:
            return "Debian's package faketime is not installed"
        case Cloud() if not PROVIDERS.keys() <= world.scripted.keys():
            return "not every provider is scripted"
        case Target() if "receiver" not in world.scripted:
            return "there is no scripted receiver"
        case _:
            return ""
