//! What all scenarios have in common: each has the machine for itself, says what it does, and ends with the check.

use std::time::{Duration, Instant};

use assent::ingress::proto::{ConsentScope, ConsentState};
use fastrand::Rng;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    checker::{Finding, check},
    event::{TENANTS, USERS, user_id},
    fleet::{Fleet, api_key, setup},
    harness::{Database, Setup, change},
    history::History,
    options::Options,
    report::{Report, tabulate},
    rows,
};

/// The findings that are told in full.
const TOLD: usize = 10;

/// One after the other: each wants the machine for itself.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Where a scenario takes place.
pub(crate) struct Arena {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    scenario: &'static str,
    /// A safeguard that the collectors go without. Then findings are what is wanted.
    mutation: Option<&'static str>,
    began: Instant,
    _alone: MutexGuard<'static, ()>,
}

impl Arena {
    pub(crate) async fn enter(scenario: &'static str) -> Self {
        Self::enter_without(scenario, None).await
    }

    /// With collectors that go without a safeguard.
    #[allow(clippy::print_stdout)] // What a person who runs it wants to see.
    pub(crate) async fn enter_without(scenario: &'static str, mutation: Option<&'static str>) -> Self {
        let alone = ALONE.lock().await;
        let options = Options::from_env();
        println!("{scenario}: {options} -- {scenario}");
        Self { rng: options.rng(scenario), options, scenario, mutation, began: Instant::now(), _alone: alone }
    }

    /// A collector's setup, with more configuration.
    pub(crate) fn setup(&self, database: &Database, url: &str, more: &str) -> Setup {
        let setup = setup(database, url, more);
        self.mutation.map_or(setup.clone(), |mutation| setup.env("ASSENT_MUTATION", mutation))
    }

    /// A database on the server of this run, whose rows keep all copies.
    pub(crate) async fn database(&self) -> Database {
        let database = Database::new().await;
        rows::keep_copies(&database).await;
        database
    }

    /// Some time, at most so long.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.f64())
    }

    /// Reads what is there, checks and tells; gives what does not hold. The fleet has been drained.
    ///
    /// # Panics
    /// With all safeguards, if anything does not hold or too little happened to prove anything.
    #[allow(clippy::print_stdout)] // What a person who runs it wants to see.
    pub(crate) async fn conclude(
        &mut self,
        database: &Database,
        fleet: &Fleet,
        history: &History,
        more: impl FnOnce(&mut Report),
    ) -> Vec<Finding> {
        let rows = rows::read(database).await;
        let findings = check(history, &rows);
        let mut report = Report::of(history, &rows, &findings);
        report.add_fleet(fleet);
        more(&mut report);
        if self.mutation.is_some() {
            println!("{report}");
            return findings;
        }
        let table = tabulate(self.scenario, &report, self.began.elapsed());
        self.began = Instant::now();
        println!("{}\n{report}\n{table}\n", self.scenario);
        let again = format!("{} -- {}", self.options, self.scenario);
        let logs = self.options.logs(self.scenario);
        if !(findings.is_empty() && fleet.complaints.is_empty()) {
            fleet.keep_logs(&logs);
        }
        let told: Vec<String> = findings.iter().take(TOLD).map(ToString::to_string).collect();
        assert!(
            findings.is_empty(),
            "{} findings, of which the first:\n{}\nlogs: {}\nagain: {again}",
            findings.len(),
            told.join("\n"),
            logs.display(),
        );
        let complaints = &fleet.complaints;
        assert!(complaints.is_empty(), "{}\nlogs: {}\nagain: {again}", complaints.join("\n"), logs.display());
        let lacks = report.lacks().join("\n");
        assert!(
            lacks.is_empty(),
            "too little happened to prove anything:\n{lacks}\nagain, with more: {again}"
        );
        findings
    }
}

/// Half of each tenant's people say yes, and half of them to all scopes, so that rows lie in all partitions.
pub(crate) async fn say_yes(fleet: &Fleet) {
    let clients = (0..TENANTS.len()).map(|tenant| async move {
        let key = api_key(tenant).into();
        assent::ingress::client::Client::connect(&fleet.collector(0).grpc, Some(&key)).await.unwrap()
    });
    for client in futures_util::future::join_all(clients).await {
        let changes = (0..USERS).step_by(2).flat_map(|user| {
            let scopes: &[ConsentScope] = if user % 4 == 0 {
                &[ConsentScope::FirstParty, ConsentScope::Affiliates]
            } else {
                &[ConsentScope::FirstParty]
            };
            scopes.iter().map(move |scope| change(&user_id(user), *scope, ConsentState::Granted))
        });
        stream::iter(changes)
            .for_each_concurrent(8, |change| {
                let client = client.clone();
                async move {
                    client.set_consent(change).await.unwrap();
                }
            })
            .await;
    }
}
