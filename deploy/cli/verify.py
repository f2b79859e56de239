"""`calotype verify FILE`: what a file's Content Credentials say and whether they hold. Asks no service."""

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from deploy.cli.options import DATA, AsJson, DataOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem
from deploy.local.certificates import authority
from shared.blobs import MEDIA_TYPES
from shared.credentials import Action, Claim, Credentials, Verifier
from shared.errors import Unavailable

SAID = {
    "trusted": ("✓ trusted", "green", "whole, and signed by somebody whose authority is trusted"),
    "valid": ("! valid", "yellow", "whole; nobody vouches for who signed it (--anchor names an authority)"),
    "invalid": ("✕ invalid", "red", "changed since it was signed, or not signed as it says"),
    "none": ("– unsigned", "dim", "no Content Credentials"),
}
SUFFIXES = {"jpeg": "jpg"}


def verify(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP or AVIF.", exists=True, dir_okay=False)],
    anchor: Annotated[
        Path | None, typer.Option(help="PEM of an authority to trust; default: the data folder's own.", dir_okay=False)
    ] = None,
    data: DataOption = DATA,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say who signed a file, what was done to it, and whether it is still what was signed; exit 1 if it is not."""
    found = asyncio.run(_read(file.read_bytes(), _media_type(file), _anchors(anchor, data)))
    if as_json:
        typer.echo(json.dumps({"file": str(file), "source_type": found.source_type, **found.model_dump()}))
    else:
        _show(found)
    raise typer.Exit(0 if found.state in {"trusted", "valid"} else 1)


async def _read(data: bytes, media_type: str, anchors: str | None) -> Credentials:
    """In a child process, as services do: the file may be anybody's."""
    if importlib.util.find_spec("c2pa") is None:
        raise Problem("Verifying needs c2pa-python.", remedy="Run it where the publisher is installed.")
    verifier = Verifier(anchors=anchors)
    try:
        return await verifier.read(data, media_type)
    except Unavailable as error:
        raise Problem(f"{error.cause[0].upper()}{error.cause[1:]}.", remedy="Try it when less is going on.") from error
    finally:
        await verifier.stop()


def _media_type(file: Path) -> str:
    suffix = file.suffix.lower().removeprefix(".")
    found = MEDIA_TYPES.get(SUFFIXES.get(suffix, suffix), "")
    if not found.startswith("image/"):
        raise Problem(f"{file.name} is no PNG, JPEG, WebP or AVIF by its name.", remedy="Name it by what it is.")
    return found


def _anchors(named: Path | None, data: Path) -> str | None:
    path = named or authority(data)
    if path is None:
        return None
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}", remedy="Give --anchor a PEM file.") from error


def _show(found: Credentials) -> None:
    console = plain_console()
    word, colour, meaning = SAID[found.state]
    console.print(Text.assemble((word, colour), f": {meaning}"))
    for problem in found.problems:
        console.print(f"  {problem}")
    for depth, claim in enumerate(found.claims):
        console.print(Text.assemble("  " * depth, (claim.title or "untitled", "bold"), _signed(claim)))
        for action in claim.actions:
            console.print(Text("  " * depth + f"  {_named(action)}"))
    if found.source_type:
        console.print(f"made as: {found.source_type}")


def _signed(claim: Claim) -> str:
    issuer = f", issued by {claim.issued_by}" if claim.issued_by else ""
    return f", signed by {claim.signed_by}{issuer} ({claim.algorithm})" if claim.signed_by else ""


def _named(action: Action) -> str:
    return action.action + (f" ({action.description})" if action.description else "")
