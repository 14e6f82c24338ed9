"""The tokenizer made on the spot."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TEXTS
from transformers import AutoTokenizer

from posttrain.models.presets import Vocabulary
from posttrain.models.tokens import END, PAD, read_tokenizer, train_tokenizer, write_tokenizer
from posttrain.spec.errors import UsageError

TOKENIZER = train_tokenizer(TEXTS, Vocabulary(size=400))


def pieces(text: str) -> list[str]:
    return TOKENIZER.convert_ids_to_tokens(TOKENIZER(text).input_ids)


def test_words_are_single_tokens_and_digits_and_symbols_single_characters() -> None:
    assert pieces("Find the area") == ["Find", "Ġthe", "Ġarea"]
    assert pieces("x=-137.5") == ["x", "=", "-", "1", "3", "7", ".", "5"]
    assert pieces("\\boxed{30}") == ["\\boxed{", "3", "0", "}"]


def test_unknown_words_fall_to_their_bytes() -> None:
    assert pieces("zebra é") == ["z", "e", "b", "r", "a", "Ġ", "Ã", "©"]


def test_end_and_pad_are_special() -> None:
    assert (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id) == (0, 1)
    assert TOKENIZER.decode([1, 0], skip_special_tokens=True) == ""
    assert pieces(f"a{END}{PAD}") == ["a", END, PAD]


@given(st.text(max_size=40))
def test_every_text_comes_back(text: str) -> None:
    """S-A10, round trip: byte-level, so any text is representable."""
    ids = TOKENIZER(text).input_ids
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text


def test_equal_texts_give_equal_bytes(tmp_path: Path) -> None:
    for name, texts in (("a", TEXTS), ("b", list(reversed(TEXTS)))):
        (tmp_path / name).mkdir()
        write_tokenizer(train_tokenizer(texts, Vocabulary(size=400)), tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_saved_tokenizer_is_stock_and_does_not_drift(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    write_tokenizer(TOKENIZER, tmp_path / "a")
    again = read_tokenizer(tmp_path / "a")
    write_tokenizer(again, tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    stock = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert stock(TEXTS[0]).input_ids == TOKENIZER(TEXTS[0]).input_ids
    assert (stock.eos_token, stock.pad_token) == (END, PAD)


def test_size_bounds_the_vocabulary_and_the_rarest_words_go_first() -> None:
    small = train_tokenizer(["aa bb aa bb aa"], Vocabulary(size=261, min_count=1))
    assert len(small) == 261
    assert {" aa", " bb"} == {small.decode([i]) for i in range(259, 261)}
    assert len(train_tokenizer(["rare word"], Vocabulary(size=400, min_count=2))) == 259


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UsageError, match="tokenizer"):
        read_tokenizer(tmp_path)


def test_a_tokenizer_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """The library raises a plain Exception for it."""
    write_tokenizer(TOKENIZER, tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace('"version": "1.0"', '"version": "9.0"'))
    with pytest.raises(UsageError, match="version"):
        read_tokenizer(tmp_path)
