"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const make = (tag, text, values) => Object.assign(document.createElement(tag), text == null ? {} : { textContent: text }, values);
const percent = (share) => (share >= 0.995 ? "100" : share > 0 && share < 0.01 ? "<1" : Math.round(share * 100)) + "%";

// Players: every play button feeds the one audio element of the dock.
const dock = document.getElementById("dock"), audio = dock.querySelector("audio");
let playing = null;
const mark = () => document.querySelectorAll(".play").forEach((button) =>
  button.setAttribute("aria-pressed", String(button.dataset.row === playing && !audio.paused)));
for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, mark);
function play(row) {
  if (playing === row) return audio.paused ? audio.play() : audio.pause();
  const [uri, start, stop] = data.sounds[row], seconds = data.clips.seconds[row];
  playing = row;
  dock.querySelector("strong").textContent = data.clips.name[row];
  dock.querySelector("small").textContent = [data.clips.label[row], stop - start < seconds - 0.1
    ? `the loudest part, ${start.toFixed(1)} to ${stop.toFixed(1)} of ${seconds.toFixed(1)} s` : `${seconds.toFixed(1)} s`]
    .filter(Boolean).join(" · ");
  dock.hidden = false;
  audio.src = uri;
  return audio.play();
}
dock.querySelector("button").addEventListener("click", () => { audio.pause(); dock.hidden = true; });
document.addEventListener("click", (event) => {
  const button = event.target.closest(".play");
  if (button) play(button.dataset.row)?.catch(() => {});
});
function addPlayer(span) {
  const row = span.dataset.clip;
  span.classList.toggle("mute", !(row in data.sounds));
  if (!(row in data.sounds)) return span;
  const button = make("button", null, { type: "button", className: "play" });
  button.dataset.row = row;
  button.setAttribute("aria-label", `Play ${data.clips.name[row]}`);
  button.setAttribute("aria-pressed", String(row === playing && !audio.paused));
  span.prepend(button);
  return span;
}
function clip(row) {
  const span = make("span", null, { className: "clip" });
  span.dataset.clip = row;
  span.append(make("span", data.clips.name[row], { className: "file" }));
  return addPlayer(span);
}
document.querySelectorAll("[data-clip]").forEach(addPlayer);

// Tables: a click on a heading sorts by it.
const compare = (a, b) => (a === b ? 0 : a === "" ? 1 : b === "" ? -1 : isNaN(a) || isNaN(b) ? String(a).localeCompare(b) : a - b);
function heading(th, sort) {
  const button = make("button", th.textContent, { type: "button" });
  th.replaceChildren(button);
  button.addEventListener("click", () => {
    const way = th.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    th.parentNode.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    sort(way);
  });
}
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((th, column) => heading(th, (way) => {
    const key = (tr) => tr.cells[column].dataset.sort ?? tr.cells[column].textContent.trim();
    const rows = [...table.tBodies[0].rows].sort((a, b) => way * compare(key(a), key(b)));
    table.tBodies[0].append(...rows);
  }));
}

// All clips: searched, sorted, and shown a hundred at a time.
const all = document.getElementById("all");
if (all) {
  const columns = data.columns, body = make("tbody"), head = make("tr");
  const texts = data.clips.name.map((_, row) => columns.map(([, key]) => data.clips[key][row]).join(" ").toLowerCase());
  let rows = [...texts.keys()], shown = 100;
  const draw = () => {
    const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => words.every((word) => texts[row].includes(word)));
    body.replaceChildren(...found.slice(0, shown).map((row) => {
      const tr = make("tr");
      for (const [, key, kind, digits] of columns) {
        const value = data.clips[key][row];
        const td = make("td", key === "name" ? null : value === "" ? "" : kind === "share" ? percent(value) : kind === "number" ? value.toFixed(digits) : value, { className: kind === "share" ? "number" : kind });
        if (key === "name") td.append(clip(row));
        tr.append(td);
      }
      return tr;
    }));
    document.getElementById("found").textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} clips`;
    document.getElementById("more").hidden = found.length <= shown;
  };
  for (const [name, key, kind] of columns) {
    const th = make("th", name, { scope: "col", className: kind === "share" ? "number" : kind });
    heading(th, (way) => { rows.sort((a, b) => way * compare(data.clips[key][a], data.clips[key][b])); draw(); });
    head.append(th);
  }
  all.append(make("thead"), body);
  all.tHead.append(head);
  document.getElementById("search").addEventListener("input", () => { shown = 100; draw(); });
  document.getElementById("more").addEventListener("click", () => { shown += 100; draw(); });
  draw();
}

// The confusion matrix: its cells are buttons that list their clips.
const matrix = document.getElementById("matrix");
function drawMatrix() {
  const view = data.views[document.getElementById("view").value], labels = view.labels, n = labels.length;
  const share = document.querySelector("input[name=unit]:checked").value === "share";
  const cells = Array.from({ length: n }, () => Array.from({ length: n }, () => []));
  view.rows.forEach((_, place) => cells[view.given[place]][view.guesses[place][0]].push(place));
  const largest = Math.max(1, ...cells.flatMap((row, given) => row.filter((_, guess) => guess !== given).map((cell) => cell.length)));
  const head = make("tr");
  head.append(make("td", null, { ariaHidden: "true" }), ...labels.map((label) => make("th", label, { scope: "col", title: `guess: ${label}` })));
  matrix.style.setProperty("--n", n);
  matrix.replaceChildren(make("caption", "A row is a given label, a column the first guess."), make("thead"), make("tbody"));
  matrix.tHead.append(head);
  cells.forEach((row, given) => {
    const tr = make("tr"), total = row.reduce((sum, cell) => sum + cell.length, 0);
    tr.append(make("th", labels[given], { scope: "row", title: labels[given] }));
    row.forEach((places, guess) => {
      const td = make("td");
      if (places.length) {
        const part = places.length / total, tone = given === guess ? part : Math.sqrt(share ? part : places.length / largest);
        const button = make("button", share ? (n > 24 ? Math.round(part * 100) || "" : percent(part)) : places.length, { type: "button", tabIndex: -1 });
        button.setAttribute("aria-label", `${labels[given]} taken for ${labels[guess]}: ${places.length} of ${total} clips`);
        button.title = button.ariaLabel;
        button.style.setProperty("--share", tone);
        button.style.setProperty("--tone", given === guess ? "var(--c1)" : "var(--c2)");
        button.classList.toggle("strong", tone > 0.6);
        button.classList.toggle("own", given === guess && tone > 0.8);
        button.addEventListener("click", () => listCell(view, given, guess, places, button));
        td.append(button);
      }
      tr.append(td);
    });
    matrix.tBodies[0].append(tr);
  });
  const first = matrix.querySelector("button");
  if (first) first.tabIndex = 0;
}
function listCell(view, given, guess, places, button) {
  matrix.querySelectorAll("[aria-pressed]").forEach((other) => other.removeAttribute("aria-pressed"));
  button.setAttribute("aria-pressed", "true");
  const list = make("ul"), heard = (place) => view.rows[place] in data.sounds;
  const sorted = [...places].sort((a, b) => heard(b) - heard(a) || view.percent[b][0] - view.percent[a][0]);
  for (const place of sorted.slice(0, 100)) {
    const li = make("li");
    const three = view.guesses[place].map((label, i) => `${view.labels[label]} ${view.percent[place][i]}%`).join(" · ");
    li.append(view.rows[place] < 0 ? make("span", "not in the cache") : clip(view.rows[place]), make("small", three));
    list.append(li);
  }
  const verb = given === guess ? "recognised" : `taken for ${view.labels[guess]}`;
  const notes = [sorted.length > 100 ? "The first 100 are listed." : "", sorted.some(heard) ? "" : "None of them has a player: the page holds those of the surest mistakes."];
  document.getElementById("cell").replaceChildren(
    make("h3", `${view.labels[given]} ${verb}: ${places.length} ${places.length === 1 ? "clip" : "clips"}`),
    make("p", notes.filter(Boolean).join(" "), { className: "hint" }), list);
}
if (matrix) {
  drawMatrix();
  document.querySelectorAll("#view, input[name=unit]").forEach((input) => input.addEventListener("change", drawMatrix));
  matrix.addEventListener("keydown", (event) => {
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
    if (!down && !right) return;
    event.preventDefault();
    let row = event.target.closest("tr").rowIndex + down, column = event.target.closest("td").cellIndex + right, next = null;
    for (; !next && matrix.rows[row]?.cells[column] && row && column; row += down, column += right) next = matrix.rows[row].cells[column].querySelector("button");
    if (next) { event.target.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  });
}

// A link into a folded section unfolds it.
const unfold = () => { const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1))); if (target?.tagName === "DETAILS") target.open = true; };
addEventListener("hashchange", unfold);
unfold();
