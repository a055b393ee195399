"""Bundles: a folder becomes a registry of its own, and a wrong one becomes one clear sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from tesserabench.bench import INSTALLED, DeviceKind, Outcome, Tier, open_device, run_locally
from tesserabench.bench.bundle import (
    BundleError,
    cuda_source,
    find_bundle,
    installed_bundles,
    load_bundle,
    load_installed,
)
from tesserabench.bench.duet.arms import Arm, load_arm

MANIFEST = """\
schema = 1
name = "mine"
summary = "kernels of mine"
modules = ["work"]

[[benchmark]]
name = "scaled"
summary = "out = 2 x"
source = "scaled.cu"
function = "scaled"
grid = ["ceil_div(n, 256)"]
block = [256]
arguments = [
  { input = "x", dtype = "float32", shape = ["n"] },
  { output = "out", dtype = "float32", shape = ["n"] },
  { scalar = "n", type = "uint64" },
]
bytes = "8 * n"

[benchmark.parameters]
n = [4096, 65536]

[benchmark.tiers.smoke]
n = [4096]

[benchmark.reference]
out = "2.0 * x"
"""
WORK = """\
from tesserabench.bench import benchmark

from .amount import AMOUNT


@benchmark(name="doubled", summary="y = 2 x", parameters={"n": (AMOUNT,)}, bytes=lambda p: 16 * p.integer("n"))
def doubled(device, params, seed):
    import numpy as np
    from tesserabench.bench.inputs import normal

    class Work:
        def __init__(self):
            self.x = normal(np, params.integer("n"), "float64", seed=seed)
            self.y = np.empty_like(self.x)
        def launch(self):
            np.multiply(self.x, 2.0, out=self.y)
        def poison(self):
            self.y.view("uint8").fill(0xFF)
        def outputs(self):
            return {"y": self.y.copy()}
        def reference(self):
            return {"y": self.x + self.x}

    return Work()
"""
KERNEL = """\
extern "C" __global__ void scaled(const float* x, float* out, unsigned long long n) {
  unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
  if (i < n) out[i] = 2.0f * x[i];
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "mine")


def make(folder: Path, *, amount: int = 1024) -> Path:
    folder.mkdir()
    (folder / "tesserabench.toml").write_text(MANIFEST)
    (folder / "work.py").write_text(WORK)
    (folder / "amount.py").write_text(f"AMOUNT = {amount}\n")
    (folder / "scaled.cu").write_text(KERNEL)
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_bundle_declares_in_its_manifest_and_in_python(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.suites == ("mine",)
    scaled, doubled = bundle.registry.find_suite("mine").benchmarks
    assert (scaled.name, doubled.name) == ("mine/scaled", "mine/doubled")
    assert scaled.devices == (DeviceKind.CUDA, DeviceKind.SIMULATED)
    (case,) = scaled.cases(Tier.SMOKE, DeviceKind.CUDA)
    assert case.id == "mine/scaled[n=4096]"
    assert scaled.bytes is not None
    assert scaled.bytes(case.params) == 8 * 4096


def test_bundle_is_measured_and_its_digest_is_part_of_the_environment(folder: Path) -> None:
    bundle = load_bundle(folder)
    result = run_locally("mine", device="cpu", registry=bundle.registry)
    assert [(item.case_id, item.outcome) for item in result.measurements] == [("mine/doubled[n=1024]", Outcome.OK)]
    assert result.header is not None
    assert result.header.environment.facts["bundle.digest"] == bundle.digest
    simulated = run_locally("mine", device="simulated", registry=bundle.registry)
    assert {item.case.benchmark for item in simulated.measurements} == {"mine/doubled", "mine/scaled"}


def test_two_versions_of_a_bundle_stand_side_by_side(tmp_path: Path) -> None:
    old, new = load_bundle(make(tmp_path / "old", amount=16)), load_bundle(make(tmp_path / "new", amount=32))
    assert old.digest != new.digest
    with open_device("cpu") as device:
        for bundle, amount in ((old, 16), (new, 32)):
            found = bundle.registry.find_benchmark("mine/doubled")
            case = found.cases(Tier.SMOKE, DeviceKind.CPU)[0]
            assert device.prepare(found, case, 0).outputs()["y"].size == amount
    assert "mine" not in {suite.name for suite in INSTALLED.suites()}


def test_digest_counts_contents_and_names_but_no_results(folder: Path) -> None:
    first = load_bundle(folder).digest
    (folder / "result.json").write_text("{}")
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "x.py").write_text("1")
    assert load_bundle(folder).digest == first
    (folder / "scaled.cu").write_text(KERNEL + "// changed\n")
    assert load_bundle(folder).digest != first


def test_reading_a_bundle_needs_no_numpy(folder: Path) -> None:
    rewrite(folder / "tesserabench.toml", 'modules = ["work"]\n', "")
    code = (
        "import sys; from tesserabench.bench.bundle import load_bundle; load_bundle(sys.argv[1]);"
        "assert not {'numpy', 'cupy'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)


def test_suite_argument_means_a_folder_only_when_it_looks_like_one(folder: Path) -> None:
    assert find_bundle("gemm") is None
    found = find_bundle(str(folder))
    assert found is not None
    assert found.name == "mine"
    assert find_bundle(str(folder / "tesserabench.toml")) is not None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema = 1", "", "schema is missing; this engine reads 1: write schema = 1"),
        ("schema = 1", "schema = 2", "tesserabench.toml:1: schema is 2"),
        ('name = "mine"', 'name = "My Kernels"', "tesserabench.toml:2: name is 'My Kernels'"),
        ('name = "mine"', 'name = "gemm"', "name 'gemm' is that of an installed suite"),
        ('summary = "kernels of mine"', "summry = 1", "did you mean 'summary'?"),
        ('modules = ["work"]', 'modules = ["wrk"]', "tesserabench.toml:4: modules names 'wrk', but there is no file"),
        ('modules = ["work"]', 'modules = ["../work"]', "write modules as Python does"),
        ('modules = ["work"]', 'requires = ">=99"', "requires is '>=99', but version"),
        ('modules = ["work"]', 'requires = "new"', "write versions such as"),
        ('modules = ["work"]', '[defaults]\ntier = "quick"', "defaults.tier is 'quick'; it must be one of: smoke"),
        ('modules = ["work"]', "[defaults]\ntarget = 0", "defaults.target is 0; it must be a number above zero"),
        ('modules = ["work"]', "[defaults]\nbudget = 3", "did you mean 'budget_seconds'?"),
        ("[[benchmark]]", "[[benchmark]", "is no valid TOML"),
        ("block = [256]", "", "block is None; it must be a list of one to three formulas"),
        ('grid = ["ceil_div(n, 256)"]', 'grid = ["n.bit_length()"]', "tesserabench.toml:11: benchmark[0].grid"),
        ('bytes = "8 * n"', 'bytes = "open(n)"', "calls open; allowed are"),
        ('bytes = "8 * n"', 'byts = "8 * n"', "did you mean 'bytes'?"),
        ('bytes = "8 * n"', "tolerance = 3", "tolerance is 3; it must be a relative error"),
        ('bytes = "8 * n"', 'mode = "warm"', "mode is 'warm'; it must be one of: hot"),
        ('{ output = "out"', '{ input = "out"', "has no output"),
        ('{ output = "out"', '{ output = "x"', "names 'x' twice"),
        ('{ scalar = "n", type = "uint64" }', '{ scalar = "n", type = "u64" }', "arguments[2].type is 'u64'"),
        ('{ input = "x", dtype = "float32"', '{ input = "x", dtype = "float7"', "arguments[0].dtype is 'float7'"),
        ('{ input = "x", dtype = "float32"', '{ input = "x", dtype = "complex64"', "arguments[0].dtype is 'complex64'"),
        ('{ input = "x", dtype = "float32"', '{ input = "x-1", dtype = "float32"', "arguments[0].input is 'x-1'"),
        ('{ input = "x", dtype = "float32"', '{ input = "x", dtype = "n"', "arguments[0].dtype is 4096; it must be"),
        ('name = "scaled"', 'name = "a/b"', "benchmark[0].name is 'a/b'; it must be letters"),
        ("n = [4096, 65536]", "n = []", "n is []; it must be a list of at least one value"),
        ("[benchmark.tiers.smoke]", "[benchmark.tiers.quick]", "quick is no field of this table"),
        ("[benchmark.tiers.smoke]\nn", "[benchmark.tiers.smoke]\nm", "tier axis 'm' is not among its parameters"),
        ('out = "2.0 * x"', 'outt = "2.0 * x"', "has formulas for outt, but the outputs are out"),
        ('[benchmark.reference]\nout = "2.0 * x"', "", "must have either [benchmark.reference]"),
        ('name = "scaled"', 'name = "doubled"', "benchmark 'mine/doubled' is registered twice"),
    ],
)
def test_wrong_manifest_is_one_sentence_with_its_line(old: str, new: str, says: str, folder: Path) -> None:
    rewrite(folder / "tesserabench.toml", old, new)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def broken(:\n", "work.py:1: is no valid Python"),
        ("x = 1\nraise ValueError('no')\n", "work.py:2: raises ValueError while it is imported: no"),
        ("import amount\n", "write: from . import amount"),
        ("import not_a_package_at_all\n", "needs the package 'not_a_package_at_all', which is not installed"),
        ("import sys\nsys.exit(3)\n", "work.py:2: ends the process while it is imported"),
        (
            "from tesserabench.bench import suite\nsuite('memory', summary='x')\n",
            "name 'memory' is that of an installed suite",
        ),
        (
            "from tesserabench.bench import INSTALLED\nINSTALLED.suite('x', summary='y')\n",
            "would be added to the installed benchmarks",
        ),
        (
            "from tesserabench.bench import benchmark as b\nb(name='a', suite='b', summary='', parameters={})(print)\n",
            "names the undeclared suite 'b'",
        ),
    ],
)
def test_module_that_cannot_be_imported_is_one_sentence_with_its_line(text: str, says: str, folder: Path) -> None:
    (folder / "work.py").write_text(text)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert says in str(caught.value)


def test_folder_without_benchmarks_or_manifest_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    (folder / "tesserabench.toml").write_text('schema = 1\nname = "mine"\nsummary = "nothing"\n')
    with pytest.raises(BundleError, match=r"declares no benchmark; add a \[\[benchmark\]\] table"):
        load_bundle(folder)
    with pytest.raises(BundleError, match=r"holds no tesserabench\.toml; begin one with: tbctl bench new"):
        load_bundle(tmp_path)
    with pytest.raises(BundleError, match="is no folder"):
        load_bundle(tmp_path / "nowhere")
    (folder / "tesserabench.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(BundleError, match="not UTF-8"):
        load_bundle(folder)


def test_includes_of_a_bundle_are_written_out_with_true_lines(tmp_path: Path) -> None:
    (tmp_path / "a.cu").write_text('#include "parts/b.cuh"\n#include "parts/b.cuh"\n#include <cuda_fp16.h>\nint a;\n')
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "b.cuh").write_text('#pragma once\n#include "c.cuh"\nint b;\n')
    (tmp_path / "parts" / "c.cuh").write_text("#pragma once\nint c;\n")
    text = cuda_source(tmp_path / "a.cu")
    assert text.count("int b;") == text.count("int c;") == 1
    assert "#include <cuda_fp16.h>" in text
    assert '#line 3 "a.cu"\n' in text.replace("\n\n", "\n") or '#line 2 "a.cu"' in text


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.cu": '#include "b.cuh"\n', "b.cuh": '#include "a.cu"\n'}, "include each other without end"),
        ({"a.cu": '\n#include "gone.cuh"\n'}, "a.cu:2: includes 'gone.cuh', which is not there"),
        ({"a.cu": '#include "../secret.h"\n'}, "which lies outside"),
        ({"b.cu": ""}, "file 'a.cu' is not there"),
    ],
)
def test_include_that_cannot_be_followed_names_its_line(files: dict[str, str], says: str, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (tmp_path / "secret.h").write_text("")
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(BundleError) as caught:
        cuda_source(folder / "a.cu")
    assert says in str(caught.value)


PLAIN = """\
from tesserabench.bench import benchmark
from tesserabench.bench.workloads.bare import BareWork


@benchmark(name="call", summary="a call", parameters={"n": (1,)})
def call(device, params, seed):
    return BareWork(lambda: None)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that offers `plain`, `held` (with a manifest) and `gone`."""
    site = tmp_path / "site"
    (site / "plain_package").mkdir(parents=True)
    (site / "plain_package" / "__init__.py").write_text(PLAIN)
    make(site / "held_package")
    (site / "held_package" / "__init__.py").write_text("")
    about = site / "offered-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text(
        "[tesserabench.benchmarks]\nplain = plain_package\nheld = held_package\ngone = gone_package\n"
    )
    monkeypatch.syspath_prepend(str(site))
    return site


def test_installed_package_offers_benchmarks_by_an_entry_point(installed: Path) -> None:
    assert installed_bundles() == ("gone", "held", "plain")
    bundle = load_installed("plain")
    assert (bundle.suites, bundle.version) == (("plain",), "1.5")
    assert bundle.registry.find_benchmark("plain/call").summary == "a call"
    assert bundle.registry.facts["bundle.version"] == "1.5"
    again = find_bundle("plain")
    assert again is not None
    assert again.registry.find_benchmark("plain/call") is not bundle.registry.find_benchmark("plain/call")
    assert load_installed("held").name == "mine"


def test_broken_entry_point_is_one_sentence(installed: Path) -> None:
    with pytest.raises(BundleError, match="entry point gone = gone_package: names a module that is not there"):
        load_installed("gone")
    with pytest.raises(BundleError, match="did you mean 'plain'"):
        load_installed("plane")
    (installed / "plain_package" / "__init__.py").write_text("x = 1\nraise OSError('no disk')\n")
    with pytest.raises(BundleError, match=r"__init__\.py:2: raises OSError while it is imported: no disk"):
        load_installed("plain")


def test_two_folders_are_two_arms_of_a_comparison(tmp_path: Path) -> None:
    old, new = make(tmp_path / "old", amount=16), make(tmp_path / "new", amount=32)
    arms = [load_arm(Arm(spec=str(folder)), tier="smoke", device_kind="cpu") for folder in (old, new)]
    assert [arm.bundle for arm in arms] == [str(old), str(new)]
    assert [[case.id for case in arm.cases] for arm in arms] == [["mine/doubled[n=16]"], ["mine/doubled[n=32]"]]
    # What a worker is told is loaded again there, and must be the same.
    assert load_bundle(str(arms[0].bundle)).digest == load_bundle(old).digest
