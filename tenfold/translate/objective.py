"""What the generator and the discriminators of a run are trained for. N pictures, L losses, D domains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import loss
from .config import LossSettings, NetSettings
from .discriminator import PatchDiscriminator
from .features import CONTENT, Looks
from .jitter import jitter_colours


class PictureLosses(nn.Module):
    """The losses of made pictures beside the adversarial ones: reconstruction, and perceptual and style of each style.

    Args:
        looks: features of pictures in [-1, 1].
        styles: each style picture, (1, 3, S, S) in [-1, 1].
        settings: factors.
    """

    def __init__(self, looks: Looks, styles: Sequence[Tensor], settings: LossSettings) -> None:
        super().__init__()
        self.looks = looks
        self._settings = settings
        self._weights: list[list[float]] = []
        for number, picture in enumerate(styles):
            with torch.no_grad():
                goals = [loss.gram(features) for features in looks(picture)]
            for layer, goal in enumerate(goals):
                self.register_buffer(f"gram_{number}_{layer}", goal, persistent=False)
            units = [max(float(goal.square().mean()), 1e-12) if settings.relative else 1.0 for goal in goals]
            self._weights.append([weight / unit for weight, unit in zip(settings.style, units, strict=True)])

    def reconstruction(self, made: Tensor, pictures: Tensor) -> Tensor:
        """(N,)."""
        return self._settings.reconstruction * loss.reconstruction(made, pictures)

    def styled(self, made: Tensor, pictures: Tensor, wanted: Sequence[bool] | None = None) -> list[Tensor]:
        """The perceptual plus style loss for each style, (N,); zeros for styles that are not `wanted`."""
        chosen = [True] * len(self._weights) if wanted is None else list(wanted)
        if not any(chosen):
            return [made.new_zeros(len(made)) for _ in chosen]
        features = self.looks(made)
        content = self._perceptual(features[CONTENT], pictures)
        grams = [loss.gram(layer) for layer in features]
        return [
            content + self._style(grams, number) if want else made.new_zeros(len(made))
            for number, want in enumerate(chosen)
        ]

    def _perceptual(self, found: Tensor, pictures: Tensor) -> Tensor:
        if self._settings.perceptual == 0:
            return found.new_zeros(len(found))
        with torch.no_grad():
            goal = self.looks.content(pictures)
        value = self._settings.perceptual * loss.perceptual(found, goal)
        return value / loss.per_sample(goal.square()).clamp_min(1e-8) if self._settings.relative else value

    def _style(self, grams: Sequence[Tensor], number: int) -> Tensor:
        goals = [self.get_buffer(f"gram_{number}_{layer}") for layer in range(len(grams))]
        return loss.style(grams, goals, self._weights[number])


class Critics(nn.Module):
    """The discriminators of all domains, trained together.

    Args:
        domains: D.
        settings: their size.
        penalty: factor of `loss.gradient_penalty`; 0 leaves it out.
    """

    def __init__(self, domains: int, settings: NetSettings, *, penalty: float = 0.0) -> None:
        super().__init__()
        self._penalty = penalty
        self.networks = nn.ModuleList(
            PatchDiscriminator(width=settings.critic_width, layers=settings.critic_layers, norm=settings.critic_norm)
            for _ in range(domains)
        )

    def forward(self, made: Tensor, shares: Tensor, real: Sequence[Tensor], draws: Tensor | None = None) -> Tensor:
        """The sum of their losses.

        Args:
            made: (M, 3, H, W), from the replay.
            shares: (M, D), what each was asked to be of each domain.
            real: pictures of each domain, (M, 3, H, W).
            draws: (M, 2, 3), how made and real ones are shifted (`jitter_colours`); None leaves them as they are.
        """
        if draws is not None:
            made = jitter_colours(made, draws[:, 0])
            real = [jitter_colours(pictures, draws[:, 1]) for pictures in real]
        losses = [
            loss.discriminator_loss(network, pictures, made, shares[:, number], penalty=self._penalty)
            for number, (network, pictures) in enumerate(zip(self.networks, real, strict=True))
        ]
        return torch.stack(losses).sum()

    def fooled(self, made: Tensor, number: int, draws: Tensor | None = None) -> Tensor:
        """The adversarial loss of made pictures for one domain, (N,), shifted by `draws`, (N, 3), where they are given."""
        seen = made if draws is None else jitter_colours(made, draws)
        return loss.adversarial(self.networks[number](seen))


class Translation(nn.Module):
    """Every loss of every picture of a batch; the generator is part of it, the critics are lent.

    Args:
        generator: (pictures, mix=(N, L)) -> pictures.
        losses: of pictures.
        critics: of the domains.
        identity: factor of the identity loss.
        active: which of the L losses are needed; a network of one mixture skips those of share 0.
    """

    def __init__(
        self,
        generator: nn.Module,
        losses: PictureLosses,
        critics: Critics,
        *,
        identity: float,
        active: Sequence[bool],
    ) -> None:
        super().__init__()
        self.generator = generator
        self.losses = losses
        self._critics = (critics,)  # a tuple keeps them out of this module's parameters, which have another optimizer
        self._identity = identity
        self._active = tuple(active)

    def forward(
        self, pictures: Tensor, real: Sequence[Tensor], mix: Tensor, draws: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Made pictures (N, 3, H, W), and the losses (N, L) in the order of the corners; those not needed are 0.

        Args:
            pictures: (N, 3, H, W) in [-1, 1], of the source.
            real: the same of each domain.
            mix: (N, L).
            draws: (N, 3), by which the critics see what is made shifted; None shifts nothing.
        """
        wanted = self._active[1 : 1 + len(real)]
        same = [part for part, want in zip(real, wanted, strict=True) if want] if self._identity > 0 else []
        # one pass over all: neither instance norm nor attention looks across pictures
        found = self.generator(torch.cat([pictures, *same]), mix=mix.repeat(1 + len(same), 1))
        made, *kept = found.split(len(pictures))
        columns = [self.losses.reconstruction(made, pictures) if self._active[0] else made.new_zeros(len(made))]
        keeping = iter(zip(kept, same, strict=True))
        for number, want in enumerate(wanted):
            columns.append(
                self._domain(made, number, draws, next(keeping, None)) if want else made.new_zeros(len(made))
            )
        columns += self.losses.styled(made, pictures, self._active[1 + len(real) :])
        return made, torch.stack(columns, 1)

    def _domain(self, made: Tensor, number: int, draws: Tensor | None, keeping: tuple[Tensor, Tensor] | None) -> Tensor:
        value = self._critics[0].fooled(made, number, draws)
        return value if keeping is None else value + self._identity * loss.reconstruction(*keeping)
