// The `files` channel (docs/transfer.md): either side offers, the other accepts, every byte is checked.

import { hex, random } from "./bytes.js";
import { Sha256, sha256 } from "./sha256.js";

/** @typedef {{ path: string, size: number, mtime?: number }} FileEntry */
/** @typedef {import("./part.js").Part} Part */

/**
 * What somebody shares: files with their paths.
 * @typedef {{ name: string, files: { path: string, file: File }[] }} Share
 */

/**
 * Where a transfer stands.
 * @typedef {"offered" | "active" | "checking" | "done" | "refused" | "cancelled" | "broken"} Stage
 */

const READ_AT_ONCE = 1 << 20;
const BUFFER = 1 << 20;
const SMALL_MESSAGE = 64 << 10;
const LARGE_MESSAGE = 256 << 10;
const FILES_AT_MOST = 100_000;
const LIST_BYTES = 48 << 10;
const PROGRESS_EVERY = 250;

/** Either side gave up. */
class Cancelled extends Error {}

/** One offer, going out or coming in. */
export class Transfer {
  /** @type {() => void} */
  onchange = () => {};
  /** @type {Stage} */
  stage = "offered";
  /** Bytes that are there, on the receiving side as far as we know. */
  moved = 0;
  /** Why it is over, if it is. */
  reason = "";
  /** When bytes began to move, and how many were there by then. @type {{ at: number, moved: number } | null} */
  start = null;
  /** The received files, as they are verified. @type {{ path: string, blob: Blob }[]} */
  received = [];

  /** @param {"out" | "in"} direction @param {string} id @param {string} name @param {FileEntry[]} files @param {number} bytes */
  constructor(direction, id, name, files, bytes) {
    this.direction = direction;
    this.id = id;
    this.name = name;
    this.files = files;
    this.bytes = bytes;
  }

  get over() {
    return this.stage !== "offered" && this.stage !== "active" && this.stage !== "checking";
  }

  /** @param {Stage} stage @param {string} [reason] */
  to(stage, reason = "") {
    if (this.over) return;
    this.stage = stage;
    this.reason = reason;
    this.onchange();
  }

  /** @param {number} moved */
  progress(moved) {
    this.start ??= { at: performance.now(), moved };
    this.moved = moved;
    this.onchange();
  }
}

/** An offer of ours on its way. */
class Sending {
  /** @type {Map<number, number>} */
  offsets = new Map();
  /** @type {Set<number>} */
  stored = new Set();
  /** @type {number[]} */
  corrupt = [];
  retried = new Set();
  accepted = false;
  confirmed = false;
  /** Whether the other side reports its progress; otherwise we show what we have sent. */
  reports = false;

  /** @param {Transfer} transfer @param {File[]} files */
  constructor(transfer, files) {
    this.transfer = transfer;
    this.files = files;
    /** @type {Uint8Array[]} */
    this.digests = [];
  }
}

/** An offer of theirs. */
class Receiving {
  /** Index of the file that bytes belong to, or -1. */
  current = -1;
  /** @type {Set<number>} */
  stored = new Set();
  /** @type {Uint8Array[]} */
  digests = [];
  corrupt = new Set();
  reported = 0;

  /** @param {Transfer} transfer @param {number} count @param {Part[]} parts */
  constructor(transfer, count, parts) {
    this.transfer = transfer;
    /** How many files the list is to have. */
    this.count = count;
    this.parts = parts;
  }
}

/** Both directions of one `files` channel. */
export class Transfers {
  /** Somebody offers something: `accept` or `refuse` it. @type {(transfer: Transfer) => void} */
  onoffer = () => {};

  #channel;
  #shelf;
  #maxMessage;
  /** @type {Map<string, Sending>} */
  #sending = new Map();
  /** @type {Map<string, Receiving>} */
  #receiving = new Map();
  /** Whose bytes come in now. @type {Receiving | null} */
  #current = null;
  #turn = Promise.resolve();
  /** @type {(() => void)[]} */
  #sleepers = [];

  /** @param {RTCDataChannel} channel @param {import("./part.js").Shelf} shelf @param {() => number} maxMessage */
  constructor(channel, shelf, maxMessage) {
    this.#channel = channel;
    this.#shelf = shelf;
    this.#maxMessage = maxMessage;
    channel.bufferedAmountLowThreshold = BUFFER / 2;
    channel.addEventListener("bufferedamountlow", () => this.#wake());
    channel.addEventListener("close", () => this.#broken());
    channel.addEventListener("message", ({ data }) => this.#hear(data));
  }

  /** Whether something can be offered now. */
  get open() {
    return this.#channel.readyState === "open";
  }

  /** Offers files to the other side. @param {Share} share @returns {Transfer} */
  offer(share) {
    const entries = share.files.map(({ path, file }) => ({
      path,
      size: file.size,
      mtime: Math.floor(file.lastModified / 1000),
    }));
    const bytes = entries.reduce((sum, entry) => sum + entry.size, 0);
    const transfer = new Transfer("out", hex(random(8)), share.name, entries, bytes);
    const sending = new Sending(transfer, share.files.map(({ file }) => file));
    this.#sending.set(transfer.id, sending);
    this.#announce(sending);
    return transfer;
  }

  /** @param {Transfer} transfer */
  accept(transfer) {
    const receiving = this.#receiving.get(transfer.id);
    if (!receiving || transfer.stage !== "offered") return;
    receiving.parts = transfer.files.map((entry) => this.#shelf.part(entry));
    const resume = receiving.parts.flatMap((part, file) =>
      part.bytes > 0 && part.bytes <= transfer.files[file].size ? [{ file, offset: part.bytes }] : [],
    );
    transfer.to("active");
    transfer.progress(resume.reduce((sum, { offset }) => sum + offset, 0));
    this.#say({ type: "accept", id: transfer.id, resume });
  }

  /** @param {Transfer} transfer @param {string} reason */
  refuse(transfer, reason) {
    this.#receiving.delete(transfer.id);
    this.#say({ type: "refuse", id: transfer.id, reason });
    transfer.to("refused", reason);
  }

  /** @param {Transfer} transfer @param {string} reason */
  cancel(transfer, reason) {
    if (transfer.over) return;
    this.#say({ type: "cancel", id: transfer.id, reason });
    this.#drop(transfer, "cancelled", reason);
  }

  /** @param {object} message */
  #say(message) {
    if (this.open) this.#channel.send(JSON.stringify(message));
  }

  #wake() {
    for (const wake of this.#sleepers.splice(0)) wake();
  }

  /** @param {Transfer} transfer @param {() => boolean} condition */
  async #until(transfer, condition) {
    for (;;) {
      if (transfer.over || !this.open) throw new Cancelled();
      if (condition()) return;
      await new Promise((/** @type {(value: void) => void} */ resolve) => this.#sleepers.push(resolve));
    }
  }

  #broken() {
    for (const { transfer } of [...this.#sending.values(), ...this.#receiving.values()]) {
      transfer.to("broken", "the connection ended");
    }
    this.#wake();
  }

  /** @param {Transfer} transfer @param {Stage} stage @param {string} reason */
  #drop(transfer, stage, reason) {
    transfer.to(stage, reason);
    if (this.#current?.transfer === transfer) this.#current = null;
    this.#wake();
  }

  // ---- sending

  /** Sends the offer, in several messages if the list is long. @param {Sending} sending */
  #announce(sending) {
    const { id, name, files, bytes } = sending.transfer;
    const lists = /** @type {FileEntry[][]} */ ([[]]);
    let size = 0;
    for (const entry of files) {
      size += 60 + 3 * entry.path.length;
      if (size > LIST_BYTES) {
        lists.push([]);
        size = 0;
      }
      lists[lists.length - 1].push(entry);
    }
    const count = lists.length > 1 ? files.length : undefined;
    this.#say({ type: "offer", id, name, files: lists[0], bytes, count });
    for (const more of lists.slice(1)) this.#say({ type: "more", id, files: more });
  }

  /** @param {Sending} sending */
  async #deliver(sending) {
    const { transfer } = sending;
    try {
      transfer.to("active");
      const offsets = [...sending.offsets.values()].reduce((sum, offset) => sum + offset, 0);
      transfer.progress(offsets);
      for (let file = 0; file < sending.files.length; file++) {
        await this.#sendFile(sending, file, sending.offsets.get(file) ?? 0);
        await this.#resend(sending);
      }
      transfer.to("checking");
      while (sending.stored.size < sending.files.length) {
        await this.#until(transfer, () => sending.corrupt.length > 0 || sending.stored.size === sending.files.length);
        await this.#resend(sending);
      }
      const all = sending.digests.length === 1 ? sending.digests[0] : sha256(...sending.digests);
      this.#say({ type: "done", id: transfer.id, sha256: hex(all) });
      await this.#until(transfer, () => sending.confirmed);
      transfer.moved = transfer.bytes;
      transfer.to("done");
    } catch (error) {
      if (error instanceof Cancelled) return;
      this.cancel(transfer, error instanceof Error ? error.message : "it could not be read");
    } finally {
      this.#sending.delete(transfer.id);
    }
  }

  /** @param {Sending} sending */
  async #resend(sending) {
    for (const file of sending.corrupt.splice(0)) {
      if (sending.retried.has(file)) throw new Error("a file arrives damaged twice");
      sending.retried.add(file);
      await this.#sendFile(sending, file, 0);
    }
  }

  /** @param {Sending} sending @param {number} index @param {number} offset */
  async #sendFile(sending, index, offset) {
    const { transfer, files, digests } = sending;
    const file = files[index];
    const hash = new Sha256();
    const most = this.#maxMessage() >= LARGE_MESSAGE ? LARGE_MESSAGE : Math.min(SMALL_MESSAGE, this.#maxMessage());
    this.#say({ type: "file", id: transfer.id, file: index, offset });
    for (let at = 0; at < file.size; ) {
      const bytes = await read(file, at, Math.min(at + READ_AT_ONCE, file.size));
      hash.update(bytes);
      // What is there already is hashed, but not sent.
      for (let from = Math.max(0, offset - at); from < bytes.length; from += most) {
        await this.#until(transfer, () => this.#channel.bufferedAmount <= BUFFER);
        const message = bytes.subarray(from, Math.min(from + most, bytes.length));
        this.#channel.send(message);
        if (!sending.reports) transfer.progress(transfer.moved + message.length);
      }
      at += bytes.length;
      if (transfer.over) throw new Cancelled();
    }
    digests[index] = hash.digest();
    this.#say({ type: "end", id: transfer.id, file: index, sha256: hex(digests[index]) });
  }

  // ---- receiving

  /** @param {string | ArrayBuffer} data */
  #hear(data) {
    if (typeof data !== "string") return this.#bytes(new Uint8Array(data));
    /** @type {any} */
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message?.type === "offer") return this.#offered(message);
    const sending = this.#sending.get(message?.id);
    const receiving = this.#receiving.get(message?.id);
    if (sending) this.#answered(sending, message);
    if (receiving) this.#told(receiving, message);
    this.#wake();
  }

  /** What the receiver says of our offer. @param {Sending} sending @param {any} message */
  #answered(sending, message) {
    const { transfer } = sending;
    switch (message.type) {
      case "accept":
        if (sending.accepted) break;
        sending.accepted = true;
        for (const { file, offset } of Array.isArray(message.resume) ? message.resume : []) {
          const entry = transfer.files[file];
          if (entry && Number.isInteger(offset) && offset >= 0 && offset <= entry.size) {
            sending.offsets.set(file, offset);
          }
        }
        this.#turn = this.#turn.then(() => this.#deliver(sending));
        break;
      case "refuse":
        this.#drop(transfer, "refused", words(message.reason, "the other side does not want it"));
        break;
      case "progress":
        sending.reports = true;
        if (Number.isFinite(message.bytes)) transfer.progress(Math.min(message.bytes, transfer.bytes));
        break;
      case "stored":
        if (transfer.files[message.file]) sending.stored.add(message.file);
        break;
      case "corrupt":
        if (transfer.files[message.file]) sending.corrupt.push(message.file);
        break;
      case "done":
        sending.confirmed = true;
        break;
      case "cancel":
        this.#drop(transfer, "cancelled", words(message.reason, "the other side cancelled it"));
    }
  }

  /** @param {any} message */
  #offered(message) {
    const { id, name, files, bytes, count } = message;
    if (typeof id !== "string" || !/^[0-9a-f]{8,32}$/.test(id) || this.#receiving.has(id)) return;
    const transfer = new Transfer("in", id, words(name, "files").slice(0, 255), [], Number(bytes));
    const total = count === undefined ? files?.length : count;
    const receiving = new Receiving(transfer, total, []);
    this.#receiving.set(id, receiving);
    if (!Number.isInteger(total) || total < 1 || total > FILES_AT_MOST) {
      return this.refuse(transfer, "that list of files is empty or too long");
    }
    this.#listed(receiving, files);
  }

  /** Adds to the list of files; when it is complete, the offer is one. @param {Receiving} receiving @param {unknown} files */
  #listed(receiving, files) {
    const { transfer, count } = receiving;
    if (transfer.stage !== "offered" || transfer.files.length >= count) return;
    for (const file of Array.isArray(files) ? files : []) {
      if (!isPath(file?.path) || !Number.isSafeInteger(file.size) || file.size < 0) {
        return this.refuse(transfer, "the list of files has a path or a size that cannot be taken");
      }
      const mtime = Number.isSafeInteger(file.mtime) ? file.mtime : undefined;
      transfer.files.push({ path: file.path, size: file.size, mtime });
    }
    if (transfer.files.length < count) return;
    const sum = transfer.files.reduce((sum, file) => sum + file.size, 0);
    const paths = new Set(transfer.files.map((file) => file.path));
    if (transfer.files.length > count || sum !== transfer.bytes || paths.size !== count) {
      return this.refuse(transfer, "the list of files contradicts itself");
    }
    this.onoffer(transfer);
  }

  /** What the sender says of an offer of theirs. @param {Receiving} receiving @param {any} message */
  #told(receiving, message) {
    const { transfer } = receiving;
    switch (message.type) {
      case "more":
        this.#listed(receiving, message.files);
        break;
      case "cancel":
        this.#receiving.delete(transfer.id);
        this.#drop(transfer, "cancelled", words(message.reason, "the other side cancelled it"));
        break;
      case "file": {
        const part = receiving.parts[message.file];
        if (transfer.stage !== "active" || !part) break;
        if (message.offset === 0) part.clear();
        if (message.offset !== part.bytes) return this.cancel(transfer, "bytes are missing in the middle of a file");
        receiving.current = message.file;
        this.#current = receiving;
        break;
      }
      case "end":
        this.#ended(receiving, message);
        break;
      case "done":
        this.#finished(receiving, message);
    }
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  #bytes(bytes) {
    const receiving = this.#current;
    if (!receiving || receiving.transfer.stage !== "active") return;
    const { transfer, parts, current } = receiving;
    if (parts[current].bytes + bytes.length > transfer.files[current].size) {
      return this.cancel(transfer, "more bytes came than were announced");
    }
    parts[current].push(bytes);
    transfer.progress(transfer.moved + bytes.length);
    this.#report(receiving);
  }

  /** @param {Receiving} receiving @param {any} message */
  #ended(receiving, { id, file, sha256: expected }) {
    const { transfer, parts } = receiving;
    if (transfer.stage !== "active" || file !== receiving.current || receiving.stored.has(file)) return;
    const part = parts[file];
    const entry = transfer.files[file];
    this.#current = null;
    receiving.current = -1;
    const digest = part.digest();
    if (part.bytes !== entry.size || hex(digest) !== expected) {
      transfer.progress(transfer.moved - part.bytes);
      part.clear();
      if (receiving.corrupt.has(file)) return this.cancel(transfer, "a file arrives damaged twice");
      receiving.corrupt.add(file);
      this.#say({ type: "corrupt", id, file });
      return;
    }
    receiving.stored.add(file);
    receiving.digests[file] = digest;
    transfer.received.push({ path: entry.path, blob: part.blob() });
    this.#say({ type: "stored", id, file });
    transfer.onchange();
  }

  /** @param {Receiving} receiving @param {any} message */
  #finished({ transfer, stored, digests }, { id, sha256: expected }) {
    if (transfer.stage !== "active" || stored.size !== transfer.files.length) return;
    const all = digests.length === 1 ? digests[0] : sha256(...digests);
    if (hex(all) !== expected) return this.cancel(transfer, "the whole does not match its checksum");
    this.#say({ type: "progress", id, bytes: transfer.bytes });
    this.#say({ type: "done", id });
    for (const entry of transfer.files) this.#shelf.forget(entry);
    this.#receiving.delete(id);
    transfer.to("done");
  }

  /** @param {Receiving} receiving */
  #report(receiving) {
    const now = performance.now();
    if (now - receiving.reported < PROGRESS_EVERY) return;
    receiving.reported = now;
    this.#say({ type: "progress", id: receiving.transfer.id, bytes: receiving.transfer.moved });
  }
}

/** @param {File} file @param {number} from @param {number} to */
async function read(file, from, to) {
  try {
    const bytes = new Uint8Array(await file.slice(from, to).arrayBuffer());
    if (bytes.length === to - from) return bytes;
  } catch {
    // Told in our own words below.
  }
  throw new Error(`${file.name} cannot be read any more: was it moved or changed?`);
}

/** @param {unknown} path */
function isPath(path) {
  return (
    typeof path === "string" &&
    path.length > 0 &&
    path.length <= 4096 &&
    !/[\\\p{Cc}]/u.test(path) &&
    !/^[A-Za-z]:/.test(path) &&
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}

/** @param {unknown} text @param {string} otherwise */
function words(text, otherwise) {
  return typeof text === "string" && text ? text.slice(0, 300) : otherwise;
}
