"""A page in a real browser, driven by a script of our own: chromium without a window, if there is one."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def find() -> str:
    """The path of the browser; the test is skipped where there is none."""
    named = os.environ.get("ANYFM_TEST_BROWSER")
    for name in (named, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return pytest.skip("needs chromium on the PATH (or ANYFM_TEST_BROWSER)")


def run(page: Path, script: str, *, fragment: str = "", width: int = 1400, policy: bool = False) -> dict:
    """Open a copy of `page` in a frame of `width` pixels, run the body of an async function in it, give its result.

    The page's content security policy would refuse the script, so that the copy has none unless `policy` is asked
    for; then the script runs in the frame's parent and `page` in it is the frame's window.
    """
    browser = find()
    with tempfile.TemporaryDirectory() as folder:
        content = page.read_text(encoding="utf-8")
        if not policy:
            content = re.sub(r"<meta http-equiv=[^>]*>", "", content)
        (Path(folder) / "page.html").write_text(content, encoding="utf-8")
        wrapper = f"""<body style="margin:0"><pre id="result"></pre>
<iframe src="page.html#{fragment}" style="border:0;width:{width}px;height:900px"
  onload="start(this.contentWindow)"></iframe>
<script>
async function start(page) {{
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const document = page.document;
  let result;
  try {{ await wait(300); result = await (async () => {{ {script} }})(); }}
  catch (error) {{ result = {{ error: String(error) }}; }}
  window.document.getElementById("result").textContent = JSON.stringify(result);
}}
</script>"""
        (Path(folder) / "wrapper.html").write_text(wrapper, encoding="utf-8")
        done = subprocess.run(
            [
                *(browser, *FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width + 100},1000"),
                *("--allow-file-access-from-files", "--virtual-time-budget=30000", "--dump-dom"),
                f"file://{folder}/wrapper.html",
            ],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    result = json.loads(html.unescape(found[1]))
    assert "error" not in result, result
    return result
