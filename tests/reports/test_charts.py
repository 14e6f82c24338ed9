"""Drawings: ticks, lines, heat maps and intervals as well-formed SVG, whatever the data and the names are."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.reports.charts import plot
from posttrain.reports.charts.plot import Cell, Series

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
HOSTILE = st.text(max_size=30) | st.sampled_from(
    ['"><script>alert(1)</script>', "</title>", "\u202eevil", "a\x00b", "&amp;"]
)


def texts(drawing: str) -> str:
    return " ".join("".join(part.itertext()) for part in ElementTree.fromstring(drawing).iter())


def coordinates(drawing: str) -> list[float]:
    return [float(found) for found in re.findall(r'(?:cx|cy|x|y)="(-?[\d.]+)"', drawing)]


@given(NUMBERS, NUMBERS, st.integers(1, 8))
def test_ticks_lie_inside_in_order(a, b, wanted):
    low, high = min(a, b), max(a, b)
    found = plot.ticks(low, high, wanted)
    assert list(found) == sorted(set(found))
    if math.isfinite(high - low) and high - low > 1e-6 * max(abs(low), abs(high), 1e-6):
        assert len(found) <= 2 * wanted + 2
        slack = (high - low) * 1e-6 + 1e-9
        assert all(low - slack <= value <= high + slack for value in found)


def test_ticks_are_round():
    assert plot.ticks(0, 1) == (0, 0.25, 0.5, 0.75, 1)
    assert plot.ticks(3, 601) == (200, 400, 600)
    assert plot.ticks(5, 5) == (5,)


@given(HOSTILE, st.lists(st.tuples(NUMBERS, NUMBERS | st.none()), max_size=8))
def test_lines_are_well_formed_for_any_name_and_data(name, points):
    drawing = plot.lines([Series(name, tuple(points)), Series("b", ((0, 1), (1, 2)))], title=name, x_label=name)
    assert "script" not in {element.tag for element in ElementTree.fromstring(drawing).iter()}


def test_an_unknown_point_breaks_the_line():
    whole = plot.lines([Series("a", ((0, 1), (1, 2), (2, 3)))], title="t", x_label="step")
    broken = plot.lines([Series("a", ((0, 1), (1, None), (2, 3)))], title="t", x_label="step")
    path = re.compile(r'class="line s1" d="([^"]*)"')
    assert path.search(whole)[1].count("M") == 1
    assert path.search(broken)[1].count("M") == 2


def test_nothing_known_says_so_and_is_not_drawn_as_zero():
    drawing = plot.lines([Series("a", ((0, None), (1, math.nan)))], title="loss", x_label="step")
    assert "not measured" in texts(drawing) and "path" not in drawing


def test_lines_that_follow_each_other_are_named_above_their_stretch():
    following = [Series("short", ((0, 1), (5, 2))), Series("long", ((5, 2), (9, 3)))]
    beside = [Series("a", ((0, 1), (9, 2))), Series("b", ((0, 2), (9, 3)))]
    assert 'y="14">short<' in plot.lines(following, title="t", x_label="step")
    assert 'y="14"' not in plot.lines(beside, title="t", x_label="step")


def test_every_drawing_can_be_heard():
    drawing = plot.lines([Series("algebra", ((0, 3.0), (10, 1.5)))], title="loss", x_label="step")
    root = ElementTree.fromstring(drawing)
    assert root.get("role") == "img"
    assert "loss" in texts(drawing) and "algebra: from 3 to 1.5 over 2 points" in texts(drawing)


@given(st.lists(st.lists(st.floats(0, 1) | st.none(), min_size=2, max_size=2), min_size=1, max_size=4), HOSTILE)
def test_heat_shows_every_value_and_frames_the_chosen(values, name):
    cells = [[Cell(value, chosen=i == 0 and value is not None) for i, value in enumerate(row)] for row in values]
    drawing = plot.heat([name] * len(values), ["1", "2"], cells, title="t")
    ElementTree.fromstring(drawing)
    assert drawing.count('class="chosen"') == sum(row[0] is not None for row in values)
    assert drawing.count('class="heat"') == sum(value is not None for row in values for value in row)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_dot_stays_on_its_scale(value, low, high):
    drawing = plot.dot(value, min(low, high), max(low, high), span=(0.0, 1.0), bound=2.0)
    assert all(0 <= number <= 180 for number in coordinates(drawing))


def test_an_unknown_value_is_words_not_a_dot():
    assert plot.dot(None, None, None, span=(0, 1)) == '<span class="mute">not measured</span>'
    assert plot.bar(None, longest=3.0) == ""


def test_a_bar_is_to_scale_with_its_part():
    drawing = plot.bar(5.0, longest=10.0, part=2.5)
    assert re.findall(r'width="([\d.]+)" height="12"', drawing) == ["130.0", "65.0"]


@pytest.mark.parametrize("names", [["rl_math_short", "rl_math_long", "rl_math_longer", "rl_code"], ["a", "b", "c"]])
def test_names_of_stages_stand_whole_and_apart(names):
    """S-E4: stages that follow one another keep their names apart, also where a stretch is shorter than its name."""
    series = [Series(name, ((i, 0.5), (i + 1, 0.6))) for i, name in enumerate(names)]
    drawn = plot.lines(series, title="t", x_label="step")
    found = re.findall(r'<text class="name s\d" x="([\d.]+)" y="(\d+)">([^<]+)</text>', drawn)
    assert [name for *_, name in found] == names
    for i, (x, y, name) in enumerate(found):
        right = float(x) + 6 * len(name)
        assert right <= 360.5
        assert all(right <= float(other) or y != row for other, row, _ in found[i + 1 :])


def test_a_last_stage_of_one_step_keeps_its_name():
    series = [Series(name, ((i, 0.5),), marks=True) for i, name in enumerate(("first", "middle", "a_longer_one"))]
    drawn = plot.lines(series, title="t", x_label="step")
    assert ">a_longer_one</text>" in drawn and ">middle</text>" in drawn
