"""The pages link to examples of the playground that exist, and each mistake to its two."""

import errno
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import pytest

from playground.lab.presets import LABELS, listed
from tools import docs, playground, site

NAMES = {each["name"] for each in listed()}
LINK = re.compile(r'href="((?:\.\./)+)playground/(?:#example=([a-z-]+))?"')


def links(page: Path) -> list[tuple[str, str]]:
    """Return the way to `docs`, and the example, of each link to the playground."""
    return LINK.findall(page.read_text())


def test_linked_examples_exist() -> None:
    found = {(page, up, name) for page in docs.hand_written() for up, name in links(page)}
    assert {name for _, _, name in found if name} <= NAMES
    for page, up, _ in found:
        depth = len(page.relative_to(docs.DOCS).parts) - 1
        assert up == "../" * depth, f"{page.name} is {depth} folders deep in docs"


def test_a_page_names_make_playground_before_a_link() -> None:
    """The links lead to the playground on the site only: the repository has no docs/playground."""
    address = f"http://127.0.0.1:{site.PORT}/"
    for page in docs.hand_written():
        before, link, _ = page.read_text().partition('href="../playground/')
        if link:
            assert "`make playground`" in before, page.name
            assert address in before, page.name
    for page in (docs.ROOT / "README.md", docs.DOCS / "tutorial" / "thirty-minutes.md"):
        text = " ".join(page.read_text().split())
        assert "`make playground` (it installs everything first)" in text
        assert address in text


def test_a_link_that_leads_nowhere_on_the_site_is_named(tmp_path: Path) -> None:
    (tmp_path / "playground").mkdir()
    (tmp_path / "playground" / "index.html").touch()
    for name, link in (("right", "../../playground/#example=x"), ("wrong", "../../../playground/")):
        page = tmp_path / "tutorial" / name / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f'<a href="{link}">')
    assert list(site.lost_links(tmp_path)) == ["tutorial/wrong/index.html: ../../../playground/"]


def test_a_build_without_room_is_not_blamed_on_the_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(code: int) -> Callable[..., NoReturn]:
        def fail(*_: object) -> NoReturn:
            raise OSError(code, os.strerror(code))

        return fail

    monkeypatch.setattr(site, "server", failing(errno.EADDRINUSE))
    assert site.main(["8137"]) == 1
    assert capsys.readouterr().out.startswith("Port 8137 cannot be used (Address already in use)")
    monkeypatch.setattr(site, "server", lambda _: nullcontext())
    monkeypatch.setattr(site, "build", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        site.main(["8137"])


def test_each_mistake_links_to_its_two_examples() -> None:
    page = docs.DOCS / "explanation" / "mistakes.md"
    anchors = re.findall(r"^\| \[[^\]]+\]\(#([a-z-]+)\)", page.read_text(), re.M)
    wanted = [f"{anchor}-{label}" for anchor in anchors for label in LABELS]
    assert [name for _, name in links(page)] == wanted


def test_the_pages_that_the_playground_links_to_are_there() -> None:
    paths = re.findall(r'href="\.\./([^"]*)/"', (playground.PAGE / "index.html").read_text())
    assert paths == ["tutorial/browser", "explanation/playground"]
    for path in paths:
        assert (docs.DOCS / f"{path}.md").is_file()
