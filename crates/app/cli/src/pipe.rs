//! `sterna pipe`: standard input and output of two machines, connected.
//!
//! Bytes travel as binary messages of the channel `pipe`. When an input ends, its side says so in a text message
//! (`{"type":"end","bytes":n}`). The conversation is over when an input that had something to say has ended, or
//! when both have; each side then says `{"type":"bye"}` and leaves when it has heard it.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Instant;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use crate::args::Pipe;
use crate::failure::{Failure, Kind};
use crate::output::{Output, round};
use crate::session::{self, Purpose};
use crate::transfer::wire::{Frame, Wire, vanished};

const CHANNEL: &str = "pipe";
/// Bytes in one message.
const CHUNK: usize = 16 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Word {
    /// My input has ended, after so many bytes.
    End { bytes: u64 },
    /// I send nothing more, and leave once you say the same.
    Bye,
}

pub(crate) async fn run(args: Pipe, output: Output) -> Result<(), Failure> {
    let output = output.aside();
    let purpose = Purpose { app: "pipe", channel: CHANNEL };
    let session = match args.code.code {
        Some(code) => session::join(&code, purpose, &args.reach, output).await?,
        None => session::host(purpose, &args.reach, "sterna pipe", output).await?,
    };
    let started = Instant::now();
    let input_is_terminal = std::io::stdin().is_terminal();
    let talk = talk(&session.channel, tokio::io::stdin(), tokio::io::stdout(), args.both, input_is_terminal);
    let result = session.guard(talk).await;
    let via = session.via();
    session.close().await;
    let (sent, received) = result?;
    output.event(
        "done",
        json!({ "bytes": received, "sent": sent, "seconds": round(started.elapsed().as_secs_f64()), "via": via }),
    );
    Ok(())
}

/// Both directions until the end. Returns the bytes sent and received.
async fn talk(
    wire: &impl Wire,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    both: bool,
    silent: bool,
) -> Result<(u64, u64), Failure> {
    // A person at a terminal may never end the input; that must not keep the other side waiting.
    let talk = Talk {
        both,
        silent: silent && !both,
        ours: Cell::new(None),
        theirs: Cell::new(None),
        changed: Notify::new(),
    };
    // At once: an input that waits for a full channel must not keep us from hearing.
    tokio::try_join!(talk.speak(wire, input), talk.hear(wire, output))
}

/// How far the conversation is.
struct Talk {
    both: bool,
    silent: bool,
    /// Bytes our input had when it ended.
    ours: Cell<Option<u64>>,
    /// Bytes their input had when it ended.
    theirs: Cell<Option<u64>>,
    changed: Notify,
}

impl Talk {
    fn is_over(&self) -> bool {
        let spoke = |input: Option<u64>| input.is_some_and(|bytes| bytes > 0);
        match (self.ours.get(), self.theirs.get()) {
            (Some(_), Some(_)) => true,
            (None, Some(_)) if self.silent => true,
            (ours, theirs) => !self.both && (spoke(ours) || spoke(theirs)),
        }
    }

    /// From our input to the other side.
    async fn speak(&self, wire: &impl Wire, mut input: impl AsyncRead + Unpin) -> Result<u64, Failure> {
        let mut sent = 0;
        let mut buffer = BytesMut::new();
        while !self.is_over() {
            buffer.reserve(CHUNK);
            let read = tokio::select! {
                read = input.read_buf(&mut buffer), if self.ours.get().is_none() => read,
                () = self.changed.notified() => continue,
            };
            let read = read
                .map_err(|error| Failure::new(Kind::File, format!("cannot read standard input: {error}")))?;
            if read == 0 {
                self.ours.set(Some(sent));
                say(wire, &Word::End { bytes: sent }).await?;
            }
            let mut bytes = buffer.split().freeze();
            while !bytes.is_empty() {
                wire.send(Frame::Binary(bytes.split_to(CHUNK.min(bytes.len())))).await?;
            }
            sent += read as u64;
        }
        say(wire, &Word::Bye).await?;
        Ok(sent)
    }

    /// From the other side to our output.
    async fn hear(&self, wire: &impl Wire, mut output: impl AsyncWrite + Unpin) -> Result<u64, Failure> {
        let mut received = 0;
        loop {
            match wire.recv().await.ok_or_else(vanished_pipe)? {
                Frame::Binary(bytes) => {
                    output.write_all(&bytes).await.map_err(closed_output)?;
                    // A person or a program waits at the other end of this pipe.
                    output.flush().await.map_err(closed_output)?;
                    received += bytes.len() as u64;
                }
                Frame::Text(text) => match serde_json::from_str(&text) {
                    Ok(Word::End { bytes }) => {
                        self.theirs.set(Some(bytes));
                        self.changed.notify_one();
                    }
                    Ok(Word::Bye) => {
                        // Whoever says good bye waits for ours.
                        self.ours.set(self.ours.get().or(Some(0)));
                        self.theirs.set(self.theirs.get().or(Some(0)));
                        self.changed.notify_one();
                        return Ok(received);
                    }
                    Err(_) => {}
                },
            }
        }
    }
}

async fn say(wire: &impl Wire, word: &Word) -> Result<(), Failure> {
    let text = serde_json::to_string(word).expect("plain words are JSON");
    wire.send(Frame::Text(text)).await
}

fn closed_output(error: std::io::Error) -> Failure {
    Failure::new(Kind::File, format!("cannot write to standard output: {error}"))
}

fn vanished_pipe() -> Failure {
    Failure { message: "the other side vanished before the end".to_owned(), ..vanished() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::wire::pair::wires;

    /// An input that never ends.
    fn open_input() -> (tokio::io::DuplexStream, tokio::io::DuplexStream) {
        tokio::io::duplex(64)
    }

    #[tokio::test]
    async fn an_input_that_ends_ends_both_sides() {
        let (a, b) = wires();
        let (_keep, never) = open_input();
        let (mut nothing, mut arrived) = (Vec::new(), Vec::new());
        let (sent, received) = tokio::join!(
            talk(&a, &b"hello"[..], &mut nothing, false, false),
            talk(&b, never, &mut arrived, false, false)
        );
        assert_eq!((sent.unwrap(), received.unwrap()), ((5, 0), (0, 5)));
        assert_eq!(arrived, b"hello");
    }

    #[tokio::test]
    async fn an_empty_input_does_not_cut_the_other_one_short() {
        let (a, b) = wires();
        let long = vec![7; 100_000];
        let (mut nothing, mut arrived) = (Vec::new(), Vec::new());
        let (sent, received) = tokio::join!(
            talk(&a, &long[..], &mut nothing, false, false),
            talk(&b, tokio::io::empty(), &mut arrived, false, false)
        );
        assert_eq!((sent.unwrap(), received.unwrap()), ((100_000, 0), (0, 100_000)));
        assert_eq!(arrived, long);
    }

    #[tokio::test]
    async fn both_inputs_are_waited_for_if_asked() {
        let (a, b) = wires();
        let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
        let (first, second) = tokio::join!(
            talk(&a, &b"question"[..], &mut at_a, true, false),
            talk(&b, &b"a longer answer"[..], &mut at_b, true, false)
        );
        assert_eq!((first.unwrap(), second.unwrap()), ((8, 15), (15, 8)));
        assert_eq!((at_a, at_b), (b"a longer answer".to_vec(), b"question".to_vec()));
    }

    #[tokio::test]
    async fn a_side_that_vanishes_is_an_error() {
        let (a, b) = wires();
        drop(b);
        let (_keep, never) = open_input();
        let mut nothing = Vec::new();
        assert_eq!(talk(&a, never, &mut nothing, false, false).await.unwrap_err().kind, Kind::Peer);
    }
}
