// Decisions about labels: storage in the browser, undo, export and import.
"use strict";

const HEADER = ["id", "given_class", "action", "new_class", "dataset_hash"];
const ACTIONS = ["keep", "relabel", "drop"];
const MOST_UNDO = 1000;

// By id, { given, action, chosen } with names of classes; `chosen` is empty for "drop".
// Some may be about examples that only an earlier page of the same data showed.
class Decisions {
  constructor(datasetHash, onStorageFailure) {
    this.key = `keras_ncr.review.${datasetHash}`;
    this.onStorageFailure = onStorageFailure;
    this.load();
  }

  load() {
    this.byId = new Map();
    this.history = []; // Of lists of [id, the decision before or null].
    try {
      const stored = JSON.parse(localStorage.getItem(this.key) || "{}");
      for (const [id, given, action, chosen] of stored.decisions || []) {
        this.byId.set(id, { given, action, chosen });
      }
      this.history = stored.history || [];
      this.save(); // Some browsers let a page read but not write.
    } catch {
      this.onStorageFailure();
    }
  }

  save() {
    const decisions = [...this.byId].map(([id, d]) => [id, d.given, d.action, d.chosen]);
    for (const history of [this.history, []]) { // Without it where there is no room.
      try {
        localStorage.setItem(this.key, JSON.stringify({ decisions, history }));
        return;
      } catch {
        continue;
      }
    }
    this.onStorageFailure();
  }

  // Makes a list of [id, decision or null] one step.
  change(changes) {
    this.history.push(changes.map(([id]) => [id, this.byId.get(id) || null]));
    this.history = this.history.slice(-MOST_UNDO);
    this.set(changes);
  }

  // Returns the ids of the step that was undone.
  undo() {
    const changes = this.history.pop() || [];
    this.set(changes);
    return changes.map(([id]) => id);
  }

  set(changes) {
    for (const [id, decision] of changes) {
      if (decision) this.byId.set(id, decision);
      else this.byId.delete(id);
    }
    this.save();
  }
}

// A spreadsheet would compute texts that begin so; keras_ncr/files.py has the same rule.
function asCell(text) {
  const isNumber = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text);
  return !isNumber && /^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function fromCell(text) {
  return /^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text;
}

function csvField(text) {
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function correctionsCsv(decisions, datasetHash) {
  const rows = [...decisions].map(([id, d]) => [id, d.given, d.action, d.chosen, datasetHash]);
  return [HEADER, ...rows].map((row) => `${row.map(asCell).map(csvField).join(",")}\n`).join("");
}

function parseCsv(text) {
  const field = /("(?:[^"]|"")*"|(?!")[^,\r\n]*)(,|\r\n|\n|\r|$)/y;
  const rows = [[]];
  while (field.lastIndex < text.length) {
    const match = field.exec(text);
    if (!match) throw new Error("its quotation marks do not pair");
    const [, raw, end] = match;
    rows.at(-1).push(raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw);
    if (end === "," && field.lastIndex === text.length) rows.at(-1).push("");
    if (end && end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.some((value) => value !== ""));
}

// Returns a list of [id, decision], or throws: a file is read whole or not at all.
function readCorrections(text, datasetHash, classNames) {
  const [header, ...rows] = parseCsv(text.replace(/^\ufeff/, ""));
  if (String(header) !== String(HEADER)) {
    throw new Error(`its first line is not ${HEADER.join(",")}`);
  }
  const known = new Set(classNames);
  const seen = new Set();
  return rows.map((row, position) => {
    const [id, given, action, chosen, hash] = row.map(fromCell);
    const refuseIf = (isWrong, reason) => {
      if (isWrong) throw new Error(`${reason} (entry ${position + 1}, id ${id})`);
    };
    refuseIf(row.length !== HEADER.length, `a row has ${row.length} values, not 5`);
    refuseIf(hash !== datasetHash, "it is about other data or other labels");
    refuseIf(!ACTIONS.includes(action), `its action "${action}" is not known`);
    refuseIf(action !== "drop" && !known.has(chosen), `its class "${chosen}" is not known`);
    refuseIf(seen.has(id), "it decides twice about an example");
    seen.add(id);
    return [id, { given, action, chosen: action === "drop" ? "" : chosen }];
  });
}
