"""Looks at a page through a headless Chromium, as wide as a desktop or a phone."""

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")

# The page stands in a frame: Chromium's own window is never narrower than 500 px.
FRAME = """<!doctype html><title>frame</title><pre id="found"></pre>
<iframe id="page" src="{address}"
  style="width:{width}px;height:4000px;border:0"></iframe>
<script>
const frame = document.getElementById("page");
function scrolls(node) {{
  for (; node; node = node.parentElement) {{
    const style = node.ownerDocument.defaultView.getComputedStyle(node);
    if (["auto", "scroll", "hidden"].includes(style.overflowX)) return true;
  }}
  return false;
}}
function look() {{
  const page = frame.contentDocument, view = frame.contentWindow;
  const wide = [], small = [];
  for (const node of page.body.querySelectorAll("*")) {{
    const box = node.getBoundingClientRect();
    if (box.width && box.right > {width} + 1 && !scrolls(node)) wide.push(node.tagName);
    const text = [...node.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!text || !box.width) continue;
    let size = parseFloat(view.getComputedStyle(node).fontSize);
    const drawing = node.closest("svg");
    if (drawing && drawing.viewBox.baseVal.width)
      size *= drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
    small.push(size);
  }}
  const broken = [...page.images].filter(i => i.complete && !i.naturalWidth).length;
  document.getElementById("found").textContent = JSON.stringify({{
    wide, broken, images: page.images.length, smallest: Math.min(...small),
    width: page.documentElement.scrollWidth, words: page.body.innerText.length,
  }});
}}
frame.addEventListener("load", look);
</script>
"""


def find():
    """The browser's path, or ``None``."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def look(page, width, folder):
    """What the page shows at a width, and what the browser complains of.

    Args:
        page: Path of an HTML file.
        width: CSS pixels.
        folder: For the frame and the browser's own files.
    """
    frame = folder / f"frame_{width}.html"
    frame.write_text(FRAME.format(address=page.resolve().as_uri(), width=width))
    done = subprocess.run(
        [
            find(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update",
            "--allow-file-access-from-files", "--enable-logging=stderr",
            "--virtual-time-budget=8000", f"--user-data-dir={folder / 'profile'}",
            "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found and found[1], done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {**json.loads(html.unescape(found[1])), "console": console}
