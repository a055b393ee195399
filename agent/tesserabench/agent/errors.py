"""The exceptions of the agent, one tree.

The text of an error names the field or thing, its value and the remedy.

    AgentError                 exit_code: what the process ends with when nobody handles it
    ├── SettingsError          a settings file, variable or flag is wrong (exit 2)
    ├── Superseded             a newer process of this host has registered (exit 3)
    ├── StateDirUnusable       the state folder cannot be used (exit 4)
    │   └── StateDirLocked     another agent uses it
    ├── SpoolError             the disk log cannot take or give a record
    │   ├── DiskFull           the file system or the file's limit is reached
    │   ├── SpoolFull          the running attempt outgrew the limit of the settings
    │   └── SpoolCorrupt       the file is damaged
    ├── LinkError              the connection cannot even be tried (exit 2)
    └── RunnerError            an attempt cannot go on
        ├── AttemptRefused     this host may not or cannot run it; carries an outcome
        ├── DeviceBusy         the device stayed in use by others, or unfit to be measured
        └── ClocksRefused      the clocks cannot be locked as the settings say
"""


class AgentError(Exception):
    """Anything the agent raises on purpose; the text names the field or thing, its value and the remedy."""

    exit_code = 1


class SettingsError(AgentError):
    """A settings file, variable or flag is wrong."""

    exit_code = 2


class Superseded(AgentError):  # noqa: N818 - the word of the protocol
    """A newer process of this host has registered."""

    exit_code = 3


class StateDirUnusable(AgentError):  # noqa: N818 - says what is the matter
    """The state folder cannot be created or written."""

    exit_code = 4


class StateDirLocked(StateDirUnusable):
    """Another agent uses the state folder."""


class SpoolError(AgentError):
    """The disk log cannot take or give a record."""


class DiskFull(SpoolError):  # noqa: N818 - says what is the matter
    """The file system, or a limit on the file, leaves no room for a record."""


class SpoolFull(SpoolError):  # noqa: N818 - says what is the matter
    """The running attempt outgrew twice the limit of the settings."""


class SpoolCorrupt(SpoolError):  # noqa: N818 - says what is the matter
    """The file of the disk log is damaged."""


class LinkError(AgentError):
    """The connection cannot even be tried."""

    exit_code = 2


class RunnerError(AgentError):
    """An attempt cannot go on."""


class AttemptRefused(RunnerError):  # noqa: N818 - says what happened
    """This host may not, or cannot, run the attempt; the reason names the setting or the field."""


class DeviceBusy(RunnerError):  # noqa: N818 - says what is the matter
    """The device stayed in use by others, or unfit to be measured, for longer than the settings wait."""


class ClocksRefused(RunnerError):  # noqa: N818 - says what happened
    """The driver does not let this agent lock the clocks; the reason names the setting."""
