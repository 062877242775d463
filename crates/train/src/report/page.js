/* What is shown, where it comes from, and what the reader chose. */

const POLL_MS = 2000;
const LONGEST_PAUSE_MS = 15000;
/** Runs at a time: as many as there are colours. */
const SLOTS = PALETTE.length;
const FIRST_SHOWN = 6;

const byId = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

const state = {
  /** Summaries in the order of the list; in a report, the one run. */
  runs: [],
  /** By id: report, evaluation, the revisions they are of, and the row in the list. */
  known: new Map(),
  /** Id in each slot of colour; absent where it is free. */
  slots: new Map(),
  hasChosen: false,
  inside: null,
  shownEvaluation: "",
};

const embedded = byId("data").textContent.trim();
const isReport = embedded !== "";

PALETTE.forEach((colour, i) => document.documentElement.style.setProperty(`--c${i}`, colour));
const curves = CURVES.map((curve) => ({ curve, chart: new Chart(byId("curves"), curve.title) }));
const responses = new Chart(byId("responses-chart"), "Responses", 280);

const slotOf = (id) => [...state.slots.entries()].find(([, held]) => held === id)?.[0];

function know(id) {
  if (!state.known.has(id)) state.known.set(id, {});
  return state.known.get(id);
}

function show(id) {
  for (let slot = 0; slot < SLOTS; slot++) {
    if (!state.slots.has(slot)) {
      state.slots.set(slot, id);
      return;
    }
  }
}

/** Until the reader chooses, the runs that go on and the newest others are shown. */
function chooseFirst() {
  if (state.hasChosen) return;
  const wanted = [...state.runs.filter((run) => run.state === "running"), ...state.runs.filter((run) => run.state !== "running")];
  for (const run of wanted) {
    if (state.slots.size >= FIRST_SHOWN) break;
    if (slotOf(run.id) === undefined) show(run.id);
  }
}

/** Shown runs whose curves are known, in the order of their numbers. */
function shownRuns() {
  const runs = [...state.slots.entries()].sort(([a], [b]) => a - b).map(([slot, id]) => ({ slot, id, report: know(id).report }));
  return runs.filter((run) => run.report);
}

function render() {
  renderList();
  const runs = shownRuns();
  byId("curves-section").hidden = runs.length === 0;
  byId("inside-section").hidden = runs.length === 0;
  if (runs.length > 0) {
    renderCurves(runs);
    renderInside(runs);
  }
  const running = state.runs.find((run) => run.state === "running");
  const share = running?.plan ? `${Math.floor((100 * running.step) / running.plan.steps)} % · ` : "";
  document.title = `${share}${isReport ? words(state.runs[0]) : "training runs"} · residuum`;
}

function renderList() {
  const list = byId("runs");
  const gone = new Set(state.known.keys());
  let before = null;
  for (const run of state.runs) {
    gone.delete(run.id);
    const known = know(run.id);
    known.row ??= new RunRow(list, !isReport && state.runs.length > 1, (isOn) => choose(run.id, isOn));
    if (known.row.box.hidden && !isReport && state.runs.length > 1) {
      known.row.row.remove();
      known.row = new RunRow(list, true, (isOn) => choose(run.id, isOn));
    }
    if (known.state && known.state !== run.state) announce(`${words(run)} is ${run.state}`);
    known.state = run.state;
    known.row.update(run, slotOf(run.id), state.slots.size >= SLOTS);
    const place = before ? before.nextSibling : list.firstChild;
    if (known.row.row !== place) list.insertBefore(known.row.row, place);
    before = known.row.row;
  }
  for (const id of gone) {
    know(id).row?.row.remove();
    state.known.delete(id);
    const slot = slotOf(id);
    if (slot !== undefined) state.slots.delete(slot);
  }
}

function choose(id, isOn) {
  state.hasChosen = true;
  const slot = slotOf(id);
  if (isOn && slot === undefined) show(id);
  if (!isOn && slot !== undefined) state.slots.delete(slot);
  render();
  poll();
}

function renderCurves(runs) {
  const isLog = chosen("scale") === "log";
  for (const { curve, chart } of curves) chart.draw(curveSpec(curve, runs, chosen("axis"), isLog));
}

function renderInside(runs) {
  const select = byId("inside-run");
  byId("inside-choice").hidden = runs.length < 2;
  const ids = runs.map((run) => run.id);
  if (!ids.includes(state.inside)) state.inside = ids[0];
  const options = runs.map((run) => `${run.slot + 1}: ${words(run.report)}`);
  if (select.dataset.options !== options.join("\n")) {
    select.replaceChildren(...runs.map((run, i) => el("option", { value: run.id }, options[i])));
    select.dataset.options = options.join("\n");
  }
  select.value = state.inside;
  const run = runs.find((other) => other.id === state.inside);
  responses.draw(responseSpec(run, runs, chosen("order")));
  const { evaluation, evaluationOf } = know(run.id);
  byId("inside-note").textContent = evaluation
    ? `${words(run.report)} after epoch ${evaluation.epoch}, ${evaluation.images.toLocaleString("en")} test pictures`
    : "The first evaluation is after the first epoch.";
  byId("confusion").hidden = !evaluation;
  byId("mistakes").hidden = !evaluation;
  const shown = `${run.id}\n${evaluationOf}`;
  if (evaluation && state.shownEvaluation !== shown) {
    state.shownEvaluation = shown;
    showConfusion(byId("confusion").querySelector(".content"), evaluation);
    showMistakes(byId("mistakes").querySelector(".content"), evaluation);
  }
}

async function get(address) {
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

/** Asks for what has changed of the runs that are shown. */
async function refresh() {
  const { runs, left_out: leftOut } = await get("/api/runs");
  state.runs = runs;
  chooseFirst();
  const shown = runs.filter((run) => slotOf(run.id) !== undefined);
  await Promise.all(shown.map(async (run) => {
    const known = know(run.id);
    if (known.revision === run.revision) return;
    const address = `/api/runs/${encodeURIComponent(run.id)}`;
    known.report = await get(address);
    known.revision = run.revision;
  }));
  const inside = shown.find((run) => run.id === state.inside) || shown[0];
  if (inside?.evaluated && know(inside.id).evaluationOf !== inside.evaluated) {
    know(inside.id).evaluation = (await get(`/api/runs/${encodeURIComponent(inside.id)}/evaluation`)).evaluation;
    know(inside.id).evaluationOf = inside.evaluated;
  }
  const note = byId("runs-note");
  note.hidden = runs.length > 0 && leftOut === 0;
  note.textContent = runs.length === 0 ? "No run here yet. One that begins appears by itself." : `${leftOut} older runs are not shown.`;
}

let pause = POLL_MS;
let timer = null;
let isAsking = false;

async function poll() {
  clearTimeout(timer);
  if (isAsking) return;
  isAsking = true;
  try {
    await refresh();
    pause = POLL_MS;
    connected(true);
  } catch {
    pause = Math.min(LONGEST_PAUSE_MS, pause * 1.5);
    connected(false);
  }
  isAsking = false;
  render();
  if (document.visibilityState === "visible") timer = setTimeout(poll, pause);
}

function connected(isThere) {
  const note = byId("connection");
  const goesOn = state.runs.some((run) => run.state === "running");
  const text = isThere ? (goesOn ? "live, every 2 s" : "up to date") : "No connection; what is shown may be old";
  note.classList.toggle("lost", !isThere);
  if (note.textContent !== text) note.textContent = text;
}

function showReport() {
  const { run, evaluation } = JSON.parse(embedded);
  run.id = run.name;
  state.runs = [run];
  Object.assign(know(run.id), { report: run, evaluation, evaluationOf: "report" });
  show(run.id);
  byId("mode").textContent = "report of a run";
  byId("runs-title").textContent = "Run";
  byId("inside-title").textContent = "Inside the run";
  if (run.begun) byId("connection").textContent = `begun ${run.begun.slice(0, 16).replace("T", " ")} UTC`;
  render();
}

for (const input of document.querySelectorAll("input[type=radio]")) input.addEventListener("change", render);
byId("inside-run").addEventListener("change", (event) => {
  state.inside = event.target.value;
  render();
  if (!isReport) poll();
});
if (isReport) {
  showReport();
} else {
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && poll());
  poll();
}
