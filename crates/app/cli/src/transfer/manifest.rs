//! What is to be sent: the files behind the command line's paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::protocol::{FileEntry, MAX_FILES};
use crate::failure::{Failure, Kind};

/// The files to send, with where they lie.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// What to call the whole.
    pub(crate) name: String,
    pub(crate) files: Vec<FileEntry>,
    /// Directories without files in them.
    pub(crate) directories: Vec<String>,
    /// Where `files[i]` lies.
    pub(crate) sources: Vec<PathBuf>,
    /// What was left out, and why.
    pub(crate) skipped: Vec<String>,
}

impl Manifest {
    /// Walks through files and folders. A folder is sent under its own name.
    pub(crate) fn gather(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut manifest = Self {
            name: String::new(),
            files: vec![],
            directories: vec![],
            sources: vec![],
            skipped: vec![],
        };
        for path in paths {
            manifest.add(path, &base_name(path)?)?;
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = manifest.files.iter().find(|file| !seen.insert(&file.path)) {
            let message =
                format!("two of the files would arrive as {}; send them one after the other", twice.path);
            return Err(Failure::new(Kind::Usage, message));
        }
        if manifest.files.is_empty() && manifest.directories.is_empty() {
            return Err(Failure::new(Kind::File, "there is nothing to send: no readable file was found"));
        }
        manifest.name = match paths {
            [only] => base_name(only)?,
            _ => format!("{} files", manifest.files.len()),
        };
        Ok(manifest)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    fn add(&mut self, path: &Path, name: &str) -> Result<(), Failure> {
        let metadata = std::fs::metadata(path).map_err(|error| Failure::file("send", path, &error))?;
        if metadata.is_dir() {
            return self.add_directory(path, name);
        }
        if !metadata.is_file() {
            self.skipped.push(format!("{} is neither a file nor a folder", path.display()));
            return Ok(());
        }
        // Opened now, so that an unreadable file is known before anybody is asked to wait for it.
        std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        if self.files.len() == MAX_FILES {
            let message = format!("more than {MAX_FILES} files; pack them into an archive and send that");
            return Err(Failure::new(Kind::Usage, message));
        }
        let mtime = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let mtime = mtime.map_or(0, |since| since.as_secs() as i64);
        self.files.push(FileEntry { path: name.to_owned(), size: metadata.len(), mtime });
        self.sources.push(path.to_owned());
        Ok(())
    }

    fn add_directory(&mut self, path: &Path, name: &str) -> Result<(), Failure> {
        let read = |error| Failure::file("read", path, &error);
        let mut entries =
            std::fs::read_dir(path).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        if entries.is_empty() {
            self.directories.push(name.to_owned());
        }
        for entry in entries {
            let path = entry.path();
            // A link to a folder may lead in a circle; a link to a file is as good as the file.
            if path.is_symlink() && !path.is_file() {
                self.skipped.push(format!("{} is a link to a folder or to nothing", path.display()));
                continue;
            }
            self.add(&path, &format!("{name}/{}", base_name(&path)?))?;
        }
        Ok(())
    }
}

/// The last part of a path, as the other side will see it.
fn base_name(path: &Path) -> Result<String, Failure> {
    let absolute = if path.file_name().is_none() { path.canonicalize().ok() } else { None };
    let name = absolute.as_deref().unwrap_or(path).file_name();
    match name.map(|name| name.to_str()) {
        Some(Some(name)) => Ok(name.to_owned()),
        Some(None) => {
            let message = format!("the name of {} is not valid UTF-8; rename it to send it", path.display());
            Err(Failure::new(Kind::File, message))
        }
        None => Err(Failure::new(Kind::Usage, format!("{} has no name to send it under", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::scratch::Scratch;

    #[test]
    fn a_folder_is_sent_under_its_name_with_what_is_in_it() {
        let scratch = Scratch::new("manifest-folder");
        scratch.write("photos/b/two.txt", b"22");
        scratch.write("photos/one.txt", b"1");
        std::fs::create_dir(scratch.path("photos/empty")).unwrap();
        let manifest = Manifest::gather(&[scratch.path("photos")]).unwrap();
        let names: Vec<_> = manifest.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
        assert_eq!(names, [("photos/b/two.txt", 2), ("photos/one.txt", 1)]);
        assert_eq!(
            (manifest.directories, manifest.name.as_str()),
            (vec!["photos/empty".to_owned()], "photos")
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let scratch = Scratch::new("manifest-missing");
        let failure = Manifest::gather(&[scratch.path("nowhere")]).unwrap_err();
        assert_eq!(failure.kind, Kind::File);
        assert!(failure.message.contains("nowhere") && failure.message.contains("does not exist"));
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        let scratch = Scratch::new("manifest-twice");
        scratch.write("a/x", b"1");
        scratch.write("b/x", b"2");
        let failure = Manifest::gather(&[scratch.path("a/x"), scratch.path("b/x")]).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
    }

    #[test]
    fn circles_of_links_end() {
        let scratch = Scratch::new("manifest-circle");
        scratch.write("d/x", b"1");
        std::os::unix::fs::symlink(scratch.path("d"), scratch.path("d/again")).unwrap();
        let manifest = Manifest::gather(&[scratch.path("d")]).unwrap();
        assert_eq!((manifest.files.len(), manifest.skipped.len()), (1, 1));
    }
}
