//! Root is for ports below 1024 and for files that nobody else may read: what strangers send packets to shall not have it.

use std::fs::File;
use std::path::PathBuf;

use crate::failure::{Failure, Kind};

/// Whom the process becomes when it has its ports: `--user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Person {
    /// Those of `files` that he cannot read, now that the process is him: in words.
    pub(super) fn warnings(&self, files: &[PathBuf]) -> Vec<String> {
        let closed = files.iter().filter(|path| File::open(path).is_err());
        let warning = |path: &PathBuf| {
            format!(
                "{} was read by root, and cannot be read by {}: when it changes, or at SIGHUP, all stays as it is. Let \
                 {} read it (chgrp, chmod g+r)",
                path.display(),
                self.name,
                self.name
            )
        };
        closed.map(warning).collect()
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CString;

    use nix::unistd::{
        Gid, Group, Uid, User, getgid, getresgid, getresuid, getuid, initgroups, seteuid, setresgid,
        setresuid,
    };

    use super::*;

    impl Person {
        /// Looks `NAME[:GROUP]` up, and whether we may become that one.
        pub(crate) fn find(text: &str) -> Result<Self, Failure> {
            let usage = |what: String| Failure::new(Kind::Usage, format!("--user {what}"));
            let (name, group) =
                text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
            let user = User::from_name(name).ok().flatten().ok_or_else(|| {
                usage(format!(
                    "{name}: this machine has no such user; `useradd --system --user-group --shell /usr/sbin/nologin \
                     {name}` makes one"
                ))
            })?;
            let gid = match group {
                None => user.gid,
                Some(group) => {
                    let found = Group::from_name(group).ok().flatten();
                    found.ok_or_else(|| usage(format!("{name}:{group}: this machine has no such group")))?.gid
                }
            };
            let person = Self { name: name.to_owned(), uid: user.uid.as_raw(), gid: gid.as_raw() };
            if user.uid.is_root() || gid.as_raw() == 0 {
                return Err(usage(format!(
                    "{text} gives nothing up: name a user and a group that are not root's"
                )));
            }
            if !Uid::effective().is_root() && !person.is_me() {
                let message = format!(
                    "--user {name} needs root, and this process is user {}: start it as root, or leave --user out \
                     (User= of systemd does the same)",
                    getuid()
                );
                return Err(Failure::new(Kind::Machine, message));
            }
            Ok(person)
        }

        /// Whether the process is this one already.
        fn is_me(&self) -> bool {
            (getuid().as_raw(), getgid().as_raw()) == (self.uid, self.gid)
                && Uid::effective().as_raw() == self.uid
        }

        /// Makes the whole process this one, for good.
        pub(crate) fn take_over(&self) -> Result<(), Failure> {
            if self.is_me() {
                return Ok(());
            }
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            let name = CString::new(self.name.as_str()).expect("the system knows a user of this name");
            // The C library has every thread do the same: the kernel knows threads alone.
            let taken = initgroups(&name, gid)
                .and_then(|()| setresgid(gid, gid, gid))
                .and_then(|()| setresuid(uid, uid, uid));
            taken.map_err(|error| self.failed(&format!("the system says {}", error.desc())))?;
            self.verify()
        }

        /// That there is no way back.
        fn verify(&self) -> Result<(), Failure> {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            let users = getresuid().is_ok_and(|is| [is.real, is.effective, is.saved] == [uid; 3]);
            let groups = getresgid().is_ok_and(|is| [is.real, is.effective, is.saved] == [gid; 3]);
            if !users || !groups {
                return Err(self.failed("it is still somebody else"));
            }
            if seteuid(Uid::from_raw(0)).is_ok() || setresgid(Gid::from_raw(0), gid, gid).is_ok() {
                return Err(self.failed("it could become root again"));
            }
            let unlike = threads().into_iter().find(|thread| !self.is(thread));
            unlike.map_or(Ok(()), |_| Err(self.failed("one of its threads has kept privileges")))
        }

        /// Whether the status of a thread, as /proc tells it, is this one's: all four numbers, and no capabilities.
        fn is(&self, status: &str) -> bool {
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let all = |name: &str, number: u32| {
                field(name).is_some_and(|is| is.split_whitespace().all(|one| one.parse() == Ok(number)))
            };
            let none = |name| field(name).is_some_and(|set| set.bytes().all(|digit| digit == b'0'));
            all("Uid:", self.uid) && all("Gid:", self.gid) && none("CapPrm:") && none("CapEff:")
        }

        fn failed(&self, why: &str) -> Failure {
            let message = format!("--user {}: this process cannot give root up: {why}", self.name);
            Failure::new(Kind::Machine, message)
        }
    }

    /// The status of each thread; none where there is no /proc.
    fn threads() -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok()).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_thread_that_kept_anything_is_noticed() {
            let person = Person { name: "sterna".to_owned(), uid: 998, gid: 997 };
            let status = |uid: &str, gid: &str, set: &str| {
                format!("Name:\trelay-0\nUid:\t{uid}\nGid:\t{gid}\nCapPrm:\t{set}\nCapEff:\t{set}\n")
            };
            let (u, g, none) = ("998\t998\t998\t998", "997\t997\t997\t997", "0000000000000000");
            assert!(person.is(&status(u, g, none)));
            assert!(!person.is(&status("998\t998\t0\t998", g, none)), "the saved one");
            assert!(!person.is(&status(u, "997\t997\t0\t997", none)));
            assert!(!person.is(&status(u, g, "0000000000000400")), "a capability");
            assert!(!person.is(""));
        }

        #[test]
        fn nobody_is_root_and_nobody_is_nobody() {
            for (text, words) in [
                ("no-such-user", "useradd"),
                ("root", "nothing up"),
                ("nobody:no-such-group", "no such group"),
                ("nobody:root", "nothing up"),
            ] {
                let failure = Person::find(text).unwrap_err();
                assert!(failure.message.contains(words), "{failure}");
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Person {
    /// Looks a user up.
    pub(crate) fn find(text: &str) -> Result<Self, Failure> {
        let message = format!("--user {text} is for Linux: start the server as that user");
        Err(Failure::new(Kind::Machine, message))
    }

    /// Makes the whole process this one.
    pub(crate) fn take_over(&self) -> Result<(), Failure> {
        unreachable!("nobody is found")
    }
}
