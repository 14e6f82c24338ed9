"""The sampler: equal to transformers where it must be, exact in what it says, independent of its batch."""

import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny
from transformers import AutoModelForCausalLM

from posttrain.models.decoder import Decoder
from posttrain.models.kernels import attention, decode
from posttrain.models.kernels.draw import choose, stream_key, uniform
from posttrain.models.load import Loaded, save
from posttrain.models.sample import Completion, Request, Sampling, generate
from posttrain.spec.errors import StageFailed, UsageError

STOPS = frozenset(range(30, 50))


def requests(count: int, samples: int, seed: int = 0, shortest: int = 3, longest: int = 14) -> list[Request]:
    draw = random.Random(seed)
    return [
        Request(
            tuple(draw.randrange(50, 256) for _ in range(draw.randint(shortest, longest))),
            draw.getrandbits(63),
            samples,
        )
        for _ in range(count)
    ]


def teacher_forced(model: Decoder, request: Request, completion: Completion, temperature: float = 1.0) -> torch.Tensor:
    """The log-probabilities a forward pass over prompt and completion gives."""
    logits = model(torch.tensor([request.ids + completion.ids]))[0, len(request.ids) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(completion.ids).unsqueeze(1)).squeeze(1).detach()


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_greedy_equals_transformers_token_for_token(tmp_path: object, family: str) -> None:
    """Issue 2 item 6: greedy output equals transformers, prompt by prompt, in fp32."""
    loaded = tiny(model_type=family, num_key_value_heads={"llama": 4, "qwen2": 1, "qwen3": 2}[family])
    save(loaded, tmp_path)  # pyright: ignore[reportArgumentType]
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    asked = requests(14, 2)
    found = generate(loaded.model, asked, Sampling(max_new_tokens=12, greedy=True), stop_ids=STOPS, slots=6)
    for request, group in zip(asked, found, strict=True):
        ids = torch.tensor([request.ids])
        out = theirs.generate(ids, do_sample=False, max_new_tokens=12, eos_token_id=sorted(STOPS), pad_token_id=0)
        expected = tuple(out[0, len(request.ids) :].tolist())
        assert [c.ids for c in group] == [expected, expected]
        assert all(c.finish == ("stop" if expected[-1] in STOPS else "length") for c in group)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("slots", [1, 5, 64])
def test_logprobs_equal_teacher_forcing(temperature: float, slots: int) -> None:
    """Issue 2 item 6: log-probabilities as returned are those of a training forward within 1e-4."""
    model = tiny().model
    asked = requests(9, 3)
    sampling = Sampling(max_new_tokens=16, temperature=temperature)
    for request, group in zip(asked, generate(model, asked, sampling, stop_ids=STOPS, slots=slots), strict=True):
        for completion in group:
            expected = teacher_forced(model, request, completion, temperature)
            assert (torch.tensor(completion.logprobs) - expected).abs().max() <= 1e-4
            stopped = completion.ids[-1] in STOPS
            assert completion.finish == ("stop" if stopped else "length")
            assert not set(completion.ids[:-1]) & STOPS
            assert len(completion.ids) == 16 or stopped


def test_draws_depend_on_request_and_sample_alone() -> None:
    """Issue 2 item 6: an own random stream per request; batch, slots and neighbours change nothing."""
    model = tiny().model
    asked = requests(12, 4)
    sampling = Sampling(max_new_tokens=14)
    whole = generate(model, asked, sampling, stop_ids=STOPS, slots=48)
    ids = [[c.ids for c in group] for group in whole]
    for slots in (1, 7):
        assert [[c.ids for c in g] for g in generate(model, asked, sampling, stop_ids=STOPS, slots=slots)] == ids
    shuffled = asked[::-1]
    again = generate(model, shuffled, sampling, stop_ids=STOPS, slots=9)
    assert [[c.ids for c in g] for g in again][::-1] == ids
    fewer = [Request(r.ids, r.seed, 2) for r in asked[3:5]]
    assert [[c.ids for c in g] for g in generate(model, fewer, sampling, stop_ids=STOPS)] == [g[:2] for g in ids[3:5]]


def test_equal_calls_give_equal_bits() -> None:
    model = tiny().model
    asked = requests(10, 3)
    first, second = (generate(model, asked, Sampling(max_new_tokens=20), stop_ids=STOPS, slots=8) for _ in range(2))
    assert first == second


def test_samples_of_a_group_differ() -> None:
    (group,) = generate(tiny().model, requests(1, 16), Sampling(max_new_tokens=10), stop_ids=STOPS)
    assert len({c.ids for c in group}) > 12


def test_frequencies_follow_the_probabilities() -> None:
    """One next token drawn 4,000 times: chi-square over its 20 likeliest ids and the rest."""
    model = tiny(initializer_range=0.3).model
    request = Request((60, 70, 80), 5, 4000)
    (group,) = generate(model, [request], Sampling(max_new_tokens=1), stop_ids=STOPS, slots=512)
    p = model(torch.tensor([request.ids]))[0, -1].detach().softmax(-1)
    top = p.topk(20)
    counts = Counter(c.ids[0] for c in group)
    observed = [counts[i] for i in top.indices.tolist()]
    expected = [4000 * float(v) for v in top.values]
    observed.append(4000 - sum(observed))
    expected.append(4000 - sum(expected))
    chi = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    assert chi < 45.3  # 0.999 quantile at 20 degrees of freedom


@pytest.mark.parametrize("restriction", [{"top_k": 3}, {"top_p": 0.3}, {"top_k": 5, "top_p": 0.5}])
def test_nucleus_draws_only_what_it_keeps(restriction: dict[str, float]) -> None:
    """Restricted draws, unrestricted log-probabilities."""
    model = tiny(initializer_range=0.3).model
    request = Request((60, 70, 80), 5, 300)
    sampling = Sampling(max_new_tokens=1, **restriction)  # pyright: ignore[reportArgumentType]
    (group,) = generate(model, [request], sampling, stop_ids=STOPS)
    logits = model(torch.tensor([request.ids]))[0, -1].detach()
    order = logits.argsort(descending=True).tolist()
    kept = order[: int(restriction.get("top_k", len(order)))]
    p = logits.softmax(-1)
    mass, size = 0.0, 0
    total = float(p[kept].sum())
    while mass < restriction.get("top_p", 1.0) * total - 1e-6 and size < len(kept):
        mass += float(p[kept[size]])
        size += 1
    assert {c.ids[0] for c in group} == set(kept[:size])
    for completion in group[:5]:
        assert completion.logprobs[0] == pytest.approx(float(p[completion.ids[0]].log()), abs=1e-5)


def test_long_prompts_and_fused_attention_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefill by torch's attention draws what prefill by ours draws."""
    model = tiny().model
    asked = requests(4, 2, longest=40)
    short = generate(model, asked, Sampling(max_new_tokens=40), stop_ids=frozenset())
    monkeypatch.setattr(attention, "SHORT", 0)
    long = generate(model, asked, Sampling(max_new_tokens=40), stop_ids=frozenset())
    assert [[c.ids for c in g] for g in short] == [[c.ids for c in g] for g in long]


def test_bf16_compute_draws_with_logprobs_near_its_own_forward() -> None:
    model = tiny().model
    model.compute = torch.bfloat16
    asked = requests(6, 4)
    gaps = [
        (torch.tensor(c.logprobs) - teacher_forced(model, request, c)).abs().mean()
        for request, group in zip(
            asked, generate(model, asked, Sampling(max_new_tokens=20), stop_ids=STOPS), strict=True
        )
        for c in group
    ]
    assert max(gaps) < 0.05


def test_the_cache_is_kept_between_calls_and_forgotten_after_nan() -> None:
    loaded = tiny()
    model = loaded.model
    asked = requests(4, 2)
    clean = generate(model, asked, Sampling(max_new_tokens=8), stop_ids=STOPS)
    kept = decode._rooms[model].buffers[0].data_ptr()
    assert generate(model, asked, Sampling(max_new_tokens=8), stop_ids=STOPS) == clean
    assert decode._rooms[model].buffers[0].data_ptr() == kept
    weight = model.model.layers[0].mlp.down_proj.weight  # pyright: ignore
    healthy = weight.data.clone()
    weight.data.fill_(float("nan"))
    with pytest.raises(StageFailed, match="not finite"):
        generate(model, asked, Sampling(max_new_tokens=8), stop_ids=STOPS)
    weight.data = healthy
    assert generate(model, asked, Sampling(max_new_tokens=8), stop_ids=STOPS) == clean


def test_training_goes_on_after_sampling() -> None:
    """Nothing that sampling caches is an inference tensor that a later backward would trip over."""
    loaded = tiny()
    generate(loaded.model, requests(2, 2), Sampling(max_new_tokens=4), stop_ids=STOPS)
    loaded.model(torch.tensor([[5, 6, 7]])).sum().backward()
    assert all(p.grad is not None for p in loaded.model.parameters())


def test_progress_counts_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    generate(
        tiny().model,
        requests(5, 3),
        Sampling(max_new_tokens=6),
        stop_ids=STOPS,
        slots=4,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (15, 15)
    assert told == sorted(told)


def test_nothing_asked_is_nothing_drawn() -> None:
    model = tiny().model
    assert generate(model, [], Sampling(max_new_tokens=3), stop_ids=STOPS) == []
    assert generate(model, [Request((60,), 1, 0)], Sampling(max_new_tokens=3), stop_ids=STOPS) == [[]]


@pytest.mark.parametrize("ids", [(), (5, 10_000), (-1,)])
def test_prompts_the_model_cannot_read_are_refused(ids: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        generate(tiny().model, [Request(ids, 1, 1)], Sampling(max_new_tokens=3), stop_ids=STOPS)


def test_dynamic_rope_is_not_sampled_beyond_its_positions() -> None:
    loaded: Loaded = tiny(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    with pytest.raises(UsageError, match="dynamic"):
        generate(loaded.model, requests(1, 1), Sampling(max_new_tokens=128), stop_ids=STOPS)


@pytest.mark.parametrize("bad", [{"max_new_tokens": 0}, {"temperature": 0.0}, {"top_p": 0.0}, {"top_k": -1}])
def test_sampling_that_draws_nothing_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Sampling(**{"max_new_tokens": 1, **bad})  # pyright: ignore[reportArgumentType]


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000), st.integers(0, 100_000))
def test_uniform_is_splitmix64(seed: int, sample: int, position: int) -> None:
    """Against the published algorithm in plain integers: the state advances by the golden ratio, then is mixed."""
    key = stream_key(seed, sample)
    state = (key + (position + 1) * 0x9E3779B97F4A7C15) % 2**64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    state ^= state >> 31
    found = uniform(torch.tensor([key]), torch.tensor([position]))
    assert float(found) == (state >> 40) / 2**24


def test_uniforms_are_uniform_over_samples_and_positions() -> None:
    keys = torch.tensor([stream_key(s, g) for s in range(40) for g in range(8)])
    u = uniform(keys.repeat(50), torch.arange(50).repeat_interleave(len(keys)))
    assert abs(float(u.mean()) - 0.5) < 0.01
    assert abs(float(u.var()) - 1 / 12) < 0.003
    table = u.view(50, -1)
    assert abs(float(torch.corrcoef(table)[0, 1])) < 0.2


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.full((2000, 5), float("-inf"))
    logits[:, 1], logits[:, 3] = 0.0, 0.0
    keys = torch.arange(2000)
    chosen = choose(logits, Sampling(max_new_tokens=1), keys, torch.zeros_like(keys))
    assert set(chosen.ids.tolist()) == {1, 3}
    assert torch.allclose(chosen.logprobs, torch.tensor(0.5).log().expand(2000))
