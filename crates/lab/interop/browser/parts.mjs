// The page's own parts, without a browser: cryptography against Node's, the seal against its vectors, and
// what people type.

import assert from "node:assert/strict";
import * as node from "node:crypto";
import { readFile } from "node:fs/promises";

const PAGE = "../../../app/web/page/";
const { Sha256, hkdf, sha256 } = await import(`${PAGE}sha256.js`);
const { aes256gcm, plain } = await import(`${PAGE}aead.js`);
const { hex } = await import(`${PAGE}bytes.js`);
const { Spake2 } = await import(`${PAGE}spake2.js`);
const { Waiting } = await import(`${PAGE}seal.js`);
const { fromAddress, fragment, newLink, read, roomName } = await import(`${PAGE}invitation.js`);
const { describePath, readPath } = await import(`${PAGE}path.js`);
const { qrModules } = await import(`${PAGE}qr.js`);
const { zip } = await import(`${PAGE}zip.js`);

// SHA-256, in one go and in pieces of every kind.
for (let length = 0; length < 300; length += 7) {
  const bytes = node.randomBytes(length);
  const expected = node.createHash("sha256").update(bytes).digest("hex");
  assert.equal(hex(sha256(bytes)), expected);
  const pieces = new Sha256();
  for (let at = 0; at < length; at += 1 + (length % 13)) {
    pieces.update(bytes.subarray(at, Math.min(length, at + 1 + (length % 13))));
  }
  assert.equal(hex(pieces.digest()), expected, "in pieces");
  assert.equal(hex(pieces.digest()), expected, "a digest changes nothing");
}
const [secret, salt] = [node.randomBytes(16), node.randomBytes(33)];
assert.equal(hex(hkdf(secret, salt, Buffer.from("x"), 48)), Buffer.from(node.hkdfSync("sha256", secret, salt, "x", 48)).toString("hex"));

// AES-256-GCM without WebCrypto is the same as with it.
for (const length of [0, 1, 15, 16, 17, 100, 5000]) {
  const [key, nonce, text] = [node.randomBytes(32), node.randomBytes(12), node.randomBytes(length)];
  const sealed = await plain(key).seal(nonce, text);
  assert.equal(hex(sealed), hex(await aes256gcm(key).seal(nonce, text)));
  assert.equal(hex(await plain(key).open(nonce, sealed)), hex(text));
  sealed[sealed.length - 1] ^= 1;
  assert.equal(await plain(key).open(nonce, sealed), null);
  assert.equal(await aes256gcm(key).open(nonce, sealed), null);
}

// SPAKE2: same words, same key; other words, another; no message, none. (Against the Rust side: transfer.mjs.)
const a = new Spake2("A", "river-candle", "ctx");
const b = new Spake2("B", "river-candle", "ctx");
const c = new Spake2("B", "river-cactus", "ctx");
assert.equal(hex(a.finish(b.message)), hex(b.finish(a.message)));
assert.notEqual(hex(a.finish(c.message)), hex(c.finish(a.message)));
for (const garbage of [a.message, Buffer.alloc(0), Buffer.alloc(33, 0x42), Buffer.concat([Buffer.from("B"), Buffer.alloc(32, 0xff)])]) {
  assert.equal(a.finish(garbage), null);
}

// The seal against its vectors: replace the random salts by theirs.
const vectors = JSON.parse(await readFile(new URL("../../../io/signal/data/seal-vectors.json", import.meta.url), "utf8"));
const link = read(vectors.link.secret);
assert.equal(roomName(link), vectors.link.room);
const real = globalThis.crypto.getRandomValues;
const withSalt = (encoded, role) => {
  globalThis.crypto.getRandomValues = (bytes) => (bytes.set(Buffer.from(encoded, "base64url")), bytes);
  return new Waiting(link, role);
};
const waiting = { host: withSalt(vectors.handshake.host, "host"), guest: withSalt(vectors.handshake.guest, "guest") };
globalThis.crypto.getRandomValues = real;
const keyed = { host: waiting.host.receive(waiting.guest.message), guest: waiting.guest.receive(waiting.host.message) };
for (const { from, plaintext, sealed } of vectors.messages) {
  const message = await keyed[from].seal(plaintext);
  assert.equal(message, JSON.stringify({ sealed }));
  assert.equal(await keyed[from === "host" ? "guest" : "host"].open(message), plaintext);
}
await assert.rejects(keyed.host.open(JSON.stringify({ candidate: null })), /changed a message/);
await assert.rejects(keyed.host.open(await keyed.guest.seal("x")), /changed a message/, "nothing opens after an error");

// What people type and open.
const fresh = newLink();
assert.deepEqual(read(`https://h:1/x#${fragment(fresh)}`), fresh);
assert.deepEqual(read(" 07 River—CANDLE "), { kind: "code", nameplate: "7", words: "river-candle" });
assert.deepEqual(read("Tea room"), { kind: "plain", name: "Tea room" });
assert.deepEqual(read("http://h/?room=tea"), { kind: "plain", name: "tea" });
assert.deepEqual(fromAddress(new URL("http://h/#tea%20room")), { kind: "plain", name: "tea room" });
assert.deepEqual(fromAddress(new URL("http://h/?room=tea")), { kind: "plain", name: "tea" });
assert.equal(fromAddress(new URL("http://h/")), null);
for (const bad of ["", "7", "x".repeat(129)]) assert.ok(read(bad).error, bad);

// The path line.
const stats = (local, remote, more = {}) =>
  new Map(
    [
      { id: "t", type: "transport", selectedCandidatePairId: "p" },
      { id: "p", type: "candidate-pair", localCandidateId: "l", remoteCandidateId: "r", currentRoundTripTime: 0.0234, ...more },
      { id: "l", type: "local-candidate", protocol: "udp", ...local },
      { id: "r", type: "remote-candidate", protocol: "udp", ...remote },
    ].map((stat) => [stat.id, stat]),
  );
const line = (...args) => describePath(readPath(stats(...args), { relayOnly: false }));
assert.equal(
  line({ candidateType: "host", address: "192.0.2.1" }, { candidateType: "srflx", address: "192.0.2.2" }),
  "direct · udp4 · host–srflx · 23 ms",
);
assert.equal(
  line({ candidateType: "relay", relayProtocol: "tls", url: "turns:relay.example:5349?transport=tcp", address: "2001:db8::1" }, { candidateType: "host" }),
  "relayed via relay.example:5349 because no direct path is possible between these two networks · tls6 · relay–host · 23 ms",
);
assert.equal(readPath(new Map(), { relayOnly: false }), null);

// A QR code has its three corners, and a text that is too long has none.
const code = qrModules("http://127.0.0.1:8080/#MDEyMzQ1Njc4OWFiY2RlZg");
assert.equal(code.length, 33);
for (const [y, x] of [[0, 0], [0, 32], [32, 0]]) assert.ok(code[y][x]);
assert.equal(qrModules("x".repeat(300)), null);

// An archive that others can read.
const archive = Buffer.from(await (await zip([
  { path: "a/ä.txt", blob: new Blob(["hello"]) },
  { path: "b", blob: new Blob([]) },
])).arrayBuffer());
assert.equal(archive.readUInt32LE(archive.length - 22), 0x06054b50);
assert.equal(archive.readUInt16LE(archive.length - 12), 2);
assert.equal(archive.readUInt32LE(14), 0x3610a686, "the CRC-32 of hello");
console.log("parts: all as they should be");
