"""The suites that this installation can run, as the inventory tells them."""

from collections.abc import Collection

from tesserabench.v1.host_pb2 import BenchmarkInfo, ParameterValues, SuiteInfo


def installed_suites(kinds: Collection[str]) -> tuple[SuiteInfo, ...]:
    """Every suite with its benchmarks that run on one of these kinds of device; suites without any are left out."""
    from tesserabench.bench import engine_version, suites  # noqa: PLC0415 - the look-up imports NumPy
    from tesserabench.bench.case import render_value  # noqa: PLC0415 - see above

    found: list[SuiteInfo] = []
    for suite in suites():
        benchmarks = [
            BenchmarkInfo(
                name=item.short_name if item.suite == suite.name else item.name,
                summary=item.summary,
                parameters={
                    name: ParameterValues(values=[render_value(value) for value in values])
                    for name, values in item.domain.items()
                },
                devices=[kind.value for kind in item.devices],
            )
            for item in suite.benchmarks
            if any(kind.value in kinds for kind in item.devices)
        ]
        if benchmarks:
            found.append(
                SuiteInfo(name=suite.name, summary=suite.summary, version=engine_version(), benchmarks=benchmarks)
            )
    return tuple(found)
