"""A real systemd as process 1, in a container made from this system's own packages.

The tree is built once by debootstrap and cached under XDG_CACHE_HOME; each boot works on a copy in memory that is
forgotten. The container shares the machine's network and nothing else. It needs root and systemd-nspawn; where it
cannot be had, `tree_or_skip` says why and what to do about it.
"""

import fcntl
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from support.prometheus_stack import REPOSITORY, ends_with_parent
from support.waiting import wait_until

ROOTS = ("agent", "collector", "cli", "proto")
PREFIX = "/opt/tesserabench"
_REMEDY = "as root: apt-get install -y --no-install-recommends systemd-container debootstrap"


def _why_not() -> str | None:
    if os.geteuid() != 0:
        return "systemd-nspawn needs root; remedy: run the tests as root"
    missing = [name for name in ("systemd-nspawn", "debootstrap", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}; remedy: {_REMEDY}"
    probe = subprocess.run(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
        check=False,
        capture_output=True,
        text=True,
    )
    if probe.returncode:
        said = probe.stderr.strip()
        return f"this machine lets nobody make namespaces and mounts ({said}); remedy: run on a host or in a full VM"
    return None


def tree_or_skip() -> Path:
    """Return the folder of a bootable system, built when there is none; skip the test where that is impossible."""
    if reason := _why_not():
        pytest.skip(reason)
    release = platform.freedesktop_os_release()
    codename = release.get("VERSION_CODENAME", "")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tesserabench" / "nspawn-tree"
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / codename
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            _build(tree, codename)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not (tree / "usr" / "bin" / version).exists():
        pytest.skip(
            f"the packages of .venv are for {version}, which {release.get('PRETTY_NAME', 'this system')} does not have"
            " as its own; remedy: make clean test PYTHON=/usr/bin/python3"
        )
    return tree


def _build(tree: Path, codename: str) -> None:
    mirror = _mirror(codename)
    part = tree.with_name(f"{tree.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    built = subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,python3", codename, part, mirror],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    if built.returncode:
        shutil.rmtree(part, ignore_errors=True)
        pytest.skip(f"debootstrap could not make a {codename!r} tree: {built.stdout[-300:]}{built.stderr[-300:]}")
    part.rename(tree)


def _mirror(codename: str) -> str:
    """Where this system's own packages come from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Created-By: Packages"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    for line in listed.splitlines():
        name, _, site = line.partition(" ")
        if name == codename:
            return site
    pytest.skip(f"apt knows no source for {codename!r}; remedy: apt-get update")


def installation(folder: Path) -> dict[str, str]:
    """Lay out an installation under `folder`; return what to mount where (source to target).

    It is what `pip install` makes at /opt/tesserabench, with the packages of this test run and this checkout's code.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    binaries = folder / "bin"
    binaries.mkdir()
    (binaries / "python").symlink_to(f"/usr/bin/{version}")
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    sources = {str(REPOSITORY / root): f"/opt/source/{root}" for root in ROOTS}
    (site / "source.pth").write_text("\n".join(["/opt/packages", *sources.values()]) + "\n")
    for name in ("agent", "collector"):
        script = binaries / f"tesserabench-{name}"
        script.write_text(
            f"#!{PREFIX}/bin/python\nimport sys\nfrom tesserabench.{name}.main import main\nsys.exit(main())\n"
        )
        script.chmod(0o755)
    packages = Path(pytest.__file__).parents[1]
    return {str(folder): PREFIX, str(packages): "/opt/packages", **sources}


class BootedTree:
    """A container with systemd running in it, on a copy of `tree` that lasts as long as the container.

    `mounts` are shown read-only inside: source to target.
    """

    def __init__(self, tree: Path, log: Path, mounts: Mapping[str, str]) -> None:
        self._tree = tree
        self._log = log
        self._mounts = mounts
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def start(self) -> Self:
        """Boot.

        Raises:
            AssertionError: it did not come up; the message ends with what systemd-nspawn said.
        """
        with self._log.open("wb") as output:
            self._nspawn = subprocess.Popen(
                [
                    *ends_with_parent(),
                    "systemd-nspawn",
                    f"--directory={self._tree}",
                    f"--machine=tesserabench-{os.getpid()}",
                    "--volatile=overlay",
                    "--boot",
                    "--register=no",
                    "--keep-unit",
                    "--console=pipe",
                    "--resolv-conf=off",
                    *(f"--bind-ro={source}:{target}" for source, target in self._mounts.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._booted, seconds=60, what="systemd in the container")
        except AssertionError as error:
            self.stop()
            message = f"{error}: {self._log.read_text()[-2000:]}"
            raise AssertionError(message) from None
        return self

    def stop(self) -> None:
        """Shut it down in order, and by force when that fails."""
        if self._nspawn is None:
            return
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(10)
        self._nspawn = None

    def __enter__(self) -> Self:
        """Boot."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut down."""
        self.stop()

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program inside as root; return what it printed."""
        done = subprocess.run(self._inside(command), check=False, capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            message = f"{' '.join(command)}: exit status {done.returncode}: {done.stdout}{done.stderr}"
            raise AssertionError(message)
        return done.stdout

    def start_unit(self, unit: str) -> None:
        """Start a unit and wait until it says that it is ready.

        Raises:
            AssertionError: it did not start; the message ends with its journal.
        """
        done = subprocess.run(
            self._inside(["systemctl", "start", unit]), check=False, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            message = f"{unit} did not start: {done.stderr}{self.journal(unit)[-3000:]}"
            raise AssertionError(message)

    def show(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str) -> str:
        """Return what a unit has logged."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}", check=False)

    def write(self, path: str, text: str) -> None:
        """Create a file inside, mode 0644, with its folders."""
        self.run("mkdir", "-p", str(Path(path).parent))
        subprocess.run(self._inside(["dd", f"of={path}", "status=none"]), check=True, input=text.encode(), timeout=30)

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--target={self._leader}", "--all", "--", *command]

    def _booted(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            message = f"systemd-nspawn ended with {self._nspawn.returncode}"
            raise AssertionError(message)
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        if not children:
            return False
        self._leader = int(children[0])
        state = subprocess.run(
            self._inside(["systemctl", "is-system-running"]), check=False, capture_output=True, text=True, timeout=30
        )
        return state.stdout.strip() in {"running", "degraded"}
