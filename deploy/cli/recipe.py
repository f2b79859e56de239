"""`calotype recipe preview`: what a recipe makes of an asset, before it is run or even published."""

import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.errors import Problem
from shared.library.documents import Recipe
from shared.library.lint import lint
from shared.library.reading import Finding, Reading, read_text
from shared.library.shelf import Shelf

app = typer.Typer(help="Recipes, tried before they are run.", no_args_is_help=True, add_completion=False)

Wanted = Annotated[str, typer.Argument(metavar="RECIPE", help="A file with the draft, or NAME@VERSION of the library.")]


@app.callback()
def _group() -> None:
    """Recipes, tried before they are run."""


@app.command()
def preview(
    recipe: Wanted,
    asset: Annotated[str, typer.Argument(help="The asset's id.")],
    rendition: Annotated[str, typer.Option("--rendition", help="Which file of the recipe.")],
    out: Annotated[Path, typer.Option("--out", help="Where the picture goes.", dir_okay=False)],
    name: Annotated[str | None, typer.Option("--recipe", help="Which recipe, where the file has several.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Make one file of an asset by a recipe, stored nowhere but in --out; a draft is checked as lint does."""
    draft = _draft(Path(recipe), name) if _is_file(recipe) else None
    with connected(data, workspace=workspace) as client:
        manifest = client.get(f"/v1/assets/{asset}").get("derivatives_manifest")
        if manifest is None:
            raise Problem(f"Asset {asset} has no files yet.", remedy="Wait for them: `calotype why` says when.")
        asked = {"manifest": manifest["sha256"], "rendition": rendition}
        answer = _asked(client, asset, asked, recipe, draft)
    out.write_bytes(answer.content)
    made: dict[str, Any] = json.loads(answer.headers["calotype-made"])
    made |= {"out": str(out), "media_type": answer.headers["content-type"], "bytes": len(answer.content)}
    if as_json:
        typer.echo(json.dumps(made))
        return
    quality = f", quality {made['quality']}" if made["quality"] else ""
    typer.echo(f"{out}: {made['width']} × {made['height']} {made['media_type']}{quality}, {made['bytes']:,} bytes")
    for note in made["notes"]:
        typer.echo(note)


def _asked(client: Client, asset: str, asked: dict[str, str], named: str, draft: Recipe | None) -> httpx.Response:
    where = f"/v1/derivatives/{asset}/preview"
    if draft is None:
        answer = client.send("GET", where, params=asked | {"recipe": named})
    else:
        answer = client.send("POST", where, params=asked, json=draft.model_dump(mode="json"))
    if answer.status_code != 200:
        client.checked(answer)
    return answer


def _is_file(named: str) -> bool:
    """Raises Problem for what is written like a file and is none."""
    file = Path(named)
    if not file.is_file() and (file.suffix in {".yaml", ".yml"} or len(file.parts) > 1):
        raise Problem(f"There is no file {named}.", remedy="Name the file with the draft, or NAME@VERSION.")
    return file.is_file()


def _draft(file: Path, name: str | None) -> Recipe:
    """The recipe in a file. Raises typer.Exit where lint refuses it, Problem where it is not clear which is meant."""
    reading = Reading()
    read_text(file.read_bytes(), file=str(file), into=reading)
    drafts = [(each, source) for each, source in reading.documents if isinstance(each, Recipe)]
    chosen = [(each, source) for each, source in drafts if name in (None, each.name, each.label)]
    if not reading.findings and len(chosen) != 1:
        labels = ", ".join(each.label for each, _ in drafts)
        what = f"{file} has {len(chosen)} such recipes" if drafts else f"{file} has no recipe"
        raise Problem(f"{what}.", remedy=f"Name one with --recipe: {labels}." if drafts else "Name another file.")
    findings: list[Finding] = list(reading.findings)
    for each, source in chosen:
        faults = lint([each], published=Shelf())
        findings += [source.finding(fault.loc, fault.problem, error=fault.error) for fault in faults]
    for finding in findings:
        typer.echo(str(finding), err=True)
    if any(finding.error for finding in findings):
        raise typer.Exit(1)
    return chosen[0][0]
