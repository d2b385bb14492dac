// The login, and WebSockets that a ticket opens.

let token;

const post = (path, options) => fetch(path, { method: "POST", ...options });
const bearer = () => ({ headers: { authorization: `Bearer ${token}` } });

export const isLoggedIn = () => token !== undefined;

export async function logIn(user) {
  const answer = await post("/login", { body: new URLSearchParams({ user }) });
  const { token: given, error } = await answer.json();
  if (error) throw new Error(error);
  token = given;
}

// The identity provider tells the gate, which ends every connection of this login.
export async function logOut() {
  await post("/logout", bearer());
  token = undefined;
}

// A page cannot set the headers of a WebSocket, and addresses are written down in many places: what it puts into this one is a ticket, good
// once and for seconds.
export const ticket = async () => (await (await post("/ws-ticket", bearer())).json()).ticket;

export const connect = async (path = "/room", good = ticket()) =>
  new WebSocket(`wss://${location.host}${path}?ticket=${await good}`, ["chat.v1"]);
