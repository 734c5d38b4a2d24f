import pytest

from edgepers.cli import build_parser
from edgepers.config import PAPER, Settings, format_size, parse_size
from edgepers.errors import UsageError
from edgepers.state.folder import State


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("281KB", 281_000),
        ("4GB", 4_000_000_000),
        ("4GiB", 4 << 30),
        ("4 gib", 4 << 30),
        ("12", 12),
        ("1.5MB", 1_500_000),
    ],
)
def test_parse_size_reads_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KB", "12 parsecs", "-5KB", "1e3KB", "5KBB", "nan"])
def test_parse_size_names_what_it_cannot_read(text):
    with pytest.raises(UsageError, match="write 281KB"):
        parse_size(text)


def test_format_size_uses_powers_of_1000():
    assert [format_size(s) for s in (12, 281_000, 4_000_000_000)] == ["12 B", "281.0 KB", "4.00 GB"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("every", 0, "--every is 0; the least is 1"),
        ("policy", "best", "--policy 'best' is unknown; choose quality"),
        ("storage", 1000, "--storage is 1.0 KB; the least is"),
        ("bits", 8, "--bits is 8"),
        ("learning_rate", float("nan"), "--learning-rate is nan"),
        ("annotations_per_round", -1, "--annotations-per-round is -1"),
        ("lora_rank", 1_000_000, "--lora-rank is 1000000; the most is 4096"),
        ("epochs", 0, "--epochs is 0; the least is 1"),
        ("model", "", "--model is empty; give a value, or none to unset it"),
        ("preset", "mine", "--preset 'mine' is unknown; choose paper"),
    ],
)
def test_settings_refuse_what_cannot_be_right(name, value, says):
    with pytest.raises(UsageError, match=says):
        Settings(**{name: value})


def test_what_is_given_beats_the_preset_beats_what_is_saved():
    settings = Settings.make({"preset": "paper", "every": 100}, {"storage": 300_000, "lora_rank": 4})
    assert (settings.every, settings.storage, settings.lora_rank) == (100, PAPER["storage"], 4)
    assert not settings.guard
    again = Settings.make({"batch": 8}, {f: getattr(settings, f) for f in Settings.hints()})
    assert (again.preset, again.batch, again.every, again.guard) == ("paper", 8, 100, False)


def test_what_is_unset_is_none_on_the_command_line_and_in_the_saved_file(tmp_path):
    state = State(tmp_path)
    state.save_settings(Settings(learning_rate=1e-3, lora_layers=2))
    saved = state.saved_settings()
    assert (saved["learning_rate"], saved["lora_layers"], "steps" in saved) == (1e-3, 2, False)
    line = ["select", "s.jsonl", "--state", "x", "--learning-rate", "none", "--epochs", "3"]
    given = vars(build_parser().parse_args(line))
    settings = Settings.make({"learning_rate": given["learning_rate"], "epochs": given["epochs"]}, saved)
    assert (settings.learning_rate, settings.lora_layers, settings.epochs) == (None, 2, 3)
    state.save_settings(settings)
    assert "# learning_rate is unset" in (tmp_path / "edgepers.toml").read_text(encoding="utf-8")
    assert "learning_rate" not in state.saved_settings()
