// One JavaScript library as a client: node client.js LIBRARY, with a job, JSON, on each line of its input. Each answer is a line.
//
// {op: "echo", url, messages: [[kind, base64]]}  each message and what came back of it, then the library's own end
// {op: "stay", url, seconds}                     a connection that says nothing for so long, then one message
// {op: "end", url, say}                          a connection that says something, and what the library tells its user of its end
// {op: "refused", url}                           what the library tells where no connection is made
// {op: "again", url, say}                        whether the library comes back after such an end
"use strict";
const libraries = require("./libraries.js");
const { createInterface } = require("node:readline");

const library = libraries[process.argv[2]];
const PATIENCE = 15_000;

const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no ${what} in time`)), PATIENCE); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function run(job) {
  const told = [];
  let ended;
  const end = new Promise((resolve) => { ended = resolve; });
  const late = (error) => { throw new Error([error?.message ?? error, ...told].join("; ")); };
  // `last` is said of what ends a connection, or the attempt at one.
  const tell = (text, last = true) => {
    if (!told.includes(text)) told.push(text);
    if (last) setTimeout(ended, 50);
  };
  if (job.op === "refused") {
    library.open(job, tell).then(() => tell("open"), (error) => tell(`rejected: ${error?.message ?? error}`));
    await within(end, "refusal");
    return { told };
  }
  const connection = await within(library.open(job, tell), "connection").catch(late);
  try {
    if (job.op === "echo") {
      const echoes = [];
      for (const [kind, base64] of job.messages) {
        if (kind === "binary" && !library.binary) continue;
        echoes.push([kind, base64, ...(await within(connection.echo(kind, Buffer.from(base64, "base64")), "echo"))]);
      }
      const more = {};
      for (const name of ["fragments", "ping", "pinged"]) {
        if (connection[name]) more[name] = await within(connection[name](), name);
      }
      connection.leave();
      await within(end, "end");
      return { echoes, ...more, subprotocol: connection.subprotocol, extensions: connection.extensions, told };
    }
    if (job.op === "stay") {
      await wait(job.seconds * 1000);
      const [kind, base64] = await within(connection.echo("text", Buffer.from("still here")), "echo");
      return { echoes: [[kind, base64]], told };
    }
    answer(job, { open: true });
    if (job.say) {
      // A library says so where it was closed while it was sending.
      try { for (let i = 0; i < (job.times ?? 1); i += 1) await connection.say(job.say); } catch (error) { tell(error.message, false); }
    }
    if (job.op === "again") {
      await within(end, "end");
      const started = Date.now();
      for (;;) {
        try {
          await within(connection.again(), "connection");
          const [, base64] = await within(connection.echo("text", Buffer.from("again")), "echo");
          return { again: Buffer.from(base64, "base64").toString(), milliseconds: Date.now() - started, told };
        } catch (error) {
          if (Date.now() - started > PATIENCE) throw error;
          await wait(100);
        }
      }
    }
    await within(end, "end");
    return { told };
  } catch (error) {
    return late(error);
  } finally {
    try { connection.stop ? connection.stop() : connection.leave(); } catch { /* It has ended. */ }
  }
}

const answer = (job, value) => process.stdout.write(`${JSON.stringify({ id: job.id, ...value })}\n`);

// What a library throws where no user can catch it is what its user is told.
process.on("uncaughtException", (error) => process.stderr.write(`uncaught: ${error.stack}\n`));
process.on("unhandledRejection", (error) => process.stderr.write(`unhandled: ${error?.stack ?? error}\n`));

if (process.argv[3] === "--about") {
  const { version } = JSON.parse(require("node:fs").readFileSync(libraries.manifest(library.package)));
  process.stdout.write(`${JSON.stringify({ version, again: Boolean(library.again), binary: Boolean(library.binary) })}\n`);
} else {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const job = JSON.parse(line);
    run(job).then((value) => answer(job, { done: true, ...value }), (error) => answer(job, { done: true, failed: error?.message ?? String(error) }));
  });
  lines.on("close", () => process.exit(0));
}
