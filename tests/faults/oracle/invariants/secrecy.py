"""I8: nothing of a workspace is shown to another, no secret stands anywhere, no prompt in what is public or logged.

Neither does a prompt leave for a provider in the cloud that is not of public work: each says its level itself.
"""

import re
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle.evidence import Evidence, Violation

Broken = partial(Violation, invariant="I8")
NOT_THERE = 404
LEVEL = re.compile(r"\blevel-(\w+)")


def check(evidence: Evidence) -> Iterator[Violation]:
    for leak in evidence.leaks:
        yield Broken(subject=leak.where, what=f"{leak.what} stands in it")
    for call in evidence.calls:
        level = LEVEL.search(call.get("prompt", ""))
        if call.get("visibility") == "cloud" and level is not None and level[1] != "public":
            yield Broken(subject=call["attempt_id"], what=f"is {level[1]} work, and was sent to {call['by']}")
    for answer in evidence.reached:
        is_list = "?" in answer.path
        if answer.shown:
            yield Broken(subject=answer.path, what="shows another workspace's ids")
        elif answer.status != (200 if is_list else NOT_THERE):
            yield Broken(subject=answer.path, what=f"answered {answer.status} to another workspace's key")
