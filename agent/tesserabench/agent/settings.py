"""What the agent is told: a TOML file, then `TESSERABENCH_AGENT_*` variables, then flags; the later wins.

A name in a table is written with two underscores in a variable: `TESSERABENCH_AGENT_TLS__CA`. Lists are written with
commas (`TESSERABENCH_AGENT_DEVICES=cpu,cuda`), tables of text as pairs (`TESSERABENCH_AGENT_LABELS=rack=a1,room=b`).
"""

import os
import pwd
import re
import socket
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from tesserabench.wire import DEFAULT_AGENT_METRICS_PORT, DEFAULT_PORT
from tesserabench.wire.names import HOST_PATTERN

ENV_PREFIX = "TESSERABENCH_AGENT_"
NESTED_DELIMITER = "__"
DEVICE_KINDS = ("auto", "cpu", "cuda", "simulated")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]

toml_file: ContextVar[Path | None] = ContextVar("toml_file", default=None)
"""The file that the next `Settings()` reads; `origins.load_settings` sets it."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if wrong := [part for part in parts if "=" not in part]:
        raise ValueError(f"{wrong[0]!r} is no pair; write NAME=VALUE,NAME=VALUE")
    return dict(part.split("=", 1) for part in parts)


class Section(BaseModel):
    """A table of the settings file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(Section):
    """How the connection is secured."""

    ca: Path | None = Field(default=None, description="PEM file of the authorities that vouch for the collector")
    cert: Path | None = Field(default=None, description="PEM file of the agent's own certificate")
    key: Path | None = Field(default=None, description="PEM file of the key of `cert`")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together; give both or neither")
        return self


class Policy(Section):
    """What this host lets itself be asked to do."""

    suites: Annotated[tuple[str, ...], NoDecode] = Field(default=("*",), description="Suites that may run; `*` is any")
    allow_drill: bool = Field(default=True, description="Whether a run may slow a benchmark down to try out the alarm")
    shared: bool = Field(
        default=False, description="Others use the GPUs of this host too: their clocks are never locked"
    )
    on_foreign_process: Literal["wait", "flag", "ignore"] = Field(
        default="wait",
        description="Another process computes on the device: wait and then give up, run and say so, or run",
    )

    @field_validator("suites", mode="before")
    @classmethod
    def _read_suites(cls, value: object) -> object:
        return _split(value)


class Budgets(Section):
    """Longest time in seconds that a worker may spend in each phase; `measure` follows the plan."""

    startup: Seconds = Field(default=60, description="From the start of the process to an open device")
    ceiling: Seconds = Field(default=60, description="Probing what the device can do at most")
    prepare: Seconds = Field(default=60, description="Building the inputs of a case")
    verify: Seconds = Field(default=60, description="Comparing outputs with the reference")
    warmup: Seconds = Field(default=60, description="Warming up")
    shutdown: Seconds = Field(default=10, description="From the last result to the end of the process")
    kill_grace: Seconds = Field(default=2, description="From SIGTERM to SIGKILL")
    attempt: Seconds = Field(default=6 * 3600, description="The whole attempt, when the run itself sets no limit")


class Readiness(Section):
    """When a GPU is fit to be measured; it is waited for `device_wait_seconds`."""

    utilization: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.02, description="Largest share of the time that an idle GPU may be busy"
    )
    memory_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="Largest share of its memory that may be in use before a trial"
    )
    temperature_celsius: Annotated[float, Field(gt=0, le=150)] | None = Field(
        default=None, description="Highest temperature that a trial may begin at; empty: any"
    )


class Cooling(Section):
    """What happens when heat held the clocks down while a case was measured."""

    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="How often such a case is measured again"
    )
    pause_seconds: Annotated[float, Field(gt=0, le=10)] = Field(
        default=0.5, description="First pause before that; each further one is twice as long, 10 s at most"
    )


class Link(Section):
    """Pace of the connection in seconds; what the collector asks for goes first."""

    retry_min: Seconds = Field(default=1, description="First upper bound of the wait after a failure")
    retry_max: Seconds = Field(default=60, description="Largest upper bound of the wait after a failure")
    retry_slow: Seconds = Field(default=300, description="Wait after a refusal that only a person can mend")
    call_timeout: Seconds = Field(default=15, description="Longest time to wait for an answer beyond the asked hold")
    ack_timeout: Seconds = Field(default=30, description="Longest time to wait until a batch is committed")
    linger: SecondsOrZero = Field(default=2, description="How long an upload stays open without new records")
    window: Annotated[int, Field(ge=1, le=64)] = Field(default=4, description="Batches sent ahead of their answers")
    batch_records: Annotated[int, Field(ge=1, le=10_000)] = Field(default=200, description="Most records in a batch")


def _short_host_name() -> str:
    return socket.gethostname().split(".")[0].lower()


def _default_state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/tesserabench-agent")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "tesserabench-agent"


class Settings(BaseSettings):
    """Everything that the agent can be told. Frozen; made by `origins.load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=NESTED_DELIMITER,
        env_ignore_empty=True,
        validate_default=True,
    )

    collector: str = Field(default=f"127.0.0.1:{DEFAULT_PORT}", description="Address of the collector, HOST:PORT")
    insecure: bool = Field(default=False, description="Allow a connection beyond this machine without TLS")
    host: str = Field(default_factory=_short_host_name, description="Name of this host in the fleet")
    state_dir: Path = Field(default_factory=_default_state_dir, description="Folder of the disk log and the locks")
    token: SecretStr | None = Field(default=None, description="Token of this host; better in a file")
    token_file: Path | None = Field(default=None, description="File with the token; read again at every connection")
    tls: Tls = Tls()
    metrics_listen: str = Field(
        default=f"127.0.0.1:{DEFAULT_AGENT_METRICS_PORT}",
        description="Address of /metrics; port 0 takes a free one (see metrics.addr in the state folder), empty is off",
    )
    labels: Annotated[dict[str, str], NoDecode] = Field(default={}, description="Labels that runs can select hosts by")
    devices: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("auto",), description="Kinds of device that may be measured: auto, cpu, cuda, simulated"
    )
    simulated_scenario: str = Field(default="", description="Name or file of the simulated device's script")
    policy: Policy = Policy()
    budgets: Budgets = Budgets()
    readiness: Readiness = Readiness()
    cooling: Cooling = Cooling()
    clocks: str = Field(
        default="observe",
        description="Clocks of GPUs during a trial: observe, lock:MHZ or lock:tdp (needs the right to, and no sharing)",
    )
    worker_memory_bytes: Annotated[int, Field(ge=1 << 20)] | None = Field(
        default=None, description="Memory at which a worker is stopped; empty: nine tenths of what the host has"
    )
    link: Link = Link()
    spool_max_bytes: Annotated[int, Field(ge=64 * 1024)] = Field(
        default=1 << 30, description="Unsent bytes at which the agent takes no new work"
    )
    spool_fsync: bool = Field(default=True, description="Wait for the disk at every record")
    min_free_bytes: Annotated[int, Field(ge=0)] = Field(
        default=256 << 20, description="Free memory and free disk below which the agent takes no new work"
    )
    drain_seconds: SecondsOrZero = Field(default=30, description="How long a running attempt may go on after SIGTERM")
    flush_seconds: SecondsOrZero = Field(default=10, description="How long unsent records may take after the drain")
    device_wait_seconds: SecondsOrZero = Field(default=60, description="How long to wait for a device in use by others")
    lock_dir: Path | None = Field(
        default=None, description="Folder of the device locks; default /run/lock, else `locks` in the state folder"
    )
    runner_user: str = Field(
        default="", description="User that measures when the agent is root; empty: the agent's own"
    )
    log_format: Literal["console", "json"] = Field(default="console", description="How log lines on stderr look")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env files: one place less to look
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `token_file` does this
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables, then the file."""
        path = toml_file.get()
        file = () if path is None else (TomlConfigSettingsSource(settings_cls, toml_file=path),)
        return (init_settings, env_settings, *file)

    @field_validator("devices", mode="before")
    @classmethod
    def _read_devices(cls, value: object) -> object:
        return _split(value)

    @field_validator("labels", mode="before")
    @classmethod
    def _read_labels(cls, value: object) -> object:
        return _pairs(value)

    @field_validator("devices")
    @classmethod
    def _known_devices(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for kind in value:
            if kind not in DEVICE_KINDS:
                raise ValueError(f"{kind!r} is no kind of device; use {', '.join(DEVICE_KINDS)}")
        if not value:
            raise ValueError(f"the list is empty; use one of {', '.join(DEVICE_KINDS)}")
        return value

    @field_validator("clocks")
    @classmethod
    def _valid_clocks(cls, value: str) -> str:
        if not re.fullmatch(r"observe|lock:tdp|lock:[1-9][0-9]{2,4}", value):
            raise ValueError("use observe, lock:tdp, or lock:MHZ such as lock:1410")
        return value

    @field_validator("host")
    @classmethod
    def _valid_host(cls, value: str) -> str:
        if not HOST_PATTERN.fullmatch(value):
            raise ValueError("use 1 to 63 of a-z 0-9 . _ - and begin with a letter or digit")
        return value

    @field_validator("collector")
    @classmethod
    def _valid_collector(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _valid_metrics_listen(cls, value: str) -> str:
        if value:
            split_address(value)
        return value

    @field_validator("runner_user")
    @classmethod
    def _existing_user(cls, value: str) -> str:
        if value:
            try:
                pwd.getpwnam(value)
            except KeyError:
                raise ValueError("there is no such user on this host; create it or leave the setting empty") from None
        return value

    @model_validator(mode="after")
    def _clocks_are_ours(self) -> Self:
        if self.clocks != "observe" and self.policy.shared:
            raise ValueError(
                f"clocks is {self.clocks!r} and policy.shared is true: on a shared host clocks are not locked, because "
                "that would change other people's work; set clocks to observe"
            )
        return self

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file are both set; keep one of them")
        return self


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[V6]:PORT` or `https://HOST:PORT`.

    Raises:
        ValueError: the address has another form.
    """
    match = re.fullmatch(r"(?:https?://)?(\[[0-9A-Fa-f:.%]+\]|[^:/\s\[\]]+):([0-9]{1,5})/?", address)
    if match is None or int(match[2]) > 65535:
        raise ValueError("use HOST:PORT, for example collector.example:7710")
    return match[1].strip("[]"), int(match[2])
