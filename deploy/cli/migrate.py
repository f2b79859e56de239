"""`calotype migrate`."""

import asyncio
import os
import sys

from deploy.errors import Problem
from deploy.local.supervisor import prepare_servers


def migrate() -> None:
    """Bring schemas, roles and topics of outside servers up to date, before their services start.

    Reads DATABASE_URL (a user that may create roles and schemas; DATABASE_DIRECT_URL goes first) and the
    CALOTYPE_KAFKA_… and CALOTYPE_TOPIC_… variables of the services. Safe to run twice, and by two at once.
    """
    if "DATABASE_URL" not in os.environ or "CALOTYPE_KAFKA_BOOTSTRAP" not in os.environ:
        raise Problem(
            "DATABASE_URL and CALOTYPE_KAFKA_BOOTSTRAP name the servers to prepare, and are not both set.",
            remedy="Set both; on this machine alone `calotype up` prepares its own.",
        )
    asyncio.run(prepare_servers(os.environ, passwords={}))
    sys.stdout.write("Schemas and topics are up to date.\n")
