"""The child process that reads Content Credentials; see `shared/credentials.py`. It fetches nothing."""

import io
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from c2pa import C2paError, Context, Reader, Settings

from shared.confined import confine, hear, tell

STATES = {"Trusted": "trusted", "Valid": "valid"}
UNTRUSTED = "signingCredential.untrusted"
DEEPEST = 100  # claims back to the first; a chain that goes in circles ends too


def main() -> None:
    answers = confine(memory_mb=int(sys.argv[1]))
    while (asked := hear(sys.stdin.buffer)) is not None:
        header, (data,) = asked
        tell(answers, {"credentials": read(data, header["media_type"], anchors=header["anchors"])})


def read(data: bytes, media_type: str, *, anchors: str | None) -> dict[str, Any]:
    """What `credentials.Credentials` says, as plain data."""
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}}
    if anchors:
        settings["trust"] = {"trust_anchors": anchors}
    try:
        reader = Reader.try_create(media_type, io.BytesIO(data), context=Context(Settings.from_dict(settings)))
        if reader is None:
            return {"state": "none"}
        with reader:
            state = STATES.get(str(reader.get_validation_state()), "invalid")
            found = (reader.get_validation_results() or {}).get("activeManifest", {})
            manifests = _manifests(reader)
    except C2paError as error:
        return {"state": "invalid", "problems": [str(error)]}
    problems = [
        f"{each['code']}: {each.get('explanation', '')}"
        for each in found.get("failure", ())
        if state == "invalid" or each["code"] == UNTRUSTED
    ]
    return {"state": state, "problems": problems, "claims": [_claim(manifest) for manifest in manifests]}


def _manifests(reader: Reader) -> list[dict[str, Any]]:
    """From the file's own back along its parents."""
    manifest: dict[str, Any] | None = reader.get_active_manifest()
    found: list[dict[str, Any]] = []
    while manifest is not None and len(found) < DEEPEST:
        found.append(manifest)
        parents = (one for one in manifest.get("ingredients", ()) if one.get("relationship") == "parentOf")
        label = next((one.get("active_manifest") for one in parents), None)
        manifest = reader.get_manifest(label) if label else None
    return found


def _claim(manifest: Mapping[str, Any]) -> dict[str, Any]:
    signature = manifest.get("signature_info") or {}
    return {
        "title": manifest.get("title"),
        "signed_by": signature.get("common_name"),
        "issued_by": signature.get("issuer"),
        "algorithm": signature.get("alg"),
        "actions": list(_actions(manifest)),
    }


def _actions(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions", ()):
        if str(assertion["label"]).startswith("c2pa.actions"):
            for action in assertion["data"]["actions"]:
                yield {
                    "action": action["action"],
                    "description": action.get("description"),
                    "source_type": action.get("digitalSourceType"),
                }


if __name__ == "__main__":
    main()
