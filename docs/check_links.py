"""Follows every link, anchor and file of a built site; usage: check_links.py SITE.

Links within the site must lead somewhere, and nothing that a page needs (scripts,
styles, pictures, fonts) may come from another server. Addresses of other sites are not
asked, so that the check needs no network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

NEEDED = {("script", "src"), ("img", "src"), ("link", "href")}
LINKS = NEEDED | {("a", "href")}
NOT_FETCHED = {"alternate", "canonical", "edit", "next", "prev"}


class Page(HTMLParser):
    """What a page points at, and the anchors that it has."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.anchors = path, {""}
        self.links: list[tuple[str, bool]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Notes the anchors and links of one element."""
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        relations = set((given.get("rel") or "").split())
        for name in ("href", "src"):
            target = given.get(name)
            if target and (tag, name) in LINKS and not relations & NOT_FETCHED:
                self.links.append((target, (tag, name) in NEEDED))


def problems(site: Path) -> list[str]:
    """What is wrong with the links of a site, one line each."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for target, needed in page.links:
            said = _problem(site.resolve(), pages, path, target, needed)
            if said:
                found.append(f"{path.relative_to(site.resolve())}: {target}: {said}")
    return found


def _problem(site, pages, path, target, needed) -> str:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        fetched = needed and parts.scheme != "data"
        return "comes from another server" if fetched else ""
    # The page for unknown addresses is served anywhere and links from the root.
    start = site / parts.path.lstrip("/") if parts.path.startswith("/") else None
    leads_to = path if not parts.path else (start or path.parent / unquote(parts.path))
    leads_to = leads_to.resolve()
    leads_to = leads_to / "index.html" if leads_to.is_dir() else leads_to
    if not leads_to.exists():
        return "leads nowhere"
    if leads_to in pages and unquote(parts.fragment) not in pages[leads_to].anchors:
        return "no such anchor"
    return ""


def main() -> int:
    """Tells the problems; the exit status is 1 where there are any."""
    site = Path(sys.argv[1])
    found = problems(site)
    said = "\n".join(found) or f"{site}: every link leads somewhere"
    sys.stdout.write(f"{said}\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
