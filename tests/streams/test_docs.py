import re
from pathlib import Path

from edgepers.streams.forms import FORMS, as_record, detect
from edgepers.streams.json_values import decode
from tests.streams.test_exports import EXPORTS
from tests.streams.test_forms import FORM_OF

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text(encoding="utf-8")


def test_the_page_of_streams_lists_every_form_and_its_examples_are_detected():
    assert set(re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)) == set(FORMS) | {"--format"}
    block = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    found = [detect(as_record(decode(line.encode()))) for line in block[1].splitlines()]
    assert {form.name for form in found if form} == set(FORM_OF) - set(EXPORTS) - {"chatgpt", "openwebui"}
    assert all(form is not None for form in found)
