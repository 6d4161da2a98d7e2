"""The report: a page that tells what is in the file, shows nobody's secrets, and is looked at in a real browser."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from shell import command, is_refused, output
from sidecar import Sidecar

HOUR = 3_600_000
SECRET = "canary-4711"
#: what no option shows
HIDDEN = "whsec_aGlkZGVu"
HOSTILE = "<script>document.title='hit'</script>"


@pytest.fixture
def reported(spawn: Callable[..., Sidecar], database: Path) -> Path:
    """A store that has something of everything that the page shows, with secrets wherever there may be some."""
    now = time.time_ns() // 1_000_000
    sidecar = spawn()
    for number in range(7):
        sidecar.call(
            "create_session", session_id=f"session-{number}-{SECRET}", user_id=f"username-{SECRET}", status="active",
            state={"key": SECRET}, metadata={"note": SECRET},
        )  # fmt: skip
    sidecar.call("create_session", session_id=HOSTILE.replace(" ", ""), user_id=HOSTILE, principal="a\u202eb\x07\"'&")
    for hours in range(48):
        for _ in range(1 + hours % 3):
            sidecar.call(
                "store_event", session_id=f"session-0-{SECRET}", data={"text": SECRET}, timestamp=now - hours * HOUR
            )
    sidecar.call("suspend_session", session_id=f"session-1-{SECRET}", reason=SECRET)
    sidecar.call("invalidate_session", session_id=f"session-2-{SECRET}")
    for number, method in enumerate(("complete_task", "fail_task", "cancel_task", None)):
        task = {"task_id": f"task-{number}-{SECRET}", "original_method": "tools/call", "original_params": {"a": SECRET}}
        sidecar.call("create_task", status_message=SECRET, **task)
        outcome: dict[str, Any] = {
            "complete_task": {"result": {"text": SECRET}}, "fail_task": {"error": {"code": 1, "message": SECRET}},
        }.get(method or "", {})  # fmt: skip
        if method:
            sidecar.call(method, task_id=task["task_id"], **outcome)
    sidecar.call(
        "record_security_event", session_id=f"session-3-{SECRET}", type="unauthorized_access", severity="high",
        message=f"{SECRET} {HOSTILE}", ip_address=f"address-{SECRET}",
    )  # fmt: skip
    for number, outcome in enumerate(("done", "dead", "retry", None)):
        named = f"{number}-{SECRET}"
        sidecar.call(
            "put_event_subscription", subscription_id=f"hook-{named}", topic=f"orders-{SECRET}",
            principal=f"a-{SECRET}", data={"url": HIDDEN}, secret=HIDDEN, active=number != 3,
        )  # fmt: skip
        sidecar.call("enqueue_work", queue=f"queue-{SECRET}", work_id=f"item-{named}", payload=HIDDEN,
                     subscription_id=f"hook-{named}")  # fmt: skip
    for item in sidecar.call("claim_work", queue=f"queue-{SECRET}", limit=3)["work"]:
        outcome = {"0": "done", "1": "dead", "2": "retry"}[item["work_id"][5]]
        sidecar.call("settle_work", queue=f"queue-{SECRET}", work_id=item["work_id"], fence=item["fence"],
                     outcome=outcome, **({} if outcome == "done" else {"error": f"error-{SECRET}"}))  # fmt: skip
    sidecar.finish()
    return database


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "the page is looked at in Debian's chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def show(browser: Browser, file: Path, width: int = 1_400, scheme: Any = "light") -> Page:
    """Opens the page; anything but the file itself that it asks for or says is a failure."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != file.as_uri() else None)
    page.goto(file.as_uri())
    page.wait_for_load_state("networkidle")
    assert said == []
    return page


def bars(page: Page, title: str) -> dict[str, int]:
    """What a table of bars says."""
    section = page.locator("section", has=page.get_by_role("heading", name=title, exact=True))
    rows = section.locator("tbody tr").all()
    return {
        row.locator("th").inner_text(): int(row.locator("td.n").inner_text().replace("\u202f", "")) for row in rows
    }


def figure(page: Page, what: str) -> Any:
    return page.locator("figure", has=page.get_by_text(what, exact=True))


def columns(page: Page, what: str) -> int:
    """How much the columns of a plot hold together."""
    return sum(int(title.rsplit(": ")[1]) for title in figure(page, what).locator("rect title").all_text_contents())


def test_the_page_tells_what_is_in_the_store(reported: Path, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert output("report", "--database", reported, "--output", file) == ""
    assert file.stat().st_mode & 0o777 == 0o600
    page = show(browser, file)
    assert page.title() == "mcp-session-store report"
    assert bars(page, "Sessions") == {"pending": 1, "active": 5, "suspended": 1, "expired": 0, "invalidated": 1}
    assert bars(page, "Tasks") == {"working": 1, "input required": 0, "completed": 1, "failed": 1, "cancelled": 1}
    assert sum(bars(page, "How long tasks took").values()) == 3
    assert bars(page, "Security events") == {"unauthorized access (high)": 1}
    assert bars(page, "Lifecycle changes") == {"created": 8, "suspended": 1, "invalidated": 1}
    tiles = dict(zip(page.locator(".tile span").all_inner_texts(), page.locator(".tile b").all_inner_texts()))
    assert (tiles["sessions"], tiles["events"], tiles["tasks"]) == ("8", "96", "4")
    # The columns hold every event, each in its time.
    assert columns(page, "Events") == 96 and page.locator("figure rect").count() > 45
    assert columns(page, "Sessions created") == 8 and columns(page, "Tasks created") == 4
    largest = page.locator("section", has=page.get_by_role("heading", name="Largest sessions")).locator("tbody tr")
    assert largest.first.locator("td").all_inner_texts()[:4] == ["sessi…-4711", "usern…-4711", "–", "96"]
    assert largest.count() == 8
    assert bars(page, "Work") == {"waiting": 2, "leased": 0, "done": 1, "dead": 1}
    assert bars(page, "Event subscriptions") == {"active": 3, "inactive": 1}
    ((queue, *counts),) = rows(page, "Queues")
    assert queue == "queu…4711" and counts[:-1] == ["2", "0", "0", "1", "1"]
    (dead,) = rows(page, "Newest dead letters")
    assert dead[-2:] == ["1", "(hidden)"]
    assert len(rows(page, "Event subscriptions in trouble")) == 3


def rows(page: Page, title: str) -> list[list[str]]:
    """What stands in a table."""
    table = page.locator("section", has=page.get_by_role("heading", name=title, exact=True)).locator("tbody tr")
    return [row.locator("td").all_inner_texts() for row in table.all()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1_400])
def test_it_can_be_read_on_any_screen(
    reported: Path, browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "report.html"
    output("report", "--database", reported, "--output", file)
    page = show(browser, file, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Tables scroll within their frames, which a keyboard can reach.
    for frame in page.locator(".scroll").all():
        assert frame.get_attribute("tabindex") == "0"
    colours = page.evaluate(
        """() => ['body', 'section', '.tile span', 'h2', 'td'].map(name => {
          const style = getComputedStyle(document.querySelector(name));
          return [style.color, style.backgroundColor];
        })"""
    )
    background = colours[1][1]
    for colour, _ in colours:
        assert contrast(colour, background) >= 4.5, (colour, background)
    assert (luminance(background) > 0.5) == (scheme == "light")


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_nothing_hostile_becomes_markup(reported: Path, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    output("report", "--database", reported, "--output", file, "--payloads")
    page = show(browser, file)
    assert page.title() == "mcp-session-store report"
    assert page.locator("script").count() == 0
    assert HOSTILE in page.locator("body").inner_text()
    text = file.read_text(encoding="utf-8")
    assert "\u202e" not in text and "\x07" not in text
    assert "default-src 'none'" in text


def test_secrets_are_shown_only_when_asked_for(reported: Path, tmp_path: Path) -> None:
    hidden = output("report", "--database", reported, "--output", "-")
    assert SECRET not in hidden and HOSTILE[:12] not in hidden
    shown = output("report", "--database", reported, "--output", "-", "--payloads")
    assert SECRET in shown
    # What callers stored as payloads stays out of it even so.
    assert HIDDEN not in hidden and HIDDEN not in shown
    assert '"text"' not in shown and "&quot;text&quot;" not in shown


def test_an_empty_store_has_a_page_too(
    spawn: Callable[..., Sidecar], database: Path, browser: Browser, tmp_path: Path
) -> None:
    spawn().finish()
    file = tmp_path / "report.html"
    output("report", "--database", database, "--output", file)
    page = show(browser, file)
    assert "There are no events." in page.locator("body").inner_text()
    assert set(bars(page, "Sessions").values()) == {0}


def test_a_store_without_events_shows_its_tasks_over_time(
    spawn: Callable[..., Sidecar], database: Path, browser: Browser, tmp_path: Path
) -> None:
    """As servers of 2026-07-28 leave it: neither sessions nor events, and all within a moment."""
    sidecar = spawn()
    for _ in range(3):
        sidecar.call("create_task")
    sidecar.finish()
    file = tmp_path / "report.html"
    output("report", "--database", database, "--output", file)
    page = show(browser, file)
    assert columns(page, "Tasks created") == 3 and page.locator("figure").count() == 1
    assert "There are no events." in page.locator("body").inner_text()
    # Even so little has room on both axes: ten minutes, and more than one thing.
    assert figure(page, "Tasks created").locator(".y span").all_inner_texts()[0] == "0"
    assert int(figure(page, "Tasks created").locator(".y span").last.inner_text()) >= 4
    times = figure(page, "Tasks created").locator(".x span").all_inner_texts()
    assert len(times) >= 3 and all(re.fullmatch(r"\d\d[:-]\d\d", time) for time in times)
    plot = figure(page, "Tasks created").locator("svg").bounding_box()
    widths = [column.bounding_box()["width"] for column in figure(page, "Tasks created").locator("rect").all()]
    assert plot and max(widths) < plot["width"] / 20


def test_ids_of_one_minute_are_told_apart(
    spawn: Callable[..., Sidecar], database: Path, browser: Browser, tmp_path: Path
) -> None:
    sidecar = spawn()
    ids = [sidecar.call("create_session")["session_id"] for _ in range(5)]
    sidecar.finish()
    file = tmp_path / "report.html"
    output("report", "--database", database, "--output", file)
    page = show(browser, file)
    section = page.locator("section", has=page.get_by_role("heading", name="Largest sessions"))
    shown = section.locator("tbody td:first-child").all_inner_texts()
    assert sorted(shown) == sorted(f"{name[:8]}…{name[-6:]}" for name in ids) and len(set(shown)) == 5
    # Nobody has a user or a principal, so there are no columns for them.
    titles = section.locator("th").all_inner_texts()
    assert titles[:2] == ["session", "events"] and "user" not in titles and "principal" not in titles


def test_severities_have_their_order_and_addresses_are_cut(
    spawn: Callable[..., Sidecar], database: Path, browser: Browser, tmp_path: Path
) -> None:
    addresses = ["10.0.0.1", "2001:db8:85a3::7334", "host.example.org", "::1"]
    sidecar = spawn()
    for severity, count, address in zip(("low", "critical", "medium", "high"), (4, 1, 3, 2), addresses):
        for _ in range(count):
            sidecar.call(
                "record_security_event", type="unauthorized_access", severity=severity, message="m", ip_address=address
            )
    sidecar.finish()
    file = tmp_path / "report.html"
    output("report", "--database", database, "--output", file)
    names = [name.split("(")[1] for name in bars(show(browser, file), "Security events")]
    assert names == ["critical)", "high)", "medium)", "low)"]
    hidden = file.read_text(encoding="utf-8")
    assert not any(f">{address}<" in hidden for address in addresses) and "10.0…" in hidden and "2001:db8…" in hidden
    output("report", "--database", database, "--output", file, "--payloads", "--force")
    assert all(f">{address}<" in file.read_text(encoding="utf-8") for address in addresses)


def test_a_table_that_scrolls_shows_it(reported: Path, browser: Browser, tmp_path: Path) -> None:
    """A shadow stands at the edge behind which there is more, and goes when that edge is reached."""
    file = tmp_path / "report.html"
    output("report", "--database", reported, "--output", file)
    page = show(browser, file, 390)
    frame = page.get_by_role("region", name="Largest sessions")
    frame.scroll_into_view_if_needed()
    assert frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")
    assert frame.evaluate("frame => getComputedStyle(frame).backgroundAttachment") == "local, local, scroll, scroll"
    before = frame.screenshot()
    frame.evaluate("frame => frame.scrollLeft = frame.scrollWidth")
    assert frame.screenshot() != before


def test_a_file_that_is_there_is_replaced_only_by_force(reported: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("mine")
    is_refused(command("report", "--database", reported, "--output", file), 73, str(file), "--force")
    assert file.read_text() == "mine"
    output("report", "--database", reported, "--output", file, "--force")
    assert file.read_text().startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.glob("*.partial*")] == []


def test_what_cannot_be_written_is_said(reported: Path, tmp_path: Path) -> None:
    is_refused(command("report", "--database", reported), 64, "--output FILE")
    is_refused(command("report", "--database", reported, "--output", tmp_path / "no" / "r.html"), 73, "No such file")
    is_refused(command("report", "--database", tmp_path / "none.db", "--output", "-"), 66, "none.db")
