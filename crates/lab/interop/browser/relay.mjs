// Two pages, and the page and the command line, through our own TURN server: the path line says so, and why.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SERVER, at, browser, connected, enter, moves, noise, page, run, save, scratch, sha256, sterna } from "./chromium.mjs";

await run(async () => {
  const one = await browser();
  const a = await page(one);
  const b = await page(one);
  await enter(a, `${SERVER}/?relay=only#by the relay`);
  await enter(b, `${SERVER}/?relay=no#by the relay`);
  await connected(a, b);
  for (const there of [a, b]) await moves(there);
  assert.match(
    await at(a, "path").innerText(),
    /^relayed via 127\.0\.0\.1:\d+ because this page was asked to use the relay only · udp4 · relay–/,
  );
  assert.match(await at(b, "path").innerText(), /^relayed via .* \(the other side's relay\) because /);
  const bytes = noise(500_000);
  await at(a, "file-input").setInputFiles({ name: "a.bin", mimeType: "application/octet-stream", buffer: bytes });
  assert.equal(sha256((await save(b, /a\.bin/)).bytes), sha256(bytes));

  const folder = await scratch();
  await writeFile(join(folder, "c.bin"), bytes);
  const send = sterna("send", "--relay-only", join(folder, "c.bin"));
  const { link } = await send.event("code");
  const c = await page(one);
  await enter(c, link);
  assert.equal((await send.event("connected")).path.kind, "relayed");
  assert.equal(sha256((await save(c, /c\.bin/)).bytes), sha256(bytes));
  assert.equal(await send.ended(), 0);
});
