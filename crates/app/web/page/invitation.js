// What somebody types or opens: a link, a code, or the name of a plain room.

import { fromBase64url, hex, random, toBase64url, utf8 } from "./bytes.js";
import { hkdf } from "./sha256.js";

/**
 * @typedef {import("./seal.js").LinkSecret} LinkSecret
 * @typedef {import("./seal.js").CodeSecret} CodeSecret
 * @typedef {{ kind: "plain", name: string }} PlainRoom
 * @typedef {LinkSecret | CodeSecret | PlainRoom} Invitation
 */

/** A secret of 128 bits. @returns {LinkSecret} */
export function newLink() {
  return { kind: "link", secret: random(16) };
}

/** What stands behind the `#` of a link. @param {LinkSecret} link */
export function fragment(link) {
  return toBase64url(link.secret);
}

/** The room's name on the server. @param {Invitation} invitation */
export function roomName(invitation) {
  switch (invitation.kind) {
    case "link":
      return hex(hkdf(invitation.secret, new Uint8Array(0), utf8("sterna room"), 16));
    case "code":
      return invitation.nameplate;
    case "plain":
      return invitation.name;
  }
}

/** @param {string} text @returns {LinkSecret | null} 22 characters of base64url */
function asSecret(text) {
  const secret = text.length === 22 ? fromBase64url(text) : null;
  return secret?.length === 16 ? { kind: "link", secret } : null;
}

/** A code, if it looks like one: a number, then words. @param {string} text @returns {CodeSecret | null} */
function asCode(text) {
  const [number, ...words] = text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  if (words.length !== 2 || !/^\d{1,18}$/.test(number)) return null;
  const nameplate = number.replace(/^0+/, "");
  return nameplate ? { kind: "code", nameplate, words: words.join("-") } : null;
}

/**
 * Reads what somebody typed: a whole link, the part behind its `#`, a code, or a room's name.
 * @param {string} typed
 * @returns {Invitation | { error: string }}
 */
export function read(typed) {
  let text = typed.trim();
  const link = /^https?:\/\/[^#]*#(.*)$/.exec(text);
  if (link) text = decode(link[1]);
  const query = /^https?:\/\/[^#?]*\?(.*)$/.exec(text);
  if (query) text = new URLSearchParams(query[1]).get("room")?.trim() ?? "";
  if (!text) return { error: "Type the name of a room, a code, or paste a link." };
  const found = asSecret(text) ?? asCode(text);
  if (found) return found;
  if (/^\d+$/.test(text)) {
    return { error: "A code is a number and two words, such as 7-river-candle." };
  }
  if (utf8(text).length > 128 || /\p{Cc}/u.test(text)) return { error: "That name is too long for a room." };
  return { kind: "plain", name: text };
}

/** The invitation in a page's address, if there is one. @param {URL | Location} address */
export function fromAddress(address) {
  const behind = decode(address.hash.replace(/^#/, "")).trim();
  const room = new URLSearchParams(address.search).get("room")?.trim();
  const typed = behind || room;
  return typed ? read(typed) : null;
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
