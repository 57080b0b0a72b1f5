// Numbers and texts as they are shown. Everything goes into the page as text, never as markup.

const MINUS = "−";

function exact(value) {
  return value === null || value === undefined ? "" : String(value);
}

function formatted(value, form) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (form === "count") return String(value);
  if (form === "error") return value === 0 ? "0" : value.toExponential(1);
  if (form === "percent") return signed((100 * value).toFixed(2)) + " %";
  if (form === "significant") return signed(String(Number(value.toPrecision(3))));
  return signed(value.toFixed(4));
}

function signed(digits) {
  return digits.replace("-", MINUS);
}

// `head {layer}.{head}` with a row's own columns in place of the braces.
function filled(template, row) {
  return template.replace(/\{(\w+)\}/g, (_, name) => exact(row[name]));
}

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
