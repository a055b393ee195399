"""Many comparisons at once: the share of false findings is bounded, not the chance of any."""

from collections.abc import Hashable, Sequence


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The adjusted p values, in the order given: of those at or below q, a share of at most q is false.

    Benjamini and Hochberg 1995; holds under independence and positive dependence, which is what benchmarks of one
    machine show.
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index], reverse=True)
    adjusted = [1.0] * count
    smallest = 1.0
    for position, index in enumerate(order):
        smallest = min(smallest, p_values[index] * count / (count - position))
        adjusted[index] = smallest
    return adjusted


def by_family(p_values: Sequence[float], families: Sequence[Hashable], rate: float) -> list[float]:
    """Adjusted p values where families are chosen first, and then findings inside those that were chosen.

    A family's p value is that of Simes over its members; of those that survive Benjamini and Hochberg's procedure, the
    members are adjusted by themselves and then for the selection: with a share of R/m chosen, at R/m of the rate
    (Benjamini and Bogomolov 2014). A value at or below `rate` is a finding; the false share stays below it on average
    over the chosen families.

    Args:
        p_values: One for each hypothesis.
        families: The family of each, in the same order.
        rate: The largest share of false findings.
    """
    members: dict[Hashable, list[int]] = {}
    for index, family in enumerate(families):
        members.setdefault(family, []).append(index)
    inner = {family: benjamini_hochberg([p_values[index] for index in indices]) for family, indices in members.items()}
    # The smallest of a family's adjusted values is Simes' p value of it.
    outer = benjamini_hochberg([min(values) for values in inner.values()])
    chosen = max(1, sum(value <= rate for value in outer))
    adjusted = [1.0] * len(p_values)
    for (family, values), of_family in zip(inner.items(), outer, strict=True):
        for index, value in zip(members[family], values, strict=True):
            adjusted[index] = min(1.0, max(of_family, value * len(members) / chosen))
    return adjusted
