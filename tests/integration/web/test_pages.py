import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, update
from support.laboratory import Conditions, Laboratory, Request, branch, drilled
from tesserabench.collector.core import regressions, triage
from tesserabench.collector.core.regressions import Act, NewFinding, Subject
from tesserabench.collector.core.spec import GateSpec, Revision
from tesserabench.collector.store import comparisons
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import (
    CaseResult,
    Host,
    IdenticalComparison,
    Regression,
    RegressionMember,
    Run,
    Series,
)
from tesserabench.collector.store.words import FindingKind, Severity
from tesserabench.collector.web import app, pages

SLOW = Conditions(factors={"gemm[n=512]": 1.10})
EVIL = "<script>alert(1)</script>\"'&"
_VOID = {"meta", "link", "br"}


@pytest.fixture
def laboratory(database: Database) -> Laboratory:
    return Laboratory(database)


@pytest_asyncio.fixture
async def browser(laboratory: Laboratory) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app.build(pages.routes(laboratory.database, laboratory.clock)))
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as browser:
        yield browser


class Reading(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"{tag} closes nothing"
        assert self._open.pop() == tag, f"{tag} closes the wrong element"

    def handle_data(self, data: str) -> None:
        self.text += data


async def read(browser: httpx.AsyncClient, path: str, code: int = 200) -> Reading:
    answer = await browser.get(path)
    assert answer.status_code == code, answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    reading = Reading(answer.text)
    assert "script" not in reading.tags
    assert not {name for name in reading.attributes if name == "style" or name.startswith("on")}
    return reading


async def test_a_new_collector_says_what_to_do_next(browser: httpx.AsyncClient) -> None:
    page = await read(browser, "/")
    assert "tbctl run trigger" in page.text
    assert "0 / 0" in page.text


async def test_the_overview_shows_regressions_and_runs(laboratory: Laboratory, browser: httpx.AsyncClient) -> None:
    await laboratory.run(branch("main"))
    second = await laboratory.run(branch("main"), SLOW)
    await laboratory.confirm(second, SLOW)
    page = await read(browser, "/")
    text = re.sub(r"\s+", " ", page.text)
    assert "1 confirmed finding nobody looks after" in text
    assert "1 / 1 hosts at work or ready for it" in text
    assert "gemm[n=512] time, cold" in text
    assert "+10.0 %" in text
    assert "critical" in text
    assert {"/regressions/1", f"/runs/{second}"} <= set(page.links)


async def test_a_run_shows_its_comparison_and_its_launches(laboratory: Laboratory, browser: httpx.AsyncClient) -> None:
    await laboratory.run(branch("main"))
    second = await laboratory.run(Request(revision=Revision(branch="main", build_url="https://ci.example/7")), SLOW)
    waiting = await read(browser, f"/runs/{second}")
    assert "refresh" in (await browser.get(f"/runs/{second}")).text
    assert "measuring 1 suspected result again" in waiting.text
    await laboratory.confirm(second, SLOW)
    page = await read(browser, f"/runs/{second}")
    assert "http-equiv" not in page.attributes
    for shown in ("regressed", "branch:main (runs/1)", "Worse: +10.0 %", "1.100 ms", "node-1", "Secondary metrics (3)"):
        assert shown in page.text, shown
    assert page.tags.count("svg") == 3
    assert {"/regressions/1", "https://ci.example/7"} <= set(page.links)


async def test_a_run_shows_the_policy_that_judged_it_and_its_limits(
    laboratory: Laboratory, browser: httpx.AsyncClient
) -> None:
    run_id = await laboratory.run()
    async with laboratory.database.transaction() as session:
        stored = await comparisons.find(session, run_id)
        assert stored is not None
        content = json.loads(json.dumps(stored.content))
        slow, other, *_ = content["entries"]
        slow["quality"] = [
            {"minimum": 1.0, "maximum": 9e5, "value": 1e6, "answer": "QUALITY_ANSWER_FAIL", "rule": "promise"}
        ]
        other["quality"] = [{"minimum": 2.0, "answer": "QUALITY_ANSWER_UNKNOWN", "rule": "<b>hope</b>"}]
        stored.content = content | {"policy": "projects/default/policies/3", "quality_score": 0.25}
    text = (await read(browser, f"/runs/{run_id}")).text
    for shown in ("Judged by projects/default/policies/3; tbctl policy get 3 shows it.", "beyond", "promise"):
        assert shown in text, shown
    for shown in ("not checked", "not measured", "<b>hope</b>", "Limits that hold: 25 % by weight."):
        assert shown in text, shown


async def test_a_run_shows_what_failed(laboratory: Laboratory, browser: httpx.AsyncClient) -> None:
    await laboratory.run()
    failing = Conditions(failures={"gemm[n=512]": ("out_of_memory", "needs 80 GB")})
    second = await laboratory.run(conditions=failing)
    page = await read(browser, f"/runs/{second}")
    assert "needs 80 GB" in page.text
    assert "out of memory" in page.text
    overview = await read(browser, "/")
    assert "1 failed" in overview.text


async def test_a_queued_run_has_a_page(laboratory: Laboratory, browser: httpx.AsyncClient) -> None:
    run_id = await laboratory.ask(drilled(gemm=1.5))
    page = await read(browser, f"/runs/{run_id}")
    assert "No results yet." in page.text
    assert "gemm × 1.5" in page.text  # noqa: RUF001 - as people read it


async def test_a_regression_shows_evidence_history_and_what_to_type(
    laboratory: Laboratory, browser: httpx.AsyncClient
) -> None:
    await laboratory.run(branch("main"))
    second = await laboratory.run(branch("main"), SLOW)
    await laboratory.confirm(second, SLOW)
    page = await read(browser, "/regressions/1")
    for shown in (
        "tbctl regression ack 1",
        "tbctl regression accept 1",
        f"tbctl run retry {second} --wait",
        "seen in runs/2: time +10.0 %",
        "run 3: measured again: time +10.0 %",
    ):
        assert shown in page.text, shown
    assert page.tags.count("svg") == 1
    async with laboratory.database.transaction() as session:
        act = Act(actor="ada", comment="a driver", now=laboratory.clock())
        await triage.ignore(session, 1, act=act)
    page = await read(browser, "/regressions/1")
    assert "a driver" in page.text
    assert "tbctl regression reopen 1" in page.text
    assert "regression ack" not in page.text


async def test_a_regression_shows_its_cause_its_series_and_how_right_the_detector_is(
    laboratory: Laboratory, browser: httpx.AsyncClient
) -> None:
    await laboratory.run(branch("main"))
    second = await laboratory.run(branch("main"), SLOW)
    await laboratory.confirm(second, SLOW)
    cause = {
        "evidence": ["Code: commit abcdef1; 2 of 6 series moved there."],
        "confidence": 0.97,
        "commits": {"last_good_commit": "1111111", "first_bad_commit": "2222222", "first_bad_run": f"runs/{second}"},
        "environment": [{"fact": "driver", "before": "550", "after": "560", "hosts": ["node-1"]}],
        "missing": "Measure it on another host.",
    }
    async with laboratory.database.transaction() as session:
        row = await session.get_one(Regression, 1)
        row.cause, row.attribution = "code", cause
        series = (await session.scalars(select(Series).where(Series.primary.is_(True)).order_by(Series.id))).first()
        assert series is not None
        other = RegressionMember(regression_id=1, series_id=series.id, change=0.04, severity="minor", evidence={})
        session.add(other)
        act = Act(actor="ada", comment="", now=laboratory.clock())
        await triage.feedback(session, 1, right=True, act=act)
        rate = IdenticalComparison(run_id=second, host_class="Simulated 1", project_id=1, suite="core", base_run_id=1)
        rate.comparisons, rate.false_alarms, rate.inconclusive, rate.excesses = 300, 1, 0, [1.2]
        rate.at = laboratory.clock()
        session.add(rate)
    page = await read(browser, "/regressions/1")
    for shown in (
        "Cause: code",
        "97 % sure",
        "2 of 6 series moved there",
        "1111111 to 2222222",
        "550 to 560 on node-1",
        "Measure it on another host.",
        series.case_id,
        "was right, says ada",
        f"tbctl run reproduce {second} --case 'gemm[n=512]'",
    ):
        assert shown in page.text, shown
    overview = re.sub(r"\s+", " ", (await read(browser, "/")).text)
    assert "1 0 100 %" in overview, "right, wrong, precision"
    assert "False alarms of identical code on Simulated 1: 1 of 300, 0.3 %" in overview
    assert "Marks inform people and move no limit." in overview
    third = await laboratory.run(branch("main"))
    assert "1 of 300, 0.3 %" in (await read(browser, f"/runs/{third}")).text


async def test_a_finding_about_a_device_has_a_page(laboratory: Laboratory, browser: httpx.AsyncClient) -> None:
    await laboratory.run(branch("main"))
    async with laboratory.database.transaction() as session:
        subject = Subject(project_id=1, kind=FindingKind.SLOW_DEVICE, id="devices/GPU-1")
        new = NewFinding(subject=subject, summary="GPU-1 is 8 % slower.", severity=Severity.MAJOR, change=0.08)
        await regressions.open_finding(session, new, now=laboratory.clock())
    page = await read(browser, "/regressions/1")
    assert "GPU-1 is 8 % slower." in page.text
    assert "regression accept" not in page.text, "there is no level to accept"
    assert "GPU-1 is 8 % slower." in (await read(browser, "/")).text


async def test_whatever_is_stored_is_shown_as_text(laboratory: Laboratory, browser: httpx.AsyncClient) -> None:
    await laboratory.run(branch("main"))
    second = await laboratory.run(branch("main"), SLOW)
    await laboratory.confirm(second, SLOW)
    async with laboratory.database.transaction() as session:
        act = Act(actor=EVIL, comment=EVIL, now=laboratory.clock())
        await triage.acknowledge(session, 1, owner=EVIL, act=act)
        await session.execute(
            update(Run).values(
                commit=EVIL,
                branch=EVIL,
                reason=EVIL,
                verdict_reason=EVIL,
                requested_by=EVIL,
                pull_request=EVIL,
                repository=EVIL,
                build_url="javascript:alert(1)",
                labels={EVIL: EVIL},
            )
        )
        await session.execute(update(Series).values(device_key=EVIL, unit=EVIL, case_id=Series.case_id + EVIL))
        await session.execute(update(Host).values(name=EVIL))
        failed = CaseResult.outcome == "ok"
        await session.execute(update(CaseResult).where(failed).values(outcome="incorrect", reason=EVIL))
    for path in ("/", f"/runs/{second}", "/regressions/1"):
        page = await read(browser, path)
        assert EVIL in page.text, path
        assert not [link for link in page.links if link.startswith("javascript")], path


@pytest.mark.parametrize(
    "path", ["/runs/77", "/regressions/77", "/runs/abc", "/regressions/-1", "/runs/99999999999999999999", "/runs/²"]
)
async def test_what_is_not_there_is_said_so(browser: httpx.AsyncClient, path: str) -> None:
    page = await read(browser, path, 404)
    assert "Back to the overview" in page.text


async def test_an_absent_database_is_said_so() -> None:
    database = Database("host=127.0.0.1 port=1 connect_timeout=2")
    transport = httpx.ASGITransport(app.build(pages.routes(database, Laboratory(database).clock)))
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as browser:
        page = await read(browser, "/", 503)
    assert "the database is not available" in page.text
    await database.close()


@pytest.mark.parametrize(("path", "kind"), [("/static/style.css", "text/css"), ("/static/icon.svg", "image/svg+xml")])
async def test_what_pages_need_is_served_from_here(browser: httpx.AsyncClient, path: str, kind: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in answer.text


async def test_files_beside_the_static_ones_are_not_served(browser: httpx.AsyncClient) -> None:
    for path in ("/static/../pages.py", "/static/%2e%2e/pages.py", "/static/nothing"):
        assert (await browser.get(path)).status_code == 404


async def test_a_run_shows_the_looks_that_follow_it(laboratory: Laboratory, browser: httpx.AsyncClient) -> None:
    await laboratory.run()
    run_id = await laboratory.run(Request(gate=GateSpec(looks=2, budget_seconds=1200.0)), SLOW)
    laboratory.clock.advance(370)
    page = Reading((await browser.get(f"/runs/{run_id}")).text)
    assert "measuring 1 undecided result again, look 2 of 3, 6 of 20 minutes used" in page.text
    child = await laboratory.confirmation(run_id)
    assert child is not None
    assert f"/runs/{child.id}" in page.links
    await laboratory.confirm(run_id, SLOW)
    page = Reading((await browser.get(f"/runs/{run_id}")).text)
    assert "Further looks" in page.text
    assert "look 2 +10.0 % (node-1, other order)" in page.text
