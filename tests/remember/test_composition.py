"""Stacks with the other methods: what `extract` gives is a network like any other, and others' networks are stacked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tenfold import commands
from tenfold.core.config import ComputeConfig
from tenfold.core.run import Run
from tenfold.distill import FeatureDistiller
from tenfold.nets import build_net
from tenfold.resize import make_resizable
from tenfold.segment import ConcentratedConv2d

from .stacks import a_few_steps, inputs_for, learned, outputs, stack_of
from .test_learning import TINY


def a_stack() -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = build_net("resnet-14", classes=6, width=12)
    images = inputs_for(model, 8)
    return learned(model, images, tasks=2).extract("task 1"), images


def test_an_extracted_network_teaches_and_is_taught() -> None:
    small, images = a_stack()
    torch.manual_seed(1)
    student = build_net("resnet-8", classes=4, width=8)
    distiller = FeatureDistiller(small, student, example=images, alpha=1e-3)
    loss = distiller(images, torch.arange(8) % 4)
    loss.total.backward()
    assert float(loss.feature.detach()) > 0
    teacher = build_net("resnet-20", classes=4, width=12)
    distiller = FeatureDistiller(teacher, small, example=images, alpha=1e-3)
    distiller(images, torch.arange(8) % 4).total.backward()
    assert all(value.grad is not None for value in small.parameters())


def test_an_extracted_network_gets_a_cost_dial() -> None:
    small, images = a_stack()
    net = make_resizable(small).eval()
    assert net(images, scale=0.6).shape == (8, 4)
    assert net.cost_report(images).total_blocks == 6


def test_a_concentrated_convolution_is_stacked() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), ConcentratedConv2d(16, 16, dilation=2), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 5, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
    )  # fmt: skip
    images, net = inputs_for(model), stack_of(model)
    net.add_task("a", num_classes=3)
    a_few_steps(net, "a", images)
    before = outputs(net.eval(), images)["a"]
    net.add_task("b", num_classes=2)
    a_few_steps(net, "b", images)
    assert torch.equal(outputs(net, images)["a"], before)


@pytest.mark.slow
@pytest.mark.parametrize("methods", [("stack",), ("packnet", "lwf")])
def test_two_processes_learn_what_one_does(methods: tuple[str, ...], tmp_path: Path) -> None:
    config = replace(TINY, methods=methods, train=replace(TINY.train, epochs=1))  # type: ignore[arg-type]
    alone = Run.open(commands.train("remember", config, root=tmp_path))
    both = Run.open(commands.train("remember", replace(config, compute=ComputeConfig(processes=2)), root=tmp_path))
    losses = [{line["stage"]: line["loss"] for line in run.metrics() if "loss" in line} for run in (alone, both)]
    assert losses[0].keys() == losses[1].keys()
    for stage, loss in losses[0].items():
        # a difference of 1e-7 in the first step grows with every later one
        assert losses[1][stage] == pytest.approx(loss, rel=0.02), stage
    assert both.status["metrics"].keys() == alone.status["metrics"].keys()
