"""Every setting that tbctl knows: its key, its environment variable, where it may stand, and how its text is read."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.exit_codes import ExitMode
from tesserabench.cli.parsing import parse_boolean, parse_duration
from tesserabench.wire import DEFAULT_PORT

Value = str | float | int | bool | None

OUTPUTS = ("table", "wide", "json", "yaml", "csv")
FAIL_ON = ("none", "minor", "major", "critical", "any")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_MOST_RETRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `read` turns text into a value and raises UsageProblem without naming the setting."""

    key: str
    help: str
    read: Callable[[str], Value]
    default: Value = None
    variable: str = ""
    in_project_file: bool = True
    in_context: bool = False
    is_path: bool = False
    secret: bool = False


def read_text(text: str) -> str:
    """The text without blanks around it; refuses an empty one."""
    cleaned = text.strip()
    if not cleaned:
        raise UsageProblem("it is empty; give a value or leave the setting out")
    return cleaned


def read_choice(*choices: str) -> Callable[[str], str]:
    """A reader that takes one of `choices`."""

    def read(text: str) -> str:
        cleaned = text.strip().lower()
        if cleaned not in choices:
            raise UsageProblem(f"{text!r} is not one of {', '.join(choices)}")
        return cleaned

    return read


def read_project(text: str) -> str:
    """A project id."""
    if not _PROJECT.fullmatch(text.strip()):
        raise UsageProblem(f"{text!r} is no project; use 1 to 63 of a-z 0-9 _ -, starting with a letter or digit")
    return text.strip()


def read_retries(text: str) -> int:
    """How often a call is repeated."""
    if not text.strip().isdigit() or int(text) > _MOST_RETRIES:
        raise UsageProblem(f"{text!r} is no number of retries; give a whole number from 0 to {_MOST_RETRIES}")
    return int(text)


def read_positive_duration(text: str) -> float:
    """A duration above zero, in seconds."""
    seconds = parse_duration(text)
    if seconds <= 0:
        raise UsageProblem(f"{text!r} must be longer than zero, for example 15s")
    return seconds


def read_path(text: str) -> str:
    """A path; `~` is the home folder."""
    return str(Path(read_text(text)).expanduser())


def read_token(text: str) -> str:
    """A bearer token: printable ASCII without blanks. The error never repeats the text."""
    cleaned = text.strip()
    if not cleaned or not cleaned.isascii() or not cleaned.isprintable() or " " in cleaned:
        raise UsageProblem("it holds no token; a token is one word of printable ASCII characters")
    return cleaned


SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="server",
        help="address of the collector",
        read=read_text,
        default=f"127.0.0.1:{DEFAULT_PORT}",
        variable="TBCTL_SERVER",
        in_context=True,
    ),
    Setting(
        key="project", help="project", read=read_project, default="default", variable="TBCTL_PROJECT", in_context=True
    ),
    Setting(
        key="output",
        help="output format",
        read=read_choice(*OUTPUTS),
        default="table",
        variable="TBCTL_OUTPUT",
        in_context=True,
    ),
    Setting(
        key="timeout",
        help="longest wait for a run, 0 for ever",
        read=parse_duration,
        default=1800.0,
        variable="TBCTL_TIMEOUT",
    ),
    Setting(
        key="request-timeout",
        help="longest time for one call",
        read=read_positive_duration,
        default=15.0,
        variable="TBCTL_REQUEST_TIMEOUT",
    ),
    Setting(key="retries", help="repeats of a failed call", read=read_retries, default=3, variable="TBCTL_RETRIES"),
    Setting(
        key="ca-file",
        help="certificate authorities (PEM)",
        read=read_path,
        variable="TBCTL_CA_FILE",
        in_context=True,
        is_path=True,
    ),
    Setting(
        key="cert",
        help="client certificate (PEM)",
        read=read_path,
        variable="TBCTL_CERT",
        in_project_file=False,
        in_context=True,
        is_path=True,
    ),
    Setting(
        key="key",
        help="key of the client certificate (PEM)",
        read=read_path,
        variable="TBCTL_KEY",
        in_project_file=False,
        in_context=True,
        is_path=True,
    ),
    # Whoever can change a repository must not be able to switch off the encryption of those who build it.
    Setting(
        key="insecure",
        help="plaintext to other hosts",
        read=parse_boolean,
        default=False,
        variable="TBCTL_INSECURE",
        in_project_file=False,
        in_context=True,
    ),
    Setting(
        key="insecure-skip-verify",
        help="take any certificate",
        read=parse_boolean,
        default=False,
        variable="TBCTL_INSECURE_SKIP_VERIFY",
        in_project_file=False,
        in_context=True,
    ),
    Setting(
        key="exit-mode",
        help="scale of the exit status",
        read=read_choice(*ExitMode),
        default=ExitMode.STANDARD.value,
        variable="TBCTL_EXIT_MODE",
    ),
    Setting(key="wait", help="run trigger waits", read=parse_boolean, default=False, variable="TBCTL_WAIT"),
    Setting(
        key="fail-on",
        help="severity that fails a gate",
        read=read_choice(*FAIL_ON),
        default=None,
        variable="TBCTL_FAIL_ON",
    ),
    Setting(key="suite", help="suite to run when none is named", read=read_text, variable="TBCTL_SUITE"),
    Setting(key="base", help="branch to compare with", read=read_text, variable="TBCTL_BASE"),
    Setting(
        key="no-color",
        help="no colours",
        read=parse_boolean,
        default=False,
        variable="TBCTL_NO_COLOR",
        in_project_file=False,
    ),
    Setting(
        key="token",
        help="bearer token",
        read=read_token,
        variable="TBCTL_TOKEN",
        in_project_file=False,
        in_context=True,
        secret=True,
    ),
    Setting(
        key="token-file",
        help="file that holds the bearer token",
        read=read_path,
        variable="TBCTL_TOKEN_FILE",
        in_project_file=False,
        in_context=True,
        is_path=True,
    ),
)

BY_KEY: dict[str, Setting] = {setting.key: setting for setting in SETTINGS}


def near(word: str, choices: list[str]) -> str:
    """` (did you mean ...?)` for the choice that looks most like `word`, else nothing."""
    import difflib  # noqa: PLC0415 - slow to import, and needed only for an error

    matches = difflib.get_close_matches(word, choices, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
