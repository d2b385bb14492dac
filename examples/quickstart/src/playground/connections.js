// The table of connections, and the conversation on the visitor's own.

import { connect, isLoggedIn, logIn, logOut } from "./session.js";

const ROWS_MAX = 8;
const TALK_LEN_MAX = 20000;

const [login, user, session, who, another, leave, table, chat, message, talk] = [
  "login", "user", "session", "who", "another", "leave", "connections", "chat", "message", "talk",
].map((id) => document.getElementById(id));

// The visitor's own that are open, the newest last.
const own = [];
let count = 0;

const say = (line) => {
  talk.hidden = false;
  talk.textContent = `${talk.textContent}${line.slice(0, 200)}\n`.slice(-TALK_LEN_MAX);
  talk.scrollTop = talk.scrollHeight;
};

const element = (name, text, kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });

// Shows a WebSocket, in whoever's hands it is, until newer ones take its row.
export function show(socket, name) {
  count += 1;
  const row = document.createElement("tr");
  const [state, sent, received] = [element("td", ""), element("td", "0"), element("td", "0")];
  const set = (text, kind) => state.replaceChildren(element("span", text, `state ${kind}`));
  row.append(Object.assign(element("th", `${count} ${name}`), { scope: "row" }), state, sent, received);
  table.querySelector(".none")?.remove();
  table.prepend(row);
  const closed = [...table.querySelectorAll("tr:has(.closed)")];
  while (table.rows.length > ROWS_MAX && closed.length > 0) closed.pop().remove();
  set("Connecting", "waiting");
  socket.addEventListener("open", () => set("Open", "open"));
  socket.addEventListener("message", () => (received.textContent = Number(received.textContent) + 1));
  socket.addEventListener("close", ({ code, reason }) => set(`Closed ${code} ${reason}`.trim(), "closed"));
  const send = socket.send.bind(socket);
  socket.send = (data) => {
    send(data);
    sent.textContent = Number(sent.textContent) + 1;
  };
  return socket;
}

// Opens one for the visitor to talk on.
async function open() {
  const socket = show(await connect(), "yours");
  socket.onopen = () => {
    own.push(socket);
    chat.hidden = false;
    say(`open: ${socket.protocol}`);
  };
  socket.onmessage = ({ data }) => say(`received: ${data}`);
  socket.onclose = ({ code, reason }) => {
    if (own.includes(socket)) own.splice(own.indexOf(socket), 1);
    chat.hidden = own.length === 0;
    say(`closed: ${code} ${reason}`);
  };
}

// Logs in by the name that stands in the form, unless somebody is.
export async function enter() {
  if (isLoggedIn()) return;
  await logIn(user.value);
  who.textContent = user.value;
  [login.hidden, session.hidden] = [true, false];
  await open();
}

login.onsubmit = async (event) => {
  event.preventDefault();
  await enter().catch((error) => say(`no login: ${error.message}`));
  if (isLoggedIn()) message.focus();
};
another.onclick = open;
leave.onclick = async () => {
  await logOut();
  [login.hidden, session.hidden] = [false, true];
  user.focus();
};
chat.onsubmit = (event) => {
  event.preventDefault();
  own.at(-1).send(JSON.stringify({ text: message.value }));
  say(`sent: ${message.value}`);
  message.value = "";
};
