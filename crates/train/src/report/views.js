/* The views of runs: their list, their curves, what is inside one. */

const percent = (x) => (Number.isFinite(x) ? `${x < 10 ? Number(x.toFixed(2)) : Number(x.toFixed(1))}\u202f%` : "–");

/** Seconds as a person says them. */
function time(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
}

/** Words for a run, in place of its folder's name where that is a date and the same again. */
const words = (run) => run.id || run.name;

/** A run's row in the list, made once and kept. */
class RunRow {
  constructor(list, hasChoice, onChange) {
    this.box = el("input", { type: "checkbox" });
    this.box.hidden = !hasChoice;
    this.box.addEventListener("change", () => onChange(this.box.checked));
    this.number = el("span", { class: "number" });
    this.title = el("span");
    this.badge = el("span", { class: "badge" });
    this.about = el("div", { class: "about" });
    this.told = el("span");
    this.bar = el("progress", { max: 1 });
    this.values = {};
    const figures = el("dl", { class: "figures" });
    for (const name of ["test error", "best (epoch)", "loss", "images/s"]) {
      this.values[name] = el("dd");
      figures.append(el("div", {}, el("dt", {}, name), this.values[name]));
    }
    this.reason = el("div", { class: "reason" });
    this.row = el("li", {},
      el("div", {}, el("div", { class: "name" }, el(hasChoice ? "label" : "span", { class: "who" }, this.box, this.number, this.title), this.badge), this.about),
      el("div", { class: "progress" }, this.told, this.bar), figures, this.reason);
    list.append(this.row);
  }

  update(run, slot, isFull) {
    const isShown = slot !== undefined;
    this.row.className = isShown ? `run c${slot}` : "run";
    this.box.checked = isShown;
    this.box.disabled = isFull && !isShown;
    this.number.hidden = !isShown;
    set(this.number, isShown ? String(slot + 1) : "");
    set(this.title, words(run));
    this.badge.className = `badge ${run.state}`;
    set(this.badge, run.state);
    set(this.about, [run.model, run.data && `on ${run.data}`, run.batch_size && `batches of ${run.batch_size}`].filter(Boolean).join(" · "));
    const { plan } = run;
    const share = plan ? run.step / Math.max(1, plan.steps) : run.state === "finished" ? 1 : 0;
    const left = plan && run.state === "running" && run.step > 0 ? (run.wall_s / run.step) * (plan.steps - run.step) : null;
    const epochs = plan ? `epoch ${Math.min(plan.epochs, run.epoch + (run.state === "finished" ? 0 : 1))} of ${plan.epochs}` : `${run.epoch} epochs`;
    set(this.told, [epochs, run.wall_s > 0 && time(run.wall_s), left !== null && `${time(left)} left`].filter(Boolean).join(" · "));
    this.bar.value = share;
    this.bar.setAttribute("aria-label", `${words(run)}: ${Math.round(100 * share)} % done`);
    set(this.values["test error"], percent(run.last?.test_error));
    set(this.values["best (epoch)"], run.best ? `${percent(run.best.test_error)} (${run.best.epoch})` : "–");
    set(this.values.loss, short(run.loss));
    set(this.values["images/s"], short(run.images_per_second));
    const goOn = run.state === "stopped" ? el("span", {}, " – go on with ", el("code", {}, `residuum train --resume ${quoted(run.folder)}`)) : null;
    this.reason.hidden = !run.reason && !goOn;
    if (!this.reason.hidden) this.reason.replaceChildren(run.reason || "", goOn || "");
  }
}

/** Leaves what a screen reader or a selection is at alone where nothing changed. */
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const quoted = (path) => (/^[\w\/.+:,@%-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

/** Places of steps along the axis that was chosen. */
function axis(run, kind) {
  const perEpoch = run.plan?.epoch_steps || (run.epochs[0] ? run.epochs[0].step / run.epochs[0].epoch : null);
  if (kind === "minutes") return { step: (i) => run.steps.wall_s[i] / 60, epoch: (e) => e.wall_s / 60 };
  if (kind === "step" || !perEpoch) return { step: (i) => run.steps.step[i], epoch: (e) => e.step };
  return { step: (i) => run.steps.step[i] / perEpoch, epoch: (e) => e.step / perEpoch };
}

const AXES = {
  epoch: { label: "epoch", tell: (x) => `epoch ${Number(x.toFixed(2))}` },
  step: { label: "step", tell: (x) => `step ${Math.round(x).toLocaleString("en")}` },
  minutes: { label: "minutes of training", tell: (x) => time(60 * x) },
};

/** The four charts of curves: a name, a column of the steps, and of the epochs where there is one. */
const CURVES = [
  { title: "Loss", column: "loss", test: "test_loss", train: "train_loss", y: (log) => ({ log, zero: !log }) },
  { title: "Error", column: "error", test: "test_error", train: "train_error", y: () => ({ zero: true, format: (x) => `${short(x)}\u202f%`, tell: percent }) },
  { title: "Learning rate", column: "lr", train: "lr", y: (log) => ({ log, zero: !log }) },
  { title: "Images per second", column: "images_per_second", train: "images_per_second", y: () => ({ zero: true }) },
];

/** What a chart of curves shows. `runs`: [{ report, slot }]. */
function curveSpec(curve, runs, kind, log) {
  const series = [];
  for (const { report, slot } of runs) {
    const place = axis(report, kind);
    const number = String(slot + 1);
    const steps = report.steps[curve.column].map((y, i) => [place.step(i), y]);
    const isAlone = !curve.test;
    series.push({ slot, number, points: steps, width: isAlone ? 2 : 1.1, opacity: isAlone ? 1 : 0.6, tell: curve.test ? "training" : "", label: isAlone || report.epochs.length === 0 ? number : null });
    if (curve.test) {
      const tests = report.epochs.map((e) => [place.epoch(e), e[curve.test]]);
      series.push({ slot, number, points: tests, width: 2.4, dots: true, tell: "test", label: number });
    }
  }
  const format = curve.y(false).tell || ((x) => short(x, 4));
  const latest = runs.map(({ report, slot }) => {
    const last = report.epochs.at(-1);
    const value = last ? last[curve.test || curve.train] : report.steps[curve.column].at(-1);
    return `Run ${slot + 1}, ${words(report)}: ${value === undefined ? "nothing yet" : format(value)}${last ? ` after epoch ${last.epoch}` : ""}`;
  });
  return {
    x: AXES[kind], y: curve.y(log), series,
    summary: `${latest.join(". ")}. Arrow keys read the points.`,
    table: () => curveTable(curve, runs, format),
  };
}

/** Epochs down, runs across; the last epochs first. */
function curveTable(curve, runs, format) {
  const head = ["epoch"];
  for (const { slot } of runs) head.push(...(curve.test ? [`${slot + 1}: training`, `${slot + 1}: test`] : [`${slot + 1}`]));
  const known = runs.map(({ report }) => new Map(report.epochs.map((e) => [e.epoch, e])));
  const last = Math.max(0, ...runs.map(({ report }) => report.epochs.at(-1)?.epoch || 0));
  const rows = [];
  for (let epoch = last; epoch >= Math.max(1, last - 499); epoch--) {
    const row = [String(epoch)];
    for (const epochs of known) {
      const point = epochs.get(epoch);
      row.push(point ? format(point[curve.train]) : "");
      if (curve.test) row.push(point ? format(point[curve.test]) : "");
    }
    rows.push(row);
  }
  return { head, rows };
}

/** Responses of one run at several epochs, and of others at their last. */
function responseSpec(chosen, runs, order) {
  const series = [];
  const sorted = (std) => (order === "size" ? [...std].filter(Number.isFinite).sort((a, b) => b - a) : std);
  const points = (std) => sorted(std).map((y, i) => [i + 1, y]);
  for (const { report, slot } of runs) {
    const { responses } = report;
    if (!responses) continue;
    const count = responses.std.length;
    responses.std.forEach((std, i) => {
      const isLast = i === count - 1;
      if (!isLast && report !== chosen.report) return;
      series.push({
        slot, number: String(slot + 1), points: points(std), width: isLast ? 2.4 : 1.1, opacity: isLast ? 1 : 0.15 + (0.45 * (i + 1)) / count,
        tell: isLast || i === 0 ? `epoch ${responses.epochs[i]}:` : null, label: isLast ? String(slot + 1) : null, dots: isLast,
      });
    });
  }
  const { responses } = chosen.report;
  const layers = responses ? responses.layers : [];
  return {
    x: { label: order === "size" ? "rank" : "layer", whole: true, tell: (x) => (order === "size" ? `rank ${x}` : `${x}: ${layers[x - 1] || "layer"}`) },
    y: { zero: true }, series,
    nothing: "Measured after the first epoch, for layers with a batch norm behind a convolution",
    summary: responses ? `${layers.length} layers, epochs ${responses.epochs[0]} to ${responses.epochs.at(-1)}. Arrow keys read the layers.` : "Nothing yet.",
    table: () => ({
      head: ["layer", ...(responses ? responses.epochs.map((epoch) => `epoch ${epoch}`) : [])],
      rows: layers.map((layer, i) => [layer, ...responses.std.map((std) => short(std[i]))]),
    }),
  };
}

/** Classes that a matrix is drawn for; with more, the most frequent confusions alone are listed. */
const MATRIX_CLASSES = 30;

function showConfusion(host, evaluation) {
  const { classes, confusions } = evaluation;
  const parts = [];
  if (classes.length <= MATRIX_CLASSES) {
    parts.push(el("p", { class: "hint" }, "True classes down, answers across; the strength of the colour is the share of the true class."), matrix(classes, confusions));
  } else {
    const worst = [...classes].filter((c) => c.images > 0).sort((a, b) => a.correct / a.images - b.correct / b.images).slice(0, 20);
    parts.push(el("p", { class: "hint" }, `${classes.length} classes; the least recognised:`),
      pairs(worst.map((c) => [c.name, percent((100 * c.correct) / c.images)])));
  }
  const frequent = confusions.slice(0, classes.length <= MATRIX_CLASSES ? 6 : 20);
  if (frequent.length > 0) {
    parts.push(el("h4", {}, "Most frequent confusions"), pairs(frequent.map(([truth, answer, count]) => [`${classes[truth].name} taken for ${classes[answer].name}`, String(count)])));
  }
  host.replaceChildren(...parts);
}

const pairs = (rows) => el("ul", { class: "pairs" }, ...rows.map(([name, value]) => el("li", {}, el("span", {}, name), el("b", {}, value))));

function matrix(classes, confusions) {
  const counts = classes.map((row, i) => classes.map((_, j) => (i === j ? row.correct : 0)));
  for (const [truth, answer, count] of confusions) counts[truth][answer] = count;
  const head = el("tr", {}, el("td", { class: "share" }), ...classes.map((c) => el("th", { scope: "col", title: c.name }, el("span", {}, c.name))), el("th", { scope: "col" }, el("span", {}, "recognised")));
  const rows = classes.map((row, i) => el("tr", {}, el("th", { scope: "row", title: row.name }, row.name),
    ...classes.map((column, j) => cell(counts[i][j], row.images, i === j, `${row.name} taken for ${column.name}`)),
    el("td", { class: "share" }, row.images ? percent((100 * row.correct) / row.images) : "–")));
  const table = el("table", { class: "matrix" }, el("caption", { class: "unseen" }, "Number of test pictures by true class and answer"), el("thead", {}, head), el("tbody", {}, ...rows));
  return el("div", { class: "matrix-scroll", tabindex: "0", role: "region", "aria-labelledby": "confusion-title" }, table);
}

function cell(count, images, isHit, title) {
  const node = el("td", { class: count ? null : "zero", title }, String(count));
  if (count) {
    const share = count / Math.max(1, images);
    // Few mistakes are to be seen beside many hits: their scale is a root.
    const strength = isHit ? 0.08 + 0.72 * share : 0.12 + 0.68 * Math.sqrt(share);
    node.style.background = `rgb(var(${isHit ? "--hit" : "--miss"}) / ${strength.toFixed(2)})`;
  }
  return node;
}

function showMistakes(host, evaluation) {
  const { classes, mistakes, images } = evaluation;
  if (mistakes.length === 0) {
    host.replaceChildren(el("p", { class: "empty" }, `None: all ${images} test pictures were answered rightly.`));
    return;
  }
  const items = mistakes.map((mistake) => {
    const [truth, said, sure] = [classes[mistake.truth].name, classes[mistake.predicted].name, percent(100 * mistake.confidence)];
    const text = `${truth}, taken for ${said} with ${sure}`;
    const picture = mistake.picture?.startsWith("data:image/png;base64,") ? el("img", { src: mistake.picture, alt: `Test picture ${mistake.index}: ${text}`, loading: "lazy" }) : el("div", { class: "hint" }, "no picture");
    picture.addEventListener?.("load", () => picture.classList.toggle("coarse", picture.naturalWidth <= 64));
    return el("li", {}, el("figure", { title: mistake.source }, picture,
      el("figcaption", {}, el("div", { class: "said" }, `${said} ${sure}`), el("div", {}, `is ${truth}`), el("div", { class: "which" }, `no. ${mistake.index}`))));
  });
  host.replaceChildren(el("p", { class: "hint" }, "Test pictures whose answer is wrong and sure. Some may be labelled wrongly."), el("ul", { class: "mistakes" }, ...items));
}
