// How each JavaScript library is used: open(job, tell) gives a connection of {echo, say, leave}, and, where the library has it,
// `fragments`, `ping` and `pinged` (the server's), `again`, a promise of the next connection, and `stop`.
"use strict";
const path = require("node:path");

/** What comes, in order, for whoever waits for it. */
class Inbox {
  #messages = [];
  #readers = [];
  put(message) {
    const reader = this.#readers.shift();
    if (reader) reader(message); else this.#messages.push(message);
  }
  take() {
    return this.#messages.length ? Promise.resolve(this.#messages.shift()) : new Promise((resolve) => this.#readers.push(resolve));
  }
}

const text = (bytes) => Buffer.from(bytes).toString("utf8");
const pair = (kind, value) => [kind, Buffer.from(value).toString("base64")];
const closed = (code, reason) => `${code}${reason ? ` ${reason}` : ""}`;

const ws = {
  package: "ws",
  binary: true,
  open: (job, tell) => new Promise((resolve, reject) => {
    const { WebSocket } = require("ws");
    const socket = new WebSocket(job.url, job.subprotocols ?? [], { perMessageDeflate: job.compression ?? false });
    const inbox = new Inbox();
    socket.on("message", (data, binary) => inbox.put(pair(binary ? "binary" : "text", data)));
    socket.on("close", (code, reason) => tell(closed(code, text(reason))));
    socket.on("error", (error) => { tell(error.message, false); reject(error); });
    socket.on("open", () => resolve({
      echo: (kind, bytes) => { socket.send(kind === "text" ? text(bytes) : bytes, { binary: kind !== "text" }); return inbox.take(); },
      say: (message) => socket.send(message),
      leave: () => socket.close(1000, "bye"),
      fragments: () => {
        ["fra", "", "gments"].forEach((part, index) => socket.send(part, { fin: index === 2, binary: false }));
        return inbox.take().then(([, base64]) => text(Buffer.from(base64, "base64")));
      },
      ping: () => new Promise((done) => { socket.once("pong", (data) => done(text(data))); socket.ping("are you there"); }),
      pinged: () => { socket.send("ping"); return inbox.take().then(([, base64]) => text(Buffer.from(base64, "base64"))); },
      subprotocol: socket.protocol,
      extensions: socket.extensions,
    }));
  }),
};

/** What has the interface that browsers have. */
const standard = (socket, tell) => new Promise((resolve, reject) => {
  const inbox = new Inbox();
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => inbox.put(typeof data === "string" ? pair("text", data) : pair("binary", data));
  socket.onclose = ({ code, reason }) => tell(closed(code, reason));
  socket.onerror = (event) => { const why = event.error?.message || event.message || "error"; tell(why, false); reject(new Error(why)); };
  socket.onopen = () => resolve({
    echo: (kind, bytes) => { socket.send(kind === "text" ? text(bytes) : bytes); return inbox.take(); },
    say: (message) => socket.send(message),
    leave: () => socket.close(1000, "bye"),
    pinged: () => { socket.send("ping"); return inbox.take().then(([, base64]) => text(Buffer.from(base64, "base64"))); },
    subprotocol: socket.protocol,
    extensions: socket.extensions,
  });
});

const undici = {
  package: "undici",
  binary: true,
  open: (job, tell) => standard(new (require("undici").WebSocket)(job.url, job.subprotocols ?? []), tell),
};

/** The URL as a library wants it that takes its parts. */
const parts = (job, scheme) => {
  const url = new URL(job.url);
  return { base: `${scheme}://${url.host}`, path: url.pathname.replace(/\/$/, ""), search: url.search, token: url.searchParams.get("token") };
};

/** A promise of the connection that is there, or else of the next one. */
class Opened {
  #isOpen = true;
  constructor() { this.next(); }
  next() {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.promise = new Promise((resolve) => { this.resolve = () => { this.#isOpen = true; resolve(); }; });
  }
}

const socketIo = {
  package: "socket.io-client",
  binary: true,
  again: true,
  open: (job, tell) => new Promise((resolve, reject) => {
    const { io } = require("socket.io-client");
    const { base, path: prefix, token } = parts(job, "http");
    const socket = io(base, {
      path: `${prefix}/socket.io/`, transports: job.transports ?? ["websocket"], query: token ? { token } : {}, forceNew: true,
      reconnection: job.op === "again", reconnectionDelay: 300, perMessageDeflate: job.compression ? {} : false,
    });
    const opened = new Opened();
    socket.on("connect_error", (error) => {
      tell(`connect_error: ${error.message}${error.description?.message ? `: ${error.description.message}` : ""}`);
      reject(error);
    });
    socket.on("disconnect", (reason, details) => {
      const context = details?.context;
      opened.next();
      tell(`${reason}${context?.code ? `, ${closed(context.code, context.reason)}` : ""}`);
    });
    socket.on("connect", () => {
      opened.resolve();
      resolve({
        echo: (kind, bytes) => new Promise((done) => {
          socket.emit("echo", kind === "text" ? text(bytes) : bytes, (back) => done(pair(typeof back === "string" ? "text" : "binary", back)));
        }),
        say: (message) => socket.emit("echo", message),
        leave: () => socket.disconnect(),
        again: () => opened.promise,
      });
    });
  }),
};

const graphqlWs = {
  package: "graphql-ws",
  again: true,
  open: (job, tell) => new Promise((resolve, reject) => {
    const { createClient } = require("graphql-ws");
    const opened = new Opened();
    const client = createClient({
      url: job.url, webSocketImpl: require("ws").WebSocket, lazy: false, retryAttempts: job.op === "again" ? 20 : 0,
      retryWait: () => new Promise((done) => { setTimeout(done, 300); }), shouldRetry: () => true,
      onNonLazyError: (error) => { tell(error.message ?? closed(error.code, error.reason)); reject(error); },
      on: {
        error: (error) => tell(error.message ?? String(error), false),
        closed: (event) => { opened.next(); tell(closed(event.code, event.reason)); },
        connected: (socket) => {
          opened.resolve();
          const ask = (message) => new Promise((done, fail) => {
            let value;
            client.subscribe({ query: "query Echo($text: String!) { echo(text: $text) }", variables: { text: message } },
              { next: (result) => { value = result.data.echo; }, error: fail, complete: () => done(value) });
          });
          resolve({
            echo: (kind, bytes) => ask(text(bytes)).then((back) => pair("text", back)),
            say: (message) => { ask(message).catch(() => {}); },
            leave: () => client.dispose(),
            again: () => opened.promise,
            subprotocol: socket.protocol,
          });
        },
      },
    });
  }),
};

const mqtt = {
  package: "mqtt",
  binary: true,
  again: true,
  open: (job, tell) => new Promise((resolve, reject) => {
    const client = require("mqtt").connect(job.url, { reconnectPeriod: job.op === "again" ? 300 : 0, resubscribe: true, connectTimeout: 5000 });
    const inbox = new Inbox();
    const opened = new Opened();
    const topic = `echo/${job.id}-${Math.random()}`;
    client.on("message", (_, payload) => inbox.put(payload));
    client.on("error", (error) => { tell(error.message, false); reject(error); });
    client.on("close", () => { opened.next(); tell("close"); });
    client.on("connect", () => client.subscribe(topic, () => {
      opened.resolve();
      resolve({
        // A payload has no kind.
        echo: (kind, bytes) => { client.publish(topic, bytes, { qos: 1 }); return inbox.take().then((back) => pair(kind, back)); },
        say: (message) => client.publish(message.startsWith("close") ? "close" : topic, message),
        leave: () => client.end(),
        again: () => opened.promise,
      });
    }));
  }),
};

const stomp = {
  package: "@stomp/stompjs",
  binary: true,
  again: true,
  open: (job, tell) => new Promise((resolve, reject) => {
    const { Client } = require("@stomp/stompjs");
    const { WebSocket } = require("ws");
    const inbox = new Inbox();
    const opened = new Opened();
    const client = new Client({
      webSocketFactory: () => new WebSocket(job.url, ["v12.stomp", "v11.stomp"], { perMessageDeflate: job.compression ?? false }),
      reconnectDelay: job.op === "again" ? 300 : 0, heartbeatIncoming: 3000, heartbeatOutgoing: 3000,
      onWebSocketError: (event) => { tell(event.message ?? "error", false); reject(new Error(event.message)); },
      onWebSocketClose: (event) => { opened.next(); tell(closed(event.code, event.reason)); },
      onStompError: (frame) => tell(`ERROR ${frame.headers.message}`, false),
      onConnect: () => {
        client.subscribe("/echo", (message) => inbox.put(message));
        opened.resolve();
        resolve({
          echo: (kind, bytes) => {
            const contents = kind === "text" ? { body: JSON.stringify(text(bytes)) } : { binaryBody: new Uint8Array(bytes) };
            client.publish({ destination: "/echo", headers: { kind }, ...contents });
            return inbox.take().then(({ headers, body, binaryBody }) => pair(headers.kind, headers.kind === "text" ? JSON.parse(body) : binaryBody));
          },
          say: (message) => client.publish({ destination: "/echo", body: JSON.stringify(message) }),
          leave: () => client.deactivate(),
          again: () => opened.promise,
          stop: () => client.deactivate({ force: true }),
        });
      },
    });
    client.activate();
  }),
};

const sockjs = {
  package: "sockjs-client",
  open: (job, tell) => new Promise((resolve, reject) => {
    const { base, path: prefix, search } = parts(job, "http");
    const socket = new (require("sockjs-client"))(`${base}${prefix}/sockjs${search}`, null, { transports: ["websocket"] });
    const inbox = new Inbox();
    socket.onmessage = ({ data }) => inbox.put(data);
    socket.onclose = ({ code, reason }) => { tell(closed(code, reason)); reject(new Error(closed(code, reason))); };
    socket.onopen = () => resolve({
      echo: (kind, bytes) => { socket.send(JSON.stringify(text(bytes))); return inbox.take().then((back) => pair("text", JSON.parse(back))); },
      say: (message) => socket.send(JSON.stringify(message)),
      leave: () => socket.close(1000, "bye"),
    });
  }),
};

const signalr = {
  package: "@microsoft/signalr",
  again: true,
  open: async (job, tell) => {
    const { HubConnectionBuilder, HttpTransportType, LogLevel } = require("@microsoft/signalr");
    const { base, path: prefix, search } = parts(job, "http");
    const opened = new Opened();
    const builder = new HubConnectionBuilder().configureLogging({ log: (level, message) => {
      if (level >= LogLevel.Error) tell(message.replace(/https?:\S*/g, "URL"), false);
    } }).withUrl(`${base}${prefix}/hub${search}`, { transport: HttpTransportType.WebSockets });
    const hub = (job.op === "again" ? builder.withAutomaticReconnect([300, 300, 300, 300, 300]) : builder).build();
    hub.onclose((error) => tell(error?.message ?? "closed"));
    hub.onreconnecting((error) => { opened.next(); tell(error?.message ?? "reconnecting"); });
    hub.onreconnected(() => opened.resolve());
    await hub.start();
    return {
      echo: (kind, bytes) => hub.invoke("Echo", text(bytes)).then((back) => pair("text", back)),
      say: (message) => { hub.send("Echo", message).catch(() => {}); },
      leave: () => hub.stop(),
      again: () => opened.promise,
    };
  },
};

const phoenix = {
  package: "phoenix",
  again: true,
  open: (job, tell) => new Promise((resolve, reject) => {
    const { Socket } = require("phoenix");
    const { base, path: prefix, token } = parts(job, "ws");
    const opened = new Opened();
    let stopped = job.op !== "again";
    const socket = new Socket(`${base}${prefix}/socket`, {
      transport: require("ws").WebSocket, params: token ? { token } : {}, heartbeatIntervalMs: 3000, reconnectAfterMs: () => 300, rejoinAfterMs: () => 300,
    });
    socket.onError((event) => { tell(event?.message ?? event?.error?.message ?? "error", false); });
    socket.onClose((event) => {
      opened.next();
      tell(closed(event.code, event.reason));
      if (stopped) socket.disconnect();
      reject(new Error(closed(event.code, event.reason)));
    });
    socket.connect();
    const channel = socket.channel("room:echo");
    const push = (message) => new Promise((done, fail) => {
      channel.push("echo", { text: message }).receive("ok", ({ text: back }) => done(back)).receive("error", fail).receive("timeout", fail);
    });
    channel.join().receive("ok", () => {
      opened.resolve();
      resolve({
        echo: (kind, bytes) => push(text(bytes)).then((back) => pair("text", back)),
        say: (message) => { push(message).catch(() => {}); },
        leave: () => { stopped = true; socket.disconnect(undefined, 1000, "bye"); },
        again: () => opened.promise,
      });
    });
  }),
};

const centrifuge = {
  package: "centrifuge",
  again: true,
  open: (job, tell) => new Promise((resolve, reject) => {
    const { Centrifuge } = require("centrifuge");
    const opened = new Opened();
    const client = new Centrifuge(job.url, { websocket: require("ws").WebSocket, minReconnectDelay: 300, maxReconnectDelay: 300 });
    let isOver = false;
    const ended = ({ code, reason }) => {
      opened.next();
      // What is told last is that we have it stop.
      if (!isOver) tell(closed(code, reason));
      if (job.op !== "again") { isOver = true; client.disconnect(); }
      reject(new Error(closed(code, reason)));
    };
    client.on("connecting", (context) => { if (context.code !== 0) ended(context); });
    client.on("disconnected", ended);
    client.on("error", ({ error }) => {
      tell(`${error.code} ${error.message}`, job.op === "refused");
      if (job.op === "refused") {
        isOver = true;
        reject(new Error(error.message));
        client.disconnect();
      }
    });
    client.on("connected", () => {
      opened.resolve();
      resolve({
        echo: (kind, bytes) => client.rpc("echo", { text: text(bytes) }).then(({ data }) => pair("text", data.text)),
        say: (message) => { client.rpc("echo", { text: message }).catch(() => {}); },
        leave: () => client.disconnect(),
        again: () => opened.promise,
      });
    });
    client.connect();
  }),
};

const nats = {
  package: "nats.ws",
  binary: true,
  again: true,
  open: async (job, tell) => {
    globalThis.WebSocket ??= require("ws").WebSocket;
    const { connect } = require("nats.ws");
    const client = await connect({ servers: job.url, reconnect: job.op === "again", reconnectTimeWait: 300, maxReconnectAttempts: 20, timeout: 5000 });
    const inbox = new Inbox();
    const opened = new Opened();
    const topic = `echo.${String(Math.random()).slice(2)}`;
    client.subscribe(topic, { callback: (_, message) => inbox.put(message.data) });
    (async () => {
      for await (const status of client.status()) {
        if (status.type === "disconnect") { opened.next(); tell("disconnect"); }
        if (status.type === "error") tell(String(status.data), false);
        if (status.type === "reconnect") opened.resolve();
      }
    })();
    client.closed().then((error) => tell(error ? `closed: ${error.message}` : "closed"));
    return {
      echo: (kind, bytes) => { client.publish(topic, bytes); return inbox.take().then((back) => pair(kind, back)); },
      // Without a flush all of them go in one frame.
      say: async (message) => {
        if (client.isClosed()) return;
        client.publish(topic, message);
        await Promise.race([client.flush().catch(() => {}), client.closed()]);
      },
      leave: () => client.close(),
      again: () => opened.promise,
    };
  },
};

Object.assign(module.exports, {
  ws, undici, "socket.io-client": socketIo, "graphql-ws": graphqlWs, mqtt, "@stomp/stompjs": stomp, "sockjs-client": sockjs,
  "@microsoft/signalr": signalr, phoenix, centrifuge, "nats.ws": nats,
});

// The exports of some packages hide their package.json.
Object.defineProperty(module.exports, "manifest", { value: (name) => path.join(process.env.NODE_PATH, name, "package.json") });
