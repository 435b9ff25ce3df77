"""`LatentDensity`: an exact density over vectors from anywhere, to sample from and to score with. N rows, D dimensions."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.checkpoint import load_weights, save_weights
from ..core.errors import UsageError
from ..core.modes import evaluating
from .config import FitSettings
from .coordinates import Coordinates, Order, order_places
from .fitting import Progress, log_likelihoods, maximize_likelihood
from .loss import mixture_draw, mixture_log_prob, mixture_of
from .network import CausalNet, Heads, Norm, check_net, draw_cached
from .rows import FEWEST, Source, as_rows

QUANTILES = 1001
"""of the held-out likelihoods, kept to say how typical a row is"""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}
FORMAT = "tenfold.generate.LatentDensity 1"


class LatentDensity(nn.Module):
    """p(z) = prod_i p(z_i | z_1 .. z_(i-1)), each factor a mixture of Gaussians (the paper's latent density estimator).

    It has the manners of a `torch.distributions.Distribution`: `sample`, `log_prob`, `batch_shape`, `event_shape`; and those of a
    module: `to(device)`, `double()`, `state_dict`. Gradients flow through `log_prob` to the latents.

    Args:
        dim: D, at least 1.
        components: K Gaussians in each mixture (paper: 30, CIFAR-10: 50).
        order: in which dimensions follow each other: `index` (paper), `variance`, `pca`, or a permutation. See `Coordinates`.
        norm: in the network: `batch` (paper) or `layer`.
        heads: the network's last layer: `own`, one for each dimension (ours), or `shared` (paper).
        base_width: channels of the first layer; every layer doubles it (paper: 16).
        max_width: up to this many; None is the paper, whose 512 dimensions have 4,096 channels.
        floor: the least standard deviation of a component, in units of the dimension's own; 0 is the paper.
        standardize: learn every dimension centred and with a spread of one; the densities are those of the latents all the
            same. Without it they are learned as they are (paper).

    Raises:
        UsageError: an argument is out of range.
    """

    typical: Tensor

    def __init__(
        self,
        dim: int,
        components: int = 30,
        *,
        order: Order = "index",
        norm: Norm = "batch",
        heads: Heads = "own",
        base_width: int = 16,
        max_width: int | None = 512,
        floor: float = 1e-3,
        standardize: bool = True,
    ) -> None:
        super().__init__()
        check_net(dim, components, base_width, max_width)
        if norm not in ("batch", "layer"):
            raise UsageError(f"norm is {norm!r}, but must be batch or layer")
        if heads not in ("shared", "own"):
            raise UsageError(f"heads is {heads!r}, but must be shared or own")
        if not 0 <= floor < 1:
            raise UsageError(f"floor is {floor}, but must be at least 0 and below 1")
        dim, components, base_width = int(dim), int(components), int(base_width)  # numpy's numbers do not go into JSON
        self.dim = dim
        self.floor = floor
        self.standardize = standardize
        self._settings: dict[str, Any] = {
            "dim": dim,
            "components": components,
            "order": order if isinstance(order, str) else order_places(dim, order),
            "norm": norm,
            "heads": heads,
            "base_width": base_width,
            "max_width": max_width,
            "floor": floor,
            "standardize": standardize,
        }
        self.coordinates = Coordinates(dim, order)
        self.net = CausalNet(
            dim, components=components, base_width=base_width, max_width=max_width, norm=norm, heads=heads
        )
        self.register_buffer("typical", torch.full((QUANTILES,), math.nan))
        self.history: list[tuple[float, float]] = []
        """of each epoch of the last fit: log-likelihood of training rows while learned, and of held-out rows after; nats a row"""

    batch_shape = torch.Size()
    has_rsample = False

    @property
    def event_shape(self) -> torch.Size:
        """(D,)."""
        return torch.Size([self.dim])

    # learning

    def fit(
        self,
        latents: Source,
        *,
        validation: Source | float | None = None,
        settings: FitSettings | None = None,
        seed: int = 0,
        **changed: Any,
    ) -> Self:
        """Learn from rows, and stop when held-out rows become less likely; returns itself, in `eval` mode.

        Args:
            latents: (N, D) numbers; or (encoder, loader): the frozen encoder's outputs on the loader's batches.
            validation: rows to stop by; or the share of the rows that are kept aside for it, in (0, 0.5]; None is the
                settings' `held_out`.
            settings: the optimisation.
            seed: of the initial weights, the rows kept aside and the order of the batches.
            changed: settings to be other than in `settings`, such as `epochs=20`.

        Raises:
            UsageError: another shape, fewer than 20 rows, a number that is not finite, a setting out of range, or it diverged.
        """
        settings = settings_with(settings or FitSettings(), changed)
        share = settings.held_out if validation is None else validation
        rows, held_out = split_rows(latents, share, self.dim, seed)
        self.prepare(rows)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net.initialise()
        progress = maximize_likelihood(self, rows.to(self.dtype), held_out.to(self.dtype), settings, seed=seed)
        self.settle(progress, held_out)
        return self

    def prepare(self, rows: Tensor) -> None:
        """Before learning: take the coordinates from the rows (N, D)."""
        self.coordinates.fit(rows, standardize=self.standardize)

    @torch.no_grad()
    def settle(self, progress: Progress, held_out: Tensor) -> None:
        """After learning: remember how likely held-out rows (M, D) are."""
        self.history = list(progress.history)
        found = log_likelihoods(self, held_out.to(self.dtype)).double()
        self.typical.copy_(found.quantile(torch.linspace(0, 1, QUANTILES, dtype=torch.float64)))

    # scoring

    def forward(self, latents: Tensor) -> Tensor:
        """`log_prob`."""
        return self.log_prob(latents)

    def log_prob(self, latents: Tensor, *, given: int = 0) -> Tensor:
        """log p(z), or with `given` = P, log p(z_(P+1) .. z_D | z_1 .. z_P) in the density's order; nats.

        Of dimensions that never varied in training there is no density; a value other than theirs is punished by
        0.5 (difference / 0.001 of their size)^2, so that it does not go unseen.

        Args:
            latents: (..., D), of any real type.
            given: how many dimensions, first in the density's order, are a condition; 0 to D.

        Returns:
            (...), of the type of the weights.

        Raises:
            UsageError: the last axis is not D, or `given` is out of range.
        """
        if not (isinstance(given, int) and 0 <= given <= self.dim):
            raise UsageError(f"given is {given}, but must be 0 to {self.dim}: the dimensions of the density")
        volume = torch.where(self.coordinates.varying, -self.coordinates.scale.log(), 0.0)
        return (self.log_prob_terms(latents) + volume)[..., given:].sum(-1)

    def log_prob_terms(self, latents: Tensor) -> Tensor:
        """log p(u_i | u_1 .. u_(i-1)) of each standardised dimension, in the density's order: (..., D) -> (..., D), nats."""
        latents = torch.as_tensor(latents)
        if latents.shape[-1:] != (self.dim,):
            raise UsageError(f"latents have shape {tuple(latents.shape)}, but must be (..., {self.dim})")
        values = self.coordinates(latents.to(device=self.device, dtype=self.dtype))
        flat = values.reshape(-1, self.dim)
        varying = self.coordinates.varying
        seen = torch.where(varying, flat, 0.0)
        terms = mixture_log_prob(seen, mixture_of(self.net(seen), floor=self.floor))
        return torch.where(varying, terms, -0.5 * flat.square()).view(values.shape)

    @torch.no_grad()
    def typicality(self, latents: Tensor) -> Tensor:
        """How usual the log-density of each row is: the share of held-out rows that are further from the middle, in [0, 1].

        1 is the middle of what real rows have; 0.05 and below is rare, on either side: samples that are *too* likely are as
        untypical as outliers. (..., D) -> (...).

        Raises:
            UsageError: the density was not fitted, or the last axis is not D.
        """
        with evaluating(self):
            place = torch.searchsorted(self._held_out, self.log_prob(latents).contiguous(), right=True)
        share = place.to(self.dtype) / QUANTILES
        return 1 - (2 * share - 1).abs()

    @property
    def median(self) -> float:
        """Of the log-densities of held-out rows, nats.

        Raises:
            UsageError: the density was not fitted.
        """
        return float(self._held_out[QUANTILES // 2])

    @property
    def spread(self) -> Tensor:
        """Standard deviation of each latent (D,) among the rows that were learned, 1 if not standardised; 0 where it never varied."""
        scaled = torch.where(self.coordinates.varying, self.coordinates.scale, 0.0)
        if self.coordinates.rotation.numel():
            return (self.coordinates.rotation * scaled).square().sum(1).sqrt()
        return torch.empty_like(scaled).scatter_(0, self.coordinates.order, scaled)

    @property
    def _held_out(self) -> Tensor:
        if self.typical.isnan().any():
            raise UsageError("this compares with held-out rows, so the density must be fitted first")
        return self.typical

    # sampling

    @torch.no_grad()
    def sample(
        self,
        sample_shape: int | Sequence[int] = (),
        *,
        given: Tensor | Sequence[float] | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Rows drawn from the density, `(*sample_shape, D)`; in time that grows with D, not with its square.

        Args:
            sample_shape: how many, as a number or a shape; () is one row.
            given: values (P,), or `(*sample_shape, P)`, of the first P dimensions in the density's order.
            temperature: above 0; below 1 samples are nearer to the modes. See `mixture_of`.
            seed: the same seed gives the same rows on every device; None takes torch's global generator.
            generator: a CPU generator to draw from, instead of a seed.

        Raises:
            UsageError: the prefix has another shape or is longer than D, or an argument is out of range.
        """
        shape = torch.Size([sample_shape] if isinstance(sample_shape, int) else sample_shape)
        if min(shape, default=0) < 0:
            raise UsageError(f"sample_shape is {sample_shape}, but must be a number of rows or a shape, at least 0")
        if not 0 < temperature < math.inf:
            raise UsageError(f"temperature is {temperature}, but must be above 0 and finite")
        if seed is not None and generator is not None:
            raise UsageError("a seed and a generator were given, but only one of them can be drawn from")
        count = math.prod(shape)
        fixed = None if given is None else self._given(torch.as_tensor(given), shape)
        prefix = None if fixed is None else self._prefix(fixed)
        noise = _noise(count, self.dim, seed, generator)
        uniform, normal = (part.to(device=self.device, dtype=self.dtype) for part in noise)

        def draw(raw: Tensor, place: int) -> Tensor:
            mixture = mixture_of(raw, floor=self.floor, temperature=temperature)
            # a dimension that never varied is 0 to the network, in training and here
            return mixture_draw(mixture, uniform[:, place], normal[:, place]) * varying[place]

        varying = self.coordinates.varying.to(self.dtype)
        with evaluating(self.net):  # batch norm would mix the rows that are drawn together
            values = draw_cached(self.net, draw, count, prefix)
        rows = self.coordinates.inverse(values)
        if fixed is not None:  # as they were given, without the rounding of there and back
            rows[:, self.coordinates.order[: fixed.shape[1]]] = fixed
        return rows.view(*shape, self.dim)

    def _given(self, given: Tensor, shape: torch.Size) -> Tensor:
        """A prefix for each row, (N, P)."""
        if given.ndim == 0 or given.shape[-1] > self.dim:
            raise UsageError(
                f"the prefix has shape {tuple(given.shape)}, but must be (P,) or (*sample_shape, P), P at most {self.dim}"
            )
        length = given.shape[-1]
        if given.ndim > 1 and given.shape[:-1] != shape:
            raise UsageError(
                f"the prefix has shape {tuple(given.shape)}, but must be ({length},) or {(*shape, length)}"
            )
        values = given.to(device=self.device, dtype=self.dtype).expand(*shape, length).reshape(math.prod(shape), length)
        if not values.isfinite().all():
            raise UsageError("the prefix has NaN or infinite values, but all must be finite")
        return values

    def _prefix(self, given: Tensor) -> Tensor:
        """Given values (N, P) as the network reads them; of a dimension that never varied it only knows 0."""
        values = self.coordinates.prefix(given)
        return torch.where(self.coordinates.varying[: given.shape[1]], values, 0.0)

    # keeping

    def save(self, path: str | Path) -> None:
        """Write settings and weights to one .safetensors file.

        Raises:
            UsageError: the file cannot be written.
        """
        about = {
            "format": FORMAT,
            "settings": json.dumps(self._settings),
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        save_weights(Path(path), self, about)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The density that `save` wrote, in `eval` mode on the CPU.

        Raises:
            UsageError: the file is missing, damaged, or not of a density.
        """
        path = Path(path)
        about = _about(path)
        if about.get("format") != FORMAT:
            raise UsageError(f"{path} is not a file of a LatentDensity: its header says {about.get('format')!r}")
        try:
            with torch.random.fork_rng(devices=[]):  # the weights it begins with are replaced
                density = cls(**json.loads(about["settings"])).to(DTYPES[about["dtype"]])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} is damaged: its settings do not make a density: {error}") from error
        load_weights(path, density)
        return density.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.net.head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of what comes out."""
        return self.net.head.weight.dtype

    def __repr__(self) -> str:
        given = {name: value for name, value in self._settings.items() if name != "dim"}
        return f"LatentDensity({self.dim}, {', '.join(f'{name}={value!r}' for name, value in given.items())})"


def settings_with(settings: FitSettings, changed: dict[str, Any]) -> FitSettings:
    """`settings` with some of them changed.

    Raises:
        UsageError: there is no such setting, or a value is out of range.
    """
    known = [field.name for field in fields(settings)]
    unknown = next((name for name in changed if name not in known), None)
    if unknown is not None:
        raise UsageError(f"there is no setting {unknown!r} of a fit; there are {', '.join(known)}")
    return replace(settings, **changed)


def split_rows(
    latents: Source, validation: Source | float, dim: int, seed: int, *, fewest: int = FEWEST
) -> tuple[Tensor, Tensor]:
    """Rows to learn from, (N, D), and rows to stop by, (M, D): given ones, or a random share that follows from the seed.

    Raises:
        UsageError: see `as_rows`; or the share is out of range.
    """
    rows = as_rows(latents, dim, fewest=fewest)
    if not isinstance(validation, float | int):
        return rows, as_rows(validation, dim, what="validation latents")
    if not 0 < validation <= 0.5:
        raise UsageError(f"validation is {validation}, but must be rows or a share above 0 and at most 0.5")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(derive_seed("held out", seed)))
    aside = max(1, round(validation * len(rows)))
    return rows[order[aside:]], rows[order[:aside]]


def _noise(count: int, dim: int, seed: int | None, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Uniform and standard normal numbers (N, D) each, on the CPU, so that a seed means the same on every device."""
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, dim, generator=generator), torch.randn(count, dim, generator=generator)


def _about(path: Path) -> dict[str, str]:
    """The header of a safetensors file."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist, but must be a file that LatentDensity.save wrote")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise UsageError(f"{path} is not a whole safetensors file: {error}") from error
