"""The size of memory as a recipe writes it."""

import pytest
from pydantic import ValidationError

from posttrain.spec.knobs import Resources


@pytest.mark.parametrize(
    ("written", "size"),
    [("2GiB", 2 << 30), ("512MiB", 512 << 20), ("1.5 gib", 3 << 29), ("4096", 4096), (4096, 4096), (None, None)],
)
def test_a_size_is_bytes(written: object, size: int | None) -> None:
    made = Resources.model_validate({"memory": written})
    assert made.memory == size
    assert Resources.model_validate(made.model_dump(mode="json")) == made


def test_a_size_is_recorded_as_it_is_read_best() -> None:
    sizes = [2 << 30, 3 << 29, 512 << 20, 1001, None]
    told = [Resources(memory=size).model_dump(mode="json")["memory"] for size in sizes]
    assert told == ["2GiB", "1536MiB", "512MiB", "1001B", None]


@pytest.mark.parametrize("written", ["2GB", "lots", "", "-1GiB", "0GiB", 0, 1.5, True])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        Resources.model_validate({"memory": written})


def test_the_refusal_shows_how_a_size_is_written() -> None:
    with pytest.raises(ValidationError, match='"2GiB" or "512MiB"'):
        Resources.model_validate({"memory": "2 gigs"})
