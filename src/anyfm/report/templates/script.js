(function () {
  "use strict";
  var root = document.documentElement;
  var figures = JSON.parse(document.getElementById("figures").textContent);
  var state = { tab: "overview", model: "0" };

  location.hash.slice(1).split("&").forEach(function (part) {
    var pair = part.split("=");
    if (pair[0] === "theme" && (pair[1] === "dark" || pair[1] === "light")) root.dataset.theme = pair[1];
    if (pair[0] === "tab" && document.querySelector('[data-tab="' + CSS.escape(pair[1] || "") + '"]')) state.tab = pair[1];
    if (pair[0] === "model" && /^\d+$/.test(pair[1] || "")) state.model = pair[1];
  });

  function color(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }

  function axis(given) {
    return Object.assign({ automargin: true, gridcolor: color("--grid"), zerolinecolor: color("--line"),
      linecolor: color("--line"), fixedrange: true }, given, { title: Object.assign({ standoff: 8 }, given.title) });
  }

  function layout(figure, width) {
    var given = figure.layout;
    var base = { width: width, height: 340, margin: { l: 10, r: 14, t: 10, b: 10 }, showlegend: false, dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { family: "system-ui, sans-serif", size: width < 480 ? 11 : 12, color: color("--text") },
      hoverlabel: { bgcolor: color("--back"), bordercolor: color("--line"), font: { color: color("--text") }, align: "left" } };
    return Object.assign(base, given, { xaxis: axis(given.xaxis), yaxis: axis(given.yaxis) });
  }

  function draw(place) {
    var figure = figures[place.dataset.figure];
    var shown = JSON.parse(JSON.stringify(figure.data));
    Plotly.react(place, shown, layout(figure, place.clientWidth), { displayModeBar: false });
    place.dataset.drawn = "yes";
  }

  function visible() {
    return Array.prototype.filter.call(document.querySelectorAll(".plot"), function (place) { return place.offsetParent !== null; });
  }

  function show() {
    document.querySelectorAll("[role=tab]").forEach(function (tab) {
      tab.setAttribute("aria-selected", String(tab.dataset.tab === state.tab));
    });
    document.querySelectorAll("[role=tabpanel]").forEach(function (panel) { panel.hidden = panel.id !== state.tab; });
    document.querySelectorAll(".of-model").forEach(function (part) { part.hidden = part.dataset.model !== state.model; });
    var choice = document.getElementById("model-choice");
    if (choice) choice.hidden = state.tab === "overview" || state.tab === "quality";
    visible().forEach(draw);
  }

  document.querySelectorAll("[role=tab]").forEach(function (tab) {
    tab.addEventListener("click", function () { state.tab = tab.dataset.tab; show(); });
  });
  document.querySelectorAll("select[data-for]").forEach(function (select) {
    select.addEventListener("change", function () {
      var place = document.getElementById(select.dataset.for);
      place.dataset.figure = select.value;
      draw(place);
    });
  });
  var model = document.getElementById("model");
  if (model) {
    if (Number(state.model) < model.options.length) model.value = state.model; else state.model = "0";
    model.addEventListener("change", function () { state.model = model.value; show(); });
  } else state.model = "0";
  document.getElementById("theme").addEventListener("click", function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    visible().forEach(draw);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () { visible().forEach(draw); });
  // plotly's own "responsive" would measure the height anew as well, which is the figure's to say.
  window.addEventListener("resize", function () {
    visible().forEach(function (place) { if (place.clientWidth !== place.layout.width) draw(place); });
  });
  show();
})();
