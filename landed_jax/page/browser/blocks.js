// One function for each kind of block.

const BLOCKS = {
  text: (block) => make("p", {}, block.text),

  facts: (block, built, key, choose, result) => make("dl", { class: "facts" }, ...block.items.map(([name, value, form, path]) => {
    const shown = make("dd", {}, formatted(value, form));
    if (typeof value === "number") shown.title = exact(value);
    if (path) shown.dataset.path = path.startsWith("[") ? result.variable + path : path;
    return make("div", { class: form === "error" ? "closure" : "" }, make("dt", {}, name), shown);
  })),

  tokens: (block, built, key, choose, result) => {
    const frame = built.frames[block.frame];
    const rows = rowsOf(frame);
    const most = rows.reduce((size, row) => Math.max(size, Math.abs(row[block.column] || 0)), 0) || 1;
    const elsewhere = positionsOf(result);
    const columns = [{ key: "landed", title: "landed, all heads" }, { key: "share", title: "share of the value" }];
    const list = make("ol", { class: "tokens", "aria-label": "Tokens of the prompt" }, ...rows.map((row) => {
      const part = row[block.column];
      const inside = make("button", { type: "button", onclick: () => take(row) }, block.texts[row._row].slice(1, -1));
      inside.title = `${row.name}${part === null ? "" : `: ${exact(row.landed)}, ${formatted(part, "percent")} of the value`}`;
      if (part !== null) {
        inside.style.setProperty("--part", `${Math.round(45 * Math.abs(part) / most)}%`);
        inside.classList.add(part < 0 ? "negative" : "positive");
      }
      if (elsewhere.has(row._row)) inside.classList.add("account");
      if (row._row === block.position) inside.setAttribute("aria-current", "true");
      return make("li", {}, inside);
    }));
    if (block.target) list.append(make("li", { class: "target" }, "→ ", make("span", {}, block.target)));
    return make("div", {}, list, make("p", { class: "says" }, block.caption,
      elsewhere.size > 1 ? " Underlined tokens have an account of their own: click one to read it." : ""));

    function take(row) {
      if (elsewhere.has(row._row) && row._row !== block.position) go(elsewhere.get(row._row));
      else choose(frame, row, columns);
    }
  },

  chart: (block, built, key, choose) => figureOf(block, built, key, choose),

  table: (block, built, key, choose) => tableOf(block, built.frames[block.frame], choose),
};

const HINT = "Click a mark of a chart or the name of a row: its exact numbers, and the Python that finds them, stand here.";

// A section under its heading: blocks, then what was chosen, then how the numbers are made.
function sectionOf(built, result, first) {
  const key = `${result.kind}/${built.name}`;
  const chosen = make("output", { class: "chosen" });
  const heading = make("h2", { id: built.name }, built.title);
  const interactive = built.blocks.some((block) => ["chart", "table", "tokens"].includes(block.kind));
  if (first) chosen.append(make("span", { class: "hint" }, HINT));
  const blocks = built.blocks.map((block) => BLOCKS[block.kind](block, built, key, choose, result));
  return make("section", { "aria-labelledby": built.name }, heading, ...blocks, ...(interactive ? [chosen] : []), madeBy(result));

  function choose(frame, row, columns) {
    const numbers = columns.filter((column) => typeof row[column.key] === "number").map((column) => {
      const python = pythonOf(frame, row, column.key, result.variable);
      return make("li", {}, `${column.title}: `, make("b", {}, exact(row[column.key])),
        ...(python ? [" ", make("code", {}, python)] : []));
    });
    chosen.replaceChildren(make("strong", {}, row.name), make("ul", {}, ...numbers));
  }
}

function madeBy(result) {
  const lines = result.made.flatMap(([title, code]) => [make("p", {}, title), make("pre", { tabindex: "0" }, make("code", {}, code))]);
  return make("details", { class: "made" }, make("summary", {}, "How these numbers are made"), ...lines);
}
