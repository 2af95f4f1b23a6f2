// The page's own parts, without a browser: cryptography against Node's, the seal against its vectors, and
// what people type.

import assert from "node:assert/strict";
import * as node from "node:crypto";
import { readFile } from "node:fs/promises";

const PAGE = "../../../app/web/page/";
const { Sha256, hkdf, sha256 } = await import(`${PAGE}sha256.js`);
const { aes256gcm, plain } = await import(`${PAGE}aead.js`);
const { hex, toBase64url } = await import(`${PAGE}bytes.js`);
const { Spake2 } = await import(`${PAGE}spake2.js`);
const { Waiting } = await import(`${PAGE}seal.js`);
const { fromAddress, fragment, newLink, read, roomName } = await import(`${PAGE}invitation.js`);
const { describePath, readPath } = await import(`${PAGE}path.js`);
const { examine, describeVerdicts, WORDS } = await import(`${PAGE}verdict.js`);
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
for (const [one, other] of [["host", "guest"], ["guest", "host"]]) {
  const { own, other: theirs } = keyed[one].wayBack;
  assert.deepEqual([own, theirs].map(toBase64url), [vectors.wayBack[one], vectors.wayBack[other]]);
}
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
const nothing = { errors: [], servers: [], relayOnly: false, connected: true, ended: true };
const line = (...args) => describePath(readPath(stats(...args), nothing));
assert.equal(
  line({ candidateType: "host", address: "192.0.2.1" }, { candidateType: "srflx", address: "192.0.2.2" }),
  "direct · udp4 · host–srflx · 23 ms",
);
assert.equal(
  line({ candidateType: "relay", relayProtocol: "tls", url: "turns:relay.example:5349?transport=tcp", address: "2001:db8::1" }, { candidateType: "host" }),
  "relayed via relay.example:5349 because the two sides have no candidates that could be tried directly · tls6 · relay–host · 23 ms",
);
assert.equal(readPath(new Map(), nothing), null);

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

// Verdicts, as far as a browser can know: each from what getStats and icecandidateerror would show.
const seenBy = (more) => ({ errors: [], servers: [], relayOnly: false, connected: false, ended: true, ...more });
const candidate = (type, candidateType, address, port, more = {}) => ({
  id: `${type}${candidateType}${address}${port}`, type, candidateType, address, port, protocol: "udp", ...more,
});
const ours = (...rest) => candidate("local-candidate", ...rest);
const theirs = (...rest) => candidate("remote-candidate", ...rest);
const pair = (local, remote, more = {}) => ({
  id: `${local.id}-${remote.id}`, type: "candidate-pair", localCandidateId: local.id, remoteCandidateId: remote.id,
  state: "failed", requestsSent: 7, responsesReceived: 0, requestsReceived: 0, ...more,
});
const codes = (all, seen) => examine(all, seenBy(seen)).map(({ code }) => code);
const [own, outer] = [ours("host", "10.0.0.1", 5), ours("srflx", "198.51.100.1", 5, { url: "stun:a.example:3478" })];
const [host, srflx] = [theirs("host", "10.9.0.1", 6), theirs("srflx", "203.0.113.1", 6)];
const tried = [own, outer, host, srflx, pair(own, host), pair(own, srflx)];
const stun = { servers: [{ urls: "stun:a.example" }] };
const silent = (...urls) => urls.map((url) => ({ url, code: 701, text: "timed out" }));
assert.deepEqual(codes([], {}), ["no-network"]);
assert.deepEqual(codes([own], { ended: false }), ["signalling-lost-candidates"]);
// While more may come, what is missing proves nothing.
assert.deepEqual(codes([own], { ended: false, early: true }), ["inconclusive"]);
assert.deepEqual(codes(tried, { ...stun, early: true }), ["inconclusive"]);
assert.deepEqual(codes([own, theirs("host", "2001:db8::1", 6)], {}), ["family-mismatch"]);
assert.deepEqual(codes(tried, stun), ["no-relay"]);
assert.deepEqual(codes([own, outer, host, theirs("srflx", "198.51.100.1", 9), pair(own, theirs("srflx", "198.51.100.1", 9))], stun), ["no-hairpin", "no-relay"]);
assert.deepEqual(
  codes([...tried, theirs("prflx", "203.0.113.1", 77)], stun),
  ["mapping-depends-on-destination", "no-relay"],
);
const login = (username) => ({ servers: [{ urls: ["stun:a.example", "turn:t.example"], username }] });
const refused = [{ url: "turn:t.example:3478?transport=udp", code: 401, text: "Unauthorized" }];
assert.deepEqual(codes(tried, { ...login("bob"), errors: refused }), ["turn-credentials-wrong"]);
assert.deepEqual(codes(tried, { ...login("1000000000:bob"), errors: refused }), ["turn-credentials-expired"]);
assert.deepEqual(codes(tried, { ...login("4000000000:bob"), errors: refused }), ["inconclusive"]);
for (const [url, code] of [["turn:t.example", "udp"], ["turn:t.example?transport=tcp", "tcp"], ["turns:t.example", "tls"]]) {
  const servers = [{ urls: ["stun:a.example", url], username: "bob" }];
  assert.deepEqual(codes(tried, { servers, errors: silent(url) }), [`turn-unreachable-${code}`]);
}
const bare = [own, host, pair(own, host)];
assert.deepEqual(codes(bare, { ...stun, errors: silent("stun:a.example") }), ["stun-unreachable", "no-relay"]);
const two = { servers: [{ urls: ["stun:a.example", "stun:b.example"] }], errors: silent("stun:a.example", "stun:b.example") };
assert.deepEqual(codes(bare, two), ["udp-blocked", "no-relay"]);
const tls = ours("relay", "192.0.2.9", 8, { url: "turns:t.example:443", relayProtocol: "tls" });
const mixed = { servers: [{ urls: ["turn:t.example", "turns:t.example:443"], username: "bob" }], errors: silent("turn:t.example") };
assert.deepEqual(codes([...bare, tls], { ...mixed, connected: true }), ["udp-blocked"]);
const stuck = [own, host, pair(own, host, { state: "succeeded" }), { id: "T", type: "transport", dtlsState: "failed", packetsSent: 9 }];
assert.deepEqual(codes(stuck, {}), ["dtls-stalled"]);
// A server that answers on one interface and not on another is no dead server.
assert.deepEqual(codes(tried, { ...stun, errors: silent("stun:a.example:3478") }), ["no-relay"]);
for (const [, message] of WORDS) assert.ok(message && !message.endsWith("."));
assert.match(describeVerdicts(examine(tried, seenBy(stun))), /^no-relay: there is no direct path.*\n· 2 direct pairs .*\n· .*\n→ add a TURN server/);
console.log("parts: all as they should be");
