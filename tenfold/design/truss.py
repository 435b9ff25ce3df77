"""A truss bridge across a gap: its joints and bars, designed as one half and mirrored about mid-span, and what they are as a thing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .assembly import Assembly, rod
from .solid import Bulk, Part, Solid, Surface
from .space import DesignSpace, Steps, between, readable

SPAN = 0.3
"""between the supports, m; the deck lies along x with mid-span at x = 0, and its bars at z = 0"""
WIDTH = 0.06
"""between the two trusses, m, which are alike"""
DEPTH = 0.08
"""how far below the deck a joint may be, m"""
HEIGHT = 0.12
"""how far above it"""
HEADROOM = 0.05
"""above the deck; no tie between the trusses crosses it, m"""
THIN, THICK = 0.003, 0.008
"""diameters of bars, m"""
OFF_DECK = 0.02
"""no joint that is added is nearer to the height of the deck, m"""
APART = 0.02
"""joints that would be nearer to each other are one, m"""
ON_BAR = 0.007
"""a joint nearer to a bar lies on it, m"""
NARROW = math.cos(math.radians(12))
"""cosine of the least angle between bars at a joint: narrower, they would be one thick bar for a good part of their length"""
MIDDLE = 0.015
"""a joint nearer to mid-span is at mid-span, where it has no mirror image, m"""
TIE = 0.005
"""diameter of the ties between the trusses, m"""
PLANK = (0.01, 0.003)
"""width and thickness of the planks of the deck, m"""
PLANKS = 20
LEFT_OUT = -0.4
"""a joint is left out where its last number is below"""


class TrussBridge(Solid):
    """Two equal trusses side by side, ties between them, and planks from one to the other.

    Planks instead of one plate: a plate would be a beam along the bridge, which the test of the truss does not count on.

    Args:
        joints: of one truss, x and z, m, (J, 2).
        bars: which joints each joins, (B, 2), the lower first.
        diameters: of the bars, m, (B,).
        deck: joints of the deck along x; the first is on a fixed support and the last on a roller.
    """

    def __init__(
        self,
        joints: NDArray[np.float64],
        bars: NDArray[np.int64],
        diameters: NDArray[np.float64],
        deck: tuple[int, ...],
    ) -> None:
        self.joints, self.bars, self.diameters, self.deck = joints, bars, diameters, deck
        ends = joints[bars]
        self.lengths: NDArray[np.float64] = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
        """of the bars, m, (B,)"""

    @property
    def volume(self) -> float:
        """What `bulk` has, without the rest of it, m³."""
        bars = 2 * float(np.sum(math.pi / 4 * self.diameters**2 * self.lengths))
        knots = 2 * float(np.sum(4 / 3 * math.pi * self._radii**3))
        ties = int(self._tied.sum()) * math.pi / 4 * TIE**2 * WIDTH
        return bars + knots + ties + self.planks

    @property
    def planks(self) -> float:
        """The part of the volume that every bridge has, m³."""
        return PLANKS * PLANK[0] * PLANK[1] * WIDTH

    @cached_property
    def _radii(self) -> NDArray[np.float64]:
        """Of the balls at the joints, a tenth thicker than the thickest bar there, m, (J,)."""
        thickest = np.zeros(len(self.joints))
        np.maximum.at(thickest, self.bars.ravel(), np.repeat(self.diameters, 2))
        # a ball as thick as a bar would only touch it, which leaves slivers in the mesh
        return 1.1 * thickest / 2

    @property
    def _tied(self) -> NDArray[np.bool_]:
        height = self.joints[:, 1]
        return (height <= 0) | (height >= HEADROOM)

    @cached_property
    def _assembly(self) -> Assembly:
        radii = self._radii
        on_deck = np.isin(self.bars, self.deck).all(axis=1)
        floor = float(self.diameters[on_deck].min()) / 2  # the planks lie in the thinnest of the bars that bear them
        lift = float(np.max(np.maximum(radii, TIE / 2) - self.joints[:, 1]))
        joints = np.insert(self.joints, 1, 0.0, axis=1) + np.array([0.0, 0.0, lift])
        aside = np.array([0.0, WIDTH / 2, 0.0])
        pieces = []
        for side in (-aside, aside):
            for (start, end), diameter in zip(joints[self.bars], self.diameters, strict=True):
                pieces.append(rod(start + side, end + side, diameter / 2))
            pieces += [rod(at + side, at + side, radius) for at, radius in zip(joints, radii, strict=True)]
        pieces += [rod(at - aside, at + aside, TIE / 2) for at in joints[self._tied]]
        half = (PLANK[0] / 2, WIDTH / 2, PLANK[1] / 2)
        for x in (np.arange(PLANKS) + 0.5) * SPAN / PLANKS - SPAN / 2:
            pieces.append(Part("box", half, (float(x), 0.0, lift + floor)))
        return Assembly(pieces)

    def bulk(self) -> Bulk:
        return self._assembly.bulk()

    def parts(self) -> list[Part]:
        return self._assembly.parts()

    def surface(self) -> Surface:
        return self._assembly.surface()


@dataclass
class _Draft:
    """A bridge as it is being designed: both halves, each joint with its mirror image's number."""

    places: list[tuple[float, float]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    bars: dict[tuple[int, int], float] = field(default_factory=dict)
    said: str = ""
    """what the last step came to"""

    def place(self, x: float, z: float) -> int:
        """Add a joint and its mirror image; returns the first's number."""
        first = len(self.places)
        self.places.append((x, z))
        if x == 0:
            self.images.append(first)
        else:
            self.places.append((-x, z))
            self.images += [first + 1, first]
        return first

    def join(self, first: int, second: int, diameter: float) -> None:
        """A bar and its mirror image; one that is there becomes no thinner."""
        for pair in ((first, second), (self.images[first], self.images[second])):
            key = (min(pair), max(pair))
            self.bars[key] = max(diameter, self.bars.get(key, 0.0))

    def split(self, joint: int) -> int:
        """Bars that a new joint and its mirror image lie on end there instead; returns how many the joint itself lay on."""
        count = 0
        for number in {joint, self.images[joint]}:
            for pair in [pair for pair in self.bars if number not in pair and self._between(number, *pair)]:
                diameter = self.bars.pop(pair)
                for end in pair:
                    key = (min(end, number), max(end, number))
                    self.bars[key] = max(diameter, self.bars.get(key, 0.0))
                count += number == joint
        return count

    def nearest(self, joint: int, count: int) -> list[int]:
        """The nearest joints, at most `count`, that a bar leads to or could, through no other joint and along no other bar."""
        x, z = self.places[joint]
        # at mid-span the right half would only repeat the left
        others = [o for o, (ox, _) in enumerate(self.places) if o != joint and (x != 0 or ox <= 0)]
        others.sort(key=lambda o: (round(math.dist((x, z), self.places[o]), 9), o))
        found: list[int] = []
        for other in others:
            if len(found) == count:
                break
            if (min(joint, other), max(joint, other)) in self.bars or not (
                any(self._along(joint, other, known) for known in found)
                or any(
                    self._along(end, far, pair[0] + pair[1] - end)
                    for end, far in ((joint, other), (other, joint))
                    for pair in self.bars
                    if end in pair
                )
                # last, as it takes longest
                or any(self._between(m, joint, other) for m in range(len(self.places)) if m not in (joint, other))
            ):
                found.append(other)
        return found

    def _along(self, joint: int, first: int, second: int) -> bool:
        """Whether bars from a joint to two others are too close to each other."""
        (x, z), (ax, az), (bx, bz) = self.places[joint], self.places[first], self.places[second]
        ax, az, bx, bz = ax - x, az - z, bx - x, bz - z
        return ax * bx + az * bz > NARROW * math.hypot(ax, az) * math.hypot(bx, bz)

    def _between(self, joint: int, start: int, end: int) -> bool:
        (x, z), (ax, az), (bx, bz) = self.places[joint], self.places[start], self.places[end]
        along_x, along_z = bx - ax, bz - az
        share = ((x - ax) * along_x + (z - az) * along_z) / (along_x**2 + along_z**2)
        return 0 < share < 1 and math.hypot(ax + share * along_x - x, az + share * along_z - z) < ON_BAR


class Truss(DesignSpace):
    """A deck, and up to six more joints of one half, each joined by bars with those that are nearest.

    The first step is the deck: diameters of its outer and inner bars, the place of the joint between them, and how much thicker
    than drawn all other bars are made. Each later step is a joint: how far from mid-span, how high, the diameter of its bars, and
    how many joints it is joined with, or none, which leaves it out. Everything has a mirror image, and joints are joined across
    mid-span too.
    """

    steps = 7
    width = 4

    def build(self, steps: Steps) -> TrussBridge:
        """The bridge that 1 to 7 steps, (T, 4), come to. The deck alone is a chain."""
        draft = self._draw(steps)
        pairs = sorted(draft.bars)
        return TrussBridge(
            np.array(draft.places),
            np.array(pairs, dtype=np.int64),
            np.array([draft.bars[pair] for pair in pairs]),
            (0, 2, 4, 3, 1),
        )

    def describe(self, steps: Steps) -> str:
        return self._draw(steps).said

    def _draw(self, steps: Steps) -> _Draft:
        numbers = [readable(step, self.width) for step in steps]
        outer, inner = (between(number, THIN, THICK) for number in numbers[0][:2])
        quarter = between(numbers[0][2], SPAN / 6, SPAN / 3)
        thicker = 1.5 ** float(numbers[0][3])
        draft = _Draft()
        end, between_them, middle = draft.place(-SPAN / 2, 0.0), draft.place(-quarter, 0.0), draft.place(0.0, 0.0)
        draft.join(end, between_them, outer)
        draft.join(between_them, middle, inner)
        draft.said = (
            f"deck: bars of {outer * 1e3:.1f} mm, from {quarter * 1e3:.0f} mm to mid-span {inner * 1e3:.1f} mm; "
            f"all other bars {thicker:.2f} times as thick as drawn"
        )
        for step in numbers[1:]:
            _add(draft, step, thicker)
        return draft


def _add(draft: _Draft, step: Steps, thicker: float) -> None:
    """One more joint, if it is not left out."""
    if step[3] < LEFT_OUT:
        draft.said = "no joint: left out"
        return
    x, z = between(step[0], 0.0, SPAN / 2 - 0.005), between(step[1], -DEPTH, HEIGHT)
    notes = []
    if x < MIDDLE:
        x = 0.0
    if abs(z) < OFF_DECK:
        z = math.copysign(OFF_DECK, z)
        notes.append("moved off the deck")
    diameter = min(THICK, max(THIN, thicker * between(step[2], THIN, THICK)))
    count = min(5, 2 + int((float(step[3]) - LEFT_OUT) / (1 - LEFT_OUT) * 4))
    gaps = [math.dist((-x, z), place) for place in draft.places]
    closest = int(np.argmin(gaps))
    if gaps[closest] < APART:
        joint = closest
        notes.append("one with a joint that was too near")
    else:
        joint = draft.place(-x, z) if x else draft.place(0.0, z)
        if draft.split(joint):
            notes.append("on a bar, which ends there now")
    reached = draft.nearest(joint, count)
    for other in reached:
        draft.join(joint, other, diameter)
    at_x, at_z = draft.places[joint]
    where = "at mid-span" if at_x == 0 else f"{abs(at_x) * 1e3:.0f} mm from mid-span, twice"
    draft.said = (
        f"joint {where}, {abs(at_z) * 1e3:.0f} mm {'above' if at_z > 0 else 'below'} the deck, "
        f"joined with {len(reached)} by bars of {diameter * 1e3:.1f} mm" + "".join(f"; {note}" for note in notes)
    )
