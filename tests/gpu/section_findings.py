"""What has to be known of a GPU before its times can be trusted: timers, caches, clocks, counters."""

import ctypes
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import cupy
from support.gpu_section import Line, run_section
from tesserabench.bench import (
    Backend,
    Block,
    Case,
    Device,
    MeasureOptions,
    Mode,
    Outcome,
    Params,
    TimingOrder,
    Workload,
    find_benchmark,
    open_device,
    run_locally,
)
from tesserabench.bench.workloads.bare import BareWork

SECTION = "findings"
GEMM = {"m": 8192, "n": 8192, "k": 8192, "dtype": "bfloat16"}
COPY = {"n": 1 << 28, "dtype": "float32"}
BACKENDS = (Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS)


def line(name: str, value: float | None, unit: str, **more: Any) -> Line:
    return Line(section=SECTION, name=name, value=value, unit=unit, **more)


def prepare(device: Device, name: str, params: dict[str, Any]) -> Workload:
    benchmark = find_benchmark(name)
    domain = {axis: params.get(axis, values[0]) for axis, values in benchmark.domain.items()}
    return device.prepare(benchmark, Case(benchmark=name, params=Params(domain), version=benchmark.version), 0)


def spin_work(device: Any, nanoseconds: int) -> BareWork:
    kernel = device.kernel("spin", "spin", defines={})
    argument = cupy.uint64(nanoseconds)
    return BareWork(lambda: kernel((1,), (1,), (argument,)))


def times_ns(device: Device, work: Workload, order: TimingOrder, samples: int) -> list[float]:
    with closing(device.arm((work,), order)) as timing:
        timing.take(1)
        found: list[int] = []
        while len(found) < samples:
            found.extend(timing.take(samples - len(found)).total_ns)
    return [total / order.iterations for total in found]


def timers(device: Device) -> Iterator[Line]:
    """Known durations read by every back end; its floor and its step."""
    for backend in BACKENDS:
        for mode in (Mode.HOT, Mode.COLD):
            work = spin_work(device, 50_000)
            with closing(device.arm((work,), TimingOrder(mode=mode, backend=backend))) as timing:
                used = timing.backend
            read = median(times_ns(device, work, TimingOrder(mode=mode, backend=backend), 50))
            error = read / 50_000 - 1
            yield line(
                f"{backend} {mode}: 50 us of spinning read as",
                read / 1e3,
                "us",
                goal="within 8 %",
                holds=used is backend and abs(error) < 0.08,
                remark="" if used is backend else f"fell back to {used}",
            )
        with closing(device.arm((spin_work(device, 1),), TimingOrder(mode=Mode.HOT, backend=backend))) as timing:
            yield line(f"{backend}: floor of the timer", timing.timer.floor_ns, "ns")
            yield line(f"{backend}: step of the timer", timing.timer.quantum_ns, "ns")


def flushes(_: Device) -> Iterator[Line]:
    """What reading and writing sweeps do to a copy and to a small reduction, beside a warm cache."""
    options = replace(MeasureOptions.for_tier("smoke"), probe_ceilings=False)
    for name, count in (("copy", 1 << 22), ("reduction", 1 << 20)):
        medians: dict[str, float] = {}
        for treatment in ("warm", "read", "write"):
            result = run_locally(
                "memory",
                device="cuda",
                mode="hot" if treatment == "warm" else "cold",
                include=f"^memory/{name}\\[",
                overrides={f"{name}.n": str(count), f"{name}.dtype": "float32"},
                options=options if treatment == "warm" else replace(options, flush=treatment),
            )
            (found,) = result.measurements
            if found.outcome is Outcome.OK and found.statistics is not None:
                medians[treatment] = found.statistics.median
        for treatment, value in medians.items():
            yield line(f"{name} of {count * 4 >> 20} MiB, cache {treatment}", value / 1e3, "us")
        if {"read", "write"} <= medians.keys():
            ratio = medians["write"] / medians["read"]
            yield line(f"{name}: write sweep over read sweep", ratio, "x", remark="above 1: dirty lines are paid for")


class Nvml:
    """The few readings that the findings need."""

    def __init__(self) -> None:
        import pynvml  # noqa: PLC0415 - only where there is a driver

        self.library: Any = pynvml
        pynvml.nvmlInit()
        self.handle = pynvml.nvmlDeviceGetHandleByIndex(0)

    def ask(self, name: str, *more: Any) -> Any:
        """Return an answer, or None when the device has none."""
        try:
            return getattr(self.library, name)(self.handle, *more)
        except (self.library.NVMLError, AttributeError):
            return None

    def counters(self) -> dict[str, int]:
        """Return the cumulative times under each clock limit."""
        names = {"sw_power_cap": 74, "sync_boost": 76, "sw_thermal": 269, "hw_thermal": 270, "power_brake": 271}
        values = self.ask("nvmlDeviceGetFieldValues", list(names.values())) or []
        return {
            name: int(value.value.ullVal)
            for name, value in zip(names, values, strict=False)
            if value.nvmlReturn == self.library.NVML_SUCCESS
        }


def load(device: Device, work: Workload, seconds: float, each: Callable[[Block, float], None]) -> None:
    """Keep the device busy and call `each` with every block and the seconds since the start."""
    with closing(device.arm((work,), TimingOrder(mode=Mode.HOT, backend=Backend.EVENTS))) as timing:
        started = time.monotonic()
        while (now := time.monotonic() - started) < seconds:
            each(timing.take(8), now)


def counters(device: Device) -> Iterator[Line]:
    """Units and cadence of NVML's counters, and whether energy and power agree, under a matrix product."""
    nvml = Nvml()
    work = prepare(device, "gemm/matmul", GEMM)
    before, started = nvml.counters(), time.monotonic_ns()
    energy: list[tuple[float, int]] = []
    power: list[float] = []
    clocks: list[tuple[float, float]] = []

    def read(block: Block, now: float) -> None:
        joules = nvml.ask("nvmlDeviceGetTotalEnergyConsumption")
        if joules is not None and (not energy or energy[-1][1] != joules):
            energy.append((now, joules))
        watts = nvml.ask("nvmlDeviceGetPowerUsage")
        if watts is not None:
            power.append(watts / 1e3)
        told = nvml.ask("nvmlDeviceGetClockInfo", nvml.library.NVML_CLOCK_SM)
        if told is not None and block.clock_hz:
            clocks.append((float(told), median(block.clock_hz) / 1e6))

    load(device, work, 5.0, read)
    wall = time.monotonic_ns() - started
    for name, value in nvml.counters().items():
        share = (value - before.get(name, value)) / wall
        yield line(f"counter {name}, share of wall time", share, "1", goal="0 to 1.02", holds=0 <= share <= 1.02)
    if len(energy) > 2:
        periods = [1e3 * (b[0] - a[0]) for a, b in itertools.pairwise(energy)]
        yield line("energy counter: time between changes", median(periods), "ms")
        mean = (energy[-1][1] - energy[0][1]) / 1e3 / (energy[-1][0] - energy[0][0])
        yield line("mean power from the energy counter", mean, "W")
        if power:
            gap = mean / (sum(power) / len(power)) - 1
            yield line("counter over polled mean power", gap * 100, "%", goal="within 5 %", holds=abs(gap) < 0.05)
    else:
        yield line("energy counter", None, "", remark="not supported here")
    if clocks:
        late = clocks[len(clocks) // 2 :]
        gap = median(own for _, own in late) / median(told for told, _ in late) - 1
        yield line("clock from timestamps, median", median(own for _, own in late), "MHz")
        yield line("clock from timestamps over NVML's", gap * 100, "%", goal="within 2 %", holds=abs(gap) < 0.02)
    else:
        yield line("clock from timestamps", None, "", holds=False, remark="no block told a clock")


def _note(seen: list[tuple[float, float]], block: Block, now: float) -> None:
    seen.append((now, median(block.total_ns)))


def regimes(device: Device) -> Iterator[Line]:
    """How far a rested device and one in equilibrium are apart, and how long the way is."""
    for name, params in (("gemm/matmul", GEMM), ("memory/copy", COPY)):
        work = prepare(device, name, params)
        device.synchronize()
        time.sleep(2.0)  # the state to be measured is a rested device
        seen: list[tuple[float, float]] = []
        load(device, work, 6.0, partial(_note, seen))
        burst = seen[0][1]
        steady = median(value for now, value in seen if now > 5.0)
        settled = next(
            (
                now
                for index, (now, _) in enumerate(seen)
                if all(abs(v / steady - 1) < 0.01 for _, v in seen[index : index + 5])
            ),
            None,
        )
        yield line(f"{name}: sustained over burst", steady / burst, "x")
        yield line(f"{name}: time to within 1 % of equilibrium", settled, "s")


def library_in_graph(device: Device) -> Iterator[Line]:
    """Whether the library's matrix product lets itself be captured."""
    work = prepare(device, "gemm/matmul", GEMM)
    with closing(device.arm((work,), TimingOrder(mode=Mode.COLD))) as timing:
        yield line("matrix product: back end", None, "", remark=f"{timing.backend} {' '.join(timing.remarks)}")


def unsupported(_: Device) -> Iterator[Line]:
    """Which readings this machine does not give."""
    nvml = Nvml()
    questions: dict[str, tuple[Any, ...]] = {
        "nvmlDeviceGetSerial": (),
        "nvmlDeviceGetBoardPartNumber": (),
        "nvmlDeviceGetVbiosVersion": (),
        "nvmlDeviceGetPowerManagementLimit": (),
        "nvmlDeviceGetPowerManagementDefaultLimit": (),
        "nvmlDeviceGetPowerManagementLimitConstraints": (),
        "nvmlDeviceGetEnforcedPowerLimit": (),
        "nvmlDeviceGetTotalEnergyConsumption": (),
        "nvmlDeviceGetPowerUsage": (),
        "nvmlDeviceGetCurrentClocksEventReasons": (),
        "nvmlDeviceGetPersistenceMode": (),
        "nvmlDeviceGetMigMode": (),
        "nvmlDeviceGetEccMode": (),
        "nvmlDeviceGetGspFirmwareVersion": (),
        "nvmlDeviceGetGpuFabricInfo": (ctypes.byref(nvml.library.c_nvmlGpuFabricInfo_t()),),
        "nvmlDeviceGetCurrPcieLinkGeneration": (),
        "nvmlDeviceGetPcieReplayCounter": (),
        "nvmlDeviceGetRemappedRows": (),
        "nvmlDeviceGetComputeRunningProcesses": (),
        "nvmlDeviceGetVirtualizationMode": (),
        "nvmlDeviceGetMemoryBusWidth": (),
        "nvmlDeviceGetNumaNodeId": (),
        "nvmlDeviceGetCpuAffinity": (1,),
        "nvmlDeviceGetMaxClockInfo": (nvml.library.NVML_CLOCK_SM,),
    }
    silent = [name.removeprefix("nvmlDeviceGet") for name, more in questions.items() if nvml.ask(name, *more) is None]
    yield line("readings that the device does not give", len(silent), f"of {len(questions)}", remark=" ".join(silent))


def measure() -> Iterator[Line]:
    """Every finding; one that fails says so and the next goes on."""
    for part in (timers, flushes, counters, regimes, library_in_graph, unsupported):
        try:
            with open_device("cuda") as device:
                yield from part(device)
        except Exception as error:  # noqa: BLE001 - the other findings are still worth having
            yield line(part.__name__, None, "", holds=False, remark=f"{type(error).__name__}: {error}"[:160])


if __name__ == "__main__":
    run_section(measure)
