// Every way into a room, what a plain room says of itself, and a page without camera.

import assert from "node:assert/strict";
import { INSECURE, SERVER, at, browser, connected, enter, moves, page, run } from "./chromium.mjs";

await run(async () => {
  const one = await browser();
  const a = await page(one);
  const b = await page(one);
  const c = await page(one);

  // By fragment, by query, and by typing: the same room, and three can be in it.
  await enter(a, `${SERVER}/#tea room`);
  await enter(b, `${SERVER}/?room=tea%20room`);
  await connected(a, b);
  assert.match(await a.locator("#seal").innerText(), /the server could listen in/);
  await c.goto(SERVER);
  await c.getByLabel("Room, code or link").fill("tea room");
  await at(c, "join").click();
  await c.locator("[data-testid=remote-video] >> nth=1").waitFor();
  for (const there of [a, b, c]) await moves(there);
  await at(c, "chat-input").fill("Hello, both");
  await at(c, "chat-input").press("Enter");
  for (const there of [a, b]) await at(there, "chat-log").getByText("Hello, both").waitFor();

  // What is no room says so, and a code that nobody hosts as well.
  const d = await page(one);
  await d.goto(SERVER);
  await d.getByLabel("Room, code or link").fill("7");
  await at(d, "join").click();
  await d.getByRole("alert").getByText("a number and two words").waitFor();
  await d.getByLabel("Room, code or link").fill("7 river candle");
  await at(d, "join").click();
  await d.getByRole("alert").getByText("nobody is waiting under the code").waitFor();

  // Without camera and microphone the call goes on, and the page says why.
  const none = await browser({ media: false });
  const e = await page(none);
  const f = await page(one);
  await enter(e, `${SERVER}/#without`);
  await e.getByText(/No microphone and no camera/).waitFor();
  await enter(f, `${SERVER}/#without`);
  await connected(e, f);
  await moves(e);
  await f.locator(".tile.person.dark").waitFor();

  // Over plain http from another machine there is neither camera nor the browser's cryptography.
  const g = await page(one);
  const h = await page(one);
  await enter(g, SERVER);
  await g.waitForURL(/#/);
  await h.goto(g.url().replace(SERVER, INSECURE));
  assert.equal(await h.evaluate(() => isSecureContext), false);
  await h.getByText(/Browsers allow camera and microphone only on https/).waitFor();
  await at(h, "join").click();
  await connected(g, h);
  await moves(h);
  await at(h, "chat-input").fill("from the sofa");
  await at(h, "chat-input").press("Enter");
  await at(g, "chat-log").getByText("from the sofa").waitFor();

  // By keyboard alone.
  await d.goto(`${SERVER}/#keys`);
  await d.getByLabel("Room, code or link").focus();
  await d.keyboard.press("Enter");
  await d.getByText("Waiting for somebody to come").waitFor();
});
