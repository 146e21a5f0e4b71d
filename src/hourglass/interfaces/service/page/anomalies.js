// What is odd: scores over rows or time, a slider for the false-alarm rate, and reasons in the data's own units.

import { judged } from "./codes.js";
import { facts, make, notices, shown, table } from "./elements.js";
import { lines } from "./figures.js";
import { pictured } from "./raster.js";
import { original, trio } from "./restored.js";
import * as service from "./service.js";
import { onLanguage, say, word } from "./words.js";

const MOST_SHOWN = 100;
const MOST_PICTURES = 24;
const MOST_LANES = 6;
const LARGEST_RATE = 0.2;
const MOST_CELLS = 1_000_000;

export async function anomalies(subject) {
  const found = await judged(subject);
  const shownRows = subject.upload.modality === "series" ? await channels(subject) : [];
  return new Finding(subject, found, shownRows).elements();
}

/** The series' own values, [{name, values}], as many lanes as can be seen. */
async function channels({ about, upload }) {
  const names = about.columns.channels ?? [];
  const width = upload.columns?.length ?? names.length;
  if (upload.rows * width > MOST_CELLS) return [];
  const { columns, rows } = await service.rows(upload.id, 0, upload.rows);
  return names.slice(0, MOST_LANES).map((name, place) => {
    const at = columns ? columns.indexOf(name) : place;
    return { name, values: rows.map((row) => (Array.isArray(row) ? row[at] : row)) };
  });
}

class Finding {
  constructor(subject, found, lanes) {
    Object.assign(this, { subject, lanes, rate: found.false_alarm_rate });
    this.scores = found.scores.anomaly_score;
    this.pValues = found.scores.p_value;
    this.names = found.scores.name ?? found.scores.time ?? null;
    this.least = 1 / (found.calibration_rows + 1); // no p-value is below it
    this.notices = found.notices;
    this.told = new Map();
    this.pictures = new Map();
    this.take(found, this.rate);
    this.chart = make("div", { className: "plot", role: "img", label: "scores_label" });
    this.summary = make("div");
    this.list = make("div");
    this.detail = make("div", { "aria-live": "polite" });
    onLanguage(() => this.summary.isConnected && this.refresh());
  }

  /** What was found at a rate. */
  take(found, rate) {
    this.threshold = found.threshold;
    this.asked = rate;
    this.flags = found.scores.is_anomaly;
    for (const each of found.anomalies) this.told.set(each.row, each);
  }

  elements() {
    this.refresh();
    const hint = make("p", { className: "soft", word: "click_hint" });
    return [notices(this.notices), this.summary, this.slider(), make("figure", {}, this.chart), hint, this.detail, this.list];
  }

  slider() {
    const [low, high] = [Math.log(Math.max(this.least, 1e-4)), Math.log(LARGEST_RATE)];
    const words = make("output", { htmlFor: "rate" });
    const input = make("input", { type: "range", id: "rate", min: 0, max: 1000, step: 1, value: Math.round((1000 * (Math.log(this.rate) - low)) / (high - low)) });
    const say_ = () => {
      say(words, "rate_words", { rate: percent(this.rate), count: shown(Number((1000 * this.rate).toPrecision(2))) });
      input.setAttribute("aria-valuetext", words.textContent);
    };
    input.addEventListener("input", () => {
      this.rate = Math.exp(low + (input.value / 1000) * (high - low));
      say_();
      this.refresh();
    });
    input.addEventListener("change", () => this.ask());
    say_();
    return make("div", { className: "slider" }, make("label", { htmlFor: "rate", word: "rate_label" }), input, words);
  }

  /** The threshold and the reasons at the rate that was chosen. */
  async ask() {
    const rate = this.rate;
    const found = await service.ask(this.subject.model, "detect", { upload: this.subject.upload.id, false_alarm_rate: rate });
    if (rate !== this.rate) return;
    this.take(found, rate);
    this.refresh();
  }

  /** Rows that are flagged at the slider's rate: by the model, or by their p-values until it was asked. */
  get flagged() {
    if (this.rate === this.asked) return this.flags.flatMap((flag, row) => (flag ? [row] : []));
    const limit = Math.max(this.rate, this.least) * (1 + 1e-9);
    return this.pValues.flatMap((p, row) => (p <= limit ? [row] : []));
  }

  refresh() {
    const flagged = this.flagged;
    const { modality } = this.subject.upload;
    const judged = modality === "image" ? "of_image" : modality === "audio" ? "of_audio" : "of_rows";
    this.summary.replaceChildren(facts([[shown(flagged.length), "found"], [shown(this.scores.length), judged], [shown(this.threshold), "threshold_fact"]]));
    this.summary.dataset.flagged = flagged.length;
    this.draw(flagged);
    this.list.replaceChildren(make("h3", { word: "flagged_title" }), ...this.listed(flagged));
  }

  draw(flagged) {
    const isSeries = this.subject.upload.modality === "series";
    const sorted = this.scores.filter((score) => score > 0).sort((one, other) => one - other);
    const isWide = sorted.length === this.scores.length && sorted.at(-1) > 50 * sorted[sorted.length >> 1];
    const score = { name: word("score"), values: this.scores, colour: isSeries ? "orange" : "blue", mode: isSeries ? "lines" : "markers" };
    const x = isSeries && this.names ? this.names : this.scores.map((_, row) => row);
    lines(this.chart, {
      x, xTitle: () => word(isSeries && this.names ? "time" : "row"), lanes: [...this.lanes.map((lane) => [lane]), [score]], logLast: isWide,
      spans: isSeries ? spans(flagged) : [], level: this.threshold, flagged: isSeries ? [] : flagged, pick: (row) => this.explain(row),
    });
  }

  listed(flagged) {
    if (!flagged.length) return [make("p", { word: "nothing_flagged" })];
    const places = this.subject.upload.modality === "series" ? spans(flagged).map((span) => this.event(span)) : flagged.map((row) => ({ row, name: this.name(row) }));
    places.sort((one, other) => this.scores[other.row] - this.scores[one.row]);
    if (this.subject.upload.modality === "image") return [this.gallery(places.slice(0, MOST_PICTURES))];
    const rows = places.slice(0, MOST_SHOWN).map(({ row, name }) => [
      make("button", { type: "button", className: "link", textContent: name, onclick: () => this.explain(row, true) }),
      this.scores[row], this.pValues[row], this.told.get(row)?.reasons?.slice(0, 2).map((reason) => reasonWords(reason)).join("; ") ?? "",
    ]);
    const headers = [{ word: "where" }, { word: "score" }, { word: "p_value" }, { word: "why" }];
    const more = places.length - MOST_SHOWN;
    return [table(headers, rows, { numeric: [1, 2], wide: [3], label: "flagged_title" }),
      more > 0 ? make("p", { className: "soft", word: "more_rows", values: { count: shown(more) } }) : null].filter(Boolean);
  }

  gallery(places) {
    return make("div", { className: "pictures" }, places.map(({ row, name }) => {
      const button = make("button", { type: "button", onclick: () => this.explain(row, true) }, make("figcaption", { textContent: `${name} · ${shown(this.scores[row])}` }));
      this.picture(row).then((image) => button.prepend(pictured(image, "chosen", { name })));
      return make("figure", {}, button);
    }));
  }

  /** A picture, fetched once however often the slider lists it. */
  picture(row) {
    const fetched = () => original(this.subject.upload, row).catch((error) => { this.pictures.delete(row); throw error; });
    if (!this.pictures.has(row)) this.pictures.set(row, fetched());
    return this.pictures.get(row);
  }

  /** A stretch of flagged rows, by its oddest one. */
  event([first, last]) {
    let row = first;
    for (let place = first; place <= last; place += 1) if (this.scores[place] > this.scores[row]) row = place;
    return { row, name: first === last ? this.name(first) : `${this.name(first)} – ${this.name(last)}` };
  }

  name(row) {
    if (this.names) return String(this.names[row]).replace(/^(\d{4}-\d\d-\d\d)T/, "$1 ");
    return `${word(this.subject.upload.modality === "image" ? "picture" : "row")} ${row}`;
  }

  async explain(row, byList = false) {
    const { modality } = this.subject.upload;
    this.explained = row;
    const found = this.told.get(row) ?? (modality === "table" ? await this.reasonsOf(row) : null);
    const words = this.flagged.includes(row) ? "scored" : "no_reasons";
    const reasons = found?.reasons?.length && modality !== "image"
      ? make("ul", { className: "reasons" }, found.reasons.slice(0, 8).map(reasonItem))
      : make("p", { word: words, values: { score: shown(this.scores[row]), p: shown(this.pValues[row]) } });
    const more = modality === "image" ? await trio(this.subject, row) : modality === "table" ? await this.wholeRow(row) : null;
    if (this.explained !== row) return; // another one was chosen meanwhile
    this.detail.replaceChildren(make("h3", { tabIndex: -1, word: "reasons_of", values: { name: found?.window ?? this.name(row) } }), ...[reasons, more].filter(Boolean));
    this.detail.dataset.row = row;
    if (byList) {
      this.detail.firstChild.focus();
      this.detail.scrollIntoView({ block: "nearest" });
    }
  }

  async reasonsOf(row) {
    const { model, upload } = this.subject;
    const found = await service.ask(model, "detect", { upload: upload.id, start: row, number: 1, reasons: "all" });
    return { reasons: found.anomalies[0]?.reasons ?? found.reasons?.[0] ?? [] };
  }

  async wholeRow(row) {
    const { columns, rows } = await service.rows(this.subject.upload.id, row, 1);
    const names = columns ?? rows[0].map((_, place) => `x${place}`);
    return make("details", {}, make("summary", { word: "whole_row" }), table(names.map((text) => ({ text })), rows, { label: "whole_row" }));
  }
}

/** Rows without gaps, as [first, last]. */
function spans(rows) {
  const found = [];
  for (const row of rows) {
    if (found.length && found.at(-1)[1] === row - 1) found.at(-1)[1] = row;
    else found.push([row, row]);
  }
  return found;
}

const percent = (share) => `${Number((100 * share).toPrecision(2))} %`;

const values = (reason) => ({ cell: reason.cell, value: shown(reason.value), expected: shown(reason.expected), share: percent(reason.share) });
const reasonWords = (reason) => word("reason", values(reason));

function reasonItem(reason) {
  return make("li", {}, make("span", { word: "reason", values: values(reason) }), make("meter", { min: 0, max: 1, value: reason.share, "aria-hidden": "true" }));
}

