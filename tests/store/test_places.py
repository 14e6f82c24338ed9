"""Where views lie and where an edited one goes."""

from pathlib import Path

import pytest

from posttrain.store.run import Run, Store, aside


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("results/x_{fp}.json", "/elsewhere/deep/x_01234567.json"),
        ("results", "/run/results"),
        ("rows.jsonl", "/run/rows.jsonl"),
        ("other/{fp}/x", "/run/other/01234567/x"),
        ("./results//x", "/elsewhere/deep/x"),
    ],
)
def test_paths_move_the_first_folder_of_a_view(target: str, place: str) -> None:
    run = Run(Path("/run"), Store(Path("/run")))
    assert run.view(target, "0123456789abcdef", {"results": "/elsewhere/deep", "rows.jsonl": "/no"}) == Path(place)


def test_what_is_kept_beside_never_falls_on_anything(tmp_path: Path) -> None:
    view = tmp_path / "x.json"
    assert aside(view).name == "x.json.edited"
    aside(view).symlink_to("nowhere")
    assert aside(view).name == "x.json.edited-2"
    aside(view).touch()
    assert aside(view).name == "x.json.edited-3"
