// Camera, microphone and screen: asked for on a wish only, and the call goes on without them.

/** @typedef {import("./connection.js").Tracks} Tracks */

export class Devices {
  /** Something was switched on or off, by us or by the system. @type {() => void} */
  onchange = () => {};
  /** @type {MediaStreamTrack | null} */
  #microphone = null;
  /** @type {MediaStreamTrack | null} */
  #camera = null;
  /** @type {MediaStreamTrack | null} */
  #screen = null;

  /** Whether this page may ask at all. Browsers allow it on https and on the same machine only. */
  get allowed() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  get canShareScreen() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /** What to send. @returns {Tracks} */
  get tracks() {
    return { audio: this.#microphone, video: this.#screen ?? this.#camera };
  }

  get microphone() {
    return this.#microphone !== null && this.#microphone.enabled;
  }

  get camera() {
    return this.#camera !== null;
  }

  get screen() {
    return this.#screen !== null;
  }

  /**
   * Asks for what is wanted; takes what there is.
   * @param {{ microphone: boolean, camera: boolean }} wanted
   * @returns {Promise<string>} a plain word on what is missing, or nothing
   */
  async start({ microphone, camera }) {
    if (!microphone && !camera) return "";
    if (!this.allowed) return NOT_ALLOWED;
    const missing = [];
    // Both in one question, if there are both; if that fails, each on its own.
    const both = microphone && camera ? await ask({ audio: AUDIO, video: VIDEO }) : new Error();
    if (both instanceof MediaStream) {
      this.#take(both);
    } else {
      if (microphone && !(await this.#start("microphone"))) missing.push("microphone");
      if (camera && !(await this.#start("camera"))) missing.push("camera");
    }
    this.onchange();
    if (!missing.length) return "";
    return `No ${missing.join(" and no ")}: not there, in use elsewhere, or not allowed. You are in without.`;
  }

  /** @returns {Promise<string>} a plain word if it did not work */
  async toggleMicrophone() {
    if (this.#microphone) {
      // Silence, not an end: a word too late after unmuting is a word lost.
      this.#microphone.enabled = !this.#microphone.enabled;
    } else if (!(await this.#start("microphone"))) {
      return this.allowed ? "The microphone cannot be used: not there, in use elsewhere, or not allowed." : NOT_ALLOWED;
    }
    this.onchange();
    return "";
  }

  /** @returns {Promise<string>} a plain word if it did not work */
  async toggleCamera() {
    if (this.#camera) {
      this.#camera.stop();
      this.#camera = null;
    } else if (!(await this.#start("camera"))) {
      return this.allowed ? "The camera cannot be used: not there, in use elsewhere, or not allowed." : NOT_ALLOWED;
    }
    this.onchange();
    return "";
  }

  /** @returns {Promise<string>} a plain word if it did not work */
  async toggleScreen() {
    if (this.#screen) {
      this.#screen.stop();
      this.#screen = null;
    } else {
      try {
        const stream = await navigator.mediaDevices.getDisplayMedia({ video: true });
        this.#screen = this.#follow(stream.getVideoTracks()[0]);
      } catch {
        return "";
      }
    }
    this.onchange();
    return "";
  }

  stop() {
    for (const track of [this.#microphone, this.#camera, this.#screen]) track?.stop();
    this.#microphone = this.#camera = this.#screen = null;
    this.onchange();
  }

  /** @param {"microphone" | "camera"} device */
  async #start(device) {
    const stream = await ask(device === "microphone" ? { audio: AUDIO } : { video: VIDEO });
    if (stream instanceof Error) return false;
    this.#take(stream);
    return true;
  }

  /** @param {MediaStream} stream */
  #take(stream) {
    for (const track of stream.getTracks()) {
      this.#follow(track);
      if (track.kind === "audio") this.#microphone = track;
      else this.#camera = track;
    }
  }

  /** Notices when the device is pulled out or taken away. @param {MediaStreamTrack} track */
  #follow(track) {
    track.onended = () => {
      if (this.#microphone === track) this.#microphone = null;
      if (this.#camera === track) this.#camera = null;
      if (this.#screen === track) this.#screen = null;
      this.onchange();
    };
    return track;
  }
}

export const NOT_ALLOWED =
  "Browsers allow camera and microphone only on https:// pages and on the same machine. Chat and files work.";

const AUDIO = { echoCancellation: true, noiseSuppression: true };
const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 } };

/** @param {MediaStreamConstraints} constraints @returns {Promise<MediaStream | Error>} */
async function ask(constraints) {
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
