"""The command `tesserabench-agent`: run, check, version.

Exit codes: 0 stopped as asked, or the check passed; 1 failed; 2 wrong settings or usage; 3 a newer agent of this host
took over; 4 the state folder cannot be used.
"""

import asyncio
import os
import signal
import sys
import traceback
from pathlib import Path

import click
from tesserabench.agent import VERSION
from tesserabench.agent.errors import AgentError
from tesserabench.agent.logs import configure
from tesserabench.agent.origins import Loaded, load_settings

_config = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    help="Settings file (TOML). Default: $TESSERABENCH_AGENT_CONFIG, else /etc/tesserabench/agent.toml.",
)
_log_format = click.option("--log-format", type=click.Choice(["console", "json"]), help="How log lines look.")


@click.group(invoke_without_command=True)
@_config
@_log_format
@click.pass_context
def cli(context: click.Context, config: Path | None, log_format: str | None) -> None:
    """Measures on this host what a TesseraBench collector asks for; without a command it runs.

    \b
    Examples:
      tesserabench-agent check --config agent.toml
      tesserabench-agent run --config /etc/tesserabench/agent.toml --log-format json
    """  # noqa: D301 - click reads the \b that keeps lines apart
    context.obj = (config, log_format)
    if context.invoked_subcommand is None:
        context.invoke(run)


@cli.command()
@_config
@_log_format
@click.pass_context
def run(context: click.Context, config: Path | None = None, log_format: str | None = None) -> None:
    """Run until SIGTERM, which drains; a second SIGTERM stops at once.

    \b
    Example:
      tesserabench-agent run --config agent.toml
    """  # noqa: D301 - as above
    loaded = _load(context, config, log_format)
    configure(loaded.settings.log_format)
    # What the agent writes is nobody else's to read, the workers' user included.
    os.umask(0o027)
    # Workers are executed at once after the fork; gRPC's own preparations for a fork would only stand in the way.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    asyncio.run(_run(loaded))


@cli.command()
@_config
@click.pass_context
def check(context: click.Context, config: Path | None = None) -> None:
    """Print the effective settings and the inventory, and try the connection. Changes nothing.

    \b
    Example:
      tesserabench-agent check --config agent.toml
    """  # noqa: D301 - as above
    from tesserabench.agent.check import check as check_host  # noqa: PLC0415 - help must not wait for gRPC

    loaded = _load(context, config, None)
    configure(loaded.settings.log_format)
    ok, lines = check_host(loaded)
    click.echo("\n".join(lines))
    context.exit(0 if ok else 1)


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"tesserabench-agent {VERSION}")


def _load(context: click.Context, config: Path | None, log_format: str | None) -> Loaded:
    """The settings, from the options before the command or after it."""
    outer_config, outer_format = context.obj
    chosen = log_format or outer_format
    return load_settings(config or outer_config, {"log_format": chosen} if chosen else {})


async def _run(loaded: Loaded) -> None:
    from tesserabench.agent.app import Agent  # noqa: PLC0415 - help must not wait for gRPC

    agent = Agent(loaded.settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.drain)
    try:
        await agent.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def main() -> None:
    """The entry point: every error is one sentence and an exit code."""
    try:
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the last place where it can become a sentence
        known = _known(error)
        click.echo(f"tesserabench-agent: {known or _describe(error)}", err=True)
        sys.exit(known.exit_code if known else 1)
    sys.exit(status if isinstance(status, int) else 0)


def _known(error: BaseException) -> AgentError | None:
    """The first of our own errors in `error`, which may be a group."""
    if isinstance(error, AgentError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _known(inner))), None)
    return None


def _describe(error: BaseException) -> str:
    """What an unknown error was and where it arose."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return f"unexpected {type(error).__name__} at {where}: {error}; please report it with the log above"


if __name__ == "__main__":
    main()
