"""CuPy's bindings of CUDA's libraries, wherever the libraries were installed."""

import importlib
from typing import Any


def load_binding(name: str) -> Any:
    """Return a module of CuPy that a library of CUDA is linked to, such as `cupy.cuda.cufft`.

    The loader finds such a library by itself only where it lies on its path. CuPy looks for it in NVIDIA's packages
    too, but only when the binding is asked for as an attribute of its package. Raises ImportError when there is none.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package, _, binding = name.rpartition(".")
        try:
            return getattr(importlib.import_module(package), binding)
        except AttributeError:
            raise error from None
