//! The keys of pseudonyms: where they come from, and which of them the spool still needs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::AppError;
use crate::{
    config::{Config, ConfigError},
    pipeline::{KeyRing, PseudonymKey},
    spool,
};

/// Takes the ring from the configuration, or from the key file, which is made when it is not there.
pub(super) fn load(config: &Config) -> Result<KeyRing, AppError> {
    let path = config.pseudonym_key_file();
    if !config.pseudonym.key.is_empty() || path.exists() {
        return Ok(read_key_ring(config)?);
    }
    let failed = |source| AppError::File { path: path.clone(), source };
    let key = PseudonymKey::generate()
        .map_err(|error| ConfigError::key("pseudonym.key_file", error.to_string()))?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    spool::fs::write_new_private(&path, key.to_text().as_bytes()).map_err(failed)?;
    tracing::info!(path = %path.display(), key_id = key.id(), "made a new pseudonym key; back it up");
    Ok(key.into())
}

/// Reads the keys of the configuration, or else those of the key file.
///
/// # Errors
/// They are not keys, or the file cannot be read or can be read by everyone.
pub fn read_key_ring(config: &Config) -> Result<KeyRing, ConfigError> {
    if !config.pseudonym.key.is_empty() {
        return KeyRing::from_text(config.pseudonym.key.0.expose_secret())
            .map_err(|error| ConfigError::key("pseudonym.key", error.to_string()));
    }
    let path = &config.pseudonym_key_file();
    let unusable =
        |what: String| ConfigError::key("pseudonym.key_file", format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| unusable(format!("cannot be read: {error}")))?;
    refuse_readable_by_others(path)?;
    KeyRing::from_text(&text).map_err(|error| unusable(error.to_string()))
}

/// Whoever reads the key can tell who is behind a pseudonym.
fn refuse_readable_by_others(path: &Path) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt as _;
    let unusable =
        |what: String| ConfigError::key("pseudonym.key_file", format!("{} {what}", path.display()));
    let mode = fs::metadata(path)
        .map_err(|error| unusable(format!("cannot be looked at: {error}")))?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        return Err(unusable("can be read by everyone on this machine: chmod 600 it".to_owned()));
    }
    Ok(())
}

/// The ids of the keys that events in the spool may be stamped under, one a line, in the data folder. Without such
/// a key the seal would not see what their authors have said since: what is said is recorded under the keys of the
/// ring.
pub(super) struct SpooledKeys {
    path: PathBuf,
}

impl SpooledKeys {
    pub(super) fn in_data_dir(data_dir: &Path) -> Self {
        Self { path: data_dir.join("spooled_keys") }
    }

    /// Checks that the ring has all of them, and notes that its current key is one from now on.
    ///
    /// # Errors
    /// A key is missing, or the file cannot be read or written.
    pub(super) fn check(
        &self,
        ring: &KeyRing,
        spool_is_empty: bool,
        write: impl FnOnce(&Path, &[u8]) -> io::Result<()>,
    ) -> Result<(), AppError> {
        let failed = |source| AppError::File { path: self.path.clone(), source };
        let noted = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut ids: Vec<&str> = if spool_is_empty { Vec::new() } else { noted.lines().collect() };
        if let Some(missing) = ids.iter().find(|noted| !ring.ids().any(|id| id == **noted)) {
            return Err(ConfigError::key(
                "pseudonym",
                format!(
                    "there is no key {missing}, and the spool has events that were stamped under it: put it back, as \
                     the last line, until they are delivered"
                ),
            )
            .into());
        }
        let current = ring.current().id();
        if !ids.contains(&current) {
            ids.push(current);
        }
        let text = ids.join("\n") + "\n";
        if text == noted { Ok(()) } else { write(&self.path, text.as_bytes()).map_err(failed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[&PseudonymKey]) -> KeyRing {
        let text: String = keys.iter().map(|key| key.to_text().to_string()).collect();
        KeyRing::from_text(&text).unwrap()
    }

    #[test]
    fn a_key_stays_in_the_ring_until_what_it_stamped_is_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (PseudonymKey::generate().unwrap(), PseudonymKey::generate().unwrap());
        let keys = SpooledKeys::in_data_dir(dir.path());
        let check = |ring: &KeyRing, is_empty| keys.check(ring, is_empty, spool::fs::write_atomically);
        let noted = || fs::read_to_string(&keys.path).unwrap();
        check(&ring(&[&old]), true).unwrap();
        assert_eq!(noted(), format!("{}\n", old.id()));
        // Not the second one's: nothing is stamped under it yet.
        check(&ring(&[&old, &new]), false).unwrap();
        assert_eq!(noted(), format!("{}\n", old.id()));
        let refused = check(&ring(&[&new]), false).unwrap_err().to_string();
        assert!(refused.contains(old.id()) && refused.contains("spool"), "{refused}");
        check(&ring(&[&new, &old]), false).unwrap();
        assert_eq!(noted(), format!("{}\n{}\n", old.id(), new.id()));
        check(&ring(&[&new]), false).unwrap_err();
        check(&ring(&[&new]), true).unwrap();
        assert_eq!(noted(), format!("{}\n", new.id()));
        // Nothing is written when nothing changes: also on a disk that takes nothing.
        keys.check(&ring(&[&new]), false, |_, _| panic!("it is noted already")).unwrap();
    }
}
