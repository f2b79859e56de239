"""Every duration of the harness, as it is in production, times one factor."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`factor` 1 is production's own time; the floors are what two busy cores need to keep a promise at all."""

    factor: float = 0.15

    def seconds(self, nominal: float, *, least: float = 0.0) -> float:
        return max(least, nominal * self.factor)

    @property
    def lease(self) -> float:
        return self.seconds(30, least=3)

    @property
    def session(self) -> float:
        """A consumer that is silent for so long loses its partitions."""
        return self.seconds(10, least=3)

    @property
    def recovery(self) -> float:
        """What a kill -9 may cost until the next completion."""
        return max(self.lease, self.session) + 5
