// The journey: data, aim, learning, result. Each step appears when the one before it is done.

import { attempted, facts, make, notices, shown, table } from "./elements.js";
import { curves, plotly, redraw } from "./figures.js";
import { fromArray, fromBlob, pictured, take } from "./raster.js";
import { results } from "./results.js";
import * as service from "./service.js";
import { firstLanguage, language, onLanguage, say, speak, word } from "./words.js";

const byId = (id) => document.getElementById(id);
const AIMS = ["anomalies", "clean", "map", "generate"];
const USUAL = { table: "anomalies", series: "anomalies", image: "map", audio: "clean" };
const THUMBNAILS = 24;
const BROWSER = /\.(png|jpe?g|webp|gif|bmp)$/i;
const status = byId("data-status");
let looked = 0; // counts what was chosen, so that what comes late is not shown in the place of what came after it

async function look(name, given) {
  const mine = (looked += 1);
  for (const id of ["seen", "aim", "learning", "result"]) byId(id).hidden = true;
  say(status, "reading", { name });
  await attempted(status, async () => {
    const found = await read(given).catch((error) => ({ error }));
    if (mine !== looked) return;
    if (found.error) throw found.error;
    const { upload, elements, served } = found;
    say(status, "read", { name: upload.files.length === 1 ? upload.files[0] : name });
    byId("seen").replaceChildren(...elements);
    byId("seen").hidden = false;
    if (upload.modality) choose(upload, served);
  });
}

async function read(given) {
  const upload = await given();
  const [elements, served] = await Promise.all([seen(upload), service.models()]);
  return { upload, elements, served: served.filter((model) => model.modality === upload.modality) };
}

/** What was found in the data. */
async function seen(upload) {
  const counted = { image: "samples", audio: "recordings" }[upload.modality] ?? "rows";
  const pairs = [[shown(upload.rows), counted]];
  if (upload.columns) pairs.push([shown(upload.columns.length), "columns"]);
  if (upload.seconds) pairs.push([shown(upload.seconds.reduce((sum, each) => sum + each, 0)), "seconds"]);
  const kind = make("p", { className: "soft", textContent: (upload.why ?? "").split(";")[0] });
  const glimpsed = await glimpses(upload).catch(() => null); // what the browser cannot show can be learned all the same
  return [facts(pairs), kind, notices(upload.notices), columns(upload), preview(upload), glimpsed].filter(Boolean);
}

function columns({ columns }) {
  if (!columns) return null;
  const odd = columns.filter((each) => each.problem);
  const rows = columns.map((each) => [each.name, each.type, each.missing, each.kind ?? make("span", { word: "left_out" }), each.problem]);
  const headers = ["column", "type", "missing", "role", "problem"].map((name) => ({ word: name }));
  return make("details", { open: odd.length > 0 && columns.length <= 12 }, make("summary", { word: "columns_title" }),
    table(headers, rows, { numeric: [2], wide: [4], label: "columns_title" }));
}

function preview({ columns, preview }) {
  if (!preview) return null;
  const headers = columns.map(({ name }) => ({ text: name }));
  const numeric = columns.flatMap(({ type }, place) => (/int|float|double/.test(type) ? [place] : []));
  return make("div", {}, make("h3", { word: "preview_title" }), table(headers, preview, { numeric, label: "preview_title" }));
}

/** The first pictures or the first recording. */
async function glimpses(upload) {
  if (upload.modality === "audio") return (await take(await service.file(upload.id, 0), upload.files[0], upload.rates[0])).figure;
  if (upload.modality !== "image") return null;
  const number = Math.min(THUMBNAILS, upload.rows);
  const isEach = upload.files.length === upload.rows;
  const images = isEach
    ? await Promise.all(upload.files.slice(0, number).map((name, place) => (BROWSER.test(name) ? service.file(upload.id, place).then(fromBlob) : null)))
    : (await service.rows(upload.id, 0, number)).rows.map(fromArray);
  return make("div", { className: "pictures" }, images.map((image, place) => make("figure", {},
    image && pictured(image, "chosen", { name: isEach ? upload.files[place] : place }), isEach && make("figcaption", { textContent: upload.files[place] }))));
}

/** What to do with the data, and by which model: a new one, or one of those `served` for such data. */
function choose(upload, served) {
  const aims = make("div", { className: "aims" }, AIMS.map((aim) => make("label", {},
    make("input", { type: "radio", name: "aim", value: aim, checked: aim === USUAL[upload.modality] }),
    make("strong", { word: `aim_${aim}` }), make("span", { word: `aim_${aim}_more` }))));
  const model = make("select", { id: "model" }, make("option", { value: "", word: "model_new" }),
    served.map(({ name }) => make("option", { value: name, word: "model_served", values: { name } })));
  const settings = makeSettings(upload);
  const start = make("button", { type: "submit", className: "main", word: "start" });
  model.addEventListener("change", () => { settings.hidden = Boolean(model.value); say(start, model.value ? "use" : "start"); });
  const told = make("p", { className: "status", role: "status" });
  const form = make("form", {}, make("fieldset", { "aria-labelledby": "aim-title" }, aims),
    served.length ? make("div", { className: "settings" }, make("label", {}, make("span", { word: "model" }), model)) : null,
    settings, make("div", { className: "row end" }, start), told);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const aim = new FormData(form).get("aim");
    start.disabled = true;
    await attempted(told, () => (model.value ? show({ upload, aim, model: model.value }) : learn(upload, aim, options(form, aim, upload))));
    start.disabled = false;
  });
  reveal("aim", "step_aim", form);
}

function makeSettings(upload) {
  const field = (name, input, more) => make("label", {}, make("span", { word: name }), input, more && make("small", { word: more }));
  const number = (name) => make("input", { type: "number", name, min: 1, step: 1, inputMode: "numeric" });
  const names = upload.columns?.map(({ name }) => make("option", { value: name, textContent: name })) ?? [];
  const label = make("select", { name: "label" }, make("option", { value: "", word: "none" }), names);
  const kinds = ["table", "series"].map((kind) => make("option", { value: kind, word: kind }));
  const modality = make("select", { name: "modality" }, make("option", { value: "", word: "by_rule", values: { kind: upload.modality } }), kinds);
  return make("details", {}, make("summary", { word: "settings" }), make("div", { className: "settings" },
    field("epochs", number("epochs"), "epochs_more"), field("latent", number("latent"), "latent_more"),
    upload.columns && field("label_column", label, "label_more"),
    upload.columns && field("normal_value", make("input", { name: "normal" }), "normal_more"),
    upload.columns && field("read_as", modality)));
}

/** The options of the fit that the form and the aim ask for; rows searched for anomalies may hold some, as in `detect DATA`. */
function options(form, aim, upload) {
  const given = aim === "generate" ? { kind: "variational" } : {};
  for (const [name, value] of new FormData(form)) {
    if (!value || name === "aim") continue;
    given[name] = name === "epochs" || name === "latent" ? Number(value) : value;
  }
  if (aim === "anomalies" && (given.modality ?? upload.modality) === "table" && !given.normal) given.contaminated = true;
  return given;
}

async function learn(upload, aim, given) {
  const mine = looked;
  const fit = await service.fit({ upload: upload.id, options: given });
  const told = make("p", { role: "status", "aria-live": "polite", word: "waiting" });
  const progress = make("progress", { label: "step_learning" });
  const chart = make("div", { className: "plot", role: "img", label: "curves_label", hidden: true });
  const said = make("div");
  const buttons = make("div", { className: "row end" },
    make("button", { type: "button", id: "stop", word: "stop", onclick: () => service.stop(fit.id).then(() => say(told, "stopping"), () => {}) }),
    make("button", { type: "button", word: "cancel", onclick: () => service.cancel(fit.id).catch(() => {}) }));
  byId("result").hidden = true;
  reveal("learning", "step_learning", make("div", { className: "card" }, told, progress, chart, said, buttons));
  const started = performance.now();
  let ended = "failed";
  await attempted(told, async () => { ended = await follow(fit.id, { told, progress, chart, said }); });
  buttons.hidden = true;
  progress.hidden = true;
  if (ended !== "done") return;
  say(told, "learned", { seconds: shown(Math.round((performance.now() - started) / 100) / 10) });
  if (mine === looked) await show({ upload, aim, model: fit.name });
}

/** Show a fit's events until it ends; how it ended. */
async function follow(fit, { told, progress, chart, said }) {
  const courses = new Map();
  const sentences = [];
  let drawing = false;
  const draw = async () => {
    if (drawing) return;
    drawing = true;
    chart.hidden = false;
    await curves(chart, [...courses].map(([name, values]) => ({ name, values: [...values] })), () => word("epoch"));
    setTimeout(() => { drawing = false; }, 150);
  };
  for await (const [name, event] of service.events(fit)) {
    if (name === "epoch" && event.terms && Object.keys(event.terms).length) {
      for (const [term, value] of Object.entries(event.terms)) {
        if (!courses.has(term)) courses.set(term, []);
        courses.get(term).push(value);
      }
      say(told, "epoch_of", { epoch: shown(event.epoch), epochs: shown(event.epochs) });
      progress.max = event.epochs;
      progress.value = event.epoch;
      draw();
    } else if (name === "epoch" || name === "progress") {
      say(told, "calibrating");
      progress.removeAttribute("value");
    } else if (name === "note") {
      sentences.push(event.notice);
      said.replaceChildren(notices(sentences));
    } else if (name === "failed") {
      throw Object.assign(new Error(event.what), { where: event.where, how: event.how });
    } else if (name === "cancelled" || name === "interrupted") {
      say(told, name);
      return name;
    }
  }
  drawing = false;
  if (courses.size) await draw();
  return "done";
}

async function show(subject) {
  const about = await service.about(subject.model);
  const upload = { ...subject.upload, modality: about.modality };
  reveal("result", "step_result", results({ ...subject, upload, about }));
}

function reveal(id, title, content) {
  const heading = make("h2", { id: `${id}-title`, tabIndex: -1, word: title });
  byId(id).replaceChildren(heading, content);
  byId(id).hidden = false;
  heading.focus({ preventScroll: true });
  byId(id).scrollIntoView();
}

function dropping() {
  const drop = byId("drop");
  const take_ = (files) => { if (files.length) look(files.length === 1 ? files[0].name : `${files.length}`, () => service.upload(files)); };
  byId("files").addEventListener("change", (event) => { take_([...event.target.files]); event.target.value = ""; });
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take_([...event.dataTransfer.files]);
  });
}

async function offer() {
  for (const { name } of await service.examples()) {
    byId("examples").append(make("button", { type: "button", className: "link", id: `example-${name}`, word: `example_${name}`, onclick: () => look(word(`example_${name}`), () => service.takeExample(name)) }));
  }
  byId("examples").hidden = byId("examples").children.length < 2;
}

/** Tell what goes wrong where nobody else does, until the next click. */
function troubles() {
  const told = byId("trouble");
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    attempted(told, () => { throw event.reason; });
  });
  addEventListener("click", () => { told.textContent = ""; }, { capture: true });
}

/** Ask the reader for the server's token. */
function enter() {
  const token = make("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const form = make("form", { className: "card" }, make("label", { htmlFor: "token", word: "token" }),
    make("div", { className: "row" }, token, make("button", { type: "submit", className: "main", word: "enter" })));
  byId("data").before(form);
  token.focus();
  return new Promise((done) => form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.remove();
    done(token.value);
  }));
}

function switches() {
  const themes = ["auto", "light", "dark"];
  let theme = themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
  const put = () => {
    document.documentElement.dataset.theme = theme;
    say(byId("theme"), `theme_${theme}`);
    redraw();
    for (const each of document.querySelectorAll(".map")) each.repaint();
  };
  byId("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    localStorage.setItem("theme", theme);
    put();
  });
  byId("language").addEventListener("click", () => {
    const next = language() === "en" ? "zh" : "en";
    localStorage.setItem("language", next);
    speak(next);
  });
  onLanguage(() => {
    const other = language() === "en" ? ["zh", "中文"] : ["en", "English"];
    [byId("language").lang, byId("language").textContent] = other;
  });
  put();
}

troubles();
await speak(firstLanguage());
switches();
dropping();
service.onToken(enter);
document.documentElement.dataset.ready = "true";
performance.mark("usable");
await attempted(status, offer);
(globalThis.requestIdleCallback ?? setTimeout)(() => plotly()); // large, and wanted soon; Safari knows no idle time
