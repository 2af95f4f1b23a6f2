// How two ends are connected, in one line, and why not better: read from getStats.

import { examine } from "./verdict.js";

/**
 * @typedef {object} Path
 * @property {boolean} relayed
 * @property {string} local candidate type
 * @property {string} remote candidate type
 * @property {string} protocol as `udp4`
 * @property {number | null} rtt milliseconds
 * @property {string} relay the relay's address, if relayed
 * @property {string} because why it is relayed, if it is
 */

/** @typedef {import("./verdict.js").Seen} Seen */

/** @param {RTCStatsReport} report @param {Seen} seen @returns {Path | null} */
export function readPath(report, seen) {
  /** @type {any[]} */
  const all = [...report.values()];
  const transport = all.find((stat) => stat.type === "transport" && stat.selectedCandidatePairId);
  // Firefox has no transport stats, but marks the pair.
  const pair = transport
    ? report.get(transport.selectedCandidatePairId)
    : all.find((stat) => stat.type === "candidate-pair" && stat.selected && stat.state === "succeeded");
  const local = pair && report.get(pair.localCandidateId);
  const remote = pair && report.get(pair.remoteCandidateId);
  if (!local || !remote) return null;
  const relayed = local.candidateType === "relay" || remote.candidateType === "relay";
  const transportName = local.candidateType === "relay" ? (local.relayProtocol ?? "udp") : local.protocol;
  return {
    relayed,
    local: local.candidateType,
    remote: remote.candidateType,
    protocol: `${transportName}${family(local, remote)}`,
    rtt: pair.currentRoundTripTime === undefined ? null : Math.round(pair.currentRoundTripTime * 1000),
    relay: relayed ? relayName(local, remote) : "",
    because: relayed ? reason(all, seen) : "",
  };
}

/** One line for people. @param {Path} path */
export function describePath(path) {
  const rtt = path.rtt === null ? "" : ` · ${path.rtt < 1 ? "<1" : path.rtt} ms`;
  const types = `${path.protocol} · ${path.local}–${path.remote}`;
  if (!path.relayed) return `direct · ${types}${rtt}`;
  return `relayed via ${path.relay} because ${path.because} · ${types}${rtt}`;
}

/** @param {any} local @param {any} remote */
function family(local, remote) {
  for (const candidate of [local, remote]) {
    const address = candidate.address ?? candidate.ip ?? "";
    if (address.includes(":")) return "6";
    if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return "4";
  }
  return "";
}

/** @param {any} local @param {any} remote */
function relayName(local, remote) {
  if (local.candidateType !== "relay") return `${remote.address ?? "its relay"} (the other side's relay)`;
  const url = /^turns?:([^?]*)/.exec(local.url ?? "");
  return url?.[1] ?? local.address ?? "the relay";
}

/** In the words of the verdict that weighs most. @param {any[]} all @param {Seen} seen */
function reason(all, seen) {
  if (seen.relayOnly) return "this page was asked to use the relay only";
  const remote = new Set(all.filter((stat) => stat.type === "remote-candidate").map((stat) => stat.candidateType));
  if (remote.size === 1 && remote.has("relay")) return "the other side gave only relayed candidates";
  const [verdict] = examine(all, { ...seen, connected: true });
  return (verdict?.code === "inconclusive" ? verdict.evidence[0] : verdict?.message) ?? "";
}
