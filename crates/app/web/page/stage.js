// The stage: a tile for everybody, for every shared screen and for ourselves. Tiles never move within the document, which
// would stop their pictures; they are placed by numbers.

import { byId, icon, make } from "./dom.js";
import { corner, focus, grid } from "./layout.js";

/** @typedef {import("./layout.js").Box} Box */
/** What a tile shows: `film` is what a command line plays. @typedef {"person" | "screen" | "film" | "own"} Sort */

/** Louder than this is speech, or something like it. */
const SPEECH = 0.02;
/** Between two words somebody still speaks. */
const PAUSE = 900;
/** How long the first picture of a camera that is switched on may take before the tile shows what it has. */
const FIRST_PICTURE = 2000;
const HUES = 6;

export class Tile {
  element = make("figure", { class: "tile" });
  /** Turned down by us. */
  hushed = false;
  video;
  #avatar = make("div", { class: "avatar", "aria-hidden": "true" });
  #name = make("span", { class: "who" });
  #muted = icon("microphone-off");
  #speaking = make("span", { class: "waves", "aria-hidden": "true" }, make("i"), make("i"), make("i"));
  #cover = make("div", { class: "cover" });
  #lit = false;
  #heard = -Infinity;
  /** @type {{ [action: string]: HTMLButtonElement }} */
  #buttons = {};

  /** @param {Sort} sort @param {string} name @param {MediaStream | null} stream none yet: an empty one would keep the page from being loaded */
  constructor(sort, name, stream) {
    this.sort = sort;
    this.name = name;
    const own = sort === "own";
    const testid = own ? "local-video" : sort === "screen" ? "remote-screen" : "remote-video";
    this.video = make("video", { "data-testid": testid, autoplay: "", playsinline: "", disablepictureinpicture: own ? "" : undefined });
    this.video.muted = own;
    this.video.srcObject = stream;
    this.element.classList.add(sort, "dark");
    this.#muted.setAttribute("hidden", "");
    this.#cover.hidden = true;
    this.rename(name);
    const caption = make("figcaption", {}, this.#muted, this.#speaking, this.#name);
    this.element.append(this.video, this.#avatar, this.#cover, caption, this.#actions());
    // Fingers do not hover: a tap shows what can be done.
    this.element.addEventListener("click", () => this.element.classList.toggle("touched"));
    this.element.addEventListener("dblclick", () => this.fill());
    stream?.addEventListener("addtrack", () => this.play());
    document.addEventListener("fullscreenchange", () => this.#press("fill", document.fullscreenElement === this.element));
  }

  /** Puts another tile forward, or this one. @type {() => void} */
  onpin = () => {};
  /** The browser wants a click before there is sound. @type {() => void} */
  onsilenced = () => {};
  /** @type {() => void} */
  onhush = () => {};

  get people() {
    return this.sort === "person" || this.sort === "own";
  }

  /** @param {string} name */
  rename(name) {
    this.name = name;
    const text = this.sort === "screen" ? `${name}'s screen` : name;
    this.#name.textContent = text;
    this.#avatar.textContent = [...name][0]?.toUpperCase() ?? "";
    const hue = [...name].reduce((sum, letter) => sum + (letter.codePointAt(0) ?? 0), 0) % HUES;
    this.#avatar.className = `avatar hue-${hue}`;
    this.video.setAttribute("aria-label", this.sort === "own" ? "Your camera" : this.sort === "screen" ? text : `${name}'s video`);
  }

  #actions() {
    const bar = make("div", { class: "actions" });
    /** @param {string} action @param {string} label @param {string} picture @param {() => void} act */
    const add = (action, label, picture, act) => {
      const button = make("button", { type: "button", class: "round", "aria-label": label, title: label, "aria-pressed": "false" }, icon(picture));
      button.addEventListener("click", (event) => {
        event.stopPropagation();
        act();
      });
      this.#buttons[action] = button;
      bar.append(button);
    };
    const whose = this.sort === "own" ? "your picture" : this.sort === "screen" ? `${this.name}'s screen` : this.name;
    if (this.sort !== "own") {
      add("hush", `Silence ${whose} for me`, "speaker-off", () => {
        this.hushed = !this.hushed;
        this.#press("hush", this.hushed);
        this.onhush();
      });
    }
    add("pin", `Keep ${whose} large`, "pin", () => this.onpin());
    if (this.sort !== "own") add("fill", `Full screen: ${whose}`, "expand", () => this.fill());
    return bar;
  }

  /** @param {string} action @param {boolean} pressed */
  #press(action, pressed) {
    this.#buttons[action]?.setAttribute("aria-pressed", String(pressed));
  }

  /** @param {boolean} pinned */
  pinned(pinned) {
    this.#press("pin", pinned);
  }

  /** The whole screen, or no longer. */
  fill() {
    if (this.sort === "own") return;
    if (document.fullscreenElement) return void document.exitFullscreen();
    const video = /** @type {HTMLVideoElement & { webkitEnterFullscreen?: () => void }} */ (this.video);
    if (this.element.requestFullscreen) void this.element.requestFullscreen().catch(() => {});
    // A telephone that knows full screen for films only.
    else video.webkitEnterFullscreen?.();
  }

  play() {
    this.video.play().catch((/** @type {unknown} */ error) => {
      if (!(error instanceof DOMException) || error.name !== "NotAllowedError") return;
      this.video.muted = true;
      this.onsilenced();
      this.video.play().catch(() => {});
    });
  }

  /** What is to be seen and heard of it. @param {{ picture: boolean, microphone: boolean }} shown */
  show({ picture, microphone }) {
    this.#muted.toggleAttribute("hidden", microphone);
    if (!microphone) this.element.classList.remove("speaking");
    if (picture === this.#lit) return;
    this.#lit = picture;
    this.play();
    if (!picture) this.element.classList.add("dark");
    else this.#light();
  }

  /** Once there is a new picture: the last one of before must not flash up. */
  #light() {
    const light = () => this.#lit && this.element.classList.remove("dark");
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(light);
    setTimeout(light, FIRST_PICTURE);
  }

  /** Why there is no picture, or an old one; nothing if all is well. @param {string} text */
  cover(text) {
    if (this.#cover.textContent !== text) this.#cover.textContent = text;
    this.#cover.hidden = !text;
    this.element.classList.toggle("covered", Boolean(text));
  }

  /** How loud it is now, 0 to 1. @param {number} level @returns {boolean} whether somebody speaks */
  hear(level) {
    const now = performance.now();
    if (level > SPEECH && this.#muted.hasAttribute("hidden")) this.#heard = now;
    const speaking = now - this.#heard < PAUSE;
    this.element.classList.toggle("speaking", speaking);
    return speaking;
  }

  /** @param {Box} box @param {boolean} floats above the others */
  place({ x, y, width, height }, floats) {
    const { style, classList } = this.element;
    style.setProperty("--x", `${Math.round(x)}px`);
    style.setProperty("--y", `${Math.round(y)}px`);
    style.setProperty("--w", `${Math.round(width)}px`);
    style.setProperty("--h", `${Math.round(height)}px`);
    classList.toggle("floats", floats);
    classList.toggle("small", width < 260);
  }
}

export class Stage {
  /** @type {Tile[]} */
  #tiles = [];
  /** @type {Tile | null} */
  #pinned = null;
  /** Whether there is nobody but ourselves, and that is how it should be. */
  #alone = false;
  #element = byId("tiles", HTMLElement);
  #speaker = "";
  #muted = false;

  constructor() {
    new ResizeObserver(() => this.#arrange()).observe(this.#element);
  }

  /** @param {Tile} tile */
  add(tile) {
    if (this.#tiles.includes(tile)) return;
    this.#tiles.push(tile);
    tile.onpin = () => this.pin(this.#pinned === tile ? null : tile);
    tile.onhush = () => this.#voice(tile);
    tile.onsilenced = () => this.#silenced(true);
    this.#element.append(tile.element);
    this.#voice(tile);
    tile.play();
    // Whoever shows something wants it to be seen.
    const shows = tile.sort === "screen" || tile.sort === "film";
    if (shows && !this.#pinned) this.#pinned = tile;
    this.#settle();
  }

  /** @param {Tile | null} tile */
  remove(tile) {
    if (!tile) return;
    this.#tiles = this.#tiles.filter((other) => other !== tile);
    tile.element.remove();
    tile.video.srcObject = null;
    if (this.#pinned === tile) this.#pinned = this.#tiles.find(({ sort }) => sort === "screen" || sort === "film") ?? null;
    this.#settle();
  }

  /** Whether there is nobody but ourselves, and that is how it should be. @param {boolean} alone */
  set alone(alone) {
    if (alone === this.#alone) return;
    this.#alone = alone;
    this.#settle();
  }

  /** @param {Tile | null} tile */
  pin(tile) {
    this.#pinned = tile;
    this.#settle();
  }

  /** Where sound goes, and whether it goes anywhere. @param {string} speaker @param {boolean} muted */
  sound(speaker, muted) {
    this.#speaker = speaker;
    this.#muted = muted;
    this.#silenced(false);
    for (const tile of this.#tiles) this.#voice(tile);
  }

  /** @param {Tile} tile */
  #voice(tile) {
    if (tile.sort === "own") return;
    tile.video.muted = this.#muted || tile.hushed;
    const video = /** @type {HTMLVideoElement & { setSinkId?: (id: string) => Promise<void>, sinkId?: string }} */ (tile.video);
    if (video.setSinkId && (video.sinkId ?? "") !== this.#speaker) void video.setSinkId(this.#speaker).catch(() => {});
  }

  /** @param {boolean} silenced */
  #silenced(silenced) {
    byId("sound-on", HTMLElement).hidden = !silenced;
  }

  /** Places all tiles anew, softly, because who or what is there has changed. */
  #settle() {
    this.#element.classList.add("moving");
    setTimeout(() => this.#element.classList.remove("moving"), 300);
    this.#arrange();
  }

  /** Places all tiles. */
  #arrange() {
    const area = { width: this.#element.clientWidth, height: this.#element.clientHeight };
    if (!area.width || !area.height) return;
    const own = this.#tiles.find(({ sort }) => sort === "own");
    const others = this.#tiles.filter((tile) => tile !== own);
    for (const tile of this.#tiles) tile.pinned(tile === this.#pinned);
    const pinned = this.#pinned && this.#tiles.length > 1 ? this.#pinned : null;
    if (own && others.length <= 1 && pinned !== own && !(this.#alone && !others.length)) {
      for (const tile of others) tile.place({ x: 0, y: 0, ...area }, false);
      own.place(corner(area), true);
    } else if (pinned) {
      const rest = [...others, ...(own ? [own] : [])].filter((tile) => tile !== pinned);
      const { main, strip } = focus(area, rest.length);
      pinned.place(main, false);
      rest.forEach((tile, index) => tile.place(strip[index], false));
    } else {
      const all = [...others, ...(own ? [own] : [])];
      const boxes = grid(area, all.length);
      all.forEach((tile, index) => tile.place(boxes[index], false));
    }
  }
}
