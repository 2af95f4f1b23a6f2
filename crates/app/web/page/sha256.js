// SHA-256 (FIPS 180-4), HMAC (RFC 2104) and HKDF (RFC 5869).
//
// The browser has them as well, but not piece by piece, as the bytes of a large file come in, and not at
// all on a page that was opened over plain http.

import { concat } from "./bytes.js";

const primes = (() => {
  const found = /** @type {number[]} */ ([]);
  for (let n = 2; found.length < 64; n++) if (found.every((prime) => n % prime)) found.push(n);
  return found;
})();
/** The first 32 bits of the fraction of a root. @param {number} root */
const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
const START = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
const ROUND = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));

export class Sha256 {
  #state = START.slice();
  #words = new Int32Array(64);
  #block = new Uint8Array(64);
  #view = new DataView(this.#block.buffer);
  #length = 0;

  /** How many bytes went in. */
  get length() {
    return this.#length;
  }

  /** @param {Uint8Array} bytes @returns {this} */
  update(bytes) {
    let at = 0;
    const filled = this.#length % 64;
    this.#length += bytes.length;
    if (filled) {
      at = Math.min(64 - filled, bytes.length);
      this.#block.set(bytes.subarray(0, at), filled);
      if (filled + at < 64) return this;
      this.#mix(this.#view, 0);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (; at + 64 <= bytes.length; at += 64) this.#mix(view, at);
    this.#block.set(bytes.subarray(at));
    return this;
  }

  /** The hash of what went in so far; more may follow. @returns {Uint8Array} */
  digest() {
    const rest = this.#length % 64;
    const tail = new Uint8Array(rest < 56 ? 64 : 128);
    tail.set(this.#block.subarray(0, rest));
    tail[rest] = 0x80;
    const view = new DataView(tail.buffer);
    view.setUint32(tail.length - 8, Math.floor(this.#length / 2 ** 29));
    view.setUint32(tail.length - 4, (this.#length << 3) >>> 0);
    const state = this.#state.slice();
    for (let at = 0; at < tail.length; at += 64) this.#mix(view, at);
    const hash = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, i) => hash.setInt32(4 * i, word));
    this.#state = state;
    return new Uint8Array(hash.buffer);
  }

  /** @param {DataView} view @param {number} at */
  #mix(view, at) {
    const w = this.#words;
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15];
      const y = w[i - 2];
      const small0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const small1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + small0 + w[i - 7] + small1) | 0;
    }
    const s = this.#state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let d = s[3];
    let e = s[4];
    let f = s[5];
    let g = s[6];
    let h = s[7];
    for (let i = 0; i < 64; i++) {
      const big1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + big1 + ((e & f) ^ (~e & g)) + ROUND[i] + w[i]) | 0;
      const big0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    s[0] += a;
    s[1] += b;
    s[2] += c;
    s[3] += d;
    s[4] += e;
    s[5] += f;
    s[6] += g;
    s[7] += h;
  }
}

/** @param {...Uint8Array} parts @returns {Uint8Array} */
export function sha256(...parts) {
  const hash = new Sha256();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** @param {Uint8Array} key @param {...Uint8Array} parts @returns {Uint8Array} */
export function hmac(key, ...parts) {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha256(key) : key);
  const inner = sha256(block.map((byte) => byte ^ 0x36), ...parts);
  return sha256(block.map((byte) => byte ^ 0x5c), inner);
}

/**
 * @param {Uint8Array} secret @param {Uint8Array} salt @param {Uint8Array} info @param {number} length
 * @returns {Uint8Array}
 */
export function hkdf(secret, salt, info, length) {
  const key = hmac(salt, secret);
  let out = new Uint8Array(0);
  let last = new Uint8Array(0);
  for (let i = 1; out.length < length; i++) {
    last = new Uint8Array(hmac(key, last, info, Uint8Array.of(i)));
    out = new Uint8Array(concat(out, last));
  }
  return out.slice(0, length);
}
