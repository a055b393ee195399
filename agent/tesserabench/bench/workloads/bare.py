"""Work that is nothing but a call: no inputs of its own, no outputs to check."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays


class BareWork:
    """A call to be timed."""

    def __init__(self, call: Callable[[], None], *, capturable: bool = True) -> None:
        self.launch = call
        self.capturable = capturable

    def poison(self) -> None:
        """Nothing to poison."""

    def outputs(self) -> "HostArrays":
        """Return nothing."""
        return {}

    def reference(self) -> "HostArrays":
        """Return nothing."""
        return {}
