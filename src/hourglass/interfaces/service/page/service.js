// Talk with the service. Answers are JSON, bytes, or events; a refusal becomes an Error with `where` and `how`.

import { word } from "./words.js";

let token = "";
let askToken = null;

/** Called to get a token from the reader where the service wants one; it resolves with it. */
export const onToken = (ask) => { askToken = ask; };

async function send(method, path, { body, type, accept, headers = {} } = {}) {
  const given = { ...headers };
  if (token) given.Authorization = `Bearer ${token}`;
  if (type) given["Content-Type"] = type;
  if (accept) given.Accept = accept;
  const answer = await fetch(path, { method, body, headers: given }).catch(() => { throw new Error(word("unreachable")); });
  if (answer.status === 401 && askToken) {
    token = await askToken();
    return send(method, path, { body, type, accept, headers });
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function refusal(answer) {
  const told = await answer.json().catch(() => ({ what: `HTTP ${answer.status}` }));
  return Object.assign(new Error(told.what), { where: told.where, how: told.how, status: answer.status });
}

const json = async (...request) => (await send(...request)).json();
const named = (name) => `/v1/models/${encodeURIComponent(name)}`;

export const get = (path) => json("GET", path);
export const examples = async () => (await get("/v1/examples")).examples;
export const models = async () => (await get("/v1/models")).models;
export const about = (model) => get(named(model));
export const takeExample = (name) => json("POST", `/v1/examples/${encodeURIComponent(name)}`);
export const rows = (upload, start, number) => get(`/v1/uploads/${upload}/rows?start=${start}&number=${number}`);
export const fit = (request) => json("POST", "/v1/fits", { body: JSON.stringify(request), type: "application/json" });
export const stop = (fit) => json("POST", `/v1/fits/${fit}/stop`);
export const cancel = (fit) => json("DELETE", `/v1/fits/${fit}`);

export function upload(files) {
  const form = new FormData();
  for (const file of files) form.append("file", file);
  return json("POST", "/v1/uploads", { body: form });
}

export async function file(upload, place) {
  return (await send("GET", `/v1/uploads/${upload}/files/${place}`)).blob();
}

/** What a verb of a model makes: of an upload by `query.upload`, of `content` (rows as JSON), or of nothing. */
export const ask = (model, verb, query = {}, content = null) => json("POST", address(model, verb, query), sent(content));

export async function askBlob(model, verb, query, accept, content = null) {
  return (await send("POST", address(model, verb, query), { ...sent(content), accept })).blob();
}

function address(model, verb, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return `${named(model)}/${verb}?${new URLSearchParams(given)}`;
}

const sent = (content) => (content === null ? {} : { body: JSON.stringify(content), type: "application/json" });

export const modelFile = async (model) => (await send("GET", `${named(model)}/file`)).blob();

/** Every event of a fit as [name, facts], from the first one on; a connection that breaks is taken up again. */
export async function* events(fit) {
  let last = 0;
  for (let attempt = 0; attempt < 5; attempt += 1) {
    try {
      const answer = await send("GET", `/v1/fits/${fit}/events`, { headers: { "Last-Event-ID": String(last) } });
      for await (const [id, name, facts] of parsed(answer.body.pipeThrough(new TextDecoderStream()))) {
        last = id;
        attempt = 0;
        yield [name, facts];
        if (["done", "failed", "cancelled", "interrupted"].includes(name)) return;
      }
    } catch (error) {
      if (error.status) throw error;
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
  throw new Error(word("broke"));
}

async function* parsed(stream) {
  let waiting = "";
  for await (const piece of { [Symbol.asyncIterator]: () => pieces(stream.getReader()) }) {
    const blocks = (waiting + piece).split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
      if (lines.event) yield [Number(lines.id), lines.event, JSON.parse(lines.data)];
    }
  }
}

async function* pieces(reader) {
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}
