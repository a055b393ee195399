"""`tbctl run reproduce`."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from tesserabench.cli.commands.run import get_run
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import EmptyResult, UsageProblem
from tesserabench.cli.exit_codes import Ending
from tesserabench.cli.following import follow_and_report, policy_of
from tesserabench.cli.grammar import command
from tesserabench.cli.options import RUN, Texts, follow_options, policy_options
from tesserabench.cli.output.table import Column
from tesserabench.cli.pages import all_results
from tesserabench.cli.parsing import short_id
from tesserabench.cli.reproduce import bench_line, exact_pattern, trigger_line
from tesserabench.cli.run_report import run_comparison
from tesserabench.v1.run_pb2 import GateSpec, HostSelector, Run, TriggerKind
from tesserabench.v1.run_service_pb2 import CreateRunRequest

_MOST_NEAR = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """How to measure something of a run again."""

    run: Run
    case: str
    hosts: Sequence[str]
    base: str
    """Run that it was compared with; empty when it was not."""

    @property
    def on_the_fleet(self) -> str:
        """The command that asks the collector."""
        return trigger_line(self.run, case=self.case, hosts=self.hosts, base=self.base)

    @property
    def here(self) -> str:
        """The command for the machine where it is typed; empty when there is none."""
        return bench_line(self.run, case=self.case)

    def body(self) -> dict[str, Any]:
        """It as plain values."""
        told = {"case": self.case, "hosts": list(self.hosts), "base": self.base}
        commands = {"command": self.on_the_fleet, "local_command": self.here}
        return {"run": self.run.name} | {name: value for name, value in (told | commands).items() if value}


@command(
    "reproduce",
    examples=(
        ("tbctl run reproduce 42", "the command that measures all of run 42 again"),
        ("tbctl run reproduce 42 --case 'gemm/matmul[m=512]'", "one case, on the host that measured it"),
        ("tbctl run reproduce 42 --case 'gemm/matmul[m=512]' --local", "on this machine, without a collector"),
        ("tbctl run reproduce 42 --execute --fail-on major", "do it now, and judge it"),
    ),
)
@click.argument("run", type=RUN)
@click.option("--case", default="", metavar="ID", help="Only this case. Default: all of the run's.")
@click.option("--local", is_flag=True, help="For this machine: tbctl bench run.")
@click.option("--execute", is_flag=True, help="Ask for it and wait, instead of saying how.")
@policy_options
@follow_options
def reproduce_command(context: CommandContext, run: str, **values: Any) -> Ending | None:
    """Say which command measures a run again: the same hosts, seed, commit, parameters and base."""
    typed = Texts(values=values)
    if typed.flag("execute") and typed.flag("local"):
        raise UsageProblem("--execute asks the collector; for this machine, run the line that --local prints")
    found = _found(context, get_run(context.collector, run), typed.text("case"))
    if typed.flag("execute"):
        return _executed(context, found, typed)
    line = found.here if typed.flag("local") else found.on_the_fleet
    if not line:
        raise UsageProblem(f"run {short_id(run)} compares two arms; tbctl bench compare measures such on this machine")
    columns = [Column[Reproduction](title="COMMAND", value=lambda _: line, whole=True)]
    context.printer.thing("Reproduction", found, columns, body=Reproduction.body, text=line)
    return None


def _found(context: CommandContext, run: Run, case: str) -> Reproduction:
    """What is to be repeated.

    Raises:
        EmptyResult: the run did not measure the case; names some that it did.
    """
    measured = all_results(context.collector, run.name, case_pattern=exact_pattern(case) if case else "")
    results = [result for result in measured if case in {"", result.result.case.id}]
    if case and not results:
        others = sorted({result.result.case.id for result in all_results(context.collector, run.name)})
        near = f"; it measured {', '.join(others[:_MOST_NEAR])}" if others else ""
        more = f" and {len(others) - _MOST_NEAR} more" if len(others) > _MOST_NEAR else ""
        raise EmptyResult(f"run {short_id(run.name)} did not measure {case!r}{near}{more}")
    comparison = run_comparison(context.collector, run)
    bases = [entry.base.run for entry in comparison.entries if entry.base.run] if comparison is not None else []
    return Reproduction(
        run=run,
        case=case,
        hosts=sorted({result.host for result in results if result.host}),
        base=bases[0] if bases else "",
    )


def _executed(context: CommandContext, found: Reproduction, typed: Texts) -> Ending:
    request = CreateRunRequest(
        project=found.run.project,
        spec=found.run.spec,
        revision=found.run.revision,
        gate=GateSpec(baseline=f"run:{short_id(found.base)}" if found.base else ""),
        labels=found.run.labels,
        priority=found.run.priority,
        trigger=TriggerKind.TRIGGER_KIND_PERSON,
        request_id=f"tbctl-{uuid.uuid4()}",
    )
    if found.case:
        request.spec.include[:] = [exact_pattern(found.case)]
        del request.spec.exclude[:]
    if found.hosts:
        request.spec.selector.CopyFrom(HostSelector(hosts=found.hosts, count=len(found.hosts)))
    if found.run.spec.HasField("duet"):
        request.gate.baseline = ""
    new = context.collector.call(context.collector.stubs.runs.CreateRun, request)
    context.printer.hint(f"run {short_id(new.name)} repeats run {short_id(found.run.name)}")
    return follow_and_report(context, new, typed, policy_of(typed, context.settings, default="none"))
