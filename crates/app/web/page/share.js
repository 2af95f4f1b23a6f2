// The link of a room, to be sent to somebody.

import { byId, toast } from "./dom.js";
import { qrCode } from "./qr.js";

/** Shows the page's address as an invitation. */
export function showInvitation() {
  byId("share-link", HTMLOutputElement).value = location.href;
  byId("share-native", HTMLElement).hidden = !navigator.share;
  byId("qr", HTMLElement).replaceChildren(...qrCode(location.href));
  byId("waiting-hint", HTMLElement).textContent = isLocal()
    ? "This address works on this machine only. For other machines start the server with --listen 0.0.0.0 and open the page by its network address."
    : "";
}

function isLocal() {
  return ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}

for (const id of ["copy-link", "share-copy"]) {
  byId(id, HTMLElement).addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      toast("The link is copied. Send it to the other side.");
    } catch {
      // Without https there is no clipboard: select it, so that it can be copied by hand.
      getSelection()?.selectAllChildren(byId("share-link", HTMLElement));
      toast("Copy the link from the address bar.");
    }
  });
}
byId("share-native", HTMLElement).addEventListener("click", () => {
  void navigator.share({ title: "Sterna", url: location.href }).catch(() => {});
});
