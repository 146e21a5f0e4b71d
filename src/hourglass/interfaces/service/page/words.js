// The page's words in the reader's language. An element remembers its word, so that a switch changes it where it stands.

const LANGUAGES = ["en", "zh"];
const words = {};
const listeners = new Set();

export const language = () => document.documentElement.lang;

/** What a word says now; {name} in it is replaced by values.name. */
export function word(key, values = {}) {
  const text = words[language()]?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Give an element a word, or one of its attributes. */
export function say(element, key, values = {}, attribute = "") {
  element.setAttribute(attribute ? "data-label-word" : "data-word", key);
  element.wordValues = values;
  put(element, key, attribute);
}

function put(element, key, attribute) {
  const text = word(key, element.wordValues ?? {});
  if (attribute) element.setAttribute(attribute, text);
  else element.textContent = text;
}

/** Called after each switch of the language, until it gives false. */
export const onLanguage = (listener) => listeners.add(listener);

export async function speak(chosen) {
  words[chosen] ??= await (await fetch(new URL(`words.${chosen}.json`, import.meta.url))).json();
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-word]")) put(element, element.dataset.word);
  for (const element of document.querySelectorAll("[data-label-word]")) put(element, element.dataset.labelWord, "aria-label");
  for (const listener of listeners) if (listener() === false) listeners.delete(listener);
}

export function firstLanguage() {
  const kept = localStorage.getItem("language");
  if (LANGUAGES.includes(kept)) return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}
