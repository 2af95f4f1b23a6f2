// SPAKE2 on the Ed25519 group, as docs/signalling.md has it: two ends that share a short code get a strong
// key, and whoever listens or meddles gets one guess.
//
// Big integers here take a time that depends on their values. The scalars are random and used once, and the
// one operation that depends on the code happens once per meeting: too little for a clock across a network.

import { concat, random, utf8 } from "./bytes.js";
import { hkdf, sha256 } from "./sha256.js";

const P = 2n ** 255n - 19n;
const Q = 2n ** 252n + 27742317777372353535851937790883648493n;

/** @param {bigint} x @param {bigint} [m] */
const mod = (x, m = P) => ((x % m) + m) % m;

/** @param {bigint} base @param {bigint} exponent */
function power(base, exponent) {
  let result = 1n;
  for (let square = mod(base); exponent; exponent >>= 1n, square = mod(square * square)) {
    if (exponent & 1n) result = mod(result * square);
  }
  return result;
}

/** @param {bigint} x */
const invert = (x) => power(x, P - 2n);

const D = mod(-121665n * invert(121666n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);

/** A point in extended coordinates. @typedef {[x: bigint, y: bigint, z: bigint, t: bigint]} Point */

/** RFC 8032 §5.1.4. @param {Point} p @param {Point} q @returns {Point} */
function add(p, q) {
  const a = mod((p[1] - p[0]) * (q[1] - q[0]));
  const b = mod((p[1] + p[0]) * (q[1] + q[0]));
  const c = mod(2n * p[3] * q[3] * D);
  const d = mod(2n * p[2] * q[2]);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

/** @param {Point} point @param {bigint} scalar @returns {Point} */
function times(point, scalar) {
  /** @type {Point} */
  let result = [0n, 1n, 1n, 0n];
  for (let double = point; scalar; scalar >>= 1n, double = add(double, double)) {
    if (scalar & 1n) result = add(result, double);
  }
  return result;
}

/** RFC 8032 §5.1.2. @param {Point} point @returns {Uint8Array} */
function encode([x, y, z]) {
  const inverse = invert(z);
  const bytes = littleEndian(mod(y * inverse));
  if (mod(x * inverse) & 1n) bytes[31] |= 0x80;
  return bytes;
}

/** RFC 8032 §5.1.3. @param {Uint8Array} bytes @returns {Point | null} */
function decode(bytes) {
  const masked = bytes.slice();
  masked[31] &= 0x7f;
  const y = number(masked.reverse());
  if (y >= P) return null;
  const u = mod(y * y - 1n);
  const v = mod(D * y * y + 1n);
  let x = mod(u * power(v, 3n) * power(u * power(v, 7n), (P - 5n) / 8n));
  if (mod(v * x * x) !== u) x = mod(x * ROOT_OF_MINUS_ONE);
  if (mod(v * x * x) !== u) return null;
  const sign = BigInt(bytes[31] >> 7);
  if (x === 0n && sign) return null;
  if ((x & 1n) !== sign) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

/** @param {Uint8Array} bytes big-endian @returns {bigint} */
function number(bytes) {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** @param {bigint} value @returns {Uint8Array} 32 bytes */
function littleEndian(value) {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

/** @param {string} hex @returns {Point} */
function constant(hex) {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  return /** @type {Point} */ (decode(bytes));
}

const BASE = constant("5866666666666666666666666666666666666666666666666666666666666666");
const M = constant("15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312");
const N = constant("f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3");

export class Spake2 {
  /** Our 33 bytes for the other side. @type {Uint8Array} */
  message;
  #side;
  #password;
  #context;
  #w;
  #scalar;

  /**
   * @param {"A" | "B"} side @param {string} password @param {string} context
   * @param {Uint8Array} [seed] 64 random bytes
   */
  constructor(side, password, context, seed = random(64)) {
    this.#side = side;
    this.#password = utf8(password);
    this.#context = context;
    this.#w = mod(number(hkdf(this.#password, new Uint8Array(0), utf8("SPAKE2 pw"), 48)), Q);
    this.#scalar = mod(number(seed), Q);
    const blind = times(side === "A" ? M : N, this.#w);
    const point = add(times(BASE, this.#scalar), blind);
    this.message = concat(utf8(side), encode(point));
  }

  /** @param {Uint8Array} theirs @returns {Uint8Array | null} the key; `null` if that is no message */
  finish(theirs) {
    const other = this.#side === "A" ? "B" : "A";
    if (theirs.length !== 33 || theirs[0] !== other.charCodeAt(0)) return null;
    const point = decode(theirs.subarray(1));
    if (!point) return null;
    const unblind = times(other === "A" ? M : N, Q - this.#w);
    const shared = encode(times(add(point, unblind), this.#scalar));
    const [x, y] = this.#side === "A" ? [this.message, theirs] : [theirs, this.message];
    return sha256(
      sha256(this.#password),
      sha256(utf8(`${this.#context} A`)),
      sha256(utf8(`${this.#context} B`)),
      x.subarray(1),
      y.subarray(1),
      shared,
    );
  }
}
