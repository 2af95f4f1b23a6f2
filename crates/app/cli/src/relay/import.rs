//! `--import turnserver.conf`: what a file of coturn's means here.

mod options;
mod ranges;

use std::path::Path;

use self::options::{Fate, OPTIONS};
use crate::failure::Failure;
use crate::output::Output;

/// What our settings file calls what coturn calls `theirs`, if it is called anything else.
pub(crate) fn ours(theirs: &str) -> Option<&'static str> {
    match fate(theirs)? {
        Fate::Key(key) if *key != theirs => Some(key),
        _ => None,
    }
}

/// Keys that may have several values.
const LISTS: [&str; 6] = ["listen", "public-ip", "allow-peer", "deny-peer", "secret", "alternate-server"];

/// Keys that coturn's files only name.
const SWITCHES: [&str; 2] = ["no-dtls", "no-tcp-relay"];

fn fate(theirs: &str) -> Option<&'static Fate> {
    OPTIONS.iter().find(|(name, _)| *name == theirs).map(|(_, fate)| fate)
}

/// Prints the settings file.
pub(crate) fn run(path: &Path, output: Output) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let translation = Translation::of(&text);
    output
        .event("imported", serde_json::json!({ "settings": translation.toml(), "notes": translation.notes }));
    output.say(translation.toml().trim_end());
    for note in &translation.notes {
        output.note(&format!("note: {note}"));
    }
    Ok(())
}

/// A file of coturn's in our words.
#[derive(Debug, Default)]
pub(super) struct Translation {
    /// Keys in the order of the file, each with its values.
    keys: Vec<(&'static str, Vec<String>)>,
    min_port: Option<String>,
    max_port: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    metrics: (Option<String>, Option<String>),
    prometheus: bool,
    users: Vec<String>,
    /// Whom the process becomes, and that one's group.
    process: (Option<String>, Option<String>),
    /// What a person has to decide or to know.
    notes: Vec<String>,
}

impl Translation {
    pub(super) fn of(text: &str) -> Self {
        let mut translation = Self::default();
        for line in text.lines() {
            let line = line.trim().trim_start_matches("--");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once(['=', ' ']).unwrap_or((line, ""));
            let value = value.trim().trim_start_matches('=').trim().trim_matches('"');
            translation.take(name.trim(), value);
        }
        translation.finish();
        translation
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            "min-port" => self.min_port = Some(value.to_owned()),
            "max-port" => self.max_port = Some(value.to_owned()),
            "cert" => self.certificate = Some(value.to_owned()),
            "pkey" => self.key = Some(value.to_owned()),
            "prometheus" => self.prometheus = true,
            "prometheus-address" => self.metrics.0 = Some(value.to_owned()),
            "prometheus-port" => self.metrics.1 = Some(value.to_owned()),
            "user" => self.users.push(value.to_owned()),
            "proc-user" => self.process.0 = Some(value.to_owned()),
            "proc-group" => self.process.1 = Some(value.to_owned()),
            // `public/private`: what is bound is found out here.
            "external-ip" => self.put("public-ip", value.split('/').next().unwrap_or(value)),
            "allow-loopback-peers" => {
                self.put("allow-peer", "127.0.0.0/8");
                self.put("allow-peer", "::1");
            }
            "allowed-peer-ip" | "denied-peer-ip" => self.ranges(name, value),
            "alternate-server" => self.another_server(value),
            // No limit, there; and no thread but the first.
            "max-bps" | "bps-capacity" | "relay-threads" if value == "0" => {}
            "total-quota" | "user-quota" if value == "0" => self.notes.push(format!(
                "{name}=0 is no limit in coturn; here there always is one: 10000 relayed addresses in total and 200 a user, \
                 unless max-allocations and max-per-user say otherwise"
            )),
            _ => match fate(name) {
                Some(Fate::Key(key)) => self.put(key, value),
                Some(Fate::Usual(_)) => {}
                Some(Fate::Otherwise(what)) => self.notes.push(format!("{name}: {what}")),
                Some(Fate::Missing(what)) => {
                    self.notes.push(format!("{name} has no counterpart here: {what}"))
                }
                None => self.notes.push(format!("{name} is no option of coturn's that is known here")),
            },
        }
    }

    fn ranges(&mut self, name: &str, value: &str) {
        let key = if name == "allowed-peer-ip" { "allow-peer" } else { "deny-peer" };
        match ranges::cidrs(value) {
            Some(cidrs) => cidrs.iter().for_each(|cidr| self.put(key, &cidr.to_string())),
            None => self.notes.push(format!("{name}={value} is no range of addresses, and was left out")),
        }
    }

    fn another_server(&mut self, value: &str) {
        if super::settings::server_address(value).is_err() {
            let note =
                format!("alternate-server={value} is no address, and was left out: names are not looked up");
            return self.notes.push(note);
        }
        if !self.keys.iter().any(|(key, _)| *key == "alternate-server") {
            let note = "alternate-server: coturn sends all clients there; here those for whom there is no room \
                        (max-allocations), or who come while the server drains";
            self.notes.push(note.to_owned());
        }
        self.put("alternate-server", value);
    }

    fn put(&mut self, key: &'static str, value: &str) {
        match self.keys.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) if LISTS.contains(&key) => values.push(value.to_owned()),
            // Of several lines coturn goes by the last.
            Some((_, values)) => *values = vec![value.to_owned()],
            None => self.keys.push((key, vec![value.to_owned()])),
        }
    }

    /// What several options say together.
    fn finish(&mut self) {
        let (min, max) = (self.min_port.take(), self.max_port.take());
        if min.is_some() || max.is_some() {
            let (min, max) = (min.as_deref().unwrap_or("49152"), max.as_deref().unwrap_or("65535"));
            self.put("relay-ports", &format!("{min}-{max}"));
        }
        match (self.certificate.take(), self.key.take()) {
            (Some(certificate), Some(key)) => self.put("tls", &format!("{certificate},{key}")),
            (None, None) => {}
            _ => self.notes.push("cert and pkey belong together: one of them is missing".to_owned()),
        }
        if self.prometheus {
            let (address, port) = std::mem::take(&mut self.metrics);
            let address = address.unwrap_or_else(|| "127.0.0.1".to_owned());
            self.put("admin", &format!("{address}:{}", port.as_deref().unwrap_or("9641")));
        }
        match std::mem::take(&mut self.process) {
            (Some(user), None) => self.put("user", &user),
            (Some(user), Some(group)) => self.put("user", &format!("{user}:{group}")),
            (None, Some(_)) => self.notes.push("proc-group needs proc-user beside it here".to_owned()),
            (None, None) => {}
        }
        if !self.users.is_empty() {
            self.put("users-file", "/etc/sterna/users");
            let users = std::mem::take(&mut self.users);
            let names: Vec<&str> =
                users.iter().map(|user| user.split(':').next().unwrap_or_default()).collect();
            self.notes.push(format!(
                "users are in a file of their own here: write /etc/sterna/users, a line each as `sterna credentials \
                 hash NAME` prints it, for {}",
                names.join(", ")
            ));
        }
        if !self.keys.iter().any(|(key, _)| *key == "listen") {
            self.put("listen", "0.0.0.0");
            self.put("listen", "::");
        }
        let has = |key| self.keys.iter().any(|(known, _)| *known == key);
        if !has("secret") && !has("users-file") {
            self.notes.push("there is neither a secret nor a user: nobody could use the server".to_owned());
        }
    }

    pub(super) fn toml(&self) -> String {
        let mut lines = Vec::new();
        for (key, values) in &self.keys {
            let texts: Vec<String> = values.iter().map(|value| literal(key, value)).collect();
            lines.push(match &texts[..] {
                [one] => format!("{key} = {one}"),
                many => format!("{key} = [{}]", many.join(", ")),
            });
        }
        lines.join("\n") + "\n"
    }
}

/// Keys whose values are numbers.
const NUMBERS: [&str; 8] = [
    "stun",
    "stun-tls",
    "max-allocations",
    "max-per-user",
    "max-bandwidth-per-user",
    "max-bandwidth",
    "max-lifetime",
    "relay-threads",
];

/// Numbers as numbers, switches as switched on, all else as strings.
fn literal(key: &str, value: &str) -> String {
    if SWITCHES.contains(&key) {
        return "true".to_owned();
    }
    if NUMBERS.contains(&key) && value.parse::<u64>().is_ok() {
        return value.to_owned();
    }
    toml::Value::String(value.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::tests::options;
    use crate::relay::Settings;
    use crate::transfer::scratch::Scratch;

    const TURNSERVER_CONF: &str = "\
        # a set-up as many have it\n\
        listening-port=3478\n\
        tls-listening-port=5349\n\
        listening-ip=0.0.0.0\n\
        external-ip=198.51.100.7/10.0.0.5\n\
        min-port=50000\n\
        max-port=51000\n\
        fingerprint\n\
        use-auth-secret\n\
        static-auth-secret=b7c1e0b1b7a94bd29ab1\n\
        static-auth-secret=9f0c5a4e9fd94fe1a9c0\n\
        realm=turn.example.org\n\
        total-quota=500\n\
        user-quota=12\n\
        cert=/etc/ssl/turn.pem\n\
        pkey=/etc/ssl/turn.key\n\
        no-multicast-peers\n\
        denied-peer-ip=10.0.0.0-10.255.255.255\n\
        denied-peer-ip=192.0.2.5-192.0.2.8\n\
        allowed-peer-ip=10.0.0.9\n\
        no-cli\n\
        no-dtls\n\
        prometheus\n\
        user=alice:wonderland\n\
        max-bps=64000\n\
        bps-capacity=0\n\
        proc-user=turnserver\n\
        proc-group=turn\n\
        flux-capacitor=on\n";

    #[test]
    fn a_file_as_many_have_it_is_a_file_of_ours() {
        let translation = Translation::of(TURNSERVER_CONF);
        let scratch = Scratch::new("import");
        let path = scratch.write("sterna.toml", translation.toml().as_bytes());
        let options = options(&["relay", "--config", path.to_str().unwrap()]).unwrap();
        let settings = Settings::gather(&options).unwrap();
        assert_eq!((settings.stun, settings.stun_tls, settings.relay_ports), (3478, 5349, 50_000..=51_000));
        assert_eq!((settings.quotas.total, settings.quotas.per_user), (500, 12));
        assert_eq!(options.secrets.len(), 2);
        assert!(!settings.dtls);
        assert!(translation.toml().contains("user = \"turnserver:turn\""), "{}", translation.toml());
        assert_eq!(settings.realm, "turn.example.org");
        let denied = |ip: &str| settings.policy.check(ip.parse().unwrap()).is_err();
        assert!(denied("192.0.2.5") && denied("192.0.2.8") && !denied("192.0.2.9") && denied("10.1.1.1"));
        let notes = translation.notes.join("\n");
        assert_eq!((settings.quotas.bandwidth_per_user, settings.quotas.bandwidth), (Some(64_000), None));
        for word in ["flux-capacitor", "alice"] {
            assert!(notes.contains(word), "{notes}");
        }
        assert!(!notes.contains("wonderland"), "no password in what is shown: {notes}");
    }

    /// What `turnserver.conf` may say, and a file of ours may not.
    #[test]
    fn no_limit_and_lines_that_stand_twice_make_a_file_that_is_read() {
        let text = "listening-ip=127.0.0.1\nuse-auth-secret\nstatic-auth-secret=b7c1e0b1b7a94bd29ab1\n\
                    user-quota=0\ntotal-quota=0\nmax-bps=0\nrelay-threads=0\nrealm=a.example\nrealm=b.example\n\
                    alternate-server=192.0.2.1\nalternate-server=192.0.2.2:99\nalternate-server=turn.example.org\n\
                    tls-alternate-server=192.0.2.3:5349\n";
        let translation = Translation::of(text);
        let scratch = Scratch::new("import-twice");
        let path = scratch.write("relay.toml", translation.toml().as_bytes());
        let options = options(&["relay", "--config", path.to_str().unwrap()]).unwrap();
        let settings = Settings::gather(&options).unwrap();
        assert_eq!((settings.quotas, settings.realm.as_str()), (turn::Quotas::default(), "b.example"));
        let others: Vec<_> = settings.alternate_servers.iter().map(ToString::to_string).collect();
        assert_eq!(others, ["192.0.2.1:3478", "192.0.2.2:99"]);
        let notes = translation.notes.join("\n");
        for word in ["user-quota=0", "total-quota=0", "=turn.example.org", "coturn sends all clients there"] {
            assert!(notes.contains(word), "{notes}");
        }
        assert_eq!(notes.matches("coturn sends all").count(), 1, "{notes}");
    }

    #[test]
    fn every_key_that_is_promised_is_there() {
        use clap::CommandFactory as _;
        let root = crate::args::Cli::command();
        let relay = root.find_subcommand("relay").unwrap();
        for (name, fate) in OPTIONS {
            if let Fate::Key(key) = fate {
                let there = *key == "secret" || relay.get_arguments().any(|one| one.get_long() == Some(key));
                assert!(there, "{name} leads to {key}, which is no key");
            }
        }
    }

    /// `STERNA_BOOK=write` renews it.
    #[test]
    fn the_table_in_the_docs_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/coturn.md");
        let found = std::fs::read_to_string(path).unwrap();
        let start = found.find("| coturn |").expect("the table is there");
        let mut table = String::from("| coturn | here |\n|---|---|\n");
        for (name, fate) in OPTIONS {
            table.push_str(&format!("| `{name}` | {fate} |\n"));
        }
        if std::env::var_os("STERNA_BOOK").is_some_and(|value| value == "write") {
            std::fs::write(path, format!("{}{table}", &found[..start])).unwrap();
        } else {
            assert_eq!(&found[start..], table, "STERNA_BOOK=write renews docs/coturn.md");
        }
    }
}
