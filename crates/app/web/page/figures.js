// What a call is like in numbers: read from getStats once a second, kept for a minute. Pure, so that it can be tried without a call.

/**
 * One stream, in or out, during the last second.
 * @typedef {object} Stream
 * @property {string} what `camera`, `microphone`, `screen`, `sound`
 * @property {number} bitrate bits per second
 * @property {number} loss 0 to 1; outgoing: as the other side told
 * @property {string} codec as `VP8`
 * @property {number} width of the picture, 0 if there is none
 * @property {number} height
 * @property {number} fps
 * @property {string} limit outgoing: what keeps it from being better, `bandwidth` or `cpu`, if anything
 */

/**
 * @typedef {object} Sample
 * @property {number} down bits per second, all that comes in over the path
 * @property {number} up all that goes out
 * @property {number | null} loss of what comes in, 0 to 1; null if nothing comes
 * @property {number | null} rtt milliseconds
 * @property {number | null} jitter milliseconds, of the sound that comes in
 * @property {Stream[]} incoming
 * @property {Stream[]} outgoing
 */

/** How many samples are kept, one a second. */
export const MINUTE = 60;

export class Figures {
  /** The oldest first. @type {Sample[]} */
  samples = [];
  /** @type {{ at: number, counts: Map<string, any> } | null} */
  #last = null;

  get now() {
    return this.samples.at(-1) ?? null;
  }

  /**
   * @param {Iterable<any>} stats what getStats told @param {Map<string, string>} mids what each section carries
   * @param {number} at milliseconds
   */
  add(stats, mids, at) {
    const all = new Map([...stats].map((stat) => [stat.id, stat]));
    const last = this.#last;
    this.#last = { at, counts: all };
    const seconds = last ? (at - last.at) / 1000 : 0;
    // The first look has nothing to compare with; two at once tell nothing.
    if (!last || seconds < 0.2) return;
    const grown = (/** @type {any} */ stat, /** @type {string} */ key) => {
      const before = last.counts.get(stat.id)?.[key];
      return before === undefined || stat[key] === undefined ? 0 : Math.max(0, stat[key] - before);
    };
    const look = { all, mids, seconds, grown };
    const inbound = [...all.values()].filter(({ type }) => type === "inbound-rtp");
    const outbound = [...all.values()].filter(({ type }) => type === "outbound-rtp");
    const pair = pairOf(all);
    const received = sum(inbound.map((stat) => grown(stat, "packetsReceived")));
    const jitter = inbound.find((stat) => stat.kind === "audio" && grown(stat, "packetsReceived"))?.jitter;
    this.samples.push({
      down: pair ? (8 * grown(pair, "bytesReceived")) / seconds : 0,
      up: pair ? (8 * grown(pair, "bytesSent")) / seconds : 0,
      loss: received ? share(sum(inbound.map((stat) => grown(stat, "packetsLost"))), received) : null,
      rtt: pair?.currentRoundTripTime === undefined ? null : 1000 * pair.currentRoundTripTime,
      jitter: jitter === undefined ? null : 1000 * jitter,
      incoming: inbound.flatMap((stat) => incoming(stat, look)),
      outgoing: outbound.flatMap((stat) => outgoing(stat, look)),
    });
    this.samples.splice(0, this.samples.length - MINUTE);
  }
}

/** @typedef {{ all: Map<string, any>, mids: Map<string, string>, seconds: number, grown: (stat: any, key: string) => number }} Look */

/** @param {any} stat @param {Look} look @returns {Stream[]} */
function incoming(stat, { all, mids, seconds, grown }) {
  const bytes = grown(stat, "bytesReceived");
  if (!bytes) return [];
  return [{
    what: name(stat, mids),
    bitrate: (8 * bytes) / seconds,
    loss: share(grown(stat, "packetsLost"), grown(stat, "packetsReceived")),
    codec: codec(stat, all),
    ...picture(stat, "framesDecoded", seconds, grown),
    limit: "",
  }];
}

/** @param {any} stat @param {Look} look @returns {Stream[]} */
function outgoing(stat, { all, mids, seconds, grown }) {
  const bytes = grown(stat, "bytesSent");
  if (!bytes) return [];
  const told = all.get(stat.remoteId) ?? [...all.values()].find((other) => other.type === "remote-inbound-rtp" && other.localId === stat.id);
  const limit = stat.qualityLimitationReason;
  return [{
    what: name(stat, mids),
    bitrate: (8 * bytes) / seconds,
    loss: told?.fractionLost ?? 0,
    codec: codec(stat, all),
    ...picture(stat, "framesEncoded", seconds, grown),
    limit: limit === "bandwidth" || limit === "cpu" ? limit : "",
  }];
}

/** @param {any} stat @param {string} frames @param {number} seconds @param {Look["grown"]} grown */
function picture(stat, frames, seconds, grown) {
  const { frameWidth: width = 0, frameHeight: height = 0 } = stat;
  return { width, height, fps: width ? Math.round(grown(stat, frames) / seconds) : 0 };
}

/** @param {any} stat @param {Map<string, string>} mids */
function name(stat, mids) {
  return mids.get(stat.mid) ?? (stat.kind === "audio" ? "microphone" : "camera");
}

/** @param {any} stat @param {Map<string, any>} all */
function codec(stat, all) {
  return all.get(stat.codecId)?.mimeType?.split("/")[1] ?? "";
}

/** @param {Map<string, any>} all */
function pairOf(all) {
  const stats = [...all.values()];
  const transport = stats.find((stat) => stat.type === "transport" && stat.selectedCandidatePairId);
  return transport
    ? all.get(transport.selectedCandidatePairId)
    : stats.find((stat) => stat.type === "candidate-pair" && stat.selected && stat.state === "succeeded");
}

/** @param {number} lost @param {number} received */
function share(lost, received) {
  return lost + received > 0 ? lost / (lost + received) : 0;
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

/** For people. @param {number} bits per second */
export function bitrate(bits) {
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bits / 1e3)} kbit/s`;
}

/** For people. @param {number} part 0 to 1 */
export function percent(part) {
  if (part > 0 && part < 0.001) return "<0.1 %";
  return `${(100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
}
