"""Each fact in a few words, for a person who reads a life from top to bottom. Never a prompt."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.catalog.review.machine import named
from shared.events import BY_TYPE, Verified

Body = Mapping[str, Any]
SHOWN = 3  # files of a publication that are not as they were sent


def words(kind: str, body: Body) -> str:
    """One line about one fact; a kind of a newer release is named as it is."""
    said = WORDS.get(kind)
    return said(body) if said else kind


def stage_of(kind: str, body: Body) -> str:
    """Which stage said it."""
    if "stage" in body:
        return str(body["stage"])
    event = BY_TYPE.get(f"calotype.{kind}")
    return event.SOURCE.removeprefix("/calotype/") if event else "unknown"


def money(cost: object, currency: str) -> str:
    """A cost in words; one that is not known is never 0."""
    return "cost unknown" if cost is None else f"{cost} {currency}"


def size(count: float) -> str:
    for unit in ("B", "kB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} MB"


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _accepted(body: Body) -> str:
    brief = body["brief"]
    what = brief.get("product") or _listed(brief.get("skus", ())) or brief["asset_type"]
    row = f", row {brief['row_key']}" if brief.get("row_key") else ""
    channels = _listed(brief.get("channels", ())) or "no channel"
    return f"{what}: {body['variants']} × {brief['template']} for {channels}{row}"


def _rejected_request(body: Body) -> str:
    return "; ".join(f"{p.get('where') or 'request'}: {p['what']}" for p in body["problems"])


def _completed(body: Body) -> str:
    counts = _listed(f"{count} {status}" for status, count in sorted(body["jobs"].items()))
    return f"{counts}; {money(body.get('cost'), body.get('currency', ''))}"


def _cancel(body: Body) -> str:
    return f"{body['by']} asked for an end" + (f": {body['reason']}" if body.get("reason") else "")


def _assembled(body: Body) -> str:
    p = body["parameters"]
    return f"{_pin(body['template'])}, {p['width']} × {p['height']}, {p['steps']} steps, seed {body['seed']}"


def _generated(body: Body) -> str:
    route, attempts = body["route"], body["attempts"]
    last = attempts[-1] if attempts else {}
    seconds = f" in {last['seconds']:.1f} s" if last.get("seconds") is not None else ""
    cost = money(last.get("cost"), last.get("currency", ""))
    model = f"{body['model']} on " if body["model"] != route["backend"] else ""
    return f"{model}{route['backend']}, {route['lane']} lane{seconds}, {cost}; {route['reason']}"


def _processed(body: Body) -> str:
    made = [file for file in body["files"] if file.get("recipe")]
    total = sum(file["bytes"] for file in [body["original"], *made])
    failed = [check["sentence"] for check in body.get("checks", ()) if not check["ok"]]
    checks = f"; {_listed(failed)}" if failed else f"; {len(body.get('checks', ()))} checks passed"
    instead = f"; a new version in place of {body['supersedes']}" if body.get("supersedes") else ""
    return f"{len(made)} derivatives, {size(total)} with the original{checks}{instead}"


def _failed(body: Body) -> str:
    return f"{body['reason']}: {body['detail']}" + (f" → {body['remedy']}" if body.get("remedy") else "")


def _recorded(body: Body) -> str:
    if body["decision"] == "undo":
        return f"{body['by']} took it back"
    said = {"approve": "approved", "reject": "rejected"}.get(body["decision"], body["decision"])
    return f"{body['by']} {said}{_code(body)}"


def _rejected(body: Body) -> str:
    return f"by {named(body['by']['principal'])}{_code(body)}"


def _code(body: Body) -> str:
    code = f" ({body['code']})" if body.get("code") else ""
    return code + (f": {body['reason']}" if body.get("reason") else "")


def _approved(body: Body) -> str:
    return f"by {_listed(a['principal'] for a in body['approvers'])}, {len(body['files'])} files"


def _published(body: Body) -> str:
    files = f"{body['target']}: {len(body.get('files') or body['receipts'])} files"
    verified = body.get("verified", Verified.READ_BACK)
    how = f"{files}, {'read back equal' if verified == Verified.READ_BACK else verified}"
    found = seen_there(body)
    return f"{how}: {found}" if found else how


def seen_there(body: Body) -> str | None:
    """What the publisher found where a target says that it put the files, of those that are not as they were."""
    told = [f"{receipt['name']}: {receipt['said']}" for receipt in body["receipts"] if receipt.get("said")]
    if not told:
        return None
    return "; ".join(told[:SHOWN]) + (f"; {len(told) - SHOWN} more like these" if len(told) > SHOWN else "")


def _publication_failed(body: Body) -> str:
    state = "uncertain" if body.get("uncertain") else "failed"
    return f"{body['target']} {state}: {body['detail']}" + (f" → {body['remedy']}" if body.get("remedy") else "")


def _recipes(image: Body) -> str:
    return _listed(_pin(pin) for pin in image.get("recipes", {}).values()) or "no recipe"


def _pin(pin: Body) -> str:
    return f"{pin['name']}@{pin['version']}"


WORDS: dict[str, Callable[[Body], str]] = {
    "RequestAccepted": _accepted,
    "RequestRejected": _rejected_request,
    "RequestCompleted": _completed,
    "CancelRequested": _cancel,
    "PromptAssembled": _assembled,
    "ImageGenerated": _generated,
    "ImageProcessed": _processed,
    "DerivativesRequested": lambda b: f"asked for by {b['by']}: {_recipes(b['image'])}, in place of {b['supersedes']}",
    "DerivativesFailed": lambda b: f"{_failed(b)}; {b['supersedes']} stays",
    "JobFailed": _failed,
    "JobCancelled": lambda b: f"obeyed; {b['by']} had asked",
    "JobRetried": lambda b: f"run {b['run']}, asked for by {b['by']}",
    "AttemptSettled": lambda b: money(b["attempt"].get("cost"), b["attempt"].get("currency", "")),
    "ReviewNeeded": lambda _: "waits for a person",
    "ReviewRecorded": _recorded,
    "AssetApproved": _approved,
    "AssetRejected": _rejected,
    "AssetRecalled": lambda b: f"{b['by']}: {b['reason']}",
    "AssetExpired": lambda b: f"its term ended {b['expired_at']}",
    "AssetPublished": _published,
    "PublicationFailed": _publication_failed,
    "PublicationWithdrawn": lambda b: f"{b['target']}: {b['reason']}",
    "AssetSuperseded": lambda b: f"{b['target']}: by {b['superseded_by']}",
    "LibraryItemChanged": lambda b: f"{b['kind']} {b['name']}@{b['version']} is {b['state']}",
    "WorkspaceChanged": lambda b: f"{b['name']} is {b.get('state', 'active')}",
}
