// Tables to read: sort by a heading, show all rows, pick a head with a click or the Enter key.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const number = (value, places) => {
    if (value === null) return "–";
    if (places === "-1") return value < .001 ? "< .001" : value < .995 ? String(Number(value.toPrecision(2))).replace(/^0/, "") : "1.0";
    if (value === 0) return "0";
    const options = places === undefined ? {} : {minimumFractionDigits: Number(places), maximumFractionDigits: Number(places)};
    return value.toLocaleString("en", options).replace("-", "−");
  };

  for (const figure of document.querySelectorAll("figure.grid")) {
    const table = figure.querySelector("table"), body = table.tBodies[0], most = Number(table.dataset.most);
    const heads = [...table.querySelectorAll("th")], picks = figure.classList.contains("picks");
    let rows = null, shown = most;
    const load = () => (rows ??= mnemoscope.rows(mnemoscope.island(figure.id + "-data")));

    function fill() {
      body.replaceChildren(...load().slice(0, shown).map((row) => {
        const line = document.createElement("tr");
        if (picks) line.tabIndex = 0;
        line.row = row;
        for (const head of heads) {
          const cell = line.insertCell(), value = row[head.dataset.column];
          cell.className = head.className;
          cell.textContent = head.className === "number" ? number(value, head.dataset.places) : String(value ?? "–");
        }
        return line;
      }));
    }

    for (const head of heads)
      head.firstChild.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending", name = head.dataset.column;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        load().sort((a, b) => {
          const [x, y] = [a[name], b[name]];
          if (x === null || y === null) return (x === null) - (y === null);
          return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
        });
        fill();
      });

    const count = Object.values(mnemoscope.island(figure.id + "-data"))[0]?.length ?? 0;
    if (count > most) {
      const more = document.createElement("button");
      more.type = "button";
      const say = () => { more.textContent = shown > most ? "Show fewer" : `Show all ${count.toLocaleString("en")} rows`; };
      more.addEventListener("click", () => { shown = shown > most ? most : count; say(); fill(); });
      say();
      figure.querySelector(".downloads").append(more);
    }

    if (picks) {
      const choose = (line) => {
        if (!line) return;
        const row = line.row ?? load()[line.sectionRowIndex];
        for (const other of body.rows) other.removeAttribute("aria-selected");
        line.setAttribute("aria-selected", "true");
        mnemoscope.pick(figure, row.layer, row.head);
      };
      body.addEventListener("click", (event) => choose(event.target.closest("tr")));
      body.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(event.target.closest("tr")); });
    }
  }
});
