"""What this host lets itself be asked to do: pure, from settings and an assignment to a refusal."""

from collections.abc import Sequence

from tesserabench.agent.errors import AttemptRefused
from tesserabench.agent.settings import Policy
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.run_pb2 import RunSpec

_AUTO_ORDER = ("cuda", "cpu", "simulated")


def check_policy(policy: Policy, spec: RunSpec) -> None:
    """Let a run pass that the settings allow.

    Raises:
        AttemptRefused: the policy forbids it; the reason names the key.
    """
    if "*" not in policy.suites and spec.suite not in policy.suites:
        allowed = ", ".join(policy.suites) or "none"
        raise AttemptRefused(f"suite {spec.suite!r} is not allowed on this host; policy.suites allows: {allowed}")
    if spec.drill and not policy.allow_drill:
        raise AttemptRefused("a drill is not allowed on this host; policy.allow_drill is false")


def allowed_kinds(devices: Sequence[str]) -> frozenset[str]:
    """The kinds of device that the setting `devices` allows; `auto` stands for the real ones."""
    return frozenset(kind for name in devices for kind in (("cpu", "cuda") if name == "auto" else (name,)))


def choose_device(wanted: str, devices: Sequence[Device]) -> tuple[Device, str]:
    """The device that a run asks for, and the scenario if it is a simulated one.

    `wanted` is `auto` or empty, a kind, `cuda:INDEX` or `simulated:NAME`; `devices` are those that may be measured.

    Raises:
        AttemptRefused: there is no such device; the reason says which there are.
    """
    kind, _, argument = (wanted or "auto").partition(":")
    if kind == "auto":
        ranked = sorted(devices, key=lambda device: _AUTO_ORDER.index(device.kind))
        if not ranked:
            raise AttemptRefused("this host offers no device; see the setting devices")
        return ranked[0], ""
    scenario = argument if kind == "simulated" else ""
    if scenario and not scenario.replace("_", "").replace("-", "").isalnum():
        # A path or a text from the network would be read with the agent's rights.
        raise AttemptRefused(f"device is {wanted!r}; a scenario is named by letters, digits, - and _")
    index = argument if kind != "simulated" else ""
    for device in devices:
        if device.kind == kind and (not index or index == str(device.index)):
            return device, scenario
    present = ", ".join(f"{device.kind}:{device.index}" for device in devices) or "none"
    raise AttemptRefused(f"device {wanted!r} is not available on this host; available (setting devices): {present}")
