"""The page: self-contained, escaped, whole; what the records do not say, it does not say either."""

import re
from html.parser import HTMLParser

import pytest

from posttrain.data.records import Problem, Score
from posttrain.reports.html import page
from posttrain.reports.read import read
from posttrain.spec.gate import Metric
from reports.recorded import DOMAINS, Recorder, refused, share, spectrum

HOSTILE = "</pre></title><script>alert('x')</script><img src=x onerror=\"go()\">\u202etxt\x1b[31m\x00 & `q` {{ 7*7 }}"
VOID = {"meta", "path", "rect", "circle", "br"}


class Structure(HTMLParser):
    """Every tag and attribute of a page, and whether the tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def hostile_run(folder):
    """A run in which every text that a model, a user or a file can choose is hostile."""
    recorder = Recorder(folder)
    problem = Problem(id="p1", domain=HOSTILE, prompt=HOSTILE, answer=HOSTILE)
    told = {"outcome": HOSTILE, "answer": HOSTILE, "text": HOSTILE, "tokens": 3, "finish": "stop"}
    score = Score(id="p1", domain=HOSTILE, sample=0, correct=False, **told)
    recorder.node("prepare", "prepare", {}, type="data", files={"test.jsonl": [problem]})
    remark = [{"kind": HOSTILE, "text": HOSTILE, "count": 2}]
    recorder.node(
        "base", "base", {"data": ["prepare"]}, remarks=remark, steps=[{"step": s, HOSTILE: s} for s in (1, 2)]
    )
    for exam in ("exam_base", "exam_final"):
        metrics = {"pass@1": share(0.2), f"pass@1/{HOSTILE}": share(0.2)}
        inputs = {"model": ["base"], "data": ["prepare"]}
        recorder.node(exam, "evaluate", inputs, type="scores", metrics=metrics, files={"scores.jsonl": [score]})
    choice = {"chosen": 1, "by": HOSTILE, "why": HOSTILE, "candidates": [{"step": 1, "pass@8": 0.5, HOSTILE: 0.1}]}
    recorder.node("probe/a", "probe", {"model": ["base"]}, files={"choice.json": choice})
    recorder.verdict("base", HOSTILE, "fail", metric=HOSTILE, condition=HOSTILE, reason=HOSTILE)
    recorder.events.append(("node_failed", "probe/a", {"code": 7, "what": HOSTILE, "log": HOSTILE}))
    return recorder.finish(code=7, name=HOSTILE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return page(read(spectrum(tmp_path_factory.mktemp("run"))))


def test_the_page_stands_alone(whole):
    """S-E4: one file, no script, nothing fetched, valid nesting."""
    found = Structure(whole)
    assert not found.unbalanced and not found.open
    assert not {"script", "link", "iframe", "img", "object", "embed", "base"} & set(found.tags)
    loads = {name for name, _ in found.attributes if name in ("src", "href", "srcset", "data", "action")}
    assert loads == {"href"}
    assert all(value.startswith("#") for name, value in found.attributes if name == "href")
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "url(" not in whole and "@import" not in whole and "http:" not in whole and "https:" not in whole
    assert "default-src 'none'" in whole


def test_every_section_is_there(whole):
    """S-E4: outcome, learning table, gates, graph, curves, probing, samples, time, remarks, sources."""
    for heading in ("What was learned", "Gates", "Graph", "Training", "Time and memory", "Remarks and fallbacks"):
        assert f"<h2>{heading}" in whole
    assert "Every stop gate passed (exit code 0)." in whole
    assert "2026-11-18 11:06 UTC" in whole and "2 cores" in whole
    assert "0.194" in whole and "[0.178, 0.209]" in whole
    assert "gain ≥ \u22120.08" in whole and "inconclusive" in whole
    assert "rl reward" in whole and "sft val_loss" in whole
    assert "its lead over the last is clear" in whole
    assert "a row longer than the window of 128 tokens" in whole
    assert len(re.findall(r"<article", whole)) == 2 * len(DOMAINS)


def test_the_page_is_for_everybody(whole):
    """Headings of tables are marked as such; every drawing has a title; colour never stands alone."""
    found = Structure(whole)
    assert found.tags.count("svg") == len(re.findall(r'<svg class="chart" role="img"[^>]*><title>', whole))
    assert ("lang", "en") in found.attributes
    assert all('scope="' in tag for tag in re.findall(r"<th\b[^>]*>", whole))
    assert "✓ pass" in whole and "? inconclusive" in whole
    assert "prefers-color-scheme: dark" in whole and "@media print" in whole


def test_equal_records_give_equal_bytes(tmp_path):
    view = read(spectrum(tmp_path))
    assert page(view) == page(view)


def test_hostile_text_is_only_text(tmp_path):
    """Model output, prompts, names, reasons, remarks: nothing becomes markup, nothing turns the page around."""
    text = page(read(hostile_run(tmp_path)))
    found = Structure(text)
    assert not found.unbalanced and not found.open
    assert "script" not in found.tags and "img" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", text)
    assert "⟨U+202E⟩" in text and "{{ 7*7 }}" in text
    text.encode("utf-8")


def test_lone_surrogates_do_not_break_the_page(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node("base", "base", {})
    recorder.events.append(("node_failed", "base", {"code": 7, "what": "x\\ud800"}))
    folder = recorder.finish(code=7)
    ledger = folder / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("x\\\\ud800", "x\\ud800"))
    assert "⟨U+D800⟩" in page(read(folder))


def test_an_empty_run_says_what_is_missing(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node("base", "base", {}, measured={})
    text = page(read(recorder.finish(code=None)))
    assert "Unfinished" in text and "not measured: no exam has finished" in text.lower()
    assert "no stage emitted steps" in text and "No gate has been judged" in text
    assert "This run has no probe" in text and "None on record" in text
    assert "Not measured: no node has finished." in text


def test_a_damaged_artifact_is_reported_not_hidden(tmp_path):
    """Rows that cannot be read, and a choice that is not there, stand in the page as such."""
    folder = spectrum(tmp_path)
    scores = (folder / "nodes" / "exam_final" / "scores.jsonl").resolve()
    scores.write_text('{"id": 3}\n')
    (folder / "nodes" / "probe.algebra" / "choice.json").unlink()
    text = page(read(folder))
    assert "The rows cannot be read" in text and "choice.json cannot be read" in text


def test_what_is_wrong_in_training_is_found(tmp_path):
    """S-E4: an injected NaN and a zero gradient are found, with their steps."""
    recorder = Recorder(tmp_path)
    steps = [
        {"step": s, "loss": None if s == 3 else 1.0, "grad_norm": 0.0 if s in (4, 5) else 1.0} for s in range(1, 7)
    ]
    recorder.node("base", "base", {}, steps=steps)
    text = page(read(recorder.finish()))
    assert "base: loss is not a finite number at step 3" in text
    assert "base: the gradient is zero at 2 steps, first 4, last 5" in text


def test_a_gate_without_evidence_says_why(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node("fuse", "fuse", {})
    unknown = Metric(None, reason="the folder is empty")
    recorder.verdict(
        "fuse", "averaged", "inconclusive", metric="ulp_gap", condition="at_most 1", evidence=unknown, reason="r"
    )
    text = page(read(recorder.finish(code=3)))
    assert "the folder is empty" in text and "Inconclusive" in text and "ulp_gap ≤ 1" in text


def test_the_headline_names_what_stopped_the_run(tmp_path):
    """S-A8: the cause stands at the top, of a failed node or of a refused gate."""
    folder = refused(tmp_path / "refused")
    assert "A gate refused (exit code 1). Gate final of gain_rl: " in page(read(folder))
    recorder = Recorder(tmp_path / "failed")
    recorder.node("base", "base", {})
    recorder.events.append(("node_failed", "base", {"code": 7, "what": "the loss is nan", "where": "step 3"}))
    assert "A stage failed (exit code 7). base failed: step 3: the loss is nan" in page(read(recorder.finish(code=7)))
