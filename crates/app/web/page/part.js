// What has come of a file so far: its bytes, and the hash over them.

import { hex } from "./bytes.js";
import { Sha256 } from "./sha256.js";

/** Bytes are handed to the browser in pieces of this size; it may keep those on disk. */
const PIECE = 8 << 20;

export class Part {
  /** How many bytes there are. */
  bytes = 0;
  #hash = new Sha256();
  /** @type {Blob[]} */
  #pieces = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #loose = [];
  #looseBytes = 0;

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  push(bytes) {
    this.#hash.update(bytes);
    this.#loose.push(bytes);
    this.#looseBytes += bytes.length;
    this.bytes += bytes.length;
    if (this.#looseBytes >= PIECE) this.#bind();
  }

  /** Throws everything away. */
  clear() {
    this.bytes = 0;
    this.#hash = new Sha256();
    this.#pieces = [];
    this.#loose = [];
    this.#looseBytes = 0;
  }

  /** @returns {Uint8Array} SHA-256 of what there is */
  digest() {
    return this.#hash.digest();
  }

  get sha256() {
    return hex(this.digest());
  }

  /** The whole as a file. @returns {Blob} */
  blob() {
    this.#bind();
    return new Blob(this.#pieces, { type: "application/octet-stream" });
  }

  #bind() {
    if (!this.#loose.length) return;
    this.#pieces.push(new Blob(this.#loose));
    this.#loose = [];
    this.#looseBytes = 0;
  }
}

/** Parts by path, size and time, so that a transfer that broke goes on where it stopped. */
export class Shelf {
  /** @type {Map<string, Part>} */
  #parts = new Map();

  /** @param {import("./transfer.js").FileEntry} entry @returns {Part} */
  part(entry) {
    const key = JSON.stringify([entry.path, entry.size, entry.mtime ?? null]);
    let part = this.#parts.get(key);
    if (!part) this.#parts.set(key, (part = new Part()));
    return part;
  }

  /** Forgets a part; whoever holds the blob keeps it. @param {import("./transfer.js").FileEntry} entry */
  forget(entry) {
    this.#parts.delete(JSON.stringify([entry.path, entry.size, entry.mtime ?? null]));
  }
}
