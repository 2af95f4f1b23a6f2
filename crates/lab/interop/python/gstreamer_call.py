"""GStreamer's webrtcbin in a call, for the interop tests: it sends bars of eight colours and a tone, and looks at what comes.

JSON lines, as `aiortc_peer.py` speaks them; it offers with `offer` as an argument, and answers otherwise. Its descriptions are
complete. Told `look`, it says what it has seen, as `browser/media.mjs` does. Needs the system's Python, whose packages it is one of.
"""

import array
import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

BARS = [[235, 235, 235], [235, 235, 16], [16, 235, 235], [16, 235, 16], [235, 16, 235], [235, 16, 16], [16, 16, 235], [128, 128, 128]]
WIDTH, HEIGHT, RATE = 320, 180, 20
RTP = "application/x-rtp,media={},encoding-name={},payload={}"
PIPELINE = f"""
webrtcbin name=call bundle-policy=max-bundle
appsrc name=camera is-live=true do-timestamp=true format=time caps=video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={RATE}/1
! videoconvert ! vp8enc deadline=1 keyframe-max-dist=2000 target-bitrate=500000 ! rtpvp8pay pt=96 picture-id-mode=15-bit ! {RTP.format("video", "VP8", 96)} ! call.
audiotestsrc is-live=true wave=sine freq=440 volume=0.3 ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay pt=111 ! {RTP.format("audio", "OPUS", 111)} ! call.
"""
READERS = {
    "VP8": "queue ! rtpvp8depay ! vp8dec ! videoconvert ! video/x-raw,format=RGB ! appsink name=sink emit-signals=true sync=false",
    "OPUS": "queue ! rtpopusdepay ! opusdec ! audioconvert ! audio/x-raw,format=S16LE,channels=1 ! appsink name=sink emit-signals=true sync=false",
}
seen = {"frames": 0, "energy": 0.0, "shown": []}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def picture(number):
    row = b"".join(bytes(bar) * (WIDTH // len(BARS)) for bar in BARS)
    at = number * 4 % (WIDTH - 32)
    lower = row[: 3 * at] + bytes([255 if number % 2 else 0]) * 96 + row[3 * (at + 32) :]
    return row * (HEIGHT - 32) + lower * 32


def look(sink):
    sample = sink.emit("pull-sample")
    shape = sample.get_caps().get_structure(0)
    data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
    if shape.get_name() == "audio/x-raw":
        samples = array.array("h", data)
        power = sum(one * one for one in samples) / max(len(samples), 1) / 32768**2
        seen["energy"] += power * len(samples) / shape.get_int("rate")[1]
        return Gst.FlowReturn.OK
    width, height = shape.get_int("width")[1], shape.get_int("height")[1]
    row = data[height // 3 * (len(data) // height) :]
    middle = [int((bar + 0.5) * width / len(BARS)) for bar in range(len(BARS))]
    seen["shown"] = [{"width": width, "height": height, "colours": [list(row[3 * x : 3 * x + 3]) for x in middle]}]
    seen["frames"] += 1
    return Gst.FlowReturn.OK


class Call:
    def __init__(self):
        self.pipeline = Gst.parse_launch(PIPELINE)
        self.call = self.pipeline.get_by_name("call")
        self.camera = self.pipeline.get_by_name("camera")
        self.pictures = 0
        # What is not kept alive here is gone before its answer comes.
        self.kept = []
        self.call.connect("pad-added", self.on_pad)
        self.call.connect("notify::ice-gathering-state", self.on_gathering)
        self.call.connect("notify::connection-state", lambda *_: say("state", state=self.call.get_property("connection-state").value_nick))
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(1000 // RATE, self.film)

    def film(self):
        self.camera.emit("push-buffer", Gst.Buffer.new_wrapped(picture(self.pictures)))
        self.pictures += 1
        return True

    def on_pad(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        reader = Gst.parse_bin_from_description(READERS[pad.get_current_caps().get_structure(0)["encoding-name"]], True)
        reader.get_by_name("sink").connect("new-sample", look)
        self.pipeline.add(reader)
        reader.sync_state_with_parent()
        pad.link(reader.get_static_pad("sink"))

    def describe(self, make):
        """`create-offer` or `create-answer`, and what follows."""

        def made(promise, *_):
            reply = promise.get_reply()
            description = reply.get_value(make.removeprefix("create-"))
            self.kept += [reply, description]
            self.call.emit("set-local-description", description, Gst.Promise.new())

        promise = Gst.Promise.new_with_change_func(made)
        self.kept.append(promise)
        self.call.emit(make, None, promise)

    def on_gathering(self, *_):
        if self.call.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            local = self.call.get_property("local-description")
            say("description", type=local.type.value_nick, sdp=local.sdp.as_text())

    def hear(self, line):
        if line.get("quit"):
            self.pipeline.set_state(Gst.State.NULL)
            say("closed")
            loop.quit()
        elif line.get("look"):
            inbound = [{"kind": "audio", "totalAudioEnergy": seen["energy"]}, {"kind": "video", "framesDecoded": seen["frames"]}]
            say("seen", shown=seen["shown"], inbound=inbound, outbound=[])
        else:
            _, message = GstSdp.SDPMessage.new_from_text(line["sdp"])
            kind = GstWebRTC.WebRTCSDPType.OFFER if line["type"] == "offer" else GstWebRTC.WebRTCSDPType.ANSWER
            description = GstWebRTC.WebRTCSessionDescription.new(kind, message)
            # An offer has to be taken before it can be answered.
            then = Gst.Promise.new_with_change_func(lambda *_: line["type"] == "offer" and self.describe("create-answer"))
            self.kept += [description, then]
            self.call.emit("set-remote-description", description, then)
        return False


Gst.init(None)
loop = GLib.MainLoop()
call = Call()
if "offer" in sys.argv:
    call.call.connect("on-negotiation-needed", lambda *_: call.describe("create-offer"))


def listen():
    for line in sys.stdin:
        GLib.idle_add(call.hear, json.loads(line))


threading.Thread(target=listen, daemon=True).start()
loop.run()
