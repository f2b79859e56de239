"""What a check of pixels is."""

from collections.abc import Callable
from dataclasses import dataclass

from services.postprocess.checks.view import View
from shared.events import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A name for rubrics, the limit it ships with, and what it finds in a view at a limit. Pure.

    `code` is why a picture that fails is refused (`shared/contracts/rejection_codes.py`). A verdict's number is at most
    the limit, with `least` at least. `usual`: made without being asked for. `advisory`: it errs too often to decide.
    """

    name: str
    look: Callable[[View, float], Verdict]
    limit: float
    code: str
    least: bool = False
    usual: bool = False
    advisory: bool = False

    def judge(self, view: View, *, limit: float | None = None) -> Verdict:
        """What it finds at the shipped limit, or another; a tiny picture is not judged."""
        if view.is_small:
            return self._told(Verdict(check=self.name, ok=True, sentence="The picture is too small to judge."))
        return self._told(self.look(view, self.limit if limit is None else limit))

    def _told(self, verdict: Verdict) -> Verdict:
        if verdict.blocking:
            return verdict  # undecided
        update: dict[str, object] = {"code": self.code, "advisory": self.advisory}
        if self.advisory and not verdict.ok:
            update["sentence"] = f"{verdict.sentence} This check only advises."
        return verdict.model_copy(update=update)


def undecided(check: str, limit: float, sentence: str) -> Verdict:
    """Of what was not to be seen a person judges, whatever the rubric says."""
    return Verdict(check=check, ok=False, blocking=True, limit=limit, sentence=sentence)
