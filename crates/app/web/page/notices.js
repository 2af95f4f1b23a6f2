// What stands above the pictures as long as it is true: that a screen is shared, that somebody records.

import { byId, make } from "./dom.js";

/** @typedef {{ label: string, act: () => void, main?: boolean }} Action */

export class Notices {
  /** @type {Map<unknown, HTMLElement>} */
  #shown = new Map();

  /** Shows one, in place of the one with the same key. @param {unknown} key @param {string} look @param {string} text @param {...Action} actions */
  show(key, look, text, ...actions) {
    this.hide(key);
    const buttons = actions.map(({ label, act, main }) => {
      const button = make("button", { type: "button", class: main ? "small primary" : "small" }, label);
      button.addEventListener("click", act);
      return button;
    });
    const element = make("div", { class: `notice ${look}`, role: "status" }, make("p", {}, text), ...buttons);
    this.#shown.set(key, element);
    byId("notices", HTMLElement).append(element);
  }

  /** @param {unknown} key */
  hide(key) {
    this.#shown.get(key)?.remove();
    this.#shown.delete(key);
  }
}
