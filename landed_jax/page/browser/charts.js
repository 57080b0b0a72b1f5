// Charts: Vega-Lite draws them; colours are the page's own, in light and in dark.

const drawn = new Set(); // what is drawn again in another theme
const LOW = 150; // pixels: a chart of few rows has higher ones
const heights = new Map(); // so that a chart that is drawn later moves nothing

function themed() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const text = { labelColor: of("--text"), titleColor: of("--muted"), titleFontWeight: "normal" };
  return {
    background: null,
    font: style.fontFamily,
    range: { diverging: of("--diverging").split(" "), category: of("--signs").split(" ") },
    axis: { ...text, gridColor: of("--line"), domainColor: of("--line"), tickColor: of("--line"), labelFontSize: 11 },
    legend: text,
    view: { stroke: null },
  };
}

function whenIdle(act) {
  if (window.requestIdleCallback) requestIdleCallback(act);
  else setTimeout(act, 1000); // Safari
}

class Drawing {
  constructor(place, specification, key) {
    Object.assign(this, { place, specification, key, view: null, rows: [], chosen: -1, open: null });
    place.style.minHeight = `${heights.get(key) || 120}px`;
    this.seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.start();
    }, { rootMargin: "500px" });
    this.seen.observe(place);
    whenIdle(() => this.start()); // for who prints the page
  }

  start() {
    if (this.started) return;
    this.seen.disconnect();
    this.started = true;
    drawn.add(this);
    this.draw();
  }

  show(rows, says) {
    Object.assign(this, { rows, says });
    if (this.started) this.draw();
  }

  async draw() {
    const specification = structuredClone(this.specification);
    specification.datasets = { rows: this.rows };
    specification.description = this.says;
    const { across, step } = specification.usermeta;
    const high = new Set(this.rows.map((row) => row[across])).size;
    specification.height = high * (step * high < LOW ? Math.min(2 * step, LOW / high) : step);
    for (const parameter of specification.params) {
      if (parameter.name === "limit") parameter.value = limitOf(this.rows);
      if (parameter.name === "chosen") parameter.value = this.chosen;
    }
    const how = { ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: false, config: themed() };
    const turn = (this.turn = (this.turn || 0) + 1);
    if (this.view) this.view.finalize();
    const { view } = await vegaEmbed(this.place, specification, how);
    if (turn !== this.turn) return view.finalize();
    this.view = view;
    view.addEventListener("click", (_, item) => this.#row(item, (row) => this.open && this.open(row)));
    view.addEventListener("mousemove", (event, item) => {
      tip.hide();
      this.#row(item, (row) => tip.show(event, row, this));
    });
    view.addEventListener("mouseout", () => tip.hide());
    this.place.style.minHeight = "";
    heights.set(this.key, this.place.offsetHeight);
  }

  #row(item, act) {
    const row = item && item.datum && this.rows.find((one) => one._row === item.datum._row);
    if (row) act(row);
  }

  choose(row) {
    this.chosen = row;
    if (this.view) this.view.signal("chosen", row).runAsync();
  }
}

function redraw() {
  for (const drawing of drawn) {
    if (drawing.place.isConnected) drawing.draw();
    else drawn.delete(drawing);
  }
}

// Exact numbers beside the pointer.
const tip = {
  element: make("div", { id: "tip", role: "tooltip" }),
  show(event, row, drawing) {
    const lines = drawing.columns
      .filter((column) => typeof row[column.key] === "number")
      .map((column) => make("div", {}, `${column.title}: `, make("b", {}, exact(row[column.key]))));
    this.element.replaceChildren(make("strong", {}, row.name), ...lines);
    this.element.style.display = "block";
    const { clientX: x, clientY: y } = event;
    const { offsetWidth: width, offsetHeight: height } = this.element;
    this.element.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
    this.element.style.top = `${y + height + 24 > innerHeight ? Math.max(4, y - height - 10) : y + 14}px`;
  },
  hide() {
    this.element.style.display = "none";
  },
};
