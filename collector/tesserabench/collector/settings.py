"""What the collector is told: a TOML file, then `TESSERABENCH_COLLECTOR_*` variables; the later wins.

A name in a table is written with two underscores in a variable: `TESSERABENCH_COLLECTOR_TLS__CERT`.
"""

import ipaddress
import os
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from tesserabench.wire import DEFAULT_PORT, DEFAULT_WEB_PORT

ENV_PREFIX = "TESSERABENCH_COLLECTOR_"
NESTED_DELIMITER = "__"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

toml_file: ContextVar[Path | None] = ContextVar("collector_toml_file", default=None)
"""The file that the next `Settings()` reads; `origins.load_settings` sets it."""


class Address(NamedTuple):
    """Where to listen. Port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The host and port in `HOST:PORT` or `[IPv6]:PORT`.

    Raises:
        ValueError: it has another form.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("write HOST:PORT, for example 127.0.0.1:7710; port 0 takes a free one")
    return Address(host, int(port))


def is_loopback(address: Address) -> bool:
    """Whether only this machine can reach the address. A name other than localhost is taken to be reachable."""
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost"


class Section(BaseModel):
    """A table of the settings file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(Section):
    """How the gRPC port is secured."""

    cert: Path | None = Field(default=None, description="PEM file of the collector's certificate and its chain")
    key: Path | None = Field(default=None, description="PEM file of the key of `cert`")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together; give both or neither")
        return self

    @property
    def on(self) -> bool:
        """Whether connections are encrypted."""
        return self.cert is not None


class Auth(Section):
    """Who may call."""

    mode: Literal["off", "token"] = Field(
        default="off", description="Whether a token is needed; `off` only on loopback: everybody may do everything"
    )


class FleetPace(Section):
    """How long hosts are waited for, in seconds. The intervals grow by themselves with the fleet."""

    heartbeat_seconds: Seconds = Field(default=10, description="Longest time between two messages of an agent")
    lease_seconds: Seconds = Field(default=30, description="Silence after which a host counts as unreachable")
    offer_seconds: Seconds = Field(default=20, description="How long an offered attempt waits for its host")
    lost_after_seconds: Seconds = Field(default=600, description="Time out of reach after which work is given away")
    orphan_grace_seconds: Seconds = Field(
        default=15, description="How long a closing record may take of an attempt that its host no longer knows"
    )
    check_seconds: Seconds = Field(default=1, description="How often leases and deadlines are looked at")
    siblings_seconds: Seconds = Field(
        default=600, description="How often devices are compared with others of their model, when anything was measured"
    )

    @model_validator(mode="after")
    def _lease_covers_heartbeats(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("lease_seconds must be at least twice heartbeat_seconds, or one late message loses a host")
        return self


Share = Annotated[float, Field(gt=0, lt=10, allow_inf_nan=False)]


class Detection(Section):
    """What counts as a regression, and how long a second measurement is waited for. Limits are shares: 0.02 is 2 %."""

    minor: Share = Field(default=0.02, description="Smallest worsening that matters")
    major: Share = Field(default=0.05, description="Worsening from which a regression is major")
    critical: Share = Field(default=0.10, description="Worsening from which a regression is critical")
    check_seconds: Seconds = Field(default=5, description="Longest time between two looks for runs to judge")
    confirm_start_seconds: Seconds = Field(default=900, description="How long a confirming run may wait for its host")
    processes: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="Processes that compute; 0 takes one for every two processors, 4 at most"
    )
    confirm_limit_seconds: Seconds = Field(default=3600, description="How long a verdict waits for a confirming run")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.minor < self.major < self.critical:
            raise ValueError("minor, major and critical must grow in this order, for example 0.02, 0.05, 0.10")
        return self


def _default_state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/tesserabench-collector")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "tesserabench-collector"


class Settings(BaseSettings):
    """Everything that the collector can be told. Frozen; made by `origins.load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=NESTED_DELIMITER,
        env_ignore_empty=True,
        validate_default=True,
    )

    grpc_listen: str = Field(default=f"127.0.0.1:{DEFAULT_PORT}", description="Address of the gRPC services")
    web_listen: str = Field(default=f"127.0.0.1:{DEFAULT_WEB_PORT}", description="Address of pages, health, metrics")
    web_url: str = Field(default="", description="Address of the pages as people reach them; default from web_listen")
    state_dir: Path = Field(
        default_factory=_default_state_dir, description="Folder of addresses.json and of a PostgreSQL of our own"
    )
    database_dsn: SecretStr = Field(
        default=SecretStr(""), description="PostgreSQL to use; empty starts one in the state folder"
    )
    database_pool_size: Annotated[int, Field(ge=2, le=200)] = Field(default=10, description="Connections kept open")
    migrate_on_start: bool = Field(default=True, description="Bring the schema up to date before serving")
    tls: Tls = Tls()
    auth: Auth = Auth()
    insecure: bool = Field(default=False, description="Listen beyond loopback without TLS, without tokens, to anybody")
    web_public: bool = Field(default=False, description="Let everybody who reaches web_listen read pages and metrics")
    fleet: FleetPace = FleetPace()
    detection: Detection = Detection()
    metrics_refresh_seconds: Seconds = Field(default=5, description="How often gauges are read from the database")
    max_series: Annotated[int, Field(ge=10)] = Field(default=5000, description="Most label sets of one metric")
    stop_seconds: Seconds = Field(default=10, description="How long running calls may take to end after SIGTERM")
    log_format: Literal["console", "json"] = Field(default="console", description="How log lines on stderr look")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env files: one place less to look
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - a DSN may name a passfile itself
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What a program passes, then variables, then the file."""
        path = toml_file.get()
        file = () if path is None else (TomlConfigSettingsSource(settings_cls, toml_file=path),)
        return (init_settings, env_settings, *file)

    @field_validator("grpc_listen", "web_listen")
    @classmethod
    def _valid_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @model_validator(mode="after")
    def _closed_beyond_loopback(self) -> Self:
        if self.insecure:
            return self
        guards = (("TLS (tls.cert, tls.key)", self.tls.on), ("tokens (auth.mode = token)", self.auth.mode == "token"))
        missing = [what for what, there in guards if not there]
        if missing and not is_loopback(self.grpc_address):
            raise ValueError(
                f"grpc_listen = {self.grpc_listen!r} is reachable from other machines without {' and '.join(missing)}; "
                "set them, listen on 127.0.0.1, or say insecure = true (--insecure)"
            )
        if not self.web_public and not is_loopback(self.web_address):
            raise ValueError(
                f"web_listen = {self.web_listen!r} lets other machines read pages and metrics, and nobody is asked who "
                "they are; say web_public = true, or listen on 127.0.0.1 behind a proxy that asks"
            )
        return self

    @property
    def grpc_address(self) -> Address:
        """Where the gRPC services listen."""
        return parse_address(self.grpc_listen)

    @property
    def web_address(self) -> Address:
        """Where pages, health and metrics are served."""
        return parse_address(self.web_listen)
