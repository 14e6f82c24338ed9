"""Reports as files: the form follows the suffix, the file appears whole."""

import json

import pytest

from posttrain.reports import publish
from posttrain.reports.read import read
from posttrain.spec.errors import UsageError
from reports.recorded import spectrum


def test_the_page_lies_in_the_run(tmp_path):
    folder = spectrum(tmp_path)
    page = publish.write(read(folder))
    assert page == folder / "report.html" and page.read_text().startswith("<!doctype html>")
    assert not list(folder.glob(".*.new"))


def test_the_suffix_chooses_the_form(tmp_path):
    view = read(spectrum(tmp_path / "run"))
    assert publish.write(view, tmp_path / "deep" / "r.md").read_text().startswith("# spectrum: passed")
    told = json.loads(publish.write(view, tmp_path / "r.json").read_text())
    assert told["code"] == 0 and told["outcome"]["verdict"] == "pass"
    assert [row["label"] for row in told["learning"]["rows"]] == ["base", "specialist", "fused", "final"]
    probe = next(node for node in told["nodes"] if node["node"] == "probe/algebra")
    assert probe["inputs"][0]["role"] == "model" and len(probe["fingerprint"]) == 64


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"r\.pdf: a report is \.html, \.md, \.json"):
        publish.write(read(spectrum(tmp_path / "run")), tmp_path / "r.pdf")
