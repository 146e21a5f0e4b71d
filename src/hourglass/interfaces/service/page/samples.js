// New samples, and sliders that turn the numbers of a code.

import { codesOf } from "./codes.js";
import { make, table } from "./elements.js";
import { colour } from "./figures.js";
import { fromArray, pictured, take } from "./raster.js";
import * as service from "./service.js";
import { word } from "./words.js";

const NUMBER = 12;
const MOST_SLIDERS = 8;
const LOOKED_AT = 200;

export async function samples(subject) {
  if (subject.about.experiment.network?.is === "u-net") return [make("p", { word: "no_samples" })];
  const made = make("div");
  let seed = 0;
  const show = async () => made.replaceChildren(await generated(subject, seed));
  await show();
  const again = make("button", { type: "button", word: "again", onclick: () => { seed += 1; show(); } });
  const sliders = subject.upload.modality === "audio" ? [] : await turned(subject);
  return [make("h3", { word: "generated" }), made, make("div", { className: "row end" }, again), ...sliders];
}

async function generated(subject, seed) {
  const query = { number: subject.upload.modality === "audio" ? 1 : NUMBER, seed };
  if (subject.upload.modality === "audio") {
    const blob = await service.askBlob(subject.model, "generate", query, "audio/wav");
    return (await take(blob, word("generated"), subject.upload.rates[0])).figure;
  }
  return drawn(subject, await service.ask(subject.model, "generate", query));
}

/** Samples as the reader knows them: rows of a table, courses, pictures. */
function drawn({ upload }, answer) {
  if (upload.modality === "table") {
    const names = answer.columns ?? answer.rows[0].map((_, place) => `x${place}`);
    return table(names.map((text) => ({ text })), answer.rows, { numeric: numbers(answer.rows[0]), label: "generated" });
  }
  const isPicture = upload.modality === "image";
  const items = answer.columns || !Array.isArray(answer.rows[0]) ? [answer.rows] : answer.rows;
  return make("div", { className: isPicture ? "pictures" : "pictures courses" }, items.map((item, place) => make("figure", {}, isPicture
    ? pictured(fromArray(item), "picture_new", { place: place + 1 }) : sparkline(item, place))));
}

const numbers = (row) => row.flatMap((cell, place) => (typeof cell === "number" ? [place] : []));

/** A course of one or several channels, small. */
function sparkline(steps, place) {
  const canvas = make("canvas", { width: 240, height: 120, role: "img", label: "course_new", values: { place: place + 1 } });
  const courses = Array.isArray(steps[0]) ? steps[0].map((_, channel) => steps.map((step) => step[channel])) : [steps];
  const context = canvas.getContext("2d");
  context.lineWidth = 2;
  courses.filter((course) => typeof course[0] === "number").forEach((course, channel) => {
    const [low, high] = [Math.min(...course), Math.max(...course)];
    context.strokeStyle = colour(["blue", "orange", "green", "soft"][channel % 4]);
    context.beginPath();
    course.forEach((value, step) => context.lineTo(6 + (228 * step) / Math.max(1, course.length - 1), 110 - (100 * (value - low)) / (high - low || 1)));
    context.stroke();
  });
  return canvas;
}

/** A slider for each number of the code that varies, and what the code stands for. */
async function turned(subject) {
  const codes = await codesOf(subject, subject.upload.modality === "series" ? null : Math.min(LOOKED_AT, subject.upload.rows));
  const columns = Array.from({ length: codes.width }, (_, d) => Array.from({ length: codes.count }, (_, row) => codes.values[row * codes.width + d]));
  const ranges = columns.map((column, place) => ({ place, low: column.reduce((a, b) => Math.min(a, b)), high: column.reduce((a, b) => Math.max(a, b)), middle: column.reduce((a, b) => a + b) / column.length }));
  const code = ranges.map(({ middle }) => middle);
  const view = make("div", { "aria-live": "off" });
  let [busy, changed] = [false, false];
  const show = async () => {
    changed = true;
    if (busy) return;
    busy = true;
    try {
      while (changed) {
        changed = false;
        view.replaceChildren(drawn(subject, await service.ask(subject.model, "decode", {}, { rows: [code] })));
      }
    } finally {
      busy = false;
    }
  };
  const chosen = [...ranges].sort((one, other) => other.high - other.low - (one.high - one.low)).slice(0, MOST_SLIDERS);
  const sliders = chosen.map(({ place, low, high, middle }) => make("label", {}, make("span", { word: "code_number", values: { place } }), make("input", {
    type: "range", min: low, max: high, step: (high - low) / 200 || 1, value: middle,
    oninput: (event) => { code[place] = event.target.valueAsNumber; show(); },
  })));
  await show();
  return [make("h3", { word: "sliders_title" }), make("p", { className: "soft", word: "sliders_words" }), make("div", { className: "sliders" }, sliders),
    make("h3", { word: "decoded" }), view];
}
