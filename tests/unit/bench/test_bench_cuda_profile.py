"""Profiles by Nsight Compute: the command, the table, and what is launched; the program itself stands in."""

import json
import stat
from pathlib import Path

import pytest
from support.fake_cupy import FakeGpu, install
from tesserabench.bench import Case, Params
from tesserabench.bench.device.cuda import launch_once
from tesserabench.bench.device.cuda.profile import (
    Profile,
    ProfiledKernel,
    find_ncu,
    parse_table,
    profile_case,
    profile_command,
)
from tesserabench.bench.errors import ProfileFailed

CASE = Case(benchmark="memory/copy", params=Params({"n": 1001, "dtype": "float32"}))
TABLE = """==PROF== Connected to process 4242
"ID","Process ID","Kernel Name","Block","gpu__time_duration.sum","sm__warps_active.avg.pct_of_peak_sustained_active"
"","","","","ns","%"
"0","4242","reduction","(256, 1, 1)","30,000","90.00"
"1","4242","reduction","(256, 1, 1)","10,000","10.00"
"""


def fake_ncu(folder: Path, *, writes: bool = True, prints: str = TABLE, status: int = 0, waits: bool = False) -> str:
    """Return a program that behaves as ncu does: profiles into its --export, prints its --import."""
    program, table = folder / "ncu", folder / "table"
    table.write_text(prints)
    # The program that is profiled keeps the pipes open when ncu alone is killed.
    body = "sleep 60" if waits else f'cat "{table}"\nexit {status}'
    report = 'echo "$@" > "$last"' if writes else ":"
    program.write_text(
        f"""#!/bin/sh
for word; do
  if [ "$past" = --import ]; then cat "{table}"; exit 0; fi
  if [ "$past" = --export ]; then last="$word"; fi
  past="$word"
done
{report}
{body}
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_profile_holds_the_kernels_and_the_report(tmp_path: Path) -> None:
    profile = profile_case(CASE, tmp_path / "reports", ncu=fake_ncu(tmp_path))
    assert profile.kernels == (
        ProfiledKernel(name="reduction", duration_ns=30_000.0, occupancy=0.9),
        ProfiledKernel(name="reduction", duration_ns=10_000.0, occupancy=0.1),
    )
    assert profile.artifact == tmp_path / "reports" / f"{CASE.hash}.ncu-rep"
    assert "--profile-from-start off" in profile.artifact.read_text()
    (metric,) = profile.metrics()
    assert (metric.name, metric.unit) == ("occupancy_achieved", "1")
    assert metric.value == pytest.approx(0.7)


def test_command_names_the_case_for_the_launcher() -> None:
    command = profile_command("/opt/ncu", CASE, Path("/tmp/x.ncu-rep"), device="cuda:1", seed=3)
    order = json.loads(command[-1])
    assert Case.from_dict(order["case"]) == CASE
    assert (order["device"], order["seed"]) == ("cuda:1", 3)
    assert command[0] == "/opt/ncu"


def test_program_is_looked_for_on_the_path(tmp_path: Path) -> None:
    program = fake_ncu(tmp_path)
    assert find_ncu({"PATH": str(tmp_path)}) == program
    assert find_ncu({"PATH": str(tmp_path / "nowhere")}) is None


def test_missing_program_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ProfileFailed, match="install Nsight Compute"):
        profile_case(CASE, tmp_path)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"prints": "==ERROR== ERR_NVGPUCTRPERM - no permission", "status": 1}, "NVreg_RestrictProfilingToAdminUsers"),
        ({"prints": "one\ntwo\nthree\nfour", "status": 9}, "ended with status 9: two; three; four"),
        ({"writes": False}, r"wrote no report for memory/copy\["),
        ({"prints": "no table"}, "no table with a column 'Kernel Name'"),
    ],
)
def test_what_ncu_cannot_do_is_said(tmp_path: Path, behaviour: dict[str, object], words: str) -> None:
    with pytest.raises(ProfileFailed, match=words):
        profile_case(CASE, tmp_path, ncu=fake_ncu(tmp_path, **behaviour))  # type: ignore[arg-type]


def test_program_that_hangs_or_is_none_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ProfileFailed, match=r"took longer than 0\.2 s"):
        profile_case(CASE, tmp_path, ncu=fake_ncu(tmp_path, waits=True), timeout_seconds=0.2)
    with pytest.raises(ProfileFailed, match="cannot be started"):
        profile_case(CASE, tmp_path, ncu=str(tmp_path / "nowhere"))


def test_uncounted_cells_are_absent() -> None:
    (kernel,) = parse_table('"ID","Kernel Name","gpu__time_duration.sum"\n"","","fortnight"\n"0","copy","3"\n')
    assert kernel == ProfiledKernel(name="copy", duration_ns=None, occupancy=None)
    assert Profile(kernels=(kernel,), artifact=Path("x")).metrics() == ()
    (odd,) = parse_table("\n".join(TABLE.splitlines()[:-1]).replace("90.00", "n/a"))
    assert (odd.duration_ns, odd.occupancy) == (30_000.0, None)


def test_second_launch_is_the_profiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    install(monkeypatch, gpu)
    assert launch_once.main([json.dumps({"case": CASE.to_dict(), "device": "cuda", "seed": 0})]) == 0
    assert gpu.launched[-4:] == ["copy", "profiler on", "copy", "profiler off"]


def test_launcher_without_a_device_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, FakeGpu(devices=0))
    assert launch_once.main([json.dumps({"case": CASE.to_dict(), "device": "cuda", "seed": 0})]) == 1
    assert "check that the NVIDIA driver is loaded" in capsys.readouterr().err
