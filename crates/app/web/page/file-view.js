// Files on the page: the list of transfers, and what people drop, pick and save.

import { byId, duration, make, size, toast } from "./dom.js";
import { ZIP_AT_MOST, zip } from "./zip.js";

/** @typedef {import("./transfer.js").Share} Share */
/** @typedef {import("./transfer.js").Transfer} Transfer */

/** How many names of a long list are shown. */
const NAMES = 200;

/** One row of the list: a transfer that comes in, or a share with all who get it. */
class Row {
  element = make("li", { class: "transfer" });
  #detail = make("span", { class: "detail" });
  #progress = make("progress", { max: "1", value: "0" });
  #actions = make("div", { class: "actions" });
  #inner = make("div", { class: "inner" });
  #saved = 0;
  #shown = "";

  /** @param {string} name @param {string} arrow what a screen reader calls the direction */
  constructor(name, arrow) {
    this.#progress.setAttribute("aria-label", `${arrow} ${name}`);
    this.element.append(
      make("div", { class: "head" }, make("span", { class: "name", title: name }, name), this.#actions),
      this.#progress,
      this.#detail,
      this.#inner,
    );
  }

  /** @param {string} detail @param {number | null} fraction @param {string} look */
  show(detail, fraction, look) {
    if (this.#detail.textContent !== detail) this.#detail.textContent = detail;
    this.#progress.hidden = fraction === null;
    if (fraction !== null) this.#progress.value = fraction;
    this.element.className = `transfer ${look}`;
  }

  /** @param {string} key what the buttons depend on @param {() => HTMLElement[]} makeThem */
  actions(key, makeThem) {
    if (key === this.#shown) return;
    this.#shown = key;
    this.#actions.replaceChildren(...makeThem());
  }

  /** Lists what can be saved by itself. @param {Transfer} transfer */
  savable(transfer) {
    for (; this.#saved < Math.min(transfer.received.length, NAMES); this.#saved++) {
      const { path, blob } = transfer.received[this.#saved];
      this.#inner.append(saveLink(path, blob, path));
    }
  }
}

export class FileView {
  /** Somebody wants to share something. @type {(share: Share) => void} */
  onshare = () => {};
  #list = byId("file-list", HTMLUListElement);

  constructor() {
    const input = byId("file-input", HTMLInputElement);
    input.addEventListener("change", () => {
      this.#share([...(input.files ?? [])].map((file) => ({ path: file.name, file })));
      input.value = "";
    });
    this.#watchDrops();
  }

  /** Something comes in. @param {Transfer} transfer @param {() => void} accept @param {() => void} refuse @param {() => void} cancel */
  incoming(transfer, accept, refuse, cancel) {
    const row = new Row(transfer.name, "Receiving");
    this.#list.append(row.element);
    const draw = () => {
      const [detail, fraction, look] = describe(transfer);
      row.show(detail, fraction, look);
      row.actions(transfer.stage, () => {
        if (transfer.stage === "offered") return [button("Receive", accept, "main"), button("Refuse", refuse)];
        if (transfer.stage === "active") return [button("Cancel", cancel)];
        if (transfer.stage === "done") return [save(transfer)];
        return [];
      });
      if (transfer.files.length > 1) row.savable(transfer);
    };
    transfer.onchange = throttle(draw);
    draw();
  }

  /** Something of ours, before anybody is there. @param {Share} share */
  outgoing(share) {
    const bytes = share.files.reduce((sum, { file }) => sum + file.size, 0);
    const row = new Row(share.name, "Sending");
    row.show(`${size(bytes)} · waits for somebody to come`, 0, "");
    this.#list.append(row.element);
    /** @type {Transfer[]} */
    const transfers = [];
    const draw = throttle(() => {
      // The one that matters: under way, else the latest.
      const now = transfers.find(({ stage }) => stage === "active") ?? transfers[transfers.length - 1];
      const [detail, fraction, look] = describe(now);
      const done = transfers.filter(({ stage }) => stage === "done").length;
      row.show(done > 1 ? `${detail} to ${done}` : detail, fraction, look);
    });
    return {
      /** @param {Transfer} transfer @param {() => void} cancel */
      add(transfer, cancel) {
        transfers.push(transfer);
        transfer.onchange = () => {
          draw();
          row.actions(transfers.some(({ over }) => !over) ? "cancel" : "", () =>
            transfers.some(({ over }) => !over) ? [button("Cancel", cancel)] : [],
          );
        };
        transfer.onchange();
      },
    };
  }

  /** @param {{ path: string, file: File }[]} files */
  #share(files) {
    if (!files.length) return;
    const tops = new Set(files.map(({ path }) => path.split("/")[0]));
    const name = tops.size === 1 ? [...tops][0] : `${files.length} files`;
    this.onshare({ name, files: distinct(files) });
  }

  #watchDrops() {
    let depth = 0;
    /** @param {number} change */
    const drag = (change) => {
      depth = Math.max(0, depth + change);
      document.body.toggleAttribute("data-dragging", depth > 0 && !byId("room", HTMLElement).hidden);
    };
    const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    addEventListener("dragenter", (event) => hasFiles(event) && drag(1));
    addEventListener("dragleave", (event) => hasFiles(event) && drag(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", async (event) => {
      event.preventDefault();
      drag(-depth);
      if (!event.dataTransfer || byId("room", HTMLElement).hidden) return;
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
      const plain = [...event.dataTransfer.files];
      const files = entries.some(Boolean)
        ? (await Promise.all(entries.map((entry) => (entry ? walk(entry, "") : [])))).flat()
        : plain.map((file) => ({ path: file.name, file }));
      if (files.length) this.#share(files);
      else toast("Nothing to send in there: the folder is empty.");
    });
  }
}

/** @param {Transfer} transfer @returns {[detail: string, fraction: number | null, look: string]} */
function describe(transfer) {
  const { stage, bytes, moved, direction, reason } = transfer;
  const files = transfer.files.length > 1 ? `${transfer.files.length} files · ` : "";
  const what = `${files}${size(bytes)}`;
  switch (stage) {
    case "offered":
      return [direction === "in" ? what : `${what} · offered, waiting for an answer`, direction === "in" ? null : 0, ""];
    case "active":
      return [`${size(moved)} of ${what}${pace(transfer)}`, bytes ? moved / bytes : 1, ""];
    case "checking":
      return [`${what} · checking`, 1, ""];
    case "done":
      return [`${what} · ${direction === "in" ? "received" : "delivered"} and verified`, null, "done"];
    case "refused":
      return [`not sent: ${reason}`, null, "bad"];
    case "cancelled":
      return [`stopped: ${reason}`, null, "bad"];
    case "broken":
      return [`stopped at ${size(moved)} of ${what}: ${reason}; it goes on when both are here again`, bytes ? moved / bytes : 1, "bad"];
  }
}

/** @param {Transfer} transfer */
function pace({ start, moved, bytes }) {
  const seconds = start ? (performance.now() - start.at) / 1000 : 0;
  if (!start || seconds < 0.5 || moved <= start.moved) return "";
  const rate = (moved - start.moved) / seconds;
  return ` · ${size(rate)}/s · ${duration((bytes - moved) / rate)} left`;
}

/** @param {Transfer} transfer */
function save({ received, name, bytes }) {
  if (received.length === 1) {
    const link = saveLink(received[0].path, received[0].blob, "Save");
    link.className = "save main";
    link.setAttribute("aria-label", `Save ${name}`);
    return link;
  }
  const all = button("Save all", async () => {
    if (bytes > ZIP_AT_MOST) return toast("Together they are too large for one archive: save them one by one.");
    all.disabled = true;
    const link = saveLink(`${name}.zip`, await zip(received), name);
    link.click();
    all.disabled = false;
  }, "main");
  return all;
}

/** @param {string} path @param {Blob} blob @param {string} label */
function saveLink(path, blob, label) {
  const name = path.split("/").pop() ?? path;
  return make("a", { class: "save-one", href: URL.createObjectURL(blob), download: name }, label);
}

/** @param {string} label @param {() => void} act @param {string} [look] */
function button(label, act, look) {
  const element = make("button", { type: "button", class: look }, label);
  element.addEventListener("click", act);
  return element;
}

/** At most once a frame. @param {() => void} draw */
function throttle(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    // A hidden tab has no frames, but its transfers go on.
    setTimeout(() => {
      waiting = false;
      draw();
    }, 50);
  };
}

/** Two files of one name get different ones. @param {{ path: string, file: File }[]} files */
function distinct(files) {
  /** @type {Set<string>} */
  const taken = new Set();
  return files.map(({ path, file }) => {
    const [, stem, ending] = /^(.*?)(\.[^./]*)?$/s.exec(path.normalize("NFC")) ?? ["", path, ""];
    let name = `${stem}${ending ?? ""}`;
    for (let n = 2; taken.has(name); n++) name = `${stem} (${n})${ending ?? ""}`;
    taken.add(name);
    return { path: name, file };
  });
}

/**
 * All files in a dropped folder.
 * @param {FileSystemEntry} entry @param {string} under
 * @returns {Promise<{ path: string, file: File }[]>}
 */
async function walk(entry, under) {
  const path = `${under}${entry.name}`;
  if (entry.isFile) {
    const file = await new Promise((/** @type {(file: File | null) => void} */ resolve) => {
      /** @type {FileSystemFileEntry} */ (entry).file(resolve, () => resolve(null));
    });
    return file ? [{ path, file }] : [];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    // A folder is read a hundred entries at a time.
    const some = await new Promise((/** @type {(entries: FileSystemEntry[]) => void} */ resolve) => {
      reader.readEntries(resolve, () => resolve([]));
    });
    if (!some.length) break;
    for (const inner of some) found.push(...(await walk(inner, `${path}/`)));
  }
  return found;
}
