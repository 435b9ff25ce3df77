"""Every model of every world, several times: `train(config, run)`.

Trainings are independent, and each is cut into legs that are pure functions (see `trainings`): a run that was killed and resumed, or
was spread over other workers, ends as the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..core.legs import State, kept_of, log_lines, run_legs
from ..core.rl_training import Training
from .config import Config
from .pictures import draw_pictures
from .tables import final_metrics, logged_lines
from .trainings import leg, trainings_of

if TYPE_CHECKING:
    from ..core.run import Run

KEPT = ("policy", "normalizer", "model", "curve", "scores", "sweep", "steps", "seconds")
"""of a training, what the evaluation and the demo need"""


def train(config: Config, run: Run) -> dict[str, float]:
    """Train all, and return the final metrics, named "row/column", such as "Swimmer-v5 ac-beta-vae/mapped share".

    Goes on from the run's checkpoints where there are some: one for each training. Everything learned is in "best".

    Raises:
        UsageError: several processes share the run, which `crew.workers` is for; or an environment will not do.
    """
    states = run_legs(
        run,
        trainings_of(config),
        partial(leg, config),
        config.train.evaluations,
        workers=config.crew.workers,
        engine=config.crew.engine,
        log=partial(_log, config, run),
    )
    run.save({"trainings": kept_of(states, KEPT)}, name="best")
    draw_pictures(run, config, states)
    return final_metrics(config, states)


def _log(config: Config, run: Run, states: Mapping[Training, State | None], logged: int) -> int:
    """Log what all replicas of a row have reached, in the same order whoever was first; returns how many lines there are now."""
    return log_lines(run, logged_lines(config, states, logged), logged)
