"""Users' own benchmarks: a folder with `tesserabench.toml` and .py / .cu files, or an installed package.

    load_bundle(folder) -> Bundle            its own registry, private module names; BundleError when it cannot
    load_installed(name) -> Bundle           entry points of the group `tesserabench.benchmarks`
    installed_bundles() -> names
    find_bundle(spec) -> Bundle | None       a path that holds a bundle, or the name of an installed one
    cuda_source(path) -> str                 a CUDA source with its own includes written out

`Bundle.registry` goes wherever a registry goes: `plan_trial`, `measure_trial`, `run_locally`. Its facts (name and
digest) become part of the environment of every trial.
"""

import os
from pathlib import Path

from tesserabench.bench.bundle.loading import ENTRY_POINTS, Bundle, installed_bundles, load_bundle, load_installed
from tesserabench.bench.bundle.manifest import FILE_NAME
from tesserabench.bench.bundle.sources import cuda_source, digest_of
from tesserabench.bench.errors import BundleError

__all__ = [
    "ENTRY_POINTS",
    "FILE_NAME",
    "Bundle",
    "BundleError",
    "cuda_source",
    "digest_of",
    "find_bundle",
    "installed_bundles",
    "load_bundle",
    "load_installed",
    "names_a_folder",
]


def names_a_folder(spec: str) -> bool:
    """Tell whether a suite argument means a folder: it has a separator, begins with a dot or ends with the manifest."""
    return os.sep in spec or spec.startswith((".", "~")) or Path(spec).name == FILE_NAME


def find_bundle(spec: str) -> Bundle | None:
    """Return the bundle that `spec` means, or None when it means none: then it may be an installed suite."""
    if names_a_folder(spec):
        return load_bundle(Path(spec).expanduser())
    return load_installed(spec) if spec in installed_bundles() else None
