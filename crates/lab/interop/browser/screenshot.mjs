// Takes docs/page.png: two people in a call, as the page shows it.
//
//   SERVER=http://127.0.0.1:8080 CHROMIUM=/usr/bin/chromium node browser/screenshot.mjs ../../../docs/page.png

import { join } from "node:path";
import { SERVER, at, browser, connected, enter, moves, noise, page, run, scratch } from "./chromium.mjs";
import { PEOPLE, film } from "./portrait.mjs";

const [file] = process.argv.slice(2);

await run(async () => {
  const folder = await scratch();
  const studio = await browser();
  const camera = async (/** @type {string} */ who) => {
    const tape = join(folder, `${who}.mjpeg`);
    await film(studio, PEOPLE[who], tape);
    return browser({ more: [`--use-file-for-fake-video-capture=${tape}`] });
  };
  const size = { viewport: { width: 1280, height: 800 } };
  const ada = await page(await camera("ada"), size);
  const emil = await page(await camera("emil"), size);
  await ada.goto(SERVER);
  await ada.getByLabel("Your name").fill("Ada");
  await at(ada, "join").click();
  await ada.waitForURL(/#/);
  await emil.goto(ada.url());
  await emil.getByLabel("Your name").fill("Emil");
  await at(emil, "join").click();
  await connected(ada, emil);
  await moves(ada);

  const say = async (/** @type {import("playwright-core").Page} */ who, /** @type {string} */ text) => {
    await at(who, "chat-input").fill(text);
    await at(who, "chat-input").press("Enter");
    const other = who === ada ? emil : ada;
    await at(other, "chat-log").getByText(text).waitFor();
  };
  await say(ada, "Good morning! Here are the drawings for the roof.");
  await say(emil, "That was quick. They open fine.");
  await say(emil, "Shall we go through page two?");
  await at(ada, "file-input").setInputFiles({ name: "roof-section-A.pdf", mimeType: "application/pdf", buffer: noise(4_200_000) });
  await at(ada, "file-list").getByText("delivered and verified").waitFor();
  await at(emil, "file-input").setInputFiles({ name: "site-photos.zip", mimeType: "application/zip", buffer: noise(2_300_000) });
  await at(ada, "file-list").getByText("received and verified").waitFor();
  await ada.mouse.click(400, 300);
  await ada.waitForTimeout(1500);
  await ada.screenshot({ path: file });
});
