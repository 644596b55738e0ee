"use strict";

const at = id => document.getElementById(id);
const make = (tag, text = "", cls = "") => Object.assign(document.createElement(tag), { textContent: text, className: cls });
const words = name => name.replaceAll("_", " ");
// A record has null for values that a photo does not determine, such as the exposure of an all-black photo.
const orUnknown = (value, format) => value == null ? "unknown" : format(value);
const fixed = (value, digits) => orUnknown(value, number => number.toFixed(digits));
const percent = share => orUnknown(share, number => `${(100 * number).toFixed(1)} %`);

// Summaries of the models' records; views.js has the rest of the presentation. Other models are shown as JSON.
const SUMMARIES = { hdr_correct: summariseExposure, hoi: summariseInteractions, hra_screening: summariseScreening, svbrdf: summariseMaterial };
const ENDINGS = { "application/zip": "zip", "model/gltf-binary": "glb", "image/x-exr": "exr", "image/png": "png", "image/jpeg": "jpg", "image/apng": "png" };
const POLL_MS = 1000;
const NOTES = {
  "first-frame-only": "The file contains several pictures; only the first was used.",
  "empty-mask": "The mask has no holes, so nothing was filled.",
  "people-left-out": "The photo shows more people than the limit; the others are omitted.",
  "icc-ignored": "The photo's colour profile is unusable; its colours were read as sRGB.",
  "colour-tags-ignored": "The photo's colour tags are broken or unknown and were ignored.",
  "hdr-tone-mapped": "This is an HDR photo; it was tone-mapped for the model as for a display without HDR.",
  "cmyk-converted": "The photo is in CMYK; it was converted to sRGB.",
  "reduced-to-8-bit": "The photo has more than 8 bits per sample; the result has 8.",
  "orientation-ignored": "The file has an orientation that browsers ignore; it was ignored.",
};

// painted: true with holes on the mask; turn: number of the newest run; pictures: object URLs to revoke.
const state = { model: null, photo: null, painted: false, turn: 0, pictures: [] };
const view = () => VIEWS[state.model?.name] ?? { replies: ["application/json"] };
function missing() {
  if (!state.model) return "No model is available.";
  if (!state.photo) return "Choose a photo first.";
  return view().holes && !state.painted ? "Paint the holes to fill first." : "";
}
function updateRunButton() {
  at("missing").textContent = missing();
  at("run").disabled = missing() !== "";
}

class ProblemError extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.title ?? `The gateway replied with status ${status}.`);
    this.problem = problem;
    this.status = status;
  }
}

async function call(url, options = {}) {
  const key = at("key").value;
  const headers = { ...options.headers, ...(key && { "X-Api-Key": key }) };
  const reply = await fetch(url, { ...options, headers });
  if (reply.ok) return reply;
  if (reply.status === 401) at("key-label").hidden = false;
  const text = await reply.text();
  let problem;
  try { problem = JSON.parse(text); } catch { problem = { detail: text.slice(0, 300) }; }
  throw new ProblemError(problem, reply.status);
}

// Returns one representation of the result, directly or, if the gateway replies with 202, from a job. A single job could
// return every representation, but would keep the photo for a day.
async function requestResult(model, accept, turn) {
  const body = new FormData();
  body.append("image", state.photo, state.photo.name);
  if (VIEWS[model.name]?.holes) body.append("mask", await maskFile(), "mask.png");
  let reply = await call(model.route, { method: "POST", body, headers: { Accept: accept } });
  if (reply.status === 202) {
    const { links } = await reply.json();
    await jobEnd(links.self, turn);
    reply = await call(links.result, { headers: { Accept: accept } });
  }
  return { type: accept, blob: await reply.blob(), headers: reply.headers };
}

async function jobEnd(url, turn) {
  for (;;) {
    const job = await (await call(url)).json();
    if (job.state === "succeeded") return;
    if (["failed", "dead", "cancelled"].includes(job.state)) throw new ProblemError(job.problem ?? { detail: `The job was ${job.state}.` }, 500);
    const eta = job.eta_s == null ? "" : `, about ${Math.ceil(job.eta_s)} s`;
    if (turn === state.turn) setStatus(`Running as a job: ${job.state}${eta} …`);
    await new Promise(done => setTimeout(done, POLL_MS));
  }
}

function setStatus(text) { at("status").textContent = text; }

function showError(error) {
  setStatus("");
  const box = make("p", error.message, "caution problem");
  const { code, request_id } = error.problem ?? {};
  if (code) box.append(document.createElement("br"), make("span", [code, request_id].filter(Boolean).join(" · "), "muted"));
  at("result").replaceChildren(box);
}

async function run(event) {
  event.preventDefault();
  const { model } = state, turn = ++state.turn, started = performance.now();
  at("run").disabled = true;
  clearResult();
  setStatus("Running …");
  try {
    const answers = await Promise.all(view().replies.map(accept => requestResult(model, accept, turn)));
    if (turn !== state.turn) return;
    setStatus(`Finished in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
    await show(answers);
  } catch (error) {
    if (turn === state.turn) showError(error);
  } finally {
    if (turn === state.turn) updateRunButton();
  }
}

async function show(answers) {
  const result = at("result"), json = answers.find(each => each.type === "application/json");
  const record = json && JSON.parse(await json.blob.text());
  const summary = SUMMARIES[state.model.name];
  if (record && summary) result.append(...summary(record));
  result.append(...notes(record, answers).map(text => make("p", text, "note")));
  for (const each of answers) if (each !== json) result.append(figureOf(each));
  const saves = make("div", "", "row");
  for (const [label, type] of Object.entries(view().saves ?? {})) saves.append(saveButton(label, type));
  result.append(saves, evidence(answers[0].headers));
  if (record) {
    const whole = make("details");
    whole.append(make("summary", "Full record"), make("pre", JSON.stringify(record, null, 2)));
    result.append(whole);
  }
}

function figureOf({ type, blob }) {
  const figure = make("figure"), image = make("img"), caption = make("figcaption", `${view().picture} · `);
  image.src = URL.createObjectURL(blob);
  state.pictures.push(image.src);
  image.alt = view().picture;
  caption.append(link("save", image.src, `${stem()}.${ENDINGS[type]}`));
  figure.append(image, caption);
  return figure;
}

const stem = () => `${state.photo.name.replace(/\.[^.]*$/, "")}-${state.model.name}`;
const link = (text, href, download) => Object.assign(make("a", text), { href, download });

function saveButton(label, type) {
  const button = make("button", label), { model } = state, name = `${stem()}.${ENDINGS[type]}`, turn = state.turn;
  button.type = "button";
  button.onclick = async () => {
    button.disabled = true;
    try {
      const url = URL.createObjectURL((await requestResult(model, type, turn)).blob);
      link("", url, name).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) { showError(error); }
    button.disabled = false;
  };
  return button;
}

// Notes come from the record, for screening from each photo's result, and from the headers of picture replies.
function notes(record, answers) {
  const headers = answers.flatMap(each => (each.headers.get("x-sightline-notes") ?? "").split(", "));
  const found = [...(record?.evidence?.notes ?? []), ...(record?.results ?? []).flatMap(each => each.notes ?? []), ...headers];
  return [...new Set(found)].filter(Boolean).map(name => NOTES[name] ?? `Note: ${words(name)}`);
}

const EVIDENCE = { model: "x-sightline-model", "SHA-256 of the photo": "x-sightline-input-sha256", request: "x-request-id" };
function evidence(headers) {
  const fields = Object.entries(EVIDENCE).filter(([, name]) => headers.has(name)).map(([what, name]) => `${what} ${headers.get(name)}`);
  return make("p", fields.join(" · "), "muted");
}

function table(rows) {
  const body = make("table");
  for (const cells of rows) {
    const row = make("tr");
    for (const cell of cells) row.append(typeof cell === "string" ? make("td", cell) : cell);
    body.append(row);
  }
  return body;
}
const number = text => make("td", text, "number");
function bar(share) {
  const cell = make("td"), meter = Object.assign(make("meter"), { min: 0, max: 1, value: share });
  cell.append(meter);
  return cell;
}
const probabilityTable = shares => table(Object.entries(shares).sort((a, b) => b[1] - a[1]).map(([name, share]) => [words(name), number(percent(share)), bar(share)]));

function summariseScreening({ results: [one], support }) {
  if (one.problem) return [make("p", one.problem.detail ?? one.problem.title, "caution problem")];
  const decided = one.decision === "abstain" ? `No decision: no class reaches ${percent(one.threshold)}` : `Decision: ${words(one.decision)}`;
  const unlearned = Object.keys(support).filter(name => support[name].supported === false).map(words);
  return [
    make("h2", `${decided}${one.needs_review ? "; needs review by a person" : ""}`),
    make("p", "A score shows where to look first. It is never evidence of an abuse, and a low score is no proof of its absence.", "caution"),
    probabilityTable(one.probabilities),
    make("p", unlearned.length ? `Not learned, because of too few training pictures: ${unlearned.join(", ")}.` : "", "muted"),
  ];
}

function summariseInteractions({ detections, interactions }) {
  const label = id => id == null ? "" : detections.find(each => each.id === id)?.label ?? "";
  const rows = interactions.slice(0, 30).map(each => [`person ${each.person}`, words(each.action), `${each.role === "instr" ? "with " : ""}${label(each.object)}`, number(percent(each.score))]);
  return [make("h2", interactions.length === 1 ? "One interaction" : `${interactions.length || "No"} interactions`), table(rows)];
}

function summariseExposure({ exposure: { before, after }, scene_stops }) {
  const stops = ev => orUnknown(ev, number => `${number > 0 ? "+" : ""}${number.toFixed(1)} EV`);
  return [table([
    ["", "before", "after"],
    ["exposure error", stops(before.ev_error), stops(after.ev_error)],
    ["crushed", percent(before.crushed_share), percent(after.crushed_share)],
    ["clipped", percent(before.clipped_share), percent(after.clipped_share)],
  ]), make("p", `The estimated scene spans ${fixed(scene_stops, 1)} stops. Clipped and crushed areas are estimated from their surroundings.`, "muted")];
}

function summariseMaterial({ material, mean_roughness, rerender_rmse }) {
  return [make("h2", `Most likely material: ${words(material.type)}`), probabilityTable(material.probabilities),
    make("p", `Mean roughness ${fixed(mean_roughness, 2)}; a render under the flash differs from the photo by ${percent(rerender_rmse)}.`, "muted")];
}

// Holes are white strokes on a canvas of the photo's own size over the photo.
const mask = at("mask"), pen = mask.getContext("2d");
function maskFile() {
  const flat = Object.assign(document.createElement("canvas"), { width: mask.width, height: mask.height }), on = flat.getContext("2d");
  on.fillStyle = "#000";
  on.fillRect(0, 0, flat.width, flat.height);
  on.drawImage(mask, 0, 0);
  return new Promise(done => flat.toBlob(done, "image/png"));
}
function stroke(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const box = mask.getBoundingClientRect(), scale = mask.width / box.width;
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  pen.lineWidth = 2 * at("radius").value * scale;
  pen.lineCap = "round";
  pen.strokeStyle = "#fff";
  if (event.type === "pointerdown") {
    mask.setPointerCapture(event.pointerId);
    dot(x, y, pen.lineWidth / 2);
    pen.beginPath();
    pen.moveTo(x, y);
  } else {
    pen.lineTo(x, y);
    pen.stroke();
  }
  setPainted(state.painted || isPainted(x, y));
}
// A path without length draws nothing, so a click needs a dot.
function dot(x, y, radius) {
  pen.fillStyle = "#fff";
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}
function isPainted(x, y) {
  const within = (place, size) => Math.floor(Math.min(Math.max(place, 0), size - 1));
  return pen.getImageData(within(x, mask.width), within(y, mask.height), 1, 1).data[3] > 127;
}
function setPainted(painted) {
  state.painted = painted;
  updateRunButton();
}
mask.onpointerdown = mask.onpointermove = stroke;
at("clear").onclick = () => {
  pen.clearRect(0, 0, mask.width, mask.height);
  setPainted(false);
};

function choosePhoto(file) {
  if (!file) return;
  const photo = at("photo");
  URL.revokeObjectURL(photo.src);
  state.photo = file;
  state.painted = false;
  at("easel").hidden = true;
  photo.onload = () => {
    mask.width = photo.naturalWidth;
    mask.height = photo.naturalHeight;
    at("easel").hidden = false;
  };
  photo.onerror = () => {
    setStatus(`This browser cannot show the photo${view().holes ? ", so you cannot paint holes" : ", but the models may support it"}.`);
  };
  photo.src = URL.createObjectURL(file);
  at("drop").querySelector("span").textContent = file.name || "pasted picture";
  reset();
}

function reset() {
  state.turn++;
  clearResult();
  setStatus("");
  updateRunButton();
}

function clearResult() {
  for (const picture of state.pictures.splice(0)) URL.revokeObjectURL(picture);
  at("result").replaceChildren();
}

function chooseModel(model) {
  state.model = model;
  for (const tab of at("models").children) tab.setAttribute("aria-selected", tab.dataset.name === model.name);
  at("title").textContent = model.title ?? words(model.name);
  const about = at("about");
  about.textContent = `${(model.description ?? "").split("\n\n")[0]} `;
  const card = Object.assign(make("a", "Model card"), { href: model.card, onclick: showCard });
  about.append(card);
  if (model.stronger_weights) about.append(make("span", ` ${model.stronger_weights}`, "muted"));
  mask.hidden = at("brush").hidden = !view().holes;
  reset();
}

// A plain link would omit the key.
async function showCard(event) {
  event.preventDefault();
  try {
    const text = await (await call(event.target.href)).text();
    reset();
    at("result").append(make("pre", text, "card"));
  } catch (error) { showError(error); }
}

async function listModels() {
  let models;
  try {
    ({ models } = await (await call("../v1/models")).json());
  } catch (error) {
    at("title").textContent = error.status === 401 ? "An API key is required" : "The gateway is unreachable";
    return showError(error);
  }
  at("models").replaceChildren(...models.map(model => {
    const tab = make("button", model.title ?? words(model.name), model.ready_replicas ? "" : "away");
    tab.setAttribute("role", "tab");
    tab.dataset.name = model.name;
    tab.title = model.ready_replicas ? `ready, ${model.name} ${model.version}` : "no replica is ready";
    tab.onclick = () => { location.hash = model.name; };
    return tab;
  }));
  const follow = () => {
    const wanted = location.hash.slice(1).replaceAll("-", "_");
    const model = models.find(each => each.name === wanted) ?? models[0];
    if (model && model !== state.model) chooseModel(model);
  };
  // Tabs change the URL's hash, so that Back and Forward switch the model.
  onhashchange = follow;
  follow();
}

at("form").onsubmit = run;
at("file").onchange = event => choosePhoto(event.target.files[0]);
at("key").onchange = listModels;
document.addEventListener("paste", event => choosePhoto(event.clipboardData.files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, event => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") choosePhoto(event.dataTransfer.files[0]);
  });
}
listModels();
