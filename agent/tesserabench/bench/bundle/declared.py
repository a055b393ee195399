"""A benchmark declared in a manifest: a CUDA kernel, its arguments, its formulas and its reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tesserabench.bench.bundle.expression import ARITHMETIC, ARRAY_FUNCTIONS, Expression
from tesserabench.bench.bundle.table import Table
from tesserabench.bench.case import ParamValue
from tesserabench.bench.definition import Axes, AxisValue
from tesserabench.bench.vocabulary import DeviceKind, Mode, Tier

ROLES = ("input", "output", "scalar")
DISTRIBUTIONS = ("normal", "uniform", "integers")
ARRAY_DTYPES = (
    *("float16", "float32", "float64"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
)
"""Elements that NumPy has, that a kernel's arguments can be made of, and that have a limit of their own."""
SCALAR_TYPES = ("int32", "uint32", "int64", "uint64", "float16", "float32", "float64")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FIELDS = (
    *("name", "summary", "source", "function", "version", "parameters", "tiers", "device_tiers", "grid", "block"),
    *("shared_bytes", "arguments", "defines", "options", "flops", "bytes", "items", "tolerance", "mode", "modes"),
    *("reference", "reference_kernel"),
)
_ARGUMENT_FIELDS = (*ROLES, "dtype", "shape", "distribution", "high", "value", "type")
_KERNEL_FIELDS = ("source", "function", "grid", "block", "shared_bytes", "defines", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a kernel, in the order of its signature; `dtype` may name a parameter."""

    name: str
    role: str
    dtype: str
    shape: tuple[Expression, ...] = ()
    distribution: str = "normal"
    high: Expression | None = None
    value: Expression | None = None

    def dtype_of(self, params: Mapping[str, ParamValue]) -> str:
        """Return the element type of a case."""
        return str(params.get(self.dtype, self.dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredKernel:
    """A kernel and how it is launched; formulas are over the parameters."""

    source: str
    function: str
    grid: tuple[Expression, ...]
    block: tuple[Expression, ...]
    shared_bytes: Expression
    defines: Mapping[str, Expression] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def definitions(self, params: Mapping[str, ParamValue]) -> dict[str, str]:
        """Return the compiler's definitions of a case."""
        return {name: _as_define(formula.value(params)) for name, formula in self.defines.items()}

    def launch_shape(self, params: Mapping[str, ParamValue]) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Return grid, block and bytes of dynamic shared memory of a case."""
        grid = tuple(formula.integer(params) for formula in self.grid)
        block = tuple(formula.integer(params) for formula in self.block)
        return grid, block, self.shared_bytes.integer(params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a manifest says of one benchmark."""

    name: str
    summary: str
    version: int
    table: Table
    kernel: DeclaredKernel
    arguments: tuple[Argument, ...]
    parameters: Axes
    tiers: Mapping[str, Axes]
    device_tiers: Mapping[str, Mapping[str, Axes]]
    flops: Expression | None
    bytes: Expression | None
    items: Expression | None
    tolerance: float | None
    mode: str
    modes: tuple[str, ...]
    reference: Mapping[str, Expression]
    reference_kernel: DeclaredKernel | None

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """The arguments that the kernel writes."""
        return tuple(item for item in self.arguments if item.role == "output")

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """The arguments that the kernel reads."""
        return tuple(item for item in self.arguments if item.role == "input")


def read_declared(table: Table) -> Declared:
    """Read one [[benchmark]] of a manifest; raise BundleError naming what is wrong with it."""
    table.allow(_FIELDS)
    parameters = _axes(table.table("parameters"))
    arguments = _arguments(table)
    found = Declared(
        name=table.text("name"),
        summary=table.text("summary"),
        version=table.integer("version", 1, least=1),
        table=table,
        kernel=_kernel(table),
        arguments=arguments,
        parameters=parameters,
        tiers={tier: _axes(table.table("tiers").table(tier)) for tier in _tiers(table.table("tiers"))},
        device_tiers=_device_tiers(table.table("device_tiers")),
        flops=table.formula("flops"),
        bytes=table.formula("bytes"),
        items=table.formula("items"),
        tolerance=_tolerance(table),
        mode=table.choice("mode", tuple(Mode), Mode.HOT),
        modes=table.texts("modes", tuple(Mode)),
        reference=_reference(table),
        reference_kernel=_kernel(table.table("reference_kernel")) if "reference_kernel" in table else None,
    )
    _check(found)
    return found


def _kernel(table: Table) -> DeclaredKernel:
    if table.path[-1] == "reference_kernel":
        table.allow(_KERNEL_FIELDS)
    shapes: dict[str, tuple[Expression, ...]] = {}
    for key in ("grid", "block"):
        shapes[key] = table.formulas(key)
        if not 1 <= len(shapes[key]) <= 3:
            raise table.error(key, f"is {table.data.get(key)!r}; it must be a list of one to three formulas")
    defines = table.table("defines")
    return DeclaredKernel(
        source=table.text("source"),
        function=table.text("function"),
        grid=shapes["grid"],
        block=shapes["block"],
        shared_bytes=table.formula("shared_bytes") or Expression.read("0"),
        defines={name: defines.read_formula(name, value, ARITHMETIC) for name, value in defines.data.items()},
        options=table.texts("options"),
    )


def _arguments(table: Table) -> tuple[Argument, ...]:
    found = [_argument(item) for item in table.tables("arguments")]
    names = [item.name for item in found]
    for name in names:
        if names.count(name) > 1:
            raise table.error("arguments", f"names {name!r} twice; every argument needs a name of its own")
    if not any(item.role == "output" for item in found):
        raise table.error("arguments", "has no output; say which argument the kernel writes with { output = ... }")
    return tuple(found)


def _argument(table: Table) -> Argument:
    table.allow(_ARGUMENT_FIELDS)
    roles = [role for role in ROLES if role in table]
    if len(roles) != 1:
        raise table.error(None, f"must have exactly one of: {', '.join(ROLES)}; it has {', '.join(roles) or 'none'}")
    role = roles[0]
    if role == "scalar":
        value = table.formula("value") or table.read_formula("value", table.text("scalar"), ARITHMETIC)
        dtype = table.choice("type", SCALAR_TYPES, str(table.data.get("dtype", "")))
        return Argument(name=table.text(role), role=role, dtype=dtype, value=value)
    shape = table.formulas("shape")
    if not shape:
        raise table.error("shape", "is missing; it must be a list of formulas, such as ['n']")
    return Argument(
        name=table.text(role),
        role=role,
        dtype=table.text("dtype"),
        shape=shape,
        distribution=table.choice("distribution", DISTRIBUTIONS, "normal"),
        high=table.formula("high"),
    )


def _axes(table: Table) -> Axes:
    axes: dict[str, tuple[AxisValue, ...]] = {}
    for name, values in table.data.items():
        if not isinstance(values, list) or not values:
            raise table.error(name, f"is {values!r}; it must be a list of at least one value")
        row: list[AxisValue] = [tuple(item) if isinstance(item, list) else item for item in values]
        for item in row:
            parts = item if isinstance(item, tuple) else (item,)
            if not all(isinstance(part, bool | int | float | str) for part in parts):
                raise table.error(name, f"contains {item!r}; values are numbers, texts or truth values")
        axes[name] = tuple(row)
    return axes


def _tiers(table: Table) -> tuple[str, ...]:
    table.allow(tuple(Tier))
    return tuple(table.data)


def _device_tiers(table: Table) -> dict[str, dict[str, Axes]]:
    table.allow(tuple(DeviceKind))
    return {
        kind: {tier: _axes(table.table(kind).table(tier)) for tier in _tiers(table.table(kind))} for kind in table.data
    }


def _tolerance(table: Table) -> float | None:
    value = table.data.get("tolerance")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise table.error("tolerance", f"is {value!r}; it must be a relative error of 0 or more and below 1")
    return float(value)


def _reference(table: Table) -> dict[str, Expression]:
    found = table.table("reference")
    return {name: found.read_formula(name, value, ARRAY_FUNCTIONS) for name, value in found.data.items()}


def _check(declared: Declared) -> None:
    """Refuse what contradicts itself between fields."""
    table = declared.table
    if not _NAME.fullmatch(declared.name):
        raise table.error("name", f"is {declared.name!r}; it must be letters, digits, '_', '.' and '-', at most 64")
    if bool(declared.reference) == (declared.reference_kernel is not None):
        raise table.error(
            None, "must have either [benchmark.reference] with a formula for every output or a reference_kernel"
        )
    outputs = {item.name for item in declared.outputs}
    if declared.reference and set(declared.reference) != outputs:
        raise table.error(
            "reference",
            f"has formulas for {', '.join(sorted(declared.reference))}, "
            f"but the outputs are {', '.join(sorted(outputs))}",
        )
    _check_arguments(declared)
    for mode in declared.modes:
        if mode not in set(Mode):
            raise table.error("modes", f"contains {mode!r}; modes are: {', '.join(Mode)}")


def _check_arguments(declared: Declared) -> None:
    table = declared.table
    domain = _domain(declared)
    for place, item in enumerate(declared.arguments):
        where = (*table.path, "arguments", place)
        if not item.name.isidentifier():
            raise table.source.error((*where, item.role), f"is {item.name!r}; it must be a name that formulas can use")
        for dtype in () if item.role == "scalar" else domain.get(item.dtype, (item.dtype,)):
            if dtype not in ARRAY_DTYPES:
                raise table.source.error(
                    (*where, "dtype"),
                    f"is {dtype!r}; it must be a parameter or one of: {', '.join(ARRAY_DTYPES)}",
                )
        if item.distribution == "integers" and item.high is None:
            raise table.source.error(
                (*table.path, "arguments", place, "high"), "is missing; integers need an upper end that they stay below"
            )


def _domain(declared: Declared) -> dict[str, tuple[ParamValue, ...]]:
    """Return every value that a parameter has in any tier."""
    found: dict[str, list[ParamValue]] = {}
    tiers = (axes for by_tier in declared.device_tiers.values() for axes in by_tier.values())
    for axes in (declared.parameters, *declared.tiers.values(), *tiers):
        for axis, rows in axes.items():
            for row in rows:
                parts = row if isinstance(row, tuple) else (row,)
                for name, value in zip(axis.split(","), parts, strict=False):
                    found.setdefault(name, []).append(value)
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items()}


def _as_define(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
