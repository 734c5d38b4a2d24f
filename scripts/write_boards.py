"""Write docs/boards.md: the boards in their modes, and what of ten models fits them.

Python scripts/write_boards.py (minutes).
"""

import sys
import textwrap
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "boards.md"
HEAD = """# Three boards, ten models

Made by `scripts/write_boards.py` from `edgepers plan`, which needs neither a board nor weights:

```sh
edgepers plan --device orin-nano-8gb --model Qwen/Qwen2.5-3B-Instruct
edgepers plan --device orin-nano-8gb --power-mode 15W --plot plan.png
```

**Everything here is an estimate.** Nothing has been measured on a board.

"""


def boards() -> str:
    """The presets, with their sources."""
    from edgepers.board.presets import FLOP_A_CLOCK, PRESETS

    lines = ["## Boards and power modes", ""]
    lines += [
        "| board | mode | watts | multiprocessors | GPU clock | peak, float16 dense | memory bandwidth | source |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for name, preset in PRESETS.items():
        for mode in preset.modes:
            lines.append(
                f"| `{name}` | {mode.name} | {mode.watts:g} | {mode.multiprocessors} | {mode.gpu_hz / 1e6:.0f} MHz |"
                f" {mode.flops / 1e12:.1f} TFLOPS | {preset.bandwidth(mode) / 1e9:.0f} GB/s |"
                f" {mode.source or 'the file'} |"
            )
    lines += ["", "The file is NVIDIA's nvpmodel configuration for JetPack 6, as published in"]
    lines += [
        "[LineageOS/android_device_nvidia_concord](https://github.com/LineageOS/android_device_nvidia_concord/tree/lineage-23.0/nvpmodel):",
        "",
    ]
    for preset in PRESETS.values():
        file, _, note = preset.source.partition(", ")
        left = f"for a model it leaves {preset.left_bytes / 1e9:.1f} GB ({preset.left_from})"
        item = f"- {preset.title}: `{file}`{f', {note}' if note else ''}; {left}"
        lines += textwrap.wrap(item, 120, subsequent_indent="  ", break_on_hyphens=False)
    lines += [
        "",
        f"Peak: {FLOP_A_CLOCK} operations a clock for each multiprocessor. Bandwidth: two transfers a clock of the"
        " memory, 128 bits",
    ]
    lines += ["wide (AGX: 256)."]
    return "\n".join(lines) + "\n"


def cell(found: dict[str, Any]) -> str:
    """What one model is on one board."""
    need = f"{found['total_bytes'] / 1e9:.1f} GB"
    if not found["fits"]:
        return f"no: {need}" + (f", with {found['largest_tokens']} tokens yes" if found["largest_tokens"] else "")
    seconds, joules = found["round"]["seconds"], found["round"]["joules_at_most"]
    time = f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
    return f"{need}, {found['sets_at_once']} at once; {time}, {joules / 1000:.1f} kJ"


def row(model: str) -> str:
    """One model on every board, in its fastest mode."""
    from edgepers.board.presets import PRESETS
    from edgepers.config import Settings
    from edgepers.plan.plan import plan

    found = [plan(Settings(model=model), device=device) for device in PRESETS]
    return f"| {model} | {found[0]['parameters'] / 1e9:.2f} B | " + " | ".join(map(cell, found)) + " |"


def models(rows: list[str]) -> str:
    """The table of ten models, with what is in it."""
    from edgepers.board.presets import PRESETS
    from edgepers.config import Settings
    from edgepers.plan.roofline import FORMULA
    from edgepers.train.recipe import Recipe

    settings = Settings()
    steps = Recipe.of(settings, on_cpu=False).steps_for([1] * settings.annotations_per_round)
    titles = [f"{preset.title}, {preset.modes[-1].name}" for preset in PRESETS.values()]
    work = (
        f"{steps} steps of {settings.batch} + {settings.untold + settings.rehearsal} sets over"
        f" {settings.annotations_per_round} annotations"
    )
    lines = [
        "",
        "## Ten models",
        "",
        f"4 bits, LoRA rank {settings.lora_rank} on all linear layers, sets of up to 512 tokens. Each cell: memory that"
        " `edgepers` chooses to take",
        "(more where there is more, for speed), sets of 512 tokens that go through the model at once, and one round:"
        " time,",
        "and kilojoules at most.",
        "",
        f"| model | parameters | {' | '.join(titles)} |",
        "| --- | --- |" + " --- |" * len(titles),
        *rows,
        "",
        f"A first round: {work}, {settings.generations} variations each. By the formula:",
        "",
        *textwrap.wrap(FORMULA, 120, initial_indent="> ", subsequent_indent="> "),
        "",
        "The shapes are figures of the models' public cards (`edgepers/assets/configs.json`); no weights ship, and"
        " each",
        "model keeps its own licence.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page."""
    from edgepers.model.config import shipped_models

    PAGE.write_text(HEAD + boards() + models([row(model) for model in shipped_models()]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
