"""One Python library as a client: python client.py LIBRARY, with the jobs of client.js, one on each line of its input.

How a library is used is an asynchronous context: it takes the job, `tell` and gives a connection with `echo`, `say`, `leave`, and, where the
library has it, `fragments`, `ping`, `pinged` (the server's), `subprotocol`, `extensions` and `again`.
"""

import asyncio
import base64
import contextlib
import importlib.metadata
import json
import sys
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import browser

PATIENCE = 15


def pair(data):
    kind, octets = ("text", data.encode()) if isinstance(data, str) else ("binary", bytes(data))
    return [kind, base64.b64encode(octets).decode()]


def closed(code, reason):
    return f"{code} {reason}".strip()


def connection(inbox, send, **more):
    """What all have: `send` takes a text or bytes, `inbox` gets what comes."""

    async def echo(data):
        await send(data)
        return pair(await inbox.get())

    async def pinged():
        await send("ping")
        return await inbox.get()

    return SimpleNamespace(**{"echo": echo, "say": send, "pinged": pinged, **more})


@contextlib.asynccontextmanager
async def use_websockets(job, tell):
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    options = {"compression": "deflate" if job.get("compression") else None, "subprotocols": job.get("subprotocols") or None}
    async with connect(job["url"], max_size=None, **options) as socket:
        inbox = asyncio.Queue()

        async def read():
            try:
                while True:
                    await inbox.put(await socket.recv())
            except ConnectionClosed as error:
                tell(str(error))
                tell(closed(socket.close_code, socket.close_reason))

        reader = asyncio.create_task(read())

        async def fragments():
            await socket.send(["fra", "", "gments"])
            return await inbox.get()

        async def ping():
            await (await socket.ping("are you there"))
            return "are you there"

        yield connection(
            inbox, socket.send, leave=lambda: socket.close(1000, "bye"), fragments=fragments, ping=ping, subprotocol=socket.subprotocol,
            extensions=", ".join(extension.name for extension in socket.protocol.extensions),
        )
        await socket.close()
        await reader


@contextlib.asynccontextmanager
async def use_aiohttp(job, tell):
    import aiohttp

    options = {"compress": 15 if job.get("compression") else 0, "protocols": job.get("subprotocols", [])}
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(job["url"], max_msg_size=0, **options)
        inbox = asyncio.Queue()
        reasons = []

        async def read():
            while True:
                message = await socket.receive()
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    await inbox.put(message.data)
                    continue
                if message.type is aiohttp.WSMsgType.CLOSE:
                    reasons.append(message.extra)
                elif message.type is aiohttp.WSMsgType.ERROR:
                    tell(str(message.data), False)
                tell(closed(socket.close_code, "".join(filter(None, reasons))))
                return

        reader = asyncio.create_task(read())

        async def send(data):
            await (socket.send_str if isinstance(data, str) else socket.send_bytes)(data)

        yield connection(
            inbox, send, leave=lambda: socket.close(code=1000, message=b"bye"), subprotocol=socket.protocol,
            extensions="permessage-deflate" if socket.compress else "",
        )
        await socket.close()
        await reader


@contextlib.asynccontextmanager
async def use_websocket_client(job, tell):
    import websocket

    loop = asyncio.get_running_loop()
    inbox = asyncio.Queue()
    opened = loop.create_future()

    def soon(function, *arguments):
        loop.call_soon_threadsafe(function, *arguments)

    def on_error(_, error):
        soon(tell, str(error), False)
        soon(lambda: opened.done() or opened.set_exception(error))

    def on_data(_, data, kind, _last):
        soon(inbox.put_nowait, data if kind == websocket.ABNF.OPCODE_TEXT else bytes(data))

    app = websocket.WebSocketApp(
        job["url"], subprotocols=job.get("subprotocols") or None, on_error=on_error, on_data=on_data,
        on_open=lambda _: soon(lambda: opened.done() or opened.set_result(None)),
        on_close=lambda _, code, reason: soon(tell, closed(code or 1006, reason or "")),
    )
    thread = threading.Thread(target=app.run_forever, daemon=True)
    thread.start()
    await opened

    async def send(data):
        await asyncio.to_thread(app.send, data, websocket.ABNF.OPCODE_TEXT if isinstance(data, str) else websocket.ABNF.OPCODE_BINARY)

    async def fragments():
        for index, part in enumerate(["fra", "", "gments"]):
            opcode = websocket.ABNF.OPCODE_CONT if index else websocket.ABNF.OPCODE_TEXT
            app.sock.send_frame(websocket.ABNF.create_frame(part, opcode, fin=int(index == 2)))
        return await inbox.get()

    async def leave():
        await asyncio.to_thread(app.close, status=1000, reason=b"bye")

    yield connection(inbox, send, leave=leave, fragments=fragments, subprotocol=app.sock.getsubprotocol())
    await leave()


@contextlib.asynccontextmanager
async def use_picows(job, tell):
    import picows

    inbox = asyncio.Queue()
    pongs = asyncio.Queue()

    class Listener(picows.WSListener):
        def __init__(self):
            self.parts = []
            self.kind = None

        def on_ws_frame(self, transport, frame):
            if frame.msg_type == picows.WSMsgType.CLOSE:
                message = frame.get_close_message()
                tell(closed(frame.get_close_code(), message.decode() if isinstance(message, bytes) else message or ""))
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            elif frame.msg_type == picows.WSMsgType.PONG:
                pongs.put_nowait(frame.get_payload_as_utf8_text())
            elif frame.msg_type == picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            else:
                self.kind = frame.msg_type if not self.parts else self.kind
                self.parts.append(frame.get_payload_as_bytes())
                if frame.fin:
                    whole = b"".join(self.parts)
                    self.parts = []
                    inbox.put_nowait(whole.decode() if self.kind == picows.WSMsgType.TEXT else whole)

        def on_ws_disconnected(self, transport):
            tell("disconnected")

    headers = [("Sec-WebSocket-Protocol", ", ".join(job["subprotocols"]))] if job.get("subprotocols") else []
    transport, _ = await picows.ws_connect(Listener, job["url"], extra_headers=headers)

    async def send(data):
        kind = picows.WSMsgType.TEXT if isinstance(data, str) else picows.WSMsgType.BINARY
        transport.send(kind, data.encode() if isinstance(data, str) else data)

    async def fragments():
        for index, part in enumerate([b"fra", b"", b"gments"]):
            transport.send(picows.WSMsgType.CONTINUATION if index else picows.WSMsgType.TEXT, part, fin=index == 2)
        return await inbox.get()

    async def ping():
        transport.send_ping(b"are you there")
        return await pongs.get()

    async def leave():
        transport.send_close(1000, b"bye")

    subprotocol = transport.response.headers.get("Sec-WebSocket-Protocol")
    yield connection(inbox, send, leave=leave, fragments=fragments, ping=ping, subprotocol=subprotocol)
    transport.disconnect()


@contextlib.asynccontextmanager
async def use_autobahn(job, tell):
    from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
    from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateResponse, PerMessageDeflateResponseAccept

    loop = asyncio.get_running_loop()
    inbox = asyncio.Queue()
    pongs = asyncio.Queue()
    opened = loop.create_future()

    class Protocol(WebSocketClientProtocol):
        def onOpen(self):
            opened.set_result(self)

        def onMessage(self, payload, isBinary):
            inbox.put_nowait(payload if isBinary else payload.decode())

        def onPong(self, payload):
            pongs.put_nowait(payload.decode())

        def onClose(self, wasClean, code, reason):
            tell(closed(code, reason or ""))
            if not opened.done():
                opened.set_exception(ConnectionError(reason))

    def accept(response):
        return PerMessageDeflateResponseAccept(response) if isinstance(response, PerMessageDeflateResponse) else None

    address = urlsplit(job["url"])
    factory = WebSocketClientFactory(job["url"], protocols=job.get("subprotocols") or None)
    factory.protocol = Protocol
    offers = [PerMessageDeflateOffer()] if job.get("compression") else []
    factory.setProtocolOptions(perMessageCompressionOffers=offers, perMessageCompressionAccept=accept, autoPingInterval=0)
    await loop.create_connection(factory, address.hostname, address.port)
    socket = await opened

    async def send(data):
        socket.sendMessage(data.encode() if isinstance(data, str) else data, isBinary=not isinstance(data, str))

    async def fragments():
        socket.beginMessage()
        for part in [b"fra", b"", b"gments"]:
            socket.sendMessageFrame(part)
        socket.endMessage()
        return await inbox.get()

    async def ping():
        socket.sendPing(b"are you there")
        return await pongs.get()

    async def leave():
        socket.sendClose(1000, "bye")

    extension = socket.websocket_extensions_in_use
    yield connection(
        inbox, send, leave=leave, fragments=fragments, ping=ping, subprotocol=socket.websocket_protocol_in_use,
        extensions=", ".join(one.EXTENSION_NAME for one in extension),
    )
    await leave()


@contextlib.asynccontextmanager
async def use_trio_websocket(job, tell):
    import trio
    import trio_websocket

    loop = asyncio.get_running_loop()
    inbox = asyncio.Queue()
    opened = loop.create_future()

    def soon(function, *arguments):
        loop.call_soon_threadsafe(function, *arguments)

    async def main():
        try:
            async with trio_websocket.open_websocket_url(job["url"], subprotocols=job.get("subprotocols") or None, max_message_size=1 << 24) as socket:
                soon(opened.set_result, (socket, trio.lowlevel.current_trio_token()))
                try:
                    while True:
                        soon(inbox.put_nowait, await socket.get_message())
                except trio_websocket.ConnectionClosed as error:
                    soon(tell, closed(error.reason.code, error.reason.reason or ""))
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            soon(tell, text)
            soon(lambda: opened.done() or opened.set_exception(ConnectionError(text)))

    threading.Thread(target=trio.run, args=(main,), daemon=True).start()
    socket, host = await opened

    async def there(function, *arguments):
        return await asyncio.to_thread(trio.from_thread.run, function, *arguments, trio_token=host)

    async def send(data):
        await there(socket.send_message, data)

    async def ping():
        await there(socket.ping, b"are you there")
        return "are you there"

    async def leave():
        with contextlib.suppress(trio.RunFinishedError):
            await there(socket.aclose, 1000, "bye")

    yield connection(inbox, send, leave=leave, ping=ping, subprotocol=socket.subprotocol)
    await leave()


@contextlib.asynccontextmanager
async def use_python_socketio(job, tell):
    import socketio

    address = urlsplit(job["url"])
    again = job["op"] == "again"
    client = socketio.AsyncClient(reconnection=again, reconnection_delay=0.3, randomization_factor=0)
    there = asyncio.Event()
    client.on("connect", there.set)

    @client.on("disconnect")
    async def on_disconnect(reason):
        there.clear()
        tell(str(reason))

    @client.on("connect_error")
    async def on_error(data):
        tell(f"connect_error: {data}", False)

    url = f"ws://{address.netloc}?{address.query}"
    await client.connect(url, socketio_path=f"{address.path}/socket.io", transports=["websocket"])

    async def echo(data):
        return pair(await client.call("echo", data))

    async def say(data):
        await client.emit("echo", data)

    yield SimpleNamespace(echo=echo, say=say, leave=client.disconnect, again=there.wait)
    await client.shutdown()


LIBRARIES = {
    "websockets": use_websockets,
    "aiohttp": use_aiohttp,
    "websocket-client": use_websocket_client,
    "picows": use_picows,
    "autobahn": use_autobahn,
    "trio-websocket": use_trio_websocket,
    "python-socketio": use_python_socketio,
    **{name: browser.use(name) for name in browser.BROWSERS},
}
COME_BACK = {"python-socketio"}


async def run(use, job, answer):
    told = []
    ended = asyncio.Event()

    def tell(text, last=True):
        if text not in told:
            told.append(text)
        if last:
            asyncio.get_running_loop().call_later(0.05, ended.set)

    async def end():
        await asyncio.wait_for(ended.wait(), PATIENCE)

    if job["op"] == "refused":
        try:
            async with use(job, tell):
                tell("open")
        except Exception as error:
            tell(f"{type(error).__name__}: {error}")
        return {"told": told}
    try:
        async with use(job, tell) as connection:
            if job["op"] == "echo":
                echoes = []
                for kind, text in job["messages"]:
                    octets = base64.b64decode(text)
                    echo = connection.echo(octets.decode() if kind == "text" else octets)
                    echoes.append([kind, text, *await asyncio.wait_for(echo, PATIENCE)])
                more = {}
                for name in ("fragments", "ping", "pinged"):
                    if hasattr(connection, name):
                        more[name] = await asyncio.wait_for(getattr(connection, name)(), PATIENCE)
                await connection.leave()
                await end()
                for name in ("subprotocol", "extensions"):
                    more[name] = getattr(connection, name, None)
                return {"echoes": echoes, **more, "told": told}
            if job["op"] == "stay":
                await asyncio.sleep(job["seconds"])
                return {"echoes": [await asyncio.wait_for(connection.echo("still here"), PATIENCE)], "told": told}
            answer(open=True)
            try:
                for _ in range(job.get("times", 1) if job.get("say") else 0):
                    await connection.say(job["say"])
            except Exception as error:
                # A library says so where it was closed while it was sending.
                tell(f"{type(error).__name__}: {error}", False)
            await end()
            if job["op"] == "again":
                started = time.monotonic()
                await asyncio.wait_for(connection.again(), PATIENCE)
                back = await asyncio.wait_for(connection.echo("again"), PATIENCE)
                return {"again": base64.b64decode(back[1]).decode(), "milliseconds": int(1000 * (time.monotonic() - started)), "told": told}
            return {"told": told}
    except Exception as error:
        raise RuntimeError("; ".join([f"{type(error).__name__}: {error}", *told])) from error


async def main(library):
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tasks = set()

    async def play(job):
        def answer(**value):
            print(json.dumps({"id": job["id"], **value}), flush=True)

        try:
            answer(done=True, **await run(LIBRARIES[library], job, answer))
        except Exception as error:
            answer(done=True, failed=str(error))

    while line := await lines.readline():
        tasks.add(asyncio.create_task(play(json.loads(line))))


if __name__ == "__main__":
    name = sys.argv[1]
    if sys.argv[2:] == ["--about"]:
        version = browser.version(name) if name in browser.BROWSERS else importlib.metadata.version(name)
        print(json.dumps({"version": version, "again": name in COME_BACK}))
    else:
        try:
            asyncio.run(main(name))
        finally:
            for own in browser.BROWSERS.values():
                own.stop()
