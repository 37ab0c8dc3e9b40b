//! Who sends a request: an API key names a tenant.
//!
//! The configuration holds SHA-256 digests of keys, never keys. A presented key is hashed and its
//! digest looked up. The time of a look-up may depend on the digest, and that tells an attacker
//! nothing: to make use of "the first bytes of this digest match" he would have to find keys by
//! their digests, which is what SHA-256 prevents. No byte of a presented key is ever compared with
//! a secret, so there is no comparison to make constant-time. Keys must be random (128 bits and
//! more): the digests are unsalted, and a key that can be guessed can be found from its digest.

use std::{collections::HashMap, fmt};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use crate::event::Tenant;

/// The tenant of everyone when no key is configured.
pub const LOCAL_TENANT: &str = "local";

/// The longest name of a tenant, in bytes.
const MAX_TENANT_BYTES: usize = 64;

/// The keys of one tenant, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantKeys {
    /// The tenant's name: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`.
    pub tenant: String,
    /// SHA-256 of each of its keys, 64 hexadecimal digits.
    pub key_digests: Vec<String>,
    /// The same of those that may erase people and read what is held about them, and do all else too.
    pub privacy_key_digests: Vec<String>,
}

/// Why the configured keys cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// A tenant's name has another form.
    #[error("tenant {index}: a name is 1 to {MAX_TENANT_BYTES} of a-z, 0-9, '.', '_' and '-'")]
    TenantName {
        /// Which one, from 0.
        index: usize,
    },
    /// A tenant without a key could never send anything.
    #[error("tenant {tenant:?} has no key digest")]
    NoKeys {
        /// Whose.
        tenant: String,
    },
    /// Not the digest of a key. It is not repeated: it may be the key itself.
    #[error(
        "key digest {index} of tenant {tenant:?} is not 64 hexadecimal digits; give the SHA-256 of the key, not the key"
    )]
    Digest {
        /// Whose.
        tenant: String,
        /// Which one, from 0.
        index: usize,
    },
    /// One key would name two tenants.
    #[error("key digest {index} of tenant {tenant:?} is there twice")]
    Duplicate {
        /// Whose.
        tenant: String,
        /// Which one, from 0.
        index: usize,
    },
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// No key was presented.
    #[error("an API key is required: send it as `authorization: Bearer KEY`")]
    Missing,
    /// The key is nobody's.
    #[error("the API key is not known")]
    Unknown,
    /// The key is not one that may do this.
    #[error("this needs a privacy key of the tenant (privacy_key_sha256), and the API key is none")]
    NotForPrivacy,
}

/// Whose a key is.
#[derive(Clone)]
struct Holder {
    tenant: Tenant,
    privacy: bool,
}

/// The keys of all tenants.
#[derive(Clone)]
pub struct Credentials {
    by_digest: HashMap<[u8; SHA256_OUTPUT_LEN], Holder>,
}

impl Credentials {
    /// Reads the configured digests. With none at all, everyone is the tenant `local`.
    ///
    /// # Errors
    /// When a name or a digest has another form, or a digest is there twice.
    pub fn new(tenants: &[TenantKeys]) -> Result<Self, CredentialsError> {
        let mut by_digest = HashMap::new();
        for (index, TenantKeys { tenant, key_digests, privacy_key_digests }) in tenants.iter().enumerate() {
            if !is_tenant_name(tenant) {
                return Err(CredentialsError::TenantName { index });
            }
            if key_digests.is_empty() {
                return Err(CredentialsError::NoKeys { tenant: tenant.clone() });
            }
            let name = Tenant::new(tenant);
            let plain = key_digests.iter().map(|hex| (hex, false));
            let all = plain.chain(privacy_key_digests.iter().map(|hex| (hex, true)));
            for (index, (hex, privacy)) in all.enumerate() {
                let digest = super::pseudonymise::bytes_of_hex(hex)
                    .ok_or_else(|| CredentialsError::Digest { tenant: tenant.clone(), index })?;
                if by_digest.insert(digest, Holder { tenant: name.clone(), privacy }).is_some() {
                    return Err(CredentialsError::Duplicate { tenant: tenant.clone(), index });
                }
            }
        }
        Ok(Self { by_digest })
    }

    /// Whether no key is configured, so that everyone who can connect may send. Such a collector
    /// must listen on loopback only.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Names the tenant of a request by its bearer token (without the word `Bearer`).
    ///
    /// # Errors
    /// When a key is needed and there is none, or it is nobody's.
    pub fn authenticate(&self, presented: Option<&str>) -> Result<Tenant, AuthError> {
        self.holder(presented).map(|holder| holder.tenant)
    }

    /// The same for what only privacy keys may do. Keys that send events are in many hands; whoever has one must not
    /// be able to read or remove what others wrote.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate), or the key is none for this.
    pub fn authenticate_privacy(&self, presented: Option<&str>) -> Result<Tenant, AuthError> {
        let Holder { tenant, privacy } = self.holder(presented)?;
        if privacy { Ok(tenant) } else { Err(AuthError::NotForPrivacy) }
    }

    fn holder(&self, presented: Option<&str>) -> Result<Holder, AuthError> {
        if self.is_open() {
            return Ok(Holder { tenant: Tenant::new(LOCAL_TENANT), privacy: true });
        }
        let key = presented.filter(|key| !key.is_empty()).ok_or(AuthError::Missing)?;
        let digest = digest(&SHA256, key.as_bytes());
        self.by_digest.get(digest.as_ref()).cloned().ok_or(AuthError::Unknown)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} keys)", self.by_digest.len())
    }
}

/// Whether a name may be a tenant's. It never holds a NUL, which the pseudonymiser relies on.
#[must_use]
pub fn is_tenant_name(name: &str) -> bool {
    (1..=MAX_TENANT_BYTES).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf %s correct-horse | sha256sum, and battery-staple.
    const HORSE: &str = "9dca666eb54730714630d1519264a7bf1eeaad00b8f2edc90d3ecbfad928d163";
    const STAPLE: &str = "481fd32833966be5ea069e1ee38aab255d779d5510123c244d08de4194bbbee6";

    fn keys(tenant: &str, digests: &[&str]) -> TenantKeys {
        TenantKeys {
            tenant: tenant.to_owned(),
            key_digests: digests.iter().map(|&digest| digest.to_owned()).collect(),
            privacy_key_digests: Vec::new(),
        }
    }

    #[test]
    fn without_keys_everyone_is_local() {
        let open = Credentials::new(&[]).unwrap();
        assert!(open.is_open());
        for presented in [None, Some(""), Some("whatever")] {
            assert_eq!(open.authenticate(presented).unwrap().as_str(), LOCAL_TENANT);
        }
    }

    #[test]
    fn a_key_names_its_tenant() {
        let both =
            Credentials::new(&[keys("acme", &[HORSE]), keys("beta-2", &[&STAPLE.to_uppercase()])]).unwrap();
        assert!(!both.is_open());
        assert_eq!(both.authenticate(Some("correct-horse")).unwrap().as_str(), "acme");
        assert_eq!(both.authenticate(Some("battery-staple")).unwrap().as_str(), "beta-2");
        assert_eq!(both.authenticate(None), Err(AuthError::Missing));
        assert_eq!(both.authenticate(Some("")), Err(AuthError::Missing));
        // Neither a wrong key nor the digest itself lets anyone in.
        for wrong in ["correct-horse ", "Correct-horse", HORSE] {
            assert_eq!(both.authenticate(Some(wrong)), Err(AuthError::Unknown));
        }
        assert_eq!(format!("{both:?}"), "Credentials(2 keys)");
    }

    #[test]
    fn what_is_about_privacy_needs_a_key_for_it() {
        let mut acme = keys("acme", &[HORSE]);
        acme.privacy_key_digests = vec![STAPLE.to_owned()];
        let acme = Credentials::new(&[acme]).unwrap();
        assert_eq!(acme.authenticate_privacy(Some("correct-horse")), Err(AuthError::NotForPrivacy));
        assert_eq!(acme.authenticate_privacy(None), Err(AuthError::Missing));
        assert_eq!(acme.authenticate_privacy(Some("other")), Err(AuthError::Unknown));
        for presented in ["correct-horse", "battery-staple"] {
            assert_eq!(acme.authenticate(Some(presented)).unwrap().as_str(), "acme");
        }
        assert_eq!(acme.authenticate_privacy(Some("battery-staple")).unwrap().as_str(), "acme");
        // One key cannot be both.
        let mut both = keys("acme", &[HORSE]);
        both.privacy_key_digests = vec![HORSE.to_owned()];
        let refused = CredentialsError::Duplicate { tenant: "acme".to_owned(), index: 1 };
        assert_eq!(Credentials::new(&[both]).unwrap_err(), refused);
        assert_eq!(Credentials::new(&[]).unwrap().authenticate_privacy(None).unwrap().as_str(), LOCAL_TENANT);
    }

    #[test]
    fn two_keys_of_one_tenant_let_it_rotate() {
        let acme = Credentials::new(&[keys("acme", &[HORSE, STAPLE])]).unwrap();
        for key in ["correct-horse", "battery-staple"] {
            assert_eq!(acme.authenticate(Some(key)).unwrap().as_str(), "acme");
        }
    }

    #[test]
    fn bad_configuration_is_refused() {
        let tenant = || "acme".to_owned();
        for (configured, error) in [
            (vec![keys("Acme", &[HORSE])], CredentialsError::TenantName { index: 0 }),
            (vec![keys("a", &[HORSE]), keys("", &[STAPLE])], CredentialsError::TenantName { index: 1 }),
            (vec![keys("acme", &[])], CredentialsError::NoKeys { tenant: tenant() }),
            (
                vec![keys("acme", &[HORSE, "hunter2"])],
                CredentialsError::Digest { tenant: tenant(), index: 1 },
            ),
            (
                vec![keys("other", &[HORSE]), keys("acme", &[HORSE])],
                CredentialsError::Duplicate { tenant: tenant(), index: 0 },
            ),
        ] {
            let refused = Credentials::new(&configured).unwrap_err();
            assert_eq!(refused, error);
            assert!(!refused.to_string().contains("hunter2"));
        }
    }
}
