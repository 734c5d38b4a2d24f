import pytest

from edgepers.config import PAPER, Settings, format_size, parse_size
from edgepers.errors import UsageError


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
