"""An aiortc that calls, for the interop tests: it sends bars of eight colours and a tone, and looks at what comes.

JSON lines, as `aiortc_peer.py` speaks them; it offers with `offer` as an argument, and answers otherwise. Told `look`, it says
what it has seen, as `browser/media.mjs` does.
"""

import array
import asyncio
import fractions
import math
import sys

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack
from av import AudioFrame, VideoFrame

from aiortc_peer import lines, say

BARS = [[235, 235, 235], [235, 235, 16], [16, 235, 235], [16, 235, 16], [235, 16, 235], [235, 16, 16], [16, 16, 235], [128, 128, 128]]
WIDTH, HEIGHT = 320, 180
seen = {"frames": 0, "energy": 0.0, "shown": []}


class Bars(VideoStreamTrack):
    number = 0

    async def recv(self):
        timestamp, base = await self.next_timestamp()
        row = b"".join(bytes(bar) * (WIDTH // len(BARS)) for bar in BARS)
        # A block that moves.
        at = self.number * 4 % (WIDTH - 32)
        block = bytes([255 if self.number % 2 else 0]) * 3 * 32
        self.number += 1
        lower = row[: 3 * at] + block + row[3 * (at + 32) :]
        frame = VideoFrame(WIDTH, HEIGHT, "rgb24")
        assert frame.planes[0].line_size == len(row)
        frame.planes[0].update(row * (HEIGHT - 32) + lower * 32)
        frame.pts, frame.time_base = timestamp, base
        return frame


class Tone(AudioStreamTrack):
    async def recv(self):
        silence = await super().recv()
        rate, count = silence.sample_rate, silence.samples
        wave = (8000 * math.sin(2 * math.pi * 440 * (silence.pts + at) / rate) for at in range(count))
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        frame.planes[0].update(array.array("h", map(int, wave)).tobytes())
        frame.pts, frame.sample_rate, frame.time_base = silence.pts, rate, fractions.Fraction(1, rate)
        return frame


def hear(frame):
    samples = array.array("h", bytes(frame.planes[0]))
    power = sum(sample * sample for sample in samples) / max(len(samples), 1) / 32768**2
    seen["energy"] += power * frame.samples / frame.sample_rate


def look(frame):
    seen["frames"] += 1
    picture = frame.reformat(format="rgb24")
    [plane] = picture.planes
    row = bytes(plane)[frame.height // 3 * plane.line_size :]
    middle = [int((bar + 0.5) * frame.width / len(BARS)) for bar in range(len(BARS))]
    colours = [list(row[3 * x : 3 * x + 3]) for x in middle]
    seen["shown"] = [{"width": frame.width, "height": frame.height, "colours": colours}]


async def consume(track):
    try:
        while frame := await track.recv():
            (hear if track.kind == "audio" else look)(frame)
    except MediaStreamError:
        pass


async def main():
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tasks = []
    connection.on("track", lambda track: tasks.append(asyncio.ensure_future(consume(track))))
    connection.on("connectionstatechange", lambda: say("state", state=connection.connectionState))

    async def describe(make):
        await connection.setLocalDescription(await make())
        say("description", type=connection.localDescription.type, sdp=connection.localDescription.sdp)

    if "offer" in sys.argv:
        connection.addTrack(Tone())
        connection.addTrack(Bars())
        await describe(connection.createOffer)
    async for line in lines():
        if line.get("quit"):
            break
        if line.get("look"):
            inbound = [{"kind": "audio", "totalAudioEnergy": seen["energy"]}, {"kind": "video", "framesDecoded": seen["frames"]}]
            say("seen", shown=seen["shown"], inbound=inbound, outbound=[])
            continue
        await connection.setRemoteDescription(RTCSessionDescription(sdp=line["sdp"], type=line["type"]))
        if line["type"] == "offer":
            connection.addTrack(Tone())
            connection.addTrack(Bars())
            await describe(connection.createAnswer)
    await connection.close()
    say("closed")


asyncio.run(main())
