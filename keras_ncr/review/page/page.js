// The review page: filters, the gallery, the example in detail, and the commands.
"use strict";

const byId = (id) => document.getElementById(id);
const KIND_NAMES = {
  label: "label issues",
  near_duplicate: "near-duplicates",
  outlier: "outliers",
  all: "all",
};
const MOST_CLASSES_LISTED = 200;
// Browsers cut elements that are higher than some ten million pixels.
const MOST_LISTED = 20000;
const NARROW = window.matchMedia("(max-width: 60rem)"); // As in page.css.
const ROWS_BEYOND = 2; // Rows of cards kept above and below what is visible.

// Decisions

const decisions = new Decisions(data ? data.datasetHash : "", () => warn(
  "This browser stores nothing for this page: closing it loses all decisions. Export them "
  + "before, and import the file next time."));
const cardOf = new Map(examples.id.slice(0, numCards).map((id, card) => [id, card]));
const decisionOf = (card) => decisions.byId.get(examples.id[card]);

function warn(text) {
  byId("warning").textContent = text;
  byId("warning").hidden = false;
}

function decide(card, action, chosen = "") {
  const before = decisionOf(card);
  // A decision from an earlier page keeps the given label that it was about.
  const given = before ? before.given : givenName(card);
  if (action !== "drop") action = chosen === given ? "keep" : "relabel";
  const decision = { given, action, chosen: action === "drop" ? "" : chosen };
  const next = nextUndecided(card);
  decisions.change([[examples.id[card], decision]]);
  update(next);
  const left = numUndecided();
  announce(`${examples.id[card]}: ${describe(decision)}. `
    + (left ? `${count(left)} to go.` : "All are decided: press E to export."));
  goTo(current);
}

function describe(decision) {
  if (!decision) return "undecided";
  if (decision.action === "drop") return "✕ dropped";
  return decision.action === "keep" ? "✓ kept" : `→ ${decision.chosen}`;
}

const commands = {
  keep: () => decide(current, "keep", givenName(current)),
  accept() {
    if (hasSuggestion(current)) decide(current, "relabel", suggestedName(current));
    else announce("Nothing to accept: the model agrees with the given label. K keeps it.");
  },
  choose: openChooser,
  drop: () => decide(current, "drop"),
};

// All that pass the filters, of one pair: one step, which one undo takes back.
function acceptAll() {
  const chosen = acceptable();
  if (!chosen.length) return announce("Nothing undecided of this pair is listed.");
  const pair = `${givenName(chosen[0])} → ${suggestedName(chosen[0])}`;
  const score = byId("score-text").textContent;
  const doubt = isWide(data.precisionBounds)
    ? "The audit cannot say how many of its suggestions are right: look at some of these first. " : "";
  if (!window.confirm(`${doubt}Accept ${pair} for ${counted(chosen.length, "undecided example")}, `
    + `${byId("score-name").textContent.toLowerCase()} ${score}? One undo takes all of them back.`)) return;
  decisions.change(chosen.map((card) => [examples.id[card], {
    given: givenName(card), action: "relabel", chosen: suggestedName(card) }]));
  update(current);
  announce(`Accepted: ${counted(chosen.length, "suggestion")}. U takes all of them back.`);
}

const acceptable = () => (byId("pair").value
  ? passing.filter((card) => !decisionOf(card) && hasSuggestion(card)) : []);

function undo() {
  if (!decisions.history.length) return announce("Nothing to undo.");
  const ids = decisions.undo();
  update(cardOf.get(ids[0]) ?? current);
  announce(`Undone: ${ids.length === 1 ? ids[0] : counted(ids.length, "decision")}.`);
  goTo(current);
}

function clearAll() {
  const { size } = decisions.byId;
  if (!size) return announce("Nothing is decided yet.");
  if (!window.confirm(`Clear ${counted(size, "decision")}? Export them first if you may need them.`)) {
    return;
  }
  decisions.change([...decisions.byId.keys()].map((id) => [id, null]));
  update(current);
  announce("All decisions are cleared. Undo brings them back.");
}

function exportCorrections() {
  const { size } = decisions.byId;
  if (!size) return announce("Nothing is decided yet, so there is nothing to export.");
  const csv = correctionsCsv(decisions.byId, data.datasetHash);
  const url = URL.createObjectURL(new Blob([csv], { type: "text/csv;charset=utf-8" }));
  element("a", { href: url, download: "corrections.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000); // The download has begun by then.
  announce(`Exported ${counted(size, "decision")} to corrections.csv.`);
}

async function importCorrections(file) {
  try {
    const changes = readCorrections(await file.text(), data.datasetHash, classNames);
    if (changes.length) decisions.change(changes);
    update(current);
    announce(`Imported ${counted(changes.length, "decision")} from ${file.name}.`);
  } catch (error) {
    announce(`${file.name} was not imported: ${error.message}.`);
  }
}

// Which cards are listed

let passing = []; // Cards that pass the filters, in their order.
let listed = []; // The part of them that is listed.
let current = -1; // The card that commands act on.
let kindCards = []; // Cards of the chosen kind, worst first.
let kindScores = cards.quality || [];

const numUndecided = () => kindCards.reduce((n, card) => n + (decisionOf(card) ? 0 : 1), 0);

function chooseKind() {
  const kind = byId("kind").value;
  kindScores = kind === "outlier" ? cards.outlierScore : cards.quality;
  kindCards = kind === "all" ? [...cards.suggested.keys()] : [...(data.kinds[kind] || [])];
  kindCards.sort((a, b) => kindScores[a] - kindScores[b]);
  byId("score-name").textContent = kind === "outlier" ? "Outlier score" : "Label quality";
  fillPairs();
  const low = kindCards.length ? Math.floor(100 * kindScores[kindCards[0]]) / 100 : 0;
  const high = kindCards.length ? Math.ceil(100 * kindScores[kindCards.at(-1)]) / 100 : 1;
  for (const [id, value] of [["score-from", low], ["score-to", high]]) {
    // With other steps than "any", the browser rounds and never reaches the ends.
    Object.assign(byId(id), { min: low, max: high, step: "any" }).value = value;
  }
}

function fillPairs() {
  const counts = new Map();
  for (const card of kindCards) {
    const pair = `${examples.given[card]}:${cards.suggested[card]}`;
    counts.set(pair, (counts.get(pair) || 0) + 1);
  }
  const options = [...counts].sort((a, b) => b[1] - a[1]).map(([pair, number]) => {
    const [given, suggested] = pair.split(":").map((label) => classNames[label]);
    return element("option", { value: pair }, `${given} → ${suggested} (${count(number)})`);
  });
  byId("pair").replaceChildren(
    element("option", { value: "" }, `all pairs (${count(counts.size)})`), ...options);
}

function passingCards() {
  const pair = byId("pair").value;
  const decided = byId("decided").value;
  const query = byId("search").value.toLowerCase();
  const from = Number(byId("score-from").value);
  const to = Number(byId("score-to").value);
  byId("score-text").textContent = `${from.toFixed(2)}–${to.toFixed(2)}`;
  return kindCards.filter((card) => kindScores[card] >= from && kindScores[card] <= to
    && (!pair || pair === `${examples.given[card]}:${cards.suggested[card]}`)
    && (decided === "all" || (decided === "done") === Boolean(decisionOf(card)))
    && (!query || examples.id[card].toLowerCase().includes(query)));
}

function nextUndecided(card) {
  const start = listed.indexOf(card) + 1;
  const inTurn = [...listed.slice(start), ...listed.slice(0, start)];
  const next = inTurn.find((other) => other !== card && !decisionOf(other));
  return next === undefined ? card : next;
}

// Returns a part of what passes the filters: all of it, unless it is very long.
function partOf(members, card) {
  const numParts = Math.ceil(members.length / MOST_LISTED);
  byId("part-label").hidden = numParts < 2;
  if (numParts < 2) return members;
  const select = byId("part");
  const place = members.indexOf(card);
  const asked = select.length === numParts ? Number(select.value) : 0;
  const part = place < 0 || select.dataset.isAsked ? asked : Math.floor(place / MOST_LISTED);
  delete select.dataset.isAsked;
  select.replaceChildren(...Array.from({ length: numParts }, (_, i) => element("option", { value: i },
    `${count(i * MOST_LISTED + 1)}–${count(Math.min((i + 1) * MOST_LISTED, members.length))}`)));
  select.value = part;
  return members.slice(part * MOST_LISTED, (part + 1) * MOST_LISTED);
}

// Shows the state after a change of decisions or filters. `card` becomes the current one;
// if it does not pass the filters, the card at `place` in the list.
function update(card, place = Math.max(0, listed.indexOf(card))) {
  passing = passingCards();
  listed = partOf(passing, card);
  current = listed.includes(card) ? card : listed[Math.min(place, listed.length - 1)] ?? -1;
  const done = kindCards.length - numUndecided();
  byId("progress").max = Math.max(kindCards.length, 1);
  byId("progress").value = done;
  const elsewhere = [...decisions.byId.keys()].filter((id) => !cardOf.has(id)).length;
  byId("progress-text").textContent = `${count(done)} of ${count(kindCards.length)} decided`
    + (passing.length < kindCards.length ? `, ${count(passing.length)} listed` : "")
    + (elsewhere ? `, ${count(elsewhere)} more from earlier pages` : "");
  byId("undo").disabled = !decisions.history.length;
  const numAcceptable = acceptable().length;
  byId("accept-all").disabled = !numAcceptable;
  byId("accept-all").textContent = numAcceptable
    ? `Accept all ${count(numAcceptable)}…` : "Accept all of the pair…";
  byId("empty").hidden = listed.length > 0;
  byId("empty").textContent = kindCards.length ? "Nothing passes the filters."
    : "The audit found nothing suspicious.";
  layOut();
  showPanel();
}

// The gallery: only the cards near the visible part exist

const gallery = byId("gallery");
const nodes = new Map(); // From card to its element.
const geometry = { columns: 1, width: 0, height: 0 };

function layOut() {
  const gap = 12;
  const space = gallery.clientWidth;
  const columns = Math.max(1, Math.floor((space + gap) / (288 + gap)));
  const width = (space - gap * (columns - 1)) / columns;
  if (listed.length && (width !== geometry.width || !geometry.cardHeight)) {
    // All cards have the same parts of fixed heights: measuring one is enough.
    const probe = makeCard(listed[0]);
    probe.style.width = `${width}px`;
    gallery.append(probe);
    geometry.cardHeight = probe.offsetHeight;
    probe.remove();
  }
  Object.assign(geometry, { columns, width, height: geometry.cardHeight + gap, gap });
  gallery.style.height = `${Math.ceil(listed.length / columns) * geometry.height || 0}px`;
  for (const node of nodes.values()) node.dataset.stale = "1";
  render();
}

function render() {
  if (!listed.length) {
    nodes.clear();
    return gallery.replaceChildren();
  }
  const { columns, height } = geometry;
  const top = -gallery.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / height) - ROWS_BEYOND) * columns;
  const end = Math.max(0, Math.ceil((top + window.innerHeight) / height) + ROWS_BEYOND) * columns;
  const positions = new Map(listed.slice(first, end).map((card, i) => [card, first + i]));
  positions.set(current, listed.indexOf(current)); // It may hold the focus.
  for (const [card, node] of nodes) {
    if (positions.has(card)) continue;
    node.remove();
    nodes.delete(card);
  }
  let cursor = gallery.firstChild;
  for (const [card, position] of [...positions].sort((a, b) => a[1] - b[1])) {
    const node = placedCard(card, position);
    // Moved elements lose the focus, so those that stay are not touched.
    if (node === cursor) cursor = cursor.nextSibling;
    else gallery.insertBefore(node, cursor);
  }
}

function placedCard(card, position) {
  let node = nodes.get(card);
  if (!node) nodes.set(card, (node = makeCard(card)));
  else if (!node.dataset.stale) return node;
  delete node.dataset.stale;
  const { columns, width, height, gap } = geometry;
  const left = (position % columns) * (width + gap);
  node.style.width = `${width}px`;
  node.style.height = `${height - gap}px`;
  node.style.transform = `translate(${left}px, ${Math.floor(position / columns) * height}px)`;
  node.setAttribute("aria-posinset", position + 1);
  node.setAttribute("aria-setsize", listed.length);
  const isCurrent = card === current;
  node.setAttribute("aria-current", isCurrent);
  const decision = decisionOf(card);
  node.classList.toggle("decided", Boolean(decision));
  node.querySelector(".badge").textContent = decision ? describe(decision) : "";
  node.setAttribute("aria-label", `${examples.id[card]}: given ${givenName(card)}, suggested `
    + `${suggestedName(card)}, ${describe(decision)}`);
  node.tabIndex = isCurrent ? 0 : -1;
  markButtons(node, card, isCurrent);
  return node;
}

function makeCard(card) {
  const node = element("article", { class: "card", role: "listitem" },
    element("div", { class: "title" }, nameOf(examples.id[card]),
      element("span", { class: "badge name" })),
    element("div", { class: "body" }, ...(hasPictures ? [pictureOf(card)] : []), scoresOf(card)));
  if (examples.details) node.append(detailsOf(card, 4));
  if (cards.neighbors[card].length) node.append(neighborsOf(card, false));
  node.append(buttonsFor());
  node.dataset.card = card;
  return node;
}

function buttonsFor() {
  const titles = { keep: "Keep", accept: "Accept", choose: "Choose", drop: "Drop" };
  return element("div", { class: "buttons" }, ...Object.entries(titles).map(([command, title]) =>
    element("button", { type: "button", "data-command": command, "aria-keyshortcuts": title[0].toLowerCase() }, title)));
}

function markButtons(node, card, canTab) {
  const decision = decisionOf(card);
  const isAccepted = decision && decision.action !== "drop" && hasSuggestion(card)
    && decision.chosen === suggestedName(card);
  const pressed = {
    keep: decision && decision.action !== "drop" && decision.chosen === givenName(card),
    accept: isAccepted,
    choose: decision && decision.action === "relabel" && !isAccepted
      && decision.chosen !== givenName(card),
    drop: decision && decision.action === "drop",
  };
  for (const button of node.querySelectorAll("[data-command]")) {
    const { command } = button.dataset;
    button.setAttribute("aria-pressed", Boolean(pressed[command]));
    button.disabled = command === "accept" && !hasSuggestion(card);
    button.tabIndex = canTab ? 0 : -1;
  }
}

function goTo(card) {
  if (card < 0) return;
  current = card;
  layOut();
  showPanel();
  nodes.get(card).focus({ preventScroll: true });
  nodes.get(card).scrollIntoView({ block: "nearest" });
  render();
}

// Where one column is all there is room for, the current card is one that is in view.
function follow() {
  if (!NARROW.matches || !listed.length || document.querySelector("dialog[open]")) return;
  const top = byId("bar").getBoundingClientRect().bottom;
  const bottom = byId("panel").getBoundingClientRect().top;
  const middle = (node) => {
    const box = node.getBoundingClientRect();
    return (box.top + box.bottom) / 2;
  };
  const isInView = (node) => node && middle(node) > top && middle(node) < bottom;
  if (isInView(nodes.get(current)) || bottom <= top) return;
  const far = ([, node]) => Math.abs(middle(node) - (top + bottom) / 2);
  const [card] = [...nodes].reduce((one, other) => (far(other) < far(one) ? other : one));
  if (card === current) return;
  current = card;
  for (const [other, node] of nodes) node.setAttribute("aria-current", other === card);
  for (const node of nodes.values()) node.dataset.stale = "1";
  render();
  showPanel();
}

function move(step) {
  const position = listed.indexOf(current) + step;
  if (position >= 0 && position < listed.length) goTo(listed[position]);
}

// The current example in detail

function showPanel() {
  const content = byId("panel-content");
  byId("panel").hidden = current < 0;
  if (current < 0) return;
  const card = current;
  byId("panel-title").textContent = `${examples.id[card]}: ${givenName(card)} → ${suggestedName(card)}`;
  const buttons = buttonsFor();
  markButtons(buttons, card, true);
  content.replaceChildren(
    element("h2", { class: "name" }, examples.id[card]),
    ...(hasPictures ? [pictureOf(card)] : []),
    scoresOf(card),
    buttons,
    element("p", {}, `Decision: ${describe(decisionOf(card))}`),
    factsOf(card));
  const section = (title, node) => content.append(element("h3", {}, title), node);
  if (cards.nearDuplicate && cards.nearDuplicate[card] >= 0) {
    const twin = element("div", { class: "neighbors" }, neighborOf(card, cards.nearDuplicate[card], true));
    section("Nearly the same, with another label", twin);
  }
  if (examples.details) section("Data", detailsOf(card));
  if (cards.neighbors[card].length) section("Nearest neighbors and their given labels", neighborsOf(card, true));
}

// Choosing a class

let candidates = [];
let candidate = 0;

function openChooser() {
  byId("query").value = "";
  byId("chooser").showModal();
  listClasses();
}

function listClasses() {
  const query = byId("query").value.trim().toLowerCase();
  const first = [cards.suggested[current], cards.neighborLabel ? cards.neighborLabel[current] : -1];
  const rank = (label) => {
    const name = classNames[label].toLowerCase();
    if (query) return name === query ? 0 : name.startsWith(query) ? 1 : 2;
    return first.includes(label) ? first.indexOf(label) : 2;
  };
  candidates = [...classNames.keys()]
    .filter((label) => classNames[label].toLowerCase().includes(query))
    .sort((a, b) => rank(a) - rank(b) || a - b);
  candidate = 0;
  const rows = candidates.slice(0, MOST_CLASSES_LISTED).map((label, position) => {
    const row = element("li", { role: "option", id: `class-${position}` }, element("span", { class: "name" }, classNames[label]));
    const notes = [label === examples.given[current] ? "given" : "",
      label === cards.suggested[current] ? "suggested" : ""].filter(Boolean);
    if (notes.length) row.append(" ", element("span", { class: "note" }, `(${notes.join(", ")})`));
    row.dataset.position = position;
    return row;
  });
  const left = candidates.length - rows.length;
  if (left > 0) rows.push(element("li", { class: "more" }, `and ${count(left)} more: type to filter`));
  if (!rows.length) rows.push(element("li", { class: "more" }, "No class has such a name."));
  byId("classes").replaceChildren(...rows);
  markCandidate();
}

function markCandidate() {
  for (const row of byId("classes").querySelectorAll("[role=option]")) {
    const isSelected = Number(row.dataset.position) === candidate;
    row.setAttribute("aria-selected", isSelected);
    if (!isSelected) continue;
    byId("query").setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest" });
  }
}

function pickClass(position) {
  if (position >= candidates.length) return;
  const card = current;
  byId("chooser").close();
  decide(card, "relabel", classNames[candidates[position]]);
}

function onChooserKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.isComposing || (!step && event.key !== "Enter")) return;
  event.preventDefault();
  if (!step) return pickClass(candidate);
  const last = Math.min(candidates.length, MOST_CLASSES_LISTED) - 1;
  candidate = Math.max(0, Math.min(last, candidate + step));
  markCandidate();
}

// Keyboard and mouse

let statusTimer = 0;

function announce(text) {
  byId("status").textContent = text;
  clearTimeout(statusTimer);
  statusTimer = setTimeout(() => { byId("status").textContent = ""; }, 6000);
}

const keys = {
  k: commands.keep, a: commands.accept, c: commands.choose, d: commands.drop,
  n: () => goTo(nextUndecided(current)),
  ArrowRight: () => move(1), ArrowLeft: () => move(-1),
  ArrowDown: () => move(geometry.columns), ArrowUp: () => move(-geometry.columns),
  Home: () => goTo(listed[0]), End: () => goTo(listed.at(-1)),
};
const keysAnytime = {
  u: undo, e: exportCorrections,
  "?": () => byId("keys").showModal(),
  "/": () => byId("search").focus(),
};

function onKey(event) {
  const field = event.target.closest("input, select, dialog");
  if (field && field.closest(".filters") && ["Enter", "Escape"].includes(event.key)) {
    event.preventDefault();
    return goTo(current);
  }
  // A slider needs the arrow keys, but no letters.
  if (field && (field.type !== "range" || event.key.length > 1)) return;
  if (event.altKey || event.isComposing) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isControl = event.ctrlKey || event.metaKey;
  if (isControl && !(key === "z" && !event.shiftKey)) return;
  const command = isControl ? undo : keysAnytime[key] || (current >= 0 && keys[key]);
  if (!command) return;
  event.preventDefault();
  // A key held down moves on, but decides only once.
  if (!event.repeat || key.startsWith("Arrow")) command();
}

function onClick(event) {
  const node = event.target.closest(".card");
  if (node && Number(node.dataset.card) !== current) goTo(Number(node.dataset.card));
  const button = event.target.closest("[data-command]");
  if (button) commands[button.dataset.command]();
}

function listen() {
  const on = (id, type, action) => byId(id).addEventListener(type, action);
  document.addEventListener("keydown", onKey);
  for (const id of ["gallery", "panel-content"]) on(id, "click", onClick);
  on("undo", "click", undo);
  on("export", "click", exportCorrections);
  on("clear", "click", clearAll);
  on("help", "click", () => byId("keys").showModal());
  on("import", "click", () => byId("file").click());
  on("file", "change", async (event) => {
    if (event.target.files.length) await importCorrections(event.target.files[0]);
    event.target.value = ""; // The same file may be chosen again.
  });
  on("kind", "change", () => { chooseKind(); update(kindCards[0]); });
  for (const id of ["pair", "decided", "search", "score-from", "score-to"]) {
    on(id, "input", () => update(current, 0));
  }
  on("part", "input", () => {
    byId("part").dataset.isAsked = "1";
    update(-1, 0);
    window.scrollTo({ top: 0 });
  });
  on("accept-all", "click", acceptAll);
  on("query", "input", listClasses);
  on("chooser", "keydown", onChooserKey);
  on("classes", "click", (event) => {
    const row = event.target.closest("[role=option]");
    if (row) pickClass(Number(row.dataset.position));
  });
  on("panel-toggle", "click", () => {
    const toggle = byId("panel-toggle");
    toggle.setAttribute("aria-expanded", toggle.getAttribute("aria-expanded") === "false");
  });
  let isAsked = false;
  window.addEventListener("scroll", () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => { isAsked = false; render(); follow(); });
  }, { passive: true });
  window.addEventListener("resize", layOut);
  window.addEventListener("storage", (event) => { // Another tab has decided something.
    if (event.key === decisions.key) { decisions.load(); update(current); }
  });
  new ResizeObserver(([bar]) => document.documentElement.style.setProperty(
    "--bar-height", `${bar.target.offsetHeight}px`)).observe(byId("bar"));
}

// Too wide to name one number.
const isWide = (bounds) => Boolean(bounds) && bounds[1] - bounds[0] > data.wide;

function share(value, bounds, words) {
  const between = bounds ? `between ${percent(bounds[0])} and ${percent(bounds[1])}` : "";
  return isWide(bounds) ? `${between} ${words}.`
    : `about ${percent(value)} ${words}${bounds ? `: ${between}` : ""}.`;
}

function summary() {
  const found = data.numFound.label || 0;
  const parts = [`The audit calls ${count(found)} of ${count(data.numExamples)} labels suspicious.`];
  if (data.noiseRate !== null) {
    parts.push(`It estimates that ${share(data.noiseRate, data.noiseRateBounds, "of all labels are wrong")}`);
  }
  if (data.expectedPrecision !== null && found) {
    parts.push(`Of the suspicious ones ${share(data.expectedPrecision, data.precisionBounds, "are expected to be wrong")}`);
  }
  const others = [["near_duplicate", "near-duplicate"], ["outlier", "outlier"]]
    .filter(([kind]) => data.numFound[kind])
    .map(([kind, noun]) => counted(data.numFound[kind], noun)
      + (kind === "near_duplicate" ? " with another label" : ""));
  if (others.length) parts.push(`It also found ${others.join(" and ")}.`);
  if (data.numLeft) parts.push(`This page shows the worst ${count(numCards)}.`);
  const unreadable = data.numUnreadable;
  if (unreadable) parts.push(`${counted(unreadable, "picture")} could not be read.`);
  return parts.join(" ");
}

function start() {
  document.title = `Review labels: ${data.name}`;
  byId("name").textContent = data.name;
  byId("summary").textContent = summary();
  byId("doubts").replaceChildren(...data.doubts.map((doubt) =>
    element("li", {}, `Doubtful: ${doubt}`)));
  document.body.classList.toggle("without-pictures", !hasPictures);
  // A model that hardly knows the classes makes no suggestions to accept unseen.
  byId("accept-all").hidden = !data.knowsClasses;
  byId("legend").textContent = hasPictures && numCards && cards.neighbors[0].length
    ? "Below each example are its nearest neighbors: = has the same label, ≠ has another one." : "";
  const kinds = Object.entries(data.kinds).filter(([, members]) => members.length);
  if (kinds.length !== 1 || kinds[0][1].length < numCards) kinds.push(["all", cards.suggested]);
  byId("kind").replaceChildren(...kinds.map(([kind, members]) =>
    element("option", { value: kind }, `${KIND_NAMES[kind]} (${count(members.length)})`)));
  // After a reload, browsers restore the values of forms.
  byId("decided").value = "all";
  byId("search").value = "";
  chooseKind();
  update(kindCards.find((card) => !decisionOf(card)) ?? kindCards[0] ?? -1);
  listen();
}

if (data) start();
else warn("The file data.js is missing beside this page: keep the folder together.");
