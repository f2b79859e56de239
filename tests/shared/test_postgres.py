"""Which failures of Postgres pass, in the words in which asyncpg says them."""

import asyncpg
import pytest

from shared.postgres import is_passing


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (asyncpg.AdminShutdownError("terminating connection due to administrator command"), True),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), True),
        (asyncpg.DeadlockDetectedError("deadlock detected"), True),
        (asyncpg.UniqueViolationError("duplicate key value"), False),
        (asyncpg.CharacterNotInRepertoireError('invalid byte sequence for encoding "UTF8": 0x00'), False),
        (asyncpg.InterfaceError("cannot call Transaction.__aexit__(): the underlying connection is closed"), True),
        (asyncpg.DataError("invalid input for query argument $1: 'x' (an integer is required)"), False),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), True),
        (asyncpg.InternalClientError("got result for unknown protocol state 3"), False),
        (ConnectionRefusedError(111, "Connection refused"), True),
        (TimeoutError(), True),
        (ValueError("no"), False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_the_state_of_the_moment_passes(error: BaseException, passes: bool) -> None:  # noqa: FBT001 a parameter
    assert is_passing(error) is passes
