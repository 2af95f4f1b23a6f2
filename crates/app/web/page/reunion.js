// How the page finds a command line again when the signalling of either has broken (docs/signalling.md, "The way back"):
// each waits behind a door that only the two know of, and knocks at the other's.

import { Room } from "./sterna.js";

/** @typedef {import("./seal.js").WayBack} WayBack */
/** @typedef {import("./sterna.js").Member} Member */

/** @typedef {{ room: Room, preferred: boolean }} Door */

/** How long a meeting may still come about that is preferred to one that has. */
const GRACE = 2000;
/** Before a door is tried again that cannot be entered: who was lost may still be counted as present. */
const PAUSE = 1500;

export class Reunion {
  /** The other side, found again, and where. @type {(member: Member, room: Room) => void} */
  onfound = () => {};

  #from;
  #host;
  /** @type {WayBack | null} */
  #way = null;
  /** Doors behind which nobody was met yet. @type {Set<Door>} */
  #doors = new Set();
  /** Where the other side was met; two for the moment in which one takes the place of the other. @type {Room[]} */
  #lines = [];
  #knocking = false;
  #closed = false;

  /** @param {Room} from where the two met first @param {boolean} host whether we were the host there */
  constructor(from, host) {
    this.#from = from;
    this.#host = host;
  }

  /** From now on this leads back: waits there, so that the other side can come whenever it has to. @param {WayBack} way */
  wait(way) {
    this.#way = way;
    this.#knocking = false;
    this.#open(way.own, this.#host);
  }

  /** Goes and knocks, because the signalling is gone or may be. */
  knock() {
    if (!this.#way || this.#knocking) return;
    this.#knocking = true;
    // What was opened before the network changed may hang in the void.
    for (const door of this.#doors) this.#shut(door);
    this.#open(this.#way.own, this.#host);
    this.#open(this.#way.other, !this.#host);
  }

  close() {
    this.#closed = true;
    for (const door of this.#doors) this.#shut(door);
    for (const line of this.#lines.splice(0)) line.close();
  }

  /** @param {Uint8Array} secret @param {boolean} preferred */
  #open(secret, preferred) {
    if (this.#closed) return;
    const { hello, server } = this.#from;
    const door = { room: new Room({ kind: "link", secret }, { hello, server, limit: 2 }), preferred };
    this.#doors.add(door);
    door.room.onmember = (member) => this.#met(door, member);
    door.room.onend = () => setTimeout(() => this.#doors.delete(door) && this.#open(secret, preferred), PAUSE);
    door.room.open();
  }

  /** @param {Door} door */
  #shut(door) {
    if (this.#doors.delete(door)) door.room.close();
  }

  /** @param {Door} door @param {Member} member */
  #met(door, member) {
    if (this.#closed || !member.wayBack) return;
    this.#doors.delete(door);
    // Both may have knocked, and found each other twice. Both end with the meeting at the first host's door then.
    for (const other of this.#doors) {
      if (other.preferred && !door.preferred) setTimeout(() => this.#shut(other), GRACE);
      else this.#shut(other);
    }
    while (this.#lines.length > 1) this.#lines.shift()?.close();
    this.#lines.push(door.room);
    this.wait(member.wayBack);
    this.onfound(member, door.room);
  }
}
