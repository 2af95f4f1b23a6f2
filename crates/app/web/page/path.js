// How two ends are connected, in one line, and why not better: read from getStats.

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

/** @param {RTCStatsReport} report @param {{ relayOnly: boolean }} options @returns {Path | null} */
export function readPath(report, { relayOnly }) {
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
    because: relayed ? reason(all, report, relayOnly) : "",
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

/** @param {any[]} all @param {RTCStatsReport} report @param {boolean} relayOnly */
function reason(all, report, relayOnly) {
  if (relayOnly) return "this page was asked to use the relay only";
  const types = (/** @type {string} */ type) =>
    new Set(all.filter((stat) => stat.type === type).map((stat) => stat.candidateType));
  const remote = types("remote-candidate");
  if (remote.size === 1 && remote.has("relay")) return "the other side offers its relay only";
  const direct = all.filter(
    (stat) =>
      stat.type === "candidate-pair" &&
      report.get(stat.localCandidateId)?.candidateType !== "relay" &&
      report.get(stat.remoteCandidateId)?.candidateType !== "relay",
  );
  const sent = direct.reduce((sum, pair) => sum + (pair.requestsSent ?? 0), 0);
  const answered = direct.reduce((sum, pair) => sum + (pair.responsesReceived ?? 0), 0);
  if (!direct.length) return "no direct path is possible between these two networks";
  if (answered) return "the direct path did not last";
  return `no direct path answers (${sent} checks sent, none answered)`;
}
