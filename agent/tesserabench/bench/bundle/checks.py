"""What a check of a bundle is, and how one is made."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from tesserabench.bench.bundle.compiling import CompileError
from tesserabench.bench.bundle.expression import ExpressionError
from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.errors import BenchError
from tesserabench.bench.vocabulary import Tier


class Status(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: what, how it ended, and where and why when it failed or was left out."""

    subject: str
    status: Status
    message: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the check as JSON types."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Check":
        """Read what `to_dict` wrote."""
        return cls(subject=str(data["subject"]), status=Status(data["status"]), message=str(data.get("message", "")))


def check(subject: str, look: Callable[[], str]) -> Check:
    """Look at something: passed with what `look` says, failed with what it raises."""
    try:
        message = look()
    except (BenchError, ExpressionError, CompileError) as error:
        return Check(subject=subject, status=Status.FAILED, message=str(error))
    except Exception as error:  # noqa: BLE001 - a formula in Python may raise anything
        return Check(subject=subject, status=Status.FAILED, message=f"{type(error).__name__}: {error}")
    return Check(subject=subject, status=Status.PASSED, message=message)


def every_case(benchmark: Benchmark) -> list[Case]:
    """Return the cases of every tier on every kind of device, without repeats."""
    found = [
        case
        for kind in benchmark.devices
        for tier in Tier
        if benchmark.in_tier(tier, kind)
        for case in benchmark.cases(tier, kind)
    ]
    return list(dict.fromkeys(found))
