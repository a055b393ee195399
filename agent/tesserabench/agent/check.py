"""`tesserabench-agent check`: what the agent would do with these settings, and whether the collector answers."""

import asyncio
import os
from collections.abc import Iterable

import grpc
from tesserabench.agent import VERSION
from tesserabench.agent.errors import AgentError
from tesserabench.agent.host.gpus import open_gpus
from tesserabench.agent.host.machine import Machine
from tesserabench.agent.link.channel import metadata, open_channel, token_source
from tesserabench.agent.link.failures import explain
from tesserabench.agent.origins import Loaded
from tesserabench.agent.policy import allowed_kinds
from tesserabench.agent.runner.catalogue import installed_suites
from tesserabench.agent.runner.variables import spoiling_lines
from tesserabench.agent.settings import Settings
from tesserabench.v1.system_service_pb2 import GetServerInfoRequest
from tesserabench.v1.system_service_pb2_grpc import SystemServiceStub
from tesserabench.wire import SCHEMA_VERSION

_CALL_SECONDS = 5.0


def settings_lines(loaded: Loaded) -> Iterable[str]:
    """The effective settings, one a line, with where each came from."""
    yield f"settings file: {loaded.path or 'none'}"
    width = max(len(setting.key) for setting in loaded.effective)
    for setting in loaded.effective:
        yield f"  {setting.key:<{width}} = {setting.value:<32} # {setting.origin}"


def inventory_lines(settings: Settings) -> Iterable[str]:
    """What this host would offer."""
    kinds = allowed_kinds(settings.devices)
    machine = Machine(kinds, open_gpus())
    try:
        suites = installed_suites({device.kind for device in machine.devices})
        found = machine.inventory(suites, settings.labels)
    finally:
        machine.close()
    yield f"host {settings.host}: {found.os}, {found.cpu_model}, {found.cpu_count} CPUs, {found.memory_bytes >> 20} MiB"
    for device in found.devices:
        memory = f", {device.memory_bytes >> 20} MiB" if device.HasField("memory_bytes") else ""
        yield f"  device {device.kind}:{device.index} {device.model}{memory} ({device.uuid})"
    if not found.devices:
        yield "  no device: see the setting devices"
    for suite in found.suites:
        yield f"  suite {suite.name}: {', '.join(item.name for item in suite.benchmarks)}"


async def connection_line(settings: Settings) -> tuple[bool, str]:
    """Whether the collector answers, and a sentence about it. Registers nothing: a running agent is not disturbed."""
    try:
        async with open_channel(settings) as channel:
            call = SystemServiceStub(channel).GetServerInfo
            headers = metadata(token_source(settings))
            info = await call(GetServerInfoRequest(), timeout=_CALL_SECONDS, metadata=headers)
    except grpc.aio.AioRpcError as error:
        failure = explain(error)
        advice = f"; {failure.advice}" if failure.advice else "; check the collector's address and that it runs"
        return False, f"collector {settings.collector}: {failure.code.name}: {failure.message}{advice}"
    except AgentError as error:
        return False, str(error)
    if info.schema_versions and SCHEMA_VERSION not in info.schema_versions:
        taken = ", ".join(map(str, info.schema_versions))
        return False, (
            f"collector {settings.collector} takes record schema {taken}, this agent ({VERSION}) writes "
            f"{SCHEMA_VERSION}: upgrade the older one"
        )
    name = info.actor.name or "anonymous"
    return True, f"collector {settings.collector}: version {info.version}, this host is known as {name}"


def check(loaded: Loaded) -> tuple[bool, list[str]]:
    """Whether all is well, and everything there is to say."""
    warnings = [f"warning: {line}" for line in spoiling_lines(os.environ)]
    lines = [*settings_lines(loaded), *inventory_lines(loaded.settings), *warnings]
    ok, line = asyncio.run(connection_line(loaded.settings))
    return ok, [*lines, f"{'ok' if ok else 'FAILED'}: {line}"]
