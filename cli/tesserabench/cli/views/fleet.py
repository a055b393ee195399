"""Hosts and suites."""

from collections.abc import Sequence
from datetime import datetime

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.verdicts import style_of
from tesserabench.report.quantity import duration, quantity
from tesserabench.v1.host_pb2 import Device, Host, HostState
from tesserabench.v1.host_service_pb2 import Suite

_CLOCK_TOLERANCE_SECONDS = 60.0
"""A clock that is further off than this makes a host's times useless; the collector sets aside those a day ahead."""


def host_columns(now: datetime) -> Sequence[Column[Host]]:
    """The columns of a list of hosts."""
    return (
        Column[Host](title="HOST", value=lambda host: short_id(host.name), shrink=True),
        Column[Host](
            title="STATE",
            value=lambda host: word(HostState, host.state),
            style=lambda host: style_of(word(HostState, host.state)),
        ),
        Column[Host](title="CORDONED", value=lambda host: host.cordoned),
        Column[Host](title="DEVICES", value=_devices, shrink=True),
        Column[Host](title="AGENT", value=lambda host: host.agent_version),
        Column[Host](
            title="LAST SEEN",
            field="last_seen_time",
            value=lambda host: iso(moment(host, "last_seen_time")),
            text=lambda host: ago(moment(host, "last_seen_time"), now=now),
        ),
        Column[Host](title="NOTE", value=note_of, shrink=True),
        Column[Host](title="ATTEMPT", value=lambda host: host.current_attempt, wide=True),
        Column[Host](title="CPU", value=lambda host: host.inventory.cpu_model, wide=True),
        Column[Host](title="LABELS", value=lambda host: _pairs(dict(host.inventory.labels)), wide=True),
        Column[Host](title="CLOCK OFFSET", field="clock_offset_seconds", value=_offset, wide=True),
        Column[Host](
            title="SPOOL", field="spool_pending_bytes", value=lambda host: host.spool_pending_bytes, wide=True
        ),
    )


def host_details(host: Host, now: datetime) -> list[tuple[str, str]]:
    """What a person wants to know about one host; what is not known is left out."""
    inventory, offset = host.inventory, _offset(host)
    pairs = [
        ("Host", short_id(host.name)),
        ("State", word(HostState, host.state)),
        ("Cordoned", f"yes: {host.cordon_reason}" if host.cordoned else "no"),
        ("Takes no work", host.unready_reason),
        ("Attempt", host.current_attempt),
        ("Last seen", ago(moment(host, "last_seen_time"), now=now)),
        ("Agent", host.agent_version),
        ("CPU", f"{inventory.cpu_model} ({inventory.cpu_count} logical)" if inventory.cpu_model else ""),
        ("Memory", quantity(inventory.memory_bytes, "B") if inventory.memory_bytes else ""),
        ("System", inventory.os),
        ("Labels", _pairs(dict(inventory.labels))),
        ("Clock", f"{offset:+.3f} s from the collector's" if offset is not None else ""),
        ("Unsent", quantity(host.spool_pending_bytes, "B") if host.spool_pending_bytes else ""),
        ("Suites", ", ".join(suite.name for suite in inventory.suites)),
    ]
    pairs += [(f"Device {device.index}", _device(device, host)) for device in inventory.devices]
    pairs += [(f"Finding {short_id(finding.name)}", finding.summary) for finding in host.findings]
    return [(label, value) for label, value in pairs if value]


def suite_columns() -> Sequence[Column[Suite]]:
    """The columns of a list of suites."""
    return (
        Column[Suite](title="SUITE", value=lambda suite: short_id(suite.name), shrink=True),
        Column[Suite](title="BENCHMARKS", value=lambda suite: len(suite.info.benchmarks), right=True),
        Column[Suite](title="HOSTS", value=lambda suite: len(suite.hosts), right=True),
        Column[Suite](title="VERSION", value=lambda suite: suite.info.version, wide=True),
        Column[Suite](title="SUMMARY", value=lambda suite: suite.info.summary, shrink=True),
        Column[Suite](title="HOST NAMES", value=lambda suite: " ".join(suite.hosts), wide=True),
    )


def suite_text(suite: Suite) -> str:
    """A suite with its benchmarks and the values of their parameters."""
    lines = [f"{short_id(suite.name)}: {suite.info.summary}", f"hosts: {', '.join(suite.hosts) or 'none'}"]
    for benchmark in suite.info.benchmarks:
        lines.append(f"\n{benchmark.name}: {benchmark.summary}")
        lines.append(f"  devices: {', '.join(benchmark.devices)}")
        lines += [f"  {name}: {', '.join(benchmark.parameters[name].values)}" for name in sorted(benchmark.parameters)]
    return "\n".join(lines)


def _devices(host: Host) -> str:
    counts: dict[str, int] = {}
    for device in host.inventory.devices:
        counts[device.model or device.kind] = counts.get(device.model or device.kind, 0) + 1
    return ", ".join(f"{count}x {model}" if count > 1 else model for model, count in counts.items())


def _device(device: Device, host: Host) -> str:
    parts = [f"{device.kind} {device.model}", device.uuid]
    if device.HasField("memory_bytes"):
        parts.append(quantity(device.memory_bytes, "B"))
    if device.driver_version:
        parts.append(f"driver {device.driver_version}")
    state = host.devices.get(device.uuid)
    if state is not None and state.HasField("temperature_celsius"):
        parts.append(f"{state.temperature_celsius:.0f} degrees C")
    if state is not None and state.throttle_reasons:
        parts.append(f"throttled: {', '.join(state.throttle_reasons)}")
    if state is not None and state.findings:
        parts.append(f"look at: {', '.join(state.findings)}")
    return ", ".join(parts)


def _pairs(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def note_of(host: Host) -> str:
    """What a person should know of a host: why it takes no work, and a clock that is wrong."""
    notes = [host.cordon_reason or host.unready_reason]
    offset = _offset(host)
    if offset is not None and abs(offset) > _CLOCK_TOLERANCE_SECONDS:
        notes.append(f"its clock is {duration(abs(offset))} {'ahead' if offset > 0 else 'behind'}: set it")
    return "; ".join(filter(None, notes))


def _offset(host: Host) -> float | None:
    return host.clock_offset_seconds if host.HasField("clock_offset_seconds") else None
