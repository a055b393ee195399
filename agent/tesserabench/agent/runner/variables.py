"""Variables that steer CUDA and its libraries: which of them spoil every measurement, and why."""

from collections.abc import Mapping

# Left behind by debugging or profiling; every launch afterwards is another one than users will see.
_SPOILING = {
    "CUDA_LAUNCH_BLOCKING": "every launch waits for its end",
    "CUDA_DEVICE_WAITS_ON_EXCEPTION": "a failing kernel waits for a debugger",
    "CUDA_ENABLE_COREDUMP_ON_EXCEPTION": "a failing kernel writes a core file",
    "CUDA_INJECTION64_PATH": "a profiler is loaded into every process",
    "CUDA_PROFILE": "every launch is profiled",
    "COMPUTE_PROFILE": "every launch is profiled",
    "CUDA_FORCE_PTX_JIT": "compiled kernels are ignored and compiled anew",
    "CUDA_CACHE_DISABLE": "compiled kernels are not kept",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "only a part of the multiprocessors is used",
    "NVIDIA_TF32_OVERRIDE": "libraries compute with another precision than they are asked for",
    "NVTX_INJECTION64_PATH": "a profiler is loaded into every process",
}
_OFF = frozenset({"", "0"})


def spoiling(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the variables of a process those that spoil measurements, with the reason; workers do not inherit them.

    NVIDIA_TF32_OVERRIDE=0 is an override too, the others are off at 0.
    """
    return {
        name: why
        for name, why in _SPOILING.items()
        if name in environ and (environ[name] not in _OFF or (name == "NVIDIA_TF32_OVERRIDE" and environ[name]))
    }


def spoiling_lines(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each of them."""
    return [
        f"the variable {name} is set ({why}); workers do not get it: unset it for the whole host"
        for name, why in spoiling(environ).items()
    ]
