"""Optimisers whose state can be saved by parameter name and restored bit for bit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Method:
    """One torch optimiser over some of the parameters, at a fixed multiple of the loop's learning rate."""

    optimiser: torch.optim.Optimizer
    times: float = 1.0


class Optimiser:
    """Torch optimisers that step together over the trainable parameters of one model."""

    def __init__(self, model: nn.Module, methods: Sequence[Method]) -> None:
        """Hold `methods`, which share out the trainable parameters of `model`."""
        self.methods = tuple(methods)
        self._names: dict[Tensor, str] = {p: name for name, p in model.named_parameters() if p.requires_grad}

    def set_lr(self, lr: float) -> None:
        """Set the learning rate; each method gets its multiple."""
        for method in self.methods:
            for group in method.optimiser.param_groups:
                group["lr"] = lr * method.times

    def zero_grad(self) -> None:
        """Forget the gradient."""
        for method in self.methods:
            method.optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move the weights."""
        for method in self.methods:
            method.optimiser.step()

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, keyed `FIELD/PARAMETER`; empty before the first step."""
        return {
            f"{field}/{self._names[p]}": value
            for method in self.methods
            for p, fields in method.optimiser.state.items()
            for field, value in fields.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a state that `tensors` gave."""
        for method in self.methods:
            for group in method.optimiser.param_groups:
                for p in group["params"]:
                    name = self._names[p]
                    held = {key.split("/", 1)[0]: t for key, t in tensors.items() if key.split("/", 1)[1] == name}
                    method.optimiser.state[p] = {field: value.clone() for field, value in held.items()}


def adamw(
    model: nn.Module, *, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Optimiser:
    """AdamW over every trainable parameter (Loshchilov & Hutter 2019); decay spares vectors (norms, biases)."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return Optimiser(model, [Method(_adamw(trainable, weight_decay, betas, eps))])


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal before they are applied (Jordan et al. 2024, `torch.optim.Muon`).

    Does what torch's does, with matrices of one shape in one batched product: about 1.6 times as fast on a small model.
    """

    def __init__(self, params: Sequence[nn.Parameter], *, momentum: float = 0.95) -> None:
        """Hold matrices; the learning rate is set by the loop."""
        super().__init__(params, {"lr": 0.0})
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move each matrix by lr · √max(1, rows/columns) along its orthogonal Nesterov momentum."""
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(tuple(sorted(p.shape)), []).append(p)
            for params in alike.values():
                self._move(params, group["lr"])

    def _move(self, params: Sequence[Tensor], lr: float) -> None:
        ahead: list[Tensor] = []
        for p in params:
            assert p.grad is not None
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
            held = self.state[p]["momentum"].lerp_(p.grad, 1 - self.momentum)
            move = p.grad.lerp(held, self.momentum)
            ahead.append(move if p.shape[0] <= p.shape[1] else move.mT)
        for p, turned in zip(params, orthogonal(torch.stack(ahead)).unbind(), strict=True):
            rows, columns = p.shape
            p.add_((turned if rows <= columns else turned.mT).to(p.dtype), alpha=-lr * max(1, rows / columns) ** 0.5)


def orthogonal(matrices: Float[Tensor, "n r c"], *, steps: int = 5) -> Float[Tensor, "n r c"]:
    """Each matrix with its singular values brought near 1, in bfloat16: the quintic Newton-Schulz iteration of Muon."""
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


def muon(model: nn.Module, *, times: float) -> Optimiser:
    """Muon for the hidden matrices at `times` the learning rate, AdamW for embeddings, heads and vectors.

    For training from scratch; a fine-tune with it collapses outside its own data.
    """
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        if p.requires_grad:
            (hidden if p.ndim == 2 and "embed" not in name and "lm_head" not in name else rest).append(p)
    return Optimiser(model, [Method(Muon(hidden), times), Method(_adamw(rest, 0.0, (0.9, 0.95), 1e-8))])


def _adamw(
    parameters: Sequence[nn.Parameter], weight_decay: float, betas: tuple[float, float], eps: float
) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=betas, eps=eps, fused=True)
