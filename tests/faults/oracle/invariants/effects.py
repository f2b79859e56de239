"""I3: one effect for each asset version and target, told once; what was not delivered says why."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle import ids
from tests.faults.oracle.evidence import Event, Evidence, Row, Set, Violation

Broken = partial(Violation, invariant="I3")
AFTERWARDS = {"superseded", "withdrawn"}  # what a delivery may have become since
UNDONE = {"failed", "uncertain"}
FORBIDDEN = {"above_ceiling", "proof", "provenance"}  # for what may not stand in a target
LEVELS = ("public", "internal", "confidential", "unknown")
Place = tuple[str, str]
"""An asset version and a target."""


def check(evidence: Evidence) -> Iterator[Violation]:
    approved: dict[str, list[Event]] = defaultdict(list)
    for event in evidence.all_of("AssetApproved"):
        approved[event.body["asset_version_id"]].append(event)
    for version, facts in approved.items():
        if len(facts) > 1:
            told = [fact.id for fact in facts]
            yield Broken(subject=version, what="was approved twice", kind="doubled", evidence=told)
    yield from _sets(evidence, approved)
    yield from _deliveries(evidence, approved)
    yield from _publications(evidence, approved)
    yield from _ceilings(evidence, approved)
    yield from _told(evidence)


def _publications(evidence: Evidence, approved: dict[str, list[Event]]) -> Iterator[Violation]:
    """Every approved version at every target that was there by then."""
    known = evidence.by("publisher.publications", "publication_id")
    heard = evidence.by("publisher.assets", "asset_version_id")
    effects = _effects(evidence)
    targets: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.table("publisher.targets"):
        if row["state"] == "published":
            targets[row["workspace"]].append(row)
    for version, (event, *_) in approved.items():
        if version not in heard:
            yield Broken(subject=version, what="was approved, and the publisher has not heard of it", kind="lost")
            continue
        for target in targets[event.workspace]:
            if heard[version]["approved_at"] < target["since"]:
                continue
            publication = known.get(ids.publication(version, target["name"]))
            if publication is None:
                yield Broken(subject=version, what=f"was never to go to {target['name']}", kind="lost")
            else:
                kind = json.loads(target["document"]).get("type")
                yield from _publication(publication, kind, effects[version, target["name"]])
    for row in known.values():
        if row["asset_version_id"] not in approved:
            yield Broken(subject=row["publication_id"], what="nobody approved it", evidence=dict(row))


def _ceilings(evidence: Evidence, approved: dict[str, list[Event]]) -> Iterator[Violation]:
    """Nothing was delivered to a target that may not take it."""
    targets = {(row["workspace"], row["name"]): row for row in evidence.table("publisher.targets")}
    for row in evidence.table("publisher.publications"):
        facts = approved.get(row["asset_version_id"])
        if row["state"] != "delivered" or not facts:
            continue
        target = targets.get((facts[0].workspace, row["target"]))
        ceiling = json.loads(target["document"] or "{}").get("ceiling", "public") if target else "unknown"
        level = facts[0].body.get("confidentiality", "public")
        if LEVELS.index(level) > LEVELS.index(ceiling):
            what = f"is {level}, and stands at {row['target']}, which takes at most {ceiling}"
            yield Broken(subject=row["asset_version_id"], what=what)


def _publication(row: Row, kind: str, counted: int) -> Iterator[Violation]:
    """`counted`: what the target has, of the kinds at which somebody counts."""
    state, subject = row["state"], row["publication_id"]
    effects = counted if kind in {"folder", "webhook"} else None
    if state == "pending":
        yield Broken(subject=subject, what=f"is under way to {row['target']} for ever", kind="lost", evidence=dict(row))
    elif state in UNDONE and not (row["code"] and row["detail"]):
        yield Broken(subject=subject, what=f"is {state} and does not say why", evidence=dict(row))
    elif state in UNDONE and kind == "folder" and row["code"] not in FORBIDDEN:
        what = f"is {state}, and a folder can be looked at and written again"
        yield Broken(subject=subject, what=what, kind="lost", evidence=dict(row))
    if state == "delivered" and effects == 0:
        yield Broken(subject=subject, what=f"was called delivered, and {row['target']} has nothing", kind="lost")
    if state in {"pending", "failed"} and effects:
        yield Broken(subject=subject, what=f"was called {state}, and stands at {row['target']}", evidence=row["detail"])


def _effects(evidence: Evidence) -> Counter[Place]:
    """How often something happened at a target."""
    found: Counter[Place] = Counter()
    for one in evidence.sets:
        if (place := _place_of(one)) is not None:
            found[place] += 1
    for line in evidence.deliveries:
        if line["effect"]:
            found[str(line["asset_version_id"]), line["target"]] += 1
    return found


def _place_of(one: Set) -> Place | None:
    told = one.sidecar or {}
    version, target = told.get("asset_version_id"), told.get("target")
    return (version, target) if version and target else None


def _sets(evidence: Evidence, approved: dict[str, list[Event]]) -> Iterator[Violation]:
    by_place: dict[Place, list[Set]] = defaultdict(list)
    for one in evidence.sets:
        place = _place_of(one)
        if place is None:
            yield Broken(subject=one.place, what="nothing says what this folder is")
            continue
        by_place[place].append(one)
        facts = approved.get(place[0])
        if not facts:
            yield Broken(subject=place[0], what="stands published, and nobody approved it", evidence=one.place)
        elif facts[0].workspace != one.workspace:
            yield Broken(subject=place[0], what="stands in another workspace's folder", evidence=one.place)
        else:
            yield from _same_files(one, facts[0])
    for (version, target), sets in by_place.items():
        if len(sets) > 1:
            places = [one.place for one in sets]
            yield Broken(subject=version, what=f"stands {len(sets)} times at {target}", kind="doubled", evidence=places)
    for leftover in evidence.leftovers:
        yield Broken(subject=leftover, what="is half written and nobody's")


def _same_files(one: Set, approval: Event) -> Iterator[Violation]:
    wanted = {file["name"]: (file["bytes"], file["sha256"]) for file in approval.body["files"]}
    found = {name: measured for name, measured in one.files.items() if name in wanted or not name.endswith(".json")}
    if found != wanted:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        yield Broken(subject=approval.body["asset_version_id"], what="was published with other files", evidence=wrong)


def _deliveries(evidence: Evidence, approved: dict[str, list[Event]]) -> Iterator[Violation]:
    taken = Counter((line["target"], line["webhook_id"]) for line in evidence.deliveries if line["effect"])
    places: Counter[Place] = Counter()
    for line in evidence.deliveries:
        version = line.get("asset_version_id")
        if not line["effect"] or version is None:
            continue
        places[version, line["target"]] += 1
        if version not in approved:
            yield Broken(subject=version, what=f"was told to {line['target']}, and nobody approved it")
    for (target, webhook), many in taken.items():
        if many > 1:
            yield Broken(subject=webhook, what=f"had {many} effects at {target}", kind="doubled")
    for (version, target), many in places.items():
        if many > 1:
            yield Broken(subject=version, what=f"had {many} effects at {target}", kind="doubled")


def _told(evidence: Evidence) -> Iterator[Violation]:
    """What the events say of each publication, and what the two services that know it say."""
    published = Counter(event.subject for event in evidence.all_of("AssetPublished"))
    failed = {event.subject for event in evidence.all_of("PublicationFailed")}
    for publication, many in published.items():
        if many > 1:
            yield Broken(subject=publication, what=f"was told {many} times", kind="doubled")
    shown = evidence.by("catalog.publications", "publication_id")
    for row in evidence.table("publisher.publications"):
        publication, state = row["publication_id"], row["state"]
        if state == "delivered" and publication not in published:
            yield Broken(subject=publication, what="was delivered, and no event says so", kind="lost")
        if state in {"failed", "uncertain"} and publication not in failed:
            yield Broken(subject=publication, what=f"is {state}, and no event says so", kind="lost")
        if publication in published and state not in {"delivered", *AFTERWARDS}:
            yield Broken(subject=publication, what=f"was told as published, and is {state}", evidence=dict(row))
        if state != "pending" and (publication not in shown or shown[publication]["state"] != state):
            yield Broken(subject=publication, what=f"is {state}, and the catalog says otherwise", kind="lost")
