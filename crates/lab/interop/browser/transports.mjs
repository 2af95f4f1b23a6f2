// Two connections that may only be relayed, by each URL that a back end gets from our server: UDP, TCP, TLS at its own port,
// and TLS at the page's.

import assert from "node:assert/strict";
import { browser, page, run } from "./chromium.mjs";
import { relayOnly, relayed, turnServers } from "./relayed.mjs";

await run(async () => {
  const servers = await turnServers("--host", "localhost", "--tls", process.env.TLS);
  assert.equal(servers.length, 4, `${servers.map(({ urls }) => urls)}`);
  // The certificate is of this test alone.
  const one = await browser({ media: false, more: ["--ignore-certificate-errors"] });
  const blank = await page(one);
  for (const server of servers) {
    const protocol = server.urls.startsWith("turns:") ? "tls" : /transport=(\w+)/.exec(server.urls)[1];
    const both = { here: relayOnly(server), there: relayOnly(server) };
    const { bytes, protocols } = await blank.evaluate(relayed, both);
    assert.deepEqual({ bytes, protocols }, { bytes: 60_000, protocols: [`relay ${protocol}`] }, server.urls);
  }
});
