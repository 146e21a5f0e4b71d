"use strict";
// Draws every figure in the colours of the page, again when the page turns dark or light.
(() => {
  const palette = () => getComputedStyle(document.documentElement);
  const coarse = matchMedia("(pointer: coarse)").matches;

  // Colours are written as the names of the page's own variables: "--blue".
  const read = (text, style) =>
    JSON.parse(text, (key, value) =>
      /color$/.test(key) && typeof value === "string" && value.startsWith("--") ? style.getPropertyValue(value).trim() : value);

  const draw = (script) => {
    const style = palette();
    const { data, layout } = read(script.textContent, style);
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: style.getPropertyValue("--ink").trim() };
    layout.dragmode = coarse ? false : "zoom"; // a finger scrolls the page
    Plotly.react(script.previousElementSibling, data, layout, { displayModeBar: false, responsive: true });
  };

  const drawAll = () => document.querySelectorAll("script.figure").forEach(draw);
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
