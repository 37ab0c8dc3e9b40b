//! Who sends: tenants with API keys, and whose turn it is.

use ring::digest::{SHA256, digest};

use crate::scenario::Scenario;

/// The fractional part of the golden ratio: its multiples fill the unit interval evenly from the first
/// few on, so that each tenant has its share of any stretch of a run.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// A tenant.
pub(crate) struct Tenant {
    pub(crate) name: String,
    /// None for the one that needs no key.
    pub(crate) api_key: Option<String>,
    share: f64,
}

/// All of a run, at least one.
pub(crate) struct Tenants(Vec<Tenant>);

impl Tenants {
    /// With keys that are good for one run.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        if scenario.tenant.is_empty() {
            return Self(vec![Tenant { name: "local".to_owned(), api_key: None, share: 1.0 }]);
        }
        let tenant = |tenant: &crate::scenario::TenantShare| Tenant {
            name: tenant.name.clone(),
            api_key: Some(format!("{:032x}", fastrand::u128(..))),
            share: tenant.share.get(),
        };
        Self(scenario.tenant.iter().map(tenant).collect())
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Tenant> {
        self.0.iter()
    }

    /// The number of the tenant that sends a request.
    #[allow(clippy::cast_precision_loss)] // Requests of a run are far below 2^53.
    pub(crate) fn of_request(&self, request: u64) -> usize {
        let mut at = (request as f64 * GOLDEN).fract();
        let found = self.0.iter().position(|tenant| {
            at -= tenant.share;
            at < 0.0
        });
        // Shares may add up to a little less than 1.
        found.unwrap_or(self.0.len() - 1)
    }

    /// The scenario's configuration of the collector, with the keys.
    pub(crate) fn configure(&self, scenario: &Scenario) -> toml::Table {
        let mut config = scenario.collector.clone();
        let keys: Vec<toml::Value> = self.0.iter().filter_map(Tenant::configured).collect();
        if !keys.is_empty() {
            config.insert("tenants".to_owned(), keys.into());
        }
        config
    }
}

impl Tenant {
    fn configured(&self) -> Option<toml::Value> {
        let digest = digest(&SHA256, self.api_key.as_ref()?.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut table = toml::Table::new();
        table.insert("name".to_owned(), self.name.clone().into());
        table.insert("api_key_sha256".to_owned(), vec![hex].into());
        Some(table.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLOAD: &str = include_str!("../scenarios/overload.toml");
    const SMOKE: &str = include_str!("../scenarios/smoke.toml");

    #[test]
    fn each_tenant_has_its_share_of_every_stretch() {
        let scenario = Scenario::parse(OVERLOAD).unwrap();
        let tenants = Tenants::new(&scenario);
        for start in [0, 1_000, 123_456] {
            for (number, tenant) in scenario.tenant.iter().enumerate() {
                let sent =
                    (start..start + 200).filter(|request| tenants.of_request(*request) == number).count();
                let expected = tenant.share.get() * 200.0;
                assert!((sent as f64 - expected).abs() < 4.0, "{}: {sent} of {expected}", tenant.name);
            }
        }
    }

    #[test]
    fn the_collector_gets_digests_and_the_scenarios_own_settings() {
        let scenario = Scenario::parse(OVERLOAD).unwrap();
        let tenants = Tenants::new(&scenario);
        let config = toml::to_string(&tenants.configure(&scenario)).unwrap();
        for tenant in tenants.iter() {
            assert!(config.contains(&tenant.name) && !config.contains(tenant.api_key.as_ref().unwrap()));
        }
        let parsed: assent::config::Config = toml::from_str(&config).unwrap();
        assert_eq!(parsed.tenants.len(), scenario.tenant.len());
        let smoke = Scenario::parse(SMOKE).unwrap();
        assert!(Tenants::new(&smoke).configure(&smoke).is_empty());
    }
}
