"""The admin as a person sees it: a real server, headless Chromium, a picture of each page.

``python -m tests.contrib_project.browser FOLDER`` with the environment of a sandbox.
"""

import argparse
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.db import connections
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.chromium import BROWSER, DRIVER, OPTIONS
from tests.contrib_project.browsing import PASSWORD, prepared

PATIENCE = 30  # seconds for a page


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadedWSGIServer):
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            connections.close_all()


@contextmanager
def served() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Quiet)
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Chrome]:
    if BROWSER is None or DRIVER is None:
        sys.exit("Chromium and chromedriver are not installed.")
    options = ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS, "--window-size=1280,900"):
        options.add_argument(option)
    browser = Chrome(options=options, service=ChromeService(executable_path=DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


class Person:
    """Clicks and types; every page that is looked at is kept as a picture."""

    def __init__(self, browser: Chrome, url: str, folder: Path) -> None:
        self.browser, self.url, self.folder = browser, url, folder
        self.seen: list[str] = []

    def open(self, path: str) -> None:
        self.browser.get(f"{self.url}/admin/{path}")

    def type(self, **texts: str) -> None:
        for name, text in texts.items():
            field = self.browser.find_element(By.NAME, name)
            field.clear()
            field.send_keys(text)

    def choose(self, name: str, label: str) -> None:
        Select(self.browser.find_element(By.NAME, name)).select_by_visible_text(label)

    def click(self, selector: str) -> None:
        """Click, and wait until the page has gone."""
        before = self.browser.find_element(By.TAG_NAME, "html")
        self.browser.find_element(By.CSS_SELECTOR, selector).click()
        wait = WebDriverWait(self.browser, PATIENCE)
        wait.until(
            lambda browser: (
                browser.find_element(By.TAG_NAME, "html") != before
                and browser.execute_script("return document.readyState") == "complete"
            )
        )

    def look(self, name: str, *texts: str) -> None:
        shown = self.browser.find_element(By.TAG_NAME, "body").text
        self.browser.save_screenshot(str(self.folder / f"{name}.png"))
        for text in texts:
            assert text in shown, (name, text, shown)
        self.seen.append(name)


def administer(person: Person) -> None:
    """Log in; list, search, add, change and delete; read the history."""
    person.open("")
    person.type(username="boss", password=PASSWORD)
    person.click("input[type=submit]")
    person.look("index", "Site administration", "Authors", "Volumes")
    for name, email in (("Ada", "ada@example.com"), ("Grace", "grace@example.com")):
        person.open("demo/author/add/")
        person.type(
            name=name, email=email, born="1906-12-09", books_written="4000000000"
        )
        person.click("[name=_save]")
    person.look("added", f"The author “{name}” was added successfully.")
    person.open("demo/volume/add/")
    person.choose("author", "Ada")
    person.type(name="Notes", pages="66", address="2001:db8::1", shelf="A1")
    person.type(published_0="1843-09-01", published_1="12:00:00")
    person.click("[name=_save]")
    person.look("volumes", "The volume “Notes” was added successfully.", "1843")
    person.open("demo/author/")
    person.look("list", "Ada", "Grace", "By rating", "3 authors")
    person.type(q="grace")
    person.click("#changelist-search [type=submit]")
    person.look("search", "Grace", "1 result")
    person.click("#result_list tbody th a")
    person.choose("favourite", "Notes")
    person.type(name="Grace Hopper")
    person.click("[name=_save]")
    person.look("changed", "The author “Grace Hopper” was changed successfully.")
    person.open("demo/author/?q=ada")
    person.click("#result_list tbody th a")
    key = person.browser.current_url.split("/")[-3]
    person.click("a.deletelink")
    person.look("deleting", "Are you sure", "Volume: Notes")
    person.click("#content [type=submit]")
    person.look("deleted", "was deleted successfully.")
    person.open("demo/author/?q=grace")
    person.click("#result_list tbody th a")
    person.click("a.historylink")
    person.look("history", "Changed Name and Favourite.")
    person.open(f"demo/author/{key}/change/")
    person.look("gone", f"{key}” doesn’t exist.")  # noqa: RUF001 - Django's quotes


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="for the pictures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with prepared(), served() as url, chromium() as browser:
        person = Person(browser, url, folder)
        administer(person)
    print("\n".join(person.seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
