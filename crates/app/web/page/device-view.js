// The dialog in which one chooses camera, microphone and speaker.

import { byId, icon, make } from "./dom.js";

/** @typedef {import("./media.js").Devices} Devices */
/** @typedef {import("./media.js").Kind} Kind */

const KINDS = /** @type {Kind[]} */ (["camera", "microphone", "speaker"]);
/** @type {{ [kind in Kind]: string }} */
const NAMES = { camera: "Camera", microphone: "Microphone", speaker: "Speaker" };

export class DeviceView {
  /** Another one is wanted. @type {(kind: Kind, id: string) => void} */
  onchoose = () => {};
  /** On, or off. @type {(kind: Kind) => void} */
  ontoggle = () => {};

  #dialog = byId("device-dialog", HTMLDialogElement);
  #devices;
  /** @type {{ [kind in Kind]: { select: HTMLSelectElement, toggle: HTMLButtonElement } }} */
  #rows;
  #level = make("i", { class: "level" });
  /** What the selects show, so that an open one is left alone. @type {{ [kind: string]: string }} */
  #shown = {};

  /** @param {Devices} devices */
  constructor(devices) {
    this.#devices = devices;
    this.#rows = { camera: this.#row("camera"), microphone: this.#row("microphone"), speaker: this.#row("speaker") };
    this.#rows.microphone.select.after(make("div", { class: "meter", "aria-hidden": "true" }, this.#level));
    byId("devices-open", HTMLElement).addEventListener("click", async () => {
      await devices.look();
      devices.onchange();
      this.#dialog.showModal();
    });
    byId("device-test", HTMLElement).addEventListener("click", () => void beep(devices.chosen("speaker")));
    byId("devices-close", HTMLElement).addEventListener("click", () => this.#dialog.close());
    // A click beside the dialog closes it.
    this.#dialog.addEventListener("click", ({ target }) => target === this.#dialog && this.#dialog.close());
  }

  /** @param {Kind} kind */
  #row(kind) {
    const select = make("select", { id: `${kind}-select`, "data-testid": `${kind}-select` });
    const toggle = make("button", { type: "button", class: "switch", role: "switch", "aria-label": NAMES[kind] });
    select.addEventListener("change", () => this.onchoose(kind, select.value));
    toggle.addEventListener("click", () => this.ontoggle(kind));
    const label = make("label", { for: select.id }, icon(kind), NAMES[kind]);
    byId("device-rows", HTMLElement).append(make("div", { class: "device" }, label, toggle, select));
    return { select, toggle };
  }

  /** @param {boolean} speaker whether sound is on */
  draw(speaker) {
    const devices = this.#devices;
    for (const kind of KINDS) {
      const { select, toggle } = this.#rows[kind];
      const on = kind === "speaker" ? speaker : devices[kind];
      toggle.setAttribute("aria-checked", String(on));
      const choices = devices.choices[kind];
      const fixed = kind === "speaker" && !devices.canChooseSpeaker;
      const none = fixed ? "The system's own" : choices.length ? "" : kind === "speaker" ? "The system's own" : `No ${kind} is connected`;
      const chosen = devices.chosen(kind);
      const key = JSON.stringify([choices, none, chosen]);
      if (key === this.#shown[kind]) continue;
      this.#shown[kind] = key;
      const options = none ? [make("option", { value: "" }, none)] : choices.map(({ id, label }) => make("option", { value: id }, label));
      select.replaceChildren(...options);
      select.disabled = Boolean(none) || choices.length < 2;
      if (!none && choices.some(({ id }) => id === chosen)) select.value = chosen;
    }
  }

  /** How loud our microphone is, 0 to 1. @param {number} level */
  hear(level) {
    if (this.#dialog.open) this.#level.style.setProperty("--level", String(Math.min(1, 3 * level)));
  }
}

/** A short tone, to find out where sound goes. @param {string} speaker */
async function beep(speaker) {
  const context = /** @type {AudioContext & { setSinkId?: (id: string) => Promise<void> }} */ (new AudioContext());
  await context.setSinkId?.(speaker).catch(() => {});
  const [tone, volume] = [context.createOscillator(), context.createGain()];
  const { currentTime: now } = context;
  tone.frequency.setValueAtTime(523, now);
  tone.frequency.setValueAtTime(784, now + 0.18);
  volume.gain.setValueAtTime(0, now);
  volume.gain.linearRampToValueAtTime(0.25, now + 0.02);
  volume.gain.linearRampToValueAtTime(0, now + 0.45);
  tone.connect(volume).connect(context.destination);
  tone.onended = () => void context.close();
  tone.start();
  tone.stop(now + 0.5);
}

/** How loud a track of ours is, without sending it anywhere. */
export class Ear {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  #wave = new Float32Array(512);

  /** @param {MediaStreamTrack | null} track @returns {number} 0 to 1 */
  level(track) {
    if (track !== this.#track) this.#follow(track);
    if (!track?.enabled || !this.#analyser) return 0;
    this.#analyser.getFloatTimeDomainData(this.#wave);
    return Math.sqrt(this.#wave.reduce((sum, value) => sum + value * value, 0) / this.#wave.length);
  }

  /** @param {MediaStreamTrack | null} track */
  #follow(track) {
    this.#track = track;
    this.#source?.disconnect();
    this.#source = null;
    if (!track) return;
    this.#context ??= new AudioContext();
    this.#analyser ??= this.#context.createAnalyser();
    this.#analyser.fftSize = this.#wave.length;
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
  }
}
