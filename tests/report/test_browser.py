"""The page in a headless Chromium: no request, no error, players that play, search, matrix, narrow screens."""

import shutil

import pytest

from tests.report.conftest import HOSTILE, SECONDS

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here; install Debian's package chromium to run the browser tests")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture(params=[("light", 1280), ("dark", 360)], ids=lambda of: f"{of[0]}-{of[1]}")
def opened(request, browser, page):
    """The page in a tab, in one theme and width; nothing may be asked for, and no error be told."""
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    tab, told, asked = context.new_page(), [], []
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}") or dialog.dismiss())
    tab.on("request", lambda request: asked.append(request.url) if not request.url.startswith("data:") else None)
    tab.goto(page.as_uri())
    yield tab
    context.close()
    assert told == []
    assert asked == [page.as_uri()]


def _until(tab, event, condition):
    """Wait for an event of the player's after which a condition on `audio` holds, unless it holds already."""
    return tab.evaluate(
        f"""() => new Promise((done) => {{
            const audio = document.querySelector("#dock audio");
            const look = () => {condition} && done(audio.duration);
            audio.addEventListener("{event}", look);
            look();
        }})"""
    )


def _play(tab, button):
    button.click()
    return _until(tab, "loadedmetadata", "audio.readyState >= 1")


def test_player_plays_a_clip_of_the_right_length(opened):
    opened.fill("#search", "clip 05")
    button = opened.locator("#all .play")
    assert abs(_play(opened, button) - SECONDS[5]) < 0.03
    _until(opened, "timeupdate", "audio.currentTime > 0.2")
    assert "clip 05.wav" in opened.inner_text("#dock strong")
    button.click()
    assert opened.evaluate("document.querySelector('#dock audio').paused")


def test_second_press_of_a_player_stops_it(opened):
    opened.fill("#search", "clip 05")
    button = opened.locator("#all .play")
    button.focus()
    opened.keyboard.press("Enter")
    _until(opened, "playing", "!audio.paused")
    opened.keyboard.press("Enter")
    _until(opened, "pause", "audio.paused")
    assert button.get_attribute("aria-pressed") == "false"


def test_search_finds_by_name_label_and_status(opened):
    for words, n_found in (("clip 07", 1), ("flute", 8), ("failed", 1), ("train", 32), ("nothing like it", 0)):
        opened.fill("#search", words)
        rows = opened.locator("#all tbody tr")
        assert rows.count() == n_found, words
        assert opened.inner_text("#found") == f"{n_found} of 36 clips"


def test_heading_sorts_the_clips(opened):
    button = opened.locator("#all th button", has_text="Seconds")
    for first in (0.0, 1.3):
        button.click()
        assert float(opened.locator("#all tbody tr").first.locator("td.number").first.inner_text()) == first


def test_cell_of_the_matrix_lists_its_clips(opened):
    opened.locator("#matrix button", has_text="13%").first.scroll_into_view_if_needed()
    opened.locator("button[aria-label='Flute taken for Bark: 1 of 8 clips']").click()
    assert opened.inner_text("#cell h3") == "Flute taken for Bark: 1 clip"
    assert opened.locator("#cell li .file").all_inner_texts() == ["clip 08.wav"]
    assert abs(_play(opened, opened.locator("#cell .play")) - SECONDS[0]) < 0.03


def test_matrix_counts_and_other_runs_can_be_chosen(opened):
    opened.locator("input[value=count]").check()
    assert opened.locator("button[aria-label='Bark taken for Bark: 8 of 8 clips']").inner_text() == "8"
    opened.select_option("#view", label="predictions_1d_conv")
    assert opened.locator("button[aria-label^='Gong'], #matrix button").count() > 4


def test_arrow_keys_move_in_the_matrix(opened):
    first = opened.locator("#matrix button[tabindex='0']")
    assert first.count() == 1
    first.focus()
    opened.keyboard.press("ArrowDown")
    label = opened.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith("Flute taken for Bark")


def test_hostile_label_and_file_name_are_text(opened):
    assert HOSTILE in opened.locator("#matrix th[scope=row]").all_inner_texts()
    opened.fill("#search", HOSTILE + ".wav")
    assert opened.locator("#all .file").all_inner_texts() == [f"{HOSTILE}.wav"]
    assert opened.evaluate("document.querySelectorAll('script').length") == 2


def test_page_does_not_scroll_sideways(opened):
    opened.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_sections_fold_and_links_unfold_them(opened):
    opened.locator("#levels > summary").press("Enter")
    assert not opened.evaluate("document.getElementById('levels').open")
    opened.evaluate("location.hash = '#levels'")
    opened.locator("#levels[open]").wait_for()


def test_everything_that_acts_can_have_the_focus(opened):
    unreachable = """[...document.querySelectorAll('.play, th button, summary, select, input, nav a, .scroll')]
        .filter(part => part.tabIndex < 0 && !part.querySelector('[tabindex="0"]')).length"""
    assert opened.evaluate(unreachable) == 0
