// The page: choosers of what is shown, contents, sections, theme.

const page = JSON.parse(document.getElementById("data").textContent);
let current = page.results[0];

// Results of the same prompt and model at other positions, by their position; the shown target is kept where it can be.
function positionsOf(result) {
  const free = ["Position", "Token", "Target", "Number"];
  const same = (other) => other.kind === result.kind && other.prompt === result.prompt && other.position !== null
    && page.choices.every((name) => free.includes(name) || other.choice[name] === result.choice[name]);
  const found = new Map();
  for (const other of page.results.filter(same)) {
    if (!found.has(other.position) || other.choice.Target === result.choice.Target) found.set(other.position, other);
  }
  return found;
}

// A select for each thing in which results differ; those that come first limit the choice in those behind them.
function choosers() {
  const place = document.getElementById("choosers");
  const before = document.activeElement && document.activeElement.dataset.name;
  let fitting = page.results;
  place.replaceChildren();
  for (const name of page.choices) {
    const values = [...new Set(fitting.map((result) => result.choice[name]).filter((value) => value !== undefined))];
    const value = current.choice[name];
    if (values.length > 1) {
      const select = make("select", { "data-name": name }, ...values.map((one) => make("option", {}, one)));
      select.selectedIndex = values.indexOf(value);
      const here = fitting;
      select.addEventListener("change", () => go(nearest(here, name, values[select.selectedIndex])));
      place.append(make("label", {}, `${name} `, select));
      if (name === before) select.focus();
    }
    fitting = fitting.filter((result) => result.choice[name] === value);
  }
}

// Of the results with a value, the one that agrees with the current one in most other choices.
function nearest(results, name, value) {
  const agreeing = (result) => page.choices.filter((one) => result.choice[one] === current.choice[one]).length;
  return results.filter((result) => result.choice[name] === value)
    .reduce((a, b) => (agreeing(b) > agreeing(a) ? b : a));
}

function go(result) {
  current = result;
  const main = document.querySelector("main");
  main.style.minHeight = `${main.offsetHeight}px`; // the page does not jump
  document.getElementById("subject").textContent = result.title;
  document.getElementById("contents").replaceChildren(...result.sections.map((built) =>
    make("li", {}, make("a", { href: `#${built.name}` }, built.title))));
  main.replaceChildren(...result.sections.map((built, at) => sectionOf(built, result, at === 0)));
  choosers();
  requestAnimationFrame(() => { main.style.minHeight = ""; });
}

function theme() {
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const say = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    say();
    redraw();
  });
  dark.addEventListener("change", () => { say(); redraw(); });
  say();
}

document.body.append(tip.element);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hide(); });
theme();
go(current);
