// From a code or a link to a key, and from a key to messages that nobody else can read or forge
// (docs/signalling.md, section 3). A Waiting has no key and cannot seal; it becomes a Keyed, which can.

import { aes256gcm } from "./aead.js";
import { concat, fromBase64url, random, text, toBase64url, utf8 } from "./bytes.js";
import { hkdf } from "./sha256.js";
import { Spake2 } from "./spake2.js";

/** The member that was in the room first is the host. @typedef {"host" | "guest"} Role */

/**
 * @typedef {{ kind: "link", secret: Uint8Array }} LinkSecret
 * @typedef {{ kind: "code", nameplate: string, words: string }} CodeSecret
 */

/**
 * Where the two ends find each other again when signalling breaks: each opens a door with its own secret, and knocks at
 * the other's.
 * @typedef {{ own: Uint8Array, other: Uint8Array }} WayBack
 */

/** The messages of this meeting do not open: wrong code, another link, or a meddling server. */
export class SealError extends Error {
  /** @param {"wrong-key" | "tampered" | "stranger"} kind @param {string} message */
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const SALT_BYTES = 16;
const SECRET_BYTES = 16;

export class Waiting {
  /** What to send to the other end, at once. @type {string} */
  message;
  #secret;
  #role;
  #mine;
  #pake;

  /** @param {LinkSecret | CodeSecret} secret @param {Role} role */
  constructor(secret, role) {
    this.#secret = secret;
    this.#role = role;
    if (secret.kind === "code") {
      const side = role === "host" ? "A" : "B";
      this.#pake = new Spake2(side, secret.words, `sterna code v1 ${secret.nameplate}`);
      this.#mine = this.#pake.message;
      this.message = JSON.stringify({ pake: toBase64url(this.#mine) });
    } else {
      this.#mine = random(SALT_BYTES);
      this.message = JSON.stringify({ salt: toBase64url(this.#mine) });
    }
  }

  /** @param {string} message @returns {Keyed} */
  receive(message) {
    const field = this.#secret.kind === "code" ? "pake" : "salt";
    const theirs = fromBase64url(member(message, field) ?? "!");
    const key =
      theirs && (this.#secret.kind === "code" ? this.#pake?.finish(theirs) : this.#secret.secret);
    if (!theirs || !key || (field === "salt" && theirs.length !== SALT_BYTES)) {
      throw new SealError("stranger", "The other side does not speak this protocol.");
    }
    const salt = this.#role === "host" ? concat(this.#mine, theirs) : concat(theirs, this.#mine);
    const toGuest = hkdf(key, salt, utf8("sterna seal v1 host to guest"), 32);
    const toHost = hkdf(key, salt, utf8("sterna seal v1 guest to host"), 32);
    const host = hkdf(key, salt, utf8("sterna return v1 host"), SECRET_BYTES);
    const guest = hkdf(key, salt, utf8("sterna return v1 guest"), SECRET_BYTES);
    return this.#role === "host"
      ? new Keyed(toGuest, toHost, { own: host, other: guest })
      : new Keyed(toHost, toGuest, { own: guest, other: host });
  }
}

export class Keyed {
  /** @type {WayBack} */
  wayBack;
  #sending;
  #receiving;
  #sent = 0n;
  #received = 0n;
  #dead = false;

  /** @param {Uint8Array} sending @param {Uint8Array} receiving @param {WayBack} wayBack */
  constructor(sending, receiving, wayBack) {
    this.wayBack = wayBack;
    this.#sending = aes256gcm(sending);
    this.#receiving = aes256gcm(receiving);
  }

  /** Messages must be sent in the order in which they were sealed. @param {string} plaintext */
  async seal(plaintext) {
    const sealed = await this.#sending.seal(nonce(this.#sent++), utf8(plaintext));
    return JSON.stringify({ sealed: toBase64url(sealed) });
  }

  /** One at a time, in the order in which they came. @param {string} message @returns {Promise<string>} */
  async open(message) {
    const sealed = this.#dead ? null : fromBase64url(member(message, "sealed") ?? "!");
    const plaintext = sealed && (await this.#receiving.open(nonce(this.#received), sealed));
    if (!plaintext) {
      this.#dead = true;
      throw this.#received === 0n
        ? new SealError("wrong-key", "The other side has another code or link.")
        : new SealError("tampered", "The server changed a message on its way.");
    }
    this.#received += 1n;
    return text(plaintext);
  }
}

/** @param {bigint} count */
function nonce(count) {
  const bytes = new Uint8Array(12);
  new DataView(bytes.buffer).setBigUint64(4, count);
  return bytes;
}

/** @param {string} json @param {string} name @returns {string | null} */
function member(json, name) {
  try {
    const value = JSON.parse(json)?.[name];
    return typeof value === "string" ? value : null;
  } catch {
    return null;
  }
}
