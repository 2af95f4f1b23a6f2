// The panel of statistics: for everybody how we are connected, three small graphs of the last minute, and what goes each way.

import { byId, make } from "./dom.js";
import { MINUTE, bitrate, percent } from "./figures.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./figures.js").Sample} Sample */
/** @typedef {import("./figures.js").Stream} Stream */

const WIDTH = 120;
const HEIGHT = 36;
const SVG = "http://www.w3.org/2000/svg";

/** @type {{ [what: string]: string }} */
const NAMES = { camera: "Picture", microphone: "Voice", screen: "Screen", sound: "Screen's sound" };
/** @type {{ [limit: string]: string }} */
const LIMITS = { bandwidth: "held back by the network", cpu: "held back by this machine" };

/** A line, or two, over the last minute. */
class Graph {
  element = make("div", { class: "graph" });
  #now = make("strong");
  #svg = document.createElementNS(SVG, "svg");
  #lines;
  #name;
  #least;
  #say;

  /**
   * @param {string} name @param {number} lines @param {number} least what the scale reaches at least
   * @param {(value: number) => string} say
   */
  constructor(name, lines, least, say) {
    this.#name = name;
    this.#least = least;
    this.#say = say;
    this.#svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.setAttribute("preserveAspectRatio", "none");
    this.#svg.setAttribute("role", "img");
    this.#lines = Array.from({ length: lines }, (_, index) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", `line-${index}`);
      this.#svg.append(path);
      return path;
    });
    this.element.append(make("span", {}, name), this.#now, this.#svg);
  }

  /** @param {(number | null)[][]} series one per line, the newest last @param {string} now */
  draw(series, now) {
    const values = series.flat().filter((value) => value !== null);
    const most = Math.max(this.#least, ...values);
    series.forEach((line, index) => this.#lines[index].setAttribute("d", curve(line, most)));
    if (this.#now.textContent !== now) this.#now.textContent = now;
    const peak = values.length ? `, at most ${this.#say(Math.max(...values))}` : "";
    this.#svg.setAttribute("aria-label", `${this.#name} over the last minute: ${now}${peak}`);
  }
}

/** The newest value stands at the right edge; what is not known is a gap. @param {(number | null)[]} values @param {number} most */
function curve(values, most) {
  let pen = "M";
  return values
    .map((value, index) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const x = WIDTH - ((values.length - 1 - index) * WIDTH) / (MINUTE - 1);
      const y = HEIGHT - 2 - (value / most) * (HEIGHT - 4);
      const step = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return step;
    })
    .join("");
}

/** What there is to know of one connection. */
class Card {
  element = make("section", { class: "figures", "data-testid": "figures" });
  #title = make("h3");
  #path = make("p", { class: "route" });
  #because = make("p", { class: "hint" });
  #rate = new Graph("Bitrate", 2, 100_000, bitrate);
  #rtt = new Graph("Round trip", 1, 20, (value) => `${Math.round(value)} ms`);
  #loss = new Graph("Loss", 1, 0.02, percent);
  #streams = make("dl");

  constructor() {
    const graphs = make("div", { class: "graphs" }, this.#rate.element, this.#rtt.element, this.#loss.element);
    this.element.append(this.#title, this.#path, this.#because, graphs, this.#streams);
  }

  /** @param {string} name @param {Connection} connection */
  draw(name, connection) {
    this.#title.textContent = name;
    this.#route(connection);
    const { samples, now } = connection.figures;
    this.#rate.draw(
      [samples.map(({ down }) => down), samples.map(({ up }) => up)],
      now ? `↓ ${bitrate(now.down)}  ↑ ${bitrate(now.up)}` : "–",
    );
    this.#rtt.draw([samples.map(({ rtt }) => rtt)], now?.rtt == null ? "–" : `${now.rtt < 1 ? "<1" : Math.round(now.rtt)} ms`);
    this.#loss.draw([samples.map(({ loss }) => loss)], now?.loss == null ? "–" : percent(now.loss));
    this.#list(now);
  }

  /** @param {Connection} connection */
  #route({ path, silent, connected }) {
    const kind = !connected ? (silent ? "looking for another path" : "no path yet") : path?.relayed ? "relayed" : "direct";
    const how = path && connected ? ` · ${path.protocol.replace(/^[a-z]+/, (word) => word.toUpperCase()).replace(/([46])$/, " over IPv$1")} · ${path.local} to ${path.remote}` : "";
    this.#path.className = `route ${connected ? (path?.relayed ? "relayed" : "direct") : "none"}`;
    setText(this.#path, `${kind}${how}`);
    setText(this.#because, connected && path?.relayed ? `by ${path.relay}, because ${path.because}` : "");
    this.#because.hidden = !this.#because.textContent;
  }

  /** @param {Sample | null} now */
  #list(now) {
    const rows = [
      ...(now?.incoming ?? []).map((stream) => [`${NAMES[stream.what]} in`, describe(stream, now?.jitter ?? null)]),
      ...(now?.outgoing ?? []).map((stream) => [`${NAMES[stream.what]} out`, describe(stream, null)]),
    ];
    const shown = rows.length ? rows : [["Media", "nothing goes over it now"]];
    // The same rows get new words; nothing is built anew each second.
    while (this.#streams.childElementCount > 2 * shown.length) this.#streams.lastElementChild?.remove();
    while (this.#streams.childElementCount < 2 * shown.length) this.#streams.append(make("dt"), make("dd"));
    shown.flat().forEach((text, index) => setText(this.#streams.children[index], text));
  }
}

/** @param {Stream} stream @param {number | null} jitter of sound */
function describe({ what, width, height, fps, bitrate: bits, codec, loss, limit }, jitter) {
  const sound = what === "microphone" || what === "sound";
  return [
    width ? `${width}×${height}` : "",
    width ? `${fps} frames/s` : "",
    bitrate(bits),
    codec,
    loss ? `${percent(loss)} lost` : "",
    sound && jitter !== null ? `jitter ${Math.round(jitter)} ms` : "",
    LIMITS[limit] ?? "",
  ]
    .filter(Boolean)
    .join(" · ");
}

export class FiguresView {
  /** @type {Map<object, Card>} */
  #cards = new Map();
  #list = byId("figures", HTMLElement);

  /** @param {Iterable<{ name: string, connection: Connection }>} peers */
  draw(peers) {
    const all = [...peers];
    byId("figures-none", HTMLElement).hidden = all.length > 0;
    for (const [peer, card] of this.#cards) {
      if (all.some((other) => other === peer)) continue;
      card.element.remove();
      this.#cards.delete(peer);
    }
    for (const peer of all) {
      let card = this.#cards.get(peer);
      if (!card) {
        card = new Card();
        this.#cards.set(peer, card);
        this.#list.append(card.element);
      }
      card.draw(peer.name, peer.connection);
    }
  }
}

/** @param {Element} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

