// The lobby, in which one chooses a room and what to enter it with.

import { byId } from "./dom.js";
import { NOT_ALLOWED } from "./media.js";
import { fromAddress, look, newLink, read } from "./sterna.js";

/** @typedef {import("./sterna.js").Invitation} Invitation */

/**
 * What a room is entered for: to `meet`, or because a command line exchanges `files`, plays something to `watch`, or wants to `record`.
 * @typedef {"meet" | "files" | "watch" | "record"} Purpose
 */

/** @type {{ [purpose in Purpose]: { title: string, lead: string, button: string } }} */
const WORDS = {
  meet: {
    title: "Meet someone, directly",
    lead: "Talk, chat and send files from one machine to another. No account, nothing stored on the way.",
    button: "Join",
  },
  files: {
    title: "Files, straight to you",
    lead: "Somebody waits at this link to exchange files with you. They come from that machine to this one; no server keeps them.",
    button: "Connect",
  },
  watch: {
    title: "Something to watch",
    lead: "Somebody plays it at the other end of this link. It comes from that machine to this one; your camera and microphone stay off.",
    button: "Watch",
  },
  record: {
    title: "You are asked for a recording",
    lead: "What your camera and microphone take is written to a file on the machine at the other end of this link. You can stop it at any time.",
    button: "Join and be recorded",
  },
};

const DEVICES = /** @type {const} */ (["microphone", "camera"]);

export class Lobby {
  /** Somebody wants to go in. @type {(invitation: Invitation) => void} */
  onenter = () => {};
  /** @type {Purpose} */
  purpose = "meet";
  #devices;
  #room = byId("room-input", HTMLInputElement);
  #name = byId("name-input", HTMLInputElement);
  #open = false;

  /** @param {import("./media.js").Devices} devices */
  constructor(devices) {
    this.#devices = devices;
    for (const device of DEVICES) {
      this.#toggle(device).addEventListener("click", () => {
        const on = !this.wants(device);
        this.#toggle(device).setAttribute("aria-pressed", String(on));
        localStorage.setItem(device, on ? "on" : "off");
      });
    }
    byId("join-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("new-room", HTMLElement).addEventListener("click", () => this.onenter(newLink()));
  }

  /** What we call ourselves. */
  get name() {
    return this.#name.value.trim();
  }

  /** @param {"microphone" | "camera"} device */
  wants(device) {
    return this.#toggle(device).getAttribute("aria-pressed") === "true";
  }

  /** Shows it, with what the page's address says. */
  show() {
    this.#open = true;
    document.body.dataset.view = "lobby";
    byId("lobby", HTMLElement).hidden = false;
    byId("room", HTMLElement).hidden = true;
    byId("room-name", HTMLElement).hidden = true;
    byId("join", HTMLButtonElement).disabled = false;
    document.title = "Sterna";
    this.#name.value = localStorage.getItem("name") ?? "";
    const { allowed } = this.#devices;
    for (const device of DEVICES) {
      this.#toggle(device).setAttribute("aria-pressed", String(allowed && localStorage.getItem(device) !== "off"));
      this.#toggle(device).disabled = !allowed;
    }
    if (!allowed) byId("room-hint", HTMLElement).textContent = NOT_ALLOWED;
    this.#readAddress();
  }

  hide() {
    this.#open = false;
    localStorage.setItem("name", this.name);
    byId("lobby-error", HTMLElement).hidden = true;
    byId("join", HTMLButtonElement).disabled = true;
    byId("lobby", HTMLElement).hidden = true;
  }

  /** @param {string} text */
  complain(text) {
    const element = byId("lobby-error", HTMLElement);
    element.textContent = text;
    element.hidden = false;
  }

  /** @param {"microphone" | "camera"} device */
  #toggle(device) {
    return byId(`want-${device}`, HTMLButtonElement);
  }

  /** Takes the invitation out of the page's address, if there is one. */
  #readAddress() {
    const found = fromAddress(location);
    byId("lobby-error", HTMLElement).hidden = true;
    if (found && "error" in found) this.complain(found.error);
    const given = found && !("error" in found) ? found : null;
    const secret = given?.kind === "link";
    byId("room-field", HTMLElement).hidden = secret;
    byId("new-room", HTMLElement).hidden = secret;
    byId("invited", HTMLElement).hidden = !secret;
    if (given?.kind === "plain") this.#room.value = given.name;
    if (given?.kind === "code") this.#room.value = `${given.nameplate}-${given.words}`;
    const query = new URLSearchParams(location.search);
    this.#for(query.has("watch") ? "watch" : query.has("record") ? "record" : "meet");
    if (this.purpose !== "meet") return;
    if (secret) byId("lobby-title", HTMLElement).textContent = "You are invited";
    if (secret) void this.#lookInto(given);
  }

  /** @param {Purpose} purpose */
  #for(purpose) {
    this.purpose = purpose;
    const { title, lead, button } = WORDS[purpose];
    byId("lobby-title", HTMLElement).textContent = title;
    byId("lobby-lead", HTMLElement).textContent = lead;
    byId("join", HTMLElement).textContent = button;
    byId("devices", HTMLElement).hidden = purpose === "files" || purpose === "watch";
    byId("name-field", HTMLElement).hidden = purpose !== "meet";
  }

  /** A link of the command line takes two and one is there: it is about files, not a call. @param {Invitation} given */
  async #lookInto(given) {
    const { members, limit } = await look(given).catch(() => ({ members: 0, limit: 0 }));
    if (!this.#open || limit !== 2) return;
    this.#for("files");
    if (members < 2) return;
    byId("lobby-title", HTMLElement).textContent = "Somebody is already there";
    byId("lobby-lead", HTMLElement).textContent =
      "This link is for two, and two are using it. If one of them is you in another window, close that first.";
  }

  #submit() {
    const given = fromAddress(location);
    if (given && !("error" in given) && given.kind === "link") return this.onenter(given);
    if (!this.#room.value.trim()) return this.onenter(newLink());
    const typed = read(this.#room.value);
    if ("error" in typed) return this.complain(typed.error);
    this.onenter(typed);
  }
}
