// The page and the command line, files in both directions, with and without trickle.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SERVER, at, browser, connected, enter, noise, page, run, save, scratch, sha256, sterna } from "./chromium.mjs";

await run(async () => {
  const one = await browser();
  const folder = await scratch();
  const big = noise(6_000_000);
  await mkdir(join(folder, "photos/deep"), { recursive: true });
  await writeFile(join(folder, "big.bin"), big);
  await writeFile(join(folder, "photos/a.jpg"), noise(100_000));
  await writeFile(join(folder, "photos/deep/b.jpg"), noise(1));

  for (const trickle of [true, false]) {
    const flags = trickle ? [] : ["--no-trickle"];
    // The page without trickle as well.
    const query = trickle ? "" : "?trickle=no";
    const opened = (/** @type {string} */ link) => link.replace("/#", `/${query}#`);

    console.log(`send → page by link, trickle ${trickle}`);
    const send = sterna("send", ...flags, join(folder, "big.bin"));
    const { link } = await send.event("code");
    const a = await page(one);
    await a.goto(opened(link));
    await a.getByRole("heading", { name: "Files, straight to you" }).waitFor();
    await at(a, "join").click();
    const got = await save(a, /big\.bin/);
    assert.equal(sha256(got.bytes), sha256(big));
    assert.equal((await send.event("done")).sha256, sha256(big));
    assert.equal(await send.ended(), 0);
    await a.close();

    console.log(`page → receive, the page first, trickle ${trickle}`);
    const b = await page(one);
    await enter(b, `${SERVER}/${query}`);
    await b.waitForURL(/#[A-Za-z0-9_-]{22}$/);
    const out = join(folder, `out-${trickle}`);
    const receive = sterna("receive", ...flags, "--yes", "--out", out, b.url().replace(query, ""));
    await connected(b);
    await at(b, "file-input").setInputFiles({ name: "up.bin", mimeType: "application/octet-stream", buffer: big });
    assert.equal((await receive.event("done")).sha256, sha256(big));
    assert.equal(await receive.ended(), 0);
    assert.equal(sha256(await readFile(join(out, "up.bin"))), sha256(big));
    await at(b, "file-list").getByText("delivered and verified").waitFor();
    await b.close();
  }

  console.log("send of a folder → page by the spoken code");
  const send = sterna("send", join(folder, "photos"));
  const { code } = await send.event("code");
  const c = await page(one);
  await c.goto(SERVER);
  await c.getByLabel("Room, code or link").fill(` ${code.replaceAll("-", " ").toUpperCase()} `);
  await at(c, "join").click();
  assert.equal((await save(c, "photos/a.jpg")).bytes.length, 100_000);
  assert.equal((await save(c, "photos/deep/b.jpg")).bytes.length, 1);
  assert.equal(await send.ended(), 0);

  console.log("receive first, the page comes to it");
  const secret = new URL(`${SERVER}/#${noise(16).toString("base64url")}`).href;
  const out = join(folder, "first");
  const receive = sterna("receive", "--yes", "--out", out, secret);
  const d = await page(one);
  await d.goto(secret);
  await d.getByRole("heading", { name: "Files, straight to you" }).waitFor();
  await at(d, "join").click();
  await at(d, "file-input").setInputFiles({ name: "late.bin", mimeType: "application/octet-stream", buffer: big });
  await receive.event("done");
  assert.equal(sha256(await readFile(join(out, "late.bin"))), sha256(big));

  console.log("a wrong code fails after one try, and the code dies");
  const guessed = sterna("send", join(folder, "big.bin"));
  const right = (await guessed.event("code")).code;
  const wrong = `${right.split("-")[0]}-${right.includes("river") ? "candle-candle" : "river-river"}`;
  const e = await page(one);
  await e.goto(SERVER);
  await e.getByLabel("Room, code or link").fill(wrong);
  await at(e, "join").click();
  await e.getByRole("alert").getByText("The code is wrong").waitFor();
  await e.getByLabel("Room, code or link").fill(right);
  await at(e, "join").click();
  await e.getByRole("alert").getByText("nobody is waiting under the code").waitFor();
});
