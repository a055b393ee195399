"""What the git working tree around a folder says about the code in it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tesserabench.cli.ci import BuildFacts, repository_of

_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """Commit, branch and repository of a working tree, and whether it holds changes that are in no commit."""

    facts: BuildFacts
    changed: bool = False


def read_checkout(folder: Path) -> Checkout:
    """The working tree around `folder`; nothing is known without git, or outside of a tree."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return Checkout(facts=BuildFacts())
    return Checkout(
        facts=BuildFacts(
            commit=commit,
            # Empty with a detached head.
            branch=_git(folder, "symbolic-ref", "--quiet", "--short", "HEAD"),
            repository=repository_of(_git(folder, "remote", "get-url", "origin")),
        ),
        changed=bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    )


def _git(folder: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
