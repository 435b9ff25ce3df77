"""A stack inside Avalanche's own strategies, where that library is installed."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from tenfold.core.errors import UsageError
from tenfold.remember.stacknet import StackNet
from tests.zoo import load_zoo

if importlib.util.find_spec("avalanche") is None:
    pytest.skip("avalanche-lib is not installed", allow_module_level=True)
load_zoo("torchvision")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from avalanche.benchmarks import nc_benchmark
    from avalanche.training.supervised import Naive

    from tenfold.remember.avalanche import AvalancheStack, StackPlugin

pytestmark = pytest.mark.filterwarnings("ignore")


class Points(torch.utils.data.Dataset[Any]):
    """Six classes, in pairs that lie far apart."""

    def __init__(self, seed: int, count: int = 300) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = (torch.arange(count) % 6).tolist()
        labels = torch.tensor(self.targets)
        self.points = torch.randn(count, 8, generator=generator) * 0.3
        self.points[:, 0] += 2.0 * (labels % 2)
        self.points[:, 1] += 6.0 * (labels // 2)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.points[row], self.targets[row]


@pytest.mark.parametrize("infer", [False, True])
def test_a_strategy_teaches_a_stack(infer: bool) -> None:
    torch.manual_seed(0)
    benchmark = nc_benchmark(
        Points(0), Points(1), n_experiences=3, task_labels=not infer, fixed_class_order=list(range(6)), seed=0
    )
    module = AvalancheStack(
        StackNet(nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 2)), first=1 / 3), infer=infer
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    strategy = Naive(
        model=module, optimizer=optimizer, criterion=nn.CrossEntropyLoss(), train_mb_size=20, train_epochs=8,
        eval_mb_size=50, plugins=[StackPlugin()], evaluator=None,
    )  # fmt: skip
    before: dict[int, torch.Tensor] = {}
    inputs = Points(1).points
    for number, experience in enumerate(benchmark.train_stream):
        strategy.train(experience)
        module.eval()
        for old, logits in before.items():
            assert torch.equal(module.net(inputs, task=str(old)), logits)
        before[number] = module.net(inputs, task=str(number)).detach()
    assert module.net.tasks == ("0", "1", "2")
    targets = torch.tensor(Points(1).targets)
    scores = module(inputs, None if infer else targets // 2)
    assert scores.shape == (300, 6)
    assert float((scores.argmax(1) == targets).float().mean()) > 0.95
    strategy.eval(benchmark.test_stream)
    with pytest.raises(UsageError, match="comes a second time"):
        strategy.train(benchmark.train_stream[0])
