"""The gate between an assembled prompt and a model: restricted terms, on what was really rendered."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.library.documents import Policy
from shared.library.terms import find


@dataclass(frozen=True, slots=True)
class Refusal:
    detail: str
    remedy: str


def refusal(policy: Policy, texts: Mapping[str, str | None]) -> Refusal | None:
    """Why these texts (by the name a person knows them under) may not go on, or None."""
    for place, text in texts.items():
        hit = find(policy, text) if text else None
        if hit is not None:
            rule = hit.rule
            detail = f"the {place} says {hit.term!r}, which rule {rule.id!r} of {policy.label} forbids: {rule.why}"
            return Refusal(detail, rule.remedy)
    return None
