// Why there is no connection, or no direct one, as far as a browser can know: read from getStats and from the errors of
// gathering. The words are those of the library (crates/proto/doctor), and so are the rules: nothing is guessed.

/**
 * @typedef {object} Verdict
 * @property {string} code never changes
 * @property {string} message half a sentence, such that it may follow "because"
 * @property {string[]} evidence what shows it, in numbers
 * @property {string} advice what to change
 */

/**
 * @typedef {object} Seen what is known besides the statistics
 * @property {{ url: string, code: number, text: string }[]} errors of gathering
 * @property {RTCIceServer[]} servers
 * @property {boolean} relayOnly
 * @property {boolean} connected whether there is a path, or was one
 * @property {boolean} ended whether the other side said that it has no more candidates
 * @property {boolean} [early] whether more may still come: what is not there yet proves nothing
 */

/** By weight: what has to be mended first comes first. @type {[string, string][]} */
export const WORDS = [
  ["no-network", "this machine has no network address to connect from"],
  ["signalling-lost-candidates", "signalling lost candidates of the other side"],
  ["family-mismatch", "one side has only IPv4 and the other only IPv6"],
  ["udp-blocked", "no UDP gets through in this network"],
  ["turn-credentials-expired", "the TURN credentials have expired"],
  ["turn-credentials-wrong", "the TURN server refuses the username or the password"],
  ["turn-unreachable-udp", "no TURN server answers over UDP"],
  ["turn-unreachable-tcp", "no TURN server answers over TCP"],
  ["turn-unreachable-tls", "no TURN server answers over TLS"],
  ["dtls-stalled", "there is a path, but the DTLS handshake gets stuck on it"],
  ["no-hairpin", "both sides are behind one NAT, which does not let them reach each other through it"],
  ["mapping-depends-on-destination", "a NAT gives another address for each destination"],
  ["stun-unreachable", "no STUN server answers"],
  ["no-relay", "there is no direct path, and no TURN server is configured"],
  ["inconclusive", "what is known here does not tell the cause"],
];

/** STUN's "no answer" (W3C: errorCode 701). */
const NO_ANSWER = 701;

/**
 * @param {any[]} all what getStats told
 * @param {Seen} seen
 * @returns {Verdict[]} never empty for a connection that failed
 */
export function examine(all, seen) {
  const stats = new Stats(all);
  /** @type {Map<string, Verdict>} */
  const found = new Map();
  /** @param {string} code @param {string} advice @param {...string} evidence */
  const say = (code, advice, ...evidence) => {
    const message = WORDS.find(([word]) => word === code)?.[1] ?? "";
    found.set(code, { code, message, evidence, advice });
  };
  if (stats.dtlsStuck) stalled(stats, say);
  else {
    if (!seen.connected) meeting(stats, seen, say);
    servers(stats, seen, say);
    direct(stats, seen, say);
  }
  const verdicts = WORDS.flatMap(([code]) => found.get(code) ?? []);
  if (!verdicts.length) {
    say("inconclusive", "run `sterna doctor` on both machines: it asks more than a browser can", stats.tried());
    verdicts.push(...found.values());
  }
  return verdicts;
}

/** For people: one verdict after another. @param {Verdict[]} verdicts */
export function describeVerdicts(verdicts) {
  return verdicts
    .map(({ code, message, evidence, advice }) =>
      [`${code}: ${message}`, ...evidence.map((shown) => `· ${shown}`), `→ ${advice}`].join("\n"),
    )
    .join("\n");
}

/** @typedef {(code: string, advice: string, ...evidence: string[]) => void} Say */

/** What the two sides know of each other. @param {Stats} stats @param {Seen} seen @param {Say} say */
function meeting(stats, seen, say) {
  if (!stats.local.length && !seen.relayOnly) {
    say("no-network", "connect this machine to a network", "0 candidates");
  }
  if (!stats.signalled.length && !seen.ended && !seen.early) {
    say(
      "signalling-lost-candidates",
      "look at what carries the candidates: each has to be given to the other side's addIceCandidate",
      "the other side's description arrived, and after it 0 candidates and no end of candidates",
    );
  }
  const ours = families(stats.local);
  const theirs = families(stats.signalled);
  if (!seen.early && ours && theirs && ours !== theirs && ours !== "both" && theirs !== "both") {
    say(
      "family-mismatch",
      "use a TURN server that has both IPv4 and IPv6, and that both sides know",
      `this side has only ${ours} candidates, the other only ${theirs}`,
    );
  }
}

/** Whether servers can be reached. @param {Stats} stats @param {Seen} seen @param {Say} say */
function servers(stats, seen, say) {
  const configured = seen.servers.flatMap(({ urls, username }) =>
    [urls].flat().map((url) => ({ url, username: username ?? "", ...parse(url) })),
  );
  const gave = (/** @type {string} */ url) => stats.local.some((candidate) => same(candidate.url, url));
  const silent = configured.filter(
    ({ url }) => !gave(url) && seen.errors.some((error) => same(error.url, url) && error.code === NO_ANSWER),
  );
  const udp = silent.filter(({ transport }) => transport === "udp");
  const worksOverUdp =
    configured.some(({ url, transport }) => transport === "udp" && gave(url)) ||
    seen.errors.some((error) => error.code !== NO_ANSWER && parse(error.url).transport === "udp") ||
    stats.direct.some((pair) => pair.responsesReceived || pair.requestsReceived);
  const elsewhere = configured.find(
    ({ url, transport, host }) => transport !== "udp" && gave(url) && udp.some((server) => server.host === host),
  );
  const machines = new Set(udp.map(({ host }) => host));
  const blocked = udp.length > 0 && !worksOverUdp && (machines.size > 1 || elsewhere !== undefined);
  if (blocked) {
    say(
      "udp-blocked",
      "allow outgoing UDP in the firewall of this network; until then TURN over TCP or TLS is the only way",
      `${machines.size} servers asked over UDP, 0 answered: ${[...machines].join(", ")}`,
      ...(elsewhere ? [`${elsewhere.host} answers over ${elsewhere.transport}`] : []),
    );
  }
  if (stats.local.some(({ candidateType }) => candidateType === "relay")) return;
  if (seen.connected) return;
  const refused = seen.errors.find(({ code }) => code === 401 || code === 441);
  if (refused) login(refused, configured.find(({ url }) => same(url, refused.url))?.username ?? "", say);
  for (const transport of ["udp", "tcp", "tls"]) {
    const dead = silent.filter((server) => server.turn && server.transport === transport);
    if (!dead.length || (transport === "udp" && blocked)) continue;
    say(
      `turn-unreachable-${transport}`,
      "check the TURN server's address and port, that it runs, and that the firewalls let it pass; turns: on port 443 passes most",
      ...dead.map(({ url }) => `${url}: no answer`),
    );
  }
  const stun = configured.filter(({ turn }) => !turn);
  if (stun.length && !worksOverUdp && !blocked && stun.every((server) => silent.includes(server))) {
    say(
      "stun-unreachable",
      "check the STUN server's address and port, that it runs, and that the firewall lets UDP to it pass; or use another one",
      ...stun.map(({ url }) => `${url}: no answer`),
    );
  }
  const theirs = stats.signalled.some(({ candidateType }) => candidateType === "relay");
  if (!seen.early && !configured.some(({ turn }) => turn) && !theirs && stats.sent(stats.direct)) {
    say(
      "no-relay",
      "add a TURN server to the iceServers of at least one side (`sterna serve` is one)",
      stats.tried(),
      "0 TURN servers on this side, 0 relayed candidates from the other",
    );
  }
}

/** @param {{ url: string, code: number, text: string }} refused @param {string} username @param {Say} say */
function login({ url, code, text }, username, say) {
  const words = `${url} answered ${code} to our credentials: ${text}`;
  const expires = Number(/^(\d{10,})(:|$)/.exec(username)?.[1] ?? 0);
  const late = Math.round(Date.now() / 1000 - expires);
  if (!expires) {
    say("turn-credentials-wrong", `correct username and credential of ${url}: both are case-sensitive`, words);
  } else if (late >= 0) {
    say(
      "turn-credentials-expired",
      "get fresh credentials: load this page again; if that does not help, compare this machine's clock with the server's",
      `by our clock they were good until ${late} s ago; the server's clock is not known`,
      words,
    );
  } else {
    say(
      "inconclusive",
      "compare the clock of the TURN server with this machine's; if they agree, the back end that makes the credentials does not use the secret of this server",
      `by our clock the credentials are good for another ${-late} s`,
      words,
    );
  }
}

/** Why the two sides do not reach each other without help. @param {Stats} stats @param {Seen} seen @param {Say} say */
function direct(stats, seen, say) {
  if (seen.relayOnly || !stats.sent(stats.direct) || stats.answered(stats.direct)) return;
  const ours = stats.local.filter(({ candidateType }) => candidateType === "srflx");
  const shared = stats.signalled.find(
    (remote) => remote.candidateType === "srflx" && ours.some((local) => remote.address && local.address === remote.address),
  );
  if (shared) {
    say(
      "no-hairpin",
      "let the two machines reach each other inside their network: no .local names that nobody resolves, no client isolation in the Wi-Fi; or switch on hairpinning (NAT loopback) in the router",
      `both sides are seen at ${shared.address}`,
      stats.tried(),
    );
  }
  /** @type {string[]} */
  const shown = [];
  for (const one of ours) {
    const other = ours.find(
      (it) => it.relatedPort && it.relatedAddress === one.relatedAddress && it.relatedPort === one.relatedPort && it.port !== one.port,
    );
    // A browser that hides its own addresses tells 0.0.0.0 for all of them.
    if (other && one.relatedAddress && !/^(0\.0\.0\.0|::)$/.test(one.relatedAddress)) {
      shown.push(`${one.url} saw us at port ${one.port}, ${other.url} at port ${other.port}`);
      break;
    }
  }
  for (const seenAt of stats.remote.filter(({ candidateType }) => candidateType === "prflx")) {
    const told = stats.signalled.find(
      (it) => it.candidateType === "srflx" && it.address && it.address === seenAt.address && it.port !== seenAt.port,
    );
    if (told) {
      shown.push(`the other side told us port ${told.port} of ${told.address}, but its checks came from port ${seenAt.port}`);
      break;
    }
  }
  if (shown.length) {
    say(
      "mapping-depends-on-destination",
      "switch on UPnP or NAT-PMP in the router, forward a UDP port to the machine, or use a network without such a NAT (IPv6, no mobile network or office firewall); a TURN server relays meanwhile",
      ...shown,
      stats.tried(),
    );
  }
}

/** @param {Stats} stats @param {Say} say */
function stalled(stats, say) {
  const { packetsSent = 0, packetsReceived = 0 } = stats.transport ?? {};
  say(
    "dtls-stalled",
    "look for a firewall that inspects packets and drops DTLS, and at the other side's log; a TURN server over TLS on port 443 gets round such a firewall",
    `${packetsSent} packets sent on the path, ${packetsReceived} received`,
    "the path itself works: ICE's checks are answered on it",
  );
}

/** Statistics, sorted. */
class Stats {
  /** @param {any[]} all */
  constructor(all) {
    const of = (/** @type {string} */ type) => all.filter((stat) => stat.type === type);
    this.local = of("local-candidate");
    this.remote = of("remote-candidate");
    this.signalled = this.remote.filter(({ candidateType }) => candidateType !== "prflx");
    this.transport = of("transport")[0];
    const kind = (/** @type {string} */ id) => all.find((stat) => stat.id === id)?.candidateType;
    this.direct = of("candidate-pair").filter(
      (pair) => kind(pair.localCandidateId) !== "relay" && kind(pair.remoteCandidateId) !== "relay",
    );
    const path = of("candidate-pair").some((pair) => pair.state === "succeeded");
    this.dtlsStuck = path && ["connecting", "failed"].includes(this.transport?.dtlsState);
  }

  /** @param {any[]} pairs */
  sent(pairs) {
    return pairs.reduce((sum, pair) => sum + (pair.requestsSent ?? 0), 0);
  }

  /** @param {any[]} pairs */
  answered(pairs) {
    return pairs.reduce((sum, pair) => sum + (pair.responsesReceived ?? 0), 0);
  }

  /** In one line, what was tried directly. */
  tried() {
    if (!this.direct.length) return "the two sides have no candidates that could be tried directly";
    const [sent, answered] = [this.sent(this.direct), this.answered(this.direct)];
    const came = this.direct.reduce((sum, pair) => sum + (pair.requestsReceived ?? 0), 0);
    return `${this.direct.length} direct pairs were tried with ${sent} checks: ${answered} were answered, ${came} came from the other side`;
  }
}

/** Which families candidates have, as far as their addresses show. @param {any[]} candidates */
function families(candidates) {
  const addresses = candidates.map(({ address, ip }) => address ?? ip ?? "");
  if (!addresses.length || addresses.some((address) => !/^[\d.]+$/.test(address) && !address.includes(":"))) return "";
  const v6 = addresses.filter((address) => address.includes(":")).length;
  return v6 === 0 ? "IPv4" : v6 === addresses.length ? "IPv6" : "both";
}

/** @param {string} url */
function parse(url) {
  const [, scheme = "", host = "", query = ""] = /^(stuns?|turns?):([^?]*)(.*)$/.exec(url ?? "") ?? [];
  const transport = scheme.endsWith("s") ? "tls" : /transport=tcp/i.test(query) ? "tcp" : "udp";
  return { turn: scheme.startsWith("turn"), transport, host: host.replace(/:\d+$/, "") };
}

/** Whether two spellings of a server's URL mean the same: browsers add port and transport. */
function same(/** @type {string | undefined} */ one, /** @type {string | undefined} */ other) {
  if (!one || !other) return false;
  const plain = (/** @type {string} */ url) => {
    const { turn, transport, host } = parse(url);
    const port = /:(\d+)(\?|$)/.exec(url.replace(/^\w+:/, ""))?.[1] ?? (transport === "tls" ? "5349" : "3478");
    return `${turn} ${transport} ${host} ${port}`;
  };
  return plain(one) === plain(other);
}
