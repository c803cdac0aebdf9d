"""Links lead somewhere: to a file of the repository, to a heading of a page, or to a well-formed address."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pages import ROOT, anchors, links, pages


def problem(page: str, target: str) -> str | None:
    """Says what is wrong with a link; of an address only whether it is one: `make links` asks its server."""
    url = urlsplit(target)
    if url.scheme or url.netloc:
        return None if url.scheme == "https" and "." in url.netloc else "no https address"
    path = (ROOT / page).parent / url.path if url.path else ROOT / page
    if not path.exists():
        return "no such file"
    if not path.resolve().is_relative_to(ROOT):
        return "outside of the repository"
    is_page = url.fragment and path.suffix == ".md"
    return "no such heading" if is_page and url.fragment not in anchors(within(path)) else None


def within(path: Path) -> str:
    """Returns a path relative to the repository."""
    return str(path.resolve().relative_to(ROOT))


def linked_pages(page: str) -> set[str]:
    targets = {(ROOT / page).parent / urlsplit(link).path for link in links(page) if "//" not in link}
    return {within(target) for target in targets if target.suffix == ".md"}


@pytest.mark.parametrize("page", pages())
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    assert {target: said for target in links(page) if (said := problem(page, target))} == {}


def test_a_broken_link_is_found() -> None:
    assert problem("README.md", "docs/nothing.md") == "no such file"
    assert problem("docs/faults.md", "provenance.md#nothing") == "no such heading"
    assert problem("docs/faults.md", "../../elsewhere.md") == "no such file"
    assert problem("README.md", "http://example.org") == "no https address"
    assert problem("docs/faults.md", "../CONTRIBUTING.md#rooms-and-imports") is None


def test_every_page_is_found_from_the_readme() -> None:
    """By links, as on GitHub, which shows no navigation."""
    seen: set[str] = set()
    new = {"README.md"}
    while new:
        seen |= new
        new = {target for page in new for target in linked_pages(page)} & set(pages()) - seen
    assert set(pages()) - seen == set()
