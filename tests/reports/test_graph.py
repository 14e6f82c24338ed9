"""The graph: layers that respect inputs, boxes that do not overlap, only the arrows that matter."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain.reports.charts.graph import arrange, draw, essential, layers
from posttrain.reports.read import read
from reports.recorded import Recorder, spectrum


@st.composite
def graphs(draw):
    names = [f"n{i}" for i in range(draw(st.integers(1, 9)))]
    pairs = list(combinations(names, 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return {name: float(draw(st.integers(20, 120))) for name in names}, tuple(chosen)


def reachable(edges):
    found = set(edges)
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


@given(graphs())
def test_arrows_point_right(graph):
    heights, edges = graph
    depth = layers(tuple(heights), edges)
    assert all(depth[a] < depth[b] for a, b in edges)


@given(graphs())
def test_essential_arrows_reach_the_same_and_none_is_spare(graph):
    _, edges = graph
    kept = essential(edges)
    assert reachable(kept) == reachable(edges)
    assert all(edge not in reachable(set(kept) - {edge}) for edge in kept)


@given(graphs())
@settings(deadline=None)
def test_boxes_of_a_layer_do_not_touch(graph):
    heights, edges = graph
    placed = arrange(heights, essential(edges))
    for a, b in combinations(heights, 2):
        if placed.layer[a] == placed.layer[b]:
            apart = abs(placed.centre[a] - placed.centre[b])
            assert apart >= (heights[a] + heights[b]) / 2
    for edge, route in placed.routes.items():
        assert [depth for depth, _ in route] == list(range(placed.layer[edge[0]], placed.layer[edge[1]] + 1))


def test_the_spectrum_is_drawn_stage_by_stage(tmp_path):
    drawing = draw(read(spectrum(tmp_path)))
    for name in ("prepare", "rl_math_long", "spectrum_kept", "algebra"):
        assert f">{name}<" in drawing
    assert "probe reads specialist, prepare" in drawing


def test_a_stage_of_many_members_counts_those_it_does_not_draw(tmp_path):
    recorder = Recorder(tmp_path)
    for i in range(40):
        recorder.node(f"trial/t{i}", "sft", {})
    drawing = draw(read(recorder.finish()))
    assert "and 32 more" in drawing and drawing.count(">ran<") == 8
