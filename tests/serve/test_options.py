import pytest

from edgepers.errors import StateError, UsageError
from edgepers.serve.options import ServeOptions
from edgepers.serve.quiet import QuietTalks


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"host": "0.0.0.0"}, "--host 0.0.0.0 lets other machines in; give --token-file"),
        ({"host": "[::1]"}, r"--host \[::1\]: write the address without brackets, ::1"),
        ({"host": "my-box"}, "lets other machines in"),
        ({"port": 70_000}, "--port is 70000"),
        ({"waiting": 0}, "--waiting is 0"),
        ({"max_body": 10}, "--max-body is 10 bytes"),
        ({"tls_cert": "a"}, "--tls-cert and --tls-key belong together"),
        ({"upstream": "127.0.0.1:11434"}, "is no server's address; write http://"),
        ({"upstream": "http://"}, "is no server's address"),
        ({"upstream": "http://a:99999999"}, "is no server's address"),
        ({"upstream_model": "tiny"}, "--upstream-model 'tiny': give --upstream URL"),
        ({"upstream": "http://a", "upstream_model": " "}, "and the model's name there"),
        ({"upstream": "http://a", "upstream_lora": "a.gguf"}, "--upstream-lora 'a.gguf' says how .*--upstream-model"),
        ({"upstream_restart": "true"}, "--upstream-restart 'true' says how"),
        ({"upstream": "http://a", "upstream_model": "t", "upstream_restart": "a 'b"}, "No closing quotation; mend"),
        ({"upstream": "http://a", "upstream_model": "t", "upstream_restart": " "}, "--upstream-restart is empty"),
    ],
)
def test_what_cannot_be_right_is_one_line(given, says):
    with pytest.raises(UsageError, match=says):
        ServeOptions(**given)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machines_own_addresses_need_no_token(host):
    assert ServeOptions(host=host).token() is None


def test_a_token_is_read_and_a_short_one_refused(tmp_path):
    file = tmp_path / "token"
    options = ServeOptions(host="0.0.0.0", token_file=str(file))
    with pytest.raises(UsageError, match="No such file or directory; make it with 'openssl rand"):
        options.token()
    file.write_text("short\n")
    with pytest.raises(UsageError, match="needs one line of 16 or more letters"):
        options.token()
    file.write_text("0123456789abcdef\n")
    assert options.token() == "0123456789abcdef"


def test_lists_are_separated_by_commas():
    options = ServeOptions(allow_host="My-Box, other", allow_origin="http://a:3000/,https://B")
    assert {"my-box", "other", "localhost"} <= options.hosts
    assert options.origins == ("http://a:3000", "https://b")


def test_a_talk_that_was_switched_off_stays_so_after_a_restart_and_its_name_is_nowhere(tmp_path):
    file = tmp_path / "rounds" / "quiet.json"
    quiet = QuietTalks(file)
    quiet.switch("my secret talk", learn=False)
    assert "my secret talk" in QuietTalks(file) and "" not in quiet and "other" not in quiet
    assert "secret" not in file.read_text()
    quiet.switch("my secret talk", learn=True)
    assert "my secret talk" not in QuietTalks(file)
    file.write_text("{")
    with pytest.raises(StateError, match="mend it, or delete it"):
        QuietTalks(file)
