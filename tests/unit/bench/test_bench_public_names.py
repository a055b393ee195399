import importlib
import pkgutil
import types

import tesserabench.bench


def test_every_public_name_exists_and_is_listed() -> None:
    names = {
        name
        for name, value in vars(tesserabench.bench).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert names == set(tesserabench.bench.__all__)


def test_no_module_hides_a_public_name() -> None:
    # Importing a sub-module binds its name in the package: a function of the same name would vanish.
    modules = {item.name for item in pkgutil.iter_modules(tesserabench.bench.__path__)}
    assert modules.isdisjoint(tesserabench.bench.__all__)


def test_every_module_imports() -> None:
    for item in pkgutil.walk_packages(tesserabench.bench.__path__, "tesserabench.bench."):
        assert importlib.import_module(item.name).__doc__
