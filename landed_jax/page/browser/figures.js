// A chart with its caption, the choice of what is shown, and its numbers as a table.

let figures = 0;

function figureOf(block, built, key, choose) {
  const frame = built.frames[block.frame];
  const place = make("div", { class: "chart" });
  const drawing = new Drawing(place, page.charts[`${key}/${block.chart}`], `${key}/${block.chart}/${rowsOf(frame).length}`);
  const measures = block.measures.length ? block.measures : [[block.columns[1].key, block.columns[1].title]];
  const says = make("p", { class: "says" }, block.says);
  const figure = make("figure", {}, make("figcaption", {}, block.title),
    ...chooser(measures, (measure) => show(measure)), place, says, asTable(block, frame, choose));
  const opened = block.drill && drillOf(block.drill, built, key, choose);
  drawing.columns = block.columns;
  drawing.open = (row) => {
    drawing.choose(row._row);
    choose(frame, row, block.columns);
    if (opened) opened.open(row);
  };
  show(measures[0]);
  return opened ? make("div", { class: "beside" }, figure, opened.figure) : figure;

  function show([measure, title]) {
    drawing.show(measured(rowsOf(frame), measure, title), `${block.title}: ${title}. ${block.says}`);
  }
}

// A select of what a chart shows, where there is a choice.
function chooser(measures, show) {
  if (measures.length < 2) return [];
  const select = make("select", {}, ...measures.map(([key, title]) => make("option", { value: key }, title)));
  select.addEventListener("change", () => show(measures[select.selectedIndex]));
  return [make("div", { class: "controls" }, make("label", {}, "Shown ", select))];
}

function asTable(block, frame, choose) {
  const details = make("details", {}, make("summary", {}, "Numbers as a table"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      details.append(tableOf({ caption: block.title, columns: block.columns }, frame, choose));
    }
  });
  return details;
}

// What a mark opens: rows of another frame that agree with the mark's row.
function drillOf(drill, built, key, choose) {
  const frame = built.frames[drill.frame];
  const value = (row) => JSON.stringify(drill.on.map((column) => row[column]));
  const sums = new Map();
  for (const row of rowsOf(frame)) sums.set(value(row), (sums.get(value(row)) || 0) + row[drill.measures[0][0]]);
  const select = make("select", {}, ...[...sums.keys()].map((one) =>
    make("option", { value: one }, JSON.parse(one).reverse().join(" "))));
  const place = make("div", { class: "chart" });
  const drawing = new Drawing(place, page.charts[`${key}/${drill.chart}`], `${key}/${drill.chart}/drill`);
  const says = make("p", { class: "says", "aria-live": "polite" });
  const caption = make("figcaption", {}, make("label", {}, `${drill.title} `, select));
  const table = make("div");
  let measure = drill.measures[0];
  const figure = make("figure", { class: "drill", id: `drill-${figures++}` }, caption,
    ...chooser(drill.measures, (one) => { measure = one; show(); }), place, says, table);
  drawing.columns = drill.columns;
  drawing.open = (row) => {
    drawing.choose(row._row);
    choose(frame, row, drill.columns);
  };
  select.addEventListener("change", show);
  select.value = [...sums].reduce((a, b) => (Math.abs(b[1]) > Math.abs(a[1]) ? b : a))[0];
  show();
  return { figure, open };

  function open(row) {
    if (!sums.has(value(row))) return;
    select.value = value(row);
    show();
  }

  function show() {
    const inside = rowsOf(frame).filter((row) => value(row) === select.value);
    const some = inside.slice(0, drill.most);
    const name = select.selectedOptions[0].textContent;
    says.textContent = `${some.length} of ${inside.length} parts of ${name}, the largest first.`;
    drawing.show(measured(some, ...measure), `${drill.title} ${name}: ${measure[1]}`);
    table.replaceChildren(asTable({ title: `${drill.title} ${name}`, columns: drill.columns }, { ...frame, rows: inside }, choose));
  }
}
