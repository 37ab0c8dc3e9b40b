//! Where the versions of the policy lie, and how they are read: whole, within limits, and never from
//! anything but plain files.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};

use super::{BUILTIN, PolicySet, sha256_hex};

/// The largest file of a policy.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most files of a folder.
const MAX_FILES: usize = 1_000;
/// The most that all files together may hold: they are read every few seconds.
const MAX_BYTES: usize = 32 << 20;

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// The shipped default.
    Builtin,
    /// A file, or a folder with a file for each version.
    Path(PathBuf),
}

/// Files that cannot be read as versions of a policy.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or folder that is not there, or cannot be read.
    #[error("{path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder, a device or a pipe by the name of a policy.
    #[error("{} is not a plain file", .0.display())]
    NotAFile(PathBuf),
    /// A file that is larger than any policy.
    #[error("{} is larger than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Bytes that are not UTF-8.
    #[error("{} is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// A folder without a policy.
    #[error("{} holds no file with a name that ends in .toml", .0.display())]
    Empty(PathBuf),
    /// A folder with too much in it.
    #[error("{} holds more than {MAX_FILES} policies, or more than {MAX_BYTES} bytes of them", .0.display())]
    TooMuch(PathBuf),
}

/// The text of each version, in the order of the files' names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Texts(pub(super) Vec<(Option<PathBuf>, String)>);

/// Tells one content of the files, names included, from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(String);

impl Texts {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        for (path, text) in &self.0 {
            let name = path.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
            for part in [name.unwrap_or_default(), text.as_bytes()] {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part);
            }
        }
        Fingerprint(sha256_hex(context.finish().as_ref()))
    }
}

impl PolicySource {
    /// Reads all versions. Blocks on the disk.
    pub(super) fn read(&self) -> Result<Texts, SourceError> {
        match self {
            Self::Builtin => Ok(Texts(vec![(None, BUILTIN.to_owned())])),
            Self::Path(path) => {
                let about = fs::metadata(path).map_err(|source| unreadable(path, source))?;
                let files = if about.is_dir() { versions_in(path)? } else { vec![path.clone()] };
                let mut bytes = 0;
                let mut texts = Vec::new();
                for file in files {
                    let text = read_file(&file)?;
                    bytes += text.len();
                    if bytes > MAX_BYTES {
                        return Err(SourceError::TooMuch(path.clone()));
                    }
                    texts.push((Some(file), text));
                }
                Ok(Texts(texts))
            }
        }
    }

    /// Reads all versions and puts them in order. Blocks on the disk.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file that it is in.
    pub fn load(&self, now: crate::event::Micros) -> Result<PolicySet, super::PolicySetError> {
        PolicySet::from_texts(self.read()?, now)
    }
}

fn unreadable(path: &Path, source: io::Error) -> SourceError {
    SourceError::Unreadable { path: path.to_owned(), source }
}

/// The policies of a folder, by name. What begins with a dot is somebody else's: an editor's, or the
/// links by which Kubernetes swaps a whole folder at once.
fn versions_in(dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|source| unreadable(dir, source))? {
        let path = entry.map_err(|source| unreadable(dir, source))?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|it| it != "toml") {
            continue;
        }
        if files.len() == MAX_FILES {
            return Err(SourceError::TooMuch(dir.to_owned()));
        }
        files.push(path);
    }
    if files.is_empty() {
        return Err(SourceError::Empty(dir.to_owned()));
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<String, SourceError> {
    let failed = |source| unreadable(path, source);
    // Before it is opened: to open a pipe is to wait for whoever writes to it.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SourceError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| SourceError::NotText(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &PolicySource) -> Vec<String> {
        let texts = source.read().unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        texts.0.iter().map(|(path, _)| path.as_ref().map(name).unwrap_or_default()).collect()
    }

    #[test]
    fn a_folder_gives_its_policies_by_name_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let source = PolicySource::Path(dir.path().to_owned());
        assert!(matches!(source.read(), Err(SourceError::Empty(_))));
        for name in ["b.toml", "a.toml", ".hidden.toml", "notes.md", "c.toml~"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("more")).unwrap();
        fs::write(dir.path().join("more/d.toml"), "").unwrap();
        assert_eq!(names(&source), ["a.toml", "b.toml"]);
    }

    #[test]
    fn a_folder_as_kubernetes_mounts_it_can_be_swapped() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (generation, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(generation)).unwrap();
            fs::write(at(generation).join("p.toml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/p.toml", at("p.toml")).unwrap();
        let source = PolicySource::Path(dir.path().to_owned());
        let one = source.read().unwrap();
        assert_eq!(one.0.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one"]);
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        let two = source.read().unwrap();
        assert_eq!(two.0[0].1, "two");
        assert_ne!(one.fingerprint(), two.fingerprint());
        fs::remove_dir_all(at("..2")).unwrap();
        assert!(matches!(source.read(), Err(SourceError::Unreadable { .. })), "a link that leads nowhere");
    }

    #[test]
    fn what_is_no_plain_text_of_moderate_size_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        let source = PolicySource::Path(path.clone());
        assert!(matches!(source.read(), Err(SourceError::Unreadable { .. })));
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(source.read(), Err(SourceError::NotText(_))));
        fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
        assert!(source.read().is_ok());
        fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(matches!(source.read(), Err(SourceError::TooLarge(_))));
        let device = PolicySource::Path("/dev/null".into());
        assert!(matches!(device.read(), Err(SourceError::NotAFile(_))));
        let many = tempfile::tempdir().unwrap();
        for n in 0..=MAX_FILES {
            fs::write(many.path().join(format!("{n}.toml")), "").unwrap();
        }
        let source = PolicySource::Path(many.path().to_owned());
        assert!(matches!(source.read(), Err(SourceError::TooMuch(_))));
    }

    #[test]
    fn a_name_and_a_boundary_between_files_are_part_of_the_content() {
        let texts = |files: &[(&str, &str)]| {
            Texts(files.iter().map(|(path, text)| (Some(path.into()), (*text).to_owned())).collect())
                .fingerprint()
        };
        let one = texts(&[("a", "bc")]);
        assert_eq!(one, texts(&[("a", "bc")]));
        for other in [&[("ab", "c")][..], &[("a", "b"), ("", "c")], &[("a", "bc"), ("", "")]] {
            assert_ne!(one, texts(other));
        }
    }
}
