// Theme, sorting, filters, and pictures that answer. Everything is readable without it.
"use strict";

const THEMES = ["auto", "light", "dark"];

function storedTheme() {
  try { return localStorage.getItem("ringbench-theme") || "auto"; } catch { return "auto"; }
}

function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

setTheme(storedTheme()); // before anything is painted

function themeButton() {
  const button = document.getElementById("theme");
  const say = () => { button.textContent = "Theme: " + storedTheme(); };
  button.hidden = false;
  say();
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length];
    try { localStorage.setItem("ringbench-theme", next); } catch { return; }
    setTheme(next);
    say();
  });
}

// --- tables ---------------------------------------------------------------------------------

function key(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = (cell.firstElementChild?.tagName === "A" ? cell.firstElementChild : cell).textContent.trim();
  if (text === "" || text === "-") return null;
  const number = Number(text.replace(/,/g, "").replace(/%$/, ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

// Numbers before words; what is missing is last both ways.
function order(a, b, up) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  const found = typeof a === "number" ? a - b : a.localeCompare(b);
  return up ? found : -found;
}

function sort(table, column, head) {
  const body = table.tBodies[0];
  const text = head.classList.contains("text") || /^rank$/.test(head.textContent.trim());
  const now = head.getAttribute("aria-sort");
  const up = now === null ? text : now === "descending"; // numbers first from the top
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
  rows.sort((a, b) => order(a[0], b[0], up));
  body.append(...rows.map(([, row]) => row));
}

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, column, head));
  });
}

function filter(form) {
  const table = document.getElementById(form.dataset.table);
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const find = form.querySelector("input[type=search]");
  const choice = form.querySelector("select");
  const clean = form.querySelector("input[type=checkbox]");
  const output = form.querySelector("output");
  const apply = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const marks = (row.dataset.filter || "").split("|");
      row.hidden = !words.every((word) => text.includes(word))
        || Boolean(choice && choice.value && !marks.includes(choice.value))
        || Boolean(clean && clean.checked && marks.includes("flagged"));
      shown += row.hidden ? 0 : 1;
    }
    output.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply(); // a browser that goes back has kept what was typed
}

// --- pictures -------------------------------------------------------------------------------

function tips() {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // the mark's own label says the same
  document.body.append(tip);
  const show = (dot) => {
    const box = dot.querySelector("g path").getBoundingClientRect();
    tip.textContent = dot.getAttribute("aria-label");
    tip.hidden = false;
    const width = document.documentElement.clientWidth;
    const left = Math.min(Math.max(box.left + box.width / 2 - tip.offsetWidth / 2, 8), width - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 0 ? above : box.bottom + 8) + scrollY}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const dot of document.querySelectorAll(".dot")) {
    dot.querySelector("title").remove(); // or it would be told twice
    dot.addEventListener("mouseenter", () => show(dot));
    dot.addEventListener("focus", () => show(dot));
    dot.addEventListener("mouseleave", hide);
    dot.addEventListener("blur", hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}

function toggles() {
  for (const box of document.querySelectorAll("input[data-method]")) {
    box.disabled = false;
    box.addEventListener("change", () => {
      const chart = document.getElementById(box.dataset.chart);
      for (const mark of chart.querySelectorAll("svg.chart [data-method]")) {
        if (mark.getAttribute("data-method") === box.dataset.method) mark.classList.toggle("off", !box.checked);
      }
    });
  }
}

document.addEventListener("DOMContentLoaded", () => {
  themeButton();
  document.querySelectorAll("table.sorts").forEach(sortable);
  document.querySelectorAll("form.filters").forEach(filter);
  tips();
  toggles();
});
