"""The pages link to examples of the playground that exist, and each mistake to its two."""

import re
from pathlib import Path

from playground.lab.presets import LABELS, listed
from tools import docs
from tools import playground as served

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
    address = f"http://127.0.0.1:{served.PORT}/"
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
    assert list(docs.lost_links(tmp_path)) == ["tutorial/wrong/index.html: ../../../playground/"]


def test_the_served_pages_link_to_the_playground() -> None:
    page = served.page(docs.DOCS / "tutorial" / "browser.md")
    assert 'href="/#example=overwrite"' in page
    assert "../playground/" not in page


def test_a_served_page_links_to_files_that_are_sent() -> None:
    page = served.page(docs.DOCS / "how-to" / "use-it-behind-your-table.md")
    for name in ("handler.py", "template.yaml"):
        path = f"/how-to/behind-your-table/{name}"
        assert f'href="{path}"' in page
        assert served.source_of(path) == docs.DOCS / path.strip("/")
    assert served.source_of("/performance.json") is None


def test_each_mistake_links_to_its_two_examples() -> None:
    page = docs.DOCS / "explanation" / "mistakes.md"
    anchors = re.findall(r"^\| \[[^\]]+\]\(#([a-z-]+)\)", page.read_text(), re.M)
    wanted = [f"{anchor}-{label}" for anchor in anchors for label in LABELS]
    assert [name for _, name in links(page)] == wanted


def test_the_server_sends_pages_of_the_documentation_alone() -> None:
    assert served.source_of("/explanation/playground/") is not None
    for path in ("/explanation/playground", "/../README/", "/explanation/../../README/"):
        assert served.source_of(path) is None
