"""What an operation is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from services.postprocess.operations.frame import Frame
from shared.library.operations import Parameters

P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class Operation:
    """A name for recipes, the type of its parameters, and what it does to a frame."""

    name: str
    parameters: type[Parameters]
    apply: Callable[[Frame, Mapping[str, Any]], Frame]

    @classmethod
    def of(cls, name: str, parameters: type[P], function: Callable[[Frame, P], Frame]) -> Self:
        """Parameters are checked each time: raises pydantic.ValidationError for what the type does not allow."""
        return cls(name, parameters, lambda frame, given: function(frame, parameters.model_validate(given)))
