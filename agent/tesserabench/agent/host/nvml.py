"""nvidia-ml-py with every question optional: what the device, the driver or the package cannot tell is absent."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Nvml:
    """Asks by name, so that an older package or driver that lacks a function is one more thing that is not told."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def ask(self, name: str, *about: Any) -> Any:
        """The answer of a function, or None when there is none."""
        question = getattr(self.module, name, None)
        if question is None:
            return None
        try:
            return question(*about)
        except self.module.NVMLError:
            return None

    def told(self, convert: Callable[[Any], T], name: str, *about: Any) -> T | None:
        """The converted answer of a function, or None."""
        answer = self.ask(name, *about)
        return None if answer is None else convert(answer)

    def constant(self, name: str) -> Any:
        """A constant of nvml.h, or None when the package is too old to have it."""
        return getattr(self.module, name, None)

    def fields(self, handle: Any, ids: list[int]) -> dict[int, int]:
        """Whole-number field values by id; those that the device does not have are left out."""
        values = self.ask("nvmlDeviceGetFieldValues", handle, ids) or ()
        return {
            number: int(value.value.ullVal)
            for number, value in zip(ids, values, strict=False)
            if value.nvmlReturn == self.module.NVML_SUCCESS
        }

    def close(self) -> None:
        """Let go of the library."""
        with contextlib.suppress(self.module.NVMLError):
            self.module.nvmlShutdown()


def open_nvml() -> Nvml | None:
    """The driver's library, or None, with the reason in the log, when it cannot be used."""
    try:
        import pynvml  # noqa: PLC0415 - a host without GPUs need not have it
    except ImportError:
        log.info("nvml.absent", reason="the package nvidia-ml-py is not installed; GPUs are not looked for")
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.info("nvml.absent", reason=f"{error}; this host has no GPU, or no driver")
        return None
    return Nvml(pynvml)


def text(value: str | bytes) -> str:
    """A text of the library, whichever way it was given."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
