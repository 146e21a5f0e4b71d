// What a model makes of some data: a tab for each question, its answer fetched when it is first looked at.

import { anomalies } from "./anomalies.js";
import { codesOf, judged } from "./codes.js";
import { attempted, facts, make, saved, shown, table } from "./elements.js";
import { map, plane } from "./map.js";
import { restored } from "./restored.js";
import { samples } from "./samples.js";
import * as service from "./service.js";

const TABS = { anomalies, restored, map: codesMap, samples, compare, keep };
const FIRST = { anomalies: "anomalies", clean: "restored", map: "map", generate: "samples" };

/** All tabs for `subject`: {model, about, upload, aim}. What was opened stays in the page, hidden, so that it follows the
 *  theme and the language. */
export function results(subject) {
  const panel = make("div", { role: "tabpanel", id: "view", tabIndex: -1 });
  const views = new Map();
  const buttons = Object.keys(TABS).map((name) => make("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "view", word: `tab_${name}`, onclick: () => open(name),
  }));
  const open = (name) => {
    for (const button of buttons) {
      const chosen = button.id === `tab-${name}`;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    if (!views.has(name) || views.get(name).dataset.failed) {
      views.get(name)?.remove();
      views.set(name, view(subject, name, () => { if (!views.get(name).hidden) panel.dataset.ready = name; }));
      panel.append(views.get(name));
    }
    for (const [each, element] of views) element.hidden = each !== name;
    panel.dataset.ready = views.get(name).dataset.done ? name : "";
  };
  const tabs = make("div", { className: "tabs", role: "tablist", label: "views", onkeydown: (event) => step(event, buttons) }, buttons);
  open(FIRST[subject.aim]);
  return make("div", { className: "card" }, tabs, panel);
}

/** What a tab shows; `done` is called once it is there. */
function view(subject, name, done) {
  const status = make("p", { className: "status", role: "status", "aria-live": "polite", word: "working" });
  const element = make("div", {}, status);
  attempted(status, async () => element.append(...(await TABS[name](subject)).filter(Boolean))).then((went) => {
    element.dataset[went ? "done" : "failed"] = "true";
    if (!went) return;
    status.remove();
    done();
  });
  return element;
}

function step(event, buttons) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const next = buttons[(buttons.indexOf(event.target) + by + buttons.length) % buttons.length];
  next.focus();
  next.click();
}

async function codesMap(subject) {
  const codes = await codesOf(subject);
  const found = await judged(subject);
  const scores = found.scores.anomaly_score.length === codes.count ? found.scores.anomaly_score : null;
  const points = plane(codes);
  const chosen = make("div");
  const share = (part) => `${Math.round(100 * part)} %`;
  const words = codes.width > 1
    ? make("p", { className: "soft", word: "map_words", values: { width: codes.width, first: share(points.shares[0]), second: share(points.shares[1]) } })
    : make("p", { className: "soft", word: "map_words_one" });
  const name = (row) => codes.names?.[row] ?? `${row}`;
  const pick = (row) => chosen.replaceChildren(make("h3", { word: "chosen", values: { name: name(row) } }), table(
    Array.from({ length: codes.width }, (_, place) => ({ text: `latent${place}` })),
    [Array.from({ length: codes.width }, (_, place) => codes.values[row * codes.width + place])],
  ));
  const drawn = map(points, scores, name, pick);
  return [facts([[shown(codes.count), "coded"], [shown(codes.width), "latent"]]), drawn, words, chosen];
}

async function compare({ model, upload }) {
  const answer = await service.ask(model, "compare", { upload: upload.id });
  const columns = answer.columns.map((text) => ({ text }));
  const numeric = answer.columns.map((_, place) => place).slice(1);
  return [make("p", { className: "soft", word: "compare_words" }), make("p", { textContent: answer.notices[0] }),
    table(columns, answer.rows, { numeric, label: "tab_compare" })];
}

async function keep({ model, upload }) {
  const status = make("p", { className: "status", role: "status" });
  const sound = upload.modality === "audio";
  const cleaned = sound ? ["audio/wav", "wav"] : upload.modality === "image" ? ["image/png", "png"] : ["text/csv", "csv"];
  const all = { upload: upload.id };
  const things = [
    ["keep_model", `${model}.safetensors`, () => service.modelFile(model)],
    ["keep_scores", `${model}-scores.csv`, () => service.askBlob(model, "detect", all, "text/csv")],
    ["keep_codes", `${model}-codes.csv`, () => service.askBlob(model, "encode", all, "text/csv")],
    ["keep_cleaned", `${model}-cleaned.${cleaned[1]}`, () => service.askBlob(model, "denoise", all, cleaned[0])],
    ["keep_report", `${model}-report.html`, () => service.askBlob(model, "report", all)],
  ];
  const buttons = things.map(([word, file, content]) => make("button", {
    type: "button", word, onclick: () => attempted(status, async () => saved(await content(), file)),
  }));
  return [make("p", { className: "soft", word: "keep_words" }), make("div", { className: "row" }, buttons), status];
}
