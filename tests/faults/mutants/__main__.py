"""`python -m tests.faults.mutants`: lays each defect into the product and says by which invariant it comes to light.

`--only NAME …` takes these, `--rotate K --seed S` so many by turns of those that come to light on any machine. What is
caught counts only where the same scenario finds nothing without the mutant. `--out` keeps `mutants.json` and
`mutants.md`. Exit status 1 where one survives.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.ending import until_told_to_end
from tests.faults.mutants import MUTANTS
from tests.faults.mutants.in_a_test import tried_in_a_test
from tests.faults.mutants.mutant import Mutant, Scenario
from tests.faults.mutants.trial import Found, open_arena, tried

FEWEST = 30
# They come to light in every trial, whatever the machine does beside it: nothing has to be met in its moment.
SURE = (
    "approval-without-asset-version",
    "asset-version-without-derivatives",
    "blob-key-without-hash",
    "ceiling-ignored",
    "check-rejects-nothing",
    "completed-with-the-first-job",
    "dead-letter-not-kept",
    "dedupe-on-ce-id-alone",
    "event-id-drawn",
    "event-id-positional",
    "idempotency-key-without-workspace",
    "inbox-key-removed",
    "job-id-by-place",
    "partitioned-by-event",
    "poison-kills-the-batch",
    "progress-in-the-ledger",
    "prompt-logged",
    "publication-by-event",
    "secret-logged",
    "trace-not-carried-over-work",
    "workspace-filter-missing",
)


def chosen(only: list[str], rotate: int | None, seed: int) -> list[Mutant]:
    """All of them, those named, or so many whose turn it is: each of SURE comes up once in len / rotate seeds."""
    if only:
        return [MUTANTS[name] for name in only]
    if rotate is None:
        return [MUTANTS[name] for name in sorted(MUTANTS)]
    first = seed * rotate % len(SURE)
    return [MUTANTS[name] for name in (SURE + SURE)[first : first + rotate]]


async def run(mutants: list[Mutant], *, out: Path, controls: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    clean: list[tuple[Scenario, Found]] = []
    async with open_arena(out / "arena") as arena:

        async def ran(name: str, scenario: Scenario, folder: Path) -> Found:
            if scenario.test:
                return await tried_in_a_test(name, scenario, out=folder, say=say)
            return await tried(arena, name, scenario, out=folder, say=say)

        for mutant in mutants:
            control = next((found for scenario, found in clean if scenario == mutant.scenario), None)
            if control is None and controls:
                control = await ran("", mutant.scenario, out / f"control-{len(clean)}")
                clean.append((mutant.scenario, control))
            found = await ran(mutant.name, mutant.scenario, out / mutant.name)
            rows.append(_row(mutant, found, control))
            _keep(rows, out)
            if problem := rows[-1]["problem"]:
                say(f"  {problem}; {found.examples or (control.examples if control else '')}")
    return rows


def _keep(rows: list[dict[str, Any]], out: Path) -> None:
    """After each, so that a run that is cut off has told something."""
    (out / "mutants.json").write_text(json.dumps(rows, indent=1))
    (out / "mutants.md").write_text(table(rows))


def _row(mutant: Mutant, found: Found, control: Found | None) -> dict[str, Any]:
    problem = ""
    if control is not None and control.caught:
        problem = "its scenario finds something without it"
    elif not found.caught:
        problem = "survived"
    elif not mutant.caught_by & set(found.by_invariant):
        problem = (
            f"was caught by {', '.join(sorted(found.by_invariant))} and not by {', '.join(sorted(mutant.caught_by))}"
        )
    return {
        "mutant": mutant.name,
        "defect": mutant.defect,
        "caught_by": dict(sorted(found.by_invariant.items())),
        "expected": sorted(mutant.caught_by),
        "example": found.examples[0] if found.examples else "",
        "seconds": round(found.seconds, 1),
        "crashes": found.crashes,
        "problem": problem,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """For docs/reliability.md, as it stands there."""
    lines = ["| mutant | defect | caught by |", "|---|---|---|"]
    for row in rows:
        caught = f"**{row['problem']}**" if row["problem"] else ", ".join(sorted(row["caught_by"], key=_in_order))
        lines.append(f"| `{row['mutant']}` | {row['defect']} | {caught} |")
    return "\n".join(lines) + "\n"


def _in_order(invariant: str) -> tuple[int, str]:
    """I10 after I9, and what is no invariant last."""
    return (int(invariant[1:]), "") if invariant[1:].isdecimal() else (99, invariant)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--rotate", type=int, help="so many, by turns")
    parser.add_argument("--seed", type=int, default=int(time.time() // 86400), help="whose turn it is; today's number")
    parser.add_argument("--no-controls", action="store_true", help="do not run the scenarios without a mutant")
    parser.add_argument("--out", type=Path)
    told = parser.parse_args()
    if len(MUTANTS) < FEWEST:
        say(f"only {len(MUTANTS)} mutants are registered, and there have to be {FEWEST}")
        return 1
    mutants = chosen(told.only, told.rotate, told.seed)
    out: Path = (told.out or Path(tempfile.mkdtemp(prefix="mutants-"))).resolve()
    say(f"{len(mutants)} of {len(MUTANTS)} mutants (seed {told.seed}), everything in {out}")
    rows = asyncio.run(until_told_to_end(run(mutants, out=out, controls=not told.no_controls)))
    problems = [row for row in rows if row["problem"]]
    for row in problems:
        say(f"{row['mutant']}: {row['problem']}")
    say(json.dumps({"mutants": len(rows), "caught": len(rows) - len(problems), "problems": len(problems)}))
    return 1 if problems else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
