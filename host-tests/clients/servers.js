// One JavaScript library as a server: node servers.js LIBRARY PORT. Each returns what it gets, and obeys two texts: `ping` has it send
// a ping and say what came back, `close CODE REASON` has it end the connection. What it is told of an end is a line of its output.
// The first part of a path is for the gate's routes, and is cut off.
"use strict";
const http = require("node:http");
const { WebSocketServer, createWebSocketStream } = require("ws");

/** Between a protocol's own heartbeats, in milliseconds: longer than the gate's idle_timeout, shorter than a connection stays. */
const HEARTBEAT = 3000;

const [name, port] = process.argv.slice(2);
const ended = (code, reason) => process.stdout.write(`${JSON.stringify({ ended: `${code}${reason ? ` ${reason}` : ""}` })}\n`);

/** Calls `close` where a text asks for it. */
const obeys = (text, close) => {
  const [, code, reason] = /^close (\d+) (\w+)$/.exec(text) ?? [];
  if (code) close(Number(code), reason);
  return Boolean(code);
};

const server = http.createServer((request, response) => {
  // A page for browsers.
  response.writeHead(200, { "content-type": "text/html" });
  response.end("<!doctype html><title>clients</title>");
});
const cut = (request) => { request.url = request.url.replace(/^\/\w+/, ""); };
server.on("upgrade", cut);

/** A WebSocketServer of these options, which has `talk` speak with each socket. */
const serve = (options, talk) => {
  const sockets = new WebSocketServer({ server, ...options });
  sockets.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("close", (code, reason) => ended(code, reason.toString()));
    talk(socket);
  });
  return sockets;
};

const servers = {
  ws() {
    const handleProtocols = (offered) => (offered.has("chat.v1") ? "chat.v1" : false);
    serve({ perMessageDeflate: { threshold: 0 }, handleProtocols }, (socket) => {
      socket.on("message", (data, binary) => {
        const text = binary ? "" : data.toString();
        if (text === "ping") {
          socket.once("pong", (pong) => socket.send(`pong ${pong}`));
          socket.ping("of the server");
        } else if (!obeys(text, (code, reason) => socket.close(code, reason))) {
          socket.send(data, { binary });
        }
      });
    });
  },

  "socket.io"() {
    server.prependListener("request", cut);
    server.removeAllListeners("request");
    server.on("request", cut);
    const { Server } = require("socket.io");
    const io = new Server(server, { perMessageDeflate: { threshold: 0 }, pingInterval: HEARTBEAT, pingTimeout: 2000, cors: { origin: true, credentials: true } });
    io.on("connection", (socket) => {
      socket.conn.on("close", (reason, details) => ended(reason, details?.context?.code ?? ""));
      socket.on("echo", (message, back) => {
        const close = (code, reason) => (code === 1000 ? socket.disconnect(true) : socket.conn.transport.socket.close(code, reason));
        if (!obeys(String(message), close)) back?.(message);
      });
    });
  },

  "graphql-ws"() {
    const { buildSchema } = require("graphql");
    const schema = buildSchema("type Query { echo(text: String!): String }");
    const { useServer } = require("graphql-ws/use/ws");
    const roots = { query: { echo: ({ text }, { extra }) => (obeys(text, (code, reason) => extra.socket.close(code, reason)) ? null : text) } };
    const sockets = serve({}, () => {});
    useServer({ schema, roots, context: (context) => context }, sockets);
  },

  async aedes() {
    const { Aedes } = require("aedes");
    const broker = await Aedes.createBroker();
    broker.on("publish", ({ topic, payload }, client) => { if (topic === "close") obeys(payload.toString(), () => client.close()); });
    serve({ handleProtocols: () => "mqtt" }, (socket) => broker.handle(createWebSocketStream(socket).on("error", () => {})));
  },

  // STOMP 1.2, as much of it as an echo needs.
  stomp() {
    const frame = (command, headers, body = Buffer.alloc(0)) => Buffer.concat([
      Buffer.from(`${command}\n${Object.entries(headers).map(([key, value]) => `${key}:${value}\n`).join("")}\n`), body, Buffer.from("\0"),
    ]);
    serve({ perMessageDeflate: { threshold: 0 }, handleProtocols: () => "v12.stomp" }, (socket) => {
      const beat = setInterval(() => socket.send("\n"), HEARTBEAT);
      socket.on("close", () => clearInterval(beat));
      let subscription;
      socket.on("message", (data) => {
        const at = data.indexOf("\n\n");
        if (at < 0) return;
        const [command, ...lines] = data.subarray(0, at).toString().split("\n");
        const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
        const body = data.subarray(at + 2, data.lastIndexOf(0));
        if (command === "CONNECT") socket.send(frame("CONNECTED", { version: "1.2", "heart-beat": `${HEARTBEAT},${HEARTBEAT}` }).toString());
        if (command === "SUBSCRIBE") subscription = headers.id;
        if (command === "DISCONNECT") socket.send(frame("RECEIPT", { "receipt-id": headers.receipt }).toString());
        if (command === "SEND" && !obeys(headers.kind === "binary" ? "" : JSON.parse(body), (code, reason) => socket.close(code, reason))) {
          const message = frame("MESSAGE", { subscription, "message-id": 1, destination: "/echo", kind: headers.kind, "content-length": body.length }, body);
          socket.send(message, { binary: headers.kind === "binary" });
        }
      });
    });
  },

  sockjs() {
    server.removeAllListeners("request").removeAllListeners("upgrade");
    const echo = require("sockjs").createServer({ log: () => {}, heartbeat_delay: HEARTBEAT });
    echo.on("connection", (connection) => {
      connection.on("close", () => ended("close"));
      connection.on("data", (message) => { if (!obeys(JSON.parse(message), (code, reason) => connection.close(code, reason))) connection.write(message); });
    });
    // It calls other listeners only where its own prefix, an expression, does not match.
    echo.installHandlers(server, { prefix: "/\\w+/sockjs" });
  },

  // SignalR's hub protocol `json`, as much of it as an echo needs: there is no server of it for Node.
  signalr() {
    server.removeAllListeners("request");
    server.on("request", (request, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({
        connectionId: "1", connectionToken: "1", negotiateVersion: 1,
        availableTransports: [{ transport: "WebSockets", transferFormats: ["Text", "Binary"] }],
      }));
    });
    serve({}, (socket) => {
      const send = (record) => socket.send(`${JSON.stringify(record)}\x1e`);
      const ping = setInterval(() => send({ type: 6 }), HEARTBEAT);
      socket.on("close", () => clearInterval(ping));
      socket.on("message", (data) => data.toString().split("\x1e").slice(0, -1).forEach((text) => {
        const { protocol, type, invocationId, arguments: [argument] = [] } = JSON.parse(text);
        if (protocol) send({});
        if (type === 1 && !obeys(argument, (code, reason) => socket.close(code, reason)) && invocationId) send({ type: 3, invocationId, result: argument });
      }));
    });
  },

  // Phoenix channels, version 2.0.0 of their serializer: there is no server of them for Node.
  phoenix() {
    serve({}, (socket) => socket.on("message", (data) => {
      const [join, reference, topic, event, payload] = JSON.parse(data);
      if (event === "echo" && obeys(payload.text, (code, reason) => socket.close(code, reason))) return;
      socket.send(JSON.stringify([join, reference, topic, "phx_reply", { status: "ok", response: event === "echo" ? payload : {} }]));
    }));
  },

  // Centrifugo's protocol in JSON lines: there is no server of it for Node.
  centrifuge() {
    serve({}, (socket) => {
      const ping = setInterval(() => socket.send("{}"), HEARTBEAT);
      socket.on("close", () => clearInterval(ping));
      socket.on("message", (data) => data.toString().split("\n").filter(Boolean).forEach((text) => {
        const { id, connect, rpc } = JSON.parse(text);
        if (connect) socket.send(JSON.stringify({ id, connect: { client: "1", version: "0", ping: HEARTBEAT / 1000, pong: true } }));
        if (rpc && !obeys(rpc.data.text, (code, reason) => socket.close(code, reason))) socket.send(JSON.stringify({ id, rpc: { data: rpc.data } }));
      }));
    });
  },
};

Promise.resolve(servers[name]()).then(() => server.listen(Number(port), "127.0.0.1", () => process.stdout.write("{\"listening\": true}\n")));
