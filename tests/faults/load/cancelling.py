"""Cancels of jobs, of whole requests and of whole batches, at any moment of their lives."""

import asyncio

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.people import Person
from tests.faults.load.plan import Cancel, Sheet
from tests.faults.oracle import ids

HEARD_WITHIN = 60.0  # seconds until a request from Kafka or a file is looked for no longer


async def cancel(ledgers: Ledgers, person: Person, request_id: str, wanted: Cancel) -> None:
    """Asks once its moment has come; a request that intake has not heard of yet is asked for again."""
    await asyncio.sleep(wanted.after)
    job_id = ids.job(request_id, wanted.variant) if wanted.variant else None
    body = {"job_id": job_id, "reason": "nobody needs it any more"}
    try:
        async with asyncio.timeout(HEARD_WITHIN):
            answer = await person.call("POST", f"/v1/requests/{request_id}/cancel", json=body)
            while answer.status_code == 404:
                await asyncio.sleep(0.3)
                answer = await person.call("POST", f"/v1/requests/{request_id}/cancel", json=body)
    except TimeoutError:
        # It may have been heard all the same: an answer can be lost.
        ledgers.write("cancels", workspace=person.workspace, request_id=request_id, job_id=job_id, answered=None)
        return
    ledgers.write(
        "cancels", workspace=person.workspace, request_id=request_id, job_id=job_id, answered=answer.status_code
    )


async def cancel_batch(ledgers: Ledgers, person: Person, sheet: Sheet, batch_id: str, wanted: Cancel) -> None:
    """Asks once its moment has come. What was not read of the file by then is never asked for."""
    await asyncio.sleep(wanted.after)
    # Written first: whether it was heard before an answer got lost is for the oracle to find out.
    ledgers.write("batch_cancels", workspace=person.workspace, batch=sheet.name, batch_id=batch_id, answered=None)
    body = {"reason": "the campaign is off"}
    answer = await person.call("POST", f"/v1/batches/{batch_id}/cancel", json=body)
    answered = answer.status_code
    ledgers.write("batch_cancels", workspace=person.workspace, batch=sheet.name, batch_id=batch_id, answered=answered)
