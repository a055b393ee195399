"""Writing local results in the formats of other tools."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tesserabench.cli.errors import CliError, UsageProblem
from tesserabench.cli.output.structured import as_json
from tesserabench.cli.settings.schema import near
from tesserabench.report.google_benchmark import google_benchmark_document
from tesserabench.report.nvbench import nvbench_export

FORMATS = ("nvbench", "google-benchmark")


def parse_export(text: str) -> tuple[str, str]:
    """Format and file of `nvbench=FILE`.

    Raises:
        UsageProblem: it has another form, or names another format.
    """
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise UsageProblem(f"--export {text!r} is not of the form FORMAT=FILE")
    if name not in FORMATS:
        hint = near(name, list(FORMATS)) or f"; there are: {', '.join(FORMATS)}"
        raise UsageProblem(f"--export {text!r}: no format {name!r}{hint}")
    return name, path


def write_export(name: str, path: str, results: Sequence[Mapping[str, Any]]) -> str:
    """Write the trials (as plain values) in a format, and say what was written.

    Raises:
        CliError: a file cannot be written.
    """
    target = Path(path)
    sidecars: Mapping[str, bytes] = {}
    if name == "nvbench":
        export = nvbench_export(results, target.name)
        document, sidecars = export.document, export.sidecars
    else:
        document = google_benchmark_document(results)
    try:
        # The document first: where that cannot be written no samples are left lying around.
        target.write_text(as_json(document) + "\n", encoding="utf-8")
        for relative, content in sidecars.items():
            beside = target.parent / relative
            beside.parent.mkdir(exist_ok=True)
            beside.write_bytes(content)
    except OSError as error:
        raise CliError(f"{path}: cannot be written ({error.strerror}); check the folder") from error
    return f"{path}{f' and {len(sidecars)} file(s) of samples beside it' if sidecars else ''}"


def read_results(path: str) -> list[Mapping[str, Any]]:
    """The trials of a file that `bench run --out` wrote, as plain values.

    Raises:
        CliError: it cannot be read.
        UsageProblem: it holds something else.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CliError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageProblem(f"{path} is no JSON ({error}); give a file written by: tbctl bench run --out") from error
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in {"TrialResult", "TrialResultList"}:
        raise UsageProblem(f"{path} holds {kind or 'no document'}; give a file written by: tbctl bench run --out")
    return list(data["items"]) if kind == "TrialResultList" else [data]
