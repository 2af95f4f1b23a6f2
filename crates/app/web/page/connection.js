// One RTCPeerConnection to one member of the room: offers and answers, channels, media, and what became of it.

import { Figures } from "./figures.js";
import { describePath, readPath } from "./path.js";
import { Reunion } from "./reunion.js";
import { Sections, roleOf } from "./sections.js";
import { describeVerdicts, examine } from "./verdict.js";

/**
 * @typedef {import("./sterna.js").Member} Member
 * @typedef {import("./sterna.js").Room} Room
 */

/** What stands between two ends, stage by stage. @typedef {{ ice: string, dtls: string, channel: string }} Stages */

/**
 * @typedef {object} Options
 * @property {boolean} relayOnly use the relay even if there is a better path
 * @property {boolean} noRelay no relay of ours; the other side may have one
 * @property {boolean} trickle send candidates as they are found, not all at once
 * @property {boolean} recorded whether a recorder may have what there is, without being asked for again
 */

/** @typedef {import("./sections.js").Tracks} Tracks */

const CHECK_EVERY = 1000;
/** After so long without a path it is said what is known to be in the way, although ICE goes on: browsers do so for ever. */
const IMPATIENT = 12_000;
/** How long a connection may be without a path and without the other side at the server. */
const GIVE_UP = 60_000;
/** A path may be silent for so long before another one is looked for; the polite side leaves the first try to the other. */
const SILENCE = { impolite: 2_500, polite: 6_000 };
/** How often another path is looked for before there ever was one, and how long after that between two tries. */
const RESTARTS = 3;
const RESTART_EVERY = 8_000;

export class Connection {
  /** The channels there are to be, when they open. @type {(channel: RTCDataChannel) => void} */
  onchannel = () => {};
  /** Something about its state changed. @type {() => void} */
  onchange = () => {};
  /** It is over. @type {() => void} */
  onclosed = () => {};

  /** What its media is like, second by second. */
  figures = new Figures();
  /** @type {Stages} */
  stages = { ice: "new", dtls: "new", channel: "waiting" };
  /** One line on how we are connected, or on why not. */
  pathLine = "";
  /** @type {import("./path.js").Path | null} */
  path = null;
  closed = false;
  /** Whether there was a connection: it may be looking for another path now. */
  established = false;
  /** Whether the other side is heard by signalling. */
  signalled = true;

  /** @type {RTCPeerConnection} */
  #pc;
  /** @type {Member} */
  member;
  #room;
  #options;
  /** What the other end does with media. */
  role;
  /** What goes over the media sections. @type {Sections} */
  media;
  /** Whether our offer gives way when both make one at once; and who restarts ICE. As it was when the two met first. */
  #polite;
  /** Finds a command line again. A page comes back to the room by itself. @type {Reunion | null} */
  #reunion = null;
  #makingOffer = false;
  #ignoreOffer = false;
  /** The offer that was answered last. @type {string | undefined} */
  #answered;
  #restarts = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #impatience;
  /** @type {RTCIceCandidateInit[]} */
  #early = [];
  /** What gathering complained about, by server. @type {Map<string, { url: string, code: number, text: string }>} */
  #complaints = new Map();
  /** Whether the other side said that it has no more candidates. */
  #ended = false;
  /** Why there is no connection, if there is none. @type {import("./verdict.js").Verdict[]} */
  verdicts = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #end;
  #begun = Date.now();
  #queue = Promise.resolve();

  /** @param {Room} room @param {Member} member @param {Tracks} tracks @param {Options} options */
  constructor(room, member, tracks, options) {
    this.#room = room;
    this.member = member;
    this.#options = options;
    this.role = roleOf(member.hello.app);
    this.#polite = !member.offers;
    if (!this.isPage && member.wayBack) this.#seek(new Reunion(room, member.offers));
    this.#pc = new RTCPeerConnection({
      iceServers: this.#servers(room.iceServers),
      iceTransportPolicy: options.relayOnly ? "relay" : "all",
      bundlePolicy: "max-bundle",
    });
    this.media = new Sections(this.#pc, this.role, this.role !== "record" || options.recorded);
    this.media.set(tracks);
    this.#listen();
    this.#follow(member);
    if (member.offers) this.#begin();
    this.#watch();
  }

  /** The largest message the other takes. */
  get maxMessageSize() {
    return this.#pc.sctp?.maxMessageSize ?? 65536;
  }

  get connected() {
    return this.#pc.connectionState === "connected";
  }

  /** Whether the other is a page, with which one can talk. */
  get isPage() {
    return this.role === "page";
  }

  /** Whether there was a path, and none is left. */
  get silent() {
    return this.established && !this.connected;
  }

  /**
   * Goes on with the same other end, which was met again: it, or we, had lost the server for a while.
   * @param {Member} member @param {Room} [room] where
   */
  adopt(member, room = this.#room) {
    this.#room = room;
    this.#follow(member);
    this.signalled = true;
    clearTimeout(this.#end);
    const pc = this.#pc;
    pc.setConfiguration({ ...pc.getConfiguration(), iceServers: this.#servers(room.iceServers) });
    this.#queue = this.#queue.then(() => this.#resume()).catch((error) => this.#complain(error));
    this.onchange();
  }

  /** What was said may have got lost with the line that it was said on, and what it said may be true no more. */
  async #resume() {
    const pc = this.#pc;
    const pending = pc.signalingState === "have-local-offer";
    if (pending && this.connected) return this.#sendDescription();
    if (pending) await pc.setLocalDescription({ type: "rollback" });
    if (pending || (!this.connected && !this.#polite)) pc.restartIce();
  }

  /** @param {Member} member */
  #follow(member) {
    this.member = member;
    member.onpayload = (payload) => {
      this.#queue = this.#queue.then(() => this.#take(payload)).catch((error) => this.#complain(error));
    };
    member.ongone = (reason) => {
      if (this.member === member) this.#unheard(reason);
    };
  }

  /** Signalling brings nothing from the other side any more. @param {"left" | "lost"} reason */
  #unheard(reason) {
    if (!this.established || (reason === "left" && this.isPage)) return this.close();
    // Who has lost the server may still be there. A command line leaves one line for another, and may hang up once connected;
    // when it ends, its channel does.
    if (reason === "left" && this.connected) return;
    this.signalled = false;
    this.#reunion?.knock();
    this.#mind();
    this.onchange();
  }

  /** @param {Reunion} reunion */
  #seek(reunion) {
    this.#reunion = reunion;
    reunion.onfound = (member, room) => this.adopt(member, room);
  }

  /** Without a path and without signalling it is over after a while. */
  #mind() {
    clearTimeout(this.#end);
    if (this.connected || this.signalled) return;
    this.#end = setTimeout(() => !this.connected && !this.signalled && this.close(), GIVE_UP);
  }

  /** The network has changed, or may have: a path that is gone is not waited for. */
  nudge() {
    if (this.silent) void this.#restart();
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#end);
    clearTimeout(this.#impatience);
    this.#reunion?.close();
    this.#pc.close();
    this.onclosed();
  }

  /** We were there first: make the channels and the first offer. */
  #begin() {
    this.media.make();
    if (this.role !== "none") this.#welcome(this.#pc.createDataChannel("chat"));
    if (this.role === "page" || this.role === "none") this.#welcome(this.#pc.createDataChannel("files"));
  }

  #listen() {
    const pc = this.#pc;
    pc.onnegotiationneeded = () => {
      if (this.member.offers || pc.remoteDescription) void this.#offer();
    };
    pc.onicecandidate = ({ candidate }) => {
      if (!this.#options.trickle) return;
      this.member.send({ candidate: candidate?.candidate ? candidate.toJSON() : null });
    };
    pc.onicecandidateerror = (event) => {
      const { url, errorCode, errorText } = /** @type {RTCPeerConnectionIceErrorEvent} */ (event);
      this.#complaints.set(`${errorCode} ${url}`, { url, code: errorCode, text: errorText });
    };
    pc.ontrack = () => this.onchange();
    pc.ondatachannel = ({ channel }) => this.#welcome(channel);
    pc.oniceconnectionstatechange = () => this.#changed();
    pc.onconnectionstatechange = () => this.#changed();
  }

  /** @param {RTCDataChannel} channel */
  #welcome(channel) {
    channel.binaryType = "arraybuffer";
    if (channel.label === (this.role === "play" || this.role === "record" ? "chat" : "files")) {
      const follow = () => {
        this.stages.channel = channel.readyState;
        this.#changed();
        // The other side closed it: it is gone, whatever ICE still hopes for.
        if (channel.readyState === "closed") this.close();
      };
      channel.addEventListener("open", follow);
      channel.addEventListener("close", follow);
      // One that the other side made may be open already, and says so no more.
      follow();
    }
    // The constructor makes channels before its caller can listen.
    queueMicrotask(() => this.onchannel(channel));
  }

  async #offer() {
    try {
      this.#makingOffer = true;
      await this.#pc.setLocalDescription();
      await this.#sendDescription();
    } catch (error) {
      this.#complain(error);
    } finally {
      this.#makingOffer = false;
    }
  }

  async #sendDescription() {
    if (!this.#options.trickle) await gatheringComplete(this.#pc);
    const description = this.#pc.localDescription;
    if (description) this.member.send({ description: { type: description.type, sdp: description.sdp } });
  }

  /** Perfect negotiation; who came second is the polite one. @param {import("./sterna.js").Payload} payload */
  async #take({ description, candidate }) {
    const pc = this.#pc;
    if (this.closed) return;
    if (description) {
      const offer = description.type === "offer";
      // What was said on a line that broke is said again on the next.
      if (offer && description.sdp === this.#answered && pc.signalingState === "stable") return this.#sendDescription();
      if (!offer && pc.signalingState !== "have-local-offer") return;
      const collision = offer && (this.#makingOffer || pc.signalingState !== "stable");
      this.#ignoreOffer = !this.#polite && collision;
      if (this.#ignoreOffer) return;
      await pc.setRemoteDescription(description);
      for (const early of this.#early.splice(0)) await this.#addCandidate(early);
      if (offer) {
        this.#answered = description.sdp;
        this.media.accept();
        await pc.setLocalDescription();
        await this.#sendDescription();
      }
    } else if (candidate !== undefined) {
      if (!candidate?.candidate) this.#ended = true;
      if (pc.remoteDescription) await this.#addCandidate(candidate ?? undefined);
      else if (candidate) this.#early.push(candidate);
    }
  }

  /** @param {RTCIceCandidateInit} [candidate] */
  async #addCandidate(candidate) {
    try {
      await this.#pc.addIceCandidate(candidate);
    } catch (error) {
      if (!this.#ignoreOffer) this.#complain(error);
    }
  }

  #changed() {
    const pc = this.#pc;
    if (this.closed) return;
    this.stages.ice = pc.iceConnectionState === "completed" ? "connected" : pc.iceConnectionState;
    this.stages.dtls = this.#dtls();
    if (this.connected && !this.established) this.#establish();
    if (pc.iceConnectionState === "disconnected") this.#lost();
    const failed = pc.iceConnectionState === "failed" || pc.connectionState === "failed";
    if (failed && !this.#polite) void this.#restart();
    this.#mind();
    this.onchange();
    this.#watch();
  }

  #establish() {
    this.established = true;
    if (this.member.wayBack) this.#reunion?.wait(this.member.wayBack);
  }

  /** What broke the path may have broken the signalling as well: neither is waited for. */
  #lost() {
    if (!this.established) return;
    this.#reunion?.knock();
    this.#persist(this.#polite ? SILENCE.polite : SILENCE.impolite);
  }

  /** Looks for another path as long as there is none. @param {number} after milliseconds */
  #persist(after) {
    clearTimeout(this.#impatience);
    this.#impatience = setTimeout(() => {
      if (!this.silent || this.closed) return;
      void this.#restart();
      this.#persist(RESTART_EVERY);
    }, after);
  }

  #dtls() {
    const state = this.#pc.sctp?.transport.state;
    return state ?? (this.connected ? "connected" : this.#pc.connectionState);
  }

  /** A path that is gone may come back elsewhere. Both may ask for a restart at once: that is a collision of offers like any other. */
  async #restart() {
    if (this.established) this.#reunion?.knock();
    if ((!this.established && this.#restarts >= RESTARTS) || this.#room.state !== "connected" || !this.signalled) return;
    // An offer is under way already.
    if (this.#pc.signalingState !== "stable") return;
    this.#restarts++;
    const iceServers = this.#servers(await this.#room.refreshIceServers());
    if (this.closed || (this.established && this.connected)) return;
    this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers });
    this.#pc.restartIce();
  }

  /** Those of the room's servers that are to be used. @param {RTCIceServer[]} known */
  #servers(known) {
    if (!this.#options.noRelay) return known;
    return known.filter(({ urls }) => [urls].flat().every((url) => url.startsWith("stun")));
  }

  /** Says what is in the way, as soon as that is sure. @param {any[]} stats @param {boolean} failed */
  #explain(stats, failed) {
    const pairs = stats.some(({ type }) => type === "candidate-pair");
    // Nothing that could still be tried: browsers wait then, and say nothing.
    const exhausted = this.#ended && this.#pc.iceGatheringState === "complete" && !pairs;
    const over = failed || exhausted;
    if (!over && Date.now() - this.#begun < IMPATIENT) return;
    const found = examine(stats, { ...this.#seen(), early: !over });
    this.verdicts = over ? found : found.filter(({ code }) => code !== "inconclusive");
    this.pathLine = [over ? "no connection" : "no connection yet, still trying …", describeVerdicts(this.verdicts)]
      .filter(Boolean)
      .join("\n");
  }

  /** What is known besides the statistics. @returns {import("./verdict.js").Seen} */
  #seen() {
    const servers = this.#pc.getConfiguration().iceServers ?? [];
    const ended = this.#ended || (this.#pc.remoteDescription?.sdp.includes("a=end-of-candidates") ?? false);
    const { relayOnly } = this.#options;
    return { errors: [...this.#complaints.values()], servers, relayOnly, connected: false, ended, early: false };
  }

  /** Keeps the path line true while there is a connection. */
  #watch() {
    clearTimeout(this.#timer);
    const look = async () => {
      if (this.closed) return;
      const report = await this.#pc.getStats();
      this.figures.add(report.values(), this.media.mids, performance.now());
      const failed = this.#pc.iceConnectionState === "failed";
      const path = failed ? null : readPath(report, this.#seen());
      this.stages.dtls = this.#dtls();
      if (this.#pc.iceConnectionState === "disconnected") {
        this.pathLine = "the path is silent, looking for another …";
      } else if (path) {
        this.verdicts = [];
        this.path = path;
        this.pathLine = describePath(path);
        this.#restarts = 0;
      } else if (failed || !this.established) {
        this.#explain([...report.values()], failed);
      }
      this.onchange();
      clearTimeout(this.#timer);
      this.#timer = setTimeout(look, CHECK_EVERY);
    };
    void look();
  }

  /** @param {unknown} error */
  #complain(error) {
    if (!this.closed) console.warn("negotiation:", error);
  }
}

/** @param {RTCPeerConnection} pc */
function gatheringComplete(pc) {
  return new Promise((/** @type {(value: void) => void} */ resolve) => {
    const check = () => pc.iceGatheringState === "complete" && resolve();
    pc.addEventListener("icegatheringstatechange", check);
    check();
  });
}
