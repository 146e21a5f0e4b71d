// What is asked of a model about all samples: their scores, once, and their codes, as numbers.

import * as service from "./service.js";

/** What `detect` finds at the model's own false-alarm rate. */
export async function judged(subject) {
  subject.found ??= await service.ask(subject.model, "detect", { upload: subject.upload.id });
  return subject.found;
}

/** The codes of all samples: {count, width, values, names}. Rows of a table come as binary, which is many times faster. */
export async function codesOf({ model, upload }, number = null) {
  const query = number ? { upload: upload.id, start: 0, number } : { upload: upload.id };
  if (upload.modality === "table") return array(await (await service.askBlob(model, "encode", query, "application/x-npy")).arrayBuffer());
  const answer = await service.ask(model, "encode", query);
  const places = answer.columns.flatMap((column, place) => (/^latent\d+$/.test(column) ? [place] : []));
  const [count, width] = [answer.rows.length, places.length];
  const values = new Float64Array(count * width);
  answer.rows.forEach((row, at) => places.forEach((place, d) => { values[at * width + d] = row[place]; }));
  return { count, width, values, names: answer.columns[0].startsWith("latent") ? null : answer.rows.map((row) => String(row[0])) };
}

/** A matrix of an .npy file of 8-byte floats. */
function array(content) {
  const text = new TextDecoder("latin1").decode(content.slice(10, 10 + new DataView(content).getUint16(8, true)));
  const [count, width] = text.match(/'shape': \((\d+), (\d+)\)/).slice(1).map(Number);
  const given = new Float64Array(content.slice(10 + text.length));
  if (!/'fortran_order': True/.test(text)) return { count, width, values: given };
  return { count, width, values: Float64Array.from(given, (_, place) => given[(place % width) * count + Math.floor(place / width)]) };
}
