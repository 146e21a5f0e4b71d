// The map of the codes: up to millions of points on one canvas, written pixel by pixel, so that moving it stays smooth.

import { make, shown } from "./elements.js";
import { colour } from "./figures.js";
import { word } from "./words.js";

const SHADES = 32;
const FEW = 5000; // so many points are drawn as dots, more of them as pixels
const STILL = 6; // pixels that a pointer may move in a click or a tap

/** Codes {count, width, values} along their two principal axes: {x, y, shares}, by power iteration. */
export function plane(codes) {
  const { count, width, values } = codes;
  if (width === 1) return { x: values, y: new Float64Array(count), shares: [1, 0] };
  const mean = new Float64Array(width);
  for (let row = 0; row < count; row += 1) for (let d = 0; d < width; d += 1) mean[d] += values[row * width + d] / count;
  const spread = Array.from({ length: width }, () => new Float64Array(width));
  for (let row = 0; row < count; row += 1) {
    for (let a = 0; a < width; a += 1) {
      const one = values[row * width + a] - mean[a];
      for (let b = 0; b <= a; b += 1) spread[a][b] += (one * (values[row * width + b] - mean[b])) / count;
    }
  }
  for (let a = 0; a < width; a += 1) for (let b = 0; b < a; b += 1) spread[b][a] = spread[a][b];
  const total = spread.reduce((sum, row, place) => sum + row[place], 0) || 1;
  const [first, second] = [principal(spread), principal(spread)];
  const along = (axis) => Float64Array.from({ length: count }, (_, row) => {
    let sum = 0;
    for (let d = 0; d < width; d += 1) sum += (values[row * width + d] - mean[d]) * axis.vector[d];
    return sum;
  });
  return { x: along(first), y: along(second), shares: [first.variance / total, second.variance / total] };
}

/** The principal axis of a covariance, which is then taken out of it. */
function principal(spread) {
  const width = spread.length;
  let vector = Float64Array.from({ length: width }, (_, place) => 1 + 0.01 * place);
  let variance = 0;
  for (let round = 0; round < 200; round += 1) {
    const next = spread.map((row) => row.reduce((sum, value, place) => sum + value * vector[place], 0));
    variance = Math.hypot(...next);
    if (variance < 1e-30) break;
    vector = next.map((value) => value / variance);
  }
  for (let a = 0; a < width; a += 1) for (let b = 0; b < width; b += 1) spread[a][b] -= variance * vector[a] * vector[b];
  return { vector, variance };
}

/** The map of points {x, y} coloured by `scores` (or none); `name(row)` in words; `pick(row)` on a click. */
export function map(points, scores, name, pick) {
  const canvas = make("canvas", { tabIndex: 0, role: "img", label: "map_label" });
  const told = make("output", {});
  const element = make("div", { className: "map" }, canvas, told);
  const shades = scores ? shadesOf(scores) : null;
  const order = scores ? bySize(shades) : null;
  const view = { x: 0, y: 0, scale: 1, fitted: false };
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(canvas, points, shades, order, view); });
  };
  new ResizeObserver(later).observe(canvas);
  move(canvas, view, later);
  const tell = (row) => { told.textContent = row < 0 ? "" : `${name(row)}${scores ? ` · ${word("score")} ${shown(scores[row])}` : ""}`; };
  const under = (event) => nearest(points, view, event.offsetX, event.offsetY);
  let down = null;
  canvas.addEventListener("pointermove", (event) => tell(event.buttons ? -1 : under(event)));
  canvas.addEventListener("pointerdown", (event) => { down = event; });
  canvas.addEventListener("click", (event) => { // a finger comes without having hovered
    const isDrag = down && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) > STILL;
    const row = isDrag ? -1 : under(event);
    tell(row);
    if (row >= 0) pick?.(row);
  });
  element.repaint = later;
  return element;
}

function shadesOf(scores) {
  const sorted = Float64Array.from(scores).sort();
  const [low, high] = [sorted[Math.floor(0.1 * sorted.length)], sorted[Math.floor(0.98 * (sorted.length - 1))]];
  return Uint8Array.from(scores, (score) => Math.round((SHADES - 1) * Math.min(1, Math.max(0, (score - low) / (high - low || 1)))));
}

/** Points so that the odd ones come last, and are seen. */
function bySize(shades) {
  const places = new Uint32Array(SHADES + 1);
  for (const shade of shades) places[shade + 1] += 1;
  for (let shade = 0; shade < SHADES; shade += 1) places[shade + 1] += places[shade];
  const order = new Uint32Array(shades.length);
  shades.forEach((shade, row) => { order[places[shade]++] = row; });
  return order;
}

function fit(points, view, width, height) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let row = 0; row < points.x.length; row += 1) {
    left = Math.min(left, points.x[row]); right = Math.max(right, points.x[row]);
    low = Math.min(low, points.y[row]); high = Math.max(high, points.y[row]);
  }
  view.scale = 0.92 * Math.min(width / (right - left || 1), height / (high - low || 1));
  view.x = width / 2 - (view.scale * (left + right)) / 2;
  view.y = height / 2 + (view.scale * (low + high)) / 2;
  view.fitted = true;
}

function paint(canvas, points, shades, order, view) {
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  if (!view.fitted) fit(points, view, width, height);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  if (points.x.length <= FEW) {
    context.scale(ratio, ratio);
    dots(context, points, shades, order, view);
    canvas.dataset.drawn = String(Number(canvas.dataset.drawn ?? 0) + 1);
    return;
  }
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = palette();
  const count = points.x.length;
  const size = Math.max(2, Math.round(ratio * (count > 20_000 ? 2 : 3)));
  for (let place = 0; place < count; place += 1) {
    const row = order ? order[place] : place;
    const left = Math.round((points.x[row] * view.scale + view.x) * ratio - size / 2);
    const top = Math.round((view.y - points.y[row] * view.scale) * ratio - size / 2);
    if (left < 0 || top < 0 || left + size >= canvas.width || top + size >= canvas.height) continue;
    const ink = colours[shades ? shades[row] : 0];
    for (let y = top; y < top + size; y += 1) {
      const start = y * canvas.width + left;
      for (let x = start; x < start + size; x += 1) pixels[x] = ink;
    }
  }
  context.putImageData(image, 0, 0);
  canvas.dataset.drawn = String(Number(canvas.dataset.drawn ?? 0) + 1);
}

function dots(context, points, shades, order, view) {
  const colours = palette();
  context.globalAlpha = 0.8;
  for (let place = 0; place < points.x.length; place += 1) {
    const row = order ? order[place] : place;
    const ink = colours[shades ? shades[row] : 0];
    context.fillStyle = `rgb(${ink & 255} ${(ink >> 8) & 255} ${(ink >> 16) & 255})`;
    context.beginPath();
    context.arc(points.x[row] * view.scale + view.x, view.y - points.y[row] * view.scale, 3, 0, 7);
    context.fill();
  }
}

/** Colours from blue over yellow to orange, as a pixel's 32 bits (alpha, blue, green, red). */
function palette() {
  const dark = colour("page").match(/\d+/g).map(Number)[0] < 128;
  const stops = dark ? [[86, 180, 233], [230, 159, 0], [255, 120, 40]] : [[0, 114, 178], [230, 159, 0], [213, 94, 0]];
  return Uint32Array.from({ length: SHADES }, (_, shade) => {
    const place = Math.min(1.9999, (2 * shade) / (SHADES - 1));
    const [from, to] = [stops[Math.floor(place)], stops[Math.floor(place) + 1]];
    const [red, green, blue] = from.map((value, channel) => Math.round(value + (to[channel] - value) * (place % 1)));
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

function nearest(points, view, x, y) {
  let [best, row] = [15 * 15, -1];
  for (let place = 0; place < points.x.length; place += 1) {
    const across = points.x[place] * view.scale + view.x - x;
    const down = view.y - points.y[place] * view.scale - y;
    const gap = across * across + down * down;
    if (gap < best) [best, row] = [gap, place];
  }
  return row;
}

/** Drag, wheel, two fingers; arrows, + and -, 0 for all of it. */
function move(canvas, view, later) {
  const fingers = new Map();
  const zoom = (factor, x, y) => {
    view.x = x + (view.x - x) * factor;
    view.y = y + (view.y - y) * factor;
    view.scale *= factor;
    later();
  };
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(1.0015 ** -event.deltaY, event.offsetX, event.offsetY); }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, event); canvas.setPointerCapture(event.pointerId); });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const other = [...fingers.values()].find((each) => each.pointerId !== event.pointerId);
    if (other) {
      const gap = (each) => Math.hypot(each.offsetX - other.offsetX, each.offsetY - other.offsetY) || 1;
      zoom(gap(event) / gap(before), other.offsetX, other.offsetY);
    } else {
      view.x += event.offsetX - before.offsetX;
      view.y += event.offsetY - before.offsetY;
      later();
    }
    fingers.set(event.pointerId, event);
  });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    const zooms = { "+": 1.25, "=": 1.25, "-": 0.8 };
    if (event.key in steps) { view.x += steps[event.key][0]; view.y += steps[event.key][1]; later(); }
    else if (event.key in zooms) zoom(zooms[event.key], canvas.clientWidth / 2, canvas.clientHeight / 2);
    else if (event.key === "0") { view.fitted = false; later(); }
    else return;
    event.preventDefault();
  });
}
