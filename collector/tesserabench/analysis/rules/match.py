"""Which series a rule is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tesserabench.analysis.rules.patterns import Patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a rule can be asked about: one series, or a whole run. What is empty is not known."""

    suite: str = ""
    benchmark: str = ""
    """Without its suite: `matmul`."""
    case: str = ""
    """Identity of the case, such as `gemm/matmul[m=4096,dtype=float16]`."""
    mode: str = ""
    metric: str = ""
    primary: bool | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    """Model of the device, or the host for a CPU."""
    hosts: tuple[str, ...] = ()
    """Every host that measured it."""
    branch: str = ""


WHOLE_RUN = frozenset({"suite", "branch"})
"""Keys of a match that are known before anything is measured."""

TEXT_KEYS = ("suite", "benchmark", "case", "mode", "metric", "device", "branch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a series must be like for a rule to be about it: all of it, and what is left out does not matter."""

    texts: Mapping[str, Patterns] = field(default_factory=dict)
    """Patterns by key of `TEXT_KEYS`."""
    parameters: Mapping[str, Patterns] = field(default_factory=dict)
    host: Patterns | None = None
    """All of the hosts must match: a rule about quiet hosts is not about a series that a restless one measured too."""
    primary: bool | None = None

    @property
    def keys(self) -> frozenset[str]:
        """What is asked for."""
        others = {"parameters": bool(self.parameters), "host": self.host, "primary": self.primary is not None}
        return frozenset(self.texts) | {key for key, asked in others.items() if asked}

    def allows_hosts(self, hosts: tuple[str, ...]) -> bool:
        """Whether all of these hosts match; none, which are not known, never do."""
        return self.host is None or (bool(hosts) and all(map(self.host.matches, hosts)))

    def obstacle(self, subject: Subject) -> str | None:
        """Why the rule is not about the subject, in a few words; None when it is."""
        for key, wanted in self.texts.items():
            names = names_of(key, subject)
            if not wanted.matches(*names):
                return _unlike(key, names[0], wanted)
        for name, wanted in self.parameters.items():
            text = subject.parameters.get(name, "")
            if not wanted.matches(text):
                return _unlike(f"parameter {name}", text, wanted)
        if self.host is not None:
            if not subject.hosts:
                return "its hosts are not known"
            strange = [host for host in subject.hosts if not self.host.matches(host)]
            if strange:
                return _unlike("host", strange[0], self.host)
        if self.primary is not None and subject.primary is not self.primary:
            return "the metric is not a primary one" if self.primary else "the metric is not a secondary one"
        return None


def names_of(key: str, subject: Subject) -> tuple[str, ...]:
    """What a subject is called under a key; a benchmark also by its suite's name: matmul, gemm/matmul."""
    text: str = getattr(subject, key)
    if key != "benchmark" or not subject.suite:
        return (text,)
    # Files of one machine write it with its suite, the collector without.
    short = text.removeprefix(f"{subject.suite}/")
    return short, f"{subject.suite}/{short}"


def _unlike(what: str, text: str, wanted: Patterns) -> str:
    if not text:
        return f"its {what} is not known"
    return f"{what} {text!r} is not {' or '.join(repr(pattern) for pattern in wanted.texts())}"
