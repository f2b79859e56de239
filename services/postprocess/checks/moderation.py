"""Whether a picture may be shown at all, as a model of the operator's sees it. Without one a person decides."""

from services.postprocess.checks.view import View
from services.postprocess.hooks import Models
from services.postprocess.model_files import ModelFailed
from shared.events import Verdict

MODERATION = "moderation"
LIMIT = 0.5
# Of its own name, so that no rubric that rejects by the score rejects a picture that was never scored.
FAILED = "moderation-model"


def moderated(view: View, models: Models, *, limit: float | None = None) -> Verdict:
    """The model's score against the limit, or the shipped one; a model that fails sends the picture to a person."""
    if models.moderation is None:
        sentence = "No model judges what may be shown: a person decides."
        return Verdict(check=MODERATION, ok=True, advisory=True, sentence=sentence)
    try:
        score = models.moderation(view.pixels)
    except ModelFailed as failed:
        sentence = f"A person decides what may be shown, since the model {failed}."
        return Verdict(check=FAILED, ok=False, blocking=True, sentence=sentence)
    most = LIMIT if limit is None else limit
    ok = score <= most
    judged = "may be shown" if ok else "must not be shown"
    return Verdict(
        check=MODERATION,
        ok=ok,
        number=round(score, 3),
        limit=most,
        code="other",
        sentence=f"By the moderation model the picture {judged}: {score:.2f}, {most:g} is the limit.",
    )
