"""Files of results are judged here as the collector judges what it has stored."""

import json
from pathlib import Path

from support.judging_services import Stubs
from support.laboratory import Conditions, Laboratory
from tesserabench.cli.file_comparison import compare_files
from tesserabench.cli.output.structured import list_document, plain
from tesserabench.v1.result_service_pb2 import CompareRequest, ListResultsRequest
from tesserabench.v1.run_pb2 import Verdict


async def _written(stubs: Stubs, run: int, folder: Path) -> str:
    """What `tbctl result list RUN -o json` writes."""
    answer = await stubs.results.ListResults(ListResultsRequest(run=f"runs/{run}", page_size=1000))
    path = folder / f"{run}.json"
    path.write_text(json.dumps(list_document("Result", [plain(item) for item in answer.results])), encoding="utf-8")
    return str(path)


async def test_files_and_the_collector_give_the_same_entries_byte_for_byte(
    laboratory: Laboratory, stubs: Stubs, tmp_path: Path
) -> None:
    slower = Conditions(
        factors={"copy[n=1]": 1.08, "gemm[n=512]": 0.9},
        failures={"reduce[n=1]": ("incorrect", "error 3 over 1e-3")},
    )
    base, head = await laboratory.run(), await laboratory.run(conditions=slower)
    asked = await stubs.results.Compare(CompareRequest(base=f"run:{base}", head=f"run:{head}"))
    here = compare_files(await _written(stubs, base, tmp_path), await _written(stubs, head, tmp_path))
    assert {entry.verdict for entry in here.entries} == {
        Verdict.VERDICT_REGRESSED,
        Verdict.VERDICT_IMPROVED,
        Verdict.VERDICT_INCONCLUSIVE,
    }
    stored, judged = ([entry.SerializeToString(deterministic=True) for entry in side.entries] for side in (asked, here))
    assert stored == judged
    assert (here.verdict, here.severity, here.summary) == (asked.verdict, asked.severity, asked.summary)
