"""Every kind of fault there is, and those this machine cannot do."""

from tests.faults.kind import Kind, NotHere
from tests.faults.kinds.clocks import LIBRARY, ClockWrong
from tests.faults.kinds.disks import STORES, DiskFull
from tests.faults.kinds.groups import Resized, RolledOver
from tests.faults.kinds.links import Delayed, HalfOpen, Reset
from tests.faults.kinds.processes import Killed, StandsStill, Terminated
from tests.faults.kinds.records import Reordered, Repeated, Replayed
from tests.faults.kinds.scripts import CLOUD, TARGETS, Cloud, Target
from tests.faults.kinds.servers import Restarted
from tests.faults.kinds.stores import TROUBLES, StoreTrouble
from tests.faults.providers import PROVIDERS
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
)


def possible(world: World) -> tuple[list[Kind], list[NotHere]]:
    """What can be done here, and what cannot and why."""
    missing = {}
    for kind in KINDS:
        why = _why_not(kind, world)
        if why:
            missing[kind.name] = NotHere(kind.name, why)
    return [kind for kind in KINDS if kind.name not in missing], list(missing.values())


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
