// A server that relays by one port for all: connections that may only be relayed, over UDP and TCP, one by one and several at
// once; and a page that uses the relay only with one that has none.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { at, browser, connected, enter, moves, page, run, server } from "./chromium.mjs";
import { relayOnly, relayed, turnServers } from "./relayed.mjs";

/** A port of loopback that nobody has. */
async function free() {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

await run(async () => {
  const one = await browser();
  const port = await free();
  const servers = await turnServers("--relay-port", `${port}`);
  const protocolOf = ({ urls }) => /transport=(\w+)/.exec(urls)[1];
  assert.deepEqual(servers.map(protocolOf), ["udp", "tcp"]);
  const [blank, another] = [await page(one), await page(one)];
  const goes = async (where, here, there) => {
    const result = await where.evaluate(relayed, { here: relayOnly(here), there: relayOnly(there) });
    assert.deepEqual(result, { bytes: 60_000, protocols: [`relay ${protocolOf(here)}`], ports: [port] });
  };
  const [udp, tcp] = servers;
  await goes(blank, udp, udp);
  await goes(blank, tcp, tcp);
  await Promise.all([goes(blank, udp, udp), goes(blank, tcp, udp), goes(another, udp, tcp), goes(another, udp, udp)]);

  const shared = await free();
  const { url } = await server("--relay-port", `${shared}`);
  const [a, b] = [await page(one), await page(one)];
  await enter(a, `${url}/?relay=only#by one port`);
  await enter(b, `${url}/?relay=no#by one port`);
  await connected(a, b);
  for (const there of [a, b]) await moves(there);
  assert.match(await at(a, "path").innerText(), /^relayed via 127\.0\.0\.1:\d+ because .* · relay–/);
  assert.match(await at(b, "path").innerText(), /^relayed via .* \(the other side's relay\) because /);
});
