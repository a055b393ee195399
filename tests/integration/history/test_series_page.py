"""The page of a series."""

import re

import httpx
from support.histories import measure, take_in, watch, wobbly
from support.laboratory import Laboratory
from tesserabench.collector.web import app, pages


async def test_the_page_of_a_series_has_its_chart_its_changes_and_its_runs(laboratory: Laboratory) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 12 + [1.12] * 8))
    await measure(laboratory, [0.9], branch="a&b")
    await take_in(laboratory)
    number = (await watch(laboratory)).series_id
    transport = httpx.ASGITransport(app.build(pages.routes(laboratory.database, laboratory.clock)))
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as browser:
        answer = await browser.get(f"/series/{number}")
        assert answer.status_code == 200
        text = answer.text
        assert text.count('<circle class="point"') == 20
        assert text.count('<g class="level">') == 2
        assert text.count('<g class="change worse">') == 1
        assert f'<a href="/runs/{ids[11]}">{ids[11]}</a> → <a href="/runs/{ids[12]}">{ids[12]}</a>' in text
        assert "000000baaa..000000caaa" in text
        assert re.search(r"\+1[12]\.\d %", text)
        assert "?branch=a%26b" in text
        assert (await browser.get(f"/series/{number}?branch=a%26b")).text.count("<circle") == 1
        assert (await browser.get(f"/series/{number}?branch=none")).status_code == 404
        assert (await browser.get(f"/series/{number}?days=soon")).status_code == 400
        assert (await browser.get(f"/series/{number}?branch=%00")).status_code == 400
        assert (await browser.get("/series/999999")).status_code == 404
        assert (await browser.get("/series/gemm")).status_code == 404
        run = (await browser.get(f"/runs/{ids[0]}")).text
        assert f'<a href="/series/{number}?branch=">history</a>' in run
