"""Signs a picture's files in two questions to whoever holds the key: its original, then all derivatives at once.

Imported by the child process only, and only where something is to be signed: the library takes 20 MB.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.postprocess.finishing import Sign
from services.postprocess.orders import Derivative, Origin
from services.postprocess.originals import Whole
from services.postprocess.provenance import Prepared, notary
from shared.events.words import ORIGINAL


@dataclass(frozen=True, slots=True)
class SignedOriginal:
    """`parent` is it as an ingredient of its derivatives, `store` how many bytes its credentials take."""

    whole: Whole
    parent: bytes
    store: int


class Certifier:
    """Raises Unsignable where a file can carry no credentials. Without `sign` only the sizes are right."""

    def __init__(self, origin: Origin, sign: Sign | None) -> None:
        self._notary = notary(origin.certificates or "", origin.algorithm, origin.anchors)
        self._source_type = origin.source_type
        self._sign = sign

    def original(self, whole: Whole, *, came: bytes) -> SignedOriginal:
        """`came`: the file as it was handed over, whose own credentials become its parent's."""
        media_type = whole.media_type
        prepared = self._notary.original(whole.data, media_type, came=came, source_type=self._source_type)
        (signed,) = self._signed([prepared])
        parent = self._notary.parent(signed, media_type, title=ORIGINAL)
        sha256 = hashlib.sha256(whole.data).hexdigest()
        made = replace(whole, data=signed, unsigned_sha256=sha256)
        return SignedOriginal(made, parent, store=len(signed) - len(whole.data))

    def derivatives(self, made: Sequence[Derivative], *, first: SignedOriginal) -> list[Derivative]:
        prepared = [
            self._notary.edited(
                each.data,
                each.facts.media_type,
                parent=first.parent,
                converted=each.facts.media_type != first.whole.media_type,
                operations=each.changed_by,
                title=f"{each.channel}/{each.rendition}",
            )
            for each in made
        ]
        return [
            replace(each, data=data, unsigned_sha256=hashlib.sha256(each.data).hexdigest())
            for each, data in zip(made, self._signed(prepared), strict=True)
        ]

    def _signed(self, prepared: Sequence[Prepared]) -> list[bytes]:
        if self._sign is None:
            return [each.data for each in prepared]
        signatures = self._sign([each.claim.question for each in prepared]) if prepared else []
        return [each.signed(signature) for each, signature in zip(prepared, signatures, strict=True)]
