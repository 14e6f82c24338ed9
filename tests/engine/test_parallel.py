"""A real graph side by side and one after the other."""

from pathlib import Path

import pytest

from posttrain import api
from posttrain.api import Asked


@pytest.mark.nightly
def test_a_real_graph_gives_the_same_bytes_side_by_side(tmp_path: Path) -> None:
    """S-A16: data, a base and its specialists, one job and four."""
    digests: list[dict[str, str]] = []
    for jobs in (1, 4):
        folder = tmp_path / str(jobs)
        asked = Asked("spectrum", profiles=("smoke",), run=folder, jobs=jobs, until=("specialist",))
        assert api.run(asked).code == 0
        nodes = sorted(path.name for path in (folder / "nodes").iterdir())
        digests.append({node: api.show(folder / "nodes" / node).manifest.digest for node in nodes})
    assert len(digests[0]) == 11
    assert digests[0] == digests[1]
