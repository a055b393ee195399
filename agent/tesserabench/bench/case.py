"""A case: one benchmark with every parameter fixed."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tesserabench.bench.errors import InvalidPlan

ParamValue = bool | int | float | str


class Params(Mapping[str, ParamValue]):
    """Parameters in declaration order, read through getters that check the type once."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, ParamValue]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> ParamValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self._values == other._values

    def __repr__(self) -> str:
        return f"Params({self._values!r})"

    def integer(self, name: str) -> int:
        """Return the integer parameter `name`."""
        value = self[name]
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidPlan(f"parameter {name!r} is {value!r}; it must be an integer")
        return value

    def text(self, name: str) -> str:
        """Return the text parameter `name`."""
        value = self[name]
        if not isinstance(value, str):
            raise InvalidPlan(f"parameter {name!r} is {value!r}; it must be a text")
        return value


def render_value(value: ParamValue) -> str:
    """Return a parameter's value as it stands in a case id and as an override would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One benchmark with fixed parameters; `version` is that of the benchmark's definition."""

    benchmark: str
    params: Params = field(default_factory=lambda: Params({}))
    version: int = 1

    @property
    def id(self) -> str:
        """The readable name, such as `gemm/matmul[m=512,n=512,k=512,dtype=float32]`."""
        inner = ",".join(f"{name}={render_value(value)}" for name, value in self.params.items())
        return f"{self.benchmark}[{inner}]" if inner else self.benchmark

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits, the same in every process and release for the same work.

        The order of the parameters does not matter; the benchmark's version does.
        """
        canonical = json.dumps([self.benchmark, self.version, sorted(self.params.items())], separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, object]:
        """Return the case as JSON types."""
        return {"benchmark": self.benchmark, "params": dict(self.params), "version": self.version}

    @classmethod
    def from_dict(cls, data: object) -> "Case":
        """Read what `to_dict` wrote; raise InvalidPlan naming the field that is wrong."""
        if not isinstance(data, Mapping) or not isinstance(data.get("benchmark"), str):
            raise InvalidPlan(f"case is {data!r}; it must be an object with a text field 'benchmark'")
        params, version = data.get("params", {}), data.get("version", 1)
        if not isinstance(params, Mapping):
            raise InvalidPlan(f"case.params is {params!r}; it must be an object")
        for name, value in params.items():
            if not isinstance(value, bool | int | float | str) or (
                isinstance(value, float) and not math.isfinite(value)
            ):
                raise InvalidPlan(
                    f"case.params.{name} is {value!r}; it must be a text, a finite number or a truth value"
                )
        if isinstance(version, bool) or not isinstance(version, int):
            raise InvalidPlan(f"case.version is {version!r}; it must be an integer")
        return cls(benchmark=data["benchmark"], params=Params(params), version=version)
