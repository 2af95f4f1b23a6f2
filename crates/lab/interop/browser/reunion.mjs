// The server goes away and comes back: who is connected goes on, and finds each other again by it.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { at, browser, connected, enter, noise, page, run, save, scratch, server, sha256, sterna, until } from "./chromium.mjs";

/** @param {import("playwright-core").Page} there @param {RegExp} state */
async function signalling(there, state) {
  const told = () => at(there, "state").innerText();
  await until(async () => state.test(await told()), async () => `state: ${await told()}`);
}

await run(async () => {
  const own = await server();
  const one = await browser();

  console.log("two pages go on, and let a third one in when the server is back");
  const a = await page(one);
  await enter(a, own.url);
  await a.waitForURL(/#/);
  const b = await page(one);
  await enter(b, a.url());
  await connected(a, b);
  await own.kill();
  for (const each of [a, b]) await signalling(each, /^signalling lost, trying again · ICE connected/);
  await at(a, "chat-input").fill("Are you still there?");
  await at(a, "chat-input").press("Enter");
  await at(b, "chat-log").getByText("Are you still there?").waitFor();
  await own.start();
  for (const each of [a, b]) await signalling(each, /^signalling connected · ICE connected/);
  const c = await page(one);
  await enter(c, a.url());
  await c.locator("[data-testid=remote-video] >> nth=1").waitFor();
  for (const each of [a, b]) {
    await each.locator("[data-testid=remote-video] >> nth=1").waitFor();
    assert.equal(await at(each, "remote-video").count(), 2, "the one who came back is the one who was there");
  }
  for (const each of [a, b, c]) await each.close();

  // The relay dies with the server, and the credentials with the relay: a new path is found by the way back.
  const folder = await scratch();
  const big = noise(30_000_000);
  await writeFile(join(folder, "big.bin"), big);
  for (const way of ["link", "code"]) {
    console.log(`a file goes on from the command line to a page that came by ${way}`);
    const send = sterna("send", "--server", own.url, "--relay-only", join(folder, "big.bin"));
    const invitation = await send.event("code");
    const d = await page(one);
    if (way === "link") await enter(d, invitation.link.replace("/#", "/?relay=only#"));
    else {
      await d.goto(`${own.url}/?relay=only`);
      await d.getByLabel("Room, code or link").fill(invitation.code);
      await at(d, "join").click();
    }
    await send.event("connected");
    await send.event("progress");
    await own.kill();
    await send.event("disconnected");
    await own.start();
    const { path, outage_ms } = await send.event("path");
    assert.equal(path.kind, "relayed");
    console.log(`a path again after ${Math.round(outage_ms)} ms`);
    const got = await save(d, /big\.bin/);
    assert.equal(sha256(got.bytes), sha256(big));
    await send.event("done");
    assert.equal(await send.ended(), 0);
    await d.close();
  }
});
