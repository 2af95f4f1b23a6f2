//! The control messages of the `files` channel, as `docs/transfer.md` defines them.

use serde::{Deserialize, Serialize};

/// The label of the channel that carries files.
pub(crate) const CHANNEL: &str = "files";
/// Bytes of a file in one binary message: what every browser takes.
pub(crate) const CHUNK: usize = 64 * 1024;
/// About how many bytes of file names one control message carries.
pub(crate) const LIST_BYTES: usize = 48 * 1024;
/// The most files one offer may name.
pub(crate) const MAX_FILES: usize = 100_000;

/// One file of an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Relative, with `/` between its parts.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Last change, seconds since 1970.
    #[serde(default)]
    pub(crate) mtime: i64,
}

/// What the receiver has already of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resume {
    /// Its place in the offer.
    pub(crate) file: usize,
    /// The first byte that is missing.
    pub(crate) offset: u64,
}

/// A control message: a text message that holds one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Control {
    /// Sender: these files can be had.
    Offer {
        id: String,
        name: String,
        files: Vec<FileEntry>,
        /// Directories without files in them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        directories: Vec<String>,
        bytes: u64,
        /// How many files there are, if `more` messages follow with the rest of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<usize>,
    },
    /// Sender: further files of the offer.
    More { id: String, files: Vec<FileEntry> },
    /// Receiver: send them.
    Accept {
        id: String,
        #[serde(default)]
        resume: Vec<Resume>,
    },
    /// Receiver: no, thank you.
    Refuse {
        id: String,
        #[serde(default)]
        reason: String,
    },
    /// Sender: what follows are the bytes of this file from `offset` on.
    File { id: String, file: usize, offset: u64 },
    /// Sender: that was all of this file.
    End { id: String, file: usize, sha256: String },
    /// Receiver: so many bytes are here.
    Progress { id: String, bytes: u64 },
    /// Receiver: this file is verified and in its place.
    Stored { id: String, file: usize },
    /// Receiver: this file is not what was sent.
    Corrupt { id: String, file: usize },
    /// Sender: that was all, with the checksum of the whole; receiver: thank you, good bye.
    Done {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    /// Either: it ends here.
    Cancel {
        id: String,
        #[serde(default)]
        reason: String,
    },
}

impl Control {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("control messages hold nothing that JSON cannot")
    }
}

/// The checksum of a whole transfer: that of its only file, or that of the files' checksums in a row.
pub(crate) fn whole_digest(files: &[[u8; 32]]) -> [u8; 32] {
    match files {
        [only] => *only,
        _ => crypto::sha256(&files.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>()),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_the_page_writes_them() {
        let offer = r#"{"type":"offer","id":"a1","name":"x.txt","files":[{"path":"x.txt","size":3,"mtime":5}],"bytes":3}"#;
        let parsed: Control = serde_json::from_str(offer).unwrap();
        assert_eq!(parsed.to_json(), offer);
        let accept: Control = serde_json::from_str(r#"{"type":"accept","id":"a1","new-key":1}"#).unwrap();
        assert_eq!(accept, Control::Accept { id: "a1".into(), resume: vec![] });
        assert!(serde_json::from_str::<Control>(r#"{"type":"unheard-of"}"#).is_err());
    }

    #[test]
    fn one_file_stands_for_the_whole() {
        assert_eq!(whole_digest(&[[7; 32]]), [7; 32]);
        assert_eq!(whole_digest(&[[7; 32], [8; 32]]), crypto::sha256(&[&[7; 32], &[8; 32]]));
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
