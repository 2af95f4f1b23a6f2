// The page: a lobby in which one chooses a room, and the room.

import { byId, icon, make, toast } from "./dom.js";
import { Connection } from "./connection.js";
import { Devices, NOT_ALLOWED } from "./media.js";
import { FileView } from "./file-view.js";
import { Shelf } from "./part.js";
import { Tile, layOut, showOwn } from "./call-view.js";
import { Transfers } from "./transfer.js";
import { Room, fragment, fromAddress, look, newLink, read } from "./sterna.js";
import { hex, random } from "./bytes.js";
import { qrCode } from "./qr.js";

/** @typedef {import("./sterna.js").Invitation} Invitation */
/** @typedef {import("./sterna.js").Member} Member */
/** @typedef {import("./transfer.js").Share} Share */

/** Offers up to this size are taken without asking: they are kept in memory until saved. */
const TAKEN_AT_ONCE = 256e6;
/** Who opens a link to receive files has said yes already. */
const TAKEN_FROM_LINK = 8e9;
const MEMBERS = 6;

const options = new URLSearchParams(location.search);
const session = hex(random(8));
const devices = new Devices();
const files = new FileView();
const shelf = new Shelf();

/** Somebody we are, or were just now, connected to. */
class Peer {
  /** @type {RTCDataChannel | null} */
  chat = null;
  /** @type {Transfers | null} */
  transfers = null;
  /** @type {Tile | null} */
  tile = null;

  /** @param {Connection} connection */
  constructor(connection) {
    this.connection = connection;
    const { name, app } = connection.member.hello;
    this.name = name?.slice(0, 40) || (app === "page" ? "Guest" : "The other side");
  }
}

/** A share and who has got it. @typedef {{ share: Share, row: ReturnType<FileView["outgoing"]>, done: boolean, cancelled: boolean }} Shared */

/** @type {Room | null} */
let room = null;
/** @type {Set<Peer>} */
const peers = new Set();
/** @type {Shared[]} */
const shares = [];
let signalling = "connecting";
/** How we were connected to whom we were last connected to. */
let lastPath = "";
/** Whether a command line waits at the link, so that no camera is needed. */
let transferOnly = false;

// ---- lobby

const form = byId("join-form", HTMLFormElement);
const roomInput = byId("room-input", HTMLInputElement);
const nameInput = byId("name-input", HTMLInputElement);

function lobby() {
  document.body.dataset.view = "lobby";
  byId("lobby", HTMLElement).hidden = false;
  byId("room", HTMLElement).hidden = true;
  byId("room-name", HTMLElement).hidden = true;
  byId("join", HTMLButtonElement).disabled = false;
  document.title = "Sterna";
  nameInput.value = localStorage.getItem("name") ?? "";
  for (const device of ["microphone", "camera"]) {
    const toggle = byId(`want-${device}`, HTMLButtonElement);
    toggle.setAttribute("aria-pressed", String(devices.allowed && localStorage.getItem(device) !== "off"));
    toggle.disabled = !devices.allowed;
  }
  if (!devices.allowed) byId("room-hint", HTMLElement).textContent = NOT_ALLOWED;
  readAddress();
}

/** Takes the invitation out of the page's address, if there is one. */
function readAddress() {
  const found = fromAddress(location);
  byId("lobby-error", HTMLElement).hidden = true;
  transferOnly = false;
  if (found && "error" in found) complain(found.error);
  const given = found && !("error" in found) ? found : null;
  const secret = given?.kind === "link";
  byId("room-field", HTMLElement).hidden = secret;
  byId("new-room", HTMLElement).hidden = secret;
  byId("invited", HTMLElement).hidden = !secret;
  byId("lobby-title", HTMLElement).textContent = secret ? "You are invited" : "Meet someone, directly";
  byId("join", HTMLElement).textContent = "Join";
  byId("devices", HTMLElement).hidden = false;
  byId("name-field", HTMLElement).hidden = false;
  if (given?.kind === "plain") roomInput.value = given.name;
  if (given?.kind === "code") roomInput.value = `${given.nameplate}-${given.words}`;
  if (secret) void lookInto(given);
}

/** A link of the command line takes two and one is there: it is about files, not a call. @param {Invitation} given */
async function lookInto(given) {
  const { members, limit } = await look(given).catch(() => ({ members: 0, limit: 0 }));
  if (room || limit !== 2) return;
  transferOnly = true;
  byId("lobby-title", HTMLElement).textContent = members < 2 ? "Files, straight to you" : "Somebody is already there";
  byId("lobby-lead", HTMLElement).textContent =
    members < 2
      ? "Somebody waits at this link to exchange files with you. They come from that machine to this one; no server keeps them."
      : "This link is for two, and two are using it. If one of them is you in another window, close that first.";
  byId("join", HTMLElement).textContent = "Connect";
  byId("devices", HTMLElement).hidden = true;
  byId("name-field", HTMLElement).hidden = true;
}

/** @param {string} text */
function complain(text) {
  const element = byId("lobby-error", HTMLElement);
  element.textContent = text;
  element.hidden = false;
}

for (const device of ["microphone", "camera"]) {
  byId(`want-${device}`, HTMLElement).addEventListener("click", ({ currentTarget }) => {
    const toggle = /** @type {HTMLElement} */ (currentTarget);
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    localStorage.setItem(device, on ? "on" : "off");
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = fromAddress(location);
  if (given && !("error" in given) && given.kind === "link") return void enter(given);
  if (!roomInput.value.trim()) return void enter(newLink());
  const typed = read(roomInput.value);
  if ("error" in typed) return complain(typed.error);
  void enter(typed);
});

byId("new-room", HTMLElement).addEventListener("click", () => void enter(newLink()));
addEventListener("hashchange", () => {
  if (room) leave();
  else lobby();
});

// ---- room

/** @param {Invitation} chosen */
async function enter(chosen) {
  if (room) return;
  const name = nameInput.value.trim();
  localStorage.setItem("name", name);
  byId("lobby-error", HTMLElement).hidden = true;
  byId("join", HTMLButtonElement).disabled = true;
  history.replaceState(null, "", address(chosen));
  const mediaWanted = !transferOnly && chosen.kind !== "code";

  room = new Room(chosen, { hello: { app: "page", version: 1, name, session }, limit: MEMBERS });
  room.onstate = (state) => {
    signalling = state;
    drawStatus();
  };
  room.onend = ended;
  room.onmember = meet;
  showRoom(chosen);
  // The others' machines can be found while the person thinks about the camera.
  room.open();
  if (mediaWanted) {
    const wants = (/** @type {string} */ device) =>
      byId(`want-${device}`, HTMLElement).getAttribute("aria-pressed") === "true";
    const missing = await devices.start({ microphone: wants("microphone"), camera: wants("camera") });
    if (!room) return devices.stop();
    if (missing) toast(missing);
  }
}

/** @param {Invitation} chosen */
function address(chosen) {
  const url = new URL(location.href);
  url.searchParams.delete("room");
  // The words of a code are used up by entering; they do not belong into the history.
  url.hash = chosen.kind === "link" ? fragment(chosen) : chosen.kind === "plain" ? encodeURIComponent(chosen.name) : "";
  return url;
}

/** @param {Invitation} chosen */
function showRoom(chosen) {
  document.body.dataset.view = transferOnly || chosen.kind === "code" ? "transfer" : "room";
  byId("lobby", HTMLElement).hidden = true;
  byId("room", HTMLElement).hidden = false;
  byId("room-name", HTMLElement).hidden = chosen.kind === "code" || transferOnly;
  const label = chosen.kind === "plain" ? chosen.name : "Private room";
  byId("room-label", HTMLElement).textContent = label;
  document.title = `${label} · Sterna`;
  const seal = byId("seal", HTMLElement);
  const sealed = chosen.kind !== "plain";
  seal.className = `seal ${sealed ? "sealed" : "open"}`;
  seal.replaceChildren(
    icon(sealed ? "lock" : "open"),
    sealed
      ? "Sealed from end to end: not even the server can listen."
      : "Anybody who guesses this name can enter, and the server could listen in. A private room cannot be listened to.",
  );
  byId("share-link", HTMLOutputElement).value = location.href;
  byId("share-native", HTMLElement).hidden = !navigator.share;
  byId("qr", HTMLElement).replaceChildren(...qrCode(location.href));
  byId("waiting-hint", HTMLElement).textContent = isLocal()
    ? "This address works on this machine only. For other machines start the server with --listen 0.0.0.0 and open the page by its network address."
    : "";
  showOwn(devices);
  drawPeers();
  drawStatus();
}

function isLocal() {
  return ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}

/** Somebody with the same invitation. @param {Member} member */
function meet(member) {
  if (!room) return;
  const { session: theirs } = member.hello;
  for (const peer of peers) {
    // The same page again, which had lost the server for a while: what runs between us goes on.
    if (theirs && peer.connection.member.hello.session === theirs && peer.connection.established) {
      peer.connection.adopt(member);
      return;
    }
    if (theirs && peer.connection.member.hello.session === theirs) peer.connection.close();
  }
  const connection = new Connection(room, member, devices.tracks, {
    relayOnly: options.get("relay") === "only",
    noRelay: options.get("relay") === "no",
    trickle: options.get("trickle") !== "no",
  });
  const peer = new Peer(connection);
  peers.add(peer);
  connection.onchange = drawStatus;
  connection.onclosed = () => part(peer);
  connection.onchannel = (channel) => {
    if (channel.label === "chat") chatWith(peer, channel);
    if (channel.label === "files") filesWith(peer, channel);
  };
  if (connection.isPage) {
    peer.tile = new Tile(peer.name, connection.stream);
    byId("tiles", HTMLElement).append(peer.tile.element);
    if (document.body.dataset.view === "transfer") document.body.dataset.view = "room";
    say("event", `${peer.name} is here.`);
  }
  drawPeers();
  drawStatus();
}

/** @param {Peer} peer */
function part(peer) {
  peers.delete(peer);
  lastPath = peer.connection.path ? peer.connection.pathLine : "";
  peer.tile?.element.remove();
  if (room && peer.connection.isPage) say("event", `${peer.name} left.`);
  drawPeers();
  drawStatus();
}

/** The room cannot be entered, or is over. @param {Error} error */
function ended(error) {
  // The other side may hang up on the server once we are connected to it, and we find it again without this room.
  if ([...peers].some(({ connection }) => connection.established)) return;
  const transfersSeen = byId("file-list", HTMLElement).childElementCount > 0;
  if (transfersSeen) return toast(error.message);
  leave();
  complain(error.message);
}

function leave() {
  const left = room;
  room = null;
  for (const { connection } of [...peers]) connection.close();
  lastPath = "";
  left?.close();
  devices.stop();
  shares.length = 0;
  byId("file-list", HTMLElement).replaceChildren();
  byId("chat-log", HTMLElement).replaceChildren();
  lobby();
  byId("join", HTMLElement).focus();
}

byId("leave", HTMLElement).addEventListener("click", leave);
addEventListener("pagehide", () => room?.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());

// ---- media

devices.onchange = () => {
  showOwn(devices);
  for (const { connection, chat } of peers) {
    connection.setTracks(devices.tracks);
    tellMedia(chat);
  }
};

/** @param {RTCDataChannel | null} chat */
function tellMedia(chat) {
  const { camera, microphone, screen } = devices;
  if (chat?.readyState === "open") chat.send(JSON.stringify({ media: { camera, microphone, screen } }));
}

byId("microphone", HTMLElement).addEventListener("click", async () => complainSoftly(await devices.toggleMicrophone()));
byId("camera", HTMLElement).addEventListener("click", async () => complainSoftly(await devices.toggleCamera()));
byId("screen", HTMLElement).addEventListener("click", async () => complainSoftly(await devices.toggleScreen()));

/** @param {string} text */
function complainSoftly(text) {
  if (text) toast(text);
}

// ---- chat

/** @param {Peer} peer @param {RTCDataChannel} channel */
function chatWith(peer, channel) {
  peer.chat = channel;
  channel.addEventListener("message", ({ data }) => {
    const message = parse(data);
    if (typeof message?.text === "string") say("other", message.text.slice(0, 16_000), peer.name);
    if (message?.media) peer.tile?.show(message.media);
  });
  const opened = () => tellMedia(channel);
  if (channel.readyState === "open") opened();
  else channel.addEventListener("open", opened);
}

byId("chat-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const input = byId("chat-input", HTMLInputElement);
  const text = input.value.trim();
  if (!text) return;
  const open = [...peers].filter(({ chat }) => chat?.readyState === "open");
  if (!open.length) return toast("Nobody is connected yet: your message waits in the field.");
  for (const { chat } of open) chat?.send(JSON.stringify({ text }));
  say("own", text);
  input.value = "";
});

/** @param {"own" | "other" | "event"} kind @param {string} text @param {string} [who] */
function say(kind, text, who) {
  const log = byId("chat-log", HTMLElement);
  const line = make("li", { class: kind });
  if (who && peers.size > 1) line.append(make("span", { class: "who" }, who));
  else if (kind !== "event") line.setAttribute("aria-label", `${kind === "own" ? "You" : who}: ${text}`);
  line.append(text);
  log.append(line);
  log.scrollTop = log.scrollHeight;
}

/** @param {unknown} data */
function parse(data) {
  try {
    return JSON.parse(String(data));
  } catch {
    return null;
  }
}

// ---- files

/** @param {Peer} peer @param {RTCDataChannel} channel */
function filesWith(peer, channel) {
  const transfers = new Transfers(channel, shelf, () => peer.connection.maxMessageSize);
  peer.transfers = transfers;
  transfers.onoffer = (transfer) => {
    const accept = () => transfers.accept(transfer);
    const cancel = () => transfers.cancel(transfer, "it was cancelled by the receiver");
    files.incoming(transfer, accept, () => transfers.refuse(transfer, "the other side does not want it"), cancel);
    const enough = peer.connection.isPage ? TAKEN_AT_ONCE : TAKEN_FROM_LINK;
    if (transfer.bytes <= enough) accept();
  };
  const offerAll = () => {
    for (const shared of shares) if (!shared.done && !shared.cancelled) offer(peer, shared);
  };
  if (channel.readyState === "open") offerAll();
  else channel.addEventListener("open", offerAll);
}

files.onshare = (/** @type {Share} */ share) => {
  const shared = { share, row: files.outgoing(share), done: false, cancelled: false };
  shares.push(shared);
  for (const peer of peers) offer(peer, shared);
};

/** @param {Peer} peer @param {Shared} shared */
function offer(peer, shared) {
  const { transfers } = peer;
  if (!transfers?.open) return;
  const transfer = transfers.offer(shared.share);
  shared.row.add(transfer, () => {
    shared.cancelled = true;
    transfers.cancel(transfer, "it was cancelled by the sender");
  });
  const draw = transfer.onchange;
  transfer.onchange = () => {
    if (transfer.stage === "done") shared.done = true;
    draw();
  };
}

// ---- what one sees of it

function drawPeers() {
  const pages = [...peers].filter(({ connection }) => connection.isPage).length;
  byId("waiting", HTMLElement).hidden = pages > 0;
  byId("waiting-title", HTMLElement).textContent = peers.size
    ? "A command line is connected"
    : "Waiting for somebody to come";
  byId("waiting-text", HTMLElement).textContent = peers.size
    ? "Drop files onto the page to send them. The link lets somebody else in:"
    : "Send them this link:";
  layOut(pages);
}
addEventListener("resize", drawPeers);

function drawStatus() {
  const several = peers.size > 1;
  const path = [...peers].map(({ name, connection }) => {
    const line = connection.pathLine || "connecting …";
    return several ? `${name}: ${line}` : line;
  });
  const stages = [...peers].map(({ name, connection: { stages } }) => {
    const line = `ICE ${stages.ice} · DTLS ${stages.dtls} · channel ${stages.channel}`;
    return several ? `${name}: ${line}` : line;
  });
  // A command line and we find each other again elsewhere than in the room.
  const elsewhere = [...peers].filter(({ connection }) => !connection.isPage && connection.established);
  const state = elsewhere.length ? (elsewhere.every(({ connection }) => connection.signalled) ? "connected" : "lost") : signalling;
  const server = `signalling ${state === "lost" ? "lost, trying again" : state}`;
  const none = lastPath ? `the other side has left (it was ${lastPath})` : "not connected yet";
  setText("path", path.join("\n") || none);
  setText("state", several ? [server, ...stages].join("\n") : [server, ...stages].join(" · "));
}

/** @param {string} id @param {string} text */
function setText(id, text) {
  const element = byId(id, HTMLElement);
  if (element.textContent !== text) element.textContent = text;
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

lobby();
