// Charts, colour mode and downloads. One data island per figure; drawn when it comes near the window.
"use strict";
const mnemoscope = (() => {
  const theme = JSON.parse(document.getElementById("theme").textContent);
  const root = document.documentElement, button = document.getElementById("mode");
  const drawn = new Map();
  const island = (id) => JSON.parse(document.getElementById(id).textContent);
  const mode = () => root.dataset.mode || "light";

  // The text behind base64 and gzip, as bytes; unpacked when it is needed (report/packing.py, report/tokens.py).
  async function inflate(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }

  // The columns of a table: as they are, or packed with every word once.
  async function table(id) {
    const found = island(id + "-data");
    if (typeof found.packed !== "string") return found;
    const made = JSON.parse(new TextDecoder().decode(await inflate(found.packed)));
    for (const [name, column] of Object.entries(made)) if (!Array.isArray(column)) made[name] = column.codes.map((i) => column.words[i]);
    return made;
  }

  function rows(columns) {
    const names = Object.keys(columns), count = names.length ? columns[names[0]].length : 0;
    return Array.from({length: count}, (_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
  }

  async function draw(figure) {
    const before = drawn.get(figure), state = {};
    if (before) {
      for (const param of before.params) state[param] = before.view.signal(param);
      before.view.finalize();
    }
    const id = figure.id, spec = island(id + "-spec"), look = theme[mode()];
    spec.data = {values: rows(await table(id))};
    for (const param of spec.params || []) {
      if (param.name === "palette") param.value = look.palette;
      else if (param.name in state) param.value = state[param.name];
    }
    const result = await vegaEmbed(figure.querySelector(".canvas"), spec, {
      actions: false, renderer: "svg", config: look.config, bind: figure.querySelector(".switches"), tooltip: {theme: "custom"},
    });
    const params = (spec.params || []).filter((param) => param.bind).map((param) => param.name);
    drawn.set(figure, {view: result.view, params});
    result.view.addEventListener("click", (_, item) => {
      const datum = item && item.datum;
      if (datum && datum.layer !== undefined && datum.head !== undefined) pick(figure, datum.layer, datum.head);
    });
    figure.dataset.drawn = "yes";
  }

  function pick(from, layer, head) {
    const section = from.closest("section");
    if (section) section.dispatchEvent(new CustomEvent("pick", {detail: {layer: Number(layer), head: Number(head)}}));
  }

  function csv(columns) {
    const cell = (value) => {
      if (typeof value === "number") return String(value);
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
    };
    const names = Object.keys(columns), lists = Object.values(columns), lines = [names.map(cell).join(",")];
    for (let i = 0; i < (lists[0] ?? []).length; i++) lines.push(lists.map((list) => cell(list[i])).join(","));
    return lines.join("\r\n") + "\r\n";
  }

  // The numbers of a chart as a table, for reading without a pointer: the first 200 rows; the CSV has all.
  function dataTable(columns) {
    const box = document.createElement("div"), table = document.createElement("table"), names = Object.keys(columns);
    box.className = "scroll numbers"; box.tabIndex = 0;
    const head = table.createTHead().insertRow();
    for (const name of names) { const cell = document.createElement("th"); cell.scope = "col"; cell.textContent = name; head.append(cell); }
    const body = table.createTBody();
    for (const row of rows(columns).slice(0, 200)) {
      const line = body.insertRow();
      for (const name of names) line.insertCell().textContent = row[name] ?? "–";
    }
    box.append(table);
    return box;
  }

  function save(name, href) {
    const link = document.createElement("a");
    link.href = href; link.download = name;
    document.body.append(link); link.click(); link.remove();
  }

  function downloads(figure) {
    const row = figure.querySelector(".downloads"), id = figure.id;
    const add = (text, act) => {
      const item = document.createElement("button");
      item.type = "button"; item.textContent = text; item.setAttribute("aria-label", "download " + id + " as " + text);
      item.addEventListener("click", act); row.append(item);
    };
    add("CSV", async () => {
      const url = URL.createObjectURL(new Blob([csv(await table(id))], {type: "text/csv;charset=utf-8"}));
      save(id + ".csv", url); setTimeout(() => URL.revokeObjectURL(url), 1000);
    });
    if (figure.matches(".chart, .drawing")) {
      let shown = null;
      add("Table", async (event) => {
        if (shown) { shown.remove(); shown = null; }
        else figure.append(shown = dataTable(await table(id)));
        event.target.setAttribute("aria-expanded", String(shown !== null));
      });
    }
    if (figure.matches(".chart")) {
      for (const kind of ["svg", "png"])
        add(kind.toUpperCase(), async () => {
          if (!drawn.has(figure)) await draw(figure);
          save(id + "." + kind, await drawn.get(figure).view.toImageURL(kind, 2));
        });
    }
  }

  function set(next) {
    root.dataset.mode = next;
    button.textContent = next === "dark" ? "Light" : "Dark";
    try { localStorage.setItem("mnemoscope-mode", next); } catch (_) { /* storage is off for files in some browsers */ }
    for (const figure of drawn.keys()) draw(figure);
    document.dispatchEvent(new Event("mode"));
  }

  function start() {
    let wanted = null;
    try { wanted = localStorage.getItem("mnemoscope-mode"); } catch (_) { /* as above */ }
    set(wanted || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
    button.addEventListener("click", () => set(mode() === "dark" ? "light" : "dark"));
    for (const figure of document.querySelectorAll("figure.chart, figure.grid, figure.drawing")) downloads(figure);
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
    }, {rootMargin: "800px"});
    for (const figure of document.querySelectorAll("figure.chart")) near.observe(figure);
    addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll(".claims details")) fold.open = true; });
    addEventListener("beforeprint", () => { for (const figure of document.querySelectorAll("figure.chart:not([data-drawn])")) draw(figure); });
  }

  // A link into something folded unfolds it.
  function unfold() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.closest("details");
    if (fold && !fold.open) { fold.open = true; target.scrollIntoView(); }
  }

  document.addEventListener("DOMContentLoaded", start);
  document.addEventListener("DOMContentLoaded", unfold);
  addEventListener("hashchange", unfold);
  return {inflate, island, rows, mode, pick, theme};
})();
