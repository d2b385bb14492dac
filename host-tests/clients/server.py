"""One Python library as a server: python server.py LIBRARY PORT, which does what the servers of servers.js do."""

import asyncio
import contextlib
import json
import re
import sys


def ended(code, reason):
    print(json.dumps({"ended": f"{code} {reason or ''}".strip()}), flush=True)


def order(data):
    """The code and reason where a text asks for an end."""
    found = isinstance(data, str) and re.fullmatch(r"close (\d+) (\w+)", data)
    return (int(found[1]), found[2]) if found else None


def chosen(offered):
    return "chat.v1" if "chat.v1" in offered else None


async def serve_websockets(port):
    from websockets.asyncio.server import serve
    from websockets.exceptions import ConnectionClosed

    async def talk(socket):
        with contextlib.suppress(ConnectionClosed):
            async for data in socket:
                if data == "ping":
                    await (await socket.ping("of the server"))
                    await socket.send("pong of the server")
                elif end := order(data):
                    await socket.close(*end)
                else:
                    await socket.send(data)
        ended(socket.close_code, socket.close_reason)

    await serve(talk, "127.0.0.1", port, max_size=None, subprotocols=["chat.v1"], select_subprotocol=lambda _, offered: chosen(offered))


async def serve_aiohttp(port):
    from aiohttp import WSMsgType, web

    async def talk(request):
        socket = web.WebSocketResponse(max_msg_size=0, protocols=["chat.v1"], autoping=True)
        await socket.prepare(request)
        while True:
            message = await socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                ended(socket.close_code, message.extra)
                return socket
            if end := order(message.data):
                await socket.close(code=end[0], message=end[1].encode())
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)

    await start(web, [web.get("/{path:.*}", talk)], port)


async def start(web, routes, port):
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def serve_picows(port):
    import picows

    class Listener(picows.WSListener):
        def __init__(self):
            self.parts = []
            self.kind = None
            self.awaits_pong = False

        def on_ws_frame(self, transport, frame):
            kind = frame.msg_type
            if kind == picows.WSMsgType.CLOSE:
                code, reason = frame.get_close_code(), frame.get_close_message()
                ended(code, reason.decode() if isinstance(reason, bytes) else reason)
                transport.send_close(code, reason)
                transport.disconnect()
            elif kind == picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            elif kind == picows.WSMsgType.PONG:
                transport.send(picows.WSMsgType.TEXT, b"pong " + frame.get_payload_as_bytes())
            else:
                self.kind = self.kind if self.parts else kind
                self.parts.append(frame.get_payload_as_bytes())
                if frame.fin:
                    self.answer(transport, b"".join(self.parts))
                    self.parts = []

        def answer(self, transport, data):
            text = data.decode() if self.kind == picows.WSMsgType.TEXT else None
            if text == "ping":
                transport.send_ping(b"of the server")
            elif end := order(text):
                transport.send_close(end[0], end[1].encode())
            else:
                transport.send(self.kind, data)

    def accept(request):
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        headers = [("Sec-WebSocket-Protocol", "chat.v1")] if "chat.v1" in offered else None
        return picows.WSUpgradeResponseWithListener(picows.WSUpgradeResponse.create_101_response(headers), Listener())

    server = await picows.ws_create_server(accept, "127.0.0.1", port)
    asyncio.create_task(server.serve_forever())


async def serve_autobahn(port):
    from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
    from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept

    class Protocol(WebSocketServerProtocol):
        def onConnect(self, request):
            return chosen(request.protocols)

        def onMessage(self, payload, isBinary):
            text = None if isBinary else payload.decode()
            if text == "ping":
                self.sendPing(b"of the server")
            elif end := order(text):
                self.sendClose(*end)
            else:
                self.sendMessage(payload, isBinary)

        def onPong(self, payload):
            self.sendMessage(b"pong " + payload)

        def onClose(self, wasClean, code, reason):
            ended(code, reason)

    def accept(offers):
        return next((PerMessageDeflateOfferAccept(offer) for offer in offers if isinstance(offer, PerMessageDeflateOffer)), None)

    factory = WebSocketServerFactory(protocols=["chat.v1"])
    factory.protocol = Protocol
    factory.setProtocolOptions(perMessageCompressionAccept=accept)
    await asyncio.get_running_loop().create_server(factory, "127.0.0.1", port)


async def serve_python_socketio(port):
    import socketio
    from aiohttp import web

    server = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*", ping_interval=3, ping_timeout=2)

    @server.on("echo")
    async def echo(session, data):
        if order(data):
            await server.disconnect(session)
        return data

    @server.on("disconnect")
    async def on_disconnect(session, reason):
        ended(reason, "")

    application = web.Application()
    # Its path is fixed, and the first part of a request's path is for the gate's routes.
    for route in ("plain", "forbidden", "idle", "inspect", "rate"):
        server.attach(application, f"/{route}/socket.io")
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()


def serve_trio_websocket(port):
    import trio
    import trio_websocket

    async def talk(request):
        socket = await request.accept(subprotocol=chosen(request.proposed_subprotocols))
        try:
            while True:
                data = await socket.get_message()
                if data == "ping":
                    await socket.ping(b"of the server")
                    await socket.send_message("pong of the server")
                elif end := order(data):
                    await socket.aclose(*end)
                else:
                    await socket.send_message(data)
        except trio_websocket.ConnectionClosed as error:
            if error.reason:
                ended(error.reason.code, error.reason.reason)

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(trio_websocket.serve_websocket, talk, "127.0.0.1", port, None)
            print('{"listening": true}', flush=True)

    trio.run(main)


SERVERS = {
    "websockets": serve_websockets,
    "aiohttp": serve_aiohttp,
    "picows": serve_picows,
    "autobahn": serve_autobahn,
    "python-socketio": serve_python_socketio,
}


async def main(name, port):
    await SERVERS[name](port)
    print('{"listening": true}', flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "trio-websocket":
        serve_trio_websocket(int(sys.argv[2]))
    else:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
