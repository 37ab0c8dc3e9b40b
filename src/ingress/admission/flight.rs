//! The budget of requests that are under way: what they take in memory before their events are counted
//! anywhere else.
//!
//! It is shared by connection and, where there are several, by tenant, under the rule of
//! [`share`](super::share): a client that opens requests and does not finish them stops at half of it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::{Held, Marks, Tenants, guard, share::Verdict};
use crate::event::Tenant;

/// The budget is spent, or the share of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlightError {
    /// Of the connection or the tenant.
    #[error("the connection or the tenant has its share of the bytes in flight")]
    ShareSpent,
    /// Of the whole listener.
    #[error("too many bytes are in flight")]
    Full,
}

/// What the requests of one connection hold of one budget. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub struct ConnectionBytes(Arc<AtomicU64>);

/// The budget.
#[derive(Debug)]
pub struct InFlight {
    by_connection: Marks,
    by_tenant: Marks,
    tenants: Tenants,
    held: Mutex<Held>,
}

impl InFlight {
    /// A budget that nobody holds anything of.
    #[must_use]
    pub fn new(max_bytes: u64, tenants: Tenants) -> Arc<Self> {
        let by_connection = Marks::half(max_bytes);
        let by_tenant = if tenants.are_several() { by_connection } else { Marks::unshared(max_bytes) };
        let held = Mutex::new(Held::new(&tenants));
        Arc::new(Self { by_connection, by_tenant, tenants, held })
    }

    /// A ticket that holds nothing yet.
    #[must_use]
    pub fn ticket(self: &Arc<Self>, tenant: &Tenant, connection: ConnectionBytes) -> Ticket {
        Ticket { tenant: self.tenants.number(tenant), flight: Arc::clone(self), connection, bytes: 0 }
    }

    /// Whether a tenant holds as much as all tenants would if each held the same. One that is alone does.
    #[must_use]
    pub fn holds_most(&self, tenant: &Tenant) -> bool {
        let held = guard(&self.held);
        let tenants = held.by_tenant.iter().filter(|bytes| **bytes > 0).count() as u64;
        let own = held.by_tenant[self.tenants.number(tenant)];
        own > 0 && own.saturating_mul(tenants) >= held.total
    }

    /// What all requests hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        guard(&self.held).total
    }
}

/// Bytes that a request holds; given back when it is dropped.
#[derive(Debug)]
pub struct Ticket {
    flight: Arc<InFlight>,
    tenant: usize,
    connection: ConnectionBytes,
    bytes: u64,
}

impl Ticket {
    /// Takes more.
    ///
    /// # Errors
    /// There is no more for this connection, this tenant, or anybody. What it holds, it keeps.
    pub fn take(&mut self, more: u64) -> Result<(), FlightError> {
        let flight = &*self.flight;
        let mut held = guard(&flight.held);
        let of_connection = self.connection.0.load(Ordering::Relaxed);
        let verdicts = [
            flight.by_connection.judge(held.total, of_connection, more),
            flight.by_tenant.judge(held.total, held.by_tenant[self.tenant], more),
        ];
        if verdicts.contains(&Verdict::Full) {
            return Err(FlightError::Full);
        }
        if verdicts.contains(&Verdict::ShareSpent) {
            return Err(FlightError::ShareSpent);
        }
        held.take(self.tenant, more);
        // Under the lock, which is what makes it one step with the decision.
        self.connection.0.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        Ok(())
    }

    /// Gives back some of what it holds.
    pub fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        if bytes > 0 {
            let mut held = guard(&self.flight.held);
            held.give_back(self.tenant, bytes);
            self.connection.0.fetch_sub(bytes, Ordering::Relaxed);
            self.bytes -= bytes;
        }
    }

    /// What it holds.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(ticket: &mut Ticket) -> FlightError {
        loop {
            if let Err(error) = ticket.take(1) {
                return error;
            }
        }
    }

    #[test]
    fn one_connection_stops_half_way_and_others_find_room() {
        let flight = InFlight::new(100, Tenants::new(std::iter::empty()));
        let local = Tenant::new("local");
        let connection = ConnectionBytes::default();
        let mut tickets: Vec<_> = (0..3).map(|_| flight.ticket(&local, connection.clone())).collect();
        assert_eq!(fill(&mut tickets[0]), FlightError::ShareSpent);
        assert_eq!(tickets[1].take(1), Err(FlightError::ShareSpent), "the streams of a connection share");
        assert_eq!(flight.bytes(), 50);
        let mut other = flight.ticket(&local, ConnectionBytes::default());
        assert_eq!(fill(&mut other), FlightError::ShareSpent);
        assert_eq!(other.bytes(), 25);
        let mut large = flight.ticket(&local, ConnectionBytes::default());
        assert_eq!(large.take(26), Err(FlightError::Full));
        large.take(25).unwrap();
        drop(large);
        tickets.clear();
        assert_eq!(flight.bytes(), 25);
        drop(other);
        assert_eq!((flight.bytes(), connection.0.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_tenant_of_many_connections_leaves_room_for_the_others() {
        let flight = InFlight::new(1_000, Tenants::new(["acme", "beta"].into_iter()));
        let open = |tenant| {
            let mut ticket = flight.ticket(&Tenant::new(tenant), ConnectionBytes::default());
            ticket.take(10).map(|()| ticket)
        };
        let acme: Vec<_> = (0..100).map_while(|_| open("acme").ok()).collect();
        assert_eq!(acme.len(), 50);
        assert!(flight.holds_most(&Tenant::new("acme")) && !flight.holds_most(&Tenant::new("beta")));
        let beta: Vec<_> = (0..100).map_while(|_| open("beta").ok()).collect();
        assert_eq!(beta.len(), 25);
        assert!(flight.holds_most(&Tenant::new("acme")) && !flight.holds_most(&Tenant::new("beta")));
        drop(acme);
        assert!(!flight.holds_most(&Tenant::new("acme")) && flight.holds_most(&Tenant::new("beta")));
    }
}
