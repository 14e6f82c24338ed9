"""The report as Markdown: the same content, hostile text as text, tables that stay tables."""

import re

from hypothesis import given
from hypothesis import strategies as st

from posttrain.reports.learning import learning
from posttrain.reports.markdown import document, escape, fenced, learning_table
from posttrain.reports.read import read
from reports.recorded import Recorder, spectrum
from reports.test_page import hostile_run


def tables(text):
    """Rows of each table, fenced blocks left out."""
    bare = re.sub(r"(?ms)^(`{3,})text\n.*?\n\1$", "", text)
    found, current = [], []
    for line in [*bare.splitlines(), ""]:
        if line.startswith("| "):
            current.append(line)
        elif current:
            found.append(current)
            current = []
    return found


def cells(line):
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_the_learning_table_reads_as_in_readme(tmp_path):
    table = learning_table(learning(read(spectrum(tmp_path)))).splitlines()
    assert table[0] == "| model | Pass@1 [95 %] | Pass@8 [95 %] | problems |"
    assert table[2] == "| base | 0.194 [0.178, 0.209] | 0.460 [0.440, 0.479] | 2\u2009000 |"
    assert table[3].startswith("| specialist (each on its own domain) | 0.267 ")


def test_the_whole_story_is_there(tmp_path):
    text = document(read(spectrum(tmp_path)))
    for heading in ("What was learned", "Gates", "Nodes", "Training", "Probing", "Samples", "Time", "Remarks"):
        assert f"\n## {heading}" in text
    assert "Every stop gate passed (exit code 0)" in text


def test_hostile_text_stays_in_its_cell(tmp_path):
    text = document(read(hostile_run(tmp_path)))
    for table in tables(text):
        assert {cells(line) for line in table} == {cells(table[0])}
    bare = re.sub(r"(?ms)^(`{3,})text\n.*?\n\1$", "", text)
    assert not re.search(r"(?<!\\)<(script|img|/)", bare)


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text):
    shown = escape(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_<>|\[\]]", shown)


@given(st.text(alphabet="`~a\n") | st.text())
def test_nothing_closes_a_fence(text):
    first, *inside, last = fenced(text).split("\n")
    fence = first.removesuffix("text")
    assert last == fence
    assert not any(line.strip().startswith(fence) for line in inside)


def test_an_empty_run_says_what_is_missing(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node("base", "base", {}, measured={})
    text = document(read(recorder.finish(code=None)))
    assert "Not measured: no exam has finished." in text and "no stage emitted steps" in text
