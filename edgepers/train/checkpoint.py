"""A training run's state on disk, whole at every moment.

It holds what it takes to go on from the last saved step with the same result.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edgepers.files import replace_file
from edgepers.train.optimizer import load_state, state_of

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]

_VERSION = "3"


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: optimizer steps done.
        tokens: real tokens seen.
        seconds: spent on them, those of interrupted processes included.
        paused_seconds: spent waiting beside those.
        first_loss: of the first step.
        last_loss: of the last one.
        micro_batch_tokens: that memory allowed; halved where it ran out.
        above: steps in a row whose loss was far above the first one's.
        good_step: optimizer steps behind the weights that last had a good loss.
        good_loss: `last_loss` of those weights.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    paused_seconds: float = 0.0
    first_loss: float = float("nan")
    last_loss: float = float("nan")
    micro_batch_tokens: int = 0
    above: int = 0
    good_step: int = 0
    good_loss: float = float("nan")


def save_checkpoint(
    file: Path,
    run: str,
    progress: Progress,
    weights: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    good: Mapping[str, Tensor] | None = None,
) -> None:
    """Replace the checkpoint in one step; killed before that, the earlier one stays.

    Args:
        file: where.
        run: what identifies the run, so that another run's checkpoint is never continued.
        progress: how far it is.
        weights: the adapter's, by name.
        optimizer: over `weights`, from `make_optimizer`.
        good: the weights that last had a good loss, by name.
    """
    tensors = {f"weight.{name}": weight.detach() for name, weight in weights.items()}
    tensors |= {f"good.{name}": weight for name, weight in (good or {}).items()}
    for name, weight in weights.items():
        tensors |= {f"state.{name}:{key}": value for key, value in state_of(optimizer, weight).items()}
    about = {"version": _VERSION, "run": run, "progress": json.dumps(asdict(progress))}
    replace_file(
        file, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata=about), mode=0o600
    )


def load_checkpoint(
    file: Path,
    run: str,
    weights: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    good: Mapping[str, Tensor] | None = None,
) -> Progress | None:
    """Put a checkpoint of this run into its adapter, optimizer and good weights.

    None where there is no checkpoint, or another run's.
    """
    try:
        with safe_open(file, "pt") as kept:
            about = kept.metadata() or {}
            if about.get("version") != _VERSION or about.get("run") != run:
                return None
            tensors: dict[str, Any] = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
            progress = Progress(**json.loads(about["progress"]))
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    states: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key in [key for key in tensors if key.startswith("state.")]:
        name, _, part = key.removeprefix("state.").rpartition(":")
        states[name][part] = tensors[key]
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight.{name}"])
            if good is not None:
                good[name].copy_(tensors[f"good.{name}"])
            if name in states:
                load_state(optimizer, weight, states[name])
    return progress
