"""What the numbers of an observation are called, of the tasks whose documentation says it."""

from __future__ import annotations

_LEG = ("thigh", "leg", "foot")
_NAMES: dict[str, tuple[str, ...]] = {
    "CartPole": ("cart place", "cart speed", "pole angle", "pole turning"),
    "Swimmer": (
        *(
            "front angle",
            "joint 1",
            "joint 2",
            "x speed",
            "y speed",
            "front turning",
            "joint 1 turning",
            "joint 2 turning",
        ),
    ),
    "Hopper": (
        *("height", "torso angle", *(f"{each} angle" for each in _LEG)),
        *("x speed", "z speed", "torso turning", *(f"{each} turning" for each in _LEG)),
    ),
    "Walker2d": (
        *("height", "torso angle", *(f"{side} {each} angle" for side in ("right", "left") for each in _LEG)),
        *("x speed", "z speed", "torso turning"),
        *(f"{side} {each} turning" for side in ("right", "left") for each in _LEG),
    ),
    "HalfCheetah": (
        *("height", "torso angle"),
        *(f"{side} {each} angle" for side in ("back", "front") for each in ("thigh", "shin", "foot")),
        *("x speed", "z speed", "torso turning"),
        *(f"{side} {each} turning" for side in ("back", "front") for each in ("thigh", "shin", "foot")),
    ),
}


def names_of(env: str, count: int) -> tuple[str, ...]:
    """A name for each of the `count` numbers of an environment's observations: s0, s1, ... where none is known."""
    known = _NAMES.get(env.split("-")[0], ())
    return known if len(known) == count else tuple(f"s{number}" for number in range(count))
