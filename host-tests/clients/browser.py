"""A browser as a client: Chromium by its DevTools protocol, Firefox by WebDriver BiDi, each through its own debugging port."""

import asyncio
import base64
import contextlib
import itertools
import json
import re
import subprocess
import tempfile
import threading
from types import SimpleNamespace
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

COMMANDS = {
    # The DevTools of Chromium do not start as root with its own sandbox; the only page that it opens here is ours.
    "chromium": ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"],
    "firefox-esr": ["firefox-esr", "--headless", "--no-remote", "--remote-debugging-port=0"],
}

# What runs in the page. Bytes are passed as base64.
PAGE = """
(() => {
  const sockets = window.sockets = new Map();
  const decode = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const encode = (octets) => btoa(Array.from(octets, (one) => String.fromCharCode(one)).join(""));
  const pair = (data) => JSON.stringify(typeof data === "string" ? ["text", encode(new TextEncoder().encode(data))] : ["binary", encode(new Uint8Array(data))]);
  window.play = {
    open: (id, url, protocols) => new Promise((resolve) => {
      const socket = new WebSocket(url, protocols);
      socket.binaryType = "arraybuffer";
      const own = { socket, told: [], inbox: [], readers: [] };
      own.ended = new Promise((ended) => {
        socket.onclose = ({ code, reason }) => { own.told.push(`${code} ${reason}`.trim()); ended(JSON.stringify(own.told)); resolve(JSON.stringify({ failed: own.told })); };
      });
      socket.onerror = () => own.told.push("error");
      socket.onmessage = ({ data }) => { const reader = own.readers.shift(); if (reader) reader(pair(data)); else own.inbox.push(pair(data)); };
      socket.onopen = () => resolve(JSON.stringify({ subprotocol: socket.protocol, extensions: socket.extensions }));
      sockets.set(id, own);
    }),
    take: (id) => { const own = sockets.get(id); return own.inbox.length ? own.inbox.shift() : new Promise((resolve) => own.readers.push(resolve)); },
    say: (id, kind, base64) => { const octets = decode(base64); sockets.get(id).socket.send(kind === "text" ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(octets) : octets); return "said"; },
    ended: (id) => sockets.get(id).ended,
    leave: (id) => { sockets.get(id).socket.close(1000, "bye"); return "left"; },
  };
  return "ready";
})()
"""


class Browser:
    """One page of one browser."""

    def __init__(self, name):
        self.name = name
        self.child = None
        self.profile = tempfile.TemporaryDirectory(prefix="portcullis-", ignore_cleanup_errors=True)
        self.answers = {}
        self.ids = itertools.count(1)
        self.ready = None

    async def page(self, url):
        """The page, from the origin of the first URL that is asked for."""
        if self.ready is None:
            self.ready = asyncio.ensure_future(self._start(url))
        await self.ready

    async def _start(self, url):
        folder = self.profile.name
        switches = [f"--user-data-dir={folder}"] if self.name == "chromium" else ["--profile", folder]
        self.child = subprocess.Popen([*COMMANDS[self.name], *switches], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        address = await asyncio.to_thread(self._address)
        self.socket = await connect(address, max_size=None, ping_interval=None)
        self.reader = asyncio.create_task(self._read())
        if self.name == "chromium":
            target = await self.command("Target.createTarget", url=url)
            attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            self.session = attached["sessionId"]
            for _ in range(100):
                if await self.evaluate("document.title") == "clients":
                    break
                await asyncio.sleep(0.1)
        else:
            await self.command("session.new", capabilities={})
            self.context = (await self.command("browsingContext.create", type="tab"))["context"]
            await self.command("browsingContext.navigate", context=self.context, url=url, wait="complete")
        await self.evaluate(PAGE)

    def _address(self):
        for line in self.child.stderr:
            if found := re.search(r"listening on (ws://\S+)", line):
                # Nobody reads the rest, and a full pipe would stop it.
                threading.Thread(target=lambda: list(self.child.stderr), daemon=True).start()
                return found[1] if self.name == "chromium" else found[1].rstrip("/") + "/session"
        raise RuntimeError(f"{self.name} ended before it listened")

    async def _read(self):
        async for message in self.socket:
            message = json.loads(message)
            if answer := self.answers.pop(message.get("id"), None):
                answer.set_result(message)

    async def command(self, method, session=None, **parameters):
        number = next(self.ids)
        self.answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}))
        answer = await self.answers[number]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer.get('message') or answer['error']}")
        return answer["result"]

    async def evaluate(self, expression):
        if self.name == "chromium":
            answer = await self.command("Runtime.evaluate", self.session, expression=expression, awaitPromise=True, returnByValue=True)
            return answer["result"].get("value")
        answer = await self.command("script.evaluate", expression=expression, target={"context": self.context}, awaitPromise=True)
        return answer["result"]["value"] if answer["type"] == "success" else None

    async def call(self, name, *arguments):
        return await self.evaluate(f"play.{name}({', '.join(map(json.dumps, arguments))})")

    def stop(self):
        if self.child:
            self.child.terminate()
            self.child.wait()
        self.profile.cleanup()


BROWSERS = {name: Browser(name) for name in COMMANDS}


def version(name):
    return re.search(r"[\d.]+", subprocess.check_output([name, "--version"], text=True))[0]


def use(name):
    @contextlib.asynccontextmanager
    async def use_browser(job, tell):
        browser = BROWSERS[name]
        address = urlsplit(job["url"])
        await browser.page(f"http://{address.netloc}/plain")
        own = job["id"]
        opened = json.loads(await browser.call("open", own, job["url"], job.get("subprotocols", [])))
        if "failed" in opened:
            raise ConnectionError("; ".join(opened["failed"]))

        async def wait():
            for text in json.loads(await browser.call("ended", own)):
                tell(text)

        waiting = asyncio.create_task(wait())

        async def say(data):
            kind, octets = ("text", data.encode()) if isinstance(data, str) else ("binary", data)
            await browser.call("say", own, kind, base64.b64encode(octets).decode())

        async def echo(data):
            await say(data)
            return json.loads(await browser.call("take", own))

        async def pinged():
            return base64.b64decode((await echo("ping"))[1]).decode()

        yield SimpleNamespace(echo=echo, say=say, pinged=pinged, leave=lambda: browser.call("leave", own), **opened)
        await browser.call("leave", own)
        await waiting

    return use_browser
