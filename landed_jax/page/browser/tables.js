// Tables that are sorted by a click on a heading and filtered by typing.

const FEW = 25; // rows at first: a long table is opened by its button

function tableOf(block, frame, choose) {
  const state = { key: null, descending: true, filter: "", all: false };
  const body = make("tbody");
  const status = make("p", { class: "status", role: "status" });
  const more = make("button", { type: "button", class: "more", onclick: () => { state.all = true; fill(); } });
  const heads = block.columns.map((column) => heading(column));
  const table = make("table", {},
    make("caption", {}, make("span", {}, block.caption)),
    make("thead", {}, make("tr", {}, ...heads)),
    body);
  const filter = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  filter.addEventListener("input", () => { state.filter = filter.value.toLowerCase(); fill(); });
  const long = rowsOf(frame).length > 5;
  const controls = make("div", { class: "controls" }, make("label", {}, "Filter rows ", filter), status);
  const scroll = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": block.caption }, table);
  const legends = block.columns.filter((column) => column.legend);
  const notes = legends.length
    ? [make("dl", { class: "legend" }, ...legends.flatMap((c) => [make("dt", {}, c.title), make("dd", {}, c.legend)]))]
    : [];
  fill();
  return make("div", { class: "table" }, ...(long ? [controls] : []), scroll, more, ...notes);

  function heading(column) {
    const button = make("button", { type: "button", onclick: () => sort(column.key) }, column.title);
    const cell = make("th", { scope: "col", "aria-sort": "none", class: column.form === "text" ? "left" : "" }, button);
    cell.dataset.key = column.key;
    return cell;
  }

  function sort(key) {
    state.descending = state.key === key ? !state.descending : column(key).form !== "text";
    state.key = key;
    for (const cell of heads) {
      const is = cell.dataset.key === key;
      cell.setAttribute("aria-sort", !is ? "none" : state.descending ? "descending" : "ascending");
    }
    fill();
  }

  function column(key) {
    return block.columns.find((one) => one.key === key);
  }

  function ordered() {
    const rows = rowsOf(frame).filter((row) =>
      !state.filter || block.columns.some((one) => shown(row, one).toLowerCase().includes(state.filter)));
    if (state.key === null) return rows;
    const sign = state.descending ? -1 : 1;
    return rows.slice().sort((a, b) => sign * compared(a[state.key], b[state.key], state.descending));
  }

  function fill() {
    const rows = ordered();
    const part = state.all ? rows : rows.slice(0, FEW);
    body.replaceChildren(...part.map(line));
    status.textContent = `${rows.length} of ${rowsOf(frame).length} rows`;
    more.textContent = `Show all ${rows.length} rows`;
    more.hidden = part.length === rows.length;
  }

  function line(row) {
    return make("tr", {}, ...block.columns.map((one, at) => {
      if (at > 0) {
        const cell = make("td", { class: one.form === "text" ? "left" : "" }, shown(row, one));
        if (typeof row[one.key] === "number") cell.title = exact(row[one.key]);
        return cell;
      }
      const mark = make("button", { type: "button", class: "mark", onclick: () => choose(frame, row, block.columns) });
      mark.textContent = shown(row, one);
      return make("th", { scope: "row" }, mark);
    }));
  }
}

function shown(row, column) {
  return formatted(row[column.key], column.form);
}

// Rows without a value come last, whichever way the others go.
function compared(a, b, descending) {
  if (a === null || b === null) return a === b ? 0 : (a === null) === descending ? -1 : 1;
  return typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
}
