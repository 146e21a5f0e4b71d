// Elements made by hand. Text becomes text and never markup: nothing here reads HTML.

import { say } from "./words.js";

/** An element; `word` and `values` name its text by its key in words.*.json, so that it changes with the language. */
export function make(tag, facts = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (name === "word") say(element, value, facts.values);
    else if (name === "label") say(element, value, facts.values, "aria-label");
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else if (name !== "values") element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Large figures, each [value, key of its meaning]. */
export function facts(pairs) {
  return make("dl", { className: "facts" }, pairs.map(([value, word]) =>
    make("div", {}, make("dt", { word }), make("dd", { textContent: value }))));
}

export function notices(sentences) {
  if (!sentences?.length) return null;
  return make("ul", { className: "notices" }, sentences.map((each) => make("li", { textContent: each })));
}

/** A table. A header is {word} or {text}; a cell is text, a number or an element. */
export function table(headers, rows, { numeric = [], wide = [], label = "table" } = {}) {
  const kind = (place) => (numeric.includes(place) ? "number" : wide.includes(place) ? "words" : "");
  const head = headers.map(({ word, text }, place) =>
    make("th", { scope: "col", className: kind(place), ...(word ? { word } : { textContent: text }) }));
  const body = rows.map((row) => make("tr", {}, row.map((cell, place) =>
    make("td", { className: kind(place) }, cell instanceof Node ? cell : shown(cell)))));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", label },
    make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)));
}

/** A value as people read it. */
export function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number" || Number.isInteger(value) && Math.abs(value) < 1e9) return grouped(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(2);
  return value.toLocaleString(document.documentElement.lang, { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
}

function grouped(value) {
  return typeof value === "number" ? value.toLocaleString(document.documentElement.lang) : String(value);
}

/** Run `work`; what goes wrong is told in `status`, and true comes back where it went well. */
export async function attempted(status, work) {
  if (status.classList.contains("bad")) status.textContent = "";
  status.classList.remove("bad");
  try {
    await work();
    return true;
  } catch (error) {
    status.classList.add("bad");
    status.removeAttribute("data-word");
    status.textContent = [error.where && `${error.where}: `, error.message, error.how && `. ${error.how}`].filter(Boolean).join("");
    return false;
  }
}

export function saved(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
