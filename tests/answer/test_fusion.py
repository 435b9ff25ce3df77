"""The fused graph against its equations, written out again in numpy, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.answer.fusion import FusedGraph, GraphConvolution, Graphs, Variant, masked_softmax, normalize

B, N, V, F, H = 3, 7, 5, 6, 4
VARIANTS: tuple[Variant, ...] = ("f-gcn1", "f-gcn2")


def graphs(count: int, nodes: int, *, real: int | None = None, seed: int = 0) -> Graphs:
    """Random graphs whose first `real` nodes are there."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.arange(nodes)[None].expand(count, -1) < (nodes if real is None else real)
    drawn = torch.rand(count, nodes, nodes, generator=random) < 0.3
    links = (drawn | drawn.transpose(1, 2)) & mask[:, :, None] & mask[:, None]
    features = torch.randn(count, nodes, F, generator=random) * mask[..., None]
    return Graphs(features, links, mask)


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(values - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def by_hand(model: FusedGraph, text: Graphs, visual: Graphs, row: int) -> np.ndarray:
    """Equations 1 to 3 for one graph without padding."""

    def normalised(links: torch.Tensor) -> np.ndarray:
        joined = np.maximum(links.numpy().astype(float), np.eye(len(links)))
        degree = np.diag(joined.sum(1) ** -0.5)
        return degree @ joined @ degree

    def weight(layer: GraphConvolution) -> np.ndarray:
        return layer.weight.weight.detach().double().numpy().T

    a_t, a_d = normalised(text.links[row]), normalised(visual.links[row])
    h_t = np.tanh(a_t @ text.features[row].double().numpy() @ weight(model.text))
    h_d = np.tanh(a_d @ visual.features[row].double().numpy() @ weight(model.visual))
    z = softmax(h_d @ h_t.T, axis=0)
    h_1 = np.concatenate([h_t, z.T @ h_d], axis=1)
    return h_1 if model.again is None else np.tanh(a_t @ h_1 @ weight(model.again))


def test_the_adjacency_is_normalised_by_the_degrees_with_self_loops() -> None:
    links = torch.tensor([[[False, True, False], [True, False, False], [False, False, False]]])
    found = normalize(links, torch.tensor([[True, True, False]]))
    assert torch.allclose(found, torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]]))
    path = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=torch.bool)[None]
    found = normalize(path, torch.ones(1, 3, dtype=torch.bool))[0]
    assert found[0, 1] == pytest.approx(1 / np.sqrt(2 * 3))
    assert found[1, 1] == pytest.approx(1 / 3)
    assert torch.linalg.eigvalsh(found).max() == pytest.approx(1.0, abs=1e-6)


def test_self_loops_that_are_there_already_change_nothing() -> None:
    text = graphs(B, N)
    looped = text.links | torch.eye(N, dtype=torch.bool)
    assert torch.equal(normalize(text.links, text.mask), normalize(looped, text.mask))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_fused_graph_is_equations_1_to_3(variant: Variant) -> None:
    model, text, visual = FusedGraph(F, H, variant), graphs(B, N), graphs(B, V, seed=1)
    found = model(text, visual)
    assert found.shape == (B, N, model.width)
    for row in range(B):
        np.testing.assert_allclose(found[row].detach().numpy(), by_hand(model, text, visual, row), atol=1e-5)


@pytest.mark.parametrize(("variant", "width"), [("f-gcn1", 2 * H), ("f-gcn2", H)])
def test_f_gcn1_doubles_the_width(variant: Variant, width: int) -> None:
    assert FusedGraph(F, H, variant).width == width


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("nodes", [0, V])
def test_without_a_visual_graph_only_the_text_is_there(variant: Variant, nodes: int) -> None:
    model, text = FusedGraph(F, H, variant), graphs(B, N)
    nothing = (
        graphs(B, nodes, real=0)
        if nodes
        else Graphs(torch.zeros(B, 0, F), torch.zeros(B, 0, 0).bool(), torch.zeros(B, 0).bool())
    )
    found = model(text, nothing)
    alone = model.text(normalize(text.links, text.mask), text.features)
    expected = torch.cat([alone, torch.zeros_like(alone)], -1)
    if model.again is not None:
        expected = model.again(normalize(text.links, text.mask), expected)
    assert torch.allclose(found, expected)
    found.sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
    assert not model.visual.weight.weight.grad.any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_renaming_the_nodes_renames_what_comes_out(variant: Variant) -> None:
    model, text, visual = FusedGraph(F, H, variant), graphs(B, N), graphs(B, V, seed=1)
    order, other = torch.randperm(N), torch.randperm(V)
    renamed = Graphs(text.features[:, order], text.links[:, order][:, :, order], text.mask)
    seen = Graphs(visual.features[:, other], visual.links[:, other][:, :, other], visual.mask)
    assert torch.allclose(model(renamed, seen), model(text, visual)[:, order], atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_changes_nothing_and_stays_zero(variant: Variant) -> None:
    model, text, visual = FusedGraph(F, H, variant), graphs(B, N, real=4), graphs(B, V, real=3, seed=1)
    found = model(text, visual)
    short = model(
        Graphs(text.features[:, :4], text.links[:, :4, :4], text.mask[:, :4]),
        Graphs(visual.features[:, :3], visual.links[:, :3, :3], visual.mask[:, :3]),
    )
    assert torch.allclose(found[:, :4], short, atol=1e-6)
    assert not found[:, 4:].any()


def test_what_stands_in_padded_links_is_not_read() -> None:
    model, text, visual = FusedGraph(F, H), graphs(B, N, real=4), graphs(B, V, real=3, seed=1)
    wild = Graphs(
        text.features,
        torch.ones_like(text.links) & ~(text.mask[:, :, None] & text.mask[:, None]) | text.links,
        text.mask,
    )
    assert torch.allclose(model(wild, visual), model(text, visual))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.data())
def test_a_masked_softmax_is_a_softmax_of_what_is_left(rows: int, columns: int, data: st.DataObject) -> None:
    scores = torch.tensor(
        data.draw(
            st.lists(
                st.lists(st.floats(-30, 30, width=32), min_size=columns, max_size=columns), min_size=rows, max_size=rows
            )
        )
    )
    mask = torch.tensor(
        data.draw(st.lists(st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    )
    found = masked_softmax(scores, mask)
    for row in range(rows):
        left = mask[row]
        assert not found[row][~left].any()
        if left.any():
            assert torch.allclose(found[row][left], scores[row][left].softmax(0), atol=1e-6)
