"""The site as a person uses it, in a real browser."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from reports.site import build, charts, folder, links
from reports.site.folder import write_site
from tests.reports import known_runs
from tests.reports.site import browser, known_site

BOARD = "boards/base_to_novel-embedded"
RUNS = known_site.suite(methods=5, datasets=("x", "y"), seeds=2) + [
    known_runs.run("lora", d, s, {"acc/base": 50.0 + s, "acc/novel": 50.0, "acc/val_hmean": 50.0,
                               "params/trainable": 9e4},
                {"rank": 8}, protocol="base_to_novel")
    for d in ("x", "y") for s in (1, 2)
] + [known_runs.run("zero_shot", "z", 1, {"acc/test": 40.0})]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    monkey = pytest.MonkeyPatch()
    monkey.setenv("RINGBENCH_HOME", str(tmp_path_factory.mktemp("home")))
    folder = tmp_path_factory.mktemp("built") / "site"
    write_site(lambda: build.site_files(known_site.Planted(RUNS)), folder)
    monkey.undo()
    return folder


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser.opened() as found:
        yield found


def column(chrome: Any, table: str, n: int, all_rows: bool = False) -> list[str]:
    rows = chrome.find_elements("css selector", f"#{table} tbody tr")
    shown = [r for r in rows if all_rows or r.is_displayed()]
    return [r.find_elements("css selector", "th, td")[n].text for r in shown]


def head(chrome: Any, table: str, name: str) -> tuple[int, Any]:
    heads = chrome.find_elements("css selector", f"#{table} thead th")
    n = next(i for i, h in enumerate(heads) if h.text.split("\n")[0].strip() == name)
    return n, heads[n]


def test_a_click_sorts_by_value_and_says_so(chrome: Any, site: Path) -> None:
    browser.width(chrome, 1440)
    browser.show(chrome, site, f"{BOARD}/all.html")
    n, trainable = head(chrome, "board", "trainable")
    button = trainable.find_element("css selector", "button")
    # 500 is less than 2k, and 90k less than nothing else: by text it would be another order
    values = {"0": 0, "1k": 1, "2k": 2, "4k": 3, "8k": 4, "90k": 5}
    button.click()
    assert trainable.get_attribute("aria-sort") == "descending"
    assert [values[t] for t in column(chrome, "board", n)] == [5, 4, 3, 2, 1, 0]
    button.click()
    assert trainable.get_attribute("aria-sort") == "ascending"
    assert [values[t] for t in column(chrome, "board", n)] == [0, 1, 2, 3, 4, 5]
    m, method = head(chrome, "board", "method")
    method.find_element("css selector", "button").click()
    names = column(chrome, "board", m)
    assert names == sorted(names)
    assert trainable.get_attribute("aria-sort") is None


def test_filters_leave_the_rows_asked_for_and_count_them(chrome: Any, site: Path) -> None:
    from selenium.webdriver.support.select import Select

    browser.show(chrome, site, f"{BOARD}/index.html")
    every = column(chrome, "each", 0)
    form = chrome.find_element("css selector", "form[data-table=each]")
    form.find_element("css selector", "input[type=search]").send_keys("ADARING")
    assert set(column(chrome, "each", 0)) == {"adaring"}
    Select(form.find_element("css selector", "select")).select_by_visible_text("y")
    assert column(chrome, "each", 1) == ["y"]
    assert form.find_element("css selector", "output").text == f"1 of {len(every)} rows"
    form.find_element("css selector", "input[type=search]").clear()
    assert set(column(chrome, "each", 1)) == {"y"}


def test_the_keyboard_alone_sorts_and_reaches_the_content(chrome: Any, site: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.show(chrome, site, f"{BOARD}/index.html")
    chrome.switch_to.active_element.send_keys(Keys.TAB)
    skip = chrome.switch_to.active_element
    assert skip.text == "Skip to content"
    assert skip.rect["x"] >= 0
    assert chrome.execute_script(
        "return getComputedStyle(document.activeElement).outlineStyle") == "solid"  # fmt: skip
    for _ in range(40):
        chrome.switch_to.active_element.send_keys(Keys.TAB)
        if chrome.switch_to.active_element.tag_name == "button" and (
            chrome.switch_to.active_element.text == "rank"
        ):
            break
    chrome.switch_to.active_element.send_keys(Keys.ENTER)
    assert head(chrome, "board", "rank")[1].get_attribute("aria-sort") == "ascending"


def test_a_mark_says_what_it_is_and_leads_to_its_runs(chrome: Any, site: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    browser.show(chrome, site, f"{BOARD}/pareto.html")
    dot = chrome.find_element("css selector", "#plane-params-trainable a.dot[data-method=adaring]")
    tip = chrome.find_element("id", "tip")
    assert not tip.is_displayed()
    ActionChains(chrome).move_to_element(dot.find_element("css selector", "g path")).perform()
    assert tip.is_displayed()
    assert tip.text == dot.get_attribute("aria-label")
    adaring = [r for r in RUNS if r.tags["method"] == "adaring"]
    by_seed = [
        known_site.average_h([r for r in adaring if r.tags["seed"] == str(s)]) for s in (1, 2)
    ]
    assert f"adaring: {sum(by_seed) / 2:.2f}" in tip.text
    dot.find_element("css selector", "g path").click()
    assert chrome.find_element("css selector", "h1").text == "adaring"
    linked = {a.get_attribute("href").rsplit("/")[-1]
              for a in chrome.find_elements("css selector", "main table a")}  # fmt: skip
    assert linked == {links.run(r).split("/")[1] for r in adaring}


def test_names_lie_inside_their_picture_and_on_no_other(chrome: Any, tmp_path: Path) -> None:
    runs = [
        known_runs.run("lora", "x", s, {"acc/base": 50.0 + i, "acc/novel": 50.0 + s,
                                     "params/trainable": 1e4 * 1.3**i},
                    {"rank": i, "dropout": 0.25 + i / 100, "alpha": 1.248, "sites": "q,k,v,o"[:i]},
                    protocol="base_to_novel")
        for i in range(1, 7) for s in (1, 2)
    ]  # fmt: skip
    folder.write_site(
        lambda: build.site_files(known_site.Planted(runs), drawn=False), tmp_path / "site"
    )
    browser.width(chrome, 1440)
    browser.show(chrome, tmp_path / "site", f"{BOARD}/pareto.html")
    boxes = chrome.execute_script(
        "return [...document.querySelectorAll('#plane-params-trainable text.label')]"
        ".map(t => t.getBBox()).map(b => [b.x, b.y, b.x + b.width, b.y + b.height])"
    )
    assert len(boxes) >= 2
    assert all(left > 0 and right < charts.WIDTH for left, _, right, _ in boxes)
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 3 or b[3] <= a[1] + 3, (a, b)


def test_methods_are_switched_off_in_a_picture(chrome: Any, site: Path) -> None:
    browser.show(chrome, site, f"{BOARD}/pareto.html")
    inside = "#plane-params-trainable"
    box = chrome.find_element("css selector", f"{inside} input[data-method=lora]")
    dots = chrome.find_elements("css selector", f"{inside} a.dot[data-method=lora]")
    others = chrome.find_elements("css selector", f"{inside} a.dot[data-method=adaring]")
    assert len(dots) == 2
    box.click()
    assert not any(d.is_displayed() for d in dots)
    assert all(d.is_displayed() for d in others)
    box.click()
    assert all(d.is_displayed() for d in dots)


def test_dark_is_what_the_person_prefers_or_chooses(chrome: Any, site: Path) -> None:
    def paper() -> int:
        colour = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(int(v) for v in colour.removeprefix("rgb(").rstrip(")").split(","))

    browser.show(chrome, site, "index.html")
    browser.scheme(chrome, "light")
    light = paper()
    browser.scheme(chrome, "dark")
    assert paper() < 150 < light
    button = chrome.find_element("id", "theme")
    button.click()  # auto, light
    assert paper() == light
    browser.show(chrome, site, f"{BOARD}/index.html")  # remembered
    assert paper() == light
    chrome.find_element("id", "theme").click()
    browser.scheme(chrome, "light")
    assert paper() < 150
    chrome.find_element("id", "theme").click()
    assert chrome.find_element("id", "theme").text == "Theme: auto"


def test_no_page_complains_asks_elsewhere_or_is_wider_than_a_phone(chrome: Any, site: Path) -> None:
    browser.width(chrome, 390)
    chrome.get_log("performance")
    chrome.get_log("browser")
    runs = sorted(p.relative_to(site).as_posix() for p in site.glob("runs/*.html"))[:3]
    rows = sorted(p.relative_to(site).as_posix() for p in site.glob("boards/*/rows/*.html"))[:2]
    rows += sorted(p.relative_to(site).as_posix() for p in site.glob("boards/*/pairs/*.html"))[:2]
    pages = [*runs, *rows, *(p.relative_to(site).as_posix() for p in site.glob("methods/*.html"))]
    pages += ["index.html", *(f"{BOARD}/{n}.html" for n in ("index", "all", "pareto", "compare"))]
    for page in pages:
        browser.show(chrome, site, page)
        assert chrome.execute_script("return innerWidth") == 390
        inside = "const e = document.documentElement; return e.scrollWidth <= e.clientWidth"
        assert chrome.execute_script(inside), page
        assert chrome.get_log("browser") == [], page
    events = [json.loads(e["message"])["message"] for e in chrome.get_log("performance")]
    asked = {
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    }
    assert len(asked) > len(pages)
    assert all(url.startswith((site.as_uri(), "data:")) for url in asked)


def test_every_link_and_picture_leads_somewhere(site: Path) -> None:
    from html.parser import HTMLParser

    class Links(HTMLParser):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.found: list[str] = []
            self.ids: set[str] = set()
            self.feed(text)

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            known = dict(attrs)
            self.ids.add(known.get("id") or "")
            self.found += [v for k in ("href", "src") if (v := known.get(k))]

    pages = {p.resolve(): Links(p.read_text()) for p in site.rglob("*.html")}
    assert len(pages) > 30
    for path, page in pages.items():
        for link in page.found:
            if link.startswith(("https://", "data:")):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), (path, link)
            if anchor:
                assert anchor in pages[target].ids, (path, link)


def test_tables_and_pictures_have_names_for_those_who_do_not_see_them(
    chrome: Any, site: Path
) -> None:
    for page in (
        "index.html",
        f"{BOARD}/index.html",
        f"{BOARD}/pareto.html",
        f"{BOARD}/compare.html",
    ):
        browser.show(chrome, site, page)
        assert chrome.execute_script(
            "return [...document.querySelectorAll('table')].every(t => t.caption.textContent.trim()"
            " && [...t.tHead.rows[0].cells].every(c => c.scope === 'col' && c.textContent.trim())"
            " && [...t.tBodies[0].rows].every(r => r.cells[0].scope === 'row'))"
        )
        assert chrome.execute_script(
            "return [...document.querySelectorAll('svg.chart')].every(s =>"
            " document.getElementById(s.getAttribute('aria-labelledby')).textContent.length > 20)"
            " && [...document.querySelectorAll('img')].every(i => i.alt)"
            " && document.querySelectorAll('h1').length === 1 && document.documentElement.lang"
        )


def test_without_javascript_everything_is_there_but_the_controls(site: Path) -> None:
    with browser.opened(script=False) as chrome:
        browser.show(chrome, site, f"{BOARD}/index.html")
        assert not chrome.find_element("css selector", "form.filters").is_displayed()
        assert not chrome.find_element("id", "theme").is_displayed()
        assert len(column(chrome, "board", 0)) == 5
        assert chrome.find_elements("css selector", "#board thead button") == []
        browser.show(chrome, site, f"{BOARD}/pareto.html")
        dot = chrome.find_element("css selector", "a.dot[data-method=adaring]")
        assert "adaring" in dot.find_element("css selector", "title").get_attribute("textContent")
        dot.find_element("css selector", "g path").click()
        assert chrome.find_element("css selector", "h1").text == "adaring"
