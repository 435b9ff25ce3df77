"""The rivals do what their papers say, so that beating them means something."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.nets import build_net
from tenfold.remember.learner import Learner
from tenfold.remember.loss import consolidation, old_heads_distance
from tenfold.remember.rivals import ElasticConsolidation, FineTuning, Joint, LearningWithoutForgetting, PackNet
from tenfold.remember.sequence import AllTasks
from tenfold.remember.train import forgetting


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_net("resnet-8", classes=4, width=4)


def data(task: int, count: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(task)
    return torch.randn(count, 3, 12, 12, generator=generator) + task, torch.arange(count) % 3


def teach(learner: Learner, task: int, *, steps: int = 4, epochs: int = 3) -> None:
    """One task through all phases, as the trainer does it."""
    images, labels = data(task)
    learner.begin(3)
    for phase in learner.phases(epochs):
        learner.enter(phase.name)
        optimizer = torch.optim.SGD(learner.trained(), 0.05, 0.9, weight_decay=5e-4, nesterov=True)
        learner.train()
        for _ in range(steps):
            optimizer.zero_grad()
            learner(images, labels).backward()
            optimizer.step()
            learner.after_step()
    learner.eval()
    learner.end([(images, labels)])


# losses


def test_the_old_heads_distance_is_the_cross_entropy_of_softened_scores() -> None:
    given, wanted = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.0, 4.0], [3.0, 1.0]])
    total = 0.0
    for row in range(2):
        q = [math.exp(float(v) / 2) for v in wanted[row]]
        p = [math.exp(float(v) / 2) for v in given[row]]
        total -= sum(a / sum(q) * math.log(b / sum(p)) for a, b in zip(q, p, strict=True))
    assert float(old_heads_distance([given], [wanted], temperature=2.0)) == pytest.approx(total / 2, rel=1e-6)
    assert float(old_heads_distance([given] * 3, [wanted] * 3, temperature=2.0)) == pytest.approx(1.5 * total, rel=1e-6)


def test_the_old_heads_distance_is_least_where_nothing_changed() -> None:
    wanted = torch.randn(5, 4, dtype=torch.float64)
    given = wanted.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(old_heads_distance([given], [wanted], temperature=1.5), given)
    assert float(gradient.abs().max()) < 1e-12


def test_consolidation_by_hand() -> None:
    weights, anchors = (
        [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])],
        [torch.tensor([0.0, 2.0]), torch.tensor([[1.0]])],
    )
    fisher = [torch.tensor([4.0, 9.0]), torch.tensor([[0.5]])]
    assert float(consolidation(weights, anchors, fisher)) == (4 * 1 + 9 * 0 + 0.5 * 4) / 2


# methods


def test_fine_tuning_forgets() -> None:
    learner = FineTuning(model(), "fc")
    teach(learner, 0, steps=30)
    images, labels = data(0)
    before = float((learner.logits(images, 0).argmax(1) == labels).float().mean())
    teach(learner, 1, steps=30)
    assert before - float((learner.logits(images, 0).argmax(1) == labels).float().mean()) > 0.2


def test_without_weight_lwf_and_ewc_are_fine_tuning() -> None:
    learners = [
        FineTuning(model(), "fc"),
        LearningWithoutForgetting(model(), "fc", weight=0.0, temperature=2.0),
        ElasticConsolidation(model(), "fc", weight=0.0, pictures=8, stiffest=10.0),
    ]
    found = []
    for learner in learners:
        torch.manual_seed(3)
        for task in range(2):
            teach(learner, task)
        found.append(learner.logits(data(1)[0], 1))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_lwf_holds_what_the_old_heads_said_of_the_new_pictures() -> None:
    images, labels = data(1)
    moved = []
    for weight in (0.0, 10.0):
        torch.manual_seed(3)
        learner = LearningWithoutForgetting(model(), "fc", weight=weight, temperature=2.0)
        teach(learner, 0)
        learner.begin(3)
        before = learner.before[1](learner.before[0](images)).softmax(1)
        wanted = copy.deepcopy(learner.before.state_dict())
        optimizer = torch.optim.SGD(learner.trained(), 0.05)
        learner.train()
        for _ in range(40):
            optimizer.zero_grad()
            learner(images, labels).backward()
            optimizer.step()
        learner.eval()
        now = learner.logits(images, 0).softmax(1).detach()
        moved.append(float((now - before).abs().mean()))
        assert all(torch.equal(value, wanted[name]) for name, value in learner.before.state_dict().items())
    assert moved[1] < 0.7 * moved[0]


def test_the_fisher_information_is_that_of_logistic_regression() -> None:
    """One Linear and two classes: E over classes of (y - p)^2 x^2 = p (1 - p) x^2, measured with classes drawn."""

    class Line(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False))

    torch.manual_seed(0)
    learner = ElasticConsolidation(Line(), "1", weight=1.0, pictures=4000, stiffest=10.0)
    learner.begin(2)
    with torch.no_grad():
        learner.trunk[0].weight.fill_(0.5)  # type: ignore[index]
        learner.heads[0].weight.copy_(torch.tensor([[0.0], [1.0]]))
        learner.heads[0].bias.zero_()
    inputs = torch.full((4000, 1), 2.0)
    learner.end([(inputs, torch.zeros(4000, dtype=torch.int64))])
    chance = 1 / (1 + math.exp(-1.0))
    weight, fisher = learner.anchors[0].buffers()
    assert float(weight) == 0.5
    assert float(fisher) == pytest.approx(chance * (1 - chance) * 4, rel=0.1)


def test_ewc_pulls_back_to_the_anchors_but_no_harder_than_descent_bears() -> None:
    learner = ElasticConsolidation(model(), "fc", weight=1e9, pictures=8, stiffest=10.0)
    teach(learner, 0)
    start = [value.clone() for value in learner.trunk.parameters()]
    held = [value > 0 for value in list(learner.anchors[0].buffers())[len(start) :]]
    teach(learner, 1, steps=20)
    assert all(bool(value.isfinite().all()) for value in learner.trunk.parameters())
    free = FineTuning(model(), "fc")
    teach(free, 0)
    before = [value.clone() for value in free.trunk.parameters()]
    teach(free, 1, steps=20)
    pairs = zip(learner.trunk.parameters(), start, held, free.trunk.parameters(), before, strict=True)
    with torch.no_grad():
        moves = [(float((a - b)[mask].abs().sum()), float((c - d)[mask].abs().sum())) for a, b, mask, c, d in pairs]
    assert sum(first for first, _ in moves) < 0.3 * sum(second for _, second in moves)


@pytest.mark.parametrize("own_norms", [True, False])
def test_packnet_keeps_old_tasks_to_the_last_bit(own_norms: bool) -> None:
    learner = PackNet(model(), "fc", shares=(0.5, 0.3, 0.2), retrain=0.33, own_norms=own_norms)
    before: dict[int, Tensor] = {}
    for task in range(3):
        teach(learner, task)
        for old, logits in before.items():
            torch.testing.assert_close(learner.logits(data(old)[0], old), logits, rtol=1e-6, atol=1e-6)
        before[task] = learner.logits(data(task)[0], task).detach()
    images = data(0)[0]
    kept = learner.logits(images, 0)
    learner.begin(3)
    learner.train()
    learner(images, data(0)[1]).backward()
    learner.eval()
    assert torch.equal(learner.logits(images, 0), kept)


def test_a_later_task_that_diverges_takes_nothing_from_earlier_ones() -> None:
    learner = PackNet(model(), "fc", shares=(0.5, 0.3, 0.2), retrain=0.33, own_norms=True)
    teach(learner, 0)
    before = learner.logits(data(0)[0], 0)
    learner.begin(3)
    with torch.no_grad():
        for weight, owner in zip(learner._weights.values(), learner.owners.buffers(), strict=True):
            weight[owner == 0] = torch.nan
    assert torch.allclose(learner.logits(data(0)[0], 0), before, atol=1e-6)


def test_packnet_gives_each_task_its_share_of_the_largest_weights() -> None:
    learner = PackNet(model(), "fc", shares=(0.5, 0.3, 0.2), retrain=0.5, own_norms=True)
    learner.begin(3)
    assert [phase.epochs for phase in learner.phases(6)] == [3, 3]
    weights = {name: value.detach().clone() for name, value in learner._weights.items()}
    learner.enter("retrain")
    learner.after_step()
    for (name, weight), owner in zip(weights.items(), learner.owners.buffers(), strict=True):
        kept = owner == 1
        assert int(kept.sum()) == round(0.5 * weight.numel())
        assert float(weight[kept].abs().min()) >= float(weight[~kept].abs().max())
        assert not learner._weights[name][~kept].any()
    learner.end([])
    for task, share in ((1, 0.3), (2, 0.2)):
        teach(learner, task)
        owners = torch.cat([owner.flatten() for owner in learner.owners.buffers()])
        assert float((owners == task + 1).float().mean()) == pytest.approx(share, abs=0.01)
    assert [phase.name for phase in learner.phases(6)] == ["train"]
    assert int((owners == 0).sum()) == 0


def test_joint_training_adds_up_the_tasks_of_a_batch() -> None:
    torch.manual_seed(0)
    learner = Joint(model(), "fc")
    learner.begin(3)
    learner.begin(2)
    images = torch.randn(5, 3, 8, 8)
    owner, classes = torch.tensor([0, 1, 0, 0, 1]), torch.tensor([2, 1, 0, 1, 0])
    learner.eval()
    found = learner(images, owner * AllTasks.STRIDE + classes)
    total = 0.0
    for row in range(5):
        logits = learner.logits(images[row : row + 1], int(owner[row]))
        total += float(F.cross_entropy(logits, classes[row : row + 1]).detach())
    assert float(found.detach()) == pytest.approx(total / 5, rel=1e-5)
    learner(images[:1], torch.tensor([2])).backward()
    assert all(value.grad is not None for value in learner.parameters())


def test_forgetting_is_what_was_lost_since_learning() -> None:
    assert forgetting([[0.9], [0.5, 0.8], [0.4, 0.7, 0.6]]) == pytest.approx((0.5 + 0.1) / 2)
    assert forgetting([[0.9, 0.8]]) == 0.0
