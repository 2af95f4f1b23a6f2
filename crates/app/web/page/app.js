// The room: who is in it, what we send them and what they send us.

import { byId, icon, toast } from "./dom.js";
import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { DeviceView, Ear } from "./device-view.js";
import { Devices } from "./media.js";
import { FiguresView } from "./figures-view.js";
import { FileView } from "./file-view.js";
import { Lobby } from "./lobby.js";
import { Notices } from "./notices.js";
import { Shelf } from "./part.js";
import { showInvitation } from "./share.js";
import { Side } from "./side.js";
import { Stage, Tile } from "./stage.js";
import { Transfers } from "./transfer.js";
import { Room, fragment } from "./sterna.js";
import { hex, random } from "./bytes.js";

/** @typedef {import("./sterna.js").Invitation} Invitation */
/** @typedef {import("./media.js").Kind} Kind */
/** @typedef {import("./sterna.js").Member} Member */
/** @typedef {import("./transfer.js").Share} Share */
/** @typedef {{ camera: boolean, microphone: boolean, screen: boolean }} Shown what somebody says that they send */

/** Offers up to this size are taken without asking: they are kept in memory until saved. */
const TAKEN_AT_ONCE = 256e6;
/** Who opens a link to receive files has said yes already. */
const TAKEN_FROM_LINK = 8e9;
const MEMBERS = 6;
/** How often it is looked who speaks. */
const LISTEN_EVERY = 150;

const options = new URLSearchParams(location.search);
const session = hex(random(8));
const devices = new Devices();
const deviceView = new DeviceView(devices);
const ear = new Ear();
const files = new FileView();
const figures = new FiguresView();
const shelf = new Shelf();
const stage = new Stage();
const notices = new Notices();
const chat = new Chat();
const lobby = new Lobby(devices);
const own = new Tile("own", "You", null);
const side = new Side();

/** Somebody we are, or were just now, connected to. */
class Peer {
  /** @type {RTCDataChannel | null} */
  chat = null;
  /** @type {Transfers | null} */
  transfers = null;
  /** Their camera, or what they play. A recorder has none. @type {Tile | null} */
  tile = null;
  /** @type {Tile | null} */
  screen = null;
  /** @type {Shown | null} */
  told = null;

  /** @param {Connection} connection */
  constructor(connection) {
    this.connection = connection;
    const { name, app } = connection.member.hello;
    this.name = name?.slice(0, 40) || (app === "page" ? "Guest" : "The other side");
    const { role, media } = connection;
    if (role === "page") this.tile = new Tile("person", this.name, media.camera);
    if (role === "play") this.tile = new Tile("film", this.name, media.camera);
    if (this.tile) stage.add(this.tile);
  }

  /** What there is to see and hear of them. @returns {Shown} */
  get shown() {
    const { role, media } = this.connection;
    if (this.told) return this.told;
    if (role !== "play") return { camera: false, microphone: true, screen: false };
    return { camera: media.camera.getVideoTracks().length > 0, microphone: true, screen: false };
  }

  draw() {
    const { connection, shown } = this;
    this.tile?.show({ picture: shown.camera, microphone: shown.microphone });
    this.tile?.cover(connection.silent ? "Looking for another path …" : connection.established ? "" : "Connecting …");
    const screens = connection.media.screen.getVideoTracks().length > 0;
    if (shown.screen && screens && !this.screen) {
      this.screen = new Tile("screen", this.name, connection.media.screen);
      stage.add(this.screen);
      this.screen.show({ picture: true, microphone: true });
    }
    if (!shown.screen || !screens) this.hideScreen();
    this.screen?.cover(connection.silent ? "Looking for another path …" : "");
  }

  hideScreen() {
    stage.remove(this.screen);
    this.screen = null;
  }

  gone() {
    this.hideScreen();
    stage.remove(this.tile);
    notices.hide(this);
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
/** Whether others are heard. */
let sound = true;
/** @type {ReturnType<typeof setInterval> | undefined} */
let listening;

const pages = () => [...peers].filter(({ connection }) => connection.isPage);

// ---- in and out

lobby.onenter = (/** @type {Invitation} */ chosen) => void enter(chosen);
addEventListener("hashchange", () => (room ? leave() : lobby.show()));

/** @param {Invitation} chosen */
async function enter(chosen) {
  if (room) return;
  lobby.hide();
  history.replaceState(null, "", address(chosen));
  const { purpose, name } = lobby;
  const mediaWanted = purpose === "record" || (purpose === "meet" && chosen.kind !== "code");

  room = new Room(chosen, { hello: { app: "page", version: 1, name, session }, limit: MEMBERS });
  room.onstate = (state) => {
    signalling = state;
    drawStatus();
  };
  room.onend = ended;
  room.onmember = meet;
  showRoom(chosen);
  listening = setInterval(listen, LISTEN_EVERY);
  // The others' machines can be found while the person thinks about the camera.
  room.open();
  if (mediaWanted) {
    const missing = await devices.start({ microphone: lobby.wants("microphone"), camera: lobby.wants("camera") });
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
  const { purpose } = lobby;
  const aboutFiles = purpose === "files" || (purpose === "meet" && chosen.kind === "code");
  document.body.dataset.view = aboutFiles ? "transfer" : purpose === "watch" ? "watch" : "room";
  byId("room", HTMLElement).hidden = false;
  byId("room-name", HTMLElement).hidden = chosen.kind === "code" || purpose !== "meet";
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
  showInvitation();
  byId("screen", HTMLElement).hidden = !devices.canShareScreen;
  if (purpose !== "watch") stage.add(own);
  side.turn(side.narrow || purpose !== "meet" ? "none" : "talk");
  drawOwn();
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
  lobby.complain(error.message);
}

function leave() {
  const left = room;
  room = null;
  clearInterval(listening);
  for (const { connection } of [...peers]) connection.close();
  lastPath = "";
  left?.close();
  devices.stop();
  stage.remove(own);
  shares.length = 0;
  byId("file-list", HTMLElement).replaceChildren();
  chat.clear();
  lobby.show();
  byId("join", HTMLElement).focus();
}

byId("leave", HTMLElement).addEventListener("click", leave);
addEventListener("pagehide", () => room?.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());

// ---- people

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
    recorded: lobby.purpose === "record",
  });
  const peer = new Peer(connection);
  peers.add(peer);
  connection.onchange = () => {
    peer.draw();
    drawStatus();
  };
  connection.onclosed = () => part(peer);
  connection.onchannel = (channel) => {
    if (channel.label === "chat") chatWith(peer, channel);
    if (channel.label === "files") filesWith(peer, channel);
  };
  if (connection.role !== "none") {
    if (document.body.dataset.view === "transfer") document.body.dataset.view = connection.role === "play" ? "watch" : "room";
    chat.note(`${peer.name} is here.`);
  }
  if (connection.role === "record") recordedBy(peer);
  peer.draw();
  drawPeers();
  drawStatus();
}

/** @param {Peer} peer */
function part(peer) {
  peers.delete(peer);
  lastPath = peer.connection.path ? peer.connection.pathLine : "";
  peer.gone();
  if (room && peer.connection.role !== "none") chat.note(`${peer.name} left.`);
  drawPeers();
  drawStatus();
}

/** Somebody writes down what we send: only with our consent, and as long as we like. @param {Peer} peer */
function recordedBy(peer) {
  const { connection, name } = peer;
  const stop = () => connection.close();
  const recording = () => notices.show(peer, "recording", `${name} records your camera and microphone.`, { label: "Stop", act: stop });
  if (lobby.purpose === "record") return recording();
  const allow = async () => {
    recording();
    const missing = await devices.start({ microphone: true, camera: true });
    if (!room) return devices.stop();
    if (missing) toast(missing);
    connection.media.allow();
  };
  const question = `${name} asks to record your camera and microphone into a file.`;
  notices.show(
    peer,
    "recording",
    question,
    { label: "Let it record", act: () => void allow(), main: true },
    { label: "No", act: stop },
  );
}

// A network that changes is not waited for: the browser takes half a minute to believe it.
addEventListener("online", nudge);
/** @type {Navigator & { connection?: EventTarget }} */ (navigator).connection?.addEventListener("change", nudge);
function nudge() {
  for (const { connection } of peers) connection.nudge();
}

// ---- media

devices.onchange = () => {
  drawOwn();
  for (const { connection, chat } of peers) {
    connection.media.set(devices.tracks);
    tellMedia(chat);
  }
};
devices.onnotice = toast;

/** @param {RTCDataChannel | null} channel */
function tellMedia(channel) {
  const { camera, microphone, screen } = devices;
  if (channel?.readyState === "open") channel.send(JSON.stringify({ media: { camera, microphone, screen } }));
}

const TOGGLES = {
  microphone: () => devices.toggleMicrophone(),
  camera: () => devices.toggleCamera(),
  screen: () => devices.toggleScreen(),
  speaker: async () => {
    sound = !sound;
    drawOwn();
    return "";
  },
};
/** @param {keyof typeof TOGGLES} kind */
async function toggle(kind) {
  const complaint = await TOGGLES[kind]();
  if (complaint) toast(complaint);
}
for (const kind of /** @type {(keyof typeof TOGGLES)[]} */ (Object.keys(TOGGLES))) {
  byId(kind, HTMLElement).addEventListener("click", () => void toggle(kind));
}
deviceView.ontoggle = (/** @type {Kind} */ kind) => void toggle(kind);
deviceView.onchoose = async (/** @type {Kind} */ kind, /** @type {string} */ id) => {
  const complaint = await devices.choose(kind, id);
  if (complaint) toast(complaint);
};
byId("sound-on", HTMLElement).addEventListener("click", () => {
  sound = true;
  drawOwn();
});

/** What we send, and whether we hear. */
function drawOwn() {
  const { camera } = devices.tracks;
  const shown = /** @type {MediaStream | null} */ (own.video.srcObject);
  if ((shown?.getVideoTracks()[0] ?? null) !== camera) own.video.srcObject = camera && new MediaStream([camera]);
  own.show({ picture: devices.camera, microphone: devices.microphone });
  const { microphone, screen } = devices;
  for (const [id, on] of Object.entries({ microphone, camera: devices.camera, screen, speaker: sound })) {
    byId(id, HTMLElement).setAttribute("aria-pressed", String(on));
  }
  stage.sound(devices.chosen("speaker"), !sound);
  deviceView.draw(sound);
  if (!screen) notices.hide("screen");
  else if (!byId("notices", HTMLElement).querySelector(".sharing")) {
    notices.show("screen", "sharing", "You are sharing your screen.", { label: "Stop sharing", act: () => void toggle("screen") });
  }
}

/** Who speaks? */
function listen() {
  const level = ear.level(devices.tracks.microphone);
  own.hear(level);
  deviceView.hear(level);
  for (const { tile, connection } of peers) tile?.hear(connection.media.level);
}

// ---- chat

/** @param {Peer} peer @param {RTCDataChannel} channel */
function chatWith(peer, channel) {
  peer.chat = channel;
  channel.addEventListener("message", ({ data }) => {
    const message = parse(data);
    if (typeof message?.text === "string") chat.hear(message.text.slice(0, 16_000), peer.name);
    if (message?.media) {
      const { camera, microphone, screen } = message.media;
      peer.told = { camera: camera !== false, microphone: microphone !== false, screen: screen === true };
      peer.draw();
    }
  });
  const opened = () => tellMedia(channel);
  if (channel.readyState === "open") opened();
  else channel.addEventListener("open", opened);
}

chat.onsay = (/** @type {string} */ text) => {
  const open = [...peers].filter(({ chat }) => chat?.readyState === "open");
  if (!open.length) toast("Nobody is connected yet: your message waits in the field.");
  for (const { chat } of open) chat?.send(JSON.stringify({ text }));
  return open.length > 0;
};
chat.onunread = () => side.unread();

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
    side.unread();
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
  const seen = [...peers].filter(({ tile }) => tile).length;
  const recorded = [...peers].some(({ connection }) => connection.role === "record");
  stage.alone = recorded && !seen;
  chat.several = peers.size > 1;
  for (const { connection } of peers) connection.media.share(pages().length);
  byId("waiting", HTMLElement).hidden = seen > 0 || recorded;
  const [title, text] = waitingFor();
  setText("waiting-title", title);
  setText("waiting-text", text);
  byId("waiting-share", HTMLElement).hidden = lobby.purpose === "watch" || lobby.purpose === "record";
}

/** What the empty stage says. */
function waitingFor() {
  if (lobby.purpose === "watch") return lastPath ? ["It is over", "The other side has left. If it begins again, it shows here."] : ["Waiting for it to begin", ""];
  if (lobby.purpose === "record") return lastPath ? ["The recording is over", "Your camera and microphone are not recorded any more."] : ["Waiting for the recorder", "Nothing is recorded yet."];
  if (peers.size) return ["A command line is connected", "Drop files onto the page to send them. The link lets somebody else in:"];
  return ["Waiting for somebody to come", "Send them this link:"];
}

function drawStatus() {
  const all = [...peers].map(({ connection }) => connection);
  // A command line and we find each other again elsewhere than in the room.
  const elsewhere = all.filter((connection) => !connection.isPage && connection.established);
  const state = elsewhere.length ? (elsewhere.every(({ signalled }) => signalled) ? "connected" : "lost") : signalling;
  const server = `signalling ${state === "lost" ? "lost, trying again" : state}`;
  if (all.length > 1) {
    const up = all.filter(({ connected }) => connected);
    const direct = up.filter(({ path }) => path && !path.relayed).length;
    const relayed = up.filter(({ path }) => path?.relayed).length;
    setText("state", `${server} · ${up.length} of ${all.length} connected`);
    const lines = [direct ? `${direct} direct` : "", relayed ? `${relayed} relayed` : "", up.length < all.length ? `${all.length - up.length} not connected` : ""];
    const because = [...peers].filter(({ connection }) => !connection.connected && connection.pathLine).map(({ name, connection }) => `${name}: ${connection.pathLine}`);
    setText("path", [lines.filter(Boolean).join(" · ") || "connecting …", ...because].join("\n"));
  } else {
    const [only] = all;
    const { ice, dtls, channel } = only?.stages ?? { ice: "", dtls: "", channel: "" };
    setText("state", only ? `${server} · ICE ${ice} · DTLS ${dtls} · channel ${channel}` : server);
    const none = lastPath ? `the other side has left (it was ${lastPath})` : "not connected yet";
    setText("path", only ? only.pathLine || "connecting …" : none);
  }
  if (side.shows === "figures") figures.draw(peers);
}

side.onturn = drawStatus;

/** @param {string} id @param {string} text */
function setText(id, text) {
  const element = byId(id, HTMLElement);
  if (element.textContent !== text) element.textContent = text;
}

lobby.show();
