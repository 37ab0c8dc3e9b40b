//! What a placeholder stands for, and how many of each were found.

/// A kind of personal data, as it is called in placeholders and in the column `redactions`: upper-case
/// ASCII letters, digits and `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity(&'static str);

impl Entity {
    /// An e-mail address.
    pub const EMAIL: Self = Self("EMAIL");
    /// The number of a payment card.
    pub const CARD: Self = Self("CARD");
    /// A phone number.
    pub const PHONE: Self = Self("PHONE");
    /// The author's own user id.
    pub const USER: Self = Self("USER");
    /// A person's name.
    pub const PERSON: Self = Self("PERSON");
    /// A street, a post box, a postcode with its city.
    pub const ADDRESS: Self = Self("ADDRESS");
    /// Where somebody works, or a company by its legal form.
    pub const ORGANIZATION: Self = Self("ORGANIZATION");
    /// Where somebody lives or is from.
    pub const LOCATION: Self = Self("LOCATION");

    /// A URL that says who somebody is, or lets one in.
    pub const URL: Self = Self("URL");
    /// A handle on a social network.
    pub const HANDLE: Self = Self("HANDLE");
    /// A password, a key or a token.
    pub const SECRET: Self = Self("SECRET");

    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 32;

    /// Names an entity. `None` for what has another form than the type says.
    ///
    /// The name lives as long as the process, so this is for rules that are read at its start.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Self> {
        let is_name_byte = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let fits = (1..=Self::MAX_BYTES).contains(&name.len())
            && name.bytes().all(is_name_byte)
            && name.starts_with(|c: char| c.is_ascii_uppercase());
        let known = [
            Self::EMAIL,
            Self::CARD,
            Self::PHONE,
            Self::USER,
            Self::URL,
            Self::HANDLE,
            Self::SECRET,
            Self::PERSON,
            Self::ADDRESS,
            Self::ORGANIZATION,
            Self::LOCATION,
        ];
        let known = known.into_iter().find(|known| known.0 == name);
        fits.then(|| known.unwrap_or_else(|| Self(String::from(name).leak())))
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// How many of each entity were taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<(Entity, u16)>);

impl Counts {
    /// The entities that were found, by name, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u16)> + '_ {
        self.0.iter().map(|&(entity, count)| (entity.as_str(), count))
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, entity: Entity) {
        self.add_many(entity, 1);
    }

    fn add_many(&mut self, entity: Entity, more: u16) {
        match self.0.binary_search_by_key(&entity, |&(entity, _)| entity) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(more),
            Err(at) => self.0.insert(at, (entity, more)),
        }
    }

    /// Adds what another text held.
    pub(crate) fn merge(&mut self, other: &Self) {
        for &(entity, count) in &other.0 {
            self.add_many(entity, count);
        }
    }
}
