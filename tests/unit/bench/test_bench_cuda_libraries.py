"""Bindings are found where CuPy finds them: on the loader's path, or as attributes that look for the library first."""

import sys
import types
from typing import Any

import pytest
from tesserabench.bench.device.cuda_libraries import load_binding

PACKAGE, NAME = "cupy_for_tests", "cupy_for_tests.cublas"


def package(monkeypatch: pytest.MonkeyPatch, **members: Any) -> Any:
    made: Any = types.ModuleType(PACKAGE)
    made.__path__ = []
    for name, member in members.items():
        setattr(made, name, member)
    monkeypatch.setitem(sys.modules, PACKAGE, made)
    return made


def test_binding_whose_library_is_on_the_path_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, cublas="looked for")
    binding = types.ModuleType(NAME)
    monkeypatch.setitem(sys.modules, NAME, binding)
    assert load_binding(NAME) is binding


def test_binding_whose_library_is_in_a_package_is_asked_for_as_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    binding = types.ModuleType(NAME)
    # As in CuPy: a function that loads the library, then the binding.
    package(monkeypatch, __getattr__={"cublas": binding}.__getitem__)
    assert load_binding(NAME) is binding


def test_library_that_is_nowhere_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch)
    with pytest.raises(ImportError, match=NAME):
        load_binding(NAME)

    def missing(name: str) -> Any:
        raise ImportError(f"no library for {name}")

    package(monkeypatch, __getattr__=missing)
    with pytest.raises(ImportError, match="no library for cublas"):
        load_binding(NAME)
