"""Who keys are made for."""

import pytest
from pydantic import ValidationError

from services.intake.http_accounts import NewKeyAsked, NewWorkspace


@pytest.mark.parametrize("principal", ["check:entropy", "Check:bytes", "check:"])
def test_nobody_is_named_as_a_check_is(principal: str) -> None:
    with pytest.raises(ValidationError, match="how checks are named"):
        NewKeyAsked(principal=principal, roles=["reviewer"])
    with pytest.raises(ValidationError, match="how checks are named"):
        NewWorkspace(name="a shop", principal=principal)
    assert NewKeyAsked(principal="checker", roles=["reviewer"]).principal == "checker"
