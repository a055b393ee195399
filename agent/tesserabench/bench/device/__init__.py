"""Devices: one protocol, three kinds, opened by name."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from tesserabench.bench.device.protocol import Device
from tesserabench.bench.errors import DeviceUnavailable, UnknownDevice
from tesserabench.bench.vocabulary import DeviceKind


def device_kind(spec: str) -> DeviceKind:
    """Return the kind a device's name stands for; raise UnknownDevice listing the forms a name may take."""
    kind = spec.partition(":")[0].strip().lower()
    try:
        return DeviceKind(kind)
    except ValueError:
        raise UnknownDevice(
            f"device {spec!r} is unknown; use cpu, cuda, cuda:INDEX, simulated or simulated:SCENARIO"
        ) from None


@contextmanager
def open_device(spec: str, *, threads: int | None = None) -> Iterator[Device]:
    """Open `cpu`, `cuda`, `cuda:INDEX`, `simulated` or `simulated:SCENARIO` and close it at the end.

    `threads` is the number of threads of the CPU device (by default all usable cores but one). A scenario is a name,
    the path of a TOML or JSON file, or TOML or JSON text. Raises DeviceUnavailable when the device cannot be used here.
    """
    kind = device_kind(spec)
    argument = spec.partition(":")[2].strip() or None
    # Each kind is imported only when it is opened: CuPy and NumPy are not needed to list suites.
    try:
        module = importlib.import_module(f"tesserabench.bench.device.{kind.value}")
    except ModuleNotFoundError as error:
        raise DeviceUnavailable(
            f"device {spec!r} needs the Python package {error.name!r}, which is not installed; "
            "install tesserabench[agent], and tesserabench[cuda12] or tesserabench[cuda13] on a GPU host"
        ) from None
    opened = module.open(argument, threads=threads)
    try:
        yield cast("Device", opened)
    finally:
        opened.close()
