"""Calling tbctl from tests: in this process through its real entry point, or as a process of its own."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tesserabench.cli.main import run

CI_VARIABLES = ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "JENKINS_URL", "CI", "NO_COLOR")
PROCESS = (sys.executable, "-m", "tesserabench.cli")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What tbctl wrote and how it ended."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last line on stderr."""
        return self.err.rstrip("\n").rpartition("\n")[2]


@dataclass(kw_only=True)
class Tbctl:
    """Calls tbctl in this process, with the arguments that every call gets first."""

    capture: pytest.CaptureFixture[str]
    always: tuple[str, ...] = ()

    def __call__(self, *arguments: str) -> Said:
        """Run tbctl; what it wrote and its status."""
        self.capture.readouterr()
        status = run([*self.always, *arguments])
        captured = self.capture.readouterr()
        return Said(status=status, out=captured.out, err=captured.err)


@contextmanager
def clean_environment(folder: Path) -> Iterator[None]:
    """An environment without settings, CI or git around it, with `folder` as home and working folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("TBCTL_", "GITHUB_", "CI_", "BUILDKITE_", "GIT_")) or name in CI_VARIABLES:
                patch.delenv(name)
        for name, value in home_variables(folder).items():
            patch.setenv(name, value)
        patch.chdir(folder)
        yield


def home_variables(folder: Path) -> Mapping[str, str]:
    """Variables that keep tbctl inside `folder`."""
    return {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
