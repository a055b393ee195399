"""The history of a series is judged by the policy too, with rules about the hosts that measured it."""

from support.histories import changes, measure, take_in, wobbly
from support.laboratory import Laboratory
from tesserabench.collector.core import policies
from tesserabench.collector.core.policies import NewPolicy

STEPPED = [1.0] * 12 + [1.12] * 8


async def test_a_step_is_as_bad_as_the_rule_of_its_host_says(laboratory: Laboratory) -> None:
    text = """apiVersion: tesserabench/v1
kind: Policy
rules:
  - {name: elsewhere, match: {host: node-2}, severities: {critical: 50 %}}
  - {name: here, match: {host: node-1, branch: main}, severities: {major: 3 %, critical: 20 %}}
"""
    async with laboratory.database.transaction() as session:
        await policies.apply(session, NewPolicy(project="default", text=text), actor="ann", now=laboratory.clock())
    await measure(laboratory, wobbly(STEPPED))
    await take_in(laboratory)
    (found,) = await changes(laboratory)
    assert (found.state, found.worse, found.severity) == ("confirmed", True, "major")
