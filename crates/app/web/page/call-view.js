// The stage: a tile for everybody, ourselves in the corner, and what stands there while nobody else does.

import { byId, icon, make } from "./dom.js";

export class Tile {
  element = make("figure", { class: "tile dark" });
  #video;
  #avatar = make("div", { class: "avatar", "aria-hidden": "true" });
  #name = make("span");
  #muted = icon("microphone-off");

  /** @param {string} name @param {MediaStream} stream */
  constructor(name, stream) {
    this.#video = make("video", { "data-testid": "remote-video", autoplay: "", playsinline: "" });
    this.#video.srcObject = stream;
    this.#name.textContent = name;
    this.#avatar.textContent = [...name][0]?.toUpperCase() ?? "";
    this.#video.setAttribute("aria-label", `${name}'s video`);
    this.element.append(this.#video, this.#avatar, make("figcaption", {}, this.#name, this.#muted));
    this.#muted.setAttribute("hidden", "");
    // Sound may start on its own: whoever is here has pressed Join.
    stream.addEventListener("addtrack", () => this.play());
  }

  play() {
    this.#video.play().catch(() => {});
  }

  /** What the other side says that it sends. @param {{ camera: boolean, microphone: boolean, screen: boolean }} media */
  show({ camera, microphone, screen }) {
    this.element.classList.toggle("dark", !camera && !screen);
    this.element.classList.toggle("shows-screen", screen);
    this.#muted.toggleAttribute("hidden", microphone);
    this.play();
  }
}

/** How many tiles stand side by side. @param {number} count */
export function layOut(count) {
  const wide = innerWidth > innerHeight;
  const columns = count <= 1 ? 1 : count === 2 ? (wide ? 2 : 1) : count <= 4 ? 2 : wide ? 3 : 2;
  byId("tiles", HTMLElement).style.setProperty("--columns", String(columns));
}

/** @param {import("./media.js").Devices} devices */
export function showOwn(devices) {
  const local = byId("local", HTMLElement);
  const video = byId("local-video", HTMLVideoElement);
  const track = devices.tracks.video;
  local.hidden = !track;
  local.classList.toggle("shows-screen", devices.screen);
  const stream = /** @type {MediaStream | null} */ (video.srcObject);
  if (stream?.getVideoTracks()[0] !== track) video.srcObject = track ? new MediaStream([track]) : null;
  for (const [id, on] of /** @type {[string, boolean][]} */ ([
    ["microphone", devices.microphone],
    ["camera", devices.camera],
    ["screen", devices.screen],
  ])) {
    byId(id, HTMLElement).setAttribute("aria-pressed", String(on));
  }
  byId("screen", HTMLElement).hidden = !devices.canShareScreen;
}
