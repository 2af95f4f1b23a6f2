// What people write to each other, and what happens in the room.

import { byId, make } from "./dom.js";

export class Chat {
  /** A line is to be sent; says whether it went anywhere. @type {(text: string) => boolean} */
  onsay = () => false;
  /** Something was said while nobody looked. @type {() => void} */
  onunread = () => {};
  /** Whether names are needed. */
  several = false;
  #log = byId("chat-log", HTMLElement);

  constructor() {
    byId("chat-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const input = byId("chat-input", HTMLInputElement);
      const text = input.value.trim();
      if (!text || !this.onsay(text)) return;
      this.#add("own", text);
      input.value = "";
    });
  }

  /** @param {string} text @param {string} who */
  hear(text, who) {
    this.#add("other", text, who);
    this.onunread();
  }

  /** Somebody came or went. @param {string} text */
  note(text) {
    this.#add("event", text);
  }

  clear() {
    this.#log.replaceChildren();
  }

  /** @param {"own" | "other" | "event"} kind @param {string} text @param {string} [who] */
  #add(kind, text, who) {
    const line = make("li", { class: kind });
    if (who && this.several) line.append(make("span", { class: "who" }, who));
    else if (kind !== "event") line.setAttribute("aria-label", `${kind === "own" ? "You" : who}: ${text}`);
    line.append(text);
    this.#log.append(line);
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}
