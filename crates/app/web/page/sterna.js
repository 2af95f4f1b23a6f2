// Sterna's signalling for browsers: find the other end, agree on a key, and swap payloads that the server
// can neither read nor change. The protocol is in docs/signalling.md. This module and those that it imports
// need nothing else of the page, so another page may use them:
//
//   import { Room, newLink, fragment } from "./sterna.js";
//   const room = new Room(newLink(), { hello: { app: "page", version: 1, name: "Ada" } });
//   room.onmember = (member) => {
//     member.onpayload = ({ description, candidate }) => …;
//     if (member.offers) member.send({ description: await offer() });
//   };
//   room.open();

import { SealError, Waiting } from "./seal.js";
import { roomName } from "./invitation.js";

export { SealError } from "./seal.js";
export * from "./invitation.js";

/** @typedef {import("./invitation.js").Invitation} Invitation */

/** @typedef {{ app: string, version?: number, name?: string, session?: string }} Hello */

/**
 * @typedef {object} Payload
 * @property {Hello} [hello]
 * @property {RTCSessionDescriptionInit} [description]
 * @property {RTCIceCandidateInit | null} [candidate]
 */

/** Where the connection to the server stands. @typedef {"connecting" | "connected" | "lost" | "closed"} SignallingState */

export const SUBPROTOCOL = "sterna.v1";
const PING_EVERY = 15_000;
const FIRST_DELAY = 300;
const LONGEST_DELAY = 8_000;

/** The server says no. */
export class RefusedError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** The WebSocket's address next to a page's. @param {string | URL} page */
export function socketAddress(page) {
  const url = new URL("ws", page);
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url;
}

/**
 * How many are in a room and how many it takes, without entering it.
 * @param {Invitation} invitation @param {URL} [server]
 * @returns {Promise<{ members: number, limit: number }>}
 */
export function look(invitation, server = socketAddress(location.href)) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(server, SUBPROTOCOL);
    socket.onopen = () => socket.send(JSON.stringify({ type: "look", room: roomName(invitation) }));
    socket.onclose = () => reject(new Error("The server does not answer."));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "looked") resolve(message);
      else if (message.type === "error") reject(new RefusedError(message.code, message.message));
      else return;
      socket.close();
    };
  });
}

/** A room: who is in it, and a way to each of them. */
export class Room {
  /** Somebody has proved to have the same invitation (in a plain room: has come). @type {(member: Member) => void} */
  onmember = () => {};
  /** @type {(state: SignallingState) => void} */
  onstate = () => {};
  /**
   * The room cannot be entered, or is over. It does not try again.
   * @type {(error: Error) => void}
   */
  onend = () => {};

  /** As RTCPeerConnection takes them, with credentials of our own. @type {RTCIceServer[]} */
  iceServers = [];
  /** How many the room takes. */
  limit = 0;
  /** @type {SignallingState} */
  state = "connecting";

  #invitation;
  #hello;
  #server;
  #limit;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string, Member>} */
  #members = new Map();
  #delay = FIRST_DELAY;
  #entered = false;
  /** Whether somebody went away when we had shown our proof. */
  #guessed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {((servers: RTCIceServer[]) => void)[]} */
  #awaiting = [];

  /**
   * @param {Invitation} invitation
   * @param {{ hello: Hello, server?: URL, limit?: number }} options `limit`: members, if we open the room
   */
  constructor(invitation, { hello, server, limit }) {
    this.#invitation = invitation;
    this.#hello = hello;
    this.#server = server ?? socketAddress(location.href);
    this.#limit = limit;
  }

  /** What we say of ourselves. */
  get hello() {
    return this.#hello;
  }

  /** The server's address. */
  get server() {
    return this.#server;
  }

  /** Enters the room, and again whenever the connection to the server was lost. */
  open() {
    const socket = new WebSocket(this.#server, SUBPROTOCOL);
    this.#socket = socket;
    this.#to(this.#entered ? "lost" : "connecting");
    socket.onopen = () => {
      this.#say({ type: "join", room: roomName(this.#invitation), limit: this.#limit });
      this.#keepAlive();
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = () => this.#lost(socket);
  }

  /** Leaves for good. */
  close() {
    this.#end(null);
  }

  /** Fresh `iceServers`, for a connection that has to look for a new path. @returns {Promise<RTCIceServer[]>} */
  refreshIceServers() {
    if (this.state !== "connected") return Promise.resolve(this.iceServers);
    this.#say({ type: "ice-servers" });
    return new Promise((resolve) => this.#awaiting.push(resolve));
  }

  /** @param {object} message */
  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** @param {any} message */
  #hear(message) {
    switch (message.type) {
      case "joined":
        this.#entered = true;
        this.#delay = FIRST_DELAY;
        this.iceServers = message.iceServers;
        this.limit = message.limit;
        this.#to("connected");
        for (const id of message.peers) this.#meet(id, "guest");
        break;
      case "peer-joined":
        this.#meet(message.peer, "host");
        break;
      case "peer-left":
        this.#guessed ||= this.#members.get(message.peer)?.unproved ?? false;
        this.#members.get(message.peer)?.gone(message.reason);
        this.#members.delete(message.peer);
        break;
      case "message":
        this.#members.get(message.from)?.hear(message.data);
        break;
      case "ice-servers":
        this.iceServers = message.iceServers;
        for (const resolve of this.#awaiting.splice(0)) resolve(this.iceServers);
        break;
      case "room-closed": {
        // A host that was shown the wrong words closes the room, or leaves it, in place of a hello.
        const guessed = this.#guessed || [...this.#members.values()].some((member) => member.unproved);
        this.#end(
          guessed && this.#invitation.kind === "code"
            ? new SealError("wrong-key", "The code is wrong. It worked for one try only: ask for a new one.")
            : new RefusedError("room-closed", "The other side has closed the room."),
        );
        break;
      }
      case "error":
        if (message.code === "no-such-peer") break;
        // Coming back, we may find ourselves still there for a few seconds, or be told to slow down.
        if (this.#entered && message.code !== "no-such-code") this.#socket?.close();
        else this.#end(new RefusedError(message.code, message.message));
    }
  }

  /** @param {string} id @param {import("./seal.js").Role} role ours */
  #meet(id, role) {
    const member = new Member(id, role, this.#invitation, this.#hello, (data) =>
      this.#say({ type: "send", to: id, data }),
    );
    this.#members.set(id, member);
    member.met.then(
      () => this.#members.get(id) === member && this.onmember(member),
      (error) => {
        if (this.#members.get(id) !== member) return;
        this.#members.delete(id);
        // With a code there is one try; with a link a stranger can only be the server's doing.
        if (this.#invitation.kind === "code") this.#end(error);
        else console.warn("A member of the room could not be met:", error.message);
      },
    );
  }

  /** @param {WebSocket} socket */
  #lost(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    clearTimeout(this.#timer);
    this.#leaveAll("lost");
    this.#to(this.#entered ? "lost" : "connecting");
    // A code's room has ended with our connection, or is about to.
    if (this.#entered && this.#invitation.kind === "code") {
      this.#end(new Error("The connection to the signalling server was lost."));
      return;
    }
    this.#timer = setTimeout(() => this.open(), this.#delay);
    this.#delay = Math.min(2 * this.#delay, LONGEST_DELAY);
  }

  /** A browser does not show WebSocket pings, and takes minutes to notice a dead server. */
  #keepAlive() {
    const socket = this.#socket;
    const ping = () => {
      this.#say({ type: "ping" });
      this.#timer = setTimeout(() => {
        if (socket !== this.#socket) return;
        socket?.close();
        if (socket) this.#lost(socket);
      }, PING_EVERY);
    };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(ping, PING_EVERY);
    socket?.addEventListener("message", () => {
      if (socket !== this.#socket) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(ping, PING_EVERY);
    });
  }

  /** @param {"left" | "lost"} reason */
  #leaveAll(reason) {
    for (const member of this.#members.values()) member.gone(reason);
    this.#members.clear();
  }

  /** @param {Error | null} error */
  #end(error) {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timer);
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "leave" }));
    socket?.close();
    this.#to("closed");
    // The room is over, not what runs between its members.
    this.#leaveAll("lost");
    if (error) this.onend(error);
  }

  /** @param {SignallingState} state */
  #to(state) {
    this.state = state;
    this.onstate(state);
  }
}

/** Another member of the room, and the seal between us. */
export class Member {
  /** @type {(payload: Payload) => void} */
  onpayload = () => {};
  /** `left` on purpose, or `lost`: then a direct connection may be alive still. @type {(reason: "left" | "lost") => void} */
  ongone = () => {};
  /** Who it says it is. @type {Hello} */
  hello = { app: "" };
  /** Fulfilled when the other has proved its key and said hello. @type {Promise<void>} */
  met;

  #role;
  #ourHello;
  #transmit;
  /** @type {Waiting | null} */
  #waiting = null;
  /** @type {import("./seal.js").Keyed | null} */
  #keyed = null;
  #sealed;
  #helloSaid = false;
  #left = false;
  /** @type {(value?: any) => void} */
  #resolve = () => {};
  /** @type {(error: Error) => void} */
  #reject = () => {};
  // Sealing and opening take a moment each, and their order is part of the protocol.
  #outgoing = Promise.resolve();
  #incoming = Promise.resolve();

  /**
   * @param {string} id @param {import("./seal.js").Role} role ours
   * @param {Invitation} invitation @param {Hello} hello ours @param {(data: string) => void} transmit
   */
  constructor(id, role, invitation, hello, transmit) {
    this.id = id;
    this.#role = role;
    this.#ourHello = hello;
    this.#transmit = transmit;
    this.#sealed = invitation.kind !== "plain";
    this.met = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (invitation.kind === "plain") {
      this.#sayHello();
    } else {
      this.#waiting = new Waiting(invitation, role);
      transmit(this.#waiting.message);
    }
  }

  /** Whether we make the offer: who was there first does. */
  get offers() {
    return this.#role === "host";
  }

  /** Where the two of us find each other again; null in a plain room, in which there is no secret. */
  get wayBack() {
    return this.#keyed?.wayBack ?? null;
  }

  /** Whether nobody but the two of us can read what we say. */
  get sealed() {
    return this.#sealed;
  }

  /** Whether we have shown our proof and not seen theirs. */
  get unproved() {
    return this.#keyed !== null && this.#helloSaid && !this.hello.app;
  }

  /** @param {Payload} payload */
  send(payload) {
    if (this.#left) return;
    const plaintext = JSON.stringify(payload);
    this.#outgoing = this.#outgoing.then(async () => {
      const data = this.#sealed ? await this.#keyed?.seal(plaintext) : plaintext;
      if (data && !this.#left) this.#transmit(data);
    });
  }

  /** Takes what the server brings. @param {string} data */
  hear(data) {
    this.#incoming = this.#incoming.then(() => this.#take(data)).catch((error) => this.#fail(error));
  }

  /** @param {"left" | "lost"} reason */
  gone(reason) {
    if (this.#left) return;
    this.#left = true;
    this.#reject(new Error("The other side left before the connection began."));
    this.ongone(reason);
  }

  /** @param {string} data */
  async #take(data) {
    if (this.#left) return;
    if (this.#waiting) {
      this.#keyed = this.#waiting.receive(data);
      this.#waiting = null;
      // The guest proves its key first: who guesses must show the guess before learning the answer.
      if (this.#role === "guest") this.#sayHello();
      return;
    }
    const plaintext = this.#sealed ? await this.#keyed?.open(data) : data;
    /** @type {Payload} */
    const payload = JSON.parse(plaintext ?? "null");
    if (payload?.hello && !this.hello.app) {
      this.hello = payload.hello;
      if (!this.#helloSaid) this.#sayHello();
      this.#resolve();
      // Let who waits for `met` take its place before more comes.
      await this.met;
    } else if (payload) {
      this.onpayload(payload);
    }
  }

  #sayHello() {
    this.#helloSaid = true;
    this.send({ hello: this.#ourHello });
  }

  /** @param {Error} error */
  #fail(error) {
    this.#reject(error);
    if (error instanceof SealError) this.gone("left");
    else console.warn("A message was not understood:", error.message);
  }
}
