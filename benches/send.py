#!/usr/bin/env python3
"""What `sterna send` makes of a channel: one large file, and as many bytes in small ones, on one machine.

    cargo build --release && python3 benches/send.py target/release/sterna [--runs N] [--mib N] [--files N]

The files are in memory (/dev/shm), so that no disk is measured; both ends check SHA-256. Sends to loopback only.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile


class Program:
    """A process of the program, and the events that it tells."""

    def __init__(self, binary, *arguments):
        command = [binary, "--json", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(self, name):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == name:
                return event
            if event["event"] == "failed":
                raise SystemExit(event["message"])
        raise SystemExit(f"no {name}: {self.process.stderr.read()}")

    def end(self):
        """Waits for its end: its seconds of the processor's time, and the megabytes that it had at most."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def transfer(binary, server, what, into):
    """Sends a file or folder: MB/s, CPU seconds per GB of both ends, the most memory of the sender and of the receiver."""
    sender = Program(binary, "send", "--server", server, what)
    code = sender.until("code")["code"]
    receiver = Program(binary, "receive", "--server", server, "--out", into, "--yes", code)
    done = receiver.until("done")
    ends = [sender.end(), receiver.end()]
    shutil.rmtree(into)
    gigabytes = done["bytes"] / 1e9
    used = sum(seconds for seconds, _ in ends)
    return gigabytes * 1e3 / done["seconds"], used / gigabytes, ends[0][1], ends[1][1]


def make(folder, name, files, size):
    """So many files of so many bytes that nothing can compress; a single one is no folder."""
    place = os.path.join(folder, name)
    if files > 1:
        os.mkdir(place)
    for number in range(files):
        with open(os.path.join(place, str(number)) if files > 1 else place, "wb") as file:
            for begin in range(0, size, 1 << 20):
                file.write(os.urandom(min(1 << 20, size - begin)))
    return place


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("binary")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mib", type=int, default=4096, help="of the large file")
    parser.add_argument("--files", type=int, default=10000, help="the small ones, of 40 KiB each")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    serve = Program(binary, "serve", "--http", "0", "--stun", "0")
    try:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            server = serve.until("listening")["http"]
            small = 40 << 10
            contestants = {
                f"one file, {options.mib} MiB": make(folder, "large", 1, options.mib << 20),
                f"{options.files} files of 40 KiB": make(folder, "many", options.files, small),
                "one file of the same size": make(folder, "alike", 1, options.files * small),
            }
            results = {name: [] for name in contestants}
            for _ in range(options.runs):
                for name, what in contestants.items():
                    results[name].append(transfer(binary, server, what, os.path.join(folder, "into")))
            print(f"{'median of ' + str(options.runs):<28} {'MB/s':>8} {'least':>8} {'most':>8} {'CPU s/GB':>9} {'sender':>8} {'receiver':>8}")
            for name, runs in results.items():
                rates, used, sender, receiver = zip(*runs)
                numbers = [statistics.median(rates), min(rates), max(rates)]
                row = " ".join(f"{number:8.1f}" for number in numbers)
                memory = f"{max(sender):5.0f} MB {max(receiver):5.0f} MB"
                print(f"{name:<28} {row} {statistics.median(used):9.2f} {memory}")
    finally:
        serve.process.terminate()
        serve.process.wait(20)


if __name__ == "__main__":
    main()
