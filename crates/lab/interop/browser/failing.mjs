// A connection that does not come about: the page says what is in the way, in the doctor's words.

import assert from "node:assert/strict";
import { SERVER, at, browser, enter, page, run, until } from "./chromium.mjs";

/** A network that lets out TCP alone, and not to the relay. @param {import("playwright-core").Page} there */
async function confine(there) {
  await there.addInitScript(() => {
    window.RTCPeerConnection = class extends RTCPeerConnection {
      /** @param {RTCConfiguration} configuration */
      constructor({ iceServers, ...rest }) {
        const { username, credential } = iceServers.find((server) => server.username);
        const urls = ["turn:127.0.0.9:3478?transport=tcp"];
        super({ ...rest, iceServers: [{ urls, username, credential }] });
      }
    };
  });
}

await run(async () => {
  const one = await browser();
  const a = await page(one);
  const b = await page(one);
  for (const each of [a, b]) {
    await confine(each);
    await enter(each, `${SERVER}/?relay=only#dead end`);
  }
  for (const each of [a, b]) {
    const told = () => at(each, "path").innerText();
    await until(async () => /^no connection\n/.test(await told()), async () => `path: ${await told()}`);
    const lines = (await told()).split("\n");
    assert.deepEqual(lines.slice(0, 3), [
      "no connection",
      "turn-unreachable-tcp: no TURN server answers over TCP",
      "· turn:127.0.0.9:3478?transport=tcp: no answer",
    ]);
    assert.match(lines[3], /^→ check the TURN server's address and port/);
    assert.equal(lines.length, 4);
    assert.match(await at(each, "state").innerText(), /^signalling connected · ICE new · DTLS new/);
  }
  if (process.env.SHOT) await a.screenshot({ path: process.env.SHOT });
});
