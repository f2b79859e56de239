"""The `calotype` command: one module a verb, imported only when that verb runs, so that help comes at once."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from deploy.errors import Problem

# verb: its line in `calotype --help`. The module of that name (a hyphen is `_` there) holds either a function of that
# name, which is the command, or an `app = typer.Typer()` with commands of its own.
VERBS = {
    "up": "Start everything on this machine and print its address",
    "demo": "Run a campaign from its file to published pictures, and leave the page open",
    "submit": "Send a request, or a file of them, and wait for its jobs",
    "batch": "Look through a file of requests, send it, see what became of it",
    "explain-route": "Say where a request would be made and why not elsewhere, without sending it",
    "source": "Add a picture that requests may start from",
    "jobs": "List jobs with what each waits for, or count them",
    "replay": "Make an asset's image or its files again from their manifest, and say whether they are the same",
    "like": "Ask for one more like an asset, with another seed or other variables",
    "outliers": "Say which pictures of a campaign are unlike the rest, and in what",
    "recipe": "See what a recipe makes of an asset, published or not, before it is run",
    "mark": "Say which asset a picture was made as, from the invisible mark in its pixels",
    "verify": "Say who signed a picture, what was done to it, and whether it is still what was signed",
    "assets": "Run recipes again over approved assets: new versions, which are reviewed",
    "trace": "Tell the whole life of anything that has an id",
    "why": "Say why something stands where it stands, and the one command that helps",
    "dlq": "Look at records that consumers refused; replay or drop them",
    "queue": "Show what waits and what runs, who works on it, what holds it up",
    "pause": "Let nothing new start: of a backend, a lane, a target or a workspace",
    "drain": "Empty a backend, a lane, a target or a workspace before it is taken away",
    "resume": "Let go what `pause` or `drain` holds back",
    "brakes": "List what is held back, by whom, since when and why",
    "catalog": "Compare what everybody reads with the ledger, and make it again",
    "retry": "Start failed jobs again, by reason, stage, backend, batch or campaign",
    "uncertain": "List calls that may have been billed, settle what they cost",
    "audit": "List who did what to the pipeline",
    "library": "Check, publish and list brands, templates, policies, recipes and campaigns",
    "workspace": "Make workspaces and set their limits",
    "key": "Make, list and revoke API keys",
    "link": "Print an address that signs a browser in, once",
    "migrate": "Prepare outside servers: schemas, roles and topics",
    "down": "Stop what `up` started",
    "backup": "Copy everything into a folder while it runs",
    "restore": "Make a data folder of a backup, checked before anything is touched",
    "doctor": "Say what is wrong or soon will be: servers, stages, backends, routes; with a remedy each",
    "status": "Show each process: state, restarts, memory, address",
    "logs": "Print the log of a service or server",
}


class Verbs(TyperGroup):
    """Lists verbs by their line alone; a verb's module is imported when it is about to run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the verb's own command in the place of its line."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name else command, rest


app = typer.Typer(
    cls=Verbs,
    help="Calotype: from a creative request to a published image.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _verb, _line in VERBS.items():
    app.command(name=_verb, help=_line)(lambda: None)


def main() -> None:
    """Run the command line; a problem is told with its remedy, a bug with its stack."""
    try:
        app()
    except Problem as problem:
        typer.echo(f"calotype: {problem.what}\n  {problem.remedy}", err=True)
        raise SystemExit(1) from None


def _load(verb: str) -> Any:
    name = verb.replace("-", "_")
    module = import_module(f"deploy.cli.{name}")
    verb_app = getattr(module, "app", None)
    if verb_app is None:
        verb_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        verb_app.command(name=verb)(getattr(module, name))
    return get_command(verb_app)
