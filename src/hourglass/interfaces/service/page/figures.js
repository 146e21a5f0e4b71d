// Plotly figures in the page's own colours, drawn again when theme or language change. Only SVG traces: they need no eval.

import { onLanguage, word } from "./words.js";

const MOST_POINTS = 4000;
const MOST_SPANS = 200;
const drawn = new Map();
let loading = null;

/** Plotly, loaded once. */
export function plotly() {
  loading ??= new Promise((done, broken) => {
    const script = document.createElement("script");
    script.src = new URL("plotly.min.js", import.meta.url);
    // The policy forbids style elements, and complains of the one that plotly makes for maps, which we do not draw.
    document.createElement = (tag) => Document.prototype.createElement.call(document, tag === "style" ? "template" : tag);
    script.onload = () => { delete document.createElement; done(globalThis.Plotly); };
    script.onerror = () => { loading = null; broken(new Error(word("no_figures"))); };
    document.head.append(script);
  });
  return loading;
}

/** A colour of the page as it is now, whatever the theme. */
export function colour(name) {
  const probe = document.getElementById("probe");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** Plotly reads its texts as HTML. */
const escaped = (text) => String(text).slice(0, 40).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** Draw what `build` gives, {data, layout, click}, in an element; now, and after each switch of theme or language. */
export async function draw(element, build) {
  const isNew = !drawn.has(element);
  drawn.set(element, build);
  const Plotly = await plotly();
  if (drawn.get(element) !== build) return;
  const { data, layout, click } = build();
  layout.font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") };
  if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls the page
  await Plotly.react(element, data, layout, { displayModeBar: false, responsive: true });
  if (isNew) new ResizeObserver(() => { if (element.clientWidth) Plotly.Plots.resize(element); }).observe(element);
  if (isNew && click) element.on("plotly_click", (event) => click(event.points[0].customdata));
}

export function redraw() {
  for (const [element, build] of drawn) {
    if (element.isConnected) draw(element, build);
    else drawn.delete(element);
  }
}
onLanguage(redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

function axis(title) {
  const line = colour("line");
  return { title: { text: escaped(title), standoff: 8 }, automargin: true, gridcolor: line, linecolor: line, zerolinecolor: line, nticks: 6 };
}

function frame(height) {
  return {
    height, margin: { l: 8, r: 8, t: 8, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
  };
}

/** Terms of the objective over the epochs, each a {name, values}. */
export function curves(element, terms, epochWord) {
  return draw(element, () => {
    const colours = ["blue", "orange", "green", "soft"].map(colour);
    const every = terms.flatMap(({ values }) => values).filter((value) => value !== null);
    const [least, most] = [every.reduce((one, other) => Math.min(one, other)), every.reduce((one, other) => Math.max(one, other))];
    const log = least > 0 && most > 20 * least;
    const data = terms.map(({ name, values }, place) => {
      const kept = thinned(values);
      return {
        type: "scatter", mode: values.length < 3 ? "lines+markers" : "lines", name: escaped(name),
        x: kept.map((epoch) => epoch + 1), y: kept.map((epoch) => values[epoch]), line: { color: colours[place % 4], width: 1.8 },
      };
    });
    const layout = { ...frame(280), xaxis: axis(epochWord()), yaxis: { ...axis(""), ...(log ? { type: "log" } : {}) }, showlegend: true };
    return { data, layout };
  });
}

/** Lines above one another over one x axis: `lanes` are lists of {name, values, colour, dash}, the first names the lane.
 *  `spans` [first, last] are shaded through all of them; `level` crosses the last one; `flagged` marks positions in it. */
export function lines(element, { x, xTitle, lanes, spans = [], level = null, flagged = [], logLast = false, pick = null }) {
  return draw(element, () => {
    const shadeColour = colour("shade");
    const layout = { ...frame(70 + Math.max(200, 130 * lanes.length)), showlegend: lanes.some((lane) => lane.length > 1) };
    const isTime = typeof x[0] === "string";
    layout.xaxis = { ...axis(xTitle()), ...(isTime ? { type: "date" } : {}) };
    const data = [];
    lanes.forEach((lane, place) => {
      const name = place ? `y${place + 1}` : "y";
      const last = place === lanes.length - 1;
      const gap = last ? 0 : 0.14 / lanes.length;
      layout[`yaxis${place ? place + 1 : ""}`] = {
        ...axis(lane[0].name), domain: [Math.max(0, 1 - (place + 1) / lanes.length) + gap, 1 - place / lanes.length],
        ...(last && logLast ? { type: "log" } : {}),
      };
      for (const line of lane) {
        const kept = thinned(line.values);
        data.push({
          type: "scatter", mode: line.mode ?? "lines", name: escaped(line.name), yaxis: name, showlegend: place === 0 && lane.length > 1,
          x: kept.map((row) => x[row]), y: kept.map((row) => line.values[row]), customdata: kept,
          line: { color: colour(line.colour ?? "blue"), width: 1.5, dash: line.dash ?? "solid" },
          marker: { color: colour(line.colour ?? "blue"), size: 4, opacity: 0.55 },
        });
      }
      if (last) layout.xaxis.anchor = name;
      if (last && flagged.length) {
        const kept = flagged.slice(0, MOST_POINTS);
        data.push({
          type: "scatter", mode: "markers", yaxis: name, showlegend: false, customdata: kept, hoverinfo: "x+y",
          x: kept.map((row) => x[row]), y: kept.map((row) => lane[0].values[row]),
          marker: { color: colour("orange"), size: 8, symbol: "diamond" },
        });
      }
      if (last && level !== null) {
        layout.shapes = [...(layout.shapes ?? []), {
          type: "line", xref: "paper", yref: name, x0: 0, x1: 1, y0: level, y1: level, line: { color: colour("ink"), width: 1, dash: "dot" },
        }];
      }
    });
    const shades = spans.slice(0, MOST_SPANS).map(([first, end]) => ({
      type: "rect", yref: "paper", y0: 0, y1: 1, x0: x[first], x1: x[end], fillcolor: shadeColour,
      line: { color: colour("orange"), width: 0.5 }, layer: "below",
    }));
    layout.shapes = [...(layout.shapes ?? []), ...shades];
    return { data, layout, click: pick };
  });
}

/** Positions to draw of a long course: the smallest and the largest of each stretch, in order. */
export function thinned(values, most = MOST_POINTS) {
  if (values.length <= most) return Array.from(values, (_, place) => place);
  const kept = new Set();
  const stretches = most / 2;
  for (let stretch = 0; stretch < stretches; stretch += 1) {
    const start = Math.floor((stretch * values.length) / stretches);
    const end = Math.floor(((stretch + 1) * values.length) / stretches);
    let low = start;
    let high = start;
    for (let place = start; place < end; place += 1) {
      if (values[place] < values[low]) low = place;
      if (values[place] > values[high]) high = place;
    }
    kept.add(low).add(high);
  }
  return [...kept].sort((one, other) => one - other);
}
