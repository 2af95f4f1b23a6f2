// AES-256-GCM: the browser's own, or, where it has none, ours.
//
// Browsers hide WebCrypto from pages that were opened over plain http from another machine, which is just
// where a link from a laptop to a phone leads on a home network. What is sealed here is a few kilobytes of
// signalling, so a plain implementation is quick enough.

/**
 * @typedef {object} Aead
 * @property {(nonce: Uint8Array, plaintext: Uint8Array) => Promise<Uint8Array>} seal
 * @property {(nonce: Uint8Array, sealed: Uint8Array) => Promise<Uint8Array | null>} open `null`: forged
 */

/** @param {Uint8Array} key 32 bytes @returns {Aead} */
export function aes256gcm(key) {
  return globalThis.crypto.subtle ? native(key) : plain(key);
}

/** @param {Uint8Array} bytes @returns {Uint8Array<ArrayBuffer>} */
const owned = (bytes) => new Uint8Array(bytes);

/** @param {Uint8Array} key @returns {Aead} */
function native(key) {
  const imported = crypto.subtle.importKey("raw", owned(key), "AES-GCM", false, ["encrypt", "decrypt"]);
  return {
    async seal(nonce, plaintext) {
      const algorithm = { name: "AES-GCM", iv: owned(nonce) };
      return new Uint8Array(await crypto.subtle.encrypt(algorithm, await imported, owned(plaintext)));
    },
    async open(nonce, sealed) {
      const algorithm = { name: "AES-GCM", iv: owned(nonce) };
      try {
        return new Uint8Array(await crypto.subtle.decrypt(algorithm, await imported, owned(sealed)));
      } catch {
        return null;
      }
    },
  };
}

/** Without WebCrypto (NIST SP 800-38D). @param {Uint8Array} key @returns {Aead} */
export function plain(key) {
  const schedule = expand(key);
  /** @param {Uint8Array} nonce @param {number} counter */
  const keystream = (nonce, counter) => {
    const block = new Uint8Array(16);
    block.set(nonce);
    new DataView(block.buffer).setUint32(12, counter);
    return encrypt(schedule, block);
  };
  /** @param {Uint8Array} nonce @param {Uint8Array} input */
  const count = (nonce, input) => {
    const output = new Uint8Array(input.length);
    for (let at = 0, counter = 2; at < input.length; at += 16, counter++) {
      const stream = keystream(nonce, counter);
      for (let i = at; i < Math.min(at + 16, input.length); i++) output[i] = input[i] ^ stream[i - at];
    }
    return output;
  };
  const hashKey = encrypt(schedule, new Uint8Array(16));
  /** @param {Uint8Array} nonce @param {Uint8Array} ciphertext */
  const tag = (nonce, ciphertext) => {
    const hash = ghash(hashKey, ciphertext);
    const mask = keystream(nonce, 1);
    return hash.map((byte, i) => byte ^ mask[i]);
  };
  return {
    async seal(nonce, plaintext) {
      const ciphertext = count(nonce, plaintext);
      const sealed = new Uint8Array(ciphertext.length + 16);
      sealed.set(ciphertext);
      sealed.set(tag(nonce, ciphertext), ciphertext.length);
      return sealed;
    },
    async open(nonce, sealed) {
      if (sealed.length < 16) return null;
      const ciphertext = sealed.subarray(0, sealed.length - 16);
      const expected = tag(nonce, ciphertext);
      const difference = expected.reduce((sum, byte, i) => sum | (byte ^ sealed[ciphertext.length + i]), 0);
      return difference === 0 ? count(nonce, ciphertext) : null;
    },
  };
}

/** Doubles in AES's field. @param {number} x */
const double = (x) => ((x << 1) ^ (x & 0x80 ? 0x11b : 0)) & 0xff;

const SBOX = (() => {
  const box = new Uint8Array(256);
  // p runs through all elements as powers of 3, q through their inverses.
  let p = 1;
  let q = 1;
  do {
    p = p ^ double(p);
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q &= 0xff;
    if (q & 0x80) q ^= 0x09;
    const rotate = (/** @type {number} */ n) => ((q << n) | (q >> (8 - n))) & 0xff;
    box[p] = q ^ rotate(1) ^ rotate(2) ^ rotate(3) ^ rotate(4) ^ 0x63;
  } while (p !== 1);
  box[0] = 0x63;
  return box;
})();

/** The key schedule of AES-256 (FIPS 197 §5.2). @param {Uint8Array} key */
function expand(key) {
  const schedule = new Uint8Array(240);
  schedule.set(key);
  let constant = 1;
  for (let at = 32; at < 240; at += 4) {
    let word = schedule.slice(at - 4, at);
    if (at % 32 === 0) {
      word = Uint8Array.of(SBOX[word[1]] ^ constant, SBOX[word[2]], SBOX[word[3]], SBOX[word[0]]);
      constant = double(constant);
    } else if (at % 32 === 16) {
      word = word.map((byte) => SBOX[byte]);
    }
    for (let i = 0; i < 4; i++) schedule[at + i] = schedule[at + i - 32] ^ word[i];
  }
  return schedule;
}

/** One block (FIPS 197 §5.1). @param {Uint8Array} schedule @param {Uint8Array} block */
function encrypt(schedule, block) {
  let state = block.map((byte, i) => byte ^ schedule[i]);
  for (let round = 1; round <= 14; round++) {
    const shifted = new Uint8Array(16);
    for (let i = 0; i < 16; i++) shifted[i] = SBOX[state[(i + 4 * (i % 4)) % 16]];
    if (round < 14) {
      for (let column = 0; column < 16; column += 4) {
        const [a, b, c, d] = shifted.subarray(column, column + 4);
        const all = a ^ b ^ c ^ d;
        shifted[column] = a ^ all ^ double(a ^ b);
        shifted[column + 1] = b ^ all ^ double(b ^ c);
        shifted[column + 2] = c ^ all ^ double(c ^ d);
        shifted[column + 3] = d ^ all ^ double(d ^ a);
      }
    }
    state = shifted.map((byte, i) => byte ^ schedule[16 * round + i]);
  }
  return state;
}

/** @param {Uint8Array} key @param {Uint8Array} ciphertext */
function ghash(key, ciphertext) {
  const lengths = new Uint8Array(16);
  new DataView(lengths.buffer).setUint32(12, ciphertext.length * 8);
  let hash = new Uint8Array(16);
  const blocks = Math.ceil(ciphertext.length / 16);
  for (let n = 0; n <= blocks; n++) {
    const block = n === blocks ? lengths : ciphertext.subarray(16 * n, 16 * n + 16);
    block.forEach((byte, i) => (hash[i] ^= byte));
    hash = multiply(hash, key);
  }
  return hash;
}

/** In GCM's field, bit by bit. @param {Uint8Array} x @param {Uint8Array} y */
function multiply(x, y) {
  const product = new Uint8Array(16);
  const factor = y.slice();
  for (let bit = 0; bit < 128; bit++) {
    const mask = -((x[bit >> 3] >> (7 - (bit & 7))) & 1);
    for (let i = 0; i < 16; i++) product[i] ^= factor[i] & mask;
    const carry = factor[15] & 1;
    for (let i = 15; i > 0; i--) factor[i] = (factor[i] >> 1) | (factor[i - 1] << 7);
    factor[0] = (factor[0] >> 1) ^ (carry ? 0xe1 : 0);
  }
  return product;
}
