// Attacks, and two good messages: each has a connection of its own, and is shown with what became of it.

import { enter, show } from "./connections.js";
import { counters, lines, next } from "./events.js";
import { connect } from "./session.js";

const text = (text) => JSON.stringify({ text });
const sends = (...messages) => (socket) => messages.forEach((message) => socket.send(message));

// `send` is for the browser; what has none is played by the demo.
const GROUPS = {
  "Good messages": [
    { id: "hello", name: "Hello", what: "A short text in JSON. The chat service sends it back.", send: sends(text("hello")) },
    { id: "whoami", name: "Who am I?", what: "The chat service answers with the name that the gate took out of your token.", send: sends(text("whoami")) },
  ],
  "Bad handshakes": [
    { id: "origin", name: "Another site’s page", what: "A good token, and the Origin of a page at evil.example." },
    { id: "expired", name: "Expired token", what: "It was good until an hour ago." },
    { id: "forged", name: "Forged token", what: "Its signature was changed." },
    { id: "replay", name: "Ticket used twice", what: "Two handshakes with one ticket; the first is let in." },
  ],
  "Bad messages": [
    { id: "oversized", name: "Oversized", what: "70,000 characters, where 65,536 bytes are allowed.", send: sends(text("x".repeat(70000))) },
    { id: "announced", name: "Four exabytes announced", what: "The header of a frame of 2^62 bytes, and nothing behind it." },
    { id: "sql", name: "SQL injection", what: "A text with ' OR '1'='1 in it.", send: sends(text("x' OR '1'='1' -- ")) },
    { id: "script", name: "Script", what: "A text with a <script> element in it.", send: sends(text("<script>alert(document.cookie)</script>")) },
    { id: "json", name: "Bad JSON", what: "An object that does not end.", send: sends('{"text": "hello"') },
    { id: "tunnel", name: "Tunnel", what: "A message that begins as SSH does.", send: sends("SSH-2.0-OpenSSH_9.9\r\n") },
    { id: "unmasked", name: "Frame without a mask", what: "Clients have to mask what they send (RFC 6455 §5.1)." },
    { id: "flood", name: "Flood", what: "300 messages at once, where 200 are allowed.", send: sends(...Array(300).fill(text("hello"))) },
    { id: "slow", name: "Slow", what: "Half a message, and then nothing. The gate waits for a second." },
  ],
};

// How long nothing has to happen for the message to have passed, in milliseconds: the gate closes at once, if it does.
const QUIET = 400;
// How long a line of the log may take to come here, in milliseconds.
const LINE_WAIT = 2000;

// How much of what came back is shown.
const REPLY_LEN_MAX = 60;

const list = document.getElementById("trials");
const announcer = document.getElementById("announcer");
let running = false;

const pause = (time) => new Promise((done) => setTimeout(done, time));

// Sends on a new connection. Gives how that ended: a close code and reason, or 0 and what came back where it goes on.
async function send({ name, send }) {
  await enter();
  const socket = show(await connect(), name);
  const end = await new Promise((done) => {
    let quiet;
    const wait = ({ data = "" }) => {
      clearTimeout(quiet);
      quiet = setTimeout(() => done({ code: 0, reason: "", reply: data }), QUIET);
    };
    socket.addEventListener("open", (event) => {
      send(socket);
      wait(event);
    });
    socket.addEventListener("message", wait);
    socket.addEventListener("close", ({ code, reason }) => {
      clearTimeout(quiet);
      done({ code, reason });
    });
  });
  socket.close(1000);
  return end;
}

async function play({ id }) {
  const answer = await fetch(`/playground/play/${id}`, { method: "POST" });
  const end = await answer.json();
  if (!answer.ok) throw new Error(end.error);
  return end.code === 101 ? { code: 0, reason: "" } : end;
}

// The line about this end, once it is here.
async function line(from, { code, reason }) {
  const isWanted = ({ number, members }) =>
    number >= from && members && (code === 0 ? members.event === "would_refuse" : members.event === "refused" && (!reason || members.reason === reason));
  const started = performance.now();
  for (;;) {
    const found = lines.find(isWanted);
    if (found || performance.now() - started > (code === 0 ? QUIET : LINE_WAIT)) return found;
    await pause(50);
  }
}

async function run(trial, item) {
  const part = (name) => item.querySelector(name);
  const from = next();
  item.classList.add("running");
  try {
    const end = await (trial.send ? send(trial) : play(trial));
    const found = await line(from, end);
    const reason = (end.code && end.reason) || found?.members.reason || "";
    const [kind, verdict] =
      end.code === 0 ? (found ? ["noted", "Let through, noted"] : ["passed", "Let through"]) : ["refused", "Refused"];
    part(".chip").textContent = verdict;
    part(".chip").className = `chip ${kind}`;
    part(".answer").textContent = reason ? `${end.code || ""} ${reason}`.trim() : (end.reply ?? "").slice(0, REPLY_LEN_MAX);
    const counter = `${kind === "noted" ? "would_refuse" : "refused"}.${reason}`;
    part(".counter").textContent = reason ? `${counter} = ${counters[counter] ?? 0}` : "";
    part("details").hidden = !found;
    if (found) {
      const { at, rule, detail } = found.members;
      part("summary").textContent = ["Log line", at && `at ${at}`, rule && `rule ${rule}`, detail].filter(Boolean).join(", ");
      part(".line").textContent = found.text;
    }
    announcer.textContent = `${trial.name}: ${verdict} ${part(".answer").textContent}`;
  } catch (error) {
    part(".chip").textContent = "Not played";
    part(".chip").className = "chip noted";
    part(".answer").textContent = error.message;
    [part(".counter").textContent, part("details").hidden] = ["", true];
    announcer.textContent = `${trial.name}: not played, ${error.message}`;
  }
  part(".result").hidden = false;
  item.classList.remove("running");
}

// One at a time: the line of one is not taken for that of another. Buttons keep the focus meanwhile.
async function take(trials) {
  if (running) return;
  running = true;
  const buttons = document.querySelectorAll("#trials button, #all");
  buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
  for (const [trial, item] of trials) await run(trial, item);
  buttons.forEach((button) => button.removeAttribute("aria-disabled"));
  running = false;
}

function write(trial) {
  const item = document.getElementById("trial").content.cloneNode(true).firstElementChild;
  item.id = `trial-${trial.id}`;
  item.querySelector("h4").textContent = trial.name;
  item.querySelector("p").textContent = trial.what;
  item.querySelector("button .unseen").textContent = `: ${trial.name}`;
  item.querySelector("button").onclick = () => take([[trial, item]]);
  return [trial, item];
}

const all = Object.entries(GROUPS).flatMap(([name, trials]) => {
  const written = trials.map(write);
  const [title, group] = [document.createElement("h3"), document.createElement("ul")];
  title.textContent = name;
  group.append(...written.map(([, item]) => item));
  list.append(title, group);
  return written;
});
document.getElementById("all").onclick = () => take(all);
