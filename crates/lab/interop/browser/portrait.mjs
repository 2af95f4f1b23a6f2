// A drawn person before a camera, as a moving picture that Chromium takes for its fake camera: JPEG after JPEG.

import { writeFile } from "node:fs/promises";

/** @typedef {{ wall: string, light: string, skin: string, hair: string, shirt: string, long?: boolean }} Looks */

/** @type {Record<string, Looks>} */
export const PEOPLE = {
  ada: { wall: "#d9e5dc", light: "#f6f3e7", skin: "#e0ab86", hair: "#3b2620", shirt: "#b4532f", long: true },
  emil: { wall: "#cfdbe6", light: "#f3f7fb", skin: "#8d5b3f", hair: "#1d1716", shirt: "#1f5c70" },
  noor: { wall: "#ead9cf", light: "#fbf3ea", skin: "#c98d63", hair: "#5a2b4b", shirt: "#5b3f8c", long: true },
  kofi: { wall: "#d5d9c9", light: "#f5f5e6", skin: "#5d3a29", hair: "#120e0d", shirt: "#c98a1b" },
  lena: { wall: "#d3e0e4", light: "#f0f8fa", skin: "#f0c7a8", hair: "#b9843b", shirt: "#2f7a55", long: true },
  tomo: { wall: "#dcd3e3", light: "#f7f2fa", skin: "#e8be98", hair: "#26201f", shirt: "#33485a" },
};

const FRAMES = 24;

/** @param {Looks} looks @param {number} turn 0 to 1 */
function picture({ wall, light, skin, hair, shirt, long }, turn) {
  const sway = 7 * Math.sin(2 * Math.PI * turn);
  const nod = 3 * Math.sin(4 * Math.PI * turn);
  const blink = Math.abs(turn - 0.5) < 0.03;
  const mouth = 4 + 5 * Math.abs(Math.sin(6 * Math.PI * turn));
  const eyes = [282, 358]
    .map((x) => `<ellipse cx="${x}" cy="226" rx="7" ry="${blink ? 1 : 8}" fill="#1c1512"/>`)
    .join("");
  const locks = long
    ? `<path d="M196 220c-8 90-20 150-36 190 40 22 90 10 108-12l104 0c18 22 68 34 108 12-16-40-28-100-36-190Z" fill="${hair}"/>`
    : "";
  return `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480" viewBox="0 0 640 480">
    <defs>
      <radialGradient id="w" cx=".25" cy=".2" r="1.1"><stop offset="0" stop-color="${light}"/><stop offset="1" stop-color="${wall}"/></radialGradient>
      <linearGradient id="f" x1="0" x2="1"><stop offset="0" stop-color="#fff" stop-opacity=".16"/><stop offset="1" stop-color="#000" stop-opacity=".14"/></linearGradient>
    </defs>
    <rect width="640" height="480" fill="url(#w)"/>
    <rect x="36" y="40" width="128" height="190" rx="4" fill="#fff" opacity=".75"/>
    <path d="M100 40v190M36 135h128" stroke="${wall}" stroke-width="7"/>
    <rect x="480" y="150" width="150" height="10" rx="3" fill="#8a6b4f"/>
    <g><rect x="500" y="82" width="18" height="68" fill="#b4532f"/><rect x="521" y="94" width="14" height="56" fill="#2f6f7f"/><rect x="538" y="78" width="20" height="72" fill="#d8b45a"/><rect x="562" y="98" width="15" height="52" fill="#5b6c7a"/></g>
    <path d="M70 480c4-60 14-84 30-104-30 8-44 30-50 44 4-40 22-62 52-72-24-14-50-4-62 6 18-34 54-40 78-14 6-36 34-52 60-42-22 4-36 20-38 42 26-8 48 6 52 26-18-8-40-6-56 8 30 10 40 40 34 70-8-24-22-40-42-44 0 22 2 52 8 80Z" fill="#4d7d5c" opacity=".9"/>
    <g transform="translate(${sway * 0.5} 0)"><path d="M120 480c8-92 92-120 150-130h100c58 10 142 38 150 130Z" fill="${shirt}"/><path d="M120 480c8-92 92-120 150-130h100c58 10 142 38 150 130Z" fill="url(#f)"/></g>
    <g transform="translate(${sway} ${nod}) rotate(${sway / 4} 320 300)">
      ${locks}
      <path d="M284 300h72v58c-20 24-52 24-72 0Z" fill="${skin}"/><path d="M284 318c22 20 50 20 72 0v14c-22 22-50 22-72 0Z" fill="#000" opacity=".13"/>
      <ellipse cx="320" cy="226" rx="92" ry="112" fill="${skin}"/><ellipse cx="320" cy="226" rx="92" ry="112" fill="url(#f)"/>
      <path d="M222 218c-14-92 44-134 104-132 62 2 108 46 92 132-8-36-26-58-44-68-46 18-100 18-128 4-12 18-20 38-24 64Z" fill="${hair}"/>
      ${eyes}
      <path d="M266 204q16-10 32 0M342 204q16-10 32 0" fill="none" stroke="${hair}" stroke-width="6" stroke-linecap="round"/>
      <path d="M320 236q-9 26 4 28" fill="none" stroke="#000" stroke-opacity=".25" stroke-width="4" stroke-linecap="round"/>
      <path d="M286 286q34 ${mouth * 5} 68 0q-34 8-68 0Z" fill="#7c2f2a"/>
    </g>
  </svg>`;
}

/** Draws a person, picture by picture, as JPEG. @param {import("playwright-core").Browser} where @param {Looks} looks @param {number} frames */
async function draw(where, looks, frames) {
  const context = await where.newContext({ viewport: { width: 640, height: 480 } });
  const canvas = await context.newPage();
  const pictures = [];
  for (let frame = 0; frame < frames; frame++) {
    await canvas.setContent(`<body style="margin:0">${picture(looks, frame / frames)}</body>`);
    pictures.push(await canvas.screenshot({ type: "jpeg", quality: 88 }));
  }
  await context.close();
  return pictures;
}

/**
 * Puts a drawn person before the camera of a page, and a voice before its microphone, so that one browser plays many people.
 * @param {import("playwright-core").Browser} where @param {import("playwright-core").Page} there @param {Looks} looks
 * @param {boolean} [speaks]
 */
export async function disguise(where, there, looks, speaks = false) {
  const pictures = (await draw(where, looks, 8)).map((bytes) => bytes.toString("base64"));
  await there.addInitScript(({ pictures, speaks }) => {
    navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
      const tracks = [];
      if (video) {
        const bitmaps = await Promise.all(
          pictures.map((text) => createImageBitmap(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]))),
        );
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [640, 480];
        const pen = canvas.getContext("2d");
        let at = 0;
        setInterval(() => pen.drawImage(bitmaps[at++ % bitmaps.length], 0, 0), 100);
        tracks.push(...canvas.captureStream(10).getTracks());
      }
      if (audio) {
        const context = new AudioContext();
        const [voice, volume, out] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()];
        volume.gain.value = speaks ? 0.3 : 0;
        voice.connect(volume).connect(out);
        voice.start();
        tracks.push(...out.stream.getTracks());
      }
      return new MediaStream(tracks);
    };
  }, { pictures, speaks });
}

/** Draws a person into a file for `--use-file-for-fake-video-capture`. @param {import("playwright-core").Browser} where @param {Looks} looks @param {string} file */
export async function film(where, looks, file) {
  await writeFile(file, Buffer.concat(await draw(where, looks, FRAMES)));
}
