//! Who is let in when there is not room for all.
//!
//! - [`share`] is the rule, over plain numbers;
//! - this file keeps the books on two budgets that a request's events pass: bytes that wait in memory
//!   for the next commit, and bytes in the spool that are not delivered yet;
//! - [`flight`] keeps the budget of requests that are still arriving.
//!
//! The hard marks of the first two are the spool's own, which refuses by itself. What is decided here is
//! whose turn it is before that: from the soft mark on, a tenant that has its share is refused, and the
//! others go on. Where there is one tenant, or none is configured, shares mean nothing and are not asked for.
//!
//! What lay in the spool when the collector started belongs to nobody: it counts as used, and leaves less
//! to all. A disk that is full before the spool's limit is reached is full for everybody alike.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    delivery,
    event::Tenant,
    spool::{Position, Reader},
};

pub mod flight;
pub mod share;
mod undelivered;

pub use share::Marks;
use share::Verdict;
use undelivered::Undelivered;

/// Numbers the configured tenants.
#[derive(Clone, Debug)]
pub struct Tenants {
    numbers: Arc<HashMap<Tenant, usize>>,
    names: Arc<[Tenant]>,
}

impl Tenants {
    /// Of these names; with none, of the one tenant that everybody is then.
    #[must_use]
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<Tenant> = names.map(Tenant::new).collect();
        if names.is_empty() {
            names.push(Tenant::new(crate::pipeline::authenticate::LOCAL_TENANT));
        }
        names.sort();
        names.dedup();
        let numbers = names.iter().enumerate().map(|(number, name)| (name.clone(), number)).collect();
        Self { numbers: Arc::new(numbers), names: names.into() }
    }

    /// Whether there is more than one.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.names.len() > 1
    }

    /// Keys name configured tenants alone; anybody else would share with the first.
    fn number(&self, tenant: &Tenant) -> usize {
        self.numbers.get(tenant).copied().unwrap_or_default()
    }
}

/// Bytes that somebody holds, by tenant and in all.
#[derive(Debug)]
struct Held {
    by_tenant: Vec<u64>,
    total: u64,
}

impl Held {
    fn new(tenants: &Tenants) -> Self {
        Self { by_tenant: vec![0; tenants.names.len()], total: 0 }
    }

    fn take(&mut self, tenant: usize, bytes: u64) {
        self.by_tenant[tenant] += bytes;
        self.total += bytes;
    }

    fn give_back(&mut self, tenant: usize, bytes: u64) {
        self.by_tenant[tenant] -= bytes;
        self.total -= bytes;
    }
}

/// Locks. A panic elsewhere does not matter: the books are changed in single steps.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How full the spool is, and how far delivery has come.
pub trait Backlog: Send + Sync {
    /// Bytes of the spool's limit that are taken. Segments are removed whole, so this is more than what
    /// is not delivered yet, and it is what the spool itself goes by when it refuses.
    fn used_bytes(&self) -> u64;
    /// Everything before it is durable.
    fn durable_end(&self) -> Position;
    /// Everything before it is delivered.
    fn delivered(&self) -> Position;
}

/// A real spool and its delivery.
pub struct SpoolBacklog {
    /// Knows what is on disk.
    pub reader: Arc<Reader>,
    /// Knows the cursor.
    pub delivery: delivery::Handle,
}

impl Backlog for SpoolBacklog {
    fn used_bytes(&self) -> u64 {
        self.reader.bytes_on_disk()
    }

    fn durable_end(&self) -> Position {
        self.reader.durable_end()
    }

    fn delivered(&self) -> Position {
        self.delivery.cursor()
    }
}

/// A tenant that has its share, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareSpent {
    /// Of the bytes in the spool that are not delivered yet.
    #[error("the tenant holds its share of the spool")]
    Spool,
    /// Of the bytes that wait for the next commit.
    #[error("the tenant holds its share of what waits for the next commit")]
    Pending,
}

/// Lets events into the spool, tenant by tenant.
pub struct Admission {
    tenants: Tenants,
    spool: Marks,
    pending: Marks,
    backlog: Box<dyn Backlog>,
    books: Mutex<Books>,
}

struct Books {
    pending: Held,
    undelivered: Undelivered,
}

/// The two budgets.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// From here on, shares of the spool count.
    pub soft_spool_bytes: u64,
    /// The spool's limit.
    pub max_spool_bytes: u64,
    /// The most that may wait for the next commit.
    pub max_pending_bytes: u64,
}

impl Admission {
    /// Books without an entry.
    #[must_use]
    pub fn new(options: Options, tenants: Tenants, backlog: Box<dyn Backlog>) -> Self {
        let (spool, pending) = if tenants.are_several() {
            (
                Marks::new(options.soft_spool_bytes, options.max_spool_bytes),
                Marks::half(options.max_pending_bytes),
            )
        } else {
            (Marks::unshared(options.max_spool_bytes), Marks::unshared(options.max_pending_bytes))
        };
        let books = Books {
            pending: Held::new(&tenants),
            undelivered: Undelivered::new(tenants.names.len(), options.max_spool_bytes),
        };
        Self { tenants, spool, pending, backlog, books: Mutex::new(books) }
    }

    /// Whether there is any use in working on a tenant's request: it may still be refused when its size
    /// is known.
    ///
    /// # Errors
    /// The tenant has its share already.
    pub fn check(&self, tenant: &Tenant) -> Result<(), ShareSpent> {
        self.admit(tenant, 0).map(Admitted::refused)
    }

    /// Asks for room for a request's events. Whether there is any at all, the spool knows and says.
    ///
    /// # Errors
    /// The tenant has its share, and others may still get some.
    pub fn admit(&self, tenant: &Tenant, bytes: u64) -> Result<Admitted<'_>, ShareSpent> {
        let tenant = self.tenants.number(tenant);
        let (used_bytes, delivered) = (self.backlog.used_bytes(), self.backlog.delivered());
        let mut books = guard(&self.books);
        books.undelivered.give_back(delivered);
        let (pending, waits) = (books.pending.by_tenant[tenant], books.pending.total);
        // What waits for its commit will lie in the spool.
        let held = books.undelivered.held_on_disk(tenant, used_bytes) + pending;
        if self.spool.judge(used_bytes + waits, held, bytes) == Verdict::ShareSpent {
            return Err(ShareSpent::Spool);
        }
        if self.pending.judge(waits, pending, bytes) == Verdict::ShareSpent {
            return Err(ShareSpent::Pending);
        }
        books.pending.take(tenant, bytes);
        Ok(Admitted { admission: self, tenant, bytes, settled: false })
    }

    /// What each tenant holds in the spool, by name; as it was before it was compressed.
    #[must_use]
    pub fn undelivered_bytes(&self) -> Vec<(&str, u64)> {
        let delivered = self.backlog.delivered();
        let mut books = guard(&self.books);
        books.undelivered.give_back(delivered);
        let names = self.tenants.names.iter().map(Tenant::as_str);
        names.enumerate().map(|(number, name)| (name, books.undelivered.held_bytes(number))).collect()
    }

    fn settle(&self, tenant: usize, bytes: u64, end: Option<Position>) {
        let mut books = guard(&self.books);
        books.pending.give_back(tenant, bytes);
        if let Some(end) = end {
            books.undelivered.charge(tenant, end, bytes);
        }
    }
}

/// Room for a request's events. It is held until the request's fate is known.
pub struct Admitted<'a> {
    admission: &'a Admission,
    tenant: usize,
    bytes: u64,
    settled: bool,
}

impl Admitted<'_> {
    /// The events lie in the commit that ends at `end`.
    pub fn written(mut self, end: Position) {
        self.settled = true;
        self.admission.settle(self.tenant, self.bytes, Some(end));
    }

    /// The events were not taken.
    pub fn refused(mut self) {
        self.settled = true;
        self.admission.settle(self.tenant, self.bytes, None);
    }
}

impl Drop for Admitted<'_> {
    /// A client that does not wait for its answer is written all the same: its events lie at most as
    /// far behind what is durable as everything that waits. That it hung up brings it no room.
    fn drop(&mut self) {
        if !self.settled {
            let waits = guard(&self.admission.books).pending.total;
            let end = Position(self.admission.backlog.durable_end().0.saturating_add(waits));
            self.admission.settle(self.tenant, self.bytes, Some(end));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A spool that removes what is delivered at once.
    #[derive(Default)]
    struct Numbers {
        end: AtomicU64,
        delivered: AtomicU64,
        /// From before the start.
        nobodys: AtomicU64,
    }

    impl Backlog for Arc<Numbers> {
        fn used_bytes(&self) -> u64 {
            self.end.load(Ordering::Relaxed) - self.delivered.load(Ordering::Relaxed)
                + self.nobodys.load(Ordering::Relaxed)
        }

        fn durable_end(&self) -> Position {
            Position(self.end.load(Ordering::Relaxed))
        }

        fn delivered(&self) -> Position {
            Position(self.delivered.load(Ordering::Relaxed))
        }
    }

    const OPTIONS: Options = Options { soft_spool_bytes: 800, max_spool_bytes: 1000, max_pending_bytes: 100 };

    fn admission(tenants: &[&str]) -> (Admission, Arc<Numbers>) {
        let numbers = Arc::new(Numbers::default());
        let tenants = Tenants::new(tenants.iter().copied());
        (Admission::new(OPTIONS, tenants, Box::new(Arc::clone(&numbers))), numbers)
    }

    /// Writes as long as it may, ten bytes a time.
    fn write_all(admission: &Admission, numbers: &Numbers, tenant: &str) -> u64 {
        let mut written = 0;
        while let Ok(admitted) = admission.admit(&Tenant::new(tenant), 10) {
            if numbers.end.load(Ordering::Relaxed) - numbers.delivered.load(Ordering::Relaxed) + 10 > 1000 {
                admitted.refused();
                break;
            }
            let end = numbers.end.fetch_add(10, Ordering::Relaxed) + 10;
            admitted.written(Position(end));
            written += 10;
        }
        written
    }

    #[test]
    fn a_greedy_tenant_stops_at_the_soft_mark_and_the_others_go_on() {
        let (admission, numbers) = admission(&["acme", "beta"]);
        assert_eq!(write_all(&admission, &numbers, "acme"), 800);
        assert_eq!(admission.admit(&Tenant::new("acme"), 10).err(), Some(ShareSpent::Spool));
        admission.check(&Tenant::new("acme")).unwrap();
        assert_eq!(write_all(&admission, &numbers, "beta"), 160);
        // With less room left, the first one has more than its share, whatever it sends.
        assert_eq!(admission.check(&Tenant::new("acme")), Err(ShareSpent::Spool));
        assert_eq!(admission.undelivered_bytes(), [("acme", 800), ("beta", 160)]);
        // What is delivered is free again, for whoever it was.
        numbers.delivered.store(400, Ordering::Relaxed);
        assert!(write_all(&admission, &numbers, "acme") > 0);
        numbers.delivered.store(numbers.end.load(Ordering::Relaxed), Ordering::Relaxed);
        assert_eq!(admission.undelivered_bytes(), [("acme", 0), ("beta", 0)]);
    }

    #[test]
    fn what_takes_less_in_the_spool_than_it_was_asked_for_counts_less() {
        let (admission, numbers) = admission(&["acme", "beta"]);
        // Of ten bytes that are asked for, five lie in the spool.
        let write_all = |tenant: &str| {
            let mut written = 0;
            while let Ok(admitted) = admission.admit(&Tenant::new(tenant), 10) {
                if numbers.used_bytes() + 10 > 1000 {
                    admitted.refused();
                    break;
                }
                admitted.written(Position(numbers.end.fetch_add(5, Ordering::Relaxed) + 5));
                written += 5;
            }
            written
        };
        // Each stops where it would if it had asked for the half.
        let (first, second) = (write_all("acme"), write_all("beta"));
        assert!((780..=800).contains(&first) && (140..=160).contains(&second), "{first} and {second}");
    }

    #[test]
    fn a_tenant_that_is_alone_may_have_all() {
        for tenants in [&["acme"][..], &[]] {
            let (admission, numbers) = admission(tenants);
            assert_eq!(write_all(&admission, &numbers, tenants.first().unwrap_or(&"local")), 1000);
        }
    }

    #[test]
    fn what_waits_for_a_commit_is_shared_too() {
        let (admission, _) = admission(&["acme", "beta"]);
        let (acme, beta) = (Tenant::new("acme"), Tenant::new("beta"));
        let first = admission.admit(&acme, 50).unwrap();
        assert_eq!(admission.admit(&acme, 10).err(), Some(ShareSpent::Pending));
        let other = admission.admit(&beta, 20).unwrap();
        first.refused();
        other.refused();
        assert_eq!(admission.undelivered_bytes(), [("acme", 0), ("beta", 0)]);
        admission.admit(&acme, 50).unwrap().refused();
    }

    #[test]
    fn who_hangs_up_is_charged_all_the_same() {
        let (admission, numbers) = admission(&["acme", "beta"]);
        numbers.end.store(500, Ordering::Relaxed);
        drop(admission.admit(&Tenant::new("acme"), 30).unwrap());
        assert_eq!(admission.undelivered_bytes(), [("acme", 30), ("beta", 0)]);
        numbers.delivered.store(500, Ordering::Relaxed);
        assert_eq!(admission.undelivered_bytes()[0].1, 30, "it waited behind what was durable");
        numbers.delivered.store(530, Ordering::Relaxed);
        numbers.end.store(530, Ordering::Relaxed);
        assert_eq!(admission.undelivered_bytes()[0].1, 0);
    }

    #[test]
    fn what_lay_there_before_is_nobodys_and_keeps_nobody_out() {
        let (admission, numbers) = admission(&["acme", "beta"]);
        numbers.nobodys.store(900, Ordering::Relaxed);
        assert_eq!(write_all(&admission, &numbers, "acme"), 80);
        assert_eq!(write_all(&admission, &numbers, "beta"), 10);
    }
}
