"""The tutorial for one's own kernels works as it stands: its files are written and its commands run, in order."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "your-own-kernels.md"
_BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A file to write, a command to run with its status, or an output that must have been told."""

    file: str = ""
    text: str = ""
    status: int = 0


def steps() -> Iterator[Step]:
    for language, file, text in _BLOCK.findall(PAGE.read_text()):
        if file:
            yield Step(file=file, text=text)
        elif language == "sh":
            for line in text.splitlines():
                command, _, status = line.partition("# exit ")
                yield Step(text=command.strip(), status=int(status or 0))
        elif language == "text":
            yield Step(file="<output>", text=text.strip())


def test_every_step_of_the_tutorial_works(tmp_path: Path) -> None:
    if find_spec("cupy_backends") is None:
        pytest.skip("NVRTC is not installed: the tutorial compiles kernels")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ran, told = 0, ""
    for step in steps():
        if step.file == "<output>":
            assert step.text in told
        elif step.file:
            path = tmp_path / step.file
            assert path.parent.is_dir(), step.file
            path.write_text(step.text)
        else:
            done = subprocess.run(
                ["bash", "-c", step.text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=240,
            )
            assert done.returncode == step.status, f"{step.text}\n{done.stdout}\n{done.stderr}"
            ran, told = ran + 1, told + done.stdout
    assert ran >= 15
    assert (tmp_path / "rows.json").is_file()
    assert (tmp_path / "full.json").is_file()
