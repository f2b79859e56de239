"""`calotype status`."""

import json
import time
from datetime import datetime
from typing import Annotated, Any

import psutil
import typer
from rich.table import Table

from deploy.cli.options import DATA, DataOption
from deploy.cli.terminal import verbatim
from deploy.local.data import DataFolder, read_json
from deploy.local.processes import Identity

SERVERS = {"postgres", "kafka"}


def status(
    data: DataOption = DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 a flag
) -> None:
    """Show what runs on a data folder; exit 1 if nothing does."""
    found = look(DataFolder(data))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        _show(found)
    if not found["running"]:
        raise typer.Exit(1)


def look(folder: DataFolder) -> dict[str, Any]:
    """Return the supervisor and each process of a data folder, with its memory in bytes."""
    holder = folder.holder()
    document = read_json(folder.run / "supervisor.json") if holder else {}
    processes = []
    if holder is not None:
        since = datetime.fromtimestamp(psutil.Process(holder.pid).create_time()).astimezone()
        processes.append(
            {
                "name": "supervisor",
                "state": "ready" if "url" in document else "starting",
                "pid": holder.pid,
                "uptime": _seconds_since(since),
                "restarts": 0,
                "rss": _resident([psutil.Process(holder.pid)]),
                "address": document.get("url", ""),
                "detail": "",
            }
        )
    records = sorted(folder.run.glob("*.json"), key=lambda path: (path.stem not in SERVERS, path.stem))
    processes += [
        _process(read_json(path), supervised=holder is not None) for path in records if path.stem != "supervisor"
    ]
    return {
        "data": str(folder.root),
        "running": holder is not None,
        "address": document.get("url"),
        "processes": processes,
        "services_rss": sum(p["rss"] for p in processes if p["name"] not in SERVERS | {"supervisor"}),
        "total_rss": sum(p["rss"] for p in processes),
    }


def _process(record: dict[str, Any], *, supervised: bool) -> dict[str, Any]:
    identity = Identity.read(record)
    alive = identity is not None and identity.alive()
    state = record["state"] if supervised else ("left running" if alive else "dead")
    return {
        "name": record["name"],
        "state": state,
        "pid": record.get("pid") if alive else None,
        "uptime": _seconds_since(datetime.fromisoformat(record["since"])),
        "restarts": record["restarts"],
        "rss": _resident(_family(identity)) if identity and alive else 0,
        "address": record["address"],
        "detail": record["detail"],
    }


def _family(identity: Identity) -> list[psutil.Process]:
    """Return a process and all its workers: those of its session, and PostgreSQL's, which have their own."""
    children = psutil.Process(identity.pid).children(recursive=True)
    return list({process.pid: process for process in [*identity.session(), *children]}.values())


def _resident(processes: list[psutil.Process]) -> int:
    """Return what processes hold in memory; what they share (code, PostgreSQL's buffers) is counted once."""
    own, shared = 0, 0
    for process in processes:
        try:
            memory = process.memory_info()
        except psutil.NoSuchProcess:
            continue
        own += memory.rss - getattr(memory, "shared", 0)
        shared = max(shared, getattr(memory, "shared", 0))
    return own + shared


def _seconds_since(moment: datetime) -> int:
    return max(0, int(time.time() - moment.timestamp()))


def _show(found: dict[str, Any]) -> None:
    console = verbatim()
    if not found["processes"]:
        console.print(f"Nothing runs on {found['data']}. Start it with `calotype up`.")
        return
    table = Table("", "state", "pid", "up", "restarts", "MB", "address", box=None, pad_edge=False)
    for process in found["processes"]:
        table.add_row(
            process["name"],
            process["state"],
            str(process["pid"] or ""),
            _duration(process["uptime"]),
            str(process["restarts"]),
            f"{process['rss'] / 2**20:.0f}",
            process["address"],
        )
    console.print(table)
    for process in found["processes"]:
        if process["detail"]:
            console.print(f"{process['name']} {process['detail']}")
    services, everything = (found[name] / 2**20 for name in ("services_rss", "total_rss"))
    console.print(f"\nResident: the services {services:.0f} MB, everything {everything:.0f} MB")
    if not found["running"]:
        console.print("Their supervisor was killed: `calotype up` recovers, `calotype down` stops them.")


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours} h {rest // 60:02} min" if hours else f"{rest // 60} min {rest % 60:02} s"
