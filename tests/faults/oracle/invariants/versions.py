"""Of versions made anew of approved assets.

I1: each ask that was taken ends; I2: once, and one of an asset at a time; I3: the version that was approved last stands
at a target, and the others gave way; I4: it was made as it was asked for.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle import ids
from tests.faults.oracle.evidence import Event, Evidence, Kind, Row, Violation, is_anew
from tests.faults.oracle.invariants.effects import AFTERWARDS
from tests.faults.oracle.invariants.ends import REASONS

Promised = partial(Violation, invariant="I1")
Once = partial(Violation, invariant="I2")
Served = partial(Violation, invariant="I3")
Made = partial(Violation, invariant="I4")


def check(evidence: Evidence) -> Iterator[Violation]:
    yield from _promises(evidence)
    yield from _answers(evidence)
    yield from _in_turn(evidence)
    yield from _as_asked(evidence)
    yield from _replaced(evidence)
    yield from _served(evidence)
    yield from _superseded(evidence)
    yield from _gave_way(evidence)


def _promises(evidence: Evidence) -> Iterator[Violation]:
    """Who was told that a recipe is run again over an asset was told the truth."""
    asked = {
        (event.subject, event.body["asset_id"], label_of(pin))
        for event in evidence.all_of("DerivativesRequested")
        for pin in event.body["recipes"].values()
    }
    for line in evidence.reruns:
        if line["answered"] != "requested":
            if not (line["why"] and line["remedy"]):
                yield Promised(subject=line["asset_id"], what="gets no new version, and nobody says why")
        elif (line["asset_version"], line["asset_id"], line["recipe"]) not in asked:
            what = f"was to be made anew by {line['recipe']}, and nothing asks for that"
            yield Promised(subject=line["asset_version"], what=what, kind="lost")


def label_of(pin: Row) -> str:
    return f"{pin['name']}@{pin['version']}"


def _answered(evidence: Evidence) -> list[Event]:
    return [event for event in evidence.all_of("ImageProcessed", "DerivativesFailed") if is_anew(event)]


def _ask_of(event: Event) -> str:
    """What it answers: its cause, but for the word of a person who dropped the ask's record."""
    return str(event.body.get("asked") or event.cause)


def _answers(evidence: Evidence) -> Iterator[Violation]:
    """Each ask for a new version came to one version, or to one word on why not; most to a version."""
    answers: dict[str, list[Event]] = defaultdict(list)
    for event in _answered(evidence):
        answers[_ask_of(event)].append(event)
    for ask in evidence.all_of("DerivativesRequested"):
        said = answers.pop(ask.id, [])
        if len(said) != 1 and not _came_late(said):
            kind: Kind = "doubled" if said else "lost"
            yield Once(subject=ask.id, what=f"asked for a new version, and was answered {len(said)} times", kind=kind)
    for cause in answers:
        yield Once(subject=cause, what="made a new version, and is no ask for one")
    failed = list(evidence.all_of("DerivativesFailed"))
    for event in failed:
        if event.body["reason"] not in REASONS or not event.body["detail"]:
            yield Promised(subject=event.subject, what=f"was not made anew for the reason {event.body['reason']!r}")
    # The store may be away for long, or a worker be lost over one three times; not over most.
    if len(failed) > sum(map(is_anew, evidence.all_of("ImageProcessed"))):
        yield Promised(subject=failed[0].subject, what="most of what was made anew failed", evidence=len(failed))


def _came_late(said: list[Event]) -> bool:
    """A version that was on its way when a person gave it up is there beside that person's word."""
    given_up = [event for event in said if event.type == "DerivativesFailed" and event.body.get("asked")]
    return len(given_up) == 1 and [e.type for e in said if e not in given_up] == ["ImageProcessed"]


def _in_turn(evidence: Evidence) -> Iterator[Violation]:
    """One version of an asset at a time, and none by the same recipes from the same version again."""
    at = {fact.id: fact.at for fact in evidence.kept}
    answers: dict[str, Event] = {}
    for event in sorted(_answered(evidence), key=lambda event: at.get(event.id, 0.0)):
        answers.setdefault(_ask_of(event), event)  # from the first on, it may be asked for again
    asks: dict[str, list[Event]] = defaultdict(list)
    for ask in evidence.all_of("DerivativesRequested"):
        asks[ask.body["asset_id"]].append(ask)
    for asset, some in asks.items():
        some.sort(key=lambda ask: at.get(ask.id, 0.0))
        made: set[tuple[str, ...]] = set()
        for ask, following in zip(some, [*some[1:], None], strict=True):
            answer = answers.get(ask.id)
            if answer and following and at.get(following.id, 0.0) < at.get(answer.id, 0.0):
                yield Once(subject=asset, what="was asked for anew while another version of it was being made")
            same = (ask.subject, *sorted(pin["digest"] for pin in ask.body["recipes"].values()))
            if answer and answer.type == "ImageProcessed":
                if same in made:
                    yield Once(
                        subject=asset, what="was made twice from one version by the same recipes", kind="doubled"
                    )
                made.add(same)


def _as_asked(evidence: Evidence) -> Iterator[Violation]:
    """By the recipes that were asked for, and no other file."""
    for event in filter(is_anew, evidence.all_of("ImageProcessed")):
        ask = evidence.events.get(event.cause)
        if ask is None or ask.type != "DerivativesRequested":
            continue  # which is told above
        wanted = {label_of(pin) for pin in ask.body["recipes"].values()}
        found = {file["recipe"] for file in event.body["files"] if file.get("recipe")}
        if found != wanted:
            what = f"was to be made by {', '.join(sorted(wanted))}, and was by {', '.join(sorted(found)) or 'none'}"
            yield Made(subject=event.body["asset_version_id"], what=what)


def _replaced(evidence: Evidence) -> Iterator[Violation]:
    """Of two versions made of one the second would undo the first."""
    followers = Counter(event.body["supersedes"] for event in evidence.all_of("AssetApproved") if is_anew(event))
    for version, many in followers.items():
        if many > 1:
            yield Served(subject=version, what=f"was replaced by {many} versions", kind="doubled")


def _served(evidence: Evidence) -> Iterator[Violation]:
    """Of an asset's versions one stands at a target."""
    assets = {event.body["asset_version_id"]: event.body["asset_id"] for event in evidence.all_of("AssetApproved")}
    served: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in evidence.table("publisher.publications"):
        if row["state"] == "delivered" and row["asset_version_id"] in assets:
            served[assets[row["asset_version_id"]], row["target"]].append(row["asset_version_id"])
    for (asset, target), versions in served.items():
        if len(versions) > 1:
            what = f"has {len(versions)} versions served at {target}"
            yield Served(subject=asset, what=what, kind="doubled", evidence=versions)


def _superseded(evidence: Evidence) -> Iterator[Violation]:
    """Each that had to give way was told once."""
    told = Counter(event.subject for event in evidence.all_of("AssetSuperseded"))
    for publication, many in told.items():
        if many > 1:
            yield Served(subject=publication, what=f"was superseded {many} times", kind="doubled")
    known = evidence.by("publisher.publications", "publication_id")
    for publication, row in known.items():
        if (row["state"] == "superseded") != (publication in told) and row["state"] != "withdrawn":
            what = f"is {row['state']}, and was told as superseded {told[publication]} times"
            yield Served(subject=publication, what=what, kind="lost")


def _gave_way(evidence: Evidence) -> Iterator[Violation]:
    """To what was approved later and stands there."""
    known = evidence.by("publisher.publications", "publication_id")
    approved = {row["asset_version_id"]: row["approved_at"] for row in evidence.table("publisher.assets")}
    assets = {event.body["asset_version_id"]: event.body["asset_id"] for event in evidence.all_of("AssetApproved")}
    for event in evidence.all_of("AssetSuperseded"):
        old, new = event.body["asset_version_id"], event.body["superseded_by"]
        newer = known.get(ids.publication(new, event.body["target"]))
        if newer is None or newer["state"] not in {"delivered", *AFTERWARDS}:
            yield Served(subject=event.subject, what="gave way to a version that does not stand there", kind="lost")
        elif assets.get(old) != assets.get(new):
            yield Served(subject=event.subject, what="gave way to another asset's version", evidence=new)
        elif approved.get(old, 0.0) > approved.get(new, 0.0):
            yield Served(subject=event.subject, what="gave way to a version that was approved before it", evidence=new)
