"""Children that work in this process: what a child does and says, without its pipes."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.postprocess.child import _told
from services.postprocess.children import Children, PictureRefused
from services.postprocess.development import Development
from services.postprocess.finishing import finished
from services.postprocess.orders import Order
from services.postprocess.recipes import develop
from services.postprocess.sitting import BadRecipe
from shared.pictures import Limits


class InProcess(Children):
    def __init__(self) -> None:
        super().__init__(count=1)
        self.orders: list[Mapping[str, Any]] = []

    def signed(self, questions: Sequence[bytes]) -> Sequence[bytes]:
        raise AssertionError("no test here signs")

    async def develop(self, original: bytes, order: Mapping[str, Any], inputs: Sequence[bytes] = ()) -> Development:
        self.orders.append(order)
        try:
            made = finished(
                original,
                Order.model_validate(order),
                develop=lambda let_in, asked: develop(let_in, asked, inputs),
                sign=self.signed,
                limits=Limits(),
            )
        except BadRecipe as error:
            raise PictureRefused("recipe", str(error)) from error
        return Development.read(_told(made), [each.data for each in made.derivatives])
