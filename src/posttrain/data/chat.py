"""From a problem to token ids: the prompt as a model is asked, the response, and which tokens are trained."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from posttrain.data.pack import Example
from posttrain.data.records import AnswerType
from posttrain.spec.errors import UsageError
from posttrain.spec.knobs import Closed

SLOT = "{prompt}"
"""Where a template takes the problem's text."""

PLAIN: dict[AnswerType, str] = {"maths": "{prompt}\n", "code": "{prompt}\n", "options": "{prompt}\n"}
"""The templates of a model that says nothing else: the prompt, a new line, then the answer."""


class Prompting(Closed):
    """How a model is asked; kept in its folder, so that sft, probe, rl and evaluate ask alike."""

    templates: dict[AnswerType, str] = Field(default_factory=lambda: dict(PLAIN))
    """One prompt template per answer type; each holds `{prompt}` once."""
    chat: bool = False
    """Wrap the text in the tokenizer's chat template as one user message."""
    thinking: Literal["keep", "off"] = "keep"
    """Whether a chat template that knows of thinking leaves it on."""

    @field_validator("templates")
    @classmethod
    def _each_has_a_slot(cls, templates: dict[AnswerType, str]) -> dict[AnswerType, str]:
        for answer_type, template in templates.items():
            if template.count(SLOT) != 1:
                raise ValueError(
                    f"the template for {answer_type} holds {SLOT} once; this one {template.count(SLOT)} times"
                )
        return templates


DEFAULT_PROMPTING = Prompting()


class Turn(NamedTuple):
    """A prompt and the response a model is trained to give."""

    prompt: str
    response: str
    answer_type: AnswerType = "maths"
    key: str = ""
    """Names the turn in errors and displays."""


def prompt_text(prompt: str, answer_type: AnswerType, prompting: Prompting, tokenizer: Any = None) -> str:
    """The text a model reads before it answers; UsageError where chat is asked of a tokenizer that has no template."""
    if answer_type not in prompting.templates:
        raise UsageError(f"the model has no prompt template for {answer_type}", where="prompting.templates")
    text = prompting.templates[answer_type].replace(SLOT, prompt)
    if not prompting.chat:
        return text
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError("the tokenizer has no chat template", where="prompting.chat", remedy="Set chat = false.")
    thinking = {"enable_thinking": False} if prompting.thinking == "off" else {}
    message = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, **thinking)


def prompt_ids(tokenizer: Any, prompt: str, answer_type: AnswerType, prompting: Prompting) -> list[int]:
    """The ids of `prompt_text`, with the start token of tokenizers that have one and never an end token."""
    return _prompt_ids(tokenizer, [prompt_text(prompt, answer_type, prompting, tokenizer)], prompting)[0]


def example(
    tokenizer: Any, prompt: str, response: str, answer_type: AnswerType, prompting: Prompting, *, key: str = ""
) -> Example:
    """One trained turn: prompt ids exactly as in a rollout, then the response and EOS, which alone are targets."""
    return examples(tokenizer, [Turn(prompt, response, answer_type, key)], prompting)[0]


def examples(
    tokenizer: Any, turns: Iterable[Turn], prompting: Prompting, *, prompt_trained: bool = False
) -> list[Example]:
    """Many trained turns, tokenised together; `prompt_trained` (pre-training text) makes prompt tokens targets too.

    Prompt and response are tokenised apart and joined, so no token spans the border.
    """
    turns = list(turns)
    asked = _prompt_ids(
        tokenizer, [prompt_text(t.prompt, t.answer_type, prompting, tokenizer) for t in turns], prompting
    )
    answered = _encode(tokenizer, [t.response for t in turns], special=False)
    end = int(tokenizer.eos_token_id)
    return [
        Example(
            ids=(*before, *after, end),
            mask=(prompt_trained,) * len(before) + (True,) * (len(after) + 1),
            key=turn.key,
        )
        for turn, before, after in zip(turns, asked, answered, strict=True)
    ]


def _prompt_ids(tokenizer: Any, texts: Sequence[str], prompting: Prompting) -> list[list[int]]:
    found = _encode(tokenizer, texts, special=not prompting.chat)
    end = tokenizer.eos_token_id
    if prompting.chat:
        return found
    return [ids[:-1] if ids and ids[-1] == end != tokenizer.bos_token_id else ids for ids in found]


def _encode(tokenizer: Any, texts: Sequence[str], *, special: bool) -> list[list[int]]:
    return tokenizer(list(texts), add_special_tokens=special)["input_ids"] if texts else []
