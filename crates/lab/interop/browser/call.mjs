// Two pages in a private room: call, chat, and files both ways.

import assert from "node:assert/strict";
import { SERVER, at, browser, connected, enter, moves, noise, page, run, save, sha256, until } from "./chromium.mjs";

await run(async () => {
  const one = await browser();
  const a = await page(one);
  const b = await page(one);
  await a.goto(SERVER);
  await a.getByLabel("Your name").fill("Ada");
  // An empty name is a new room: a link with a secret.
  await at(a, "join").click();
  await a.waitForURL(/\/#[A-Za-z0-9_-]{22}$/);
  await enter(b, a.url());
  await connected(a, b);
  for (const there of [a, b]) {
    await moves(there);
    await at(there, "local-video").waitFor();
    assert.match(await there.locator("#seal").innerText(), /not even the server can listen/);
  }

  await at(a, "chat-input").fill("Do you hear me?");
  await at(a, "chat-input").press("Enter");
  await at(b, "chat-log").getByText("Do you hear me?").waitFor();
  await at(b, "chat-input").fill("<b>Loud</b> and clear");
  await at(b, "chat-input").press("Enter");
  await at(a, "chat-log").getByText("<b>Loud</b> and clear").waitFor();

  const [picture, text] = [noise(3_000_000), Buffer.from("hello\n")];
  await at(a, "file-input").setInputFiles({ name: "picture.jpg", mimeType: "image/jpeg", buffer: picture });
  const got = await save(b, /picture\.jpg/);
  assert.equal(got.name, "picture.jpg");
  assert.equal(sha256(got.bytes), sha256(picture));
  await at(a, "file-list").getByText("delivered and verified").waitFor();
  await at(b, "file-input").setInputFiles({ name: "note.txt", mimeType: "text/plain", buffer: text });
  assert.deepEqual((await save(a, /note\.txt/)).bytes, text);

  // Several files at once are saved one by one or as one archive; an empty one is a file too.
  const several = ["x.bin", "y.bin", "empty.bin"].map((name, i) => ({
    name,
    mimeType: "application/octet-stream",
    buffer: noise([70_000, 1_200_000, 0][i]),
  }));
  await at(a, "file-input").setInputFiles(several);
  await at(b, "file-list").getByRole("button", { name: "Save all" }).waitFor();
  for (const { name, buffer } of several) {
    assert.equal(sha256((await save(b, name)).bytes), sha256(buffer), name);
  }
  const [archive] = await Promise.all([
    b.waitForEvent("download"),
    at(b, "file-list").getByRole("button", { name: "Save all" }).click(),
  ]);
  assert.equal(archive.suggestedFilename(), "3 files.zip");

  // The camera goes off and on without another negotiation.
  await a.getByRole("button", { name: "Camera" }).click();
  await b.locator(".tile.person.dark").waitFor();
  await a.getByRole("button", { name: "Camera" }).click();
  await b.locator(".tile.person:not(.dark)").waitFor();
  await moves(b);

  await b.getByRole("button", { name: "Leave the room" }).click();
  await at(b, "join").waitFor();
  await until(async () => (await at(a, "remote-video").count()) === 0, () => "a still sees b");
  // And back again.
  await at(b, "join").click();
  await connected(a, b);
});
