"""How the error of a procedure is shared over its looks, so that looking again does not raise it.

Lan and DeMets 1983, with their spending function that resembles Pocock's boundaries. One that resembles O'Brien's and
Fleming's leaves so little to the first look that nearly everything would have to be measured again, and a look
costs minutes of a device.

What a look may spend is the increment of the function, without the usual correction for looks that err together.
That is exact for no dependence and safe for all: the size of a look is chosen after seeing the ones before, looks share
their base, and hosts differ, so that the dependence which the correction needs is not known.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """An error rate to be shared over so many looks, the first included."""

    error: float
    looks: int

    def __post_init__(self) -> None:
        if not 0 < self.error < 1:
            raise ValueError(f"error is {self.error}; it must be between 0 and 1, such as 0.05")
        if self.looks < 1:
            raise ValueError(f"looks is {self.looks}; it must be 1 or more")

    def level(self, number: int) -> float:
        """The error that look `number`, counted from 1, may spend; together they spend `error`."""
        if not 1 <= number <= self.looks:
            raise ValueError(f"look {number} is not one of {self.looks}")
        return self._spent(number) - self._spent(number - 1)

    def _spent(self, number: int) -> float:
        return self.error * math.log1p((math.e - 1) * number / self.looks)
