//! One scenario, on a collector that is ready.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    churn,
    collector::Endpoints,
    consent,
    generate::{Pool, people},
    measure::Family,
    progress::{Counters, Lines, say},
    report::Measured,
    scenario::Scenario,
    send::send,
    slow::SlowRun,
    tenants::Tenants,
    visible::ClickHouse,
    watch::{Memory, Rows},
    wire::Wire,
};

/// Has people answer, sends everything, and waits until it can be read.
pub(crate) async fn play(
    scenario: &Scenario,
    tenants: &Tenants,
    endpoints: Endpoints,
    pid: u32,
) -> anyhow::Result<Measured> {
    let people = Arc::new(people(scenario));
    let pool = Pool::new(scenario, Arc::clone(&people));
    let mut wire = Wire::new(endpoints.grpc, scenario.compression);
    say(&format!("{} people answer about consent", people.len()));
    let mut changes = 0;
    let mut senders = Vec::new();
    for tenant in tenants.iter() {
        let api_key = tenant.api_key.as_deref();
        // The same people for each tenant, under other pseudonyms.
        changes += consent::answer(endpoints.grpc, &people, api_key).await?;
        let mut connections = Vec::new();
        for _ in 0..scenario.connections {
            connections.push(wire.open(scenario.call, api_key).await?);
        }
        senders.push(connections);
    }

    let first_key = tenants.iter().next().and_then(|tenant| tenant.api_key.as_deref());
    let slow = match scenario.slow_clients {
        Some(slow) => Some(SlowRun::start(scenario, slow, &people, &mut wire, first_key).await?),
        None => None,
    };

    let family = Family::of(pid);
    let usage = || family.as_ref().and_then(Family::usage);
    let clickhouse = ClickHouse::new(endpoints.clickhouse_http);
    say(&format!(
        "sending {} events at {}, of {} different requests",
        scenario.events(),
        scenario.rate,
        pool.bodies()
    ));
    let counters = Arc::new(Counters::default());
    let lines = Lines::start(Arc::clone(&counters), scenario.events());
    let rows = Rows::watch(clickhouse.clone(), scenario.look_every.0);
    let memory = Memory::watch(family.clone());
    let before = usage();
    let sending = send(scenario, tenants, &senders, pool, &counters);
    let (mut tally, churn) = match scenario.consent_churn {
        Some(churn) => {
            let churn = churn::churn(endpoints.grpc, people, churn, scenario.duration.0);
            let (tally, churn) = tokio::try_join!(sending, churn)?;
            (tally, Some(churn))
        }
        None => (sending.await?, None),
    };
    drop(lines);
    let slow = match slow {
        Some(slow) => {
            let slow = slow.end().await?;
            tally.add_slow(slow, Instant::now());
            Some(slow)
        }
        None => None,
    };

    say("waiting for the last row");
    let deadline = Instant::now() + scenario.visible_timeout.0;
    let (rows, visible) = rows.reached(tally.acknowledged_events, deadline).await?;
    // Before the counting, which is no part of the load.
    let after = usage();
    let memory = memory.end();
    let landed = clickhouse.landed(tally.acknowledged_events, deadline).await?;
    let seal_lag = clickhouse.seal_lag().await?;
    let usage = after.zip(before).map(|(after, before)| after.since(before));
    Ok(Measured { changes, tally, churn, slow, rows, visible, landed, seal_lag, usage, memory })
}
