// Pictures and spectrograms on canvas.

import { make, shown } from "./elements.js";

/** A picture's pixels, from a file. */
export async function fromBlob(blob) {
  const bitmap = await createImageBitmap(blob);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** A picture's pixels, from nested lists (height, width) or (height, width, channels) of 0 to 255, or to 1 for floats. */
export function fromArray(rows) {
  const flat = rows.flat(2);
  const low = Math.min(0, least(flat));
  const high = most(flat);
  const scale = 255 / (low < 0 ? high - low : high <= 1 ? 1 : high <= 255 ? 255 : high);
  const image = new ImageData(rows[0].length, rows.length);
  rows.forEach((row, y) => row.forEach((pixel, x) => {
    const [red, green, blue] = Array.isArray(pixel) && pixel.length > 2 ? pixel : Array(3).fill(Array.isArray(pixel) ? pixel[0] : pixel);
    image.data.set([(red - low) * scale, (green - low) * scale, (blue - low) * scale, 255], 4 * (y * image.width + x));
  }));
  return image;
}

const least = (values) => values.reduce((one, other) => Math.min(one, other), Infinity);
const most = (values) => values.reduce((one, other) => Math.max(one, other), -Infinity);

/** Where two pictures differ, in the colours of `shade`; the largest difference is the strongest. */
export function difference(one, other) {
  const image = new ImageData(one.width, one.height);
  const gaps = new Float32Array(one.width * one.height);
  if (one.width !== other.width || one.height !== other.height) return image;
  for (let place = 0; place < gaps.length; place += 1) {
    for (let channel = 0; channel < 3; channel += 1) gaps[place] += Math.abs(one.data[4 * place + channel] - other.data[4 * place + channel]);
  }
  const largest = Math.max(most(gaps), 1);
  gaps.forEach((gap, place) => image.data.set([...shade(gap / largest), 255], 4 * place));
  return image;
}

/** A colour from dark blue over orange to white for 0 to 1: light and dark alone carry the meaning. */
export function shade(share) {
  const stops = [[13, 17, 38], [86, 40, 109], [203, 71, 70], [251, 155, 50], [252, 253, 191]];
  const place = Math.min(Math.max(share, 0), 0.9999) * (stops.length - 1);
  const [from, to] = [stops[Math.floor(place)], stops[Math.floor(place) + 1]];
  return from.map((value, channel) => value + (to[channel] - value) * (place % 1));
}

export function pictured(image, label, values = {}) {
  const canvas = make("canvas", { width: image.width, height: image.height, role: "img", label, values });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const SIZE = 1024;

/** A player of some sound with its spectrogram above the time axis. */
export async function take(blob, name, rate, key = "hertz", range = null) {
  const sound = await new OfflineAudioContext(1, 1, Math.min(Math.max(rate, 8000), 96000)).decodeAudioData(await blob.arrayBuffer());
  const levels = spectrogram(sound.getChannelData(0), Math.min(900, Math.ceil(sound.length / 64)));
  const top = range ?? levels.top;
  const canvas = make("canvas", { className: "spectrogram", width: levels.columns, height: levels.rows, role: "img", label: "spectrogram_of", values: { name } });
  const image = new ImageData(levels.columns, levels.rows);
  levels.decibels.forEach((level, place) => image.data.set([...shade(1 + (level - top) / 80), 255], 4 * place));
  canvas.getContext("2d").putImageData(image, 0, 0);
  const player = make("audio", { controls: true, src: URL.createObjectURL(blob), "aria-label": name });
  const axis = make("div", { className: "axis" }, ...[0, 0.25, 0.5, 0.75, 1].map((part) => make("span", { textContent: `${(part * sound.duration).toPrecision(3)} s` })));
  const caption = make("figcaption", {}, make("strong", { textContent: `${name} ` }), make("span", { word: key, values: { top: shown(sound.sampleRate / 2000) } }));
  return { top, figure: make("figure", {}, caption, player, canvas, axis) };
}

/** Levels in decibels, (rows, columns) with high frequencies first, of a course of sound. */
function spectrogram(sound, columns) {
  const rows = SIZE / 4;
  const decibels = new Float32Array(rows * columns);
  const window = Float32Array.from({ length: SIZE }, (_, place) => 0.5 - 0.5 * Math.cos((2 * Math.PI * place) / SIZE));
  let top = -200;
  for (let column = 0; column < columns; column += 1) {
    const start = Math.max(0, Math.floor((column / columns) * (sound.length - SIZE)));
    const real = Float32Array.from(window, (weight, place) => weight * (sound[start + place] ?? 0));
    const power = powers(real);
    for (let row = 0; row < rows; row += 1) {
      const level = 10 * Math.log10(Math.max(power[2 * row], power[2 * row + 1]) + 1e-12);
      decibels[(rows - 1 - row) * columns + column] = level;
      if (level > top) top = level;
    }
  }
  return { decibels, rows, columns, top };
}

/** The power spectrum of real numbers, as many as a power of two: Cooley and Tukey (1965), in place. */
function powers(real) {
  const count = real.length;
  const imaginary = new Float32Array(count);
  for (let place = 1, mirror = 0; place < count; place += 1) {
    let bit = count >> 1;
    for (; mirror & bit; bit >>= 1) mirror ^= bit;
    mirror ^= bit;
    if (place < mirror) [real[place], real[mirror]] = [real[mirror], real[place]];
  }
  for (let size = 2; size <= count; size <<= 1) {
    const half = size >> 1;
    for (let offset = 0; offset < half; offset += 1) {
      const cosine = Math.cos((-2 * Math.PI * offset) / size);
      const sine = Math.sin((-2 * Math.PI * offset) / size);
      for (let even = offset; even < count; even += size) {
        const odd = even + half;
        const a = real[odd] * cosine - imaginary[odd] * sine;
        const b = real[odd] * sine + imaginary[odd] * cosine;
        real[odd] = real[even] - a;
        imaginary[odd] = imaginary[even] - b;
        real[even] += a;
        imaginary[even] += b;
      }
    }
  }
  return real.slice(0, count / 2).map((value, place) => value * value + imaginary[place] * imaginary[place]);
}
