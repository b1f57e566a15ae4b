// Cards: the picture, scores, details and neighbors of an example, as elements.
// The user's data goes on the page as text, never as HTML.
"use strict";

const data = window.reviewData; // From data.js.

const percent = (share) => {
  const value = 100 * share;
  return `${value > 0 && value < 1 ? "<1" : Math.round(value)} %`;
};
const count = (number) => number.toLocaleString("en-US");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // Strings become text.
  return node;
}

const nameOf = (text) => element("span", { class: "name", title: text }, text);

// Card i shows example i. Examples without a card, all neighbors, follow.

const classNames = data ? data.classNames : [];
const examples = data ? data.examples : { id: [], given: [] };
const cards = data ? data.cards : { suggested: [] };
const numCards = cards.suggested.length;
const hasPictures = "picture" in examples;
const givenName = (example) => classNames[examples.given[example]];
const suggestedName = (card) => classNames[cards.suggested[card]];
const hasSuggestion = (card) => cards.suggested[card] !== examples.given[card];

function pictureOf(example) {
  const frame = element("div", { class: "picture" });
  const file = examples.picture[example];
  const placeholder = () => frame.replaceChildren("no picture");
  if (!file) placeholder();
  else {
    const image = element("img", { alt: "", loading: "lazy", decoding: "async" });
    image.onerror = placeholder;
    // Very small images show every pixel.
    image.onload = () => image.classList.toggle(
      "tiny", Math.max(image.naturalWidth, image.naturalHeight) <= 64);
    image.src = `thumbnails/${file}`;
    frame.append(image);
  }
  return frame;
}

function scoresOf(card) {
  const line = (kind, title, name, confidence) => {
    const fill = element("div");
    fill.style.width = `${100 * confidence}%`;
    return element("div", { class: `line ${kind}` }, title,
      element("div", { class: "words" }, nameOf(name), percent(confidence)),
      element("div", { class: "track" }, fill));
  };
  return element("div", { class: "scores" },
    line("given", "given", givenName(card), cards.givenConfidence[card]),
    line("suggested", hasSuggestion(card) ? "suggested" : "suggested, the same",
      suggestedName(card), cards.suggestedConfidence[card]));
}

function detailsOf(example, most) {
  const values = examples.details[example].slice(0, most);
  const single = data.detailColumns.length === 1;
  const list = element("dl", { class: `details${single ? " single" : ""}` });
  values.forEach((value, i) => {
    if (!single) list.append(columnName(data.detailColumns[i]));
    list.append(element("dd", { class: "name", title: value.slice(0, 500) }, value || "–"));
  });
  return list;
}

// Long names may break where their words end.
function columnName(name) {
  const words = name.split(/(?<=[_.-])/).flatMap((word) => [word, element("wbr")]);
  return element("dt", { class: "name", title: name }, ...words);
}

function neighborsOf(card, isLarge) {
  if (!isLarge && !hasPictures) return neighborCounts(card);
  const list = element("div", { class: "neighbors", role: "list", "aria-label": "Nearest neighbors" });
  if (!isLarge) list.style.setProperty("--neighbors", cards.neighbors[card].length);
  for (const example of cards.neighbors[card]) list.append(neighborOf(card, example, isLarge));
  return list;
}

// Without pictures, a card counts its neighbors by label.
function neighborCounts(card) {
  const counts = new Map();
  for (const example of cards.neighbors[card]) {
    counts.set(givenName(example), (counts.get(givenName(example)) || 0) + 1);
  }
  const words = [...counts].sort((a, b) => b[1] - a[1]).map(([name, number]) =>
    `${name === givenName(card) ? "=" : "≠"} ${name}: ${number}`);
  return element("div", { class: "counts" }, "neighbors ", nameOf(words.join(", ")));
}

function neighborOf(card, example, isLarge) {
  const isSame = examples.given[example] === examples.given[card];
  const isSuggested = !isSame && examples.given[example] === cards.suggested[card];
  const sign = isSame ? "=" : "≠";
  const node = element("div", {
    class: `neighbor ${isSame ? "same" : "other"}${isSuggested ? " suggested" : ""}`,
    role: "listitem",
    title: `${examples.id[example]}: ${isSame ? "the same label" : "another label"}, ${givenName(example)}`,
  }, ...(hasPictures ? [pictureOf(example)] : []),
  element("span", { class: "name" }, `${sign} ${givenName(example)}`));
  if (isLarge && !hasPictures) node.append(nameOf(examples.id[example]));
  if (isLarge && examples.details) node.append(detailsOf(example, 6));
  return node;
}

// The scores that the audit gave an example.
function factsOf(card) {
  const facts = [["label quality", cards.quality[card].toFixed(3)]];
  if (cards.issueProbability && data.knowsClasses) facts.push(["probably wrong", percent(cards.issueProbability[card])]);
  if (cards.neighborAgreement) facts.push(["neighbors that agree", percent(cards.neighborAgreement[card])]);
  if (cards.neighborLabel) { // -1 where no neighbor is similar.
    facts.push(["most neighbors say", classNames[cards.neighborLabel[card]] ?? "–"]);
  }
  if (cards.outlierScore) facts.push(["outlier score", cards.outlierScore[card].toFixed(3)]);
  return element("dl", { class: "details facts" }, ...facts.flatMap(([title, value]) =>
    [element("dt", {}, title), element("dd", { class: "name" }, value)]));
}
