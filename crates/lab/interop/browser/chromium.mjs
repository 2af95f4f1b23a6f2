// Headless Chromium with a camera and a microphone that are not there, and what the scenarios do with it.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

/** The `sterna serve` that the test started. */
export const SERVER = process.env.SERVER;
/** The same server under a name that browsers do not trust over plain http, as on a home network. */
export const INSECURE = SERVER?.replace("127.0.0.1", "laptop.test");
const STERNA = process.env.STERNA_BIN;
/** What takes so long has failed. */
export const PATIENCE = 30_000;

const QUIET = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const MEDIA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const LOOPBACK = ["--allow-loopback-in-peer-connection", "--host-resolver-rules=MAP laptop.test 127.0.0.1"];

/** What libwebrtc is to do that it does not do yet by itself, as `NAME/Enabled/`. */
const TRIALS = process.env.TRIALS ? [`--force-fieldtrials=${process.env.TRIALS}`] : [];

/** Things to undo at the end, latest first. */
const cleanups = [];

/** @param {{ more?: string[], media?: boolean }} [options] */
export async function browser({ more = [], media = true } = {}) {
  const started = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", ...QUIET, ...LOOPBACK, ...TRIALS, ...(media ? MEDIA : []), ...more],
  });
  cleanups.push(() => started.close());
  return started;
}

/**
 * A page in a profile of its own. An error in it fails the scenario.
 * @param {import("playwright-core").Browser} where
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function page(where, options = {}) {
  const context = await where.newContext({ acceptDownloads: true, ...options });
  const opened = await context.newPage();
  opened.setDefaultTimeout(PATIENCE);
  const name = `page ${(pages += 1)}`;
  opened.on("console", (message) => {
    if (message.type() !== "error") return;
    const text = `${name}: ${message.text()}`;
    // A connection that is refused on purpose is the browser's own error, not the page's.
    if (/net::ERR_|WebSocket connection/.test(text)) return console.log(text);
    complaints.push(text);
  });
  opened.on("pageerror", (error) => complaints.push(`${name}: ${error.stack}`));
  opened.on("request", (request) => {
    const url = new URL(request.url());
    if (!["blob:", "data:"].includes(url.protocol) && !known.has(url.host)) {
      complaints.push(`${name} asks ${request.url()}`);
    }
  });
  return opened;
}
let pages = 0;
const complaints = [];
/** The servers that pages may ask. */
const known = new Set([SERVER, INSECURE].filter(Boolean).map((url) => new URL(url).host));

/** @param {import("playwright-core").Page} there @param {string} id */
export const at = (there, id) => there.getByTestId(id);

/** Opens an address and presses Join. @param {import("playwright-core").Page} there @param {string} address */
export async function enter(there, address) {
  await there.goto(address);
  await at(there, "join").click();
}

/** Waits until everything stands. @param {...import("playwright-core").Page} all */
export async function connected(...all) {
  for (const there of all) {
    await until(
      async () => /ICE connected · DTLS connected · channel open/.test(await at(there, "state").innerText()),
      async () => `state: ${await at(there, "state").innerText()}; path: ${await at(there, "path").innerText()}`,
    );
    await until(
      async () => /^(direct|relayed via .* because .*) · (udp|tcp|tls)[46]? · /.test(await at(there, "path").innerText()),
      async () => `path: ${await at(there, "path").innerText()}`,
    );
  }
}

/** @param {() => Promise<unknown>} condition @param {() => Promise<string> | string} what */
export async function until(condition, what) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`not in time: ${await what()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Frames that a video has shown. @param {import("playwright-core").Page} there @param {string} id */
export async function frames(there, id) {
  return at(there, id).first().evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
}

/** Waits until the other's picture moves. @param {import("playwright-core").Page} there */
export async function moves(there) {
  await at(there, "remote-video").first().waitFor();
  const before = await frames(there, "remote-video");
  await until(async () => (await frames(there, "remote-video")) > before + 5, () => `frames stay at ${before}`);
}

/** Saves what a link in the file list offers. @param {import("playwright-core").Page} there @param {string | RegExp} name */
export async function save(there, name) {
  const link = at(there, "file-list").getByRole("link", { name });
  await link.first().waitFor();
  const [download] = await Promise.all([there.waitForEvent("download"), link.first().click()]);
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

/** @param {number} size */
export const noise = (size) => randomBytes(size);

/** @param {Uint8Array} bytes */
export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A folder that goes away at the end. */
export async function scratch() {
  const folder = await mkdtemp(join(tmpdir(), "sterna-interop-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs the real program with `--json`. @param {...string} args */
export function sterna(...args) {
  const child = spawn(STERNA, ["--json", ...args], {
    env: { ...process.env, STERNA_SERVER: SERVER },
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanups.push(() => child.kill("SIGKILL"));
  const events = [];
  const waiting = [];
  const wake = () => waiting.splice(0).forEach((resolve) => resolve());
  createInterface({ input: child.stdout }).on("line", (line) => {
    events.push(JSON.parse(line)); if (process.env.LOUD) console.log(line);
    wake();
  });
  let code = null;
  const ended = new Promise((resolve) =>
    child.on("close", (exit) => {
      code = exit;
      wake();
      resolve(exit);
    }),
  );
  return {
    child,
    /** The next event of a name. @param {string} name */
    async event(name) {
      const end = setTimeout(() => (wake(), (code ??= "out of time")), PATIENCE);
      try {
        for (;;) {
          const at = events.findIndex(({ event }) => event === name);
          if (at >= 0) return events.splice(0, at + 1)[at];
          const failed = events.find(({ event }) => event === "failed");
          assert.ok(!failed, JSON.stringify(failed));
          assert.equal(code, null, `sterna ${args[0]} ended without saying ${name}`);
          await new Promise((resolve) => waiting.push(resolve));
        }
      } finally {
        clearTimeout(end);
      }
    },
    /** Its exit code. */
    ended: () => ended,
  };
}

/** A server of the scenario's own, which can be killed and started again where it was. @param {...string} flags */
export async function server(...flags) {
  let [http, stun] = ["0", "0"];
  let program;
  const own = {
    url: "",
    async start() {
      program = sterna("serve", "--http", http, "--stun", stun, "--stun-tls", "0", "--allow-peer", "127.0.0.0/8", ...flags);
      const listening = await program.event("listening");
      http = new URL(listening.http).port;
      stun = /:(\d+)$/.exec(listening.stun)[1];
      own.url = `http://127.0.0.1:${http}`;
      known.add(new URL(own.url).host);
    },
    async kill() {
      program.child.kill("SIGKILL");
      await program.ended();
    },
  };
  await own.start();
  return own;
}

/** Runs a scenario; what is open is closed after it, however it ends. @param {() => Promise<void>} scenario */
export async function run(scenario) {
  try {
    await scenario();
    assert.deepEqual(complaints, []);
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}
