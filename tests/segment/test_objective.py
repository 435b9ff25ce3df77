from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.masks import IGNORE
from tenfold.segment import C3Net, C3NetV2, DepthwiseNet, ESPNet
from tenfold.segment.dense import DilatedSegmenter
from tenfold.segment.objective import Objective, decay_groups, mean_loss

from .builders import randomised

WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 4.0, 3.0])


def network(kind: Any = C3Net) -> Any:
    torch.manual_seed(0)
    return randomised(kind(5, depths=(0, 0)))


def batch(height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    labels = torch.randint(5, (2, height, width))
    labels[torch.rand(labels.shape) < 0.3] = IGNORE
    return torch.randn(2, 3, height, width), labels


def assert_sums(step: Any, logits: Tensor, labels: Tensor) -> None:
    """All sums of a step, over the labelled pixels one after the other."""
    known = labels != IGNORE
    rows, wanted = logits.movedim(1, -1)[known], labels[known]
    costs = -rows.log_softmax(1)[torch.arange(len(rows)), wanted]
    torch.testing.assert_close(step.loss, (WEIGHTS[wanted] * costs).sum())
    torch.testing.assert_close(step.weight, WEIGHTS[wanted].sum())
    assert int(step.right) == int((rows.argmax(1) == wanted).sum())
    assert int(step.labelled) == len(wanted) > 0
    assert 0 < int(step.right) < len(wanted)


@pytest.mark.parametrize("kind", [C3Net, C3NetV2, DepthwiseNet, ESPNet])
def test_the_whole_network_learns_from_every_pixel(kind: Any) -> None:
    net, (pictures, labels) = network(kind), batch()
    assert_sums(Objective(net, WEIGHTS, whole=True)(pictures, labels), net(pictures), labels)


@pytest.mark.parametrize("size", [(48, 64), (41, 57), (47, 71)])
def test_the_encoder_learns_from_every_eighth_pixel(size: tuple[int, int]) -> None:
    net, (pictures, labels) = network(), batch(*size)
    low = torch.stack([labels[:, row] for row in range(0, size[0], 8)], 1)
    low = torch.stack([low[..., column] for column in range(0, size[1], 8)], -1)
    assert_sums(Objective(net, WEIGHTS, whole=False)(pictures, labels), net.encode(pictures), low)


def test_a_label_that_is_ignored_is_never_right() -> None:
    net, (pictures, labels) = network(), batch()
    labels.fill_(IGNORE)
    step = Objective(net, WEIGHTS, whole=True)(pictures, labels)
    assert [float(value.detach()) for value in step] == [0, 0, 0, 0]


def test_only_the_loss_has_gradients() -> None:
    step = Objective(network(), WEIGHTS, whole=True)(*batch())
    assert [value.requires_grad for value in step] == [True, False, False, False]


def test_what_learns_is_the_network_or_its_encoder() -> None:
    net = network()
    assert Objective(net, WEIGHTS, whole=True).trained() is net
    assert Objective(net, WEIGHTS, whole=False).trained() is net.encoder
    dense = DilatedSegmenter("drn-d-22", 5, width=2)
    assert Objective(dense, WEIGHTS, whole=True).trained() is dense


def test_weights_follow_the_network_but_are_not_stored() -> None:
    objective = Objective(network(), WEIGHTS.double(), whole=True)
    assert objective.weights.dtype == torch.float32
    assert list(objective.state_dict()) == [f"network.{name}" for name in objective.network.state_dict()]
    assert objective.to("meta").weights.is_meta


def test_half_precision_logits_are_lost_in_single_precision() -> None:
    net, (pictures, labels) = network(), batch()
    half = nn.Sequential(net, Half())
    step = Objective(half, WEIGHTS, whole=True)(pictures, labels)
    assert step.loss.dtype == torch.float32
    assert_sums(step, net(pictures).bfloat16().float(), labels)


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.bfloat16()


def grouped(module: nn.Module, **options: float) -> dict[str, float]:
    """What each parameter is decayed by."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found: dict[str, float] = {}
    for group in decay_groups(module, **options):
        parameters: Any = group["params"]
        assert parameters
        for parameter in parameters:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = float(group["weight_decay"])  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("kind", [C3Net, C3NetV2, DepthwiseNet, ESPNet])
def test_every_parameter_is_in_one_group(kind: Any) -> None:
    net = network(kind)
    found = grouped(net, convolutions=2e-4, norms=1e-5)
    assert set(found) == {name for name, _ in net.named_parameters()}
    for name, module in net.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
            wanted = 1e-5 if parameter.ndim == 1 else 0 if depthwise else 2e-4
            assert found[f"{name}.{own}"] == wanted
    assert (0 in found.values()) == (kind is not ESPNet)


def test_grouped_convolutions_that_are_not_depthwise_decay() -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 8, 3, groups=4), nn.Linear(8, 2))
    found = grouped(module, convolutions=0.5, norms=0.25)
    assert found == {
        "0.weight": 0.5,
        "0.bias": 0.25,
        "1.weight": 0,
        "1.bias": 0.25,
        "2.weight": 0.5,
        "2.bias": 0.25,
    }


@pytest.mark.parametrize(("convolutions", "norms"), [(0.0, 0.0), (1e-4, 1e-4), (0.0, 1e-5), (2e-4, 0.0)])
def test_groups_of_one_decay_are_one(convolutions: float, norms: float) -> None:
    found = grouped(network(), convolutions=convolutions, norms=norms)
    assert set(found) == {name for name, _ in network().named_parameters()}
    assert set(found.values()) == {convolutions, norms, 0.0}
    assert len(decay_groups(network(), convolutions=convolutions, norms=norms)) == len({convolutions, norms, 0.0})


def test_groups_are_what_optimisers_take() -> None:
    net = network()
    optimiser = torch.optim.Adam(decay_groups(net, convolutions=2e-4, norms=1e-5), lr=1e-3)
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(net.parameters()))


def test_gradients_averaged_over_processes_are_those_of_all_pixels() -> None:
    net, (pictures, labels) = network().double(), batch()
    pictures = pictures.double()
    labels[0, 5:] = IGNORE  # one process has few pixels
    logits = net(pictures)
    wanted = F.cross_entropy(logits, labels, WEIGHTS.double(), ignore_index=IGNORE)
    whole = torch.autograd.grad(wanted, list(net.parameters()))
    objective = Objective(net, WEIGHTS, whole=True)
    steps = [objective(pictures[rank : rank + 1], labels[rank : rank + 1]) for rank in range(2)]
    weight = sum((step.weight.detach() for step in steps), torch.tensor(0.0))
    losses = [mean_loss(step, weight, 2) for step in steps]
    assert float(sum(losses).detach()) / 2 == pytest.approx(float(wanted.detach()))  # type: ignore[union-attr]
    each = [torch.autograd.grad(loss, list(net.parameters())) for loss in losses]
    for first, second, all_of_them in zip(*each, whole, strict=True):
        torch.testing.assert_close((first + second) / 2, all_of_them, rtol=1e-4, atol=1e-6)


def test_a_batch_without_labels_has_no_loss_and_no_gradient() -> None:
    net, (pictures, labels) = network(), batch()
    step = Objective(net, WEIGHTS, whole=True)(pictures, labels.fill_(IGNORE))
    loss = mean_loss(step, step.weight, 1)
    assert float(loss.detach()) == 0
    torch.autograd.backward(loss)
    assert not any(parameter.grad.any() for parameter in net.parameters() if parameter.grad is not None)
