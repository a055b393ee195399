"""A stand-in for the parts of CuPy that surround kernels: streams, graphs, events, copies, memory.

Everything happens at once, on NumPy arrays, and is written down in `calls`. What only a device can show (times, order
between streams) it cannot: that stands in tests/gpu.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from tesserabench.bench import DeviceInfo, DeviceKind, DeviceState


class CUDARuntimeError(RuntimeError):
    """An error with CUDA's status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class CudaStandIn:
    """A machine with `devices` devices, all of which may reach each other unless `islands`."""

    devices: int = 1
    islands: bool = False
    free_bytes: int = 8 << 30
    calls: list[str] = field(default_factory=list)
    capturing: list[Callable[[], None]] | None = None
    current: int = 0
    threshold: int = 0
    live: set[int] = field(default_factory=set)

    def run(self, name: str, work: Callable[[], None] = lambda: None) -> None:
        """Do work now, or keep it for the graph that is being captured."""
        self.calls.append(name)
        if self.capturing is None:
            work()
        else:
            self.capturing.append(work)

    def allocate(self, size: int, *_: object) -> int:
        """Return an address that is not free again until it is freed."""
        assert size > 0
        address = max(self.live, default=0) + 4096
        self.live.add(address)
        self.calls.append("allocate")
        return address

    def free(self, address: int, *_: object) -> None:
        """Take an address back; freeing it twice is an error."""
        self.live.remove(address)
        self.calls.append("free")

    def copy(self, target: int, source: int, size: int, *_: object) -> None:
        """Move bytes."""
        self.run("copy", lambda: _move(target, source, size))

    def copy_peer(self, target: int, there: int, source: int, here: int, size: int, stream: int) -> None:
        """Move bytes between devices."""
        del stream
        self.run(f"copy {here}->{there}", lambda: _move(target, source, size))

    def kernel(self, module: str, function: str, *, defines: Mapping[str, str]) -> "_Kernel":
        """Return kernel `empty` or `step` of module `tick`."""
        assert (module, dict(defines)) == ("tick", {})
        return _Kernel(self, function)

    def launch_kernel(self, function: int, *shape: int) -> None:
        """Launch as the driver does: read the arguments from where they were laid out."""
        *sizes, stream, parameters, extra = shape
        assert (sizes, stream, extra) == ([1] * 6 + [0], 7, 0)
        if function == _FUNCTIONS["empty"]:
            self.run("driver empty")
            return
        places = (ctypes.c_void_p * 2).from_address(parameters)
        counter = ctypes.c_uint32.from_address(ctypes.c_uint64.from_address(places[0] or 0).value)
        index = ctypes.c_uint32.from_address(places[1] or 0).value

        def step() -> None:
            counter.value = 1 if index == 0 else counter.value + 1

        self.run("driver step", step)

    def device(self) -> Any:
        """Return what stands for an open CudaDevice."""
        module = _array_module(self)
        return SimpleNamespace(
            xp=module,
            info=DeviceInfo(kind=DeviceKind.CUDA, model="stand-in", processors=1, compute_capability="9.0"),
            kernel=self.kernel,
            synchronize=lambda: self.calls.append("synchronize"),
            state=lambda: DeviceState(memory_free_bytes=self.free_bytes),
        )


_FUNCTIONS = {"empty": 11, "step": 12}


class _Kernel:
    """A kernel as the engine launches it; `function` is the same as CuPy launches it."""

    def __init__(self, cuda: CudaStandIn, name: str, prefix: str = "") -> None:
        self._cuda, self._name, self._prefix = cuda, name, prefix
        self.ptr = _FUNCTIONS[name]

    @property
    def function(self) -> "_Kernel":
        return _Kernel(self._cuda, self._name, "cupy ")

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        assert (grid, block) == ((1,), (1,))
        self._cuda.run(self._prefix + self._name, lambda: self._step(*arguments))

    def _step(self, *arguments: Any) -> None:
        if self._name == "step":
            counter, index = arguments
            counter[0] = 1 if index == 0 else counter[0] + 1


class _OnDevice(np.ndarray[Any, Any]):
    """An array with CuPy's name for its address."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> Any:
        return np.array(self)


class _Stream:
    def __init__(self, cuda: CudaStandIn) -> None:
        self._cuda, self.ptr = cuda, 7

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin_capture(self) -> None:
        assert self._cuda.capturing is None
        self._cuda.capturing = []

    def end_capture(self) -> Any:
        captured, self._cuda.capturing = self._cuda.capturing, None
        assert captured is not None

        def launch(stream: object) -> None:
            assert stream is not None
            self._cuda.calls.append("graph")
            for work in captured:
                work()

        return SimpleNamespace(launch=launch, upload=lambda _: None)

    def wait_event(self, event: object) -> None:
        assert event is not None
        self._cuda.run("wait_event")

    def synchronize(self) -> None:
        self._cuda.calls.append("stream.synchronize")


class _Event:
    def __init__(self, cuda: CudaStandIn) -> None:
        self._cuda = cuda

    def record(self, stream: object) -> None:
        assert stream is not None
        self._cuda.run("record")

    def synchronize(self) -> None:
        self._cuda.calls.append("event.synchronize")


class _Pinned(bytearray):
    pass


def _array_module(cuda: CudaStandIn) -> Any:
    stream = _Stream(cuda)

    @contextmanager
    def device(index: int) -> Iterator[None]:
        assert 0 <= index < cuda.devices
        before, cuda.current = cuda.current, index
        try:
            yield
        finally:
            cuda.current = before

    def set_threshold(pool: int, attribute: int, value: int) -> None:
        assert (pool, attribute) == (5, 4)
        cuda.threshold = value

    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        memcpyHostToDevice=1,
        memcpyDeviceToHost=2,
        memcpyAsync=cuda.copy,
        memcpyPeerAsync=cuda.copy_peer,
        getDevice=lambda: cuda.current,
        getDeviceCount=lambda: cuda.devices,
        memGetInfo=lambda: (cuda.free_bytes, 2 * cuda.free_bytes),
        deviceCanAccessPeer=lambda here, there: int(here != there and not cuda.islands),
        _deviceEnsurePeerAccess=lambda there: cuda.calls.append(f"access {cuda.current}->{there}"),
        deviceSynchronize=lambda: cuda.calls.append("device.synchronize"),
        malloc=cuda.allocate,
        mallocAsync=cuda.allocate,
        hostAlloc=cuda.allocate,
        hostAllocDefault=0,
        free=cuda.free,
        freeAsync=cuda.free,
        freeHost=cuda.free,
        cudaMemPoolAttrReleaseThreshold=4,
        deviceGetDefaultMemPool=lambda _: 5,
        memPoolGetAttribute=lambda _pool, _attribute: cuda.threshold,
        memPoolSetAttribute=set_threshold,
        memPoolTrimTo=lambda pool, size: cuda.calls.append(f"trim {pool} to {size}"),
    )
    module = SimpleNamespace(**{name: getattr(np, name) for name in np.__all__ if hasattr(np, name)})
    module.zeros = lambda *args, **kinds: np.zeros(*args, **kinds).view(_OnDevice)
    module.empty = lambda *args, **kinds: np.empty(*args, **kinds).view(_OnDevice)
    module.cuda = SimpleNamespace(
        driver=SimpleNamespace(launchKernel=cuda.launch_kernel),
        runtime=runtime,
        Stream=lambda non_blocking: _Stream(cuda) if non_blocking else None,
        Event=lambda disable_timing: _Event(cuda) if disable_timing else None,
        Device=device,
        MemoryPool=lambda: SimpleNamespace(malloc=lambda size: cuda.free(cuda.allocate(size))),
        PinnedMemory=_Pinned,
        PinnedMemoryPointer=lambda memory, offset: memory if offset == 0 else None,
        get_current_stream=lambda: stream,
    )
    return module


def _move(target: int, source: int, size: int) -> None:
    ctypes.memmove(target, source, size)
