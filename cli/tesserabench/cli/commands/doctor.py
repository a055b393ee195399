"""`tbctl doctor`: one line for everything that may be wrong, with what to do about it."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from tesserabench.cli.ci import detect
from tesserabench.cli.commands.version import client_version
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import CallError, CliError
from tesserabench.cli.exit_codes import DONE, Ending, ExitCode
from tesserabench.cli.grammar import command
from tesserabench.cli.output.table import Column, clean
from tesserabench.cli.output.words import moment, word
from tesserabench.cli.pages import read_pages
from tesserabench.cli.parsing import short_id
from tesserabench.cli.run_request import known_facts
from tesserabench.report.quantity import duration
from tesserabench.v1.host_pb2 import Host, HostState
from tesserabench.v1.host_service_pb2 import ListHostsRequest
from tesserabench.v1.system_service_pb2 import GetServerInfoRequest, ServerInfo
from tesserabench.wire import SCHEMA_VERSION

_SKEW_WARN_SECONDS = 2.0
_SKEW_FAIL_SECONDS = 60.0
_SLOW_SECONDS = 0.5
_PROBES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `status`: ok, warn or fail."""

    name: str
    status: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the collector said about itself, how fast, and how far its clock is ahead of ours."""

    info: ServerInfo
    latency_seconds: float
    skew_seconds: float | None


COLUMNS: Sequence[Column[Check]] = (
    Column(title="CHECK", value=lambda check: check.name),
    Column(title="STATUS", value=lambda check: check.status),
    Column(title="FINDING", value=lambda check: check.text, shrink=True),
    Column(title="REMEDY", value=lambda check: check.remedy, wide=True),
)


@command(
    "doctor",
    examples=(
        ("tbctl doctor", "everything between you and a measurement"),
        ("tbctl doctor -o json", "for a program; the exit status is 0 when nothing failed"),
    ),
)
def doctor_command(context: CommandContext) -> Ending:
    """Find out why something does not work: settings, connection, clock, versions, rights, hosts, CI variables."""
    checks, failure = [], DONE
    try:
        for check in _checks(context):
            checks.append(check)  # noqa: PERF402 - what was found before a failure counts
    except CliError as error:
        checks.append(Check(name="collector", status="fail", text=error.sentence, remedy=_remedy(error)))
        failure = Ending(code=error.code, sentence=error.sentence)
    _show(context, checks)
    failed = [check.name for check in checks if check.status == "fail"]
    if failed and failure is DONE:
        return Ending(code=ExitCode.FAILURE, sentence=f"failed: {', '.join(failed)}")
    return failure


def _checks(context: CommandContext) -> Iterator[Check]:
    yield _settings(context)
    yield _ci()
    probe = _probe(context)
    yield _connection(context, probe)
    yield _encryption(context)
    yield _clock(probe)
    yield from _versions(probe.info)
    yield _rights(probe.info)
    yield from _hosts(context)


def _settings(context: CommandContext) -> Check:
    settings = context.settings
    origins = sorted({origin for origin in settings.origins.values() if origin != "built-in"})
    where = f"; set in: {', '.join(origins)}" if origins else "; all built-in"
    name = f"context {settings.context}, " if settings.context else ""
    return Check(
        name="settings", status="ok", text=f"{name}server {settings.server}, project {settings.project}{where}"
    )


def _ci() -> Check:
    build = detect(os.environ, read_text=lambda path: Path(path).read_text(encoding="utf-8"))
    if not build.provider:
        return Check(name="ci", status="ok", text="no CI variables seen; commit and branch are read from git")
    facts = ", ".join(f"{key}={value}" for key, value in known_facts(build).items())
    if build.commit:
        return Check(name="ci", status="ok", text=facts)
    return Check(name="ci", status="warn", text=f"{facts}; no commit", remedy="pass --commit, or set TBCTL_COMMIT")


def _probe(context: CommandContext) -> Probe:
    """The fastest of a few calls: the first pays for the connection, and the fastest bounds the clock best."""
    best: Probe | None = None
    for _ in range(_PROBES):
        before, start = datetime.now(UTC), time.monotonic()
        info = context.collector.call(context.collector.stubs.system.GetServerInfo, GetServerInfoRequest())
        latency = time.monotonic() - start
        theirs = moment(info, "server_time")
        skew = (theirs - before).total_seconds() - latency / 2 if theirs else None
        if best is None or latency < best.latency_seconds:
            best = Probe(info=info, latency_seconds=latency, skew_seconds=skew)
    assert best is not None
    return best


def _connection(context: CommandContext, probe: Probe) -> Check:
    text = f"{context.collector.address.text} answers in {probe.latency_seconds * 1000:.1f} ms"
    if probe.latency_seconds > _SLOW_SECONDS:
        return Check(
            name="collector", status="warn", text=text, remedy="look at the network, and at the collector's load"
        )
    return Check(name="collector", status="ok", text=text)


def _encryption(context: CommandContext) -> Check:
    address, settings = context.collector.address, context.settings
    if not address.tls:
        if address.loopback:
            return Check(name="encryption", status="ok", text="plaintext, on this machine only")
        return Check(
            name="encryption", status="warn", text="plaintext to another machine", remedy="use https://HOST:PORT"
        )
    if settings.insecure_skip_verify:
        return Check(
            name="encryption", status="warn", text="TLS with an unchecked certificate", remedy="give --ca-file instead"
        )
    mine = ", with a client certificate" if settings.cert_file else ""
    return Check(name="encryption", status="ok", text=f"TLS, certificate checked{mine}")


def _clock(probe: Probe) -> Check:
    if probe.skew_seconds is None:
        return Check(name="clock", status="warn", text="the collector does not tell its time", remedy="update it")
    skew = probe.skew_seconds
    text = f"the collector's clock is {abs(skew):.2f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    status = "fail" if abs(skew) > _SKEW_FAIL_SECONDS else "warn" if abs(skew) > _SKEW_WARN_SECONDS else "ok"
    return Check(name="clock", status=status, text=text, remedy="" if status == "ok" else "let NTP set both clocks")


def _versions(info: ServerInfo) -> Iterator[Check]:
    mine, theirs = client_version(), info.version
    same = mine.split(".")[:2] == theirs.split(".")[:2]
    text = f"tbctl {mine}, collector {theirs or 'unknown'}"
    yield Check(
        name="versions", status="ok" if same else "warn", text=text, remedy="" if same else "update the older one"
    )
    if info.schema_versions and SCHEMA_VERSION not in info.schema_versions:
        known = ", ".join(map(str, info.schema_versions))
        yield Check(
            name="schema",
            status="fail",
            text=f"the collector reads record schemas {known}; agents of this release write {SCHEMA_VERSION}",
            remedy="update the collector before the agents",
        )


def _rights(info: ServerInfo) -> Check:
    roles = ", ".join(info.roles) or "no role"
    projects = f" in {', '.join(info.projects)}" if info.projects else ""
    text = f"{info.actor.name or 'unknown'}: {roles}{projects}"
    if {"runner", "admin"} & set(info.roles):
        return Check(name="rights", status="ok", text=text)
    return Check(name="rights", status="warn", text=text, remedy="triggering runs needs the role runner or admin")


def _hosts(context: CommandContext) -> Iterator[Check]:
    collector = context.collector

    def fetch(size: int, token: str) -> tuple[Sequence[Host], str]:
        answer = collector.call(collector.stubs.hosts.ListHosts, ListHostsRequest(page_size=size, page_token=token))
        return answer.hosts, answer.next_page_token

    hosts = read_pages(fetch, limit=None).items
    counts: dict[str, int] = {}
    for host in hosts:
        state = "cordoned" if host.cordoned else word(HostState, host.state)
        counts[state] = counts.get(state, 0) + 1
    text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none has registered"
    usable = counts.get("ready", 0) + counts.get("busy", 0)
    remedy = "" if usable else "start tesserabench-agent on a host, or tbctl node uncordon HOST"
    yield Check(name="hosts", status="ok" if usable else "warn", text=text, remedy=remedy)
    yield from _late_hosts(hosts)


def _late_hosts(hosts: Sequence[Host]) -> Iterator[Check]:
    now = datetime.now(UTC)
    for host in hosts:
        if host.state == HostState.HOST_STATE_UNREACHABLE:
            seen = moment(host, "last_seen_time")
            age = f" for {duration((now - seen).total_seconds())}" if seen else ""
            yield Check(
                name=f"host {short_id(host.name)}", status="warn", text=f"not heard of{age}", remedy="look at its agent"
            )


def _remedy(error: CliError) -> str:
    if isinstance(error, CallError) and error.code is ExitCode.UNREACHABLE:
        return "check the address, that tesserabench-collector runs there, and the firewall"
    if error.code is ExitCode.FORBIDDEN:
        return "set TBCTL_TOKEN or TBCTL_TOKEN_FILE"
    return "see the message"


_STYLES = {"ok": "good", "warn": "warn", "fail": "bad"}


def _show(context: CommandContext, checks: Sequence[Check]) -> None:
    try:
        printer = context.printer
    except CliError:
        # Settings that cannot be read name no format either.
        for check in checks:
            click.echo(f"{check.status:<4}  {check.name}: {check.text}")
        return
    if not printer.for_people:
        printer.items("Check", checks, COLUMNS, body=asdict, nothing="")
        return
    longest = max(len(check.name) for check in checks)
    for check in checks:
        status = printer.painted(f"{check.status:<4}", _STYLES[check.status])
        printer.write(f"{status}  {check.name:<{longest}}  {clean(check.text)}")
        if check.remedy:
            printer.write(f"      {'':<{longest}}  {clean(check.remedy)}")
