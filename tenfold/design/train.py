"""Every method for every task, several times, with equal simulator calls: `train(config, run)`.

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
from .trainings import check_wants, leg, trainings_of

if TYPE_CHECKING:
    from ..core.run import Run

KEPT = ("model", "archive", "chosen", "dial", "curve", "steps", "seconds")
"""of a training, what the evaluation and the demo need"""


def train(config: Config, run: Run) -> dict[str, float]:
    """Train all, and return the final metrics, named "row/column", such as "Cup ppo/score".

    Goes on from the run's checkpoints where there are some: one for each training. Everything learned and found is in "best".

    Raises:
        UsageError: several processes share the run, which `crew.workers` is for; or there is no such task or want.
    """
    check_wants(config)
    states = run_legs(
        run,
        trainings_of(config),
        partial(leg, config),
        config.evaluations,
        workers=config.crew.workers,
        engine=config.crew.engine,
        log=partial(_log, config, run),
    )
    run.save({"trainings": kept_of(states, KEPT)}, name="best")
    draw_pictures(run, config, states)
    return final_metrics(config, states)


def _log(config: Config, run: Run, states: Mapping[Training, State | None], logged: int) -> int:
    return log_lines(run, logged_lines(config, states, logged), logged)
