// A Chromium in a call: JSON lines in, events out, as in `peer.mjs`. Its camera shows bars of eight colours above a block that
// moves; its microphone beeps. It offers both; with `simulcast` as its argument the pictures in three sizes.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { browser, run, scratch } from "./chromium.mjs";

/** @param {string} event @param {object} [fields] */
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

/** As on a test card, without black: red, green and blue of each. */
const BARS = [[235, 235, 235], [235, 235, 16], [16, 235, 235], [16, 235, 16], [235, 16, 235], [235, 16, 16], [16, 16, 235], [128, 128, 128]];

/**
 * A film of the bars that begins again when it ends, uncompressed, as Chromium's fake camera shows it (YUV4MPEG2).
 * @param {number} width @param {number} height @param {number} pictures
 */
function film(width, height, pictures) {
  const luma = ([r, g, b]) => 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255;
  const blue = ([r, g, b]) => 128 + (-37.797 * r - 74.203 * g + 112 * b) / 255;
  const red = ([r, g, b]) => 128 + (112 * r - 93.786 * g - 18.214 * b) / 255;
  const bar = (x, columns) => BARS[Math.min(BARS.length - 1, Math.floor((x * BARS.length) / columns))];
  const plane = (columns, rows, of) => {
    const row = Buffer.from(Array.from({ length: columns }, (_, x) => Math.round(of(bar(x, columns)))));
    return Buffer.concat(Array(rows).fill(row));
  };
  const parts = [Buffer.from(`YUV4MPEG2 W${width} H${height} F20:1 Ip A1:1 C420jpeg\n`)];
  for (let number = 0; number < pictures; number += 1) {
    const bright = plane(width, height, luma);
    const from = Math.floor(((width - 64) * number) / pictures);
    for (let y = height - 64; y < height; y += 1) bright.fill(number % 2 ? 40 : 220, y * width + from, y * width + from + 64);
    parts.push(Buffer.from("FRAME\n"), bright, plane(width / 2, height / 2, blue), plane(width / 2, height / 2, red));
  }
  return Buffer.concat(parts);
}

/** In the page. @param {boolean} simulcast */
async function play(simulcast) {
  const connection = new RTCPeerConnection();
  const [width, height] = simulcast ? [1280, 720] : [640, 360];
  const camera = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width, height } });
  const videos = {};
  connection.ontrack = ({ track, transceiver }) => {
    const video = document.createElement(track.kind === "audio" ? "audio" : "video");
    Object.assign(video, { autoplay: true, muted: track.kind === "video", playsInline: true });
    video.srcObject = new MediaStream([track]);
    document.body.append(video);
    videos[transceiver.mid] = video;
    window.say("track", { kind: track.kind, mid: transceiver.mid });
  };
  connection.onicecandidate = ({ candidate }) => window.say("candidate", { candidate: candidate?.toJSON() ?? null });
  connection.onconnectionstatechange = () => window.say("state", { state: connection.connectionState });
  const describe = async (options) => {
    await connection.setLocalDescription(await connection.createOffer(options));
    window.say("description", connection.localDescription?.toJSON());
  };
  const [sound] = camera.getAudioTracks();
  const [pictures] = camera.getVideoTracks();
  connection.addTransceiver(sound, { streams: [camera] });
  const rids = ["q", "h", "f"].map((rid, at) => ({ rid, scaleResolutionDownBy: 4 >> at }));
  connection.addTransceiver(pictures, { streams: [camera], sendEncodings: simulcast ? rids : [{}] });

  /** What the picture shows in the middle of each bar, and what was counted. */
  const look = async () => {
    const shown = Object.entries(videos).filter(([, video]) => video.videoWidth > 0).map(([mid, video]) => {
      const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
      const context = canvas.getContext("2d");
      context.drawImage(video, 0, 0);
      const colours = Array.from({ length: 8 }, (_, bar) => {
        const x = Math.floor(((bar + 0.5) * canvas.width) / 8);
        return [...context.getImageData(x, Math.floor(canvas.height / 3), 1, 1).data.slice(0, 3)];
      });
      return { mid, width: canvas.width, height: canvas.height, colours };
    });
    const streams = { inbound: [], outbound: [] };
    for (const one of (await connection.getStats()).values()) {
      if (one.type === "inbound-rtp") {
        const { kind, mid, framesDecoded, keyFramesDecoded, packetsReceived, packetsLost, nackCount, totalAudioEnergy } = one;
        const { freezeCount, frameWidth, retransmittedPacketsReceived, concealedSamples, totalSamplesReceived } = one;
        streams.inbound.push({ kind, mid, framesDecoded, keyFramesDecoded, packetsReceived, packetsLost, nackCount, totalAudioEnergy, freezeCount, frameWidth, retransmittedPacketsReceived, concealedSamples, totalSamplesReceived });
      }
      if (one.type === "outbound-rtp") {
        const { kind, mid, rid, framesEncoded, keyFramesEncoded, framesSent, packetsSent, nackCount, pliCount, retransmittedPacketsSent, frameWidth, qualityLimitationReason, targetBitrate } = one;
        streams.outbound.push({ kind, mid, rid, framesEncoded, keyFramesEncoded, framesSent, packetsSent, nackCount, pliCount, retransmittedPacketsSent, frameWidth, qualityLimitationReason, targetBitrate });
      }
    }
    window.say("seen", { shown, ...streams });
  };
  window.hear = async (message) => {
    if (message.quit) return connection.close();
    if (message.look) return look();
    if (message.offer) return describe({ iceRestart: message.restart });
    if (message.screen) {
      // A second picture, as a shared screen would be.
      connection.addTransceiver(pictures.clone(), { streams: [new MediaStream()] });
      return describe();
    }
    if ("candidate" in message) return connection.addIceCandidate(message.candidate ?? undefined);
    await connection.setRemoteDescription(message);
    if (message.type === "offer") {
      await connection.setLocalDescription();
      window.say("description", connection.localDescription?.toJSON());
    } else window.say("stable");
  };
  return describe();
}

await run(async () => {
  const simulcast = process.argv[2] === "simulcast";
  const card = join(await scratch(), "bars.y4m");
  await writeFile(card, simulcast ? film(1280, 720, 10) : film(640, 360, 20));
  const started = await browser({
    more: ["--disable-features=WebRtcHideLocalIpsWithMdns", `--use-file-for-fake-video-capture=${card}`, "--autoplay-policy=no-user-gesture-required"],
  });
  const page = await started.newPage();
  // Cameras are for pages of one's own machine.
  await page.route("http://127.0.0.1/", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>call</title>" }));
  await page.goto("http://127.0.0.1/");
  await page.exposeFunction("say", say);
  await page.evaluate(play, simulcast);
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    await page.evaluate((it) => window.hear(it), message);
    if (message.quit) break;
  }
});
