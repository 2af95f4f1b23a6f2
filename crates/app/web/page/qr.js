// A link as a QR code (ISO/IEC 18004): bytes, error correction M, versions 1 to 10.

const ECC_PER_BLOCK = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5];
const CODEWORDS = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346];

/** The code as an SVG element; nothing if the text is too long. @param {string} text @returns {SVGElement[]} */
export function qrCode(text) {
  const modules = qrModules(text);
  if (!modules) return [];
  const size = modules.length;
  let path = "";
  modules.forEach((row, y) =>
    row.forEach((dark, x) => {
      if (dark) path += `M${x} ${y}h1v1h-1z`;
    }),
  );
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("shape-rendering", "crispEdges");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  shape.setAttribute("fill", "#000");
  svg.append(shape);
  return [svg];
}

/** @param {string} text @returns {boolean[][] | null} rows of modules, `true` is dark */
export function qrModules(text) {
  const bytes = new TextEncoder().encode(text);
  for (let version = 1; version <= 10; version++) {
    const dataBytes = CODEWORDS[version - 1] - ECC_PER_BLOCK[version - 1] * BLOCKS[version - 1];
    const header = version < 10 ? 12 : 20;
    if (bytes.length * 8 + header <= dataBytes * 8) return draw(version, codewords(bytes, version, dataBytes));
  }
  return null;
}

/** Data and error correction, interleaved. @param {Uint8Array} bytes @param {number} version @param {number} dataBytes */
function codewords(bytes, version, dataBytes) {
  const bits = /** @type {number[]} */ ([]);
  const push = (/** @type {number} */ value, /** @type {number} */ count) => {
    for (let bit = count - 1; bit >= 0; bit--) bits.push((value >> bit) & 1);
  };
  push(4, 4);
  push(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) push(byte, 8);
  push(0, Math.min(4, dataBytes * 8 - bits.length));
  push(0, -bits.length & 7);
  for (let pad = 0xec; bits.length < dataBytes * 8; pad ^= 0xfd) push(pad, 8);
  const data = Array.from({ length: dataBytes }, (_, i) =>
    bits.slice(8 * i, 8 * i + 8).reduce((sum, bit) => 2 * sum + bit, 0),
  );

  const blocks = BLOCKS[version - 1];
  const short = Math.floor(dataBytes / blocks);
  const longOnes = dataBytes % blocks;
  const parts = [];
  for (let block = 0, at = 0; block < blocks; block++) {
    const length = short + (block >= blocks - longOnes ? 1 : 0);
    parts.push(data.slice(at, at + length));
    at += length;
  }
  const checks = parts.map((part) => remainder(part, ECC_PER_BLOCK[version - 1]));
  const out = [];
  for (let i = 0; i <= short; i++) for (const part of parts) if (i < part.length) out.push(part[i]);
  for (let i = 0; i < ECC_PER_BLOCK[version - 1]; i++) for (const check of checks) out.push(check[i]);
  return out;
}

/** Multiplies in GF(256) modulo x⁸+x⁴+x³+x²+1. @param {number} a @param {number} b */
function multiply(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ (product & 0x80 ? 0x11d : 0);
    if ((b >> bit) & 1) product ^= a;
  }
  return product & 0xff;
}

/** Reed–Solomon. @param {number[]} data @param {number} count */
function remainder(data, count) {
  let generator = [1];
  for (let i = 0, root = 1; i < count; i++, root = multiply(root, 2)) {
    const next = [...generator, 0];
    generator.forEach((coefficient, at) => (next[at + 1] ^= multiply(coefficient, root)));
    generator = next;
  }
  const rest = new Array(count).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    for (let i = 0; i < count; i++) rest[i] ^= multiply(generator[i + 1], factor);
  }
  return rest;
}

/** @param {number} version @param {number[]} data */
function draw(version, data) {
  const size = 17 + 4 * version;
  const fixed = Array.from({ length: size }, () => new Array(size).fill(false));
  const plain = fixed.map((row) => row.slice());
  const set = (/** @type {number} */ x, /** @type {number} */ y, /** @type {boolean} */ dark) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    plain[y][x] = dark;
    fixed[y][x] = true;
  };
  for (let i = 0; i < size; i++) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let dy = -4; dy <= 4; dy++) {
      for (let dx = -4; dx <= 4; dx++) {
        const ring = Math.max(Math.abs(dx), Math.abs(dy));
        set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
      }
    }
  }
  const centres = alignment(version);
  for (const cy of centres) {
    for (const cx of centres) {
      if ((cx === 6 && cy === 6) || (cx === 6 && cy === size - 7) || (cx === size - 7 && cy === 6)) continue;
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
      }
    }
  }
  if (version >= 7) {
    const info = bch(version, 0x1f25, 12);
    for (let i = 0; i < 18; i++) {
      const dark = Boolean((info >> i) & 1);
      set(size - 11 + (i % 3), Math.floor(i / 3), dark);
      set(Math.floor(i / 3), size - 11 + (i % 3), dark);
    }
  }
  const format = (/** @type {number} */ mask) => {
    // Level M is 00.
    const info = bch(mask, 0x537, 10) ^ 0x5412;
    const bit = (/** @type {number} */ i) => Boolean((info >> i) & 1);
    for (let i = 0; i < 8; i++) {
      set(8, i < 6 ? i : i + 1, bit(i));
      set(size - 1 - i, 8, bit(i));
    }
    for (let i = 8; i < 15; i++) {
      set(i === 8 ? 7 : 14 - i, 8, bit(i));
      set(8, size - 15 + i, bit(i));
    }
    set(8, size - 8, true);
  };
  format(0);
  place(plain, fixed, data);

  let best = plain;
  let lowest = Infinity;
  const unmasked = plain.map((row) => row.slice());
  for (let mask = 0; mask < 8; mask++) {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        if (!fixed[y][x]) plain[y][x] = unmasked[y][x] !== flips(mask, x, y);
      }
    }
    format(mask);
    const cost = penalty(plain);
    if (cost < lowest) {
      lowest = cost;
      best = plain.map((row) => row.slice());
    }
  }
  return best;
}

/** Zigzag from the lower right, two columns at a time. @param {boolean[][]} modules @param {boolean[][]} fixed @param {number[]} data */
function place(modules, fixed, data) {
  const size = modules.length;
  let bit = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    const up = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step++) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x]) continue;
        modules[y][x] = Boolean(((data[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1);
        bit++;
      }
    }
  }
}

/** @param {number} version */
function alignment(version) {
  if (version === 1) return [];
  const size = 17 + 4 * version;
  const count = Math.floor(version / 7) + 2;
  const step = Math.ceil((size - 13) / (2 * count - 2)) * 2;
  const centres = [6];
  for (let at = size - 7; centres.length < count; at -= step) centres.splice(1, 0, at);
  return centres;
}

/** A value with its BCH check bits behind it. @param {number} value @param {number} generator @param {number} bits */
function bch(value, generator, bits) {
  let rest = value << bits;
  for (let bit = 31 - Math.clz32(rest); bit >= bits; bit--) {
    if ((rest >> bit) & 1) rest ^= generator << (bit - bits);
  }
  return (value << bits) | rest;
}

/** @param {number} mask @param {number} x @param {number} y */
function flips(mask, x, y) {
  switch (mask) {
    case 0: return (x + y) % 2 === 0;
    case 1: return y % 2 === 0;
    case 2: return x % 3 === 0;
    case 3: return (x + y) % 3 === 0;
    case 4: return (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0;
    case 5: return ((x * y) % 2) + ((x * y) % 3) === 0;
    case 6: return (((x * y) % 2) + ((x * y) % 3)) % 2 === 0;
    default: return (((x + y) % 2) + ((x * y) % 3)) % 2 === 0;
  }
}

/** How hard the pattern is to read. @param {boolean[][]} modules */
function penalty(modules) {
  const size = modules.length;
  let cost = 0;
  let dark = 0;
  const lines = [...modules, ...modules.map((_, x) => modules.map((row) => row[x]))];
  for (const line of lines) {
    const text = line.map(Number).join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) cost += run.length - 2;
    for (let at = 0; at + 11 <= size; at++) {
      const part = text.slice(at, at + 11);
      if (part === "10111010000" || part === "00001011101") cost += 40;
    }
  }
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      dark += Number(modules[y][x]);
      const square = y && x && [modules[y - 1][x], modules[y][x - 1], modules[y - 1][x - 1]];
      if (square && square.every((other) => other === modules[y][x])) cost += 3;
    }
  }
  return cost + 10 * Math.floor(Math.abs((20 * dark) / (size * size) - 10));
}
