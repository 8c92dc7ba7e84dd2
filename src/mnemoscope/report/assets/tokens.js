// The token view. The packing is described in report/tokens.py; a prompt is unpacked when it is looked at.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  async function unpack(text) {
    const buffer = await mnemoscope.inflate(text);
    const [count, keyCount, weightCount] = new Uint32Array(buffer, 0, 3);
    let at = 12;
    const take = (kind, length) => { const part = new kind(buffer, at, length); at += length * kind.BYTES_PER_ELEMENT; return part; };
    const layers = take(Uint16Array, count), heads = take(Uint16Array, count), queries = take(Uint16Array, count), counts = take(Uint16Array, count);
    const keys = take(Uint16Array, keyCount), sparse = take(Uint8Array, count), weights = take(Uint8Array, weightCount);
    const rows = new Map();
    for (let i = 0, k = 0, w = 0; i < count; i++) {
      const values = weights.subarray(w, w += counts[i]);
      const where = sparse[i] ? keys.subarray(k, k += counts[i]) : null;
      const cell = layers[i] + "." + heads[i];
      if (!rows.has(cell)) rows.set(cell, new Map());
      rows.get(cell).set(queries[i], {values, where});
    }
    return rows;
  }

  function mix(share) {
    const ramp = mnemoscope.theme[mnemoscope.mode()].palette.sequential, x = Math.min(1, Math.sqrt(share)) * (ramp.length - 1);
    const i = Math.min(ramp.length - 2, Math.floor(x)), f = x - i;
    const channel = (colour, c) => parseInt(colour.slice(1 + 2 * c, 3 + 2 * c), 16);
    return "rgb(" + [0, 1, 2].map((c) => Math.round(channel(ramp[i], c) * (1 - f) + channel(ramp[i + 1], c) * f)).join(" ") + ")";
  }

  for (const figure of document.querySelectorAll("figure.tokens")) {
    const {prompts, named, events} = mnemoscope.island(figure.id + "-data");
    const stage = figure.querySelector(".stage"), status = figure.querySelector(".status"), controls = figure.querySelector(".controls");
    if (!prompts.length) { stage.textContent = "No prompts were kept."; continue; }
    const state = {prompt: 0, layer: null, head: null, query: null}, unpacked = new Map();

    function control(name, options) {
      const label = document.createElement("label"), select = document.createElement("select");
      label.append(name, select); controls.append(label);
      select.addEventListener("change", () => options.change(select.value));
      return {select, fill(values) { select.replaceChildren(...values.map(([value, text]) => new Option(text, value))); label.hidden = values.length < 2; }};
    }
    const choice = {
      prompt: control("Prompt", {change: (value) => show({prompt: Number(value), query: null})}),
      named: control("Named head", {change: (value) => { pick(...value.split(".").map(Number)); }}),
      event: control("Best events", {change: (value) => go(best(state.layer, state.head)[Number(value)])}),
      layer: control("Layer", {change: (value) => show({layer: Number(value), query: null})}),
      head: control("Head", {change: (value) => show({head: Number(value), query: null})}),
    };
    const best = (layer, head) => events.filter(([l, h]) => l === layer && h === head);
    const go = (event) => show({layer: event[0], head: event[1], prompt: event[2], query: event[3]});
    const pick = (layer, head) => { const found = best(layer, head); return found.length ? go(found[0]) : show({layer, head, query: null}); };
    choice.prompt.fill(prompts.map((prompt, i) => [i, prompt.title]));
    choice.named.fill([["", "choose"], ...named.map(([layer, head]) => [layer + "." + head, `layer ${layer}, head ${head}`])]);

    async function show(change) {
      Object.assign(state, change);
      const prompt = prompts[state.prompt];
      if (!unpacked.has(state.prompt)) unpacked.set(state.prompt, await unpack(prompt.rows));
      const rows = unpacked.get(state.prompt), cells = [...rows.keys()].map((cell) => cell.split(".").map(Number));
      if (!cells.length) { stage.textContent = "No attention was kept for this prompt."; return; }
      const layers = [...new Set(cells.map(([layer]) => layer))];
      if (state.layer === null) [state.layer, state.head] = named[0] ?? cells[0];
      if (!layers.includes(state.layer)) state.layer = layers[0];
      const heads = cells.filter(([layer]) => layer === state.layer).map(([, head]) => head);
      if (!heads.includes(state.head)) state.head = heads[0];
      const kept = rows.get(state.layer + "." + state.head);
      if (!kept.has(state.query)) state.query = kept.has(prompt.query) ? prompt.query : kept.keys().next().value;
      choice.layer.fill(layers.map((layer) => [layer, layer])); choice.layer.select.value = state.layer;
      choice.head.fill(heads.map((head) => [head, head])); choice.head.select.value = state.head;
      const cell = state.layer + "." + state.head;
      const found = best(state.layer, state.head), now = found.findIndex((event) => event[2] === state.prompt && event[3] === state.query);
      choice.event.fill(found.length ? [["", "choose"], ...found.map((event, i) => [i, event[4]])] : []); choice.event.select.value = now < 0 ? "" : now;
      choice.prompt.select.value = state.prompt;
      choice.named.select.value = named.some(([layer, head]) => layer + "." + head === cell) ? cell : "";
      paint(prompt, kept);
    }

    function paint(prompt, kept) {
      const {values, where} = kept.get(state.query), attention = new Map();
      values.forEach((value, i) => attention.set(where ? where[i] : i, value / 255));
      stage.replaceChildren(...prompt.tokens.flatMap((whole, position) => {
        const text = whole.replace(/^ (?=\S)/, "").replace(/^ $/, "␣");  // a word's own space is not painted
        const span = document.createElement("span"), share = attention.get(position) ?? 0;
        span.className = "t" + (kept.has(position) ? " can" : "") + (position === state.query ? " query" : "") + (share > .2 ? " dark" : "");
        span.textContent = text.replaceAll("\n", "↵\n");
        if (share > .004) span.style.background = mix(share);
        span.title = `token ${position}: ${share.toFixed(2)}`;
        span.dataset.position = position;
        return [text.length < whole.length ? " " : document.createElement("wbr"), span];
      }));
      const word = (position) => JSON.stringify(prompt.tokens[position].slice(0, 40));
      const top = [...attention].sort((a, b) => b[1] - a[1]).slice(0, 5).filter(([, share]) => share > .004);
      const part = (...pieces) => { const span = document.createElement("span"); span.append(...pieces); return span; };
      const dim = (text) => { const i = document.createElement("i"); i.textContent = text; return i; };
      status.replaceChildren(
        part(dim(`layer ${state.layer}, head ${state.head}, from token ${state.query} `), word(state.query)),
        ...top.map(([position, share]) => part(share.toFixed(2), dim(` to ${position} `), word(position))),
      );
    }

    const move = (position) => { if (position !== undefined) show({query: position}); };
    stage.addEventListener("click", (event) => {
      const token = event.target.closest(".t.can");
      if (token) move(Number(token.dataset.position));
    });
    stage.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!step) return;
      event.preventDefault();
      const places = [...stage.querySelectorAll(".t.can")].map((token) => Number(token.dataset.position));
      move(places[places.indexOf(state.query) + step]);
    });
    figure.closest("section").addEventListener("pick", (event) => pick(event.detail.layer, event.detail.head));
    document.addEventListener("mode", () => show({}));
    show({});
  }
});
