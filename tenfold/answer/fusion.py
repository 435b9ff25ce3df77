"""The fused graph network, f-GCN (arXiv:1811.00232, section 3): a text graph that takes in what a diagram graph knows.

Shapes: B graphs, N nodes of the text graph, V nodes of the visual (diagram) graph, F features of a node, H the hidden width.
The equations are numbered as in the project's notes of the paper; the README says which of them are reconstructed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Variant = Literal["f-gcn1", "f-gcn2"]


class Graphs(NamedTuple):
    """A batch of graphs, padded to the largest; a padded node has no feature, no link and no mask."""

    features: Tensor
    """float (B, N, F)"""
    links: Tensor
    """bool (B, N, N), symmetric; self loops make no difference"""
    mask: Tensor
    """bool (B, N): which nodes there are"""


def normalize(links: Tensor, mask: Tensor) -> Tensor:
    """The normalised adjacency D^-1/2 (A + I) D^-1/2, float (B, N, N); rows and columns of padding are zero.

    Args:
        links: bool (B, N, N), symmetric.
        mask: bool (B, N).
    """
    there = mask[:, :, None] & mask[:, None]
    loops = torch.eye(links.shape[-1], dtype=torch.bool, device=links.device)
    joined = ((links | loops) & there).float()
    scale = joined.sum(-1).clamp_min(1).rsqrt()
    return scale[:, :, None] * joined * scale[:, None]


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over `dim` of the entries that the mask has, zero elsewhere; all zero where the mask has none.

    Args:
        scores: float, of any shape.
        mask: bool, broadcastable to it.
    """
    weights = scores.masked_fill(~mask, -torch.inf)
    # where nothing is left every entry would be NaN, in the gradient too
    weights = weights.masked_fill(~mask.any(dim, keepdim=True), 0.0)
    return weights.softmax(dim) * mask


class GraphConvolution(nn.Module):
    """H = tanh(A C W), equation 1. Without a bias, so that a padded node stays zero.

    Args:
        features: F, of a node.
        hidden: H.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Linear(features, hidden, bias=False)
        nn.init.xavier_uniform_(self.weight.weight)

    def forward(self, adjacency: Tensor, features: Tensor) -> Tensor:
        """(B, N, N) normalised and (B, N, F) -> (B, N, H)."""
        return (adjacency @ self.weight(features)).tanh()


class FusedGraph(nn.Module):
    """f-GCN: text nodes, each beside what the diagram's nodes say to it.

    Args:
        features: F, of a node of either graph.
        hidden: H, of a graph convolution.
        variant: f-gcn1 puts text and diagram side by side (equation 2), which gives nodes of width 2 H; f-gcn2 convolves that once more
            over the text graph (equation 3), which gives H.

    Attributes:
        width: of a node that comes out.
    """

    def __init__(self, features: int, hidden: int, variant: Variant = "f-gcn1") -> None:
        super().__init__()
        self.variant = variant
        self.text = GraphConvolution(features, hidden)
        self.visual = GraphConvolution(features, hidden)
        self.again = GraphConvolution(2 * hidden, hidden) if variant == "f-gcn2" else None
        self.width = hidden if variant == "f-gcn2" else 2 * hidden

    def forward(self, text: Graphs, visual: Graphs) -> Tensor:
        """(B, N, width); rows of padding are zero. A visual graph without nodes adds zeros."""
        adjacency = normalize(text.links, text.mask)
        h_t = self.text(adjacency, text.features)
        h_1 = torch.cat([h_t, self.seen(h_t, visual) * text.mask[..., None]], dim=-1)
        return h_1 if self.again is None else self.again(adjacency, h_1)

    def seen(self, h_t: Tensor, visual: Graphs) -> Tensor:
        """Z^T H_d of equation 2, (B, N, H): of each text node, the diagram nodes that are like it."""
        h_d = self.alone(visual)
        scores = h_d @ h_t.transpose(1, 2)
        return masked_softmax(scores, visual.mask[..., None], dim=1).transpose(1, 2) @ h_d

    def alone(self, visual: Graphs) -> Tensor:
        """H_d = tanh(A_d C_d W_d), (B, V, H): a diagram by itself, such as a question's own."""
        return self.visual(normalize(visual.links, visual.mask), visual.features)
