// What the scenarios share whose pages have connections of their own, through a `sterna serve` of their own.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { scratch, sterna } from "./chromium.mjs";

const SECRET = "b7c1e0b1b7a94bd29ab1";
const TOKEN = "a token of this test alone";

/**
 * Starts a server. What a back end gets from it: one entry for each URL.
 * @param {...string} flags
 * @returns {Promise<RTCIceServer[]>}
 */
export async function turnServers(...flags) {
  const folder = await scratch();
  const file = async (name, text) => (await writeFile(join(folder, name), text), join(folder, name));
  const server = sterna(
    "serve", "--http", "0", "--stun", "0", "--stun-tls", "0", "--allow-peer", "127.0.0.0/8", "--secret-file",
    await file("secret", SECRET),
    "--token-file", await file("token", TOKEN), "--admin", "0", ...flags,
  );
  const { admin } = await server.event("listening");
  const answer = await fetch(`${admin}/ice-servers?user=chromium`, { headers: { authorization: `Bearer ${TOKEN}` } });
  const [, { urls, username, credential }] = (await answer.json()).iceServers;
  return urls.map((url) => ({ urls: url, username, credential }));
}

/** @param {RTCIceServer} server @returns {RTCConfiguration} */
export const relayOnly = (server) => ({ iceServers: [server], iceTransportPolicy: "relay" });

/**
 * Runs in the page: some bytes go from here to there and back.
 * @param {{ here: RTCConfiguration, there: RTCConfiguration }} configurations
 */
export async function relayed(configurations) {
  const [here, there] = [new RTCPeerConnection(configurations.here), new RTCPeerConnection(configurations.there)];
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
  return {
    bytes,
    protocols: [...new Set(local.map(({ candidateType, relayProtocol }) => `${candidateType} ${relayProtocol}`))],
    ports: [...new Set(local.map(({ port }) => port))],
  };
}
