"""Looks that follow the first one: what is still undecided is measured again, until it is decided.

A look is a run of its own, of fresh processes: launches of one session share whatever made it err, so that more of
them settle nothing that another session would. Every look is judged by itself and together with all before it, place
by place. A regression must be shown by two looks and stand in all of them together, at the error that is left to that
look (`spending`). What one host shows again and another does not is the host's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tesserabench.analysis import look_wording as wording
from tesserabench.analysis.confirmation import Answer, Confirmation, unconfirmed
from tesserabench.analysis.false_discovery import by_family
from tesserabench.analysis.gate import comparable, decide, finding_p_value, judge, measured, not_significant_among
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement, answer
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.looks import LookSeen
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult, by_key, failures_by_case
from tesserabench.analysis.sessions import estimate
from tesserabench.analysis.spending import Spending
from tesserabench.analysis.words import Reason, Verdict

_SETTLEABLE = frozenset({Reason.TOO_NOISY, Reason.TOO_FEW_SAMPLES, Reason.THROTTLED, Reason.BASE_MEASURED_ONCE})


class Standing(StrEnum):
    """Where a series stands after its looks."""

    OPEN = "open"  # another look may decide it
    REPRODUCED = "reproduced"  # worse, surely
    NOT_REPRODUCED = "not_reproduced"  # worse at first, and not again
    SETTLED = "settled"  # passed or improved, surely


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One further look, measured."""

    number: int
    """Counted from 1, which is the judged run itself: the first further look has 2."""
    base: ResultSet
    """What it is compared with: the base of the first look, another run of it, or its own other arm."""
    head: ResultSet
    asked: frozenset[SeriesKey]
    interleaved: bool = False
    planned: int = 0
    """Launches that were asked for, where it was cut off; 0 otherwise."""
    why_nothing: str = ""
    """Why nothing at all was measured, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """Everything that further looks are judged by."""

    base: ResultSet
    head: ResultSet
    first: Mapping[SeriesKey, Judgement]
    """The first look at every series that both sides have."""
    policies: Mapping[SeriesKey, Policy]
    """Limits of each series that was measured again."""
    history: Mapping[SeriesKey, RunNoise]
    looks: Sequence[Look]
    spending: Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """Where one series stands, and the judgement if it stays so."""

    standing: Standing
    judgement: Judgement
    settles_nothing: bool = False
    """It is open, and more looks of this kind will not decide it."""

    def confirmation(self, why: str) -> Confirmation:
        """What this comes to when there is no further look; `why` not, as a sentence."""
        if self.standing is not Standing.OPEN:
            return Confirmation(answer=_ANSWERS[self.standing], judgement=self.judgement)
        judgement = replace(self.judgement, explanation=f"{self.judgement.explanation} {why}".rstrip())
        return Confirmation(answer=Answer.NOT_CONFIRMED, judgement=judgement)


_ANSWERS = {
    Standing.REPRODUCED: Answer.REPRODUCED,
    Standing.NOT_REPRODUCED: Answer.NOT_REPRODUCED,
    Standing.SETTLED: Answer.SETTLED,
}


def may_be_settled(judgement: Judgement, *, base_too: bool = False) -> bool:
    """Whether further looks may decide what this judgement leaves open.

    Args:
        judgement: What was found so far.
        base_too: They measure the base again as well. Otherwise what the base's own run was off by stays, and where
            that alone hides the answer, no number of launches settles it.
    """
    if judgement.verdict is not Verdict.INCONCLUSIVE or judgement.reason not in _SETTLEABLE:
        return False
    if base_too or judgement.reason is not Reason.TOO_NOISY:
        return True
    # A change that would count if it were the only one may be shown to be more than one among many.
    return judgement.launches_to_settle is not None or _stands_out(judgement)


def _stands_out(judgement: Judgement) -> bool:
    """Whether the interval leaves zero out: noise alone does not explain it."""
    low, high = judgement.change_low, judgement.change_high
    return low is not None and high is not None and (low > 0 or high < 0)


def review(matter: Matter) -> dict[SeriesKey, Reviewed]:
    """Where every series stands that a look was asked about."""
    ours, theirs = by_key(matter.base), by_key(matter.head)
    asked = {key for look in matter.looks for key in look.asked}
    series = {
        key: _Series(matter=matter, base=ours[key], head=theirs[key])
        for key in sorted(asked & ours.keys() & theirs.keys() & matter.first.keys())
    }
    shown = {key: item.shown() for key, item in series.items()}
    together = _corrected(matter, {key: item.together(shown[key]) for key, item in series.items()})
    return {key: _reviewed(together[key], shown[key], item.head.hosts) for key, item in series.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """One look by itself."""

    look: LookSeen
    alone: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """One series in all its looks."""

    matter: Matter
    base: SeriesResult
    head: SeriesResult

    @property
    def _key(self) -> SeriesKey:
        return self.head.key

    def _looks(self) -> list[Look]:
        return [look for look in self.matter.looks if self._key in look.asked]

    def shown(self) -> tuple[_Shown, ...]:
        """Each look by itself, the judged run first."""
        first = self.matter.first[self._key]
        seen = _seen(first, 1, self.matter.head, self.head)
        return _Shown(look=seen, alone=first), *(self._at(look) for look in self._looks())

    def _at(self, look: Look) -> _Shown:
        head = by_key(look.head).get(self._key)
        base = self._base_of(look) if head else self.base.side
        alone = self._judge(base, _side(look.head, self.head), level_of=look.number)
        if look.why_nothing:
            alone = replace(alone, worsening=None, explanation=look.why_nothing)
        seen = _seen(alone, look.number, look.head, head)
        seen = replace(seen, interleaved=look.interleaved, planned=look.planned)
        return _Shown(look=seen, alone=alone)

    def together(self, shown: Sequence[_Shown]) -> Judgement:
        """The judgement on the launches of every look that gave something, session by session at each place."""
        usable = {item.look.number for item in shown if item.alone.worsening is not None}
        if usable == {1}:
            return _at_first(shown[0].alone, self.matter.spending)
        base, head = self._launches(usable)
        kept = comparable(replace(self.base.side, launches=base), replace(self.head.side, launches=head))
        policy = self._policy(max(item.look.number for item in shown))
        effect = estimate(*kept, policy, self.matter.history.get(self._key))
        minimum = policy.minimum_effect(primary=self.head.primary)
        numbers = measured(effect, policy, self.head.side.better, minimum)
        return self._scaled(decide(numbers, effect, policy, primary=self.head.primary), policy)

    def _launches(self, usable: set[int]) -> tuple[tuple[Launch, ...], tuple[Launch, ...]]:
        """The launches of both sides in these looks; a run that several looks are compared with counts once."""
        matter = self.matter
        base = _of(self.base.side, matter.base.run)
        head = _of(self.head.side, matter.head.run) if 1 in usable else ()
        known = {matter.base.run}
        for look in self._looks():
            found = by_key(look.head).get(self._key)
            if look.number not in usable or found is None:
                continue
            head += _of(found.side, look.head.run, _place(look))
            if look.base.run not in known or look.interleaved:
                known.add(look.base.run)
                base += _of(self._base_of(look), look.base.run, _place(look))
        return base, head

    def _base_of(self, look: Look) -> Side:
        found = by_key(look.base).get(self._key)
        return found.side if found else replace(self.base.side, launches=())

    def _judge(self, base: Side, head: Side | None, *, level_of: int) -> Judgement:
        policy = self._policy(level_of)
        history = self.matter.history.get(self._key)
        return self._scaled(judge(base, head, policy, primary=self.head.primary, history=history), policy)

    def _policy(self, number: int) -> Policy:
        """The limits at the error that a look may spend."""
        spending = self.matter.spending
        level = spending.level(min(number, spending.looks))
        return replace(self.matter.policies[self._key], confidence=1 - level)

    def _scaled(self, judgement: Judgement, policy: Policy) -> Judgement:
        return _of_the_whole(judgement, self.matter.spending, 1 - policy.confidence)


def _of_the_whole(judgement: Judgement, spending: Spending, level: float) -> Judgement:
    """With the p value of the whole procedure: below its error where a look finds something at its own level."""
    if judgement.p_value is None:
        return judgement
    return replace(judgement, p_value=min(1.0, judgement.p_value * spending.error / level))


def _at_first(judgement: Judgement, spending: Spending) -> Judgement:
    return _of_the_whole(judgement, spending, spending.level(1))


def _side(results: ResultSet, like: SeriesResult) -> Side | None:
    found = by_key(results).get(like.key)
    if found is not None:
        return found.side
    failed = failures_by_case(results).get(like.key.identity[:2])
    return replace(like.side, launches=failed) if failed else None


def _of(side: Side, run: str, place: str = "") -> tuple[Launch, ...]:
    """The launches of a side, as those of this run and at this part of their places."""
    return tuple(replace(launch, session=run, place=launch.place + place) for launch in side.launches)


def _place(look: Look) -> str:
    """Launches of two arms in turns are compared with each other alone: they share caches and power."""
    return f"/in turns {look.number}" if look.interleaved else ""


def _seen(judgement: Judgement, number: int, results: ResultSet, series: SeriesResult | None) -> LookSeen:
    usable = judgement.worsening is not None
    return LookSeen(
        number=number,
        run=results.run,
        hosts=series.hosts if series else (),
        launches=sum(launch.outcome == "ok" for launch in series.side.launches) if series else 0,
        verdict=judgement.verdict if usable else None,
        change=judgement.change if usable else None,
        change_low=judgement.change_low if usable else None,
        change_high=judgement.change_high if usable else None,
        worsening=judgement.worsening,
        why="" if usable else judgement.explanation,
        shows=judgement.worsening is not None and judgement.worsening >= judgement.minimum_effect,
    )


def _corrected(matter: Matter, together: Mapping[SeriesKey, Judgement]) -> dict[SeriesKey, Judgement]:
    """The judgements without the findings that as many series bring by chance, primary metrics by themselves."""
    series = by_key(matter.head)
    first = {key: _at_first(judgement, matter.spending) for key, judgement in matter.first.items()}
    everything = {**first, **together}
    corrected = dict(together)
    for primary in (True, False):
        keys = [
            key
            for key, judgement in everything.items()
            if key in series and series[key].primary is primary and judgement.p_value is not None
        ]
        q_values = by_family(
            [finding_p_value(everything[key]) for key in keys],
            [(series[key].suite, series[key].benchmark) for key in keys],
            matter.spending.error,
        )
        for key, q_value in zip(keys, q_values, strict=True):
            found = together.get(key)
            if found is not None:
                found = corrected[key] = replace(found, q_value=q_value)
            if found and found.verdict in {Verdict.REGRESSED, Verdict.IMPROVED} and q_value > matter.spending.error:
                corrected[key] = not_significant_among(found, q_value, len(keys))
    return corrected


def _reviewed(both: Judgement, shown: tuple[_Shown, ...], at_first: tuple[str, ...]) -> Reviewed:
    seen = tuple(item.look for item in shown)
    told, first = replace(both, looks=seen), shown[0].alone
    again = [item for item in shown[1:] if item.alone.worsening is not None]
    if not again:
        why = wording.sentence(seen[-1].why) or "Nothing was measured again."
        return Reviewed(standing=Standing.OPEN, judgement=_still_open(first, told, why))
    if first.verdict is Verdict.REGRESSED:
        return _suspected(first, told, again, at_first)
    return _undecided(told, seen)


def _suspected(first: Judgement, both: Judgement, again: Sequence[_Shown], at_first: tuple[str, ...]) -> Reviewed:
    looks = [item.look for item in again]
    here = [look for look in looks if set(look.hosts) & set(at_first)]
    elsewhere = [look for look in looks if not set(look.hosts) & set(at_first)]
    if elsewhere and not any(look.shows for look in elsewhere) and (not here or here[-1].shows):
        # Whether it is the host, only the host itself can tell: until it was asked again, the question stays open.
        standing, tell = (Standing.NOT_REPRODUCED, wording.bound_to) if here else (Standing.OPEN, wording.only_at_first)
        judgement = _gone(first, both, elsewhere[-1], tell(at_first, elsewhere))
        return Reviewed(standing=standing, judgement=replace(judgement, points_at_host=True))
    last = again[-1]
    if not last.look.shows:
        return Reviewed(standing=Standing.NOT_REPRODUCED, judgement=_gone(first, both, last.look, ""))
    if both.verdict is Verdict.REGRESSED and _stands_out(last.alone):
        return Reviewed(standing=Standing.REPRODUCED, judgement=_told(both))
    why = f"Looking again does not settle it: {last.alone.explanation}"
    return Reviewed(standing=Standing.OPEN, judgement=_still_open(first, both, why))


def _undecided(both: Judgement, seen: tuple[LookSeen, ...]) -> Reviewed:
    if both.verdict in {Verdict.PASS, Verdict.IMPROVED}:
        return Reviewed(standing=Standing.SETTLED, judgement=_told(both))
    if both.verdict is Verdict.REGRESSED:
        if seen[-1].shows and sum(look.shows for look in seen) > 1:
            return Reviewed(standing=Standing.REPRODUCED, judgement=_told(both))
        return Reviewed(standing=Standing.OPEN, judgement=_told(_inconclusive(both, wording.shown_once(both))))
    return Reviewed(standing=Standing.OPEN, judgement=_told(both), settles_nothing=not _worth_more(both, seen[-1]))


def _worth_more(both: Judgement, last: LookSeen) -> bool:
    return may_be_settled(both, base_too=last.interleaved)


def _still_open(first: Judgement, both: Judgement, why: str) -> Judgement:
    if first.verdict is Verdict.REGRESSED:
        return _told(replace(unconfirmed(first, why), looks=both.looks))
    return _told(replace(first, looks=both.looks, explanation=f"{first.explanation} {why}"))


def _gone(first: Judgement, both: Judgement, last: LookSeen, host: str) -> Judgement:
    sentences = wording.not_seen_again(first, last, host)
    return _told(
        replace(answer(first, Verdict.INCONCLUSIVE, sentences, reason=Reason.NOT_REPRODUCED), looks=both.looks)
    )


def _inconclusive(judgement: Judgement, sentences: tuple[str, str]) -> Judgement:
    return answer(judgement, Verdict.INCONCLUSIVE, sentences, reason=Reason.NOT_CONFIRMED)


def _told(judgement: Judgement) -> Judgement:
    """The judgement with what each look showed at the end of its explanation."""
    return replace(judgement, explanation=f"{judgement.explanation} {wording.told(judgement.looks)}".rstrip())
