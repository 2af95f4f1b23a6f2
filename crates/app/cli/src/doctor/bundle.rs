//! An archive for a bug report: what was found, without addresses and names.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::Value;

use super::server::host_of;
use crate::failure::Failure;

const README: &str = "\
What `sterna doctor` found on one machine, for a bug report.

Addresses and the names of servers are replaced by words such as public-1; the same word stands for the same address
throughout, and ports are left, because they tell what the NAT does. No credential was ever in it. Look through it
before you attach it.
";

/// A name that is nobody's business, and of what it is one: `server`, `interface`, `user`.
pub(super) type Name = (String, &'static str);

/// Writes the archive. The `names` are those that stand in the report anywhere, besides those that it tells of itself.
pub(super) fn write(path: &Path, report: &Value, text: &str, names: &[Name]) -> Result<(), Failure> {
    let mut redactor = Redactor::default();
    redactor.learn(report);
    names.iter().for_each(|(name, kind)| redactor.name(name, kind));
    let report = serde_json::to_string_pretty(&redactor.value(report)).expect("JSON is printed");
    let text = redactor.text(text);
    let mut archive = Vec::new();
    for (name, content) in [("README.txt", README), ("report.json", &report), ("report.txt", &text)] {
        append(&mut archive, name, content.as_bytes());
    }
    // Two empty blocks end an archive.
    archive.extend([0; 1024]);
    std::fs::write(path, archive).map_err(|error| Failure::file("write", path, &error))
}

/// Appends a file as POSIX's ustar format has it.
fn append(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = [0; 512];
    let (path, size) = (format!("sterna-doctor/{name}"), format!("{:011o}", content.len()));
    let fields: [(usize, &[u8]); 8] = [
        (0, path.as_bytes()),
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, size.as_bytes()),
        (136, b"00000000000\0"),
        (148, b"        "),
        (156, b"0"),
    ];
    for (at, field) in fields {
        header[at..at + field.len()].copy_from_slice(field);
    }
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(header);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Replaces addresses and names by words, the same by the same.
#[derive(Default)]
struct Redactor {
    words: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

impl Redactor {
    /// Takes note of the names of servers, which are known by where they stand.
    fn learn(&mut self, report: &Value) {
        let lists = ["relays", "discovered"].into_iter().filter_map(|key| report[key].as_array());
        let urls = lists.flatten().flat_map(|relay| [&relay["url"], &relay["certificate_name"]]);
        for url in urls.chain([&report["server"]["url"]]).filter_map(Value::as_str) {
            let bare = url.split(['?', '/']).next().unwrap_or(url);
            let host = host_of(url).or_else(|| {
                let authority = bare.split_once(':').map_or(bare, |(_, rest)| rest);
                Some(authority.rsplit_once(':').map_or(authority, |(host, _)| host))
            });
            if let Some(host) = host {
                self.name(host.trim_matches(['[', ']']), "server");
            }
        }
        for key in ["proxy", "captive_portal"] {
            if let Some(text) = report[key].as_str() {
                let host = host_of(text).unwrap_or(text);
                let host = host.split(':').next().unwrap_or(host).to_owned();
                self.name(&host, "proxy");
            }
        }
    }

    fn name(&mut self, name: &str, kind: &'static str) {
        if !name.is_empty() && name.parse::<IpAddr>().is_err() {
            self.word(name.to_owned(), kind);
        }
    }

    fn word(&mut self, secret: String, kind: &'static str) -> String {
        if let Some(word) = self.words.get(&secret) {
            return word.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let word = format!("{kind}-{count}");
        self.words.insert(secret, word.clone());
        word
    }

    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(list) => list.iter().map(|one| self.value(one)).collect(),
            Value::Object(map) => map.iter().map(|(key, one)| (key.clone(), self.value(one))).collect(),
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        let part_of_a_word =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '[' | ']' | '%');
        while !rest.is_empty() {
            let end = rest.find(|c| !part_of_a_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            out.push_str(&self.one(word));
            let next = after.chars().next().map_or(0, char::len_utf8);
            out.push_str(&after[..next]);
            rest = &after[next..];
        }
        out
    }

    /// A word without blanks: an address, an address with a port, a name, or a URL's part.
    fn one(&mut self, word: &str) -> String {
        let bare = word.trim_end_matches(['.', ':']);
        let tail = &word[bare.len()..];
        if let Ok(socket) = bare.parse::<SocketAddr>() {
            return format!("{}:{}{tail}", self.address(socket.ip()), socket.port());
        }
        if let Ok(ip) = bare.trim_matches(['[', ']']).parse::<IpAddr>() {
            return format!("{}{tail}", self.address(ip));
        }
        if let Some(known) = self.words.get(bare) {
            return format!("{known}{tail}");
        }
        // `turn:example.org:3478`
        match bare.split_once(':') {
            Some((head, rest)) if !rest.is_empty() => {
                let (head, rest) = (self.one(head), self.one(rest));
                format!("{head}:{rest}{tail}")
            }
            _ => word.to_owned(),
        }
    }

    fn address(&mut self, ip: IpAddr) -> String {
        if ip.is_loopback() || ip.is_unspecified() {
            return ip.to_string();
        }
        let private = match ip {
            IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
        };
        self.word(ip.to_string(), if private { "private" } else { "public" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_and_names_become_words_and_ports_stay() {
        let report = json!({
            "server": { "url": "https://sterna.example.org:8443/x" },
            "relays": [{ "url": "turn:relay.example.org:3478?transport=udp", "address": "198.51.100.7:3478" },
                { "url": "turns:backup.example.org?transport=tcp" }],
            "interfaces": [{ "address": "192.168.1.5" }, { "address": "2001:db8::5" }, { "address": "127.0.0.1" }],
            "verdicts": [{ "evidence": ["198.51.100.7:3478 saw us at 203.0.113.9:4711, not 203.0.113.9."] }],
            "nat": { "mapped": "[2001:db8::5]:99", "hairpin": true },
        });
        let mut redactor = Redactor::default();
        redactor.learn(&report);
        let text = redactor.value(&report).to_string();
        for secret in ["198.51.100", "203.0.113", "2001:db8", "192.168", "example.org"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        for kept in ["127.0.0.1", ":4711", ":3478", "transport=udp", "turn:", "private-1", "hairpin\":true"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn the_archive_is_one_that_tar_reads() {
        let mut archive = Vec::new();
        append(&mut archive, "a.txt", b"hello");
        assert_eq!(archive.len(), 1024);
        assert_eq!(&archive[..20], b"sterna-doctor/a.txt\0");
        assert_eq!(&archive[124..135], b"00000000005");
        let stated = u32::from_str_radix(std::str::from_utf8(&archive[148..154]).unwrap(), 8).unwrap();
        let mut header = archive[..512].to_vec();
        header[148..156].fill(b' ');
        assert_eq!(stated, header.iter().map(|byte| u32::from(*byte)).sum::<u32>());
        assert_eq!(&archive[512..517], b"hello");
    }
}
