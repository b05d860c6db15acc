"""The page as a person uses it: addresses, copies, keys, errors, other tabs, other origins."""

import http.server
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from dynamodb_streams_cdc.testing.simulation.schedule import EFFECTS
from playground.lab.settings import MEANINGS
from tests.browser.conftest import Playground
from tools import playground

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
HANDLER = "def handler(event, context):\n    pass\n"
PATIENCE = 30_000
"""Milliseconds. The page's policy refuses `eval`, with which `wait_for_function` asks again."""
WIDTHS = (1440, 768, 390)
THEMES = ("light", "dark")
SCREENSHOTS = playground.ROOT / "build" / "screenshots"


def violations(tab: Playground) -> list[str]:
    """Return what axe finds, a line each."""
    tab.page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = tab.page.evaluate("axe.run().then((found) => found.violations)")
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.fixture(scope="module")
def looked(context: BrowserContext, address: str) -> Iterator[Playground]:
    """Return a tab whose styles axe and screenshots may change, which the page's policy refuses."""
    found = Playground(context.new_page(), address)
    found.open()
    yield found
    found.page.close()
    assert [each for each in found.wrong if "inline style" not in each] == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["lab", "filters", "converter"])
def test_axe_finds_nothing(looked: Playground, theme: Any, name: str) -> None:
    looked.page.emulate_media(color_scheme=theme)
    looked.page.locator(f"#tab-{name}").click()
    if name == "lab":
        button = looked.page.locator('[data-example="continuing-past-a-failure-broken"]')
        looked.after(button.click)
        looked.page.locator("#picture .call").nth(2).click()
    else:
        looked.page.locator(f"#{name} .good").first.wait_for()
    assert violations(looked) == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["lab", "filters", "converter"])
def test_the_page_fits(looked: Playground, width: int, theme: Any, name: str) -> None:
    page = looked.page
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 900})
    page.locator(f"#tab-{name}").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{theme}.png", full_page=True)


# Addresses and copies


def test_a_link_opens_to_the_same_picture_in_another_tab(
    opened: Playground, tab: Playground
) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="adding-new-minus-old-broken"]').click)
    page.locator("#script").fill(
        "0 put 3 group 2 amount 9\n0.5 fault duplicate delivery\n1 delete 3\n"
    )
    shown = opened.run()
    page.locator("#copy-link").click()
    page.get_by_text("The link is copied.").wait_for()
    assert page.locator("#copy-link[data-copied]").count() == 1
    link = page.evaluate("navigator.clipboard.readText()")
    tab.open(link.removeprefix(tab.address))
    assert tab.result() == shown
    svg = "#picture .scroller svg"
    assert tab.page.locator(svg).inner_html() == page.locator(svg).inner_html()
    page.wait_for_selector("#copy-link:not([data-copied])")
    assert page.locator("#status").inner_text() == ""


@pytest.mark.parametrize(
    ("fragment", "told"),
    [
        ("#v7.abc", "of version 7"),
        ("#v1.abc", "was cut off or changed"),
        ("#nonsense", "is not one of this page"),
        ("#example=no-such-thing", "There is no example no-such-thing"),
        (f"#v1.{'A' * 100_000}", "64,000 are the most"),
    ],
)
def test_a_bad_address_gets_a_sentence(opened: Playground, fragment: str, told: str) -> None:
    shown = opened.after(lambda: opened.page.evaluate("(to) => { location.hash = to }", fragment))
    assert told in opened.page.locator("#status").inner_text()
    assert shown["lines"]


def test_the_search_still_varies_after_back(tab: Playground) -> None:
    tab.open()
    tab.page.goto(tab.address + "licenses.txt")
    tab.page.go_back()
    tab.page.wait_for_selector("html[data-ready]", state="attached")
    assert tab.page.locator("#vary").is_checked()


@pytest.mark.parametrize("name", ["overwrite", "keep-the-newest", "no-partial-failures-right"])
def test_the_copied_test_fails_or_passes_as_shown(
    opened: Playground, tmp_path: Path, name: str
) -> None:
    shown = opened.after(opened.page.locator(f'[data-example="{name}"]').click)
    opened.page.locator("#copy-test").click()
    opened.page.get_by_text("The test is copied").wait_for()
    test = tmp_path / "test_copy.py"
    test.write_text(opened.page.evaluate("navigator.clipboard.readText()"))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == bool(shown["problems"]), ran.stdout
    assert all(problem in ran.stdout for problem in shown["problems"])


# Hands


def test_arrow_keys_go_from_mark_to_mark(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="overwrite"]').click)
    page.locator("#picture .mark").first.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert "old batch delivered again" in focused
    assert "old batch" in page.locator("#details").inner_text()


def test_a_fault_is_dragged_and_moved_by_key(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="overwrite"]').click)
    box = page.locator("#picture .fault").bounding_box()
    first = page.locator("#picture .write").nth(1).bounding_box()
    assert box is not None
    assert first is not None
    x, y = box["x"] + 8, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(first["x"] + 12, y, steps=5)
    shown = opened.after(page.mouse.up)
    [fault] = shown["faults"]
    assert 0.4 < fault["at"] < 1
    page.locator("#picture .fault").focus()
    moved = opened.after(lambda: page.keyboard.press("Alt+ArrowRight"))
    assert moved["faults"][0]["at"] == pytest.approx(fault["at"] + 0.1, abs=0.002)
    page.locator("#picture .fault").focus()
    assert opened.after(lambda: page.keyboard.press("Delete"))["faults"] == []


def test_table_and_copy_of_two_forms_stand_apart(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="the-event-id-as-itemidentifier-right"]').click)
    shown = page.locator("#states").inner_text()
    assert page.locator("#states table").count() == 2
    assert "compare() of the handler" in shown
    page.locator("#first").click()
    assert "three copies" not in page.locator("#states").inner_text()
    opened.after(page.locator('[data-example="three-sinks"]').click)
    assert "three copies" in page.locator("#states").inner_text()


def test_steps_go_through_table_and_copy(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="overwrite"]').click)
    page.locator("#first").click()
    assert page.locator("#timeline [aria-current]").inner_text().endswith("12:00:00.000")
    seen = set()
    for _ in range(15):
        page.locator("#next").click()
        seen.add(page.locator("#states").inner_text())
    assert any("≠ differs" in each for each in seen)
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Pause"
    page.locator("#play").click()


def test_writes_and_faults_are_added_by_buttons(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="overwrite"]').click)
    page.locator("#script").fill("")
    opened.after(page.locator("#add-write").click)
    page.locator("#fault-kind").select_option("slow sink")
    shown = opened.after(page.locator("#add-fault").click)
    assert [each["kind"] for each in shown["faults"]] == ["slow sink"]
    assert len(shown["writes"]) == 1


def test_a_setting_of_the_mapping_counts(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="overwrite"]').click)
    page.locator("#script").fill("0 put 0\n0 put 1\n0 put 2\n")
    page.locator("#settings summary").click()
    page.locator("#setting-BatchSize").fill("2")
    assert [len(each["records"]) for each in opened.run()["calls"]] == [2, 1]
    page.locator("#setting-BatchSize").fill("0")
    assert "1 to 10000" in opened.complaint()


def test_a_change_makes_the_result_stale(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="keep-the-newest"]').click)
    stale = page.locator("html[data-stale]")
    assert stale.count() == 0
    page.locator("#script").fill("0 put 0\n")
    assert "press Run" in page.locator("#verdict").inner_text()
    assert stale.count() == 1
    opened.run()
    assert stale.count() == 0
    assert "press Run" not in page.locator("#verdict").inner_text()


def test_the_result_names_what_was_lost_and_written_again(opened: Playground) -> None:
    page = opened.page
    verdict = page.locator("#verdict")
    opened.after(page.locator('[data-example="a-record-that-always-fails-broken"]').click)
    assert "A failed attempt may have done some of them" in verdict.inner_text()
    assert "wrote item-1 again, without the poison" in verdict.inner_text()
    opened.after(page.locator('[data-example="overwrite"]').click)
    assert "Lost:" not in verdict.inner_text()
    assert "without the poison" not in verdict.inner_text()


def test_a_caption_goes_with_the_result_that_it_is_about(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="keep-the-newest"]').click)
    story = page.locator("#story")
    assert "before your change" not in story.inner_text()
    page.locator("#script").fill("0 put 0\n")
    assert "Look at:" in story.inner_text()
    assert "before your change" in story.inner_text()
    opened.run()
    assert "Look at:" not in story.inner_text()
    assert "begun from: A copy that converges" in story.inner_text()
    opened.after(page.locator("#story-reopen").click)
    assert "Look at:" in story.inner_text()
    assert "before your change" not in story.inner_text()


def test_a_search_can_be_taken_back(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="no-idempotency-broken"]').click)
    page.locator("#settings").evaluate("(fold) => (fold.open = true)")
    page.locator("#setting-BatchSize").fill("7")
    before = page.locator("#script").input_value()
    opened.after(page.locator("#search").click)
    page.get_by_text("It took the place of your schedule").wait_for()
    assert "BatchSize 7 → " in page.locator("#note").inner_text()
    assert page.locator("#script").input_value() != before
    opened.after(page.locator("#undo").click)
    assert page.locator("#script").input_value() == before
    assert page.locator("#setting-BatchSize").input_value() == "7"
    page.locator("#settings-defaults").click()
    assert page.locator("#settings-told").inner_text() == "AWS's defaults"
    page.locator("#settings").evaluate("(fold) => (fold.open = false)")


def test_settings_and_faults_are_explained(opened: Playground) -> None:
    page = opened.page
    page.locator("#settings").evaluate("(fold) => (fold.open = true)")
    for name, words in MEANINGS.items():
        assert words in page.locator(f"#setting-{name}-meaning").inner_text()
    page.locator("#settings").evaluate("(fold) => (fold.open = false)")
    for kind, effect in EFFECTS.items():
        page.locator("#fault-kind").select_option(str(kind))
        assert page.locator("#fault-effect").inner_text() == f"{kind}: {effect}."


def test_the_iterator_age_is_defined_where_it_is_shown(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="older-than-the-record-age-right"]').click)
    page.locator("#picture .call").nth(2).click()
    assert "how old the last record" in page.locator("#details").inner_text()
    page.locator("#words summary").click()
    assert "IteratorAge" in page.locator("#words").inner_text()


def test_the_list_says_how_many_examples_are_below(opened: Playground) -> None:
    page = opened.page
    hidden = page.locator("#examples-list").evaluate(
        "(list) => { list.scrollTop = 0; const { bottom } = list.getBoundingClientRect();"
        "return [...list.querySelectorAll('.example')]"
        ".filter((each) => each.getBoundingClientRect().bottom > bottom + 4).length }"
    )
    assert hidden > 5
    page.get_by_text(f"{hidden} more: scroll").wait_for()
    page.locator("#examples-list").evaluate("(list) => { list.scrollTop = list.scrollHeight }")
    expect(page.locator("#examples-more")).to_be_empty(timeout=PATIENCE)


def test_a_choice_on_a_phone_shows_the_result(context: BrowserContext, address: str) -> None:
    tab = Playground(context.new_page(), address)
    page = tab.page
    page.set_viewport_size({"width": 390, "height": 844})
    tab.open()
    page.locator("#examples summary").click()
    tab.after(page.locator('[data-example="the-marker-before-the-effect-broken"]').click)
    expect(page.locator("#verdict")).to_be_in_viewport(timeout=PATIENCE)
    story = page.locator("#story").bounding_box()
    assert story is not None
    assert 0 <= story["y"] < 100
    assert not page.locator("#examples-list").is_visible()
    order = [page.locator(name).bounding_box() for name in (".examples", ".results", ".inputs")]
    assert sorted(order, key=lambda box: box["y"] if box else 0) == order
    killed, frame = (page.locator(n).bounding_box() for n in (".call.killed", ".scroller"))
    assert killed is not None
    assert frame is not None
    assert frame["x"] <= killed["x"] < frame["x"] + frame["width"] - killed["width"]
    page.close()
    assert tab.wrong == []


@pytest.mark.parametrize(
    "name",
    ["a-record-that-always-fails-broken", "the-event-id-as-itemidentifier-right", "three-sinks"],
)
def test_no_times_collide_and_no_lane_ends_early(opened: Playground, name: str) -> None:
    page = opened.page
    opened.after(page.locator(f'[data-example="{name}"]').click)
    ends: list[list[float]] = page.evaluate(
        "[...document.querySelectorAll('.scroller .tick + text')]"
        ".map((each) => each.getBoundingClientRect()).map(({ left, right }) => [left, right])"
    )
    assert all(one[1] < other[0] for one, other in itertools.pairwise(ends))
    told = page.locator(".scroller .tick + text").all_text_contents()
    assert len(set(told)) == len(told)
    assert "not to scale" in str(page.locator("#picture .labels").text_content())
    band, frame = (page.locator(n).first.bounding_box() for n in (".scroller .band", ".scroller"))
    assert band is not None
    assert frame is not None
    assert band["width"] >= frame["width"] - 1


# Bad input


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def handler(event, context:\n", "Handler, line 1: SyntaxError"),
        ("import boto3\n" + HANDLER, "boto3 is not in the browser"),
        ("async " + HANDLER, "without async"),
        ("x = 1\n", "no function named handler"),
    ],
)
def test_code_that_cannot_run_gets_a_sentence(opened: Playground, code: str, told: str) -> None:
    opened.after(opened.page.locator('[data-example="overwrite"]').click)
    opened.type(code)
    assert told in opened.complaint()


def test_an_endless_loop_is_cut_off(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="overwrite"]').click)
    opened.type("def handler(event, context):\n    while True:\n        pass\n")
    page.locator("#run").click()
    page.get_by_text("Running …").wait_for()
    assert page.locator("html[data-stale]").count() == 1
    page.get_by_text("look for a loop that never ends").wait_for()
    assert "right in the end" not in page.locator("#verdict").inner_text()
    page.wait_for_timeout(3000)  # Python starts again meanwhile
    assert "never ends" in page.locator("#complaint").inner_text()
    assert page.locator("html[data-stale]").count() == 1
    assert opened.after(page.locator('[data-example="overwrite"]').click)["lines"]


def test_stop_ends_a_search(opened: Playground) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="keep-the-newest"]').click)
    page.locator("#search").click()
    page.get_by_text("Searching: ").wait_for()
    page.locator("#stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert page.locator("#search").is_visible()
    assert opened.after(page.locator('[data-example="overwrite"]').click)["lines"]


def test_a_handler_that_prints_a_megabyte_is_cut(opened: Playground) -> None:
    opened.after(opened.page.locator('[data-example="overwrite"]').click)
    opened.type("def handler(event, context):\n    print('x' * 1_000_000)\n")
    assert "characters more" in opened.run()["printed"]


# Other origins, other ways to open it


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Serve another origin, and keep the paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/", asked
        served.shutdown()


def test_a_handler_reaches_no_other_origin(
    opened: Playground, elsewhere: tuple[str, list[str]]
) -> None:
    there, asked = elsewhere
    own: list[str] = []
    opened.page.on("request", lambda request: own.append(request.url))
    opened.after(opened.page.locator('[data-example="overwrite"]').click)
    here = f"{opened.address}style.css?asked"
    opened.type(f"import js\njs.fetch({here!r})\njs.fetch({there!r} + 'told')\n{HANDLER}")
    opened.run()
    opened.page.wait_for_timeout(500)
    assert here in own
    assert asked == []


def test_a_page_from_a_file_says_why_it_does_not_work(
    context: BrowserContext, address: str
) -> None:
    page = context.new_page()
    page.goto((playground.OUTPUT / "index.html").as_uri())
    page.get_by_text("run `make playground`").wait_for()
    page.close()


def test_it_works_offline_once_loaded(
    context: BrowserContext, tab: Playground, measured: Callable[[str], None]
) -> None:
    begun = time.perf_counter()
    tab.open("#example=overwrite")
    measured(f"first interaction with a warm cache: {time.perf_counter() - begun:.1f} s")
    measured(f"page weight: {playground.weight() / 1e6:.1f} MB")
    tab.page.wait_for_selector("html[data-kept]", state="attached")
    context.set_offline(True)
    try:
        assert tab.run()["lines"]
        tab.open("#example=keep-the-newest")
        assert tab.result()["lines"]
    finally:
        context.set_offline(False)
    assert [each for each in tab.wrong if "ERR_INTERNET_DISCONNECTED" not in each] == []
    tab.wrong.clear()


# The tools


def test_a_filter_says_which_condition_fails(opened: Playground) -> None:
    page = opened.page
    page.locator("#tab-filters").click()
    page.locator("#filter-example").select_option("Two attributes")
    page.get_by_text('the value is "60 days"').wait_for()
    assert "dynamodb.NewImage.PaymentTerms.S fails" in page.locator("#matches").inner_text()
    page.locator("#pattern").fill('{"dynamodb": 5}')
    page.get_by_text("AWS refuses the pattern").wait_for()
    page.locator("#record").fill("[1]")
    page.locator("#pattern").fill('{"eventName": ["INSERT"]}')
    page.get_by_text("that is not a stream record").wait_for()
    page.locator("#tab-lab").click()


def test_a_link_opens_to_the_same_filter(opened: Playground, tab: Playground) -> None:
    page = opened.page
    page.locator("#tab-filters").click()
    page.locator("#filter-example").select_option("Became shipped")
    page.get_by_text("all conditions are met").wait_for()
    page.locator("#copy-filter").click()
    page.get_by_text("The link is copied.").wait_for()
    tab.open(page.evaluate("navigator.clipboard.readText()").removeprefix(tab.address))
    tab.page.get_by_text("all conditions are met").wait_for()
    for part in ("pattern", "record"):
        there, here = (each.page.locator(f"#{part}").input_value() for each in (tab, opened))
        assert there == here
    page.locator("#tab-lab").click()


def test_the_converter_goes_both_ways(opened: Playground) -> None:
    page = opened.page
    page.locator("#tab-converter").click()
    page.get_by_text("✓ Converted.").wait_for()
    page.locator("#typed").fill('{"id": {"S": "1"}, "total": {"N": "12345678901234567890.5"}}')
    expected = '{\n  "id": "1",\n  "total": 12345678901234567890.5\n}'
    for _ in range(100):
        if page.locator("#plain").input_value() == expected:
            break
        page.wait_for_timeout(50)
    assert page.locator("#plain").input_value() == expected
    page.locator("#plain").fill('{"id": 1.50}')
    page.wait_for_timeout(1000)
    assert page.locator("#typed").input_value() == '{\n  "id": {\n    "N": "1.50"\n  }\n}'
    page.locator("#tab-lab").click()
