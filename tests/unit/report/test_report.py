"""The report: what it holds, that nothing in it is run that came from data, and how it behaves in a browser."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from anyfm.artifact import save_artifact
from anyfm.core.errors import InputError, MissingDependencyError, SettingError
from anyfm.core.task import get_task
from anyfm.data.readers import read_table
from anyfm.datasets.synthetic import ad_clicks, criteo_like
from anyfm.explain.contributions import Term
from anyfm.metrics import evaluate
from anyfm.pipeline import train
from anyfm.report import page as report_module
from anyfm.report.evaluation import bootstrap_estimates, classification_curves, errors_by_value
from anyfm.report.figures import figures_of
from anyfm.report.measurement import measure, model_names
from anyfm.report.page import write_report
from tests.unit.explain.models import WeightedFM, field_pair_weights
from tests.unit.report import browser

HOSTILE = [
    "<script>document.title = 'run'; window.hacked = 1</script>",
    "<img src=x onerror=\"window.hacked = 1; document.title = 'run'\">",
    "\"'><b onmouseover='window.hacked=1'>x",
    "</script><script>window.hacked = 1</script>",
    "<!-- {{ plotly }} {% include x %} {# y #}",
    "<a href='javascript:window.hacked=1'>a</a><br>&amp;",
]
MAX_BYTES = 8_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def clicks(folder):
    """Models of generated clicks, of every kind that has figures of its own, and their report."""
    made = ad_clicks(10_000, seed=0)
    names = ["fm", "linear", "afm", "deepfm"]
    for name in names:
        save_artifact(train(made.columns, "click", search=False, model=name, epochs=4).artifact, folder / name)
    out = folder / "clicks.html"
    measured = write_report([folder / name for name in names], made.columns, out, data="clicks")
    return out, measured


@pytest.fixture(scope="module")
def hostile(folder):
    """A report of values, field names and a model name that would run if they were not escaped."""
    rng = np.random.default_rng(0)
    n = 1500
    value = rng.choice(HOSTILE, n)
    field = "<script>window.hacked = 2</script>"
    columns = {
        field: value,
        "tags": [";".join(rng.choice(["a", "b", "<i>c</i>"], rng.integers(1, 3), replace=False)) for _ in range(n)],
        "number": rng.normal(size=n),
        "other": rng.choice(["x", "y"], n),
        "<b>t": ((value == HOSTILE[0]) ^ (rng.random(n) < 0.3)).astype(int),
    }
    fields = {"tags": {"kind": "tags", "separator": ";"}, "number": "scaled"}
    trained = train(columns, "<b>t", search=False, fields=fields, epochs=3)
    out = folder / "hostile.html"
    write_report([("<script>window.hacked = 3</script>", trained.artifact)], columns, out, data="<script>x</script>")
    return out


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.attributes = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)
        self.attributes += attributes


def page_without_scripts(path):
    """The text of a page without the bodies of its scripts (they end where a browser says they end)."""
    return re.sub(r"(<script[^>]*>).*?</script>", r"\1</script>", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_page_is_one_small_file_that_loads_nothing(clicks):
    out, _ = clicks
    assert out.stat().st_size < MAX_BYTES
    text = page_without_scripts(out)
    elements = Elements(text)
    assert elements.found.count("script") == 3
    assert not {"link", "iframe", "img", "object"} & set(elements.found)
    assert not [value for name, value in elements.attributes if name in ("src", "href")]
    assert not re.search(r"{[{%#]", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))


def test_every_figure_says_how_to_read_it(clicks):
    out, _ = clicks
    text = page_without_scripts(out)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert len(captions) == text.count("<figure") > 15
    assert all("<p>How to read: " in caption for caption in captions)


def test_figures_hold_numbers_and_no_nan(clicks):
    out, _ = clicks
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', out.read_text(encoding="utf-8"))
    figures = json.loads(found[1], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert {"roc", "pr", "gain", "lift", "calibration", "learning", "heat-0", "pairs-0", "values-0"} <= set(figures)
    assert all(figure["data"] for figure in figures.values())
    assert "heat-1" not in figures  # the linear model has no pairs
    assert {"attention-2", "compared"} <= set(figures)
    if "heat-3" in figures:
        assert {"parts-3", "values-3"} <= set(figures)


def test_the_page_asks_whether_the_rows_were_held_out(clicks, folder):
    """Training and validation rows together are as many as the rows of the table."""
    out, measured = clicks
    assert all(model.may_be_training_rows for model in measured.models)
    assert "as many rows as the training data" in out.read_text(encoding="utf-8")
    other = write_report([folder / "linear"], ad_clicks(500, seed=0).columns, folder / "other.html", data="clicks")
    assert not other.models[0].may_be_training_rows
    assert "as many rows as the training data" not in page_without_scripts(folder / "other.html")


def test_example_rows_show_every_value(clicks):
    out, measured = clicks
    rows = re.findall(r"<details.*?</details>", page_without_scripts(out).split('id="rows"')[1], re.DOTALL)
    assert len(rows) == sum(len(model.example_rows) for model in measured.models)
    assert all(row.count("=<b>") == 8 for row in rows)


def test_the_longest_bar_is_the_largest_term_sums_of_others_included():
    of_row = [
        Term("bias", (), (), 9.0),
        Term("linear", ("a",), ("x",), -1.0),
        Term("rest pair", (), (), 4.0, n_terms=30),
    ]
    bars = report_module._environment().get_template("rows.html.jinja").make_module({"models": []}).bars
    widths = re.findall(r'class="(\w+)" style="width:([\d.]+)%"', str(bars(of_row)))
    assert widths == [("down", "12.5"), ("up", "50.0")]


def test_what_comes_from_data_is_never_an_element(hostile):
    elements = Elements(page_without_scripts(hostile))
    assert elements.found.count("script") == 3
    assert not {"img", "a", "i"} & set(elements.found) - {"i"}
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    assert "&lt;script&gt;window.hacked = 3&lt;/script&gt;" in page_without_scripts(hostile)


def test_hostile_values_are_shown_and_not_run(hostile):
    result = browser.run(
        hostile,
        """
        const drawn = [], texts = [];
        for (const tab of document.querySelectorAll("[role=tab]")) {
          tab.click(); await wait(300);
          for (const select of document.querySelectorAll("select[data-for]"))
            for (const option of select.options) { select.value = option.value;
              select.dispatchEvent(new page.Event("change")); await wait(60); }
          for (const row of document.querySelectorAll(".rows details")) row.open = true;
          texts.push(document.body.innerText);
          texts.push(...[...document.querySelectorAll("svg text")].map((t) => t.textContent));
          for (const bad of document.querySelectorAll("main img, main a, main b[onmouseover]"))
            drawn.push(bad.outerHTML);
        }
        return { hacked: page.hacked === undefined, title: document.title, drawn, texts: texts.join("\\n") };
        """,
    )
    assert result["hacked"]
    assert result["title"].startswith("<script>")
    assert result["drawn"] == []
    assert "<script>document.title" in result["texts"]
    assert "<script>window.hacked = 2</script>" in result["texts"]
    assert "<b>t" in result["texts"]


CHECK = """
  const problems = [];
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.click(); await wait(500);
    const models = document.getElementById("model");
    const choices = models && models.offsetParent ? [...models.options].map((option) => option.value) : [null];
    for (const choice of choices) {
      if (choice !== null) { models.value = choice; models.dispatchEvent(new page.Event("change")); await wait(500); }
      const at = tab.dataset.tab + "/" + choice + ": ";
      const root = document.documentElement;
      if (root.scrollWidth > root.clientWidth + 1)
        problems.push(at + "the page is wider than the window: " + root.scrollWidth);
      const shown = [...document.querySelectorAll("figure")].filter((figure) => figure.offsetParent);
      if (!shown.length) problems.push(at + "no figure");
      for (const figure of shown) {
        const title = at + figure.querySelector("h3").textContent + ": ";
        for (const plot of figure.querySelectorAll(".plot")) {
          const marks = plot.querySelectorAll(".trace, .points path, .heatmaplayer image, .hm image");
          if (!marks.length) problems.push(title + "nothing is drawn");
          const box = plot.getBoundingClientRect();
          if (box.height < 150 || box.width < 200) problems.push(title + "too small");
          for (const text of plot.querySelectorAll("svg text")) {
            const one = text.getBoundingClientRect();
            if (one.width && (one.left < box.left - 2 || one.right > box.right + 2 || one.bottom > box.bottom + 2))
              problems.push(title + "text runs out: " + text.textContent);
          }
          const labels = [...plot.querySelectorAll(".ytick text")].map((text) => text.getBoundingClientRect());
          labels.sort((a, b) => a.top - b.top);
          for (let i = 1; i < labels.length; i++)
            if (labels[i].top < labels[i - 1].bottom - 4) { problems.push(title + "labels overlap"); break; }
          const area = plot.querySelector(".nsewdrag");
          if (area && area.getBoundingClientRect().width < 0.3 * Math.min(box.width, page.innerWidth))
            problems.push(title + "the drawing is narrow: " + area.getBoundingClientRect().width);
        }
      }
      const boxes = shown.map((figure) => figure.getBoundingClientRect());
      boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
          problems.push(at + "figures overlap"); }));
    }
  }
  return { problems };
"""


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (400, "dark")])
def test_nothing_overlaps_overflows_or_is_empty(clicks, width, theme):
    assert browser.run(clicks[0], CHECK, fragment=f"theme={theme}", width=width)["problems"] == []


def test_the_check_can_fail(hostile, folder):
    page = hostile.read_text(encoding="utf-8")
    broken = folder / "broken.html"
    broken.write_text(page.replace(".plot { width: 100%;", ".plot { width: 1500px;").replace("overflow-x: auto", ""))
    assert browser.run(broken, CHECK, width=400)["problems"]
    broken.write_text(page.replace("figure.data));", "figure.data)).map(() => ({}));"), encoding="utf-8")
    assert any("nothing is drawn" in problem for problem in browser.run(broken, CHECK)["problems"])


def test_tabs_hover_rows_and_theme_work(clicks):
    result = browser.run(
        clicks[0],
        """
        const click = (selector) => document.querySelector(selector).click();
        const all = [...document.querySelectorAll("[role=tabpanel]")];
        const panels = () => all.filter((panel) => !panel.hidden).map((panel) => panel.id);
        const out = { first: panels() };
        click('[data-tab="explanation"]'); await wait(500);
        out.second = panels();
        const heat = document.getElementById("heat-0");
        const area = heat.querySelector(".nsewdrag"), box = area.getBoundingClientRect();
        const at = { clientX: box.left + box.width * 1.5 / 8, clientY: box.top + box.height * 0.5 / 8, bubbles: true };
        for (const kind of ["mouseover", "mousemove"]) {
          area.dispatchEvent(new page.MouseEvent(kind, at));
          await wait(300);
        }
        out.hover = [...heat.querySelectorAll(".hoverlayer text")].map((t) => t.textContent).join(" ");
        const field = document.querySelector('select[data-for="effect-0"]');
        const before = document.getElementById("effect-0").dataset.figure;
        field.selectedIndex = 1; field.dispatchEvent(new page.Event("change")); await wait(300);
        out.effect = [before, document.getElementById("effect-0").dataset.figure];
        click('[data-tab="rows"]'); await wait(200);
        const rows = document.querySelectorAll(".of-model:not([hidden]) .rows details");
        rows[1].querySelector("summary").click();
        out.rows = [rows.length, rows[1].open, rows[1].querySelectorAll(".terms li").length];
        const back = () => page.getComputedStyle(document.body).backgroundColor;
        const light = back(); click("#theme"); out.themes = light !== back();
        return out;
        """,
        fragment="theme=light",
    )
    assert result["first"] == ["overview"]
    assert result["second"] == ["explanation"]
    assert "ad_category × gender" in result["hover"] or "gender × ad_category" in result["hover"]
    assert "interaction" in result["hover"]
    assert result["effect"] == ["effect-0-0", "effect-1-0"]
    assert result["rows"][0] >= 8
    assert result["rows"][1] is True
    assert result["rows"][2] >= 10
    assert result["themes"]


def test_the_color_bar_of_a_map_of_many_fields_is_in_sight(folder):
    made = criteo_like(600, seed=0)
    artifact = train(made.columns, "click", search=False, epochs=1, n_factors=4).artifact
    assert artifact.n_fields == 39
    out = folder / "many.html"
    write_report([("fm", artifact)], made.columns, out, data="many")
    result = browser.run(
        out,
        """
        document.querySelector('[data-tab="explanation"]').click(); await wait(500);
        const heat = document.getElementById("heat-0");
        const edge = heat.closest("figure").getBoundingClientRect().right;
        return { edge, ends: [...heat.querySelectorAll(".colorbar text")].map((t) => t.getBoundingClientRect().right) };
        """,
    )
    assert max(result["ends"]) < result["edge"]


def test_figures_follow_the_width_of_the_window_and_keep_their_height(clicks):
    result = browser.run(
        clicks[0],
        """
        document.querySelector('[data-tab="explanation"]').click(); await wait(500);
        const size = (id) => { const box = document.querySelector("#" + id + " .main-svg").getBoundingClientRect();
          return [box.width, box.height]; };
        const place = () => document.getElementById("heat-0").clientWidth;
        const out = { wide: size("heat-0"), wideplace: place() };
        page.frameElement.style.width = "400px"; await wait(100);
        page.dispatchEvent(new page.Event("resize")); await wait(300);  // virtual time delivers the real one late
        out.narrow = size("heat-0"); out.narrowplace = place();
        document.querySelector('[data-tab="overview"]').click(); await wait(300);
        page.frameElement.style.width = "700px"; await wait(100);
        page.dispatchEvent(new page.Event("resize")); await wait(300);
        document.querySelector('[data-tab="explanation"]').click(); await wait(300);
        out.middle = size("heat-0"); out.middleplace = place();
        return out;
        """,
    )
    assert result["wide"][0] == result["wideplace"]
    assert result["narrow"][0] == result["narrowplace"] < 400
    assert result["middle"][0] == result["middleplace"] > 500  # drawn anew where it was hidden meanwhile
    assert result["middle"][1] == result["narrow"][1] == result["wide"][1] > 300


def test_its_own_policy_lets_the_page_draw_and_nothing_else_run(clicks):
    result = browser.run(
        clicks[0],
        """
        const script = document.createElement("script");
        script.textContent = "window.stranger = 1";
        document.body.append(script);
        await wait(500);
        return { drawn: document.querySelectorAll("[data-drawn]").length, stranger: page.stranger === 1 };
        """,
        policy=True,
    )
    assert result == {"drawn": 1, "stranger": False}


# --- what is measured ----------------------------------------------------------------------------------------------


def test_metrics_are_those_of_evaluate_and_their_intervals_hold_them(clicks):
    _, measured = clicks
    fm, linear = measured.models[:2]
    assert repr(measured) == f"Measurement(click on 10,000 rows of clicks: {measured.models})"
    assert repr(fm) == f"MeasuredModel(fm: logloss {fm.metrics['logloss'].value:.5f})"
    assert fm.metrics["auc"].value > linear.metrics["auc"].value
    for model in (fm, linear):
        for name, estimate in model.metrics.items():
            if name != "calibration_error":
                assert estimate.lower < estimate.value < estimate.upper
    assert fm.metrics["auc"].difference is None
    gap, low, high = linear.metrics["auc"].difference
    assert low < gap < high < 0


def test_bootstrap_intervals_cover_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(40):
        logits = rng.normal(size=400)
        y = (rng.random(400) < 1 / (1 + np.exp(-logits))).astype(float)
        estimate = bootstrap_estimates(get_task("binary"), y, [logits], None, seed=seed)[0]["logloss"]
        truth = 0.5826  # of these probabilities, by integration over N(0, 1)
        covered += estimate.lower <= truth <= estimate.upper
    assert covered >= 34


def test_curves_agree_with_the_exact_auc():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=5000).round(1)  # many ties
    y = (rng.random(5000) < 1 / (1 + np.exp(-logits))).astype(float)
    weight = rng.integers(0, 3, 5000).astype(float)
    curves = classification_curves(y, logits, weight)
    area = np.trapezoid(curves["roc"].y, curves["roc"].x) if hasattr(np, "trapezoid") else None
    if area is not None:
        assert area == pytest.approx(evaluate(get_task("binary"), y, logits, weight)["auc"], abs=2e-3)
    assert curves["pr"].y[-1] == pytest.approx((weight * y).sum() / weight.sum())
    assert classification_curves(np.ones(5), np.zeros(5), None) == {}


def test_errors_by_value_are_means_over_its_rows():
    made = ad_clicks(5_000, seed=1)
    artifact = train(made.columns, "click", search=False, epochs=2).artifact
    rows = artifact.encoder.encode(read_table(made.columns), labelled=True).rows
    logits = np.random.default_rng(0).normal(size=5_000)
    found = errors_by_value(artifact, rows, logits)
    place = found.names.index("gender=F")
    chosen = made.columns["gender"] == "F"
    y = made.columns["click"][chosen]
    loss = np.logaddexp(0, -np.where(y == 1, 1, -1) * logits[chosen])
    assert found.n_rows[place] == chosen.sum()
    assert found.loss[place] == pytest.approx(loss.mean())
    assert found.observed[place] == pytest.approx(y.mean())
    assert found.bias[place] == pytest.approx((y - 1 / (1 + np.exp(-logits[chosen]))).mean())
    assert found.loss_margin[place] == pytest.approx(1.96 * loss.std() / np.sqrt(chosen.sum()), rel=1e-3)
    assert (found.bias_margin > 0).all()
    assert found.mean_loss == pytest.approx(evaluate(get_task("binary"), rows.y, logits)["logloss"])


def test_regression_with_tags_and_missing_values_has_a_report_too(folder):
    rng = np.random.default_rng(0)
    n = 800
    kind = rng.choice(["a", "b", "c"], n)
    columns = {
        "kind": [None if rng.random() < 0.1 else value for value in kind],
        "tags": ["|".join(rng.choice(list("pqrs"), rng.integers(0, 4), replace=False)) for _ in range(n)],
        "size": rng.normal(size=n),
        "stars": 3 + (kind == "a") + rng.normal(size=n),
    }
    fields = {"tags": {"kind": "tags", "separator": "|"}}
    artifact = train(columns, "stars", search=False, task="regression", fields=fields, epochs=3).artifact
    out = folder / "stars.html"
    measured = write_report([("fm", artifact)], columns, out, data="stars")
    assert set(measured.models[0].metrics) == {"rmse", "mae", "r2"}
    assert measured.models[0].curves == {}
    assert browser.run(out, CHECK, width=400)["problems"] == []


def test_weights_of_field_pairs_are_a_heat_map(folder):
    made = ad_clicks(600, seed=0)
    artifact = train(made.columns, "click", search=False, epochs=1, n_factors=4).artifact
    assert "weights-0" not in figures_of(measure([("fm", artifact)], made.columns, data="clicks"))
    out = folder / "weights.html"
    weighted = replace(artifact, model=WeightedFM(artifact.model.settings))
    measured = write_report([("weighted", weighted)], made.columns, out)
    trace = figures_of(measured)["weights-0"]["data"][0]
    shown = {
        tuple(label.split(" × ")): z
        for labels, zs in zip(trace["customdata"], trace["z"], strict=True)
        for label, z in zip(labels, zs, strict=True)
    }
    names = artifact.encoder.field_names
    expected = field_pair_weights(8)
    for (first, second), weight in shown.items():
        i, j = names.index(first), names.index(second)
        assert weight == (None if i == j else pytest.approx(expected[i, j]))
    assert trace["zmin"] == -trace["zmax"]
    drawn = browser.run(
        out,
        """
        document.querySelector('[data-tab="explanation"]').click(); await wait(500);
        const figure = document.getElementById("weights-0").closest("figure");
        return { title: figure.querySelector("h3").textContent, drawn: figure.querySelectorAll(".hm image").length };
        """,
    )
    assert drawn == {"title": "Field-pair weights", "drawn": 1}


def test_models_of_one_name_are_told_apart():
    assert model_names(["runs/1/fm", "runs/2/fm"]) == ["1/fm", "2/fm"]
    assert model_names(["/a/fm", "/a/fm"])[0] != model_names(["/a/fm", "/a/fm"])[1]


def test_what_cannot_be_reported_is_refused(clicks, folder):
    made = ad_clicks(500, seed=0)
    other = train(made.columns, "gender", search=False, positive="F", epochs=1).artifact
    with pytest.raises(SettingError, match="same target"):
        write_report([folder / "fm", ("other", other)], made.columns, folder / "x.html")
    with pytest.raises(SettingError, match="at least one model"):
        measure([], made.columns, data="x")
    without = {name: column for name, column in made.columns.items() if name != "click"}
    with pytest.raises(InputError, match="click"):
        write_report([folder / "fm"], without, folder / "x.html")
    assert not (folder / "x.html").exists()


@pytest.mark.parametrize("package", ["plotly.offline", "jinja2"])
def test_a_missing_package_is_named_before_anything_is_read(folder, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"(?i)" + package.split(".")[0] + r".*anyfm\[report\]"):
        write_report([folder / "nowhere"], {}, folder / "x.html")
