"""`calotype catalog …`: the state that everybody reads, compared with the ledger it follows from."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console, verbatim

app = typer.Typer(help="The state that everybody reads.", no_args_is_help=True, add_completion=False)
COUNTED = ("requests", "jobs", "facts")
SHOWN = 20


@app.callback()
def catalog() -> None:
    """The state that everybody reads, and the ledger it follows from."""


@app.command()
def rebuild(
    *,
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit 1 if anything differs.")] = False,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="Of all workspaces; needs a key with the role owner.")
    ] = False,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Make the state of requests, jobs, attempts, assets, files and publications again from the ledger.

    The catalog goes on meanwhile: a request with its jobs is compared at a time, and mended where it differs. What
    people decided, dead letters and the feed are not made from the ledger and stay as they are. Broken off, it may be
    started again.
    """
    with connected(data, workspace=workspace) as client:
        found = _all(client, {"check": check, "everyone": everyone}, quiet=as_json)
    differ = sum(found["differing"].values())
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _tell(found, check=check)
    if check and differ:
        raise typer.Exit(1)


def _all(client: Client, asked: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Part after part, added up."""
    whole: dict[str, Any] = dict.fromkeys((*COUNTED, "without_facts"), 0)
    whole |= {"check": asked["check"], "rows": {}, "differing": {}, "differences": []}
    after: str | None = None
    console = verbatim(stderr=True)
    with console.status("reading the ledger") as status:
        while True:
            part = client.post("/v1/stages/catalog/rebuild", asked | {"after": after})
            for name in (*COUNTED, "without_facts"):
                whole[name] += part[name]
            for name in ("rows", "differing"):
                for table, count in part[name].items():
                    whole[name][table] = whole[name].get(table, 0) + count
            whole["differences"] = (whole["differences"] + part["differences"])[:100]
            after = part["next"]
            if after is None:
                return whole
            if not quiet:
                status.update(f"{whole['requests']:,} requests, {whole['facts']:,} facts")


def _tell(found: dict[str, Any], *, check: bool) -> None:
    console = plain_console()
    table = Table("table", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("follow", "differ" if check else "mended"):
        table.add_column(name, justify="right")
    for name, rows in found["rows"].items():
        differ = found["differing"][name]
        table.add_row(name, f"{rows:,}", Text(f"{differ:,}", "bold red" if check else "bold") if differ else Text("–"))
    console.print(f"{found['requests']:,} requests, {found['jobs']:,} jobs, {found['facts']:,} facts.")
    console.print(table)
    for one in found["differences"][:SHOWN]:
        key = ", ".join(str(value) for value in one["key"].values())
        console.print(Text(f"{one['table']} {key}: stands {_short(one['stands'])}, follows {_short(one['follows'])}"))
    if found["without_facts"]:
        line = f"{found['without_facts']:,} jobs have no facts in the ledger any more; they were left as they are."
        console.print(Text(line, "dim"))


def _short(side: dict[str, Any] | None) -> str:
    if side is None:
        return "nothing"
    return ", ".join(f"{name} {value}" for name, value in side.items())
