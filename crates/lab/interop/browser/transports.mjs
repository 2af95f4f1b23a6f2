// Two connections that may only be relayed, by each URL that a back end gets from our server: UDP, TCP, TLS at its own port,
// and TLS at the page's.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { browser, page, run, scratch, sterna } from "./chromium.mjs";

const SECRET = "b7c1e0b1b7a94bd29ab1";
const TOKEN = "a token of this test alone";

/**
 * Runs in the page.
 * @param {{ server: RTCIceServer }} options
 */
async function relayed({ server }) {
  const configuration = { iceServers: [server], iceTransportPolicy: "relay" };
  const [here, there] = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
  for (const [one, other] of [[here, there], [there, here]]) {
    one.onicecandidate = ({ candidate }) => candidate && other.addIceCandidate(candidate);
  }
  const channel = here.createDataChannel("relayed");
  const echoed = new Promise((resolve) => {
    there.ondatachannel = ({ channel }) => (channel.onmessage = ({ data }) => channel.send(data));
    channel.onmessage = ({ data }) => resolve(data.byteLength);
  });
  channel.binaryType = "arraybuffer";
  channel.onopen = () => channel.send(new Uint8Array(60_000));
  await here.setLocalDescription();
  await there.setRemoteDescription(here.localDescription);
  await there.setLocalDescription();
  await here.setRemoteDescription(there.localDescription);
  const failed = new Promise((_, reject) => {
    const late = setTimeout(() => reject(new Error(`${here.iceConnectionState}, ${here.iceGatheringState}`)), 20_000);
    echoed.then(() => clearTimeout(late));
  });
  const bytes = await Promise.race([echoed, failed]);
  const stats = [...(await here.getStats()).values()];
  const local = stats.filter(({ type }) => type === "local-candidate");
  here.close();
  there.close();
  return { bytes, protocols: [...new Set(local.map(({ candidateType, relayProtocol }) => `${candidateType} ${relayProtocol}`))] };
}

await run(async () => {
  const folder = await scratch();
  const file = async (name, text) => (await writeFile(join(folder, name), text), join(folder, name));
  const server = sterna(
    "serve", "--http", "0", "--stun", "0", "--stun-tls", "0", "--allow-peer", "127.0.0.0/8", "--host", "localhost",
    "--tls", process.env.TLS, "--secret-file", await file("secret", SECRET), "--token-file", await file("token", TOKEN),
    "--admin", "0",
  );
  const { admin } = await server.event("listening");
  const answer = await fetch(`${admin}/ice-servers?user=chromium`, { headers: { authorization: `Bearer ${TOKEN}` } });
  const [, { urls, username, credential }] = (await answer.json()).iceServers;
  assert.equal(urls.length, 4, `${urls}`);

  // The certificate is of this test alone.
  const one = await browser({ media: false, more: ["--ignore-certificate-errors"] });
  const blank = await page(one);
  for (const url of urls) {
    const protocol = url.startsWith("turns:") ? "tls" : /transport=(\w+)/.exec(url)[1];
    const { bytes, protocols } = await blank.evaluate(relayed, { server: { urls: url, username, credential } });
    assert.deepEqual({ bytes, protocols }, { bytes: 60_000, protocols: [`relay ${protocol}`] }, url);
  }
});
