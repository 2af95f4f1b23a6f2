// The page that `sterna lab grid --html` writes: complete by itself, and usable by keyboard, in light and dark.
//
// Takes docs/grid.png with a path behind it (SERVER is not used, but the shared parts want it):
//   SERVER=http://127.0.0.1 STERNA_BIN=… node browser/grid.mjs ../../../docs/grid.png

import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { browser, run, scratch, sterna } from "./chromium.mjs";

const [picture] = process.argv.slice(2);

await run(async () => {
  const file = join(await scratch(), "grid.html");
  const seeds = picture ? "100" : "3";
  assert.equal(await sterna("lab", "grid", "--seeds", seeds, "--html", file).ended(), 0);
  const chromium = await browser({ media: false });
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    const context = await chromium.newContext({ colorScheme, viewport: { width: 1280, height: 1300 } });
    const page = await context.newPage();
    /** @type {string[]} */
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(String(error.stack)));
    page.on("request", (request) => {
      if (request.url().split("#")[0] !== pathToFileURL(file).href) complaints.push(`it asks ${request.url()}`);
    });
    await page.goto(pathToFileURL(file).href);
    assert.equal(await page.locator(".cell").count(), 16);

    // By keyboard alone: to a cell, into its ladder, along it, and back.
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "Enter"]) await page.keyboard.press(key);
    assert.equal(await page.locator("#run-title").innerText(), "port-restricted calls symmetric");
    assert.match(await page.locator("#result").innerText(), /through the relay/);
    await page.getByLabel(/^what came after/).check();
    const ladder = await page.locator("#ladder").textContent();
    const told = ["offer", "candidate srflx", "Allocate error 401", "filtered", "connectivity check; carries ClientHello", "I-DATA", "“hello from a”"];
    for (const words of told) assert.ok(ladder?.includes(words), `the ladder does not say ${words}`);
    await page.locator(".row").first().focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    assert.match(await page.locator("#details").innerText(), /nat-a rewrites it/);
    await page.keyboard.press("Escape");
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("data-run")), "11");

    // Without the noise there is less of it.
    const all = await page.locator(".row").count();
    await page.getByLabel(/^ICE checks/).uncheck();
    assert.ok((await page.locator(".row").count()) < all);
    await page.getByLabel(/^ICE checks/).check();
    assert.deepEqual(complaints, []);
    if (picture && colorScheme === "light") {
      await page.getByLabel(/^what came after/).uncheck();
      await page.setViewportSize({ width: 1280, height: 3000 });
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: picture, clip: { x: 0, y: 0, width: 1280, height: 1640 } });
    }
    await context.close();
  }
});
