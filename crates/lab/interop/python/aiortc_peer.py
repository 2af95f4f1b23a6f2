"""An aiortc peer for the interop tests.

Speaks JSON lines: descriptions come in on standard input and go out on standard output, then what happens on
the data channel. `offer` as an argument makes it offer, with `media` audio and video too; otherwise it answers. aiortc does not trickle: its
descriptions are complete. It echoes every message with `echo:` in front, and ends when told `quit`.
"""

import asyncio
import json
import sys

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def lines():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def watch(channel):
    @channel.on("message")
    def on_message(message):
        if isinstance(message, bytes):
            say("binary", bytes=len(message), sum=sum(message) % 65536)
            channel.send(message[::-1])
        else:
            say("text", text=message)
            channel.send("echo:" + message)

    @channel.on("close")
    def on_close():
        say("channel-closed", label=channel.label)


async def main():
    # An empty list: by default it would wait for a public STUN server.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    @connection.on("connectionstatechange")
    def on_state():
        say("state", state=connection.connectionState)

    @connection.on("datachannel")
    def on_channel(channel):
        say("channel", label=channel.label, protocol=channel.protocol, ordered=channel.ordered)
        watch(channel)

    if "offer" in sys.argv:
        if "media" in sys.argv:
            connection.addTransceiver("audio")
            connection.addTransceiver("video")
        channel = connection.createDataChannel("from-aiortc", protocol="test")
        channel.on("open", lambda: (say("open", label=channel.label), channel.send("hello from aiortc")))
        watch(channel)
        await connection.setLocalDescription(await connection.createOffer())
        say("description", type=connection.localDescription.type, sdp=connection.localDescription.sdp)
    async for line in lines():
        if line.get("quit"):
            break
        await connection.setRemoteDescription(RTCSessionDescription(sdp=line["sdp"], type=line["type"]))
        if line["type"] == "offer":
            await connection.setLocalDescription(await connection.createAnswer())
            say("description", type=connection.localDescription.type, sdp=connection.localDescription.sdp)
    await connection.close()
    say("closed")


if __name__ == "__main__":
    asyncio.run(main())
