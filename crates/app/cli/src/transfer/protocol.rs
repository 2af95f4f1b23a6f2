//! The control messages of the `files` channel, as `docs/transfer.md` defines them.

use serde::{Deserialize, Serialize};

use super::checksum::Sum;

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
        /// Which hashes the sender knows beside SHA-256.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hashes: Vec<String>,
    },
    /// Sender: further files of the offer.
    More { id: String, files: Vec<FileEntry> },
    /// Receiver: send them.
    Accept {
        id: String,
        #[serde(default)]
        resume: Vec<Resume>,
        /// Which of them is to be used; none: SHA-256.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<String>,
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
    End {
        id: String,
        file: usize,
        #[serde(flatten)]
        sum: Sum,
    },
    /// Receiver: so many bytes are here.
    Progress { id: String, bytes: u64 },
    /// Receiver: this file is verified and in its place.
    Stored { id: String, file: usize },
    /// Receiver: this file is not what was sent.
    Corrupt { id: String, file: usize },
    /// Sender: that was all, with the checksum of the whole; receiver: thank you, good bye.
    Done {
        id: String,
        #[serde(flatten)]
        sum: Sum,
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

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::checksum::Hash;

    #[test]
    fn messages_read_as_the_page_writes_them() {
        let offer = r#"{"type":"offer","id":"a1","name":"x.txt","files":[{"path":"x.txt","size":3,"mtime":5}],"bytes":3}"#;
        let parsed: Control = serde_json::from_str(offer).unwrap();
        assert_eq!(parsed.to_json(), offer);
        let accept: Control = serde_json::from_str(r#"{"type":"accept","id":"a1","new-key":1}"#).unwrap();
        assert_eq!(accept, Control::Accept { id: "a1".into(), resume: vec![], hash: None });
        assert!(serde_json::from_str::<Control>(r#"{"type":"unheard-of"}"#).is_err());
    }

    #[test]
    fn checksums_go_by_the_names_of_their_hashes() {
        for (json, hash) in [
            (r#"{"type":"end","id":"a1","file":3,"sha256":"HEX"}"#, Hash::Sha256),
            (r#"{"type":"end","id":"a1","file":3,"blake3":"HEX"}"#, Hash::Blake3),
        ] {
            let json = json.replace("HEX", &"07".repeat(32));
            let end = Control::End { id: "a1".into(), file: 3, sum: Sum::new(hash, &[7; 32]) };
            assert_eq!((serde_json::from_str::<Control>(&json).unwrap(), end.to_json()), (end, json));
        }
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
