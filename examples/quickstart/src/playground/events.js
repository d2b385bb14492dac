// What happens at the gate, as it happens: counters, and the filter's lines in Envoy's log.

const LINES_MAX = 100;
// After which an error is forgotten, in milliseconds.
const RETRY = 2000;

const [log, table] = ["log", "counters"].map((id) => document.getElementById(id));

// The lines so far, the oldest first. Each has its number.
export const lines = [];
export let counters = {};
let count = 0;

// The sum of the counters whose name begins so.
export const sum = (start) =>
  Object.entries(counters).reduce((sum, [name, value]) => (name.startsWith(start) ? sum + value : sum), 0);

// The number that the next line gets.
export const next = () => count;

const element = (name, text, kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });

// What every line has, or what tells little without another log beside it.
const LEFT_OUT = ["event", "reason", "connection", "address", "host", "origin", "path", "provider", "request_id", "user_agent"];

// Behind the moment and the event, its members, or its text.
function write({ time, level, text, members }) {
  const item = document.createElement("li");
  const [head, body] = [document.createElement("p"), document.createElement("code")];
  head.append(element("time", time), element("span", members?.event ?? level, `event ${members?.event ?? level}`));
  if (members?.reason) head.append(element("strong", members.reason));
  for (const [name, value] of Object.entries(members ?? {})) {
    if (LEFT_OUT.includes(name)) continue;
    const pair = element("span", ` ${value}`);
    pair.prepend(element("i", name));
    body.append(pair, " ");
  }
  if (!members) body.append(text);
  item.append(head, body);
  log.prepend(item);
  while (log.children.length > LINES_MAX) log.lastChild.remove();
}

function showCounters() {
  for (const tile of document.querySelectorAll("[data-counter]")) {
    tile.textContent = sum(tile.dataset.counter).toLocaleString("en");
  }
  const row = ([name, value]) => {
    const row = document.createElement("tr");
    row.append(Object.assign(element("th", name), { scope: "row" }), element("td", value.toLocaleString("en")));
    return row;
  };
  table.replaceChildren(...Object.entries(counters).map(row));
}

// A stream ends after some seconds, and the browser asks for the next by itself, but not behind an error.
export function listen() {
  const stream = new EventSource("/playground/events");
  stream.onerror = () => stream.readyState === EventSource.CLOSED && setTimeout(listen, RETRY);
  stream.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    for (const line of event.lines) {
      const members = line.text.startsWith("{") ? JSON.parse(line.text) : undefined;
      lines.push({ ...line, members, number: count++ });
      write(lines.at(-1));
    }
    lines.splice(0, Math.max(0, lines.length - LINES_MAX));
    counters = event.counters;
    showCounters();
  };
}
