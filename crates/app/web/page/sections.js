// The media sections of one connection: which of them carries what, and which way. Between two pages there are always the
// same four, whatever is switched on, so that camera and screen come and go without another offer.

/** What there is to send. @typedef {{ microphone: MediaStreamTrack | null, camera: MediaStreamTrack | null, screen: MediaStreamTrack | null, sound: MediaStreamTrack | null }} Tracks */

/** What the other end does with media: a page calls, a command line sends (`play`) or takes (`record`). @typedef {"page" | "play" | "record" | "none"} Role */

/** The n-th section of a kind carries this. @type {{ [kind: string]: ("microphone" | "camera" | "screen" | "sound")[] }} */
const SLOTS = { audio: ["microphone", "sound"], video: ["camera", "screen"] };

/** @type {{ [role in Role]: RTCRtpTransceiverDirection }} */
const DIRECTION = { page: "sendrecv", play: "recvonly", record: "sendonly", none: "inactive" };

/**
 * How much of each to send, to how many: everybody gets a stream of their own, made and sent by this machine.
 * @type {{ others: number, camera: number, smaller: number, screen: number }[]}
 */
const SHARES = [
  { others: 1, camera: 2_500_000, smaller: 1, screen: 3_000_000 },
  { others: 3, camera: 1_000_000, smaller: 1.5, screen: 2_000_000 },
  { others: Infinity, camera: 500_000, smaller: 2, screen: 1_200_000 },
];

/** @param {string | undefined} app what a hello says @returns {Role} */
export function roleOf(app) {
  return app === "page" || app === "play" || app === "record" ? app : "none";
}

export class Sections {
  /** The other's camera and microphone, or what it plays. */
  camera = new MediaStream();
  /** The other's screen, with its sound. */
  screen = new MediaStream();

  #pc;
  #role;
  /** Whether anything may be sent: a recording is asked for first. */
  #allowed;
  /** @type {Tracks} */
  #tracks = { microphone: null, camera: null, screen: null, sound: null };
  #others = 1;
  #heardAt = 0;
  #tuning = Promise.resolve();

  /** @param {RTCPeerConnection} pc @param {Role} role the other end's @param {boolean} allowed */
  constructor(pc, role, allowed) {
    this.#pc = pc;
    this.#role = role;
    this.#allowed = allowed;
    pc.addEventListener("track", ({ track, transceiver }) => {
      const slot = this.#slot(transceiver);
      (slot === "screen" || slot === "sound" ? this.screen : this.camera).addTrack(track);
    });
  }

  /** We offer. */
  make() {
    if (this.#role === "none") return;
    const kinds = this.#role === "page" ? ["audio", "video", "video", "audio"] : ["audio", "video"];
    for (const kind of kinds) this.#pc.addTransceiver(kind, { direction: DIRECTION[this.#role] });
    this.#send();
  }

  /** We answer: every section both ways, or the one way there is, whatever is switched on now. */
  accept() {
    if (this.#role === "none") return;
    for (const transceiver of this.#pc.getTransceivers()) {
      if (transceiver.currentDirection === null) transceiver.direction = DIRECTION[this.#role];
    }
    this.#send();
  }

  /** Sends these from now on; needs no new offer. @param {Tracks} tracks */
  set(tracks) {
    this.#tracks = tracks;
    this.#send();
  }

  /** Lets the other end have what there is. */
  allow() {
    this.#allowed = true;
    this.#send();
  }

  /** Shares what this machine can send among so many. @param {number} others */
  share(others) {
    if (others === this.#others) return;
    this.#others = others;
    this.#tune();
  }

  /** How loud the other's microphone is, 0 to 1; 0 if nothing came since the last call. */
  get level() {
    const heard = this.#transceiver("microphone")?.receiver.getSynchronizationSources?.()[0];
    if (!heard || heard.rtpTimestamp === this.#heardAt) return 0;
    this.#heardAt = heard.rtpTimestamp;
    return heard.audioLevel ?? 0;
  }

  /** The transceivers by what they carry. @returns {Map<string, RTCRtpTransceiver>} */
  #carriers() {
    const seen = { audio: 0, video: 0 };
    const carriers = new Map();
    for (const transceiver of this.#pc.getTransceivers()) {
      const kind = /** @type {"audio" | "video"} */ (transceiver.receiver.track.kind);
      const slot = SLOTS[kind][seen[kind]++];
      if (slot) carriers.set(slot, transceiver);
    }
    return carriers;
  }

  /** @param {string} slot */
  #transceiver(slot) {
    return this.#carriers().get(slot);
  }

  /** What statistics of this section are about. @param {RTCRtpTransceiver} transceiver */
  #slot(transceiver) {
    return [...this.#carriers()].find(([, carrier]) => carrier === transceiver)?.[0];
  }

  /** The sections' mids and what they carry, for who reads statistics. @returns {Map<string, string>} */
  get mids() {
    return new Map([...this.#carriers()].flatMap(([slot, { mid }]) => (mid === null ? [] : [[mid, slot]])));
  }

  #send() {
    const carriers = this.#carriers();
    /** @type {{ [slot: string]: MediaStreamTrack | null }} */
    const wanted = { ...this.#tracks };
    // With one place for pictures the screen takes the camera's.
    if (!carriers.has("screen")) wanted.camera = this.#tracks.screen ?? this.#tracks.camera;
    for (const [slot, { sender, direction }] of carriers) {
      if (direction === "recvonly" || direction === "inactive" || direction === "stopped") continue;
      const track = this.#allowed ? wanted[slot] : null;
      if (sender.track !== track) void sender.replaceTrack(track).catch(() => {});
    }
    this.#tune();
  }

  /** Tells the encoders how much there is for them. They have to be negotiated; one that is not is told at the next occasion. */
  #tune() {
    const share = SHARES.find(({ others }) => this.#others <= others) ?? SHARES[0];
    this.#tuning = this.#tuning.then(async () => {
      for (const [slot, { sender }] of this.#carriers()) {
        const parameters = sender.track?.kind === "video" ? sender.getParameters() : null;
        const [encoding] = parameters?.encodings ?? [];
        if (!parameters || !encoding) continue;
        const picture = slot === "screen" || sender.track === this.#tracks.screen;
        encoding.maxBitrate = picture ? share.screen : share.camera;
        encoding.scaleResolutionDownBy = picture ? 1 : share.smaller;
        await sender.setParameters(parameters).catch(() => {});
      }
    });
  }
}
