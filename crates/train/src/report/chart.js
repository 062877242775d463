/* Line charts in SVG, readable by eye, by pointer, by keyboard and as a table. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; text becomes text, whatever it holds. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

function svg(tag, attributes = {}, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A number with as many digits as a reader wants. */
function short(x, digits = 3) {
  if (x === null || x === undefined || !Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  if (size >= 1000 && size < 1e7) return Math.round(x).toLocaleString("en");
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return x.toExponential(Math.max(0, digits - 1)).replace(/\.?0+e/, "e");
  return String(Number(x.toPrecision(digits)));
}

/** Round values that cover low to high in about `count` steps. */
function linearTicks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const stride = Math.max(1, Math.ceil((last - first) / 6));
  const factors = last - first <= 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = first; power <= last; power += stride) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(3));
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  }
  return ticks.length > 1 ? ticks : linearTicks(low, high, 4).filter((x) => x > 0);
}

/** Ends of an axis around values. */
function span(values, { log, zero }) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value) || (log && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return null;
  if (zero && !log) [low, high] = [Math.min(0, low), Math.max(0, high)];
  if (log) return low === high ? [low / 2, high * 2] : [low / 1.08, high * 1.08];
  if (low === high) return [low - (Math.abs(low) || 1) * 0.5, high + (Math.abs(high) || 1) * 0.5];
  const room = (high - low) * 0.05;
  return [zero && low === 0 ? 0 : low - room, high + room];
}

/**
 * A chart that stays in its place and is drawn anew with every `draw(spec)`:
 * `x`, `y`: { label, log, zero, format }; `series`: [{ name, slot, points: [[x, y]…], width, opacity, dots, label, tell }];
 * `table()`: { head: […], rows: [[…]…] }; `summary`: what a screen reader is told.
 */
class Chart {
  constructor(host, title, height = 250) {
    this.height = height;
    this.cursor = null;
    this.svg = svg("svg", { role: "img", tabindex: "0" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.body = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}: numbers` });
    this.details = el("details", {}, el("summary", {}, `${title} as a table`), this.body);
    this.figure = el("figure", { class: "chart" }, el("h3", {}, title), this.svg, this.tip, this.details);
    this.title = title;
    host.append(this.figure);
    this.details.addEventListener("toggle", () => this.fillTable());
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.move(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("blur", () => this.move(null));
    new ResizeObserver(() => this.spec && this.paint()).observe(this.figure);
  }

  draw(spec) {
    // A place on one axis is none on another.
    if (this.spec?.x.label !== spec.x.label) this.cursor = null;
    this.spec = spec;
    this.svg.setAttribute("aria-label", `${this.title}. ${spec.summary}`);
    this.paint();
    if (this.details.open) this.fillTable();
  }

  /** What is drawn, and where: shared by painting and pointing. */
  layout() {
    const { spec } = this;
    const width = Math.max(220, this.svg.clientWidth || 600);
    const points = spec.series.flatMap((line) => line.points);
    const [x, y] = [span(points.map((p) => p[0]), spec.x), span(points.map((p) => p[1]), spec.y)];
    if (!x || !y) return { width };
    const box = { left: 54, top: 10, right: width - 24, bottom: this.height - 40 };
    const scale = ([low, high], log, from, to) => (value) => {
      const share = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
      return from + share * (to - from);
    };
    return {
      width, box, x, y,
      placeX: scale(x, spec.x.log, box.left, box.right),
      placeY: scale(y, spec.y.log, box.bottom, box.top),
    };
  }

  paint() {
    const layout = this.layout();
    this.last = layout;
    const { width, box } = layout;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    if (!box) {
      this.svg.replaceChildren(svg("text", { x: width / 2, y: this.height / 2, "text-anchor": "middle", class: "nothing" }, this.spec.nothing || "No steps yet"));
      return;
    }
    this.marks = svg("g", { "aria-hidden": "true" });
    this.svg.replaceChildren(this.frame(layout), ...this.spec.series.map((line) => this.curve(line, layout)), this.labels(layout), this.marks);
    this.move(this.cursor);
  }

  frame({ box, x, y, placeX, placeY }) {
    const { spec } = this;
    const group = svg("g");
    const yTicks = spec.y.log ? logTicks(...y) : linearTicks(...y, 6);
    for (const value of yTicks) {
      const at = placeY(value);
      group.append(svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "grid" }));
      group.append(svg("text", { x: box.left - 8, y: at + 4, "text-anchor": "end" }, (spec.y.format || short)(value)));
    }
    const xTicks = linearTicks(...x, Math.max(2, Math.min(8, (box.right - box.left) / 75))).filter((value) => !spec.x.whole || Number.isInteger(value));
    for (const value of xTicks) {
      const at = placeX(value);
      group.append(svg("line", { x1: at, x2: at, y1: box.bottom, y2: box.bottom + 4, class: "frame" }));
      group.append(svg("text", { x: at, y: box.bottom + 18, "text-anchor": "middle" }, (spec.x.format || short)(value)));
    }
    group.append(svg("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "frame" }));
    group.append(svg("text", { x: box.right, y: this.height - 4, "text-anchor": "end" }, spec.x.label));
    return group;
  }

  curve(line, { placeX, placeY }) {
    const group = svg("g", { class: `c${line.slot}` });
    let path = "";
    let isDown = false;
    const { y } = this.spec;
    for (const [px, py] of line.points) {
      const isThere = Number.isFinite(py) && py !== null && (!y.log || py > 0);
      if (isThere) path += `${isDown ? "L" : "M"}${placeX(px).toFixed(1)} ${placeY(py).toFixed(1)}`;
      isDown = isThere;
    }
    group.append(svg("path", { d: path, class: "curve", "stroke-width": line.width || 2, opacity: line.opacity || 1 }));
    if (line.dots && line.points.length <= 40) {
      for (const [px, py] of line.points) {
        if (Number.isFinite(py) && (!y.log || py > 0)) group.append(svg("circle", { cx: placeX(px), cy: placeY(py), r: 3, class: "dot" }));
      }
    }
    return group;
  }

  /** Numbers of the runs at the ends of their lines, moved apart where they would meet. */
  labels({ box, placeX, placeY }) {
    const group = svg("g", { "aria-hidden": "true" });
    const ends = this.spec.series.filter((line) => line.label && line.points.length > 0).map((line) => {
      const [x, y] = line.points.at(-1);
      return { line, x: placeX(x), y: placeY(y) };
    }).filter((end) => Number.isFinite(end.y)).sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => {
      if (i > 0) end.y = Math.max(end.y, ends[i - 1].y + 13);
      group.append(svg("text", { x: Math.min(end.x + 7, box.right + 7), y: end.y + 4, class: `label c${end.line.slot}` }, end.line.label));
    });
    return group;
  }

  /** Places along x that the cursor can be at. */
  stops() {
    const stops = new Set(this.spec.series.filter((line) => typeof line.tell === "string").flatMap((line) => line.points.map((p) => p[0])));
    return [...stops].sort((a, b) => a - b);
  }

  point(event) {
    const { box, placeX } = this.last || {};
    if (!box) return;
    const bounds = this.svg.getBoundingClientRect();
    const at = (event.clientX - bounds.left) * (this.last.width / bounds.width);
    const stops = this.stops();
    if (stops.length === 0) return;
    this.move(stops.reduce((best, x) => (Math.abs(placeX(x) - at) < Math.abs(placeX(best) - at) ? x : best)));
  }

  key(event) {
    const stops = this.last?.box ? this.stops() : [];
    if (event.key === "Escape") return this.move(null);
    const now = stops.indexOf(this.cursor);
    const page = Math.max(1, Math.round(stops.length / 10));
    const next = {
      ArrowRight: now < 0 ? stops.length - 1 : now + 1, ArrowLeft: now < 0 ? stops.length - 1 : now - 1,
      PageDown: now + page, PageUp: now - page, Home: 0, End: stops.length - 1,
    }[event.key];
    if (next === undefined || stops.length === 0) return;
    event.preventDefault();
    this.move(stops[Math.max(0, Math.min(stops.length - 1, next))]);
    announce(this.spoken);
  }

  /** Puts the cursor at a place along x, or away. */
  move(x) {
    this.cursor = x;
    this.marks?.replaceChildren();
    this.tip.hidden = x === null || !this.last?.box;
    if (this.tip.hidden) return;
    const { box, placeX, placeY, width } = this.last;
    this.marks.append(svg("line", { x1: placeX(x), x2: placeX(x), y1: box.top, y2: box.bottom, class: "cursor" }));
    const rows = [];
    const title = (this.spec.x.tell || ((v) => `${this.spec.x.label} ${short(v, 4)}`))(x);
    this.spoken = title;
    for (const line of this.spec.series.filter((line) => typeof line.tell === "string")) {
      const reach = (this.last.x[1] - this.last.x[0]) * 0.02;
      const nearest = line.points.reduce((best, p) => (best === null || Math.abs(p[0] - x) < Math.abs(best[0] - x) ? p : best), null);
      if (!nearest || Math.abs(nearest[0] - x) > reach || !Number.isFinite(nearest[1])) continue;
      if (!this.spec.y.log || nearest[1] > 0) this.marks.append(svg("circle", { cx: placeX(nearest[0]), cy: placeY(nearest[1]), r: 4, class: `dot c${line.slot}` }));
      const mark = line.number ? el("span", { class: `number c${line.slot}` }, line.number) : "";
      const told = `${line.tell} ${(this.spec.y.tell || this.spec.y.format || short)(nearest[1])}`.trim();
      rows.push(el("div", {}, mark, told));
      this.spoken += `; run ${line.number} ${told}`;
    }
    this.tip.replaceChildren(el("b", {}, title), ...rows);
    const [outer, inner] = [this.figure.getBoundingClientRect(), this.svg.getBoundingClientRect()];
    const share = placeX(x) / width;
    const left = inner.left - outer.left + share * inner.width;
    Object.assign(this.tip.style, share > 0.5
      ? { left: "auto", right: `${outer.width - left + 12}px` }
      : { left: `${left + 12}px`, right: "auto" }, { top: `${inner.top - outer.top + 14}px` });
  }

  fillTable() {
    if (!this.details.open || !this.spec) return;
    const { head, rows } = this.spec.table();
    const cells = (tag, row) => row.map((cell, i) => el(tag === "td" && i === 0 ? "th" : tag, { scope: tag === "th" ? "col" : i === 0 ? "row" : null }, cell));
    this.body.replaceChildren(el("table", { class: "numbers" },
      el("caption", { class: "unseen" }, this.title),
      el("thead", {}, el("tr", {}, ...cells("th", head))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells("td", row))))));
  }
}

/** Has a screen reader say something. */
function announce(text) {
  document.getElementById("announcer").textContent = text;
}
