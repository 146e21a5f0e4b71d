// The data beside what the model makes of them: rows, courses, pictures, sound.

import { make, notices, table } from "./elements.js";
import { lines } from "./figures.js";
import { difference, fromArray, fromBlob, pictured, take } from "./raster.js";
import * as service from "./service.js";
import { onLanguage, word } from "./words.js";

const MOST_LANES = 6;
const MOST_CELLS = 1_000_000;
const BROWSER = /\.(png|jpe?g|webp|gif|bmp)$/i;

export async function restored(subject) {
  const made = { table: oneByOne, series: course, image: oneByOne, audio: oneByOne }[subject.upload.modality];
  return made(subject);
}

const verbOf = (subject) => (subject.aim === "clean" ? "denoise" : "reconstruct");

/** One sample at a time, with buttons to the one before and the next. */
async function oneByOne(subject) {
  const { upload } = subject;
  const count = upload.rows;
  const place = make("input", { type: "number", id: "sample", min: 0, max: count - 1, value: 0 });
  const view = make("div", { "aria-live": "polite" });
  const show = async (row) => {
    const wanted = Math.min(Math.max(Math.round(row) || 0, 0), count - 1);
    place.value = wanted;
    const seen = await { table: cells, image: trio, audio: takes }[upload.modality](subject, wanted);
    if (Number(place.value) === wanted) view.replaceChildren(seen);
  };
  place.addEventListener("change", () => show(place.valueAsNumber));
  const button = (name, by) => make("button", { type: "button", word: name, onclick: () => show(place.valueAsNumber + by) });
  const chooser = make("div", { className: "row" }, make("label", { htmlFor: "sample", word: "row_number" }), place, button("previous", -1), button("next", 1));
  await show(0);
  return [count > 1 ? chooser : null, view];
}

async function cells(subject, row) {
  const { model, upload } = subject;
  const [given, back] = await Promise.all([
    service.rows(upload.id, row, 1), service.ask(model, verbOf(subject), { upload: upload.id, start: row, number: 1 }),
  ]);
  const [names, made] = [given.columns ?? given.rows[0].map((_, place) => `x${place}`), back.rows[0]];
  const rows = names.map((name, place) => {
    const at = back.columns ? back.columns.indexOf(name) : place;
    const [one, other] = [given.rows[0][place], at < 0 ? null : made[at]];
    return [name, one, at < 0 ? make("span", { word: "left_out" }) : other, typeof one === "number" && typeof other === "number" ? one - other : ""];
  });
  const headers = [{ word: "column" }, { word: "value" }, { word: "expected" }, { word: "gap" }];
  return make("div", {}, notices(back.notices), table(headers, rows, { numeric: [1, 2, 3], label: "tab_restored" }));
}

/** A picture as it was given. */
export async function original(upload, row) {
  if (upload.files.length === upload.rows && BROWSER.test(upload.files[row])) return fromBlob(await service.file(upload.id, row));
  return fromArray((await service.rows(upload.id, row, 1)).rows[0]);
}

/** A picture, what the model gives back, and where they differ. */
export async function trio(subject, row) {
  const { model, upload } = subject;
  const query = { upload: upload.id, start: row, number: 1 };
  const [given, back] = await Promise.all([original(upload, row), service.ask(model, verbOf(subject), query).then((answer) => fromArray(answer.rows[0]))]);
  const kinds = [["original", given], [subject.aim === "clean" ? "cleaned" : "restored", back], ["difference", difference(given, back)]];
  return make("div", { className: "trio" }, kinds.map(([name, image]) => make("figure", {}, pictured(image, name), make("figcaption", { word: name }))));
}

async function takes(subject, row) {
  const { model, upload } = subject;
  const [given, back] = await Promise.all([
    service.file(upload.id, row), service.askBlob(model, verbOf(subject), { upload: upload.id, start: row, number: 1 }, "audio/wav"),
  ]);
  const rate = upload.rates[row] ?? upload.rates[0];
  const before = await take(given, word("before"), rate, "as_recorded");
  const after = await take(back, word("after"), rate, "through_model", before.top);
  return make("div", { className: "takes" }, before.figure, after.figure);
}

async function course(subject) {
  const { model, about, upload } = subject;
  const names = about.columns.channels ?? [];
  if (upload.rows * Math.max(names.length, upload.columns?.length ?? 1) > MOST_CELLS) return [make("p", { word: "too_large" })];
  const [given, back] = await Promise.all([service.rows(upload.id, 0, upload.rows), service.ask(model, verbOf(subject), { upload: upload.id })]);
  const column = (answer, name, place) => {
    const at = answer.columns ? answer.columns.indexOf(name) : place;
    return answer.rows.map((row) => (Array.isArray(row) ? row[at] : row));
  };
  const time = about.columns.time && given.columns?.includes(about.columns.time) ? column(given, about.columns.time) : null;
  const chart = make("div", { className: "plot", role: "img", label: "restored_label" });
  const draw = () => lines(chart, {
    x: time ?? given.rows.map((_, row) => row), xTitle: () => word(time ? "time" : "row"),
    lanes: names.slice(0, MOST_LANES).map((name, place) => [
      { name, values: column(given, name, place) },
      { name: word(subject.aim === "clean" ? "cleaned" : "restored"), values: column(back, name, place), colour: "orange" },
    ]),
  });
  draw();
  onLanguage(() => chart.isConnected && draw());
  return [notices(back.notices), make("figure", {}, chart)];
}

