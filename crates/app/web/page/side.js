// What stands beside the call (chat and files, statistics, or nothing), and the bar of buttons that opens it.

import { byId } from "./dom.js";

/** @typedef {"talk" | "figures" | "none"} Shows */

/** @type {{ [shows in "talk" | "figures"]: string }} the buttons */
const OPENERS = { talk: "talk", figures: "figures-open" };
const NARROW = matchMedia("(max-width: 860px)");

export class Side {
  /** It shows something else. @type {() => void} */
  onturn = () => {};
  /** @type {Shows} */
  shows = "none";

  constructor() {
    for (const shows of /** @type {const} */ (["talk", "figures"])) {
      byId(OPENERS[shows], HTMLElement).addEventListener("click", () => this.turn(this.shows === shows ? "none" : shows));
    }
    byId("side-close", HTMLElement).addEventListener("click", () => this.#close());
    addEventListener("keydown", ({ key }) => {
      if (key === "Escape" && this.narrow && !document.querySelector("dialog[open]")) this.#close();
    });
    byId("controls", HTMLElement).addEventListener("keydown", walk);
  }

  /** Whether there is no room for it beside the call: it lies over it then. */
  get narrow() {
    return NARROW.matches;
  }

  /** @param {Shows} shows */
  turn(shows) {
    this.shows = shows;
    document.body.dataset.side = shows;
    for (const [what, id] of Object.entries(OPENERS)) byId(id, HTMLElement).setAttribute("aria-expanded", String(what === shows));
    if (shows === "talk") byId("talk", HTMLElement).classList.remove("unread");
    this.onturn();
  }

  /** Something is in chat or files that nobody has seen. */
  unread() {
    if (this.shows !== "talk") byId("talk", HTMLElement).classList.add("unread");
  }

  #close() {
    if (this.shows === "none") return;
    const opener = OPENERS[this.shows];
    this.turn("none");
    byId(opener, HTMLElement).focus();
  }
}

/** In a toolbar arrows lead from button to button. @param {KeyboardEvent} event */
function walk(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const bar = /** @type {HTMLElement} */ (event.currentTarget);
  const buttons = [...bar.querySelectorAll("button")].filter((button) => button.offsetParent);
  const at = buttons.findIndex((button) => button === document.activeElement);
  if (step && at >= 0) buttons[(at + step + buttons.length) % buttons.length].focus();
}
