// Several files as one to save: a ZIP archive without compression (APPNOTE 6.3.10), made of the blobs as
// they are, so nothing is copied.

import { utf8 } from "./bytes.js";

/** Beyond this, ZIP needs extensions that some programs do not read. */
export const ZIP_AT_MOST = 0xffff0000;

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** @param {Blob} blob */
async function crc32(blob) {
  let crc = 0xffffffff;
  for (let at = 0; at < blob.size; at += 4 << 20) {
    const bytes = new Uint8Array(await blob.slice(at, at + (4 << 20)).arrayBuffer());
    for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** @param {[size: 2 | 4, value: number][]} fields */
function record(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return view.buffer;
}

/** @param {{ path: string, blob: Blob }[]} files @returns {Promise<Blob>} */
export async function zip(files) {
  /** @type {BlobPart[]} */
  const parts = [];
  /** @type {BlobPart[]} */
  const directory = [];
  let offset = 0;
  let directorySize = 0;
  for (const { path, blob } of files) {
    const name = new Uint8Array(utf8(path));
    const crc = await crc32(blob);
    /** Version 2.0, UTF-8 names, stored, 1 January 1980. @type {[2 | 4, number][]} */
    const common = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x21], [4, crc], [4, blob.size], [4, blob.size], [2, name.length], [2, 0]];
    parts.push(record([[4, 0x04034b50], ...common]), name, blob);
    directory.push(record([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), name);
    offset += 30 + name.length + blob.size;
    directorySize += 46 + name.length;
  }
  const count = files.length;
  const end = record([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, directorySize], [4, offset], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
