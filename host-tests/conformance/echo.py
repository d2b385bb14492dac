"""An echo with permessage-deflate for conformance runs: python3 echo.py PORT, with websockets 15.0.1 from PyPI."""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


async def echo(websocket):
    try:
        async for message in websocket:
            await websocket.send(message)
    except ConnectionClosed:
        pass


async def main():
    # Every window that a client may ask for, and the longest message of the suite. No pings: it expects none.
    extensions = [ServerPerMessageDeflateFactory()]
    options = {"compression": None, "extensions": extensions, "max_size": 16 << 20, "ping_interval": None}
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), **options) as server:
        await server.serve_forever()


asyncio.run(main())
