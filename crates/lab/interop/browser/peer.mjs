// A Chromium that speaks as `python/aiortc_peer.py` does: JSON lines, complete descriptions. It offers microphone, camera
// and a channel, or the channel alone if its second argument is `data`, with the `bundlePolicy` of its first argument, and
// again when told `offer`.

import { createInterface } from "node:readline";
import { browser, run } from "./chromium.mjs";

/** @param {string} event @param {object} [fields] */
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

/** In the page. @param {string[]} arguments_ */
function play([policy, what]) {
  const connection = new RTCPeerConnection({ bundlePolicy: /** @type {RTCBundlePolicy} */ (policy) });
  const gathered = () =>
    new Promise((resolve) => {
      const look = () => connection.iceGatheringState === "complete" && resolve(undefined);
      connection.onicegatheringstatechange = look;
      look();
    });
  const describe = async () => {
    await connection.setLocalDescription();
    await gathered();
    window.say("description", connection.localDescription?.toJSON());
  };
  connection.onconnectionstatechange = () => {
    if (connection.connectionState !== "connecting") window.say("state", { state: connection.connectionState });
  };
  for (const kind of what === "data" ? [] : ["audio", "video"]) connection.addTransceiver(kind);
  const channel = connection.createDataChannel("from-chromium");
  channel.binaryType = "arraybuffer";
  channel.onopen = () => channel.send("hello from chromium");
  channel.onmessage = ({ data }) => {
    if (typeof data === "string") {
      window.say("text", { text: data });
      return channel.send(`echo:${data}`);
    }
    const bytes = new Uint8Array(data);
    window.say("binary", { bytes: bytes.length, sum: bytes.reduce((sum, byte) => sum + byte, 0) % 65536 });
    channel.send(bytes.reverse());
  };
  window.hear = async (message) => {
    if (message.quit) return connection.close();
    if (message.offer) return describe();
    const since = performance.timeOrigin + performance.now();
    await connection.setRemoteDescription(message);
    if (message.type === "offer") await describe();
    else window.say("stable", { since });
  };
  return describe();
}

await run(async () => {
  const started = await browser({ more: ["--disable-features=WebRtcHideLocalIpsWithMdns"] });
  const page = await started.newPage();
  await page.exposeFunction("say", say);
  await page.evaluate(play, process.argv.slice(2));
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    try {
      await page.evaluate((it) => window.hear(it), message);
    } catch (error) {
      if (!/crashed/.test(String(error))) throw error;
      say("crashed");
      break;
    }
    if (message.quit) break;
  }
});
