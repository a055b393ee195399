"""`tesserabench-collector`: serve, migrate, check, reanalyse, token, version.

Exit status: 0 well, 1 it failed (the last line on stderr says why), 2 wrong usage or settings.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from tesserabench.collector.core.version import VERSION
from tesserabench.collector.errors import CollectorError, SettingsError
from tesserabench.collector.origins import Loaded, load_settings
from tesserabench.collector.settings import Address, Settings, parse_address

_FAILED = 1
_WRONG = 2
_PROBE_SECONDS = 5

_T = TypeVar("_T")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="tesserabench-collector %(version)s")
def main() -> None:
    """Takes results from agents, keeps them in PostgreSQL, judges them and tells people."""


def _config(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Settings file (TOML). Default: /etc/tesserabench/collector.toml, if there is one.",
    )(command)


@main.command()
@_config
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without TLS and tokens.")
@click.option("--log-format", type=click.Choice(["console", "json"]), help="How log lines on stderr look.")
def serve(config: Path | None, *, insecure: bool, log_format: str | None) -> None:
    """Serve agents, people and pages until SIGTERM."""
    flags: dict[str, Any] = {"insecure": True} if insecure else {}
    if log_format:
        flags["log_format"] = log_format
    settings = _load(config, flags).settings
    _told(lambda: asyncio.run(_serve(settings)))


@main.command()
@_config
def migrate(config: Path | None) -> None:
    """Bring the database's schema up to date; safe to repeat, and from several replicas at once."""
    settings = _load(config).settings
    from tesserabench.collector.store import migrate as schema  # noqa: PLC0415 - help and version need none of it

    async def work(dsn: str) -> str:
        return await asyncio.to_thread(schema.upgrade, dsn)

    click.echo(f"the schema is at {_told(lambda: asyncio.run(_with_database(settings, work)))}")


@main.command()
@_config
@click.option("--health", "probe", is_flag=True, help="Ask a running collector's /healthz instead.")
def check(config: Path | None, *, probe: bool) -> None:
    """Check settings, database, schema and ports; or, with --health, whether a running collector is alive."""
    loaded = _load(config)
    if probe:
        _probe(loaded.settings)
        return
    for item in loaded.effective:
        click.echo(f"{item.key} = {item.value}  ({item.origin})")
    problems = [*_port_problems(loaded.settings), *_database_problems(loaded.settings)]
    for problem in problems:
        click.echo(f"fail: {problem}", err=True)
    if problems:
        sys.exit(_FAILED)
    click.echo("ok: settings, database, schema and ports")


@main.command()
@_config
@click.option("--project", default="", help="Only this project. Default: all of them.")
@click.option("--dask", default="", metavar="ADDRESS", help="Compute on this Dask cluster: tcp://HOST:8786.")
@click.option(
    "--processes", type=click.IntRange(1, 256), help="Compute in so many processes here. Default: 1 a processor."
)
@click.option("--from-results", is_flag=True, help="Make the histories' points anew from the measurements first.")
def reanalyse(config: Path | None, *, dask: str, processes: int | None, **wished: Any) -> None:
    """Analyse every history anew; beside a running collector too, and safe to break off."""
    settings = _load(config).settings
    from tesserabench.collector import reanalysing  # noqa: PLC0415 - help and version need none of it

    wish = reanalysing.Wish(dask=dask, processes=processes or os.cpu_count() or 1, **wished)

    async def work(dsn: str) -> str:
        done = await reanalysing.reanalyse(settings, dsn, wish, lambda text: click.echo(text, err=True))
        return f"{done.series} series analysed anew; something else was found in {done.changed}"

    click.echo(_told(lambda: asyncio.run(_with_database(settings, work))))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(VERSION)


@main.group()
def token() -> None:
    """Make and revoke tokens. Works on the database itself, so that the first token can be made."""


@token.command("create")
@_config
@click.option("--name", required=True, help="Who uses it, for example `ci` or `host-7`.")
@click.option("--role", required=True, help="viewer, runner, admin or agent:HOST.")
@click.option("--project", default="", help="Only this project. Default: all of them.")
def token_create(config: Path | None, name: str, role: str, project: str) -> None:
    """Make a token and print it; it cannot be shown again."""
    from tesserabench.collector.core import tokens  # noqa: PLC0415 - help and version need none of it

    async def work(session: Any) -> str:
        return await tokens.create(session, name=name, role=role, project=project, actor="console")

    click.echo(_in_transaction(config, work))


@token.command("list")
@_config
def token_list(config: Path | None) -> None:
    """List the tokens by name, without their secrets."""
    from tesserabench.collector.store import tokens  # noqa: PLC0415 - help and version need none of it

    for row in _in_transaction(config, tokens.everything):
        scope = f"agent:{row.host}" if row.host else row.role
        state = f"revoked {row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else "good"
        click.echo(f"{row.name}\t{scope}\t{row.project or '(all projects)'}\t{state}")


@token.command("revoke")
@_config
@click.argument("name")
def token_revoke(config: Path | None, name: str) -> None:
    """Make a token worthless."""
    from tesserabench.collector.core import tokens  # noqa: PLC0415 - help and version need none of it

    async def work(session: Any) -> None:
        await tokens.revoke(session, name, actor="console")

    _in_transaction(config, work)
    click.echo(f"{name} is revoked")


async def _serve(settings: Settings) -> None:
    from tesserabench.collector.app import Collector  # noqa: PLC0415 - help and version need none of it

    collector = Collector(settings)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    starting = asyncio.ensure_future(collector.start())
    stopping = asyncio.ensure_future(asked.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        _settle_memory()
        broken = asyncio.ensure_future(collector.failed())
        await asyncio.wait({broken, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await collector.stop()
    stopping.cancel()
    await asyncio.gather(starting)


def _settle_memory() -> None:
    """Leave alone what stays until the end: the collector of cycles took a quarter of an upload's time walking it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


async def _with_database(settings: Settings, work: Callable[[str], Coroutine[Any, Any, _T]]) -> _T:
    """What the work on the database gives; one of our own is started for it unless a collector has it running."""
    from tesserabench.collector.store.folder import running_dsn  # noqa: PLC0415 - help and version need none of it
    from tesserabench.collector.store.server import PgProvider  # noqa: PLC0415

    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = settings.state_dir / "postgres"
    dsn = settings.database_dsn.get_secret_value() or running_dsn(folder) or ""
    provider = PgProvider(dsn=dsn, folder=folder)
    dsn = await provider.start()
    try:
        return await work(dsn)
    finally:
        await provider.stop()


def _in_transaction(config: Path | None, work: Callable[[Any], Coroutine[Any, Any, _T]]) -> _T:
    from tesserabench.collector.store import migrate as schema  # noqa: PLC0415 - help and version need none of it
    from tesserabench.collector.store.database import Database  # noqa: PLC0415

    settings = _load(config).settings

    async def with_session(dsn: str) -> _T:
        await asyncio.to_thread(schema.upgrade, dsn)
        database = Database(dsn, pool_size=2)
        try:
            async with database.transaction() as session:
                return await work(session)
        finally:
            await database.close()

    return _told(lambda: asyncio.run(_with_database(settings, with_session)))


def _load(path: Path | None, flags: dict[str, Any] | None = None) -> Loaded:
    from tesserabench.collector import log  # noqa: PLC0415 - help and version need none of it

    try:
        loaded = load_settings(path, flags)
    except SettingsError as error:
        _end(str(error), _WRONG)
    log.configure(loaded.settings.log_format)
    return loaded


def _told(work: Callable[[], _T]) -> _T:
    """What the work gives; an error that we foresaw ends the program with one line."""
    try:
        return work()
    except CollectorError as error:
        _end(error.message, _FAILED)
    except OSError as error:
        _end(str(error), _FAILED)
    except SettingsError as error:
        _end(str(error), _WRONG)
    except Exception as error:  # noqa: BLE001 - ours; the log has the traceback, the terminal a sentence
        import structlog  # noqa: PLC0415 - help and version need none of it

        structlog.get_logger(__name__).exception("collector.broken")
        _end(f"it broke with {type(error).__name__}: {error}; the log above says where; please report it", _FAILED)


def _end(message: str, status: int) -> NoReturn:
    for line in message.splitlines():
        click.echo(f"tesserabench-collector: {line}", err=True)
    sys.exit(status)


def _port_problems(settings: Settings) -> list[str]:
    problems = []
    ours = _running_addresses(settings)
    for key, address in (("grpc_listen", settings.grpc_address), ("web_listen", settings.web_address)):
        if _reachable(address) in ours.values():
            continue
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            with closing(socket.create_server(tuple(address), family=family)):
                pass
        except OSError as error:
            problems.append(f"{key} = {address}: {error.strerror or error}; choose another address, or free it")
    return problems


def _database_problems(settings: Settings) -> list[str]:
    from tesserabench.collector.store import migrate as schema  # noqa: PLC0415 - help and version need none of it
    from tesserabench.collector.store.binaries import find_binaries  # noqa: PLC0415

    async def work(dsn: str) -> list[str]:
        revision = await asyncio.to_thread(schema.current, dsn)
        if revision == schema.head() or settings.migrate_on_start:
            return []
        return [f"the schema is at {revision or 'nothing'}, not {schema.head()}; run `tesserabench-collector migrate`"]

    folder = settings.state_dir / "postgres"
    try:
        if not settings.database_dsn.get_secret_value() and not (folder / "data").exists():
            # To check is not to make: the first start does it, with these programs.
            find_binaries(None)
            click.echo(f"note: the first start makes a PostgreSQL in {folder}")
            return []
        return asyncio.run(_with_database(settings, work))
    except (CollectorError, OSError) as error:
        return [f"database: {error}"]


def _probe(settings: Settings) -> None:
    address = _running_addresses(settings).get("web") or _reachable(settings.web_address)
    try:
        with urllib.request.urlopen(f"http://{address}/healthz", timeout=_PROBE_SECONDS) as answer:
            click.echo(answer.read().decode())
    except (urllib.error.URLError, OSError) as error:
        _end(f"{address}: {error}", _FAILED)


def _running_addresses(settings: Settings) -> dict[str, str]:
    """Where the collector of this state folder listens, by `grpc` and `web`; empty when none runs."""
    try:
        told = json.loads((settings.state_dir / "addresses.json").read_text())
        os.kill(int(told["pid"]), 0)
        return {key: _reachable(parse_address(told[key])) for key in ("grpc", "web")}
    except (OSError, ValueError, KeyError):
        return {}


def _reachable(address: Address) -> str:
    """The address as this machine reaches it: a wildcard is no place to connect to."""
    return str(Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host), address.port))  # noqa: S104 - compared, not bound
