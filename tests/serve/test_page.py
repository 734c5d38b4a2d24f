"""The page at `/` in a real browser: what a person can do there, and what nobody can do to them."""

import threading
from urllib.parse import urlsplit

import pytest

from edgepers.chat.session import Session
from edgepers.config import Settings
from edgepers.model.language_model import Completion
from edgepers.personalize import Personalizer
from tests.serve.browser import Visit, axe, chromium
from tests.serve.conftest import QUICK
from tests.serve.running import running, until
from tests.upstream.fakes import ollama

DOG, MOON = "What is my dog called?", "Your dog is called Moon."
VIEWS = ("Chat", "Asks", "Knows", "Rounds", "Limits", "Connect")
HOSTILE = (
    "<b id=x>bold</b><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
    " &amp; \u202egnihsif \x1b[31mred\x1b[0m javascript:alert(1)"
)
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def browser():
    with chromium() as made:
        yield made


@pytest.fixture
def visit(browser):
    """Makes visits; whatever went wrong in their scripts fails the test."""
    contexts, visits = [], []

    def made(address, *, context=None, **options):
        if context is None:
            context = browser.new_context(**options)
            contexts.append(context)
        visits.append(Visit(context, address))
        return visits[-1]

    yield made
    for context in contexts:
        context.close()
    assert [fault for one in visits for fault in one.faults] == []


def talk(owner, *pairs):
    """Exchanges that were said before; their positions."""
    session = Session(owner)
    return [session.hear(question, answer).position for question, answer in pairs]


def test_from_a_first_visit_to_a_changed_answer_back_and_forgotten(llm, tmp_path, visit):
    settings = Settings.make(QUICK | {"steps": 30, "guard": False, "learning_rate": 3e-3})
    with Personalizer(tmp_path / "state", settings, llm=llm, source=lambda _: None) as owner, running(owner) as server:
        tab = visit(server.address)
        page = tab.page
        tab.sees("The base model answers")
        turn = tab.ask(DOG)
        first = turn.locator(".answer .text").text_content()
        assert first and first != MOON
        assert page.locator("#spoken").text_content()  # to who hears the page
        tab.correct(turn, MOON)
        tab.open("Rounds")
        tab.sees("No round yet")
        page.get_by_role("button", name="Start a round").click()
        tab.sees("Answers now")
        assert page.get_by_role("img", name="Training loss from").count() == 1
        assert page.get_by_text("no meter").count() == 1
        tab.open("Chat")
        page.get_by_role("button", name="New talk").click()
        page.get_by_label("Base model beside it").check()
        turn = tab.ask(DOG)
        assert turn.locator(".answer .text").text_content() == MOON
        page.get_by_role("button", name="Send").wait_for()
        assert turn.locator(".base .text").text_content() == first
        tab.open("Rounds")
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("group").get_by_role("button", name="Roll back").click()
        tab.sees("Rolled back. Now the base model answers.")
        tab.sees("Published, not in use")
        tab.open("Knows")
        tab.sees("1 exchange kept")
        page.get_by_role("button", name="Forget").first.click()
        page.get_by_role("button", name="Forget for good").click()
        tab.sees("Forgot 1 of what was kept")
        page.get_by_role("heading", name="What it knows of you").wait_for()
        until(lambda: server.status()["kept"] == 0)
        tab.open("Chat")
        assert page.locator("#chat-turns > li").count() == 0
        assert {urlsplit(url).netloc for url in tab.asked} == {urlsplit(server.address).netloc}


def test_what_awaits_an_answer_comes_one_at_a_time_by_the_keyboard_alone(owner, visit):
    talk(owner, ("Where do I live?", "In a house."), ("Who is my sister?", "A girl."), ("When do I eat?", "At noon."))
    with running(owner) as server:
        with server.http() as http:
            order = [one["question"] for one in http.get("/edgepers/requests").json()["requests"]]
        tab = visit(server.address + "/#asks")
        page = tab.page
        card = page.get_by_role("article", name="A question to you")

        def at(question):
            card.get_by_text(question, exact=True).wait_for()

        def press(name):
            for _ in range(30):
                if page.evaluate("document.activeElement.textContent") == name:
                    page.keyboard.press("Enter")
                    return
                page.keyboard.press("Tab")
            raise AssertionError(f"no way to {name} by the keyboard")

        at(order[0])
        tab.sees("1 of 3 · Nothing else that you asked is like it")
        press("Good")
        at(order[1])
        press("Skip")
        at(order[2])
        page.keyboard.press("Shift+Tab")
        press("Undo")
        at(order[1])
        assert sum(kept.verdict == "good" for kept in owner.buffer) == 1
        press("Correct it")
        page.keyboard.press("Control+A")
        page.keyboard.type("Anna is.")
        press("Save")
        at(order[2])
        assert {kept.question: kept.reference for kept in owner.buffer}[order[1]] == "Anna is."
        press("Forget")
        page.keyboard.press("Escape")
        at(order[2])
        assert len(owner.buffer) == 3
        press("Forget")
        page.keyboard.press("Enter")  # the question has the focus
        tab.sees("Nothing to answer now.")
        assert len(owner.buffer) == 2


def test_what_it_knows_is_found_corrected_and_taken_away(owner, visit):
    talk(owner, (DOG, "A dog."), ("Where do I live?", "In a house."))
    with running(owner) as server:
        tab = visit(server.address + "/#knows")
        page = tab.page
        tab.sees("2 exchanges kept")
        page.get_by_label("Search").fill("DOG")
        page.keyboard.press("Enter")
        tab.sees("1 exchange found.")
        card = page.locator("#knows-sets > li")
        assert card.count() == 1
        tab.correct(card, MOON)
        assert owner.buffer.get(0).reference == MOON
        card.get_by_role("button", name="Undo").click()
        tab.sees("Taken back.")
        assert owner.buffer.get(0).verdict == ""
        with page.expect_download() as download:
            page.get_by_role("link", name="Export").click()
        assert download.value.path().read_text().count("\n") == 2


def test_a_look_at_the_server_takes_nothing_from_under_a_persons_hand(owner, visit):
    places = talk(owner, (DOG, "A dog."), ("Where do I live?", "In a house."))
    with running(owner) as server:
        tab = visit(server.address + "/#knows")
        page = tab.page
        dog, house = (page.locator("#knows-sets > li").filter(has_text=text) for text in (DOG, "Where do I live?"))

        def looks():
            """It sees what another program has said of both sets, and draws what has changed."""
            with page.expect_response(lambda got: "/edgepers/sets?" in got.url), server.http() as http:
                http.post(f"/edgepers/sets/{places[1]}/verdict", json={"verdict": "good"})
                page.evaluate("document.dispatchEvent(new Event('changed'))")
            house.get_by_text("Good", exact=True).wait_for()

        tab.correct(dog, MOON)
        dog.get_by_role("button", name="Forget").click()
        looks()
        assert page.evaluate("document.activeElement.textContent") == "Forget for good"
        dog.get_by_role("button", name="Keep").click()
        dog.get_by_role("button", name="Undo").click()
        tab.sees("Taken back.")
        assert owner.buffer.get(places[0]).verdict == ""


@pytest.mark.parametrize("where", ["kept", "streamed"])
def test_hostile_text_is_shown_as_text(owner, visit, where):
    long = HOSTILE * (1 if where == "kept" else 500)  # 100 KB
    talk(owner, (HOSTILE, HOSTILE))
    with running(owner) as server:
        tab = visit(server.address)
        page = tab.page
        if where == "kept":
            for view, place in (("Asks", "#asks-body"), ("Knows", "#knows-sets")):
                tab.open(view)
                page.locator(f"{place} .text").first.wait_for()
                assert page.locator(f"{place} .text").all_text_contents() == [HOSTILE, HOSTILE]
        else:
            owner.llm.complete = lambda *_, on_text, **__: (on_text(long), Completion(long, "stop", 1, 1))[1]
            try:
                page.get_by_label("Your message").fill(HOSTILE)
                page.keyboard.press("Enter")
                page.get_by_role("button", name="Send").wait_for()
                until(lambda: page.locator(".answer .text").text_content() == long)
                assert page.locator(".mine .text").text_content() == HOSTILE
            finally:
                del owner.llm.complete
        assert page.locator("main b, main img, main script").count() == 0
        assert page.title() != "pwned"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


class Slow:
    """A model that stops in the middle of an answer until it may go on."""

    def __init__(self, llm):
        self.begun, self.go = threading.Event(), threading.Event()
        self._complete = llm.complete
        self._llm = llm

    def __enter__(self):
        self._llm.complete = self
        return self

    def __exit__(self, *_):
        self.go.set()
        del self._llm.complete

    def __call__(self, *given, on_text, stopped, **more):
        on_text("It is")
        self.begun.set()
        until(lambda: self.go.is_set() or stopped())
        return self._complete(*given, on_text=on_text, stopped=stopped, **more)


def test_a_reload_in_the_middle_of_an_answer_loses_no_question(owner, visit):
    with running(owner) as server:
        tab = visit(server.address)
        with Slow(owner.llm) as slow:
            tab.page.get_by_label("Your message").fill(DOG)
            tab.page.keyboard.press("Enter")
            tab.page.get_by_text("It is").wait_for()
            tab.page.reload()
            tab.sees("The answer was cut off.")
            assert tab.page.locator(".mine .text").all_text_contents() == [DOG]
            assert len(owner.buffer) == 0
            slow.go.set()
        tab.page.get_by_role("button", name="Ask again").click()
        tab.page.get_by_role("button", name="Correct it").wait_for()
        assert tab.page.locator("#chat-turns > li").count() == 1


def test_a_server_that_restarts_in_the_middle_is_said_in_one_line_and_the_page_recovers(owner, visit):
    with Slow(owner.llm) as slow:
        with running(owner) as server:
            port = urlsplit(server.address).port
            tab = visit(server.address)
            tab.page.get_by_label("Your message").fill(DOG)
            tab.page.keyboard.press("Enter")
            assert slow.begun.wait(60)
        tab.sees("The answer was cut off.")
        tab.sees("The server does not answer. Trying again.")
    with running(owner, port=port):
        tab.sees("The server is back.")
        tab.page.get_by_role("button", name="Ask again").click()
        tab.page.get_by_role("button", name="Correct it").wait_for()


def test_two_tabs_speak_of_the_same_sets(owner, visit):
    talk(owner, (DOG, "A dog."), ("Where do I live?", "In a house."))
    with running(owner) as server:
        one = visit(server.address + "/#knows")
        two = visit(server.address + "/#knows", context=one.page.context)
        of_one, of_two = (tab.page.locator("#knows-sets > li").filter(has_text=DOG) for tab in (one, two))
        of_two.get_by_role("button", name="Correct it").wait_for()
        one.correct(of_one, MOON)
        of_two.get_by_text("Corrected").wait_for()  # it looks by itself
        two.page.get_by_role("button", name="Forget").nth(0).wait_for()
        of_two.get_by_role("button", name="Forget").click()
        of_two.get_by_role("button", name="Forget for good").click()
        two.sees("Forgot 1 of what was kept")
        until(lambda: of_one.count() == 0)
        assert [kept.question for kept in owner.buffer] == ["Where do I live?"]


def test_whoever_has_the_token_enters(owner, visit, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    with running(owner, token_file=str(tmp_path / "token")) as server:
        tab = visit(server.address)
        page = tab.page
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        tab.sees("That is not the token")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        tab.sees("The base model answers")
        tab.ask(DOG)
        (cookie,) = page.context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and TOKEN not in cookie["value"]
        page.reload()
        tab.sees("1 kept")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_view_fits_and_axe_finds_nothing(owner, visit, scheme, width):
    source = axe()
    talk(owner, (DOG, "A dog."), ("Where do I live?", "In a house. " * 100))
    with running(owner) as server:
        tab = visit(
            server.address, color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True
        )  # the checker is no script of the page
        page = tab.page
        page.evaluate(source)
        tab.ask(DOG)
        for view in VIEWS:
            tab.open(view)
            page.locator("nav a[aria-current]").get_by_text(view).wait_for()
            page.wait_for_load_state("networkidle")
            found = page.evaluate("axe.run().then(found => found.violations.map(one => [one.id, one.nodes[0].html]))")
            assert found == [], view
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_a_round_is_stopped_by_its_button_and_what_the_upstream_has_is_said(llm, tmp_path, visit):
    settings = Settings.make(QUICK | {"steps": 5000})
    with (
        ollama() as there,
        Personalizer(tmp_path / "state", settings, llm=llm, source=lambda _: None) as owner,
        running(owner, upstream=there.address, upstream_model="tiny") as server,
    ):
        Session(owner).hear("What is my dog called?", "I do not know.")
        owner.selector.annotate(0, MOON, 1)
        tab = visit(f"{server.address}/edgepers/")
        tab.open("Rounds")
        tab.sees("At the upstream, as tiny-personal: the base model answers.")
        tab.page.get_by_role("button", name="Start a round").click()
        until(lambda: server.status()["round_stage"] == "train")
        stop = tab.page.get_by_role("button", name="Stop", exact=True)
        stop.focus()
        tab.page.wait_for_timeout(2500)  # some looks at the server later it is still the same button
        assert stop.evaluate("one => one === document.activeElement")
        stop.press("Enter")
        tab.sees("Stopped. The next round goes on from there.")
        until(lambda: not server.status()["round_under_way"])
        tab.open("Connect")
        assert tab.page.locator("#connect-body code").first.text_content() == "tiny-personal"
