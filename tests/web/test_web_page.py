"""The page in a real browser, against a real server with a simulated scene."""

import io
import json
import re
import urllib.parse
import urllib.request

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
from PIL import Image

import gssm
from browser import PHONE, browser
from page_site import ID, site

MEGABYTE = 1_000_000
# As wide as the layout of a desktop needs: without a graphics card each pixel costs.
SCREEN = {"width": 1280, "height": 760}
PATIENCE = 30_000  # milliseconds until the test gives up; nothing takes as long
# What a picture of a canvas costs, and what is told of an answer by itself.
ELSEWHERE = re.compile(r"GL Driver Message|Failed to load resource")


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    with site(tmp_path_factory.mktemp("site")) as served:
        yield served


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        opened.set_default_timeout(PATIENCE)
        yield opened


class Visit:
    """A page with all that went wrong in it, and all that it asked for."""

    def __init__(self, chrome, url, *, viewport=SCREEN, scheme="light"):
        self.page = chrome.new_page()
        self.page.set_viewport_size(viewport)
        self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        self.url, self.wrong, self.asked = url, [], []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("response", self._response)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.blockedURI))"
        )

    def _console(self, message):
        if message.type in ("error", "warning") and not ELSEWHERE.search(message.text):
            self.wrong.append(message.text)

    def _response(self, response):
        if response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")

    def open(self, address="", *, has_map=True):
        """Load the page and wait for its first map; milliseconds until then."""
        self.page.goto(self.url + "/" + address)
        if not has_map:
            return 0
        self.page.locator("body[data-first]").wait_for(state="attached")
        return int(self.page.evaluate("document.body.dataset.first"))

    def rest(self):
        """Wait until the map is drawn as the state says."""
        self.page.wait_for_timeout(150)
        self.page.locator("body[data-map=idle]").wait_for(state="attached")
        self.page.evaluate(
            """async () => {
              const maps = [gssm.map, await gssm.secondMap()].filter(Boolean);
              await Promise.all(maps.map((map) => new Promise((done) => {
                map.once("idle", done);
                map.triggerRepaint();
              })));
            }"""
        )

    def at(self, lon, lat):
        """Where a place is on the screen."""
        stage = self.page.locator("#stage").bounding_box()
        place = self.page.evaluate(
            "(p) => { const {x, y} = gssm.map.project(p); return [x, y] }", [lon, lat]
        )
        return stage["x"] + place[0], stage["y"] + place[1]

    def color(self, lon, lat):
        """Colour that the screen has at a place, as #rrggbb."""
        x, y = self.at(lon, lat)
        clip = {"x": round(x), "y": round(y), "width": 1, "height": 1}
        shown = Image.open(io.BytesIO(self.page.screenshot(clip=clip))).convert("RGB")
        return "#" + bytes(shown.getpixel((0, 0))).hex()

    def chosen(self, name):
        """A part of the state."""
        return self.page.evaluate("(name) => gssm.store.get()[name]", name)

    def ended(self):
        """Close, and tell what went wrong."""
        foreign = {u for u in self.asked if not u.startswith((self.url, "data:", "blob:"))}
        self.page.close()
        assert not foreign
        assert not self.wrong


@pytest.fixture
def visit(chrome, fields):
    """Visits of the page; each ends without an error and without another host."""
    made = []

    def begin(address="", has_map=True, **options):
        opened = Visit(chrome, fields.url, **options)
        made.append(opened)
        opened.milliseconds = opened.open(address, has_map=has_map)
        return opened

    yield begin
    for opened in made:
        opened.ended()


def asked(url, path, **parameters):
    """JSON of the API."""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=60) as response:
        return json.load(response)


def middle(box, x=0.5, y=0.5):
    west, south, east, north = box
    return west + x * (east - west), south + y * (north - south)


def archive_of(site, dataset):
    """Folder of a dataset: the archive, or what a prediction wrote."""
    return site.archive if dataset == ID else site.data / "jobs" / dataset / "archive"


def classes_of(site, dataset, date, x=(0.3, 0.7), y=(0.55, 0.95)):
    """Soil moisture of a part of the scene (shares of it), and its class or -1.

    A pixel has a class only if all around it have the same, so that the rounding of a screen
    does no harm.
    """
    (west, south), (east, north) = (middle(site.box, x[n], y[n]) for n in (0, 1))
    opened = gssm.open_archive(str(archive_of(site, dataset)), (west, south, east, north))
    values = opened["soil_moisture"].sel(time=pd.Timestamp(date).tz_localize(None)).load()
    classes = np.clip(np.floor(20 * values.values.astype(float)), 0, 9)
    around = np.lib.stride_tricks.sliding_window_view(classes, (3, 3))
    same = (around == around[..., 1:2, 1:2]).all(axis=(2, 3))
    inner = np.where(same, classes[1:-1, 1:-1], -1).astype(int)
    return values, np.pad(inner, 1, constant_values=-1)


def place_of(values, where):
    """Longitude and latitude of a pixel in the middle of those that there are, and its indices."""
    rows, columns = np.nonzero(where)
    assert len(rows), "the scene has no such place"
    row, column = rows[len(rows) // 2], columns[len(rows) // 2]
    to_degrees = pyproj.Transformer.from_crs(32631, 4326, always_xy=True)
    lon, lat = to_degrees.transform(float(values.x[column]), float(values.y[row]))
    return (lon, lat), (row, column)


def colors(site):
    """Colours of the legend."""
    legend = asked(site.url, f"datasets/{ID}/legend", variable="soil_moisture")
    return [entry["color"] for entry in legend["entries"]]


def valued(site, dataset, date, *shares):
    """A place with a value, that value, and its colour."""
    values, classes = classes_of(site, dataset, date, *shares)
    place, index = place_of(values, classes >= 0)
    return place, float(values.values[index]), colors(site)[classes[index]]


def address(state):
    """Part of an address after #."""
    return "#" + "&".join(f"{name}={value}" for name, value in state.items())


def test_a_first_visit_shows_the_newest_map_and_loads_little(visit, fields):
    seen = visit()
    page = seen.page
    seen.rest()
    assert seen.chosen("dataset") == ID
    assert seen.chosen("date") == fields.mapped[-1]
    assert page.title() == "Fields of the Scheldt"
    (lon, lat), _, color = valued(fields, ID, fields.mapped[-1])
    assert seen.color(lon, lat) == color
    sizes = page.evaluate("performance.getEntriesByType('resource').map((r) => r.transferSize)")
    weight = sum(sizes)
    print(f"first map after {seen.milliseconds} ms, {len(sizes)} requests, {weight / 1e3:.0f} kB")
    assert 0.2 * MEGABYTE < weight < 1.5 * MEGABYTE
    # The chart comes with the first series.
    assert not any("uPlot" in url for url in seen.asked)
    assert page.locator("#title").inner_text() == "Fields of the Scheldt"
    assert "Click a place" in page.locator("#hint").inner_text()
    assert page.locator("#legend").inner_text().startswith("Soil moisture")
    assert "m³ m⁻³" in page.locator("#legend").inner_text()
    assert "0.5" in page.locator("#legend").inner_text()
    page.locator("#section-limits > summary").click()
    sentences = asked(fields.url, f"datasets/{ID}")["limitations"]
    assert [item.inner_text() for item in page.locator("#limits li").all()] == sentences
    page.locator("#about-open").click()
    assert "Xu" in page.locator("#about .citation").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#about").is_visible()


def test_outlines_lie_under_the_map(visit):
    seen = visit(address({"map": "4/50/3"}))
    for _ in range(100):
        found = seen.page.evaluate("gssm.map.querySourceFeatures('world').length")
        if found:
            break
        seen.page.wait_for_timeout(100)
    seen.rest()
    assert seen.color(2.5, 47.0) == "#f5f4f0"  # France
    assert seen.color(-6.0, 47.0) == "#e3e8ec"  # the Atlantic


def test_a_click_shows_value_series_and_flags(visit, fields):
    seen = visit()
    page = seen.page
    seen.rest()
    (lon, lat), value, _ = valued(fields, ID, fields.mapped[-1])
    there = asked(fields.url, f"datasets/{ID}/point", lon=lon, lat=lat, date=fields.mapped[-1])
    assert there["soil_moisture"] == pytest.approx(value, abs=1e-6)
    page.mouse.click(*seen.at(lon, lat))
    page.locator("#readout .value b").wait_for()
    assert not page.locator("#hint").is_visible()
    clicked = [seen.chosen("place")[name] for name in ("lon", "lat")]
    assert clicked == pytest.approx((lon, lat), abs=1e-4)  # some pixels of the screen
    where = dict(zip(("lon", "lat"), clicked, strict=True))
    point = asked(fields.url, f"datasets/{ID}/point", date=fields.mapped[-1], **where)
    assert page.locator("#readout .value").inner_text() == f"{point['soil_moisture']:.3f} m³ m⁻³"
    low, high = point["interval"]
    assert f"{low:.3f} to {high:.3f}" in page.locator("#readout .between").inner_text()
    for flag in point["flags"]:
        assert flag["name"].replace("_", " ") in page.locator("#readout dl").inner_text()
    page.locator("#chart canvas").wait_for()
    assert f"{len(fields.mapped)} dates" in page.locator("#chart").get_attribute("aria-label")
    # The same numbers as a table, for those who see no chart.
    page.locator("#series-table summary").click()
    rows = asked(fields.url, f"datasets/{ID}/series", **where)["rows"]
    shown = [row.locator("td").first.inner_text() for row in page.locator("tbody tr").all()]
    assert shown == [f"{r['soil_moisture']:.3f}" if r["soil_moisture"] else "–" for r in rows[::-1]]
    # A click on a point of the chart takes its date.
    over = page.locator("#chart .u-over").bounding_box()
    page.mouse.click(over["x"] + 8, over["y"] + over["height"] / 2)
    assert seen.chosen("date") == fields.mapped[0]
    with page.expect_download() as table:
        page.locator("#series-csv").click()
    assert table.value.path().read_text().count("\n") == 1 + len(rows)
    with page.expect_download() as picture:
        page.locator("#series-png").click()
    with Image.open(picture.value.path()) as image:
        assert image.width > 250


def test_a_prediction_is_run_shown_downloaded_and_shared(visit, chrome, fields):
    seen = visit()
    page = seen.page
    seen.rest()
    page.locator("#tool-box").click()
    corners = [seen.at(*middle(fields.box, x, y)) for x, y in ((0.3, 0.95), (0.7, 0.55))]
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*np.mean(corners, axis=0))
    page.mouse.move(*corners[1])
    page.mouse.up()
    assert seen.chosen("place")["type"] == "box"
    page.locator("#readout .histogram").wait_for()
    page.locator("#catalog").check()
    lacking = page.locator(f"#date-{fields.lacking[0]}")
    lacking.wait_for()
    assert "not computed yet" in lacking.text_content()
    lacking.click()
    assert "km²" in page.locator("#predict-offer").inner_text()
    assert "at most 400 km²" in page.locator("#predict-offer").inner_text()
    page.locator("#predict-run").click()
    page.locator("#jobs [data-state=done]").wait_for()
    page.locator(f"#date-{fields.lacking[0]}[aria-selected=true]:not(.lacking)").wait_for()
    dataset = seen.chosen("dataset")
    assert dataset != ID
    assert len([url for url in seen.asked if url.endswith("/events")]) == 1
    assert page.locator("#dataset").input_value() == dataset
    seen.rest()
    place, _, color = valued(fields, dataset, fields.lacking[0], (0.33, 0.67), (0.7, 0.93))
    assert seen.color(*place) == color
    check_download(seen, fields, dataset)
    page.wait_for_timeout(300)  # until the address is written
    other = Visit(chrome, fields.url)
    other.open(urllib.parse.urlsplit(page.url)._replace(scheme="", netloc="").geturl().lstrip("/"))
    other.rest()
    for name in ("dataset", "date", "place", "catalog", "layers"):
        assert other.chosen(name) == seen.chosen(name)
    assert other.color(*place) == color
    other.ended()


def check_download(seen, fields, dataset):
    """Download the box as a GeoTIFF, and compare it with what Python reads."""
    page = seen.page
    page.locator("#section-download > summary").click()
    page.locator("#download-format").select_option("cog")
    page.locator("#download-variable").select_option("soil_moisture")
    with page.expect_download() as file:
        page.locator("#download-go").click()
    assert file.value.suggested_filename.endswith(".tif")
    with rasterio.open(file.value.path()) as image:
        assert image.crs.to_epsg() == 32631
        read = image.read(1, masked=True) * image.scales[0]
    opened = gssm.open_archive(str(archive_of(fields, dataset)), seen.chosen("place")["bbox"])
    expected = opened["soil_moisture"].isel(time=0).values
    assert read.shape == expected.shape
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(read.filled(np.nan), expected, atol=1e-6)


def test_two_dates_are_compared_by_a_handle(visit, fields):
    old, new = fields.mapped[0], fields.mapped[-1]
    everywhere = (0.1, 0.9), (0.1, 0.9)
    (values, of_old), (_, of_new) = (classes_of(fields, ID, d, *everywhere) for d in (old, new))
    place, index = place_of(values, (of_old >= 0) & (of_new >= 0) & (of_old != of_new))
    before, after = colors(fields)[of_old[index]], colors(fields)[of_new[index]]
    seen = visit()
    page = seen.page
    page.locator("#compare").check()
    page.locator("#date-b").select_option(old)
    handle = page.locator("#swipe-handle")
    handle.focus()
    page.keyboard.press("End")
    assert handle.get_attribute("aria-valuenow") == "100"
    seen.rest()
    assert seen.color(*place) == after  # left of the handle
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    assert handle.get_attribute("aria-valuenow") == "10"
    seen.rest()
    assert seen.color(*place) == before
    # Dragged over the place and on.
    box, (x, _) = handle.bounding_box(), seen.at(*place)
    page.mouse.move(box["x"] + 22, box["y"] + 22)
    page.mouse.down()
    page.mouse.move(x + 60, box["y"])
    page.mouse.up()
    seen.rest()
    assert seen.color(*place) == after
    page.locator("#compare-swap").click()
    seen.rest()
    assert seen.color(*place) == before
    page.locator("#compare").uncheck()
    assert not page.locator("#map-b").is_visible()


def test_everything_is_reached_by_keys(visit, fields):
    x, y = middle(fields.box)
    seen = visit(address({"map": f"15/{y}/{x}"}))
    page = seen.page
    page.locator("#dates").focus()
    page.keyboard.press("ArrowDown")
    assert seen.chosen("date") == fields.mapped[-2]
    active = page.locator("#dates").get_attribute("aria-activedescendant")
    assert active == f"date-{fields.mapped[-2]}"
    page.locator("#strip").focus()
    page.keyboard.press("Home")
    assert seen.chosen("date") == fields.mapped[0]
    assert "2023" in page.locator("#strip").get_attribute("aria-valuetext")
    lon, lat = middle(fields.box)
    page.locator("#lat").fill(f"{lat:.5f}")
    page.locator("#lon").fill(f"{lon:.5f}".replace(".", ","))
    page.keyboard.press("Enter")
    assert seen.chosen("place")["type"] == "point"
    page.locator("#lat").fill("north")
    page.keyboard.press("Enter")
    assert "latitude" in page.locator("#place-problem").inner_text()
    assert page.locator("#lat").get_attribute("aria-invalid") == "true"
    # Enter on the map takes the place under the cross.
    page.locator("#map canvas").focus()
    centre = page.evaluate("gssm.map.getCenter().toArray()")
    page.keyboard.press("Enter")
    place = seen.chosen("place")
    assert (place["lon"], place["lat"]) == pytest.approx(centre, abs=1e-4)
    page.locator("#tool-polygon").click()
    west, south, east, north = fields.box
    page.locator("#corners").fill(f"{west} {south}, {east} {south}, {east} {north}")
    page.locator("#place-go").press("Enter")
    page.locator("#readout .histogram").wait_for()
    assert "Polygon" in page.locator("#result-title").inner_text()


def test_errors_are_told_as_the_server_says_them(visit, fields):
    seen = visit(address({"place": "point:100,10"}), has_map=False)
    seen.page.get_by_text("No map of this dataset shows this place").wait_for()
    assert seen.page.get_by_text("No date at this place").is_visible()
    seen.page.locator("#tool-box").click()
    for edge, value in zip(("west", "south", "east", "north"), (3, 50, 2, 51), strict=True):
        seen.page.locator(f"#{edge}").fill(str(value))
    seen.page.locator("#place-go").click()
    assert "no area" in seen.page.locator("#place-problem").inner_text()


def test_predictions_of_others_take_no_connection(visit, chrome):
    """A browser has six connections to a server: a stream for each would leave none for the map."""
    jobs = [
        {"id": f"{n:016x}", "title": f"job {n}", "state": "queued", "message": "", "date": "",
         "created": f"2023-06-08T17:40:{n:02}Z", "bbox": [3.0, 50.0, 3.1, 50.1],
         "chunks_done": 0, "chunks_total": 0, "dataset": None}
        for n in range(8)
    ]  # fmt: skip
    asked = []

    def answer(route):
        asked.append(route.request.url)
        route.fulfill(json={"jobs": jobs})

    chrome.route("**/api/v1/jobs", answer)
    try:
        seen = visit()
        rows = seen.page.locator("#jobs [data-state=queued]")
        rows.nth(7).wait_for()
        assert seen.page.locator("#predict-brief").inner_text() == "8 waiting"
        jobs[:6] = [
            {**job, "state": "done", "message": "left out: 31UES: no image shows it"}
            for job in jobs[:6]
        ]
        # As when the page comes to the front again.
        seen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        seen.page.locator("#jobs [data-state=done]").nth(5).wait_for()
        assert rows.count() == 2
        assert (
            "no image shows it" in seen.page.locator("#jobs [data-state=done]").first.inner_text()
        )
        assert len(asked) > 1
        assert not any(url.endswith("/events") for url in seen.asked)
    finally:
        chrome.unroute("**/api/v1/jobs")


def test_a_page_of_an_old_version_goes_on_with_the_newest(visit, chrome, fields):
    """An archive that grows is served as it was for some minutes only."""
    newest = asked(fields.url, f"datasets/{ID}")["version"]
    versions = []

    def answer(route):
        found = route.fetch()
        detail = found.json()
        versions.append("OLDOLDOLD" if not versions else detail["version"])
        route.fulfill(response=found, json=detail | {"version": versions[-1]})

    chrome.route(f"**/api/v1/datasets/{ID}", answer)
    try:
        seen = visit(has_map=False)
        page = seen.page
        # What cannot be shown does not keep the page loading.
        page.locator("body[data-map=loading]").wait_for(state="attached")
        page.locator("body[data-map=idle]").wait_for(state="attached")
        assert all("version=OLDOLDOLD" in one for one in seen.wrong)
        assert seen.wrong
        seen.wrong.clear()
        for _ in range(100):
            if seen.chosen("detail")["version"] == newest:
                break
            # As when the page comes to the front again.
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            page.wait_for_timeout(100)
        seen.rest()
        (lon, lat), _, color = valued(fields, ID, fields.mapped[-1])
        assert seen.color(lon, lat) == color
        seen.wrong = [one for one in seen.wrong if "OLDOLDOLD" not in one]
    finally:
        chrome.unroute(f"**/api/v1/datasets/{ID}")


def test_a_phone_shows_all_of_it_without_scrolling_aside(visit, fields):
    seen = visit(viewport=PHONE, scheme="dark")
    page = seen.page
    seen.rest()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.mouse.click(*seen.at(*middle(fields.box)))
    page.locator("#readout .value").wait_for()
    page.locator("#chart canvas").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    small = page.evaluate(
        """[...document.querySelectorAll("button, select, summary, [role=option], input")]
        .filter((e) => e.offsetParent && e.type !== "checkbox" && !e.closest(".maplibregl-map"))
        .map((e) => [e.id || e.textContent.trim(), e.getBoundingClientRect().height])
        .filter(([, height]) => height < 43.5)"""
    )
    assert small == []
    page.locator("#grip").click()
    assert page.locator("#grip").get_attribute("aria-expanded") == "false"


def test_text_stands_out_in_both_themes(visit, fields):
    lon, lat = middle(fields.box)
    seen = visit(address({"place": f"point:{lon:.5f},{lat:.5f}"}))
    seen.page.locator("#readout .value").wait_for()
    for theme in ("light", "dark"):
        seen.page.locator("#theme").click()
        assert seen.page.evaluate("document.documentElement.dataset.theme") == theme
        assert [one for one in seen.page.evaluate(CONTRASTS) if one[1] < 4.5] == []


# Texts with the ratio of luminance to what is behind them, after WCAG 2.2.
CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("#panel *, #head *, #overlay *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.offsetParent || element.closest(":disabled, .map")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([element.textContent.trim().slice(0, 40), Math.round(100 * ratio) / 100]);
  }
  return found;
}"""


@pytest.mark.parametrize(
    "harmful",
    [
        {"range": "0.4,0.1", "place": "box:0,-500,1,500"},
        {"range": "0.1,9", "place": "polygon:3 50,3 900,4 50,3 50"},
    ],
)
def test_an_address_that_cannot_be_is_as_none(visit, harmful):
    seen = visit(address(harmful))
    assert seen.chosen("range") is None
    assert seen.chosen("place") is None
    seen.rest()


def test_an_address_says_what_is_seen_and_nothing_harmful(visit):
    state = {
        "date": "20230608T174048Z",
        "place": "polygon:3.02 50.81,3.03 50.81,3.03 50.82,3.02 50.81",
        "layers": "soil_moisture:60,quality_flag:100",
        "period": "2023-06-01/2023-06-30",
        "colors": "viridis",
        "range": "0.1,0.4",
        "dataset": "<img src=x onerror=alert(1)>",
        "swipe": "7",
    }
    seen = visit(address({n: urllib.parse.quote(v, safe=":/,") for n, v in state.items()}))
    again = seen.page.evaluate(
        """async () => {
          const { readAddress, writeAddress } = await import("/static/js/state.js");
          const first = readAddress(writeAddress(gssm.store.get()));
          return [first, readAddress(writeAddress({ ...gssm.store.get(), ...first }))];
        }"""
    )
    assert again[0] == again[1]
    assert again[0]["layers"]["soil_moisture"] == {"on": True, "opacity": 0.6}
    assert again[0]["colormap"] == "viridis"
    assert again[0]["range"] == [0.1, 0.4]
    assert again[0]["dataset"] == ID
    assert "swipe" not in again[0]
    assert again[0]["place"]["geometry"]["coordinates"][0][1] == [3.03, 50.81]
