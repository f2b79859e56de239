"""Of pictures that came before.

I4: each of those that are the same is told so but the first, by an asset that was there before; I8: never by another
workspace's.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle.evidence import Evidence, Row, Violation, is_anew
from tests.faults.oracle.invariants.ends import promised

Broken = partial(Violation, invariant="I4")
TWIN = "twin"
NAMED = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
OUTLINE = 64  # hex digits of a fingerprint that say where it is light and dark
COMPARED = 20  # pictures of the same outline at most


def check(evidence: Evidence) -> Iterator[Violation]:
    rows = evidence.table("postprocess.likenesses")
    known = {row["asset_id"]: row for row in rows}
    yield from _kept(evidence, rows)
    earlier = _earlier(rows)
    compared = {promised(line): line["compared"] for line in evidence.accepted if "compared" in line}
    for picture in evidence.all_of("ImageProcessed"):
        asset = picture.body["asset_id"]
        verdict = next((one for one in picture.body["verdicts"] if one["check"] == TWIN), None)
        if (verdict is not None) != (compared.get(picture.request or "", asset in known) and not is_anew(picture)):
            yield Broken(subject=asset, what="was asked if it came before though nobody wanted that, or the reverse")
        elif verdict is not None and asset not in known:
            yield Broken(subject=asset, what="was compared, and is not known from then on", kind="lost")
        elif verdict is not None:
            yield from _judged(verdict, known[asset], known, came_before=asset in earlier)


def _kept(evidence: Evidence, rows: list[Row]) -> Iterator[Violation]:
    """Every picture once, as what it is."""
    made = {event.body["asset_id"]: event for event in evidence.all_of("ImageGenerated")}
    seen: set[str] = set()
    for row in rows:
        image, asset = made.get(row["asset_id"]), row["asset_id"]
        if image is None or (image.workspace, image.job) != (row["workspace"], row["job_id"]):
            yield Broken(subject=asset, what="is compared with, and is no such picture", evidence=dict(row))
        if asset in seen:
            yield Broken(subject=asset, what="is compared with twice", kind="doubled")
        seen.add(asset)


def _earlier(rows: list[Row]) -> dict[str, str]:
    """Asset → one of another job and the same workspace that has the same fingerprint and was there before."""
    found: dict[str, str] = {}
    same: dict[tuple[str, str], list[Row]] = defaultdict(list)
    outlines: dict[tuple[str, str], int] = defaultdict(int)
    for row in sorted(rows, key=lambda row: row["seq"]):
        before = same[row["workspace"], row["fingerprint"]]
        outline = row["workspace"], row["fingerprint"][:OUTLINE]
        twin = next((other for other in before if other["job_id"] != row["job_id"]), None)
        if twin is not None and outlines[outline] < COMPARED:
            found[row["asset_id"]] = twin["asset_id"]
        before.append(row)
        outlines[outline] += 1
    return found


def _judged(verdict: Row, row: Row, known: dict[str, Row], *, came_before: bool) -> Iterator[Violation]:
    asset = row["asset_id"]
    named = NAMED.findall(verdict["sentence"])
    if verdict["ok"]:
        if came_before:
            yield Broken(subject=asset, what="came before, and is called new", kind="lost")
        return
    other = known.get(named[0]) if named else None
    if other is None:
        yield Broken(subject=asset, what="is like an asset that nobody knows", evidence=verdict["sentence"])
    elif other["workspace"] != row["workspace"]:
        yield Broken(subject=asset, invariant="I8", what="is told that another workspace's is like it", evidence=named)
    elif other["job_id"] == row["job_id"] or other["seq"] >= row["seq"]:
        yield Broken(subject=asset, what="is like one of its own job, or that came later", evidence=named)
