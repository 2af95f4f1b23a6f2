// Camera, microphone, screen and speaker: asked for on a wish only, and the call goes on without them.

/** @typedef {import("./sections.js").Tracks} Tracks */
/** @typedef {"microphone" | "camera"} Device what records */
/** @typedef {Device | "speaker"} Kind */
/** @typedef {{ id: string, label: string }} Choice */

/** @type {{ [kind: string]: Kind }} as the browser calls them */
const KINDS = { audioinput: "microphone", videoinput: "camera", audiooutput: "speaker" };

export class Devices {
  /** Something was switched on or off, by us or by the system, or the devices that there are have changed. @type {() => void} */
  onchange = () => {};
  /** Something happened by itself that the person should know. @type {(text: string) => void} */
  onnotice = () => {};

  /** What can be chosen. @type {{ [kind in Kind]: Choice[] }} */
  choices = { microphone: [], camera: [], speaker: [] };
  /** @type {{ [device in Device]: MediaStreamTrack | null }} */
  #own = { microphone: null, camera: null };
  /** @type {MediaStreamTrack | null} */
  #screen = null;
  /** @type {MediaStreamTrack | null} what the shared screen plays */
  #sound = null;
  /** Was on when it was taken away, and is to be again. @type {Set<Device>} */
  #missed = new Set();
  /** One question at a time: people answer slowly, and buttons are pressed twice. */
  #turn = Promise.resolve("");

  constructor() {
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.#changed());
  }

  /** Whether this page may ask at all. Browsers allow it on https and on the same machine only. */
  get allowed() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  get canShareScreen() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /** Whether sound can be sent to a chosen speaker. */
  get canChooseSpeaker() {
    return "setSinkId" in HTMLMediaElement.prototype;
  }

  /** What to send. @returns {Tracks} */
  get tracks() {
    return { ...this.#own, screen: this.#screen, sound: this.#sound };
  }

  get microphone() {
    return this.#own.microphone?.enabled ?? false;
  }

  get camera() {
    return this.#own.camera !== null;
  }

  get screen() {
    return this.#screen !== null;
  }

  /** The device in use, or the one that will be. @param {Kind} kind */
  chosen(kind) {
    const used = kind === "speaker" ? undefined : this.#own[kind]?.getSettings().deviceId;
    return used ?? localStorage.getItem(`${kind}-device`) ?? "";
  }

  /**
   * Asks for what is wanted; takes what there is.
   * @param {{ microphone: boolean, camera: boolean }} wanted
   * @returns {Promise<string>} a plain word on what is missing, or nothing
   */
  start(wanted) {
    return this.#next(async () => {
      const devices = /** @type {Device[]} */ (["microphone", "camera"]).filter((device) => wanted[device] && !this.#own[device]);
      if (!devices.length) return "";
      if (!this.allowed) return NOT_ALLOWED;
      /** @type {Map<Device, unknown>} */
      const failed = new Map();
      // Both in one question, if there are both; if that fails, each on its own.
      const both = devices.length === 2 ? await this.#ask(devices) : null;
      if (both) failed.set("microphone", both).set("camera", both);
      for (const device of devices) {
        // Who said no is not asked again, unless it was about the other one.
        const again = devices.length === 1 || (both && (!isRefusal(both) || (await isOpen(device))));
        const error = again ? await this.#ask([device]) : both;
        if (error) failed.set(device, error);
        else failed.delete(device);
      }
      return failed.size ? `${explain(failed)} You are in without.` : "";
    });
  }

  /** @returns {Promise<string>} a plain word if it did not work */
  toggleMicrophone() {
    return this.#next(async () => {
      const { microphone } = this.#own;
      if (!microphone) return this.#open("microphone");
      // Silence, not an end: a word too late after unmuting is a word lost.
      microphone.enabled = !microphone.enabled;
      return "";
    });
  }

  /** @returns {Promise<string>} a plain word if it did not work */
  toggleCamera() {
    return this.#next(async () => {
      if (!this.#own.camera) return this.#open("camera");
      // The light at the camera goes out.
      this.#own.camera.stop();
      this.#own.camera = null;
      return "";
    });
  }

  /** @returns {Promise<string>} a plain word if it did not work */
  toggleScreen() {
    return this.#next(async () => {
      if (this.#screen) {
        this.#endScreen();
        return "";
      }
      try {
        const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: true });
        const [screen] = stream.getVideoTracks();
        [this.#screen, this.#sound] = [screen, stream.getAudioTracks()[0] ?? null];
        // Letters have to stay sharp; a film may lose frames.
        screen.contentHint = "detail";
        screen.addEventListener("ended", () => {
          if (this.#screen !== screen) return;
          this.#endScreen();
          this.onchange();
        });
        return "";
      } catch (error) {
        // To close the browser's question is an answer, not a failure.
        return isRefusal(error) && !/system/i.test(String(error)) ? "" : `The screen cannot be shared: ${reason(error)}.`;
      }
    });
  }

  /** @param {Kind} kind @param {string} id @returns {Promise<string>} a plain word if it did not work */
  choose(kind, id) {
    return this.#next(async () => {
      localStorage.setItem(`${kind}-device`, id);
      if (kind === "speaker") return "";
      const before = this.#own[kind];
      // What is off stays off, and begins with the new one.
      if (!before) return "";
      let error = await this.#ask([kind], id);
      // Some machines open one camera at a time.
      if (error && name(error) === "NotReadableError") {
        before.stop();
        error = await this.#ask([kind], id);
        if (error) await this.#ask([kind], before.getSettings().deviceId);
      }
      if (error) return `That ${kind} cannot be used: ${reason(error)}.`;
      before.stop();
      const { [kind]: track } = this.tracks;
      if (track) track.enabled = before.enabled;
      return "";
    });
  }

  stop() {
    for (const track of Object.values(this.tracks)) track?.stop();
    this.#own = { microphone: null, camera: null };
    this.#screen = this.#sound = null;
    this.#missed.clear();
    this.onchange();
  }

  /** Finds out what can be chosen. Labels are there once something was allowed. */
  async look() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    this.choices = { microphone: [], camera: [], speaker: [] };
    for (const { kind, deviceId, label } of all) {
      const choices = this.choices[KINDS[kind]];
      if (deviceId) choices?.push({ id: deviceId, label: label || `${KINDS[kind]} ${choices.length + 1}` });
    }
  }

  /** @param {() => Promise<string>} wish */
  #next(wish) {
    const done = this.#turn.then(wish);
    this.#turn = done.catch(() => "");
    return done.finally(() => this.onchange());
  }

  #endScreen() {
    this.#screen?.stop();
    this.#sound?.stop();
    this.#screen = this.#sound = null;
  }

  /** @param {Device} device */
  async #open(device) {
    if (!this.allowed) return NOT_ALLOWED;
    const error = await this.#ask([device]);
    return error ? explain(new Map([[device, error]])) : "";
  }

  /**
   * Asks for devices and takes them over.
   * @param {Device[]} devices @param {string} [id] a certain one, or none
   * @returns {Promise<unknown>} what went wrong
   */
  async #ask(devices, id) {
    const constraint = (/** @type {Device} */ device) => {
      const usual = localStorage.getItem(`${device}-device`);
      return { ...WISHES[device], deviceId: id ? { exact: id } : usual ? { ideal: usual } : undefined };
    };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: devices.includes("microphone") && constraint("microphone"),
        video: devices.includes("camera") && constraint("camera"),
      });
      for (const track of stream.getTracks()) this.#take(track.kind === "audio" ? "microphone" : "camera", track);
    } catch (error) {
      return error ?? new Error("nothing came");
    }
    void this.look().then(() => this.onchange());
    return null;
  }

  /** @param {Device} device @param {MediaStreamTrack} track */
  #take(device, track) {
    this.#own[device] = track;
    this.#missed.delete(device);
    track.addEventListener("ended", () => this.#own[device] === track && void this.#lose(device));
  }

  /** It was pulled out, or the system took it away: another one goes on, if there is one. @param {Device} device */
  #lose(device) {
    const enabled = this.#own[device]?.enabled ?? true;
    this.#own[device] = null;
    this.onchange();
    return this.#next(async () => {
      if (this.#own[device]) return "";
      const error = await this.#ask([device]);
      const { [device]: track } = this.tracks;
      if (track) track.enabled = enabled;
      if (error) this.#missed.add(device);
      this.onnotice(
        error
          ? `The ${device} is gone: ${reason(error)}. It goes on by itself when it is back.`
          : `The ${device} was taken away. In use now: ${track?.label || `another ${device}`}.`,
      );
      return "";
    });
  }

  /** Something was plugged in or pulled out. What was missed and is back goes on. */
  async #changed() {
    await this.look();
    for (const device of [...this.#missed]) {
      if (!this.choices[device].length || this.#own[device]) continue;
      await this.#next(async () => {
        const error = this.#own[device] ? null : await this.#ask([device]);
        if (!error) this.onnotice(`The ${device} is back.`);
        return "";
      });
    }
    this.onchange();
  }
}

export const NOT_ALLOWED =
  "Browsers allow camera and microphone only on https:// pages and on the same machine. Chat and files work.";

/** @type {{ [device in Device]: MediaTrackConstraints }} */
const WISHES = {
  microphone: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  camera: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
};

/** @param {unknown} error */
function name(error) {
  return error instanceof Error || error instanceof DOMException ? error.name : "";
}

/** @param {unknown} error */
function isRefusal(error) {
  return name(error) === "NotAllowedError" || name(error) === "SecurityError";
}

/** Whether asking for it alone could still help. @param {Device} device */
async function isOpen(device) {
  try {
    const permission = await navigator.permissions.query({ name: /** @type {PermissionName} */ (device) });
    return permission.state === "granted";
  } catch {
    return false;
  }
}

/** What to do about it, in half a sentence. @param {unknown} error */
function reason(error) {
  switch (name(error)) {
    case "NotAllowedError":
    case "SecurityError":
      return /system/i.test(String(error))
        ? "the system does not let this browser use it; its privacy settings can change that"
        : "this page is not allowed to use it; the sign beside the address can change that";
    case "NotFoundError":
    case "OverconstrainedError":
      return "none is connected";
    case "NotReadableError":
    case "AbortError":
      return "another program is using it, or it does not answer";
    default:
      return "the browser does not say why";
  }
}

/** One sentence per reason. @param {Map<Device, unknown>} failed */
function explain(failed) {
  const [first, second] = [...failed].map(([device, error]) => ({ device, why: reason(error) }));
  if (second && first.why === second.why) return `No ${first.device} and no ${second.device}: ${first.why}.`;
  return [first, second].flatMap((one) => (one ? [`No ${one.device}: ${one.why}.`] : [])).join(" ");
}
