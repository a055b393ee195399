"""The chart in a terminal."""

import re
from dataclasses import replace

from tesserabench.cli.output.plot import Change, Drawn, Level, Look, render

LOOK = Look(width=40, label=lambda value: f"{value:.2f} ms", unicode=False, rows=5)


def step() -> Drawn:
    points = [(float(place), 1.0 if place < 10 else 2.0) for place in range(20)]
    levels = [Level(start=0, end=9, value=1.0), Level(start=10, end=19, value=2.0)]
    return Drawn(points=points, levels=levels, changes=[Change(at=10, label="1", style="bad")])


def test_a_step_is_drawn_with_its_mark_and_the_ends_of_time() -> None:
    assert render([step()], LOOK, first="Jan 1", last="Jan 9").splitlines() == [
        "2.06 ms |                **-*-**-**-**-*",
        "        |                |",
        "1.50 ms |                |",
        "        |                |",
        "0.94 ms |*-**-**-**-*-** |",
        "                         1",
        "         Jan 1                     Jan 9",
    ]


def test_nothing_is_drawn_of_nothing_and_one_point_stands_in_the_middle() -> None:
    assert render([], LOOK) == render([Drawn(points=[])], LOOK) == ""
    lines = render([Drawn(points=[(7.0, 0.0)])], LOOK).splitlines()
    assert sum(line.count("*") for line in lines) == 1
    assert lines[2].split("|")[1].strip() == "*"


def test_every_line_fits_into_the_width() -> None:
    for width in (30, 40, 80, 200):
        for unicode in (True, False):
            look = Look(width=width, label=LOOK.label, unicode=unicode)
            lines = render([step(), step()], look, first="2026-01-01", last="2026-02-01").splitlines()
            assert max(map(len, lines)) <= width


def test_the_mark_of_a_change_at_the_right_edge_fits_into_the_width() -> None:
    late = replace(step(), changes=[Change(at=19, label="+100.0 %")])
    lines = render([late], LOOK).splitlines()
    assert max(map(len, lines)) <= LOOK.width
    assert lines[-1].endswith("+100.0 %")


def test_braille_dots_hold_every_point_and_colours_come_only_when_asked_for() -> None:
    plain = render([step()], Look(width=60, label=LOOK.label))
    dots = sum((ord(letter) - 0x2800).bit_count() for letter in plain if 0x2800 <= ord(letter) < 0x2900)
    assert dots == 20
    assert "\x1b" not in plain
    colored = render([step()], Look(width=60, label=LOOK.label, color=True))
    assert "\x1b[31m" in colored, "a change for the worse"
    assert re.sub(r"\x1b\[\d+m", "", colored) == plain


def test_several_series_have_marks_of_their_own() -> None:
    other = Drawn(points=[(float(place), 3.0) for place in range(20)])
    drawn = render([step(), other], LOOK)
    assert "*" in drawn
    assert "x" in drawn
