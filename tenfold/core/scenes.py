"""The embedded set `scenes`: streets composed from garments on real photo textures, with a class for every pixel.

A composed scene is never a photograph: its people are Fashion-MNIST's shirts, trousers and dresses, its vehicles shoes, its
signs and left luggage bags, and its walls, ground, trees and sky are cut from a few photographs. Colours and light are drawn
at random. Many classes differ by place and shape alone: walls and pavement are of the same brick, a bag is a sign where it
hangs and luggage where it stands, a trunk would be a pole but for the crown above it.

Lengths in the street are in camera heights. What stands `scale` rows below the horizon has `scale` pixels to each length. Only
exact operations are used, so that a scene is the same on every machine.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

from .config import DataConfig
from .embedded_sets import read_garments
from .errors import UsageError
from .sources import GARMENTS, Bytes

Part = Literal["train", "test"]
Array = np.ndarray[Any, np.dtype[Any]]

CLASSES = ("sky", "building", "vegetation", "road", "pavement", "lane mark", "pole", "sign", "person", "bag", "vehicle")
SKY, BUILDING, VEGETATION, ROAD, PAVEMENT, LANE_MARK, POLE, SIGN, PERSON, BAG, VEHICLE = range(len(CLASSES))
IGNORE = 255  # the bonnet of the car that the camera looks over, where it is seen
_SHADES = "56b4e9 b08968 009e73 5a5a64 cc79a7 ffffff f0e442 e69f00 d55e00 000000 0050b2"
COLOURS: Bytes = np.frombuffer(bytes.fromhex(_SHADES), np.uint8).reshape(-1, 3).copy()
"""uint8 (K, 3), RGB, to show each class in: Okabe and Ito's, which the colour-blind can tell apart, and three more."""
SIZE = HEIGHT, WIDTH = 96, 128
COUNTS = {"train": 1000, "test": 200}

FOCAL = 110  # focal length in pixels
BLOCKS = 16  # buildings, gardens and gaps along each side of the street
DRAWS = 800  # more random numbers than any scene takes
GARMENTS_USED = 400  # of each class at most, the first of the split
THRESHOLD = 16  # pixels above this are garment, and so is what garment encloses
ROWS: Array = np.arange(HEIGHT, dtype=np.float32)[:, None] + np.float32(0.5)
COLUMNS: Array = np.arange(WIDTH, dtype=np.float32) + np.float32(0.5)
BRICK, GRAVEL, GRASS = range(3)
TILE = (512, 256)  # rows and columns of each of these surfaces
LEVELS = 6  # sizes that each is kept in, half and half again, for what is farther away
STARTS: Array = np.cumsum([0] + [TILE[0] * TILE[1] >> 2 * level for level in range(LEVELS)])
"""Where each level begins in a flat surface; the last is its length."""


@cache
def read_scenes(split: Part) -> tuple[Bytes, Bytes]:
    """All composed scenes of a split, in memory from the first call on and shared by all callers: do not write to them.

    Returns:
        Pictures, uint8 (N, 96, 128, 3), RGB, and labels, uint8 (N, 96, 128): an index into `CLASSES`, or 255 for pixels
        to ignore. N is `COUNTS[split]`; training scenes hold only training garments, test scenes only test garments.

    Raises:
        UsageError: there is no such split.
    """
    _check(split, number=0, seed=0)
    scenes = [compose(split, number) for number in range(COUNTS[split])]
    return np.stack([picture for picture, _ in scenes]), np.stack([labels for _, labels in scenes])


def compose(split: Part, number: int, *, seed: int = 0) -> tuple[Bytes, Bytes]:
    """One composed scene, which follows from the arguments alone; `read_scenes` gives those from 0 on of seed 0.

    Returns:
        Picture, uint8 (96, 128, 3), RGB, and labels, uint8 (96, 128): an index into `CLASSES`, or 255 to ignore.

    Raises:
        UsageError: there is no such split, or `number` or `seed` is negative.
    """
    _check(split, number=number, seed=seed)
    kit, draws = _kit(split), Draws(seed, number * 2 + get_args(Part).index(split))
    street = Street(draws)
    colours, labels = np.empty((3, *SIZE), np.uint8), np.empty(SIZE, np.uint8)
    _paint_sky(colours, labels, kit=kit, street=street, draws=draws)
    _paint_ground(colours, labels, kit=kit, street=street, draws=draws)
    _paint_sides(colours, labels, kit=kit, street=street, draws=draws)
    picture, mask = Image.fromarray(np.stack([*colours], axis=2)), Image.fromarray(labels)
    for thing in sorted(_things(kit, street, draws, labels), key=lambda thing: thing.scale):
        _place(thing, street, picture, mask)
    return _developed(picture, mask, kit, draws)


def _check(split: str, *, number: int, seed: int) -> None:
    if split not in get_args(Part):
        raise UsageError(f"the split is {split!r}, but composed scenes have only {' and '.join(get_args(Part))}")
    if number < 0 or seed < 0:
        raise UsageError(f"the number and seed of a composed scene are {number} and {seed}, but must not be negative")


class Draws:
    """A fixed stream of random numbers: NumPy froze that of its legacy generator."""

    def __init__(self, seed: int, stream: int) -> None:
        # with a key, a generator starts ten times faster than from a seed
        generator = np.random.Philox(key=np.array([seed, stream], np.uint64))
        numbers = np.random.RandomState(generator).random_sample(DRAWS)
        self._array: Array = numbers.astype(np.float32)
        self._list: list[float] = numbers.tolist()
        self._next = 0

    def uniform(self, low: float, high: float) -> float:
        """At least `low`, below `high`."""
        self._next += 1
        return low + (high - low) * self._list[self._next - 1]

    def array(self, low: float, high: float, *shape: int) -> Array:
        """float32 of that shape."""
        start, self._next = self._next, self._next + math.prod(shape)
        return low + (high - low) * self._array[start : self._next].reshape(shape)

    def below(self, count: int) -> int:
        """0 to count - 1."""
        return int(self.uniform(0, count))


class Street:
    """The geometry of a straight street: a road between pavements and verges, between two rows of buildings."""

    def __init__(self, draws: Draws) -> None:
        self.horizon, self.centre = draws.uniform(34, 50), draws.uniform(40, 88)
        self.road = -draws.uniform(0.8, 2), draws.uniform(0.6, 1.4)  # lengths to the right of the camera's way
        self.pavement = self.road[0] - draws.uniform(0.4, 1), self.road[1] + draws.uniform(0.4, 1)
        verges = [draws.uniform(0.4, 2) if draws.uniform(0, 1) < 0.55 else 0.0 for _ in range(2)]
        self.walls = self.pavement[0] - verges[0], self.pavement[1] + verges[1]
        self.below: Array = ROWS - self.horizon  # (H, 1), the scale of the ground in each row
        self.offsets: Array = COLUMNS - self.centre
        nearness = np.where(self.offsets > 0, self.offsets / self.walls[1], self.offsets / self.walls[0])
        end = draws.uniform(1.6, 4)
        self.closed: Array = nearness < end  # (W,), where a wall closes the street
        self.nearness: Array = np.maximum(nearness, end)  # (W,), the scale of the wall in each column


@dataclass(frozen=True)
class Kit:
    """What the scenes of a split are composed from."""

    surfaces: Array  # brick, gravel and grass, each of mean 1 and flat: all its levels, one after the other
    foliage: Array  # (128, 256), of mean 1
    skies: Array  # (2, 3, 64, 128), by day and at dusk, of values to 255
    noise: Array  # (192, 3 * 256), of standard deviation 0.58
    sprites: dict[int, list[Image.Image]]  # of labels; bags are signs too


@cache
def _kit(split: Part) -> Kit:
    part = get_args(Part).index(split)
    packed = resources.files("tenfold.core.embedded").joinpath("textures.npz").read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
        textures = {name: stored[name][part] for name in stored.files}
    source, random = read_garments(DataConfig(), split), np.random.RandomState(part)
    images, targets = np.asarray(source.images)[:, 0], source.targets.numpy()
    garments = {name: images[targets == number][:GARMENTS_USED] for number, name in enumerate(GARMENTS)}
    shoes = np.concatenate([garments[name] for name in ("Sneaker", "Ankle boot", "Sandal")])
    foliage = _mirrored(textures["foliage"])
    return Kit(
        surfaces=np.concatenate([_levels(textures[name]) for name in ("brick", "gravel", "grass")]),
        foliage=foliage,
        skies=np.stack([textures["day"], textures["dusk"]]).transpose(0, 3, 1, 2).astype(np.float32),
        noise=(random.random_sample((4, 2 * HEIGHT, 6 * WIDTH)).sum(0) - 2).astype(np.float32),
        sprites={
            PERSON: _persons(garments, random),
            VEHICLE: _sprites(*_tinted(shoes, random)),
            BAG: _sprites(*_tinted(garments["Bag"], random)),
            VEGETATION: _trees(foliage, random),
        },
    )


def _mirrored(texture: Bytes) -> Array:
    """Twice as high and wide, of mean 1."""
    wide = np.concatenate([texture, texture[:, ::-1]], axis=1)
    return (np.concatenate([wide, wide[::-1]]) / texture.mean()).astype(np.float32)


def _levels(texture: Bytes) -> Array:
    """A flat surface."""
    level = _mirrored(texture)
    levels = [level.ravel()]
    for _ in range(1, LEVELS):
        level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]) / 4
        levels.append(level.ravel())
    return np.concatenate(levels)


def _tinted(garments: Bytes, random: np.random.RandomState) -> tuple[Bytes, Array]:
    """Each in a random colour, (N, H, W, 3), and its shape, bool (N, H, W): itself and what it has on all four sides."""
    light, saturation = random.uniform(0.6, 1.3, (len(garments), 1)), random.uniform(0, 0.9, (len(garments), 1))
    tints = light * (1 - saturation * random.random_sample((len(garments), 3)))
    values = np.maximum(garments, 48)[..., None] * tints[:, None, None]
    shapes = garments > THRESHOLD
    before = [np.logical_or.accumulate(shapes, axis) for axis in (1, 2)]
    after = [np.flip(np.logical_or.accumulate(np.flip(shapes, axis), axis), axis) for axis in (1, 2)]
    return np.minimum(values, 255).astype(np.uint8), np.logical_and.reduce(before + after)


def _persons(garments: dict[str, Bytes], random: np.random.RandomState) -> list[Image.Image]:
    """Tops over trousers, and dresses, each with a head."""
    slim = {name: pixels[:, :, np.arange(21) * 4 // 3] for name, pixels in garments.items()}
    tops = np.concatenate([slim[name] for name in ("T-shirt/top", "Pullover", "Coat", "Shirt")])
    trousers, dresses = slim["Trouser"], slim["Dress"][::2, np.arange(46) * 28 // 46]
    tops = tops[random.permutation(len(tops))[: len(trousers)]]
    head = 200 * (((np.arange(11)[:, None] - 5) / 5) ** 2 + ((np.arange(21) - 10) / 3.5) ** 2 <= 1)
    persons = []
    for layers in ({28: trousers, 8: tops}, {8: dresses}):
        count = len(layers[8])
        colours, shapes = np.zeros((count, 56, 21, 3), np.uint8), np.zeros((count, 56, 21), np.bool_)
        for top, layer in (layers | {0: np.tile(head, (count, 1, 1))}).items():
            rows, (tinted, shape) = slice(top, top + layer.shape[1]), _tinted(layer, random)
            colours[:, rows] = np.where(shape[..., None], tinted, colours[:, rows])
            shapes[:, rows] |= shape
        persons += _sprites(colours, shapes)
    return persons


def _sprites(colours: Bytes, shapes: Array) -> list[Image.Image]:
    """Pictures with premultiplied alpha, which scale without a fringe, cropped to what is not transparent."""
    pictures = map(Image.fromarray, np.concatenate([colours, shapes[..., None] * np.uint8(255)], axis=3))
    return [picture.crop(picture.getchannel("A").getbbox()).convert("RGBa") for picture in pictures]


def _trees(foliage: Array, random: np.random.RandomState) -> list[Image.Image]:
    """Ragged crowns on thin trunks."""
    rows, columns = np.ogrid[:56, :40]
    distance = ((rows - 20) / 20) ** 2 + ((columns - 19.5) / 20) ** 2
    colours, shapes = np.zeros((64, 56, 40, 3), np.uint8), np.zeros((64, 56, 40), np.bool_)
    for number in range(len(shapes)):
        top, left = random.randint(foliage.shape[0] - 56), random.randint(foliage.shape[1] - 40)
        leaves = foliage[top : top + 56, left : left + 40]
        crown = distance + 0.5 * (1 - leaves) < random.uniform(0.6, 0.9)
        trunk = (rows > 20) & (abs(columns - 19.5) < random.uniform(1, 2.2))
        green = np.minimum(_green(random.random_sample(4)) * leaves[..., None], 255)
        bark = random.uniform(40, 110) * np.array([1, 0.85, 0.7])
        colours[number], shapes[number] = np.where(crown[..., None], green, bark), crown | trunk
    return _sprites(colours, shapes)


def _green(numbers: Array) -> Array:
    """(3,), values to 210: green, or one time in five the yellow and red of autumn, from four numbers in 0..1."""
    light, red, blue, season = numbers.tolist()
    hue = (0.5 + 0.4 * red, 1, 0.3 + 0.4 * blue) if season < 0.8 else (1 + 0.4 * red, 0.8, 0.3 + 0.4 * blue)
    return np.array(hue, np.float32) * (70 + 80 * light)


def _paint_sky(colours: Array, labels: Bytes, *, kit: Kit, street: Street, draws: Draws) -> None:
    rows = int(street.horizon) + 1
    sky = kit.skies[draws.below(len(kit.skies))][:, :, :: 1 - 2 * draws.below(2)]
    stretched = np.take(sky, np.arange(rows) * sky.shape[1] // rows, axis=1)
    colours[:, :rows] = np.minimum(stretched * draws.array(0.75, 1.05, 3, 1, 1) + draws.uniform(0, 40), 255)
    labels[:rows] = SKY


def _paint_ground(colours: Array, labels: Bytes, *, kit: Kit, street: Street, draws: Draws) -> None:
    """Verge, pavement, road, pavement, verge, and the lane marks."""
    first = int(street.horizon) + 1
    scale = street.below[first:]
    across, along = street.offsets / scale, FOCAL / scale
    zones = np.zeros(across.shape, np.uint8)
    for edge in (street.pavement[0], *street.road, street.pavement[1]):
        zones += (across > edge).view(np.uint8)
    marks = _lane_marks(across, along, street, draws)
    zones[marks] = 5
    zones = zones.astype(np.intp)
    texels = draws.uniform(60, 130)
    starts = np.array([GRASS, BRICK, GRAVEL, BRICK, GRASS, GRAVEL]) * STARTS[-1]
    light = np.take(kit.surfaces, _texels(across * texels, along * texels, texels / scale) + np.take(starts, zones))
    light = (light - 1) * np.take(draws.array(0.3, 1, 6), zones) + 1
    pavement, road = draws.array(0.88, 1.12, 2, 3) * draws.array(70, 165, 2, 1)
    paint = draws.uniform(170, 240) * np.array([1, 1, draws.uniform(0.4, 1)], np.float32)
    verge = _green(draws.array(0, 1, 4))
    tints = np.stack([verge, pavement, road, pavement, verge, paint], axis=1)
    for colour, tint in zip(colours, tints, strict=True):
        colour[first:] = np.clip(np.take(tint, zones) * light, 0, 255)
    labels[first:] = np.take([VEGETATION, PAVEMENT, ROAD, PAVEMENT, VEGETATION, LANE_MARK], zones)


def _lane_marks(across: Array, along: Array, street: Street, draws: Draws) -> Array:
    """A broken line in the middle, and now and then lines at the edges and a zebra crossing."""
    (left, right), width = street.road, draws.uniform(0.025, 0.05)
    marks: Array = abs(across - (left + right) / 2) < width
    marks &= (along / draws.uniform(1.5, 4) + draws.uniform(0, 1)) % 1 < 0.55
    if draws.uniform(0, 1) < 0.5:
        marks |= abs(abs(across - (left + right) / 2) - ((right - left) / 2 - 0.1)) < width * 0.8
    start, stripes = draws.uniform(2.2, 7), across / draws.uniform(0.2, 0.35)
    if draws.uniform(0, 1) < 0.3:
        crossing = (along > start) & (along < start + 1.6) & (across > left) & (across < right)
        marks |= crossing & (stripes - np.floor(stripes) < 0.5)
    return marks


def _texels(columns: Array, rows: Array, step: Array) -> Array:
    """Positions in a flat surface, at the level for a step of so many texels to the next pixel; the arguments broadcast."""
    level = np.searchsorted(np.array([1.5, 3, 6, 12, 24], np.float32), step).astype(np.int32)
    y, x = rows.astype(np.int32) & (TILE[0] - 1), columns.astype(np.int32) & (TILE[1] - 1)
    return (y >> level) * (TILE[1] >> level) + ((x >> level) + STARTS[level])


def _paint_sides(colours: Array, labels: Bytes, *, kit: Kit, street: Street, draws: Draws) -> None:
    """Both rows of buildings, gardens and gaps, and the wall at the end of the street."""
    along = FOCAL / street.nearness + street.closed * abs(street.offsets)
    ends = np.cumsum(draws.array(2.5, 9, 2, BLOCKS - 1), axis=1)
    right = street.offsets > 0
    block = np.where(right, BLOCKS + np.searchsorted(ends[1], along), np.searchsorted(ends[0], along))

    def of_block(low: float, high: float) -> Array:
        return draws.array(low, high, 2 * BLOCKS)[block]

    kind, heights = of_block(0, 1), of_block(1.2, 4.5)
    garden = kind < 0.25
    heights = np.where(garden, heights * 0.45, heights) * (kind < 0.85)
    edge = draws.below(64)
    tops = street.horizon - (heights - 1 + 0.3 * garden * kit.foliage[edge, :WIDTH]) * street.nearness
    rows = min(int(street.horizon + street.nearness.max()) + 1, HEIGHT)
    below = street.below[:rows]
    place = (ROWS[:rows] > tops) & (below < street.nearness)
    height, texels = 1 - below / street.nearness, draws.uniform(40, 110)
    brick = np.take(kit.surfaces, _texels(along * texels, height * texels, texels / street.nearness))
    light = (brick - 1) * of_block(0.2, 1.1) + 1
    storeys, columns = height / of_block(0.5, 0.9), along / of_block(0.4, 0.9)
    # a remainder would take ten times as long
    windows = (storeys - np.floor(storeys) > 0.45) & (columns - np.floor(columns) > 0.45) & (height < heights - 0.15)
    light = np.where(windows, of_block(0.2, 2), light)
    light = np.where(garden, kit.foliage[:rows, edge : edge + WIDTH], light)
    walls = of_block(70, 200) * (1 - of_block(0, 0.5) * draws.array(0, 1, 3, 2 * BLOCKS)[:, block])
    shade = np.where(right, draws.uniform(0.7, 1.1), draws.uniform(0.7, 1.1))
    tints = np.where(garden, _green(draws.array(0, 1, 4))[:, None], walls) * shade
    for colour, tint in zip(colours, tints.astype(np.float32), strict=True):
        np.copyto(colour[:rows], np.clip(light * tint, 0, 255).astype(np.uint8), where=place)
    np.copyto(labels[:rows], np.where(garden, VEGETATION, BUILDING).astype(np.uint8), where=place)


class Thing(NamedTuple):
    """A sprite in the street."""

    label: int
    sprite: Image.Image
    scale: float
    across: float  # its middle, in lengths to the right of the camera's way
    width: float
    height: float
    above: float = 0  # lengths between it and the ground


def _things(kit: Kit, street: Street, draws: Draws, labels: Bytes) -> list[Thing]:
    """People, vehicles, bags, trees, poles and signs; of what is equally far, the later covers the earlier."""
    things = []
    for _ in range(draws.below(5)):
        scale, height, across = draws.uniform(7, 32), draws.uniform(1.4, 2.4), street.pavement[draws.below(2)]
        things.append(Thing(VEGETATION, _any(kit, VEGETATION, draws), scale, across, height * 0.75, height))
    for label, most, sizes, on_road in (
        (PERSON, 8, (0.42, 0.52), 0.3),
        (VEHICLE, 3, (0.75, 1.05), 1.0),
        (BAG, 3, (0.4, 0.6), 0.5),
    ):
        for _ in range(draws.below(most + 1)):
            side, sprite = draws.below(2), _any(kit, label, draws)
            edges = street.road if draws.uniform(0, 1) < on_road else (street.road[side], street.pavement[side])
            slim, size = math.sqrt(sprite.height / sprite.width), draws.uniform(*sizes)
            scale, across = draws.uniform(3.5, 6.7) * draws.uniform(3.5, 6.7), draws.uniform(*edges)
            things.append(Thing(label, sprite, scale, across, size / slim, size * slim))
    for _ in range(1 + draws.below(3)):
        things += _pole(kit, street, draws)
    for _ in range(draws.below(6)):
        side, scale, size, above = draws.below(2), draws.uniform(9, 34), draws.uniform(0.35, 0.6), draws.uniform(1, 1.6)
        row, column = int(street.horizon - above * scale), int(street.centre + street.walls[side] * scale)
        sign = Thing(SIGN, _any(kit, BAG, draws), scale, street.walls[side] + (0.5 - side) * size, size, size, above)
        things += [sign] if row >= 0 and 0 <= column < WIDTH and labels[row, column] == BUILDING else []
    return things


def _any(kit: Kit, label: int, draws: Draws) -> Image.Image:
    sprite = kit.sprites[label][draws.below(len(kit.sprites[label]))]
    return sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws.uniform(0, 1) < 0.5 else sprite


def _pole(kit: Kit, street: Street, draws: Draws) -> list[Thing]:
    """A lamp with its arm over the road, or a shorter one with a sign on top."""
    side, scale, width = draws.below(2), draws.uniform(8, 40), draws.uniform(0.04, 0.08)
    inward, grey = 1 - 2 * side, draws.below(190)
    paint, across = Image.new("RGBa", (1, 1), (grey, grey, grey, 255)), street.road[side] - inward * 0.08
    if draws.uniform(0, 1) < 0.5:
        height, size = draws.uniform(1.1, 1.4), draws.uniform(0.35, 0.5)
        top = Thing(SIGN, _any(kit, BAG, draws), scale, across, size, size, above=height)
    else:
        height = draws.uniform(1.8, 2.6)
        top = Thing(POLE, paint, scale, across + inward * 0.25, 0.5, 0.03, above=height)
    return [Thing(POLE, paint, scale, across, width, height), top]


def _place(thing: Thing, street: Street, picture: Image.Image, mask: Image.Image) -> None:
    """Blend it in at its soft edge, and label where it prevails; it is at least a pixel wide and high."""
    size = max(round(thing.width * thing.scale), 1), max(round(thing.height * thing.scale), 1)
    middle, bottom = street.centre + thing.across * thing.scale, street.horizon + (1 - thing.above) * thing.scale
    corner = round(middle - size[0] / 2), round(bottom) - size[1]
    scaled = thing.sprite.resize(size, Image.Resampling.BILINEAR)
    picture.paste(scaled, corner, scaled)
    mask.paste(thing.label, corner, scaled.getchannel(3).convert("1", dither=Image.Dither.NONE))


def _developed(picture: Image.Image, mask: Image.Image, kit: Kit, draws: Draws) -> tuple[Bytes, Bytes]:
    """In random light, with a colour cast and noise, and often with a bonnet at the lower edge."""
    gain = draws.array(0.85, 1.15, 3) * draws.uniform(0.7, 1.15)
    pixels = np.asarray(picture, np.float32).reshape(HEIGHT, 3 * WIDTH) * np.tile(gain, WIDTH) + draws.uniform(-10, 25)
    labels = np.array(mask)
    bonnet = draws.uniform(-5, 6) * (1 - ((COLUMNS - WIDTH / 2) / (WIDTH / 2)) ** 2) > HEIGHT - ROWS
    labels[bonnet] = IGNORE
    pixels.reshape(*SIZE, 3)[bonnet] = draws.array(20, 200, 3)
    top, left = draws.below(HEIGHT), 3 * draws.below(WIDTH)
    pixels += kit.noise[top : top + HEIGHT, left : left + 3 * WIDTH] * draws.uniform(2, 12)
    return np.clip(pixels, 0, 255).astype(np.uint8).reshape(*SIZE, 3), labels
